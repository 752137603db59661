"""Write src/underlay/base/data/lifecycles.json: when releases of distributions and runtimes end, from endoflife.date.

    python tools/make_lifecycles.py CYCLES

CYCLES is an extract of endoflife-date/endoflife.date: {commit, commit_date, source, products: {name: {title, columns,
releases}}}, releases as in the front matter of its product pages.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "src" / "underlay" / "base" / "data" / "lifecycles.json"
# Who gets the extended support of a product: all who use it (Debian's LTS), or who pays.
FOR_ALL = {"debian"}


def compact(product: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what is needed of a product; a release is a list, since there are hundreds."""
    columns = product.get("columns") or {}
    title = columns.get("eoesColumn")
    rows = []
    for each in product["releases"]:
        row = [
            each["releaseCycle"],
            each.get("codename") or "",
            each.get("releaseDate") or "",
            each.get("eol"),
            each.get("eoes"),
            each.get("latest") or "",
        ]
        rows.append(row)
    return {
        "title": product["title"],
        "extended": re.sub(r"<[^>]*>", "", title) if isinstance(title, str) else "",
        "for_all": name in FOR_ALL,
        "releases": rows,
    }


def main(path: str) -> None:
    """Read the extract at `path` and write the file."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))
    products = {name: compact(product, name) for name, product in sorted(data["products"].items())}
    head = {"source": data["source"], "commit": data["commit"], "date": data["commit_date"][:10]}
    lines = [json.dumps(name) + ": " + json.dumps(product, separators=(",", ":")) for name, product in products.items()]
    text = json.dumps(head, separators=(",", ":"))[:-1] + ',"products":{\n' + ",\n".join(lines) + "\n}}\n"
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
