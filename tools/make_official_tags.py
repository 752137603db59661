"""Make the tags and sources of official repositories that are shipped with underlay.

python tools/make_official_tags.py OFFICIAL.json DOCKERFILES.json

OFFICIAL.json has `source`, which names a day, and `repositories`: for each its variants with their `tags` (made from the
library of Docker Official Images). DOCKERFILES.json has `repositories`: for each its variants with `tags`, `from` and
`steps` (keyword, first 16 hexadecimal digits of the SHA-256 of each instruction).
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src")]

from underlay.base.identify.marks import sources

TARGET = ROOT / "src/underlay/base/data/official.tags"
SOURCES = ROOT / "src/underlay/base/data/official.sources"


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    day = re.search(r"\d{4}-\d\d-\d\d", data["source"])
    if not day:
        sys.exit("the source names no day")
    kept = {
        "day": day[0],
        "repositories": {
            repository: [[*variant["tags"], *variant.get("shared_tags", [])] for variant in variants]
            for repository, variants in sorted(data["repositories"].items())
        },
    }
    TARGET.write_bytes(zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), 9))
    files = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    known = [
        sources.Source(
            tuple(f"{repository}:{tag}" for tag in variant["tags"]),
            variant["from"] or "scratch",
            tuple((word, int(step, 16)) for word, step in variant["steps"]),
        )
        for repository, variants in sorted(files["repositories"].items())
        for variant in variants
    ]
    SOURCES.write_bytes(sources.dump(known))
    print(f"{len(known)} sources, {SOURCES.stat().st_size:,} bytes")
    print(f"{len(kept['repositories'])} repositories, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
