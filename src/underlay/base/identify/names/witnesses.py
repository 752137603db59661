"""What else than os-release says of which distribution files are: the database of packages, and the dynamic loader."""

from __future__ import annotations

from ....packages import apk, dpkg, osrelease, rpm

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ....packages.model import Files

APK, DPKG, RPM = "apk", "dpkg", "rpm"
_MUSL, _GLIBC = "musl", "glibc"
_RPM_FILES = frozenset((b"rpmdb.sqlite", b"Packages.db", b"Packages"))
# The manager of packages of each ID that os-release may say, and the C library.
_OF_APK = frozenset("alpine chainguard postmarketos wolfi".split())
_OF_DPKG = frozenset("debian kali linuxmint raspbian ubuntu".split())
_OF_RPM = frozenset(
    "almalinux amzn azurelinux centos fedora mageia mariner ol opensuse-leap opensuse-tumbleweed photon rhel rocky".split()
)
_LOADERS = (
    (b"ld-musl-", _MUSL),
    (b"ld-linux", _GLIBC),
    (b"ld64.so.", _GLIBC),
)
_FOLDERS = (b"lib", b"lib64", b"usr/lib", b"usr/lib64")


def agrees(release: Mapping[str, str], files: Files) -> bool:
    """Tell whether nothing that images of a distribution have speaks against what os-release says."""
    manager = _manager_of(release.get("ID", ""))
    found = managers(files)
    if not manager:
        return True
    if found:
        return manager in found
    libraries = _libraries(files)
    # Wolfi has apk and glibc; the others of apk have musl.
    expected = (
        {_MUSL, _GLIBC} if release.get("ID") in ("wolfi", "chainguard") else {_MUSL if manager == APK else _GLIBC}
    )
    return not libraries or bool(libraries & expected)


def any_of(files: Files) -> bool:
    """Tell whether there is a database of packages or a dynamic loader."""
    return bool(managers(files) or _libraries(files))


def release_by_packages(files: Files) -> dict[str, str]:
    """Return what os-release would say of files whose own is not to be believed; {} when nothing tells."""
    found = managers(files)
    if found == {APK} and _MUSL in _libraries(files):
        version = files.read(b"etc/alpine-release", 1000) or b""
        told = {"ID": "alpine", "VERSION_ID": version.decode("ascii", "replace").strip()}
        return {**told, "PRETTY_NAME": f"Alpine Linux {told['VERSION_ID']}, by its packages"}
    if found == {DPKG}:
        told = osrelease.read_older(files)
        return {**told, "PRETTY_NAME": f"Debian {told['VERSION_ID']}, by its packages"} if told else {}
    return {}


def managers(files: Files) -> set[str]:
    """Return the managers of packages that have a database in an image: apk, dpkg, rpm."""
    found = set()
    for path in apk.DATABASES:
        folder, _, name = path.rpartition(b"/")
        if name in files.names(folder):
            found.add(APK)
    folder, _, name = dpkg.STATUS.rpartition(b"/")
    if name in files.names(folder) or files.names(dpkg.PARTS):
        found.add(DPKG)
    if any(_RPM_FILES.intersection(files.names(directory)) for directory in rpm.DIRECTORIES):
        found.add(RPM)
    return found


def _manager_of(identity: str) -> str:
    if identity in _OF_APK:
        return APK
    if identity in _OF_DPKG:
        return DPKG
    return RPM if identity in _OF_RPM else ""


def _libraries(files: Files) -> set[str]:
    """Return the C libraries whose dynamic loaders are there."""
    found = set()
    for folder in _FOLDERS:
        for name in files.names(folder):
            found |= {library for start, library in _LOADERS if name.startswith(start)}
            if name.endswith(b"-linux-gnu"):
                found |= {_GLIBC for inner in files.names(folder + b"/" + name) if inner.startswith(b"ld-linux")}
    return found
