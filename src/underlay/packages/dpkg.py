"""Packages that dpkg has installed: its status file, and the directory of parts that distroless images have."""

from __future__ import annotations

from .model import TEXT_LIMIT, DatabaseContents, Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .model import Files

STATUS = b"var/lib/dpkg/status"
PARTS = b"var/lib/dpkg/status.d"  # one file a package
LISTS = b"var/lib/dpkg/info"
_PARTS_LIMIT = 20_000


def read(files: Files) -> DatabaseContents | None:
    """Return the packages, None when there is no database; raises LimitExceeded, Corrupt."""
    contents = DatabaseContents()
    data = files.read(STATUS, TEXT_LIMIT)
    if data is not None:
        parse(data.decode("utf-8", "replace"), contents)
    parts = [name for name in files.names(PARTS) if not name.endswith(b".md5sums")]
    for name in parts[:_PARTS_LIMIT]:
        part = files.read(PARTS + b"/" + name)
        if part is not None:
            parse(part.decode("utf-8", "replace"), contents)
    contents.skipped += len(parts[_PARTS_LIMIT:])
    return contents if data is not None or parts else None


def parse(text: str, contents: DatabaseContents) -> None:
    """Add the packages of a status file to `contents` (deb-control(5), dpkg-query(1): only what is installed counts)."""
    for paragraph in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in paragraph.split("\n"):
            name, colon, value = line.partition(":")
            if colon and name and not name[0].isspace():
                fields[name.lower()] = value.strip()
        if not fields:
            continue
        if not fields.get("package"):
            contents.skipped += 1
            continue
        if not fields.get("status", "install ok installed").endswith(" installed"):
            continue
        if not fields.get("version"):
            contents.skipped += 1
            continue
        # Source: name (version), the version only where it is another than the package's own
        origin, _, rest = fields.get("source", "").partition(" ")
        contents.add(
            Package(
                "deb",
                fields["package"],
                fields["version"],
                fields.get("architecture", ""),
                origin,
                rest.strip().removeprefix("(").removesuffix(")").strip(),
            )
        )


def owners(files: Files, wanted: set[bytes]) -> dict[bytes, str]:
    """Return which packages brought the files `wanted` (paths without a slash in front): `deb:name` by path."""
    package_by_path: dict[bytes, str] = {}
    lists = [name for name in files.names(LISTS) if name.endswith(b".list")]
    for name in lists[:_PARTS_LIMIT]:
        data = files.read(LISTS + b"/" + name)
        if data is None:
            continue
        for path in wanted.intersection(line.lstrip(b"/") for line in data.split(b"\n")):
            package_by_path[path] = "deb:" + name.removesuffix(b".list").partition(b":")[0].decode("utf-8", "replace")
    return package_by_path
