"""Learn the weights of `underlay.base.identify.ranking` from a corpus of images with known bases; needs numpy and scipy.

    python tools/fit_base_ranking.py CORPUS [--check]

CORPUS is a folder with official-dev.jsonl and bases.jsonl. Each image is asked for with builds withheld from the
index and with evidence hidden. Weights are pulled towards what is plausible (PRIOR), those of names more strongly,
so that what a few families of images have in common does not pass for a law. `--check` leaves whole families out
in turn and shows how the rest does on them; the shares of right answers of these runs are also what confidences are
calibrated by. Without it the weights of all are written to src/underlay/base/identify/weights.py, too.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

import numpy
from bench import base_accuracy, base_cases
from scipy.optimize import minimize

from underlay.base.identify import features, image, matches, ranking
from underlay.base.index import index_builder, known

FOLDS = 5
WITHHELD_WEIGHT = {"nothing": 0.7, "build": 1.0, "derived": 1.2, "newer": 1.2, "tag": 0.25, "half": 0.8}
PRIOR = {
    "exact_here": 1.0,
    "exact_here_else": -4.0,
    "layers_all": 1.0,
    "steps_all": 1.0,
    "steps_equal": 3.0,
    "shallower": -1.5,
    "deeper_exact": -1.0,
    "root_size": -1.5,
    "root_fine": -1.0,
    "root_finer": -1.5,
    "sizes": -2.0,
    "gap": 1.2,
    "partial": -1.0,
    "partial_tail": -2.0,
    "version_yes": 2.5,
    "word_above": 1.5,
    "in_series": -1.2,
    "as_line": 1.5,
    "deeper_than_line": -1.2,
    "shallower_than_line": -1.0,
    "line_words": 0.5,
    "steady": -1.0,
    "builds_share": 0.5,
    "as_lived": 0.5,
    "lived": 0.5,
    "deeper_than_lived": -0.7,
    "shallower_than_lived": -0.5,
    "shallower2_than_lived": -0.8,
    "fewer_words_than_lived": -0.8,
    "fewer2_words_than_lived": -1.5,
    "more_words_than_lived": -1.5,
    "dated": -3.0,
    "latest": -1.5,
    "channel": -1.5,
    "echo": -2.5,
    "numbered_extra": -1.0,
    "depth3": -0.5,
    "depth4": -1.0,
    "code_other_version": 0.5,
    "code_spoken": 2.5,
    "short": -1.5,
}
_FIRST_OF_NAMES = features.POSSIBLE_BASE.index("latest")
_LAST_OF_NAMES = features.POSSIBLE_BASE.index("versionless_lived")
NAMING = {
    *(
        set(features.POSSIBLE_BASE[_FIRST_OF_NAMES : _LAST_OF_NAMES + 1])
        - set("not_yet gone version_yes version_no".split())
    ),
    *features.POSSIBLE_BASE[features.POSSIBLE_BASE.index("in_series") : features.POSSIBLE_BASE.index("line_words") + 1],
} - {"word_above", "word_above_not"}
GROUPS = {
    "possible_base": features.POSSIBLE_BASE,
    "scratch": features.SCRATCH,
    "unknown": features.UNKNOWN,
    "other": features.OTHER,
}
PULL = 1.5e-3
PULL_OF_NAMES = 3e-2


class Case:
    """One question: what is known of each possible answer, and which are right."""

    def __init__(self, record: dict[str, Any], withheld: str, hidden: str, index: known.Known) -> None:
        self.record = record
        self.withheld = withheld
        self.hidden = hidden
        asked = matches.Asked(image.from_record(base_cases.asked(record, hidden)), index)
        possible_bases = matches.possible_bases(asked)
        deepest = max((matches.depth_of(asked, p) for p in possible_bases if p.partial is None), default=0)
        table = features.table(asked, possible_bases, matches.twins(asked, deepest))
        self.kind = ranking.kind_of(asked)
        truth = record["true_base"]
        build = record["true_base_build"]
        right = []
        for possible_base in possible_bases:
            depth = build is None or (
                possible_base.steps == build["history"] if asked.texts else possible_base.layers == build["layers"]
            )
            right.append(index.name(possible_base.name) == truth and depth)
        lengths = [len(names) for names in GROUPS.values()]
        starts = [sum(lengths[:number]) for number in range(4)]
        rows: list[tuple[int, list[float]]] = [(0, row) for row in table.rows]
        rows.append((1, table.scratch))
        rows += [(2, row) for _, row in table.unknown]
        rows.append((3, table.other))
        self.rows = numpy.zeros((len(rows), sum(lengths)), numpy.float32)
        for number, (group, row) in enumerate(rows):
            self.rows[number, starts[group] : starts[group] + lengths[group]] = row
        self.right = numpy.zeros(len(rows), bool)
        if truth is None:
            self.right[len(possible_bases)] = True
        elif any(right):
            self.right[: len(possible_bases)] = right
        elif build and any(steps == build["history"] for steps, _ in table.unknown):
            for number, (steps, _) in enumerate(table.unknown, len(possible_bases) + 1):
                self.right[number] = steps == build["history"]
        else:
            self.right[-1] = True


def cases(corpus: str, indexes: dict[Any, Any] | None = None) -> list[Case]:
    """Return all questions; `indexes` keeps each index with the questions that were asked of it."""
    bases = base_cases.read(f"{corpus}/bases.jsonl")
    records = base_cases.read(f"{corpus}/official-dev.jsonl")
    found = []
    for withheld in base_cases.WITHHELD:
        for left, some in base_cases.withheld(withheld, bases, records):
            index = known.Known(index_builder.make(left))
            for hidden in base_cases.HIDDEN:
                asked = [Case(record, withheld, hidden, index) for record in some]
                found += asked
                if indexes is not None:
                    for case in asked:
                        indexes[id(case)] = index
    return found


def fit(some: list[Case], start: Any = None) -> Any:
    """Return the weights under which the right answers of these cases are the most likely, near the prior."""
    groups = Counter((case.record["family"], case.record["true_base"]) for case in some)
    families = Counter(case.record["family"] for case in some)
    rows = numpy.concatenate([case.rows for case in some])
    right = numpy.concatenate([case.right for case in some])
    counts = numpy.array([len(case.right) for case in some])
    starts = numpy.concatenate([[0], numpy.cumsum(counts)[:-1]])
    weight = numpy.array(
        [
            WITHHELD_WEIGHT[case.withheld]
            / groups[case.record["family"], case.record["true_base"]] ** 0.4
            / families[case.record["family"]] ** 0.25
            for case in some
        ]
    )
    weight /= weight.sum()
    each = numpy.repeat(weight, counts).astype(numpy.float32)
    names = [name for group in GROUPS.values() for name in group]
    in_place = len(features.POSSIBLE_BASE)
    mean = numpy.array([PRIOR.get(name, 0.0) if spot < in_place else 0.0 for spot, name in enumerate(names)])
    pull = numpy.array([PULL_OF_NAMES if s < in_place and name in NAMING else PULL for s, name in enumerate(names)])

    def loss(theta: Any) -> tuple[float, Any]:
        scores = rows @ theta.astype(numpy.float32)
        chance = numpy.exp(scores - numpy.repeat(numpy.maximum.reduceat(scores, starts), counts))
        total = numpy.add.reduceat(chance, starts)
        of_right = numpy.where(right, chance, 0)
        sum_right = numpy.add.reduceat(of_right, starts) + 1e-12
        slope = chance / numpy.repeat(total, counts) - of_right / numpy.repeat(sum_right, counts)
        away = theta - mean
        value = -(numpy.log(sum_right / total) * weight).sum() + 0.5 * (pull * away * away).sum()
        return float(value), (rows.T @ (slope * each)).astype(float) + pull * away

    begin = mean.copy() if start is None else 0.5 * (start + mean)
    return minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": 120 if start is None else 80}).x


def as_weights(theta: Any) -> dict[str, tuple[float, ...]]:
    """Return weights as `ranking` has them."""
    found = {}
    start = 0
    for group, names in GROUPS.items():
        found[group] = tuple(round(float(value), 3) for value in theta[start : start + len(names)])
        start += len(names)
    return found


def fold(family: str) -> int:
    """Return the part of the families that one is in."""
    return hashlib.sha256(family.encode()).digest()[0] % FOLDS


Answer = tuple[Case, ranking.Ranking]


def left_out(found: list[Case], indexes: dict[Any, Any], starts: dict[str, Any]) -> list[Answer]:
    """Return the answers to all cases, each given by weights that were learnt without the image's family."""
    answers: list[Answer] = []
    ranking.CALIBRATION = dict.fromkeys(calibrated_kinds(), ((0.0, 0.0), (1.0, 1.0)))
    for part in range(FOLDS):
        ranking.WEIGHTS = {}
        for kind in starts:
            some = [case for case in found if case.kind == kind and fold(case.record["family"]) != part]
            ranking.WEIGHTS[kind] = as_weights(fit(some, starts[kind]))
        for case in found:
            if fold(case.record["family"]) == part:
                content = image.from_record(base_cases.asked(case.record, case.hidden))
                answers.append((case, ranking.rank(matches.Asked(content, indexes[id(case)]))))
        print("families left out:", part + 1, "of", FOLDS, flush=True)
    return answers


def calibrated_kinds() -> list[str]:
    """Return the kinds of answers that have a calibration of their own."""
    return ["scratch", *(f"{kind} {how}" for kind in ("all", "history", "layers") for how in ("sure", "like"))]


def calibration(answers: list[Answer]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Return for each kind of answer points (probability, share right), rising, from the answers to left-out families."""
    points: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in calibrated_kinds()}
    for case, answer in answers:
        first = answer.names[0]
        kind = "scratch" if first.possible_base is None else f"{answer.kind} {'sure' if answer.sure else 'like'}"
        right = first.name == (case.record["true_base"] or "scratch")
        points[kind].append((first.probability, float(right), WITHHELD_WEIGHT[case.withheld]))
    return {kind: _rising(found) for kind, found in points.items()}


def _rising(points: list[tuple[float, float, float]]) -> tuple[tuple[float, float], ...]:
    """Pool neighbours until shares rise (isotonic regression), at least a fortieth of all answers in each."""
    points.sort()
    least = max(sum(weight for _, _, weight in points) / 40, 15.0)
    pools: list[list[float]] = []
    for chance, right, weight in points:
        if not pools or pools[-1][2] >= least:
            pools.append([0.0, 0.0, 0.0])
        pool = pools[-1]
        pool[0] += chance * weight
        pool[1] += right * weight
        pool[2] += weight
    merged: list[list[float]] = []
    for pool in pools:
        merged.append(pool)
        while len(merged) > 1 and merged[-2][1] / merged[-2][2] >= merged[-1][1] / merged[-1][2]:
            last = merged.pop()
            merged[-1] = [a + b for a, b in zip(merged[-1], last, strict=True)]
    found: list[tuple[float, float]] = []
    for chance, right, weight in merged:
        # As if some more had been wrong than were seen: families to come are not those that were left out.
        share = max(right / (weight + 3.0), found[-1][1] if found else 0.0)
        if not found or chance / weight > found[-1][0] + 1e-4:
            found.append((round(chance / weight, 4), round(share, 4)))
    return tuple(found) or ((0.0, 0.0), (1.0, 0.5))


def write(weights: dict[str, Any], shares: dict[str, Any]) -> None:
    """Write src/underlay/base/identify/weights.py."""
    lines = [
        '"""Weights and calibration of `ranking`, made by tools/fit_base_ranking.py: do not edit."""',
        "",
        "from __future__ import annotations",
        "",
        "",
        "def _numbers(text: str) -> tuple[float, ...]:",
        "    return tuple(map(float, text.split()))",
        "",
        "",
        "# Kind of evidence, group of numbers: one weight for each name in `features`.",
        "WEIGHTS: dict[str, dict[str, tuple[float, ...]]] = {",
    ]
    for kind, groups in weights.items():
        lines.append(f'    "{kind}": {{')
        for group, numbers in groups.items():
            text = " ".join(f"{number:g}" for number in numbers)
            lines += [f'        "{group}": _numbers("""', *textwrap.wrap(text, 116), '"""),']
        lines.append("    },")
    lines += [
        "}",
        "# Kind of answer: probability, share of answers that were right, both rising.",
        "CALIBRATION: dict[str, tuple[tuple[float, float], ...]] = {",
    ]
    for kind, points in shares.items():
        text = " ".join(f"{number:g}" for point in points for number in point)
        lines += [f'    "{kind}": _points("""', *textwrap.wrap(text, 116), '"""),']
    lines.append("}")
    lines[9:9] = [
        "def _points(text: str) -> tuple[tuple[float, float], ...]:",
        "    numbers = _numbers(text)",
        "    return tuple(zip(numbers[::2], numbers[1::2], strict=True))",
        "",
        "",
    ]
    target = ROOT / "src/underlay/base/identify/weights.py"
    target.write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(target)], check=False)


def main() -> None:
    """Fit, check, calibrate, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus")
    parser.add_argument("--check", action="store_true", help="only show how left-out families do")
    options = parser.parse_args()
    indexes: dict[Any, Any] = {}
    found = cases(options.corpus, indexes)
    print(len(found), "cases", flush=True)
    thetas = {kind: fit([case for case in found if case.kind == kind]) for kind in ("all", "history", "layers")}
    answers = left_out(found, indexes, thetas)
    shares = calibration(answers)
    ranking.CALIBRATION = shares
    scored = []
    for case, answer in answers:
        first = answer.names[0]
        kind = "scratch" if first.possible_base is None else f"{answer.kind} {'sure' if answer.sure else 'like'}"
        confidence = ranking.calibrated(shares[kind], first.probability)
        scored.append((case.withheld, case.hidden, case.record, prediction(answer, confidence)))
    base_accuracy.show(scored)
    if not options.check:
        write({kind: as_weights(theta) for kind, theta in thetas.items()}, shares)


def prediction(answer: ranking.Ranking, confidence: float) -> dict[str, Any]:
    """Return an answer in the form of a prediction."""
    found = []
    for named in answer.names[:10]:
        depth = {"layers" if answer.kind == "layers" else "history": named.depth}
        found.append({"name": named.name, "names": [named.name], "confidence": named.probability, **depth})
    if found:
        found[0]["confidence"] = confidence
    return {"candidates": found, "chain": [], "outdated": None}


if __name__ == "__main__":
    main()
