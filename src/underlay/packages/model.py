"""A package that is installed in an image, and the files of an image as the readers of databases want them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    class Files(Protocol):
        """The files of an image, by paths without a slash in front; links are followed inside the image."""

        def read(self, path: bytes, limit: int = ...) -> bytes | None:
            """Return a regular file's content, None when there is none; raises LimitExceeded beyond `limit` bytes."""

        def names(self, directory: bytes) -> list[bytes]:
            """Return what is in a directory, sorted; nothing when there is none."""

        def find(self, endings: tuple[bytes, ...]) -> Iterator[bytes]:
            """Yield the paths of all regular files that end with one of `endings`, in a fixed order."""

        def executables(self) -> Iterator[bytes]:
            """Yield the paths of all regular files with an execute bit, in a fixed order; links are not followed."""

        def size(self, path: bytes) -> int:
            """Return the bytes of a regular file, 0 when there is none."""

        def part(self, path: bytes, offset: int, size: int) -> bytes:
            """Return at most `size` bytes of a regular file from `offset` on, b"" when there is none."""


# Whose packages those of a system are, where package URLs do not name it as os-release does.
_VENDORS = {"rhel": "redhat", "opensuse-leap": "opensuse", "opensuse-tumbleweed": "opensuse", "sles": "suse"}
LANGUAGES = ("pypi", "npm", "golang", "cargo", "maven", "gem", "composer", "nuget", "conda")
KINDS = ("deb", "apk", "rpm", *LANGUAGES)
# Longer ones no system would have (bytes): databases, and those that are texts.
DATABASE_LIMIT = 512 << 20
TEXT_LIMIT = 64 << 20
PACKAGES_LIMIT = 100_000


class Package:
    """An installed package.

    `kind` is one of KINDS (the types of package URLs); `version` is written as the package manager does: for rpm
    `[epoch:]version-release`. `origin` and `origin_version` name the source package that it was built from, as far as
    its database tells (else the package itself). `licence` is what it says of that, "" for nothing. `path` is where
    the package of a language (LANGUAGES) lies, or what it was built into, `ARCHIVE!/MEMBER` inside of a Java archive, ""
    for those of the system; `owner` the system's package that brought it there (`kind:name`), "" for none. A Maven
    package is named `group:artifact`, by the artifact alone where the group is not known.
    """

    __slots__ = ("architecture", "kind", "licence", "name", "origin", "origin_version", "owner", "path", "version")

    def __init__(
        self,
        kind: str,
        name: str,
        version: str,
        architecture: str = "",
        origin: str = "",
        origin_version: str = "",
        licence: str = "",
        path: str = "",
        owner: str = "",
    ) -> None:
        self.kind = kind
        self.name = name
        self.version = version
        self.architecture = architecture
        self.origin = origin or name
        self.origin_version = origin_version or version
        self.licence = licence
        self.path = path
        self.owner = owner

    @property
    def scope(self) -> tuple[str, str]:
        """The namespace of the name ("" without one), and the rest: npm's scope, Maven's group, Composer's vendor, …"""
        group, _, name = self.name.rpartition(":" if self.kind == "maven" else "/")
        return group, name

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What is the same package in another image: kind, name, version, architecture, path."""
        return self.kind, self.name, self.version, self.architecture, self.path

    def purl(self, release: dict[str, str]) -> str:
        """Return the package URL; `release` is what os-release says of the image."""
        from urllib.parse import quote

        if self.kind in LANGUAGES:
            scope, name = self.scope
            head = f"{quote(scope, safe='/' if self.kind == 'golang' else '')}/" if scope else ""
            return f"pkg:{self.kind}/{head}{quote(name, safe='')}@{quote(self.version, safe='')}"
        distribution = release.get("ID") or {"deb": "debian", "apk": "alpine"}.get(self.kind, "")
        words = [f"arch={quote(self.architecture)}"] if self.architecture else []
        version = self.version
        if release.get("VERSION_ID"):
            words.append(f"distro={quote(distribution)}-{quote(release['VERSION_ID'])}")
        if self.kind == "rpm":
            epoch, colon, rest = version.partition(":")
            if colon:
                version = rest
                words.insert(1 if self.architecture else 0, f"epoch={epoch}")
        rest = f"?{'&'.join(words)}" if words else ""
        vendor = f"{quote(_VENDORS.get(distribution, distribution))}/" if distribution else ""
        return f"pkg:{self.kind}/{vendor}{quote(self.name)}@{quote(version, safe='')}{rest}"

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.version}>"


class DatabaseContents:
    """What was read from a database: `packages`, and how many invalid entries were `skipped`."""

    __slots__ = ("packages", "skipped")

    def __init__(self) -> None:
        self.packages: list[Package] = []
        self.skipped = 0

    def add(self, package: Package) -> None:
        """Take a package; raises LimitExceeded above PACKAGES_LIMIT."""
        from ..errors import LimitExceeded

        if len(self.packages) >= PACKAGES_LIMIT:
            raise LimitExceeded(f"more than {PACKAGES_LIMIT} packages")
        self.packages.append(package)
