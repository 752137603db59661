"""Packages of conda environments: one `conda-meta/NAME-VERSION-BUILD.json` each."""

from __future__ import annotations

import re

from ..model import Package
from .values import document, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents, Files

ENDINGS = (b".json",)
_PLACE = re.compile(rb"(?:^|/)conda-meta/[^/]+\.json$")
_LIMIT = 64 << 20  # they list every file


def is_package(path: bytes) -> bool:
    """Tell whether a JSON file describes an installed package."""
    return _PLACE.search(path) is not None


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the packages described at `paths` to `contents`."""
    for path in paths:
        value = document(files, path, _LIMIT)
        fields = value if isinstance(value, dict) else {}
        name, version = text(fields, "name"), text(fields, "version")
        if not name or not version:
            contents.skipped += 1
            continue
        licence = text(fields, "license")
        subdirectory = text(fields, "subdir")
        contents.add(
            Package(
                "conda",
                name,
                version,
                subdirectory,
                licence=licence if len(licence) <= 100 else "",
                path=path.decode("utf-8", "replace"),
            )
        )
