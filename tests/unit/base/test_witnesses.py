"""Which distribution files are of, when os-release says one thing and packages or loader another."""

from __future__ import annotations

import pytest

from packagedatabases import MemoryFiles
from underlay.base.identify.names import witnesses

APK = {"lib/apk/db/installed": "P:musl\n"}
DPKG = {"var/lib/dpkg/status": "Package: a\n"}
RPM = {"usr/lib/sysimage/rpm/rpmdb.sqlite": "x"}
MUSL = {"lib/ld-musl-x86_64.so.1": "x"}
GLIBC = {"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "x"}


@pytest.mark.parametrize(
    ("identity", "files", "agreed"),
    [
        ("alpine", APK | MUSL, True),
        ("debian", APK | MUSL, False),
        ("debian", DPKG | GLIBC, True),
        ("ubuntu", DPKG, True),
        ("alpine", DPKG | GLIBC, False),
        ("alpine", APK | DPKG | MUSL, True),  # Alpine has a package of dpkg
        ("fedora", RPM, True),
        ("fedora", DPKG, False),
        # Without a database the loader tells.
        ("debian", MUSL, False),
        ("alpine", GLIBC, False),
        ("wolfi", GLIBC, True),
        ("debian", {}, True),
        ("kettle", APK, True),  # nothing is known of it
    ],
)
def test_agreement(identity: str, files: dict[str, bytes | str], agreed: bool) -> None:
    assert witnesses.agrees({"ID": identity}, MemoryFiles(files)) is agreed


def test_what_packages_say() -> None:
    files = MemoryFiles({**APK, **MUSL, "etc/alpine-release": "3.20.3\n"})
    assert witnesses.release_by_packages(files)["VERSION_ID"] == "3.20.3"
    debian = MemoryFiles({**DPKG, **GLIBC, "etc/debian_version": "12.7\n"})
    assert witnesses.release_by_packages(debian)["ID"] == "debian"
    assert witnesses.release_by_packages(MemoryFiles({**APK, **DPKG})) == {}
    assert witnesses.any_of(debian) and not witnesses.any_of(MemoryFiles({"app": "x"}))
