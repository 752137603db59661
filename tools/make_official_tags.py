"""Make the tags of official repositories that are shipped with underlay.

python tools/make_official_tags.py OFFICIAL.json

OFFICIAL.json has `source`, which names a day, and `repositories`: for each its variants with their `tags` (made from the
library of Docker Official Images).
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "src/underlay/base/data/official.tags"


def main() -> None:
    """Write the file."""
    if len(sys.argv) != 2:
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
    print(f"{len(kept['repositories'])} repositories, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
