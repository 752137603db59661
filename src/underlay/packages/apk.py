"""Packages that apk has installed (its database: apk-package(5), one letter a field)."""

from __future__ import annotations

from .model import TEXT_LIMIT, DatabaseContents, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model import Files

DATABASES = (b"lib/apk/db/installed", b"usr/lib/apk/db/installed")


def read(files: Files) -> DatabaseContents | None:
    """Return the packages, None when there is no database; raises LimitExceeded, Corrupt."""
    data = _database(files)
    if data is None:
        return None
    contents = DatabaseContents()
    parse(data.decode("utf-8", "replace"), contents)
    return contents


def _database(files: Files) -> bytes | None:
    for path in DATABASES:
        data = files.read(path, TEXT_LIMIT)
        if data is not None:
            return data
    return None


def parse(text: str, contents: DatabaseContents) -> None:
    """Add the packages of a database to `contents`: P name, V version, A architecture, o origin, L licence."""
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            if line[1:2] == ":":
                fields.setdefault(line[0], line[2:].strip())
        if fields.get("P") and fields.get("V"):
            contents.add(
                Package(
                    "apk",
                    fields["P"],
                    fields["V"],
                    fields.get("A", ""),
                    fields.get("o", ""),
                    licence=fields.get("L", ""),
                )
            )
        elif fields:
            contents.skipped += 1


def owners(files: Files, wanted: set[bytes]) -> dict[bytes, str]:
    """Return which packages brought the files `wanted`: `apk:name` by path (F: a directory, R: a file in it)."""
    package_by_path: dict[bytes, str] = {}
    name = directory = b""
    for line in (_database(files) or b"").split(b"\n"):
        if line.startswith(b"P:"):
            name = line[2:]
        elif line.startswith(b"F:"):
            directory = line[2:]
        elif line.startswith(b"R:"):
            path = directory + b"/" + line[2:]
            if path in wanted:
                package_by_path[path] = "apk:" + name.decode("utf-8", "replace")
    return package_by_path
