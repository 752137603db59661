""".NET packages: the `*.deps.json` that a build writes beside the program, and the runtime's own."""

from __future__ import annotations

from ..model import Package
from .values import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents, Files

ENDINGS = (b".deps.json",)
_LIMIT = 64 << 20
_LONGEST = 300
# Files of a shared runtime name it by the packages that it was made of.
_RUNTIME = "runtimepack."


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the packages named at `paths` to `contents`; projects and plain references are no packages."""
    for path in paths:
        value = document(files, path, _LIMIT)
        listed = value.get("libraries") if isinstance(value, dict) else None
        if not isinstance(listed, dict):
            contents.skipped += 1
            continue
        for key, entry in listed.items():
            kind = entry.get("type") if isinstance(entry, dict) else ""
            if kind not in ("package", "runtimepack"):
                continue
            name, slash, version = key.rpartition("/")
            name = name.removeprefix(_RUNTIME)
            if not slash or not name or not version or len(key) > _LONGEST:
                contents.skipped += 1
                continue
            contents.add(Package("nuget", name, version, path=path.decode("utf-8", "replace")))
