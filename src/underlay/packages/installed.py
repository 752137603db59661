"""All packages of an image, from whatever databases and metadata it has."""

from __future__ import annotations

from ..errors import Corrupt, LimitExceeded
from . import apk, dpkg, osrelease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import DatabaseContents, Files, Package

# Bytes that are read of an image in all: one long file may have thousands of names.
_READ_LIMIT = 2 << 30


class Inventory:
    """What is installed: `packages` sorted by kind and name, `release` as os-release says it, and `problems`: a
    sentence for each database that could not be read or had invalid entries."""

    __slots__ = ("packages", "problems", "release")

    def __init__(self, packages: list[Package], release: dict[str, str], problems: list[str]) -> None:
        self.packages = packages
        self.release = release
        self.problems = problems


class _Bounded:
    """Files of which no more than _READ_LIMIT bytes are read."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._left = _READ_LIMIT
        self.names = files.names
        self.find = files.find
        self.executables = files.executables
        self.size = files.size

    def part(self, path: bytes, offset: int, size: int) -> bytes:
        if self._left <= 0:
            raise LimitExceeded(f"more than {_READ_LIMIT >> 30} GiB of packages")
        data = self._files.part(path, offset, size)
        self._left -= 1000 + len(data)
        return data

    def read(self, path: bytes, limit: int = 64 << 20) -> bytes | None:
        if self._left <= 0:
            raise LimitExceeded(f"more than {_READ_LIMIT >> 30} GiB of databases")
        data = self._files.read(path, limit)
        # A name costs something too.
        self._left -= 1000 + (0 if data is None else len(data))
        return data


def tells(path: bytes) -> bool:
    """Tell whether a file of this path, without a slash in front, says what is in an image: its release, or a database of
    the packages of its system."""
    from . import rpm

    if path in osrelease.FILES or path in apk.DATABASES or path == dpkg.STATUS:
        return True
    directory = path.rpartition(b"/")[0]
    return directory in rpm.DIRECTORIES or directory == dpkg.PARTS


def installed(files: Files, languages: bool = True) -> Inventory:
    """Return the packages of an image; with `languages` those of languages too. A broken database is
    reported among the problems, and is not an error."""
    from . import rpm

    files = _Bounded(files)
    problems: list[str] = []
    packages: list[Package] = []
    sources: tuple[tuple[str, Callable[[Files], DatabaseContents | None]], ...] = (
        ("dpkg", dpkg.read),
        ("apk", apk.read),
        ("rpm", rpm.read),
    )
    for name, read in sources:
        try:
            contents = read(files)
        except (Corrupt, LimitExceeded) as error:
            problems.append(f"the database of {name} cannot be read: {error.message}")
            continue
        if contents is not None:
            packages += contents.packages
            if contents.skipped:
                problems.append(f"the database of {name} has {contents.skipped} invalid entries")
    try:
        release = osrelease.read(files)
    except (Corrupt, LimitExceeded) as error:
        problems.append(f"os-release cannot be read: {error.message}")
        release = {}
    if languages:
        packages += _languages(files, problems)
    # A package is there once, and the last entry counts; rpm keeps several versions of one beside each other.
    kept = {}
    for package in packages:
        kept[
            package.kind,
            package.name,
            package.architecture,
            package.path or (package.version if package.kind == "rpm" else ""),
        ] = package
    return Inventory([kept[key] for key in sorted(kept)], release, problems)


def _languages(files: Files, problems: list[str]) -> list[Package]:
    from .languages import catalogue

    packages = catalogue.read(files, problems)
    _own(files, packages, problems)
    return packages


def _own(files: Files, packages: list[Package], problems: list[str]) -> None:
    """Note which packages of the system brought those of a language: their mends come with the system's."""
    from . import rpm

    wanted = {_file(package) for package in packages if not package.path.startswith(("usr/local/", "opt/"))}
    # Databases name files by the path before /lib became a link to /usr/lib.
    wanted |= {path.removeprefix(b"usr/") for path in wanted if path.startswith(b"usr/lib")}
    if not wanted:
        return
    owners: dict[bytes, str] = {}
    for owned in (dpkg.owners, apk.owners, rpm.owners):
        try:
            owners |= owned(files, wanted)
        except (Corrupt, LimitExceeded):
            pass  # reported already, when its packages were read
    for package in packages:
        path = _file(package)
        package.owner = owners.get(path) or owners.get(path.removeprefix(b"usr/"), "")


def _file(package: Package) -> bytes:
    """Return the file of the image in which a package was found."""
    return package.path.partition("!/")[0].encode("utf-8", "replace")
