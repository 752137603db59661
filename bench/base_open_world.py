"""How well bases are told that no index knows: applications of four more steps on images whose repository is unknown.

    python bench/base_open_world.py CORPUS [--index INDEX.jsonl …] [--table]

CORPUS is a folder with bases.jsonl, official-dev.jsonl and official-2026*-dev.jsonl. Each image of 2026 becomes the base of
an application; the index knows the builds of bases.jsonl. Each image of official-dev.jsonl becomes one, too, with its
whole repository and all that stands on it withheld from the index. An answer is right when the first candidate is of the
base's repository; it is a sure error when it names another repository with 80 % or more.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_accuracy, base_cases
from underlay.base.index import index_builder, known

Record = dict[str, Any]

SURE = 0.8
# Steps and the command they leave, as people write them: a script, a service, a compiled program, files to be served, a
# tool that leaves the command as it is.
APPLICATIONS: tuple[tuple[tuple[str, ...], list[str] | None], ...] = (
    (
        (
            "WORKDIR /app",
            "COPY requirements.txt . # buildkit",
            "RUN /bin/sh -c pip install -r requirements.txt # buildkit",
            'CMD ["python" "main.py"]',
        ),
        ["python", "main.py"],
    ),
    (
        ("WORKDIR /srv/shop", "COPY . . # buildkit", "EXPOSE map[8080/tcp:{}]", 'CMD ["./start.sh"]'),
        ["./start.sh"],
    ),
    (
        (
            "LABEL org.opencontainers.image.title=orders",
            "COPY build/orders /usr/local/bin/orders # buildkit",
            "USER 10001",
            'ENTRYPOINT ["/usr/local/bin/orders"]',
        ),
        None,
    ),
    (
        (
            "ENV APP_ENV=production",
            "RUN /bin/sh -c mkdir -p /opt/site # buildkit",
            "COPY dist/ /opt/site # buildkit",
            "COPY site.conf /etc/site.conf # buildkit",
        ),
        [],
    ),
    (
        (
            "ARG DEBIAN_FRONTEND=noninteractive",
            "RUN /bin/sh -c install-tools curl jq # buildkit",
            "COPY tool.sh /usr/bin/tool # buildkit",
            "WORKDIR /work",
        ),
        [],
    ),
)
_PARTS = 8
_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.01)


def application(record: Record, kind: int, timed: bool = True) -> Record:
    """Return an application of four more steps on the image of a record; `timed`: its steps say when they were made."""
    steps, command = APPLICATIONS[kind]
    made = copy.deepcopy(
        {key: record.get(key) for key in ("layers", "history", "history_created", "cmd", "entrypoint")}
    )
    made["history"] += steps
    moment = made["history_created"][-1] if made["history_created"] else None
    if moment:
        later = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")) + datetime.timedelta(days=9)
        moment = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    made["history_created"] += [moment] * len(steps)
    if not timed:
        made["history_created"] = []
    filling = [step for step in steps if step.startswith(("RUN", "COPY", "ADD", "WORKDIR"))]
    for spot, _ in enumerate(filling):
        number = base_cases.part(f"{record['config_digest']} {spot}", 1 << 30)
        made["layers"].append([f"sha256:{number:064x}", 9_000 + 517 * spot])
    made["cmd"] = command if command != [] else made["cmd"]
    made["true_base"] = record["ref"]
    made["steps_of_base"] = len(record["history"])
    return made


def of_2026(corpus: str) -> list[Record]:
    """Return the images of 2026."""
    files = sorted(Path(corpus).glob("official-2026*-dev.jsonl"))
    return [record for file in files for record in base_cases.read(str(file))]


def repository(name: str) -> str:
    """Return the repository of a name."""
    return name.rpartition(":")[0] or name


def withheld(corpus: str) -> Iterator[tuple[list[Record], list[Record]]]:
    """Yield pairs: an index without some repositories and what stands on them, and images of these repositories."""
    bases = base_cases.read(f"{corpus}/bases.jsonl")
    records = base_cases.read(f"{corpus}/official-dev.jsonl")
    for number in range(_PARTS):
        some = [record for record in records if base_cases.part(record["family"], _PARTS) == number]
        gone = {base["config_digest"] for base in bases if base_cases.part(repository(base["ref"]), _PARTS) == number}
        gone |= {record["config_digest"] for record in some}
        grown = gone | {base["config_digest"] for base in bases if base.get("parent") in gone}
        while grown != gone:
            gone, grown = grown, grown | {base["config_digest"] for base in bases if base.get("parent") in grown}
        yield [base for base in bases if base["config_digest"] not in gone], some


Answer = tuple[Record, Record]


def answers(index: known.Known, records: list[Record], kinds: range, timed: bool = True) -> list[Answer]:
    """Return applications on records, with the answers for them."""
    asked = [application(record, kind, timed) for record in records for kind in kinds]
    return [(each, base_accuracy.predict(each, index)) for each in asked]


def right(answer: Answer) -> bool:
    """Tell whether the first candidate is of the base's repository."""
    return repository(answer[1]["candidates"][0]["name"]) == repository(answer[0]["true_base"])


def sure_error(answer: Answer) -> bool:
    """Tell whether another repository is named with 80 % or more."""
    return not right(answer) and answer[1]["candidates"][0]["confidence"] >= SURE


def summary(title: str, given: list[Answer]) -> str:
    """Return one line on a set of answers."""
    total = max(len(given), 1)
    first = sum(map(right, given))
    exact = sum(each[1]["candidates"][0]["name"] == each[0]["true_base"] for each in given)
    named = sum(each[0]["true_base"] in each[1]["candidates"][0]["names"] for each in given)
    end = sum(each[1]["candidates"][0]["history"] == each[0]["steps_of_base"] for each in given)
    wrong = sum(map(sure_error, given))
    return (
        f"{title:34} {len(given):6} family {100 * first / total:5.1f}  name {100 * exact / total:5.1f}"
        f"  among names {100 * named / total:5.1f}  end {100 * end / total:5.1f}  sure error {100 * wrong / total:5.1f}"
    )


def reliability(given: list[Answer]) -> list[tuple[float, float, int]]:
    """Return for each range of confidences: mean, share with the base's name among theirs, number of answers."""
    rows = []
    for low, high in pairwise(_BINS):
        some = [each for each in given if low <= each[1]["candidates"][0]["confidence"] < high]
        if some:
            mean = sum(each[1]["candidates"][0]["confidence"] for each in some) / len(some)
            named = sum(each[0]["true_base"] in each[1]["candidates"][0]["names"] for each in some)
            rows.append((mean, named / len(some), len(some)))
    return rows


def diagram(panels: list[tuple[str, list[tuple[float, float, int]]]]) -> str:
    """Return a reliability diagram (SVG): for each panel, confidence to the right, share that was right upwards."""
    side, left, gap, margin, columns = 240, 46, 56, 34, 3
    rows_of_panels = (len(panels) + columns - 1) // columns
    width, height = left + min(len(panels), columns) * (side + gap), rows_of_panels * (margin + side + 44)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, rows) in enumerate(panels):
        top = margin + number // columns * (margin + side + 44)
        x, bottom = left + number % columns * (side + gap), top + side
        parts.append(f'<text x="{x}" y="{top - 12}" font-size="13">{title}</text>')
        parts.append(f'<rect x="{x}" y="{top}" width="{side}" height="{side}" fill="none" stroke="#888888"/>')
        parts.append(f'<path d="M{x} {bottom}L{x + side} {top}" stroke="#bbbbbb" stroke-dasharray="4 4"/>')
        for mark in (0, 50, 100):
            spot = side * mark // 100
            parts.append(f'<text x="{x + spot}" y="{bottom + 16}" text-anchor="middle">{mark}</text>')
            parts.append(f'<text x="{x - 6}" y="{bottom - spot + 4}" text-anchor="end">{mark}</text>')
        parts.append(f'<text x="{x + side // 2}" y="{bottom + 34}" text-anchor="middle">confidence, %</text>')
        most = max((count for _, _, count in rows), default=1)
        for mean, share, count in rows:
            radius = 3 + 9 * (count / most) ** 0.5
            place = f'cx="{x + side * mean:.1f}" cy="{bottom - side * share:.1f}" r="{radius:.1f}"'
            text = f"{count} answers: {100 * mean:.0f} % said, {100 * share:.0f} % right"
            parts.append(f'<circle {place} fill="#2f6fab" fill-opacity="0.7"><title>{text}</title></circle>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def table(given: list[Answer]) -> Iterator[str]:
    """Yield the rows of a Markdown table: each base, what was named first, with which confidence, over the kinds."""
    yield "| base | named first | confidence | right |"
    yield "| --- | --- | ---: | ---: |"
    grouped: dict[str, list[Answer]] = {}
    for each in given:
        grouped.setdefault(each[0]["true_base"], []).append(each)
    for base, some in sorted(grouped.items()):
        names = sorted({each[1]["candidates"][0]["name"] for each in some})
        numbers = [each[1]["candidates"][0]["confidence"] for each in some]
        yield (
            f"| {base} | {', '.join(names)} | {100 * min(numbers):.0f}-{100 * max(numbers):.0f} % "
            f"| {sum(map(right, some))} of {len(some)} |"
        )


def main() -> None:
    """Print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--index", nargs="*", help="files of known builds, instead of the corpus's bases.jsonl")
    parser.add_argument("--table", action="store_true", help="a row for each image of 2026")
    options = parser.parse_args()
    files = options.index or [f"{options.corpus}/bases.jsonl"]
    index = known.Known(index_builder.make([record for file in files for record in base_cases.read(file)]))
    kinds = range(len(APPLICATIONS))
    today = answers(index, of_2026(options.corpus), kinds)
    if options.table:
        print("\n".join(table(today)))
    print(summary("2026, in no index", today))
    print(summary("2026, in no index, no times", answers(index, of_2026(options.corpus), kinds, False)))
    past: list[Answer] = []
    for left, some in withheld(options.corpus):
        past += answers(known.Known(index_builder.make(left)), some, range(base_cases.part(some[0]["ref"], 5), 5))
    print(summary("2016-2018, repositories withheld", past))
    for title, given in (("2026", today), ("withheld", past)):
        print(f"\n{title}: confidence, share with the right name, answers")
        for mean, share, count in reliability(given):
            print(f"  {100 * mean:5.1f} {100 * share:6.1f} {count:6}")


if __name__ == "__main__":
    main()
