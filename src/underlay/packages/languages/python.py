"""Python packages: the metadata that installers leave beside what they install (core metadata, PEP 566 and before)."""

from __future__ import annotations

import re

from ...errors import LimitExceeded
from ..model import DatabaseContents, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import Files

# A wheel's directory, an egg's, and the single file that distutils wrote.
ENDINGS = (b".dist-info/METADATA", b".egg-info/PKG-INFO", b".egg/EGG-INFO/PKG-INFO", b".egg-info")
_LIMIT = 4 << 20
_HEAD = 64 << 10  # the headers come first, the long description after them


def normalised(name: str) -> str:
    """Return the name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the packages whose metadata lie at `paths` (see ENDINGS) to `contents`; broken ones are skipped."""
    for path in paths:
        try:
            data = files.read(path, _LIMIT)
        except LimitExceeded:
            data = None
        fields = _headers((data or b"")[:_HEAD].decode("utf-8", "replace"))
        name, version = fields.get("name", ""), fields.get("version", "")
        if not name or not version or len(name) > 200 or len(version) > 200:
            contents.skipped += 1
            continue
        licence = fields.get("license-expression") or fields.get("license", "")
        metadata_path = path.decode("utf-8", "replace")
        contents.add(Package("pypi", normalised(name), version, licence=_short(licence), path=metadata_path))


def _headers(text: str) -> dict[str, str]:
    """Return the header fields, by names in lower case; the first of a name counts, folded lines are left out."""
    fields: dict[str, str] = {}
    for line in text.split("\n"):
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _short(licence: str) -> str:
    """Return a licence's name; some packages put the whole text there, which names nothing."""
    return licence if licence != "UNKNOWN" and len(licence) <= 100 else ""
