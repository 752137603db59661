"""Make the index of known bases that is shipped with underlay.

python tools/make_known_bases.py CORPUS

CORPUS is a folder with bases.jsonl and bases-2026.jsonl: facts about public images (digests, sizes, times, steps).
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from bench import base_cases

from underlay.base.index import index_builder, known

TARGET = ROOT / "src/underlay/base/data/known.bases"


def main() -> None:
    """Write the index and say how large it is."""
    corpus = Path(sys.argv[1])
    records = [record for name in ("bases", "bases-2026") for record in base_cases.read(str(corpus / f"{name}.jsonl"))]
    data = index_builder.make(records)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(known.pack(data))
    builds = len(known.Known(data))
    print(f"{TARGET.relative_to(ROOT)}: {builds} builds, {len(data)} bytes, {TARGET.stat().st_size} packed")


if __name__ == "__main__":
    main()
