"""Ruby gems: the specification that RubyGems writes for each installed gem (`specifications/NAME-VERSION.gemspec`)."""

from __future__ import annotations

import re

from ...errors import LimitExceeded
from ..model import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents, Files

ENDINGS = (b".gemspec",)
_PLACE = re.compile(rb"(?:^|/)specifications/(?:default/)?[^/]+\.gemspec$")
_LIMIT = 1 << 20
_FIELD = re.compile(
    rb"""^\s*\w+\.(name|version|platform)\s*=\s*(?:Gem::Version\.new\()?\s*(["'])([^"']{1,200})\2""", re.M
)
_LICENCES = re.compile(rb"""^\s*\w+\.licenses?\s*=\s*\[?\s*(["'])([^"']{1,100})\1""", re.M)


def is_package(path: bytes) -> bool:
    """Tell whether a gemspec is that of an installed gem, and not the source of one."""
    return _PLACE.search(path) is not None


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the gems specified at `paths` to `contents`. Only what RubyGems itself writes is understood: nothing is run."""
    for path in paths:
        try:
            data = files.read(path, _LIMIT) or b""
        except LimitExceeded:
            data = b""
        fields: dict[bytes, str] = {}
        for word, _, value in _FIELD.findall(data):
            fields.setdefault(word, value.decode("utf-8", "replace"))
        name, version = fields.get(b"name", ""), fields.get(b"version", "")
        if not name or not version:
            contents.skipped += 1
            continue
        licence = _LICENCES.search(data)
        contents.add(
            Package(
                "gem",
                name,
                version,
                licence=licence[2].decode("utf-8", "replace") if licence else "",
                path=path.decode("utf-8", "replace"),
            )
        )
