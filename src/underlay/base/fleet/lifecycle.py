"""When the support of a release ends: of the distribution that an image is, or of the runtime that its name says.

The facts come with underlay (`data/lifecycles.json`, made by tools/make_lifecycles.py from endoflife.date); `as_of` tells
of which day they are.
"""

from __future__ import annotations

import re

from ...files import read_bytes
from ...lean import jsontext
from .. import DATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SUPPORTED, NEAR, EXTENDED, ENDED, UNKNOWN = "supported", "near", "extended", "ended", "unknown"
NEAR_DAYS = 180

# os-release's ID, and names of repositories, where they are not the product's own.
_BY_ID = {
    "amzn": "amazonlinux",
    "ol": "oraclelinux",
    "opensuse-leap": "opensuse",
    "sled": "sles",
    "rockylinux": "rocky",
    "node": "nodejs",
    "golang": "go",
    "postgres": "postgresql",
    "mongo": "mongodb",
    "opensuse/leap": "opensuse",
}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_UBI = re.compile(r"(?:^|/)(?:ubi|rhel)([0-9]+)(?:-|/|$)")


class Lifecycle:
    """A release of a product and its end.

    `product`, its `title`, the `cycle` ("12", "3.6") and `codename`; days as YYYY-MM-DD, "" when not known: `released`,
    `ends` (regular support), `extended_ends`. `extended` names the extended support; `for_all` tells that everybody
    gets it (Debian's LTS) and not only who pays. `over` and `extended_over` answer where the source knows no day, None
    where it knows nothing. `latest` is its newest version; `as_of` the day of these facts.
    """

    __slots__ = (
        "as_of",
        "codename",
        "cycle",
        "ends",
        "extended",
        "extended_ends",
        "extended_over",
        "for_all",
        "latest",
        "over",
        "product",
        "released",
        "title",
    )

    def __init__(self, product: str, facts: dict[str, Any], row: list[Any], as_of: str) -> None:
        self.product = product
        self.title: str = facts["title"]
        self.extended: str = facts["extended"]
        self.for_all: bool = facts["for_all"]
        self.cycle: str = row[0]
        self.codename: str = row[1]
        self.released: str = row[2]
        self.ends, self.over = _end(row[3])
        self.extended_ends, self.extended_over = _end(row[4])
        self.latest: str = row[5]
        self.as_of = as_of

    def state(self, today: str, near_days: int = NEAR_DAYS) -> str:
        """Return how things stand on the day `today` (YYYY-MM-DD): SUPPORTED, NEAR (ends within `near_days`), EXTENDED
        (only the extended support that all get is left), ENDED or UNKNOWN."""
        if _gone(self.ends, self.over, today):
            left = self.for_all and _gone(self.extended_ends, self.extended_over, today) is False
            return EXTENDED if left else ENDED
        if not self.ends:
            return UNKNOWN if self.over is None else SUPPORTED
        from datetime import date

        left_days = (date.fromisoformat(self.ends) - date.fromisoformat(today)).days
        return NEAR if left_days <= near_days else SUPPORTED

    @property
    def final(self) -> str:
        """The day after which fixes are published for paying customers only, "" when not known."""
        return self.extended_ends if self.for_all and self.extended_ends else self.ends


def _end(value: object) -> tuple[str, bool | None]:
    """Return a day, or whether it is over: the source has either."""
    if isinstance(value, bool):
        return "", value
    return (value, None) if isinstance(value, str) and _DAY.fullmatch(value) else ("", None)


def _gone(day: str, over: bool | None, today: str) -> bool | None:
    return today > day if day else over


_facts: dict[str, Any] = {}


def _load() -> dict[str, Any]:
    if not _facts:
        path = DATA + "/lifecycles.json"
        facts = jsontext.loads(read_bytes(path))
        assert isinstance(facts, dict)
        _facts.update(facts)
    return _facts


def of_release(release: dict[str, str]) -> Lifecycle | None:
    """Return the lifecycle of what os-release names, None when nothing is known of it."""
    name, version = release.get("ID", "").lower(), release.get("VERSION_ID", "")
    if name == "centos" and "stream" in release.get("NAME", "").lower():
        name = "centos-stream"
    product = _BY_ID.get(name, name)
    if version:
        return _numbered(product, version)
    return _named(product, release.get("VERSION_CODENAME", ""))


def of_name(name: str, tag: str) -> Lifecycle | None:
    """Return the lifecycle that a name and tag say (`python`, `3.6-slim`; `docker.io/library/debian`, `jessie`); None
    when they say none: other names, `latest`, suites such as `stable`."""
    short = name.removeprefix("docker.io/").removeprefix("library/").lower()
    if match := _UBI.search(short):
        return _numbered("rhel", match[1])
    product = _BY_ID.get(short) or _BY_ID.get(short.rpartition("/")[2]) or short.rpartition("/")[2]
    if product == "centos" and tag.startswith("stream"):
        return _numbered("centos-stream", tag.removeprefix("stream"))
    return _numbered(product, tag) or _named(product, tag)


def _rows(product: str) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    facts = _load()["products"].get(product, {"releases": []})
    return facts, {row[0]: row for row in facts["releases"]}


def _numbered(product: str, version: str) -> Lifecycle | None:
    """Find by number: the longest beginning of it that is a release."""
    facts, rows = _rows(product)
    match = re.match(r"v?([0-9]+(?:\.[0-9]+)*)", version)
    parts = match[1].split(".") if match else []
    while parts:
        row = rows.get(".".join(parts))
        if row is not None:
            return Lifecycle(product, facts, row, _load()["date"])
        parts.pop()
    return None


def _named(product: str, word: str) -> Lifecycle | None:
    """Find by the first word of the code name: jessie, jessie-slim, jessie-20180101."""
    facts, rows = _rows(product)
    first = word.partition("-")[0].lower()
    for row in rows.values():
        if first and row[1].split(" ")[0].lower() == first:
            return Lifecycle(product, facts, row, _load()["date"])
    return None


def newest(product: str, today: str) -> Lifecycle | None:
    """Return the release of a product that came last before `today` (YYYY-MM-DD), None when nothing is known of it."""
    facts, rows = _rows(product)
    out = [row for row in rows.values() if Lifecycle(product, facts, row, "").released <= today]
    if not out:
        return None
    latest = max(out, key=lambda row: Lifecycle(product, facts, row, "").released)
    return Lifecycle(product, facts, latest, _load()["date"])
