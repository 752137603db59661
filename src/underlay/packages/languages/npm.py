"""Packages of npm: the package.json of what lies in directories called node_modules."""

from __future__ import annotations

import re

from ...errors import LimitExceeded
from ...lean import jsontext
from ..model import DatabaseContents, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Files

ENDINGS = (b"/package.json",)
_PLACE = re.compile(rb"(?:^|/)node_modules/(?:@[^/]+/)?[^/]+/package\.json$")
_LIMIT = 4 << 20
_NAME = re.compile(r"(?:@[A-Za-z0-9._~-]+/)?[A-Za-z0-9._~-]+")


def is_package(path: bytes) -> bool:
    """Tell whether a package.json is that of an installed package, and not of a part of one."""
    return _PLACE.search(path) is not None


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the packages described at `paths` to `contents`; what has no name or version is part of another, not skipped."""
    for path in paths:
        try:
            data = files.read(path, _LIMIT)
            value = jsontext.loads((data or b"").removeprefix(b"\xef\xbb\xbf"))
        except (LimitExceeded, ValueError, RecursionError):
            contents.skipped += 1
            continue
        if not isinstance(value, dict) or not value.get("name") or not value.get("version"):
            continue
        name, version, licence = value["name"], value["version"], value.get("license", "")
        if isinstance(licence, dict):
            licence = licence.get("type", "")
        if not isinstance(name, str) or not isinstance(version, str) or not _NAME.fullmatch(name) or len(version) > 200:
            contents.skipped += 1
            continue
        licence = licence if isinstance(licence, str) and len(licence) <= 100 else ""
        contents.add(Package("npm", name, version, licence=licence, path=path.decode("utf-8", "replace")))
