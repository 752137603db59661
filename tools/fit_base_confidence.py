"""Fit how sure answers by marks are (`underlay.base.identify.marks.calibration`) from a corpus of images with known bases.

    python tools/fit_base_confidence.py CORPUS [--check] [--svg FOLDER]

CORPUS is a folder with bases.jsonl, official-dev.jsonl and official-2026*-dev.jsonl. Applications of four more steps are
asked for on each of its images, in six worlds: on images of 2026, with an index of 2018; with whole repositories withheld
from the index; with whole branches (a version's line of a repository) withheld; with the base's build withheld; with
nothing withheld, also with steps that were made over days; what stands on something withheld is withheld, too. In a
seventh, images of the record are asked for as they are, their bases' builds withheld or not. For each kind of answer the
scores of marks become shares of right names and of right repositories (isotonic regression). `--check` fits without a
fifth of the repositories in turn and shows how the rest does on them; without it the table of all is written. `--svg`
writes reliability diagrams of the answers to left-out repositories.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_cases, base_open_world

from underlay.base.identify import image, lineage, ranking
from underlay.base.identify.marks import between, calibration
from underlay.base.index import index_builder, known

Record = dict[str, Any]
Points = tuple[tuple[float, float], ...]
# Shares of right names and of right repositories: by kind and score; constants of both.
Table = tuple[dict[str, Points], dict[str, Points], dict[str, tuple[float, float]]]

FOLDS = 5
WORLDS = ("2026", "repositories", "branches", "builds", "nothing", "cached", "record")
TITLES = {
    "2026": "images of 2026, in no index",
    "repositories": "repositories withheld",
    "branches": "branches withheld",
    "builds": "builds withheld",
    "nothing": "nothing withheld",
    "cached": "the same, steps over days",
    "record": "official images themselves",
}
CONSTANTS = {
    between.SEAM: "SEAM_ABOVE",
    between.PAUSE: "PAUSE_ABOVE",
    between.PAUSE_EXACT: "PAUSE_ABOVE_EXACT",
    between.ROOT: "ROOT_SAID",
}
IDENTITY: Points = ((0.0, 0.0), (1.0, 1.0))
KINDS = [
    f"{by} {known_as} {age} {version}"
    for by in ("marks", "steps")
    for known_as in ("official", "other")
    for age in ("new", "old")
    for version in ("version", "plain")
] + [between.AGREED]
# A kind with fewer repositories than this is told by a wider one: without its last word, or two.
FEWEST = 8
_BINS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.01)


class Answer(NamedTuple):
    """One answer: the world and repository asked for, its kind and score, its own confidences, whether they are right."""

    world: str
    repository: str
    kind: str
    score: float
    name: float
    family: float
    right_name: bool
    right_family: bool


def _gone(bases: list[Record], gone: set[str]) -> list[Record]:
    """Return what is left of an index without some builds and all that stands on them."""
    grown = gone | {base["config_digest"] for base in bases if base.get("parent") in gone}
    while grown != gone:
        gone, grown = grown, grown | {base["config_digest"] for base in bases if base.get("parent") in grown}
    return [base for base in bases if base["config_digest"] not in gone]


def branch(name: str) -> str:
    """Return the line of a repository that a name belongs to: `python:3.6` of python:3.6.4-alpine."""
    repository, _, tag = name.rpartition(":")
    return f"{repository}:{'.'.join(tag.partition('-')[0].split('.')[:2])}"


def worlds(corpus: str) -> Iterator[tuple[str, list[Record], list[Record]]]:
    """Yield worlds in parts: its name, what is in the index, the images that applications are made on."""
    bases = base_cases.read(f"{corpus}/bases.jsonl")
    records = base_cases.read(f"{corpus}/official-dev.jsonl")
    yield "2026", bases, base_open_world.of_2026(corpus)
    for left, some in base_open_world.withheld(corpus):
        yield "repositories", left, some
    parts = 8
    for number in range(parts):
        some = [record for record in records if base_cases.part(branch(record["ref"]), parts) == number]
        gone = {base["config_digest"] for base in bases if base_cases.part(branch(base["ref"]), parts) == number}
        yield "branches", _gone(bases, gone | {record["config_digest"] for record in some}), some
        some = [record for record in records if base_cases.part(record["config_digest"], parts) == number]
        yield "builds", _gone(bases, {record["config_digest"] for record in some}), some
    yield "nothing", bases, records
    yield "cached", bases, records
    for kind in ("build", "nothing"):
        for left, some in base_cases.withheld(kind, bases, records):
            yield "record", left, [record for record in some if record.get("true_base")]


def question(world: str, record: Record, kind: int) -> tuple[Record, str]:
    """Return what is asked, and the name of its base: an application on an image, or an image of the record as it is."""
    if world == "record":
        return base_cases.asked(record, "nothing"), record["true_base"]
    timed = world == "cached" or base_cases.part(record["ref"], 4) > 0
    made = base_open_world.application(record, kind, timed)
    if world == "cached" and made["history_created"][-1]:
        # The builder had the first two of its steps from days before.
        later = datetime.datetime.fromisoformat(made["history_created"][-1].replace("Z", "+00:00"))
        moment = (later + datetime.timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
        made["history_created"][-2:] = [moment, moment]
    return made, record["ref"]


def answers(corpus: str) -> list[Answer]:
    """Return the answers to all questions."""
    found = []
    for world, left, some in worlds(corpus):
        index = known.Known(index_builder.make(left))
        for record in some:
            kinds = range(5) if world == "2026" else [base_cases.part(record["config_digest"] + world, 5)]
            for kind in kinds:
                asked, base = question(world, record, kind)
                report = lineage.identify(image.from_record(asked), index)
                first = report.candidates[0]
                names = {base} if world == "record" else {base, *(record.get("tags") or ())}
                repository = base_open_world.repository(base)
                found.append(
                    Answer(
                        world,
                        repository,
                        report.kind,
                        report.score,
                        first.confidence,
                        first.chance,
                        bool(names & set(first.names)),
                        base_open_world.repository(first.name) == repository,
                    )
                )
        print(world, len(found), "answers", flush=True)
    return found


def weights(some: list[Answer]) -> list[float]:
    """Return how much each answer counts: the worlds alike, and a repository of many images little more than others."""
    each = Counter((answer.world, answer.repository) for answer in some)
    first = [each[answer.world, answer.repository] ** -0.7 for answer in some]
    of_world: Counter[str] = Counter()
    for answer, weight in zip(some, first, strict=True):
        of_world[answer.world] += weight  # type: ignore[assignment]
    most = max(of_world.values(), default=1.0)
    return [weight * min(most / of_world[answer.world], 4.0) for answer, weight in zip(some, first, strict=True)]


class Pool:
    """Answers with neighbouring scores: sums of weighted scores, right answers and weights; their repositories."""

    def __init__(self) -> None:
        self.score = self.right = self.weight = 0.0
        self.repositories: set[str] = set()

    def add(self, score: float, right: float, weight: float, repositories: set[str]) -> None:
        """Take more answers."""
        self.score, self.right, self.weight = self.score + score, self.right + right, self.weight + weight
        self.repositories |= repositories

    @property
    def share(self) -> float:
        """The share of right answers."""
        return self.right / self.weight


def rising(points: list[tuple[float, bool, float, str]]) -> Points:
    """Return points (score, share right), rising, of answers (score, right, weight, repository): isotonic regression."""
    points.sort()
    least = sum(weight for _, _, weight, _ in points) / 12
    pools: list[Pool] = []
    for score, right, weight, repository in points:
        if not pools or (pools[-1].weight >= least and len(pools[-1].repositories) >= FEWEST):
            pools.append(Pool())
        pools[-1].add(score * weight, right * weight, weight, {repository})
        while len(pools) > 1 and pools[-1].weight >= least and pools[-2].share >= pools[-1].share:
            last = pools.pop()
            pools[-1].add(last.score, last.right, last.weight, last.repositories)
    if len(pools) > 1 and pools[-2].share >= pools[-1].share:
        last = pools.pop()
        pools[-1].add(last.score, last.right, last.weight, last.repositories)
    found: list[tuple[float, float]] = []
    for pool in pools:
        # As if one or two more repositories had been wrong than were seen: others will come than those of the corpus.
        seen = len(pool.repositories)
        share = max(pool.share * seen / (seen + 1.5), found[-1][1] if found else 0.0)
        if not found or pool.score / pool.weight > found[-1][0] + 1e-4:
            found.append((round(pool.score / pool.weight, 4), round(share, 4)))
    return tuple(found)


def fit(some: list[Answer]) -> Table:
    """Return shares of right names and of right repositories for each kind, and the constants."""
    weighed = list(zip(some, weights(some), strict=True))
    names, families = {}, {}
    for kind in KINDS:
        words = kind.split()
        for count in range(len(words), -1, -1):
            mine = [(a, w) for a, w in weighed if a.kind.split()[:count] == words[:count] and a.kind in KINDS]
            if len({answer.repository for answer, _ in mine}) >= FEWEST:
                break
        names[kind] = rising([(a.score, a.right_name, weight, a.repository) for a, weight in mine])
        families[kind] = rising([(a.score, a.right_family, weight, a.repository) for a, weight in mine])
    constants = {}
    for kind, constant in CONSTANTS.items():
        mine = [(answer, weight) for answer, weight in weighed if answer.kind == kind]
        said = sum(answer.score * weight for answer, weight in mine)
        seen = len({answer.repository for answer, _ in mine})
        shares = (
            sum(answer.right_name * weight for answer, weight in mine) / max(said, 1e-9),
            sum(answer.right_family * weight for answer, weight in mine) / max(sum(w for _, w in mine), 1e-9),
        )
        name, family = ((min(share, 1.0) * seen + 0.2) / (seen + 2) for share in shares)
        constants[constant] = (round(name, 4), round(family, 4))
    return names, families, constants


def told(answer: Answer, table: Table) -> Answer:
    """Return an answer with the confidences of a table."""
    names, families, constants = table
    if answer.kind in names:
        family = ranking.calibrated(families[answer.kind], answer.score)
        return answer._replace(name=min(ranking.calibrated(names[answer.kind], answer.score), family), family=family)
    if answer.kind in CONSTANTS:
        name, family = constants[CONSTANTS[answer.kind]]
        if answer.kind == between.PAUSE_EXACT:
            family = 0.0  # a known build is told by its names alone
        return answer._replace(name=answer.score * name, family=max(answer.score * name, family))
    return answer


def left_out(found: list[Answer]) -> list[Answer]:
    """Return the answers with confidences that were fitted without the repository's part."""
    result = []
    for part in range(FOLDS):
        table = fit([answer for answer in found if base_cases.part(answer.repository, FOLDS) != part])
        result += [told(answer, table) for answer in found if base_cases.part(answer.repository, FOLDS) == part]
    return result


def reliability(some: list[Answer], family: bool) -> list[tuple[float, float, int]]:
    """Return for each range of confidences: mean, share that was right, number of answers."""
    pairs = [(a.family, a.right_family) if family else (a.name, a.right_name) for a in some]
    rows = []
    for low, high in pairwise(_BINS):
        mine = [pair for pair in pairs if low <= pair[0] < high]
        if mine:
            rows.append((sum(said for said, _ in mine) / len(mine), sum(r for _, r in mine) / len(mine), len(mine)))
    return rows


def show(given: list[Answer]) -> None:
    """Print how confidences fit, for each world."""
    for world in WORLDS:
        some = [answer for answer in given if answer.world == world]
        total = len(some)
        first = sum(answer.right_family for answer in some) / total
        sure = sum(not a.right_family and a.family >= 0.8 for a in some) / total
        sure_name = sum(not a.right_name and a.name >= 0.8 for a in some) / total
        print(
            f"{TITLES[world]:30} {total:6}  family first {first:6.1%}  wrong with 80 % and more: "
            f"repository {sure:5.1%}, name {sure_name:5.1%}"
        )
        for what, family in (("name", False), ("repository", True)):
            rows = reliability(some, family)
            print(f"  {what:11}" + "  ".join(f"{mean:3.0%}:{share:4.0%} ({count})" for mean, share, count in rows))


def write(table: Table) -> None:
    """Write src/underlay/base/identify/marks/calibration.py."""
    names, families, constants = table
    lines = [
        '"""How sure answers by marks are, made by tools/fit_base_confidence.py: do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "# How often the known base was the image's all the same (its name, its repository) when a seam, or a pause of a",
        "# day, lies above it (exact: it is a known build); how often a root is what its own steps say.",
        *(f"{name} = {value}" for name, value in constants.items()),
        "# Kind of answer: score of marks, share of right names; both rising.",
        "NAME: dict[str, tuple[tuple[float, float], ...]] = {",
        *(f'    "{kind}": {points!r},' for kind, points in names.items()),
        "}",
        "# The same for repositories.",
        "FAMILY: dict[str, tuple[tuple[float, float], ...]] = {",
        *(f'    "{kind}": {points!r},' for kind, points in families.items()),
        "}",
    ]
    target = ROOT / "src/underlay/base/identify/marks/calibration.py"
    target.write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(target)], check=False)


def main() -> None:
    """Ask, fit, check, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--check", action="store_true", help="only show how left-out repositories do")
    parser.add_argument("--svg", help="folder to write reliability diagrams to")
    options = parser.parse_args()
    for table in (calibration.NAME, calibration.FAMILY):
        table.update(dict.fromkeys(KINDS, IDENTITY))
    found = answers(options.corpus)
    checked = left_out(found)
    show(checked)
    if options.svg:
        for file, family in (("base-reliability.svg", True), ("base-reliability-names.svg", False)):
            parts = [(TITLES[world], [answer for answer in checked if answer.world == world]) for world in WORLDS]
            panels = [(title, reliability(some, family)) for title, some in parts]
            Path(options.svg, file).write_text(base_open_world.diagram(panels), encoding="utf-8")
    if not options.check:
        write(fit(found))


if __name__ == "__main__":
    main()
