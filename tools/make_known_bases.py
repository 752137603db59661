"""Make the index of known bases that is shipped with underlay.

python tools/make_known_bases.py CORPUS

CORPUS is a folder with bases.jsonl, bases-2026.jsonl, official-dev.jsonl and official-2026*-dev.jsonl: facts about public
images (digests, sizes, times, steps).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_cases

from underlay.base.index import index_builder, known

TARGET = ROOT / "src/underlay/base/data/known.bases"


FILES = (
    "bases.jsonl",
    "bases-2026.jsonl",
    "official-dev.jsonl",
    "official-2026-dev.jsonl",
    "official-2026-more-dev.jsonl",
)
SNAPSHOT = "2018-01-27"  # last day of the older record


def record(image: base_cases.Record) -> base_cases.Record:
    """Return an image as a known build: on which build it stands, and from when to when it was seen."""
    made = max((moment or "" for moment in image.get("history_created") or ()), default="")[:10]
    first = image.get("first_seen") or made
    current = image.get("current_at_snapshot")
    parent = (image.get("true_base_build") or {}).get("config_digest") or image.get("parent")
    return {
        **image,
        "first_seen": first,
        "last_seen": image.get("last_seen") or (SNAPSHOT if current else first),
        "parent": parent,
    }


def records(corpus: Path) -> list[base_cases.Record]:
    """Return all builds of a corpus; of one that several files have, the names of all."""
    found: dict[tuple[str, str], base_cases.Record] = {}
    for name in FILES:
        for image in base_cases.read(str(corpus / name)):
            one = record(image)
            kept = found.setdefault((one["ref"].rpartition(":")[0], one["config_digest"]), one)
            if kept is not one:
                kept["tags"] = [*dict.fromkeys([*kept["tags"], *one["tags"]])]
                kept["parent"] = kept["parent"] or one["parent"]
    return list(found.values())


def main() -> None:
    """Write the index and say how large it is."""
    data = index_builder.make(records(Path(sys.argv[1])))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(known.pack(data))
    builds = len(known.Known(data))
    print(f"{TARGET.relative_to(ROOT)}: {builds} builds, {len(data)} bytes, {TARGET.stat().st_size} packed")


if __name__ == "__main__":
    main()
