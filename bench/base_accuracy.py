"""How well the base of an image is found: predictions in, scores out.

    python bench/base_accuracy.py predict INDEX.jsonl RECORDS.jsonl > PREDICTIONS.jsonl
    python bench/base_accuracy.py score RECORDS.jsonl PREDICTIONS.jsonl
    python bench/base_accuracy.py evaluate CORPUS

`evaluate` asks for each image of a corpus (a folder with bases.jsonl and official-dev.jsonl) with builds withheld from
the index and with evidence hidden. The weights were learnt from these images, so it flatters;
`tools/fit_base_ranking.py CORPUS --check` shows families that nothing was learnt from.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_cases
from underlay.base.identify import image, lineage
from underlay.base.index import index_builder, known

Record = dict[str, Any]
# Withheld, hidden, record with the truth, prediction.
Scored = tuple[str, str, Record, Record]

CONFIDENT = 0.95
_BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.01)


def predict(record: Record, index: known.Known) -> Record:
    """Return the prediction for one record; nothing of it is used but what any image has."""
    report = lineage.identify(image.from_record(record), index)
    return {
        "candidates": [
            {
                "name": each.name,
                "names": list(each.names),
                "config_digest": each.config_digest,
                "layers": each.layers,
                "history": each.history,
                "confidence": each.confidence,
            }
            for each in report.candidates
        ],
        "chain": report.chain_names,
        "outdated": report.outdated,
    }


def _share(answers: list[bool]) -> str:
    return f"{100 * sum(answers) / len(answers):6.1f}" if answers else "     -"


def _judge(hidden: str, record: Record, prediction: Record) -> dict[str, Any]:
    """Compare one prediction with the truth."""
    truth = record.get("true_base") or "scratch"
    given = prediction.get("candidates") if isinstance(prediction, dict) else None
    found = [
        {**each, "confidence": each.get("confidence") or 0.0}
        for each in (given if isinstance(given, list) else ())
        if isinstance(each, dict) and isinstance(each.get("name"), str)
    ]
    first = found[0] if found else {"name": "", "confidence": 0.0}
    prediction = prediction if isinstance(prediction, dict) else {}
    build = record.get("true_base_build")
    boundary = None
    if build:
        side = "layers" if hidden == "history" else "history"
        boundary = first.get(side) == build[side]
    current = record.get("true_base_is_current")
    outdated = prediction.get("outdated")
    return {
        "boundary": boundary,
        "repository": first["name"].partition(":")[0] == truth.partition(":")[0],
        "tag": first["name"] == truth,
        "three": truth in [each["name"] for each in found[:3]],
        "build": None
        if not build or not first.get("config_digest")
        else first["config_digest"] == build["config_digest"],
        "chain": prediction.get("chain") == record.get("true_base_chain"),
        "outdated": None if outdated is None or current is None else outdated != current,
        "confidence": first["confidence"],
        "scratch": truth == "scratch",
    }


def show(scored: list[Scored]) -> None:
    """Print the table of scores, a line for each case, and how confidences fit."""
    cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for withheld, hidden, record, prediction in scored:
        cases.setdefault((withheld, hidden), []).append(_judge(hidden, record, prediction))
    print("withheld  hidden    images  boundary repo@1  tag@1  tag@3  build  chain outdated  scratch  >95%  wrong")
    for (withheld, hidden), judged in cases.items():
        based = [each for each in judged if not each["scratch"]]
        sure = [each for each in judged if each["confidence"] > CONFIDENT]
        print(
            f"{withheld:9} {hidden:9} {len(judged):6}  ",
            _share([each["boundary"] for each in based if each["boundary"] is not None]),
            *(_share([each[what] for each in based]) for what in ("repository", "tag", "three")),
            _share([each["build"] for each in based if each["build"] is not None]),
            _share([each["chain"] for each in judged]),
            _share([each["outdated"] for each in judged if each["outdated"] is not None]),
            "",
            _share([each["tag"] for each in judged if each["scratch"]]),
            f"{len(sure):6} {sum(not each['tag'] for each in sure):6}",
        )
    everything = [each for judged in cases.values() for each in judged]
    print("\nconfidence    answers  mean  right (of all cases; a withheld tag cannot be named)")
    for low, high in pairwise(_BINS):
        some = [each for each in everything if low <= each["confidence"] < high]
        if some:
            mean = 100 * sum(each["confidence"] for each in some) / len(some)
            print(
                f"{low:4.2f} - {min(high, 1):4.2f}  {len(some):8} {mean:6.1f} {_share([each['tag'] for each in some])}"
            )


def evaluate(corpus: str, kinds: list[str]) -> None:
    """Print scores for each way of withholding and hiding."""
    bases = base_cases.read(f"{corpus}/bases.jsonl")
    records = base_cases.read(f"{corpus}/official-dev.jsonl")
    scored: list[Scored] = []
    spent = asked = 0.0
    for kind in kinds:
        for left, some in base_cases.withheld(kind, bases, records):
            index = known.Known(index_builder.make(left))
            for hidden in base_cases.HIDDEN:
                started = time.perf_counter()
                for record in some:
                    scored.append((kind, hidden, record, predict(base_cases.asked(record, hidden), index)))
                spent += time.perf_counter() - started
                asked += len(some)
    scored.sort(key=lambda each: (kinds.index(each[0]), base_cases.HIDDEN.index(each[1])))
    show(scored)
    print(f"\n{1000 * spent / asked:.2f} ms each, {60 * asked / spent:,.0f} records a minute on one core")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("predict", help="write one prediction for each record to stdout")
    one.add_argument("index")
    one.add_argument("records")
    two = commands.add_parser("score", help="compare predictions with the truth in the records")
    two.add_argument("records")
    two.add_argument("predictions")
    two.add_argument("--hidden", choices=base_cases.HIDDEN, default="nothing", help="what was hidden from the records")
    three = commands.add_parser("evaluate", help="withhold, hide, predict and score")
    three.add_argument("corpus")
    three.add_argument("--withheld", choices=base_cases.WITHHELD, nargs="*", default=list(base_cases.WITHHELD))
    options = parser.parse_args()
    if options.command == "predict":
        index = known.Known(index_builder.make(base_cases.read(options.index)))
        started = time.perf_counter()
        count = 0
        with open(options.records, encoding="utf-8") as file:
            for line in filter(str.strip, file):
                record = json.loads(line)
                print(json.dumps(predict(record if isinstance(record, dict) else {}, index), separators=(",", ":")))
                count += 1
        spent = time.perf_counter() - started
        print(f"{count} records in {spent:.1f} s", file=sys.stderr)
    elif options.command == "score":
        records, predictions = base_cases.read(options.records), base_cases.read(options.predictions)
        if len(records) != len(predictions):
            sys.exit(f"{len(records)} records, but {len(predictions)} predictions")
        show([("?", options.hidden, *pair) for pair in zip(records, predictions, strict=True)])
    else:
        evaluate(options.corpus, options.withheld)


if __name__ == "__main__":
    main()
