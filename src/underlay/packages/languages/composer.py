"""PHP packages: `vendor/composer/installed.json`, which Composer writes (a list until version 1, an object since 2)."""

from __future__ import annotations

from ..model import Package
from .values import document, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents, Files

ENDINGS = (b"/composer/installed.json",)
_LIMIT = 64 << 20


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the packages listed at `paths` to `contents`."""
    for path in paths:
        value = document(files, path, _LIMIT)
        listed = value.get("packages") if isinstance(value, dict) else value
        if not isinstance(listed, list):
            contents.skipped += 1
            continue
        for entry in listed:
            fields = entry if isinstance(entry, dict) else {}
            name, version = text(fields, "name"), text(fields, "version")
            if not name or not version:
                contents.skipped += 1
                continue
            licences = fields.get("license")
            licence = licences[0] if isinstance(licences, list) and len(licences) == 1 else ""
            contents.add(
                Package(
                    "composer",
                    name.lower(),
                    version,
                    licence=licence if isinstance(licence, str) and len(licence) <= 100 else "",
                    path=path.decode("utf-8", "replace"),
                )
            )
