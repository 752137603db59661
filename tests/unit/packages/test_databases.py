"""The databases of packages: what is read from honest ones, and that broken ones are told, never believed."""

from __future__ import annotations

import random
import struct
from collections import Counter
from pathlib import Path

import pytest

from packagedatabases import MemoryFiles, berkeley_database, ndb_database, rpm_header, sqlite_database
from underlay.errors import Corrupt, LimitExceeded, UnderlayError
from underlay.packages import apk, dpkg, osrelease, rpm, rpmdatabases, sqlitefile
from underlay.packages.installed import Inventory, installed
from underlay.packages.model import DatabaseContents, Package

STATUS = """Package: libssl1.0.0
Status: install ok installed
Architecture: amd64
Source: openssl (1.0.1t-1+deb8u8)
Version: 1.0.1t-1+deb8u8+b1
Conffiles:
 /etc/x 123
Description: with a line
 Version: that is none

Package: gone
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Version: 4.3-11

Package: nothing
Status: install ok installed

"""
APK = """C:Q1
P:musl
V:1.2.5-r0
A:x86_64
L:MIT
F:lib
R:libmusl.so.1

P:musl-utils
V:1.2.5-r0
A:x86_64
L:MIT AND BSD-2-Clause
o:musl
F:usr/lib/python3.12/site-packages/six-1.0.dist-info
R:METADATA

V:1
"""
NAMES = ["bash", "dbus-libs", "big", "p0", "p1"]  # of the first six of `headers`
METADATA = "Metadata-Version: 2.1\nName: Six_Pack\nVersion: 1.0\nLicense: MIT\n\nName: not this\n"


def told(files: dict[str, bytes | str]) -> Inventory:
    return installed(MemoryFiles(files))


def seen(packages: list[Package]) -> list[tuple[str, ...]]:
    return [(each.kind, each.name, each.version, each.origin, each.origin_version) for each in packages]


def test_dpkg() -> None:
    found = told({"var/lib/dpkg/status": STATUS})
    assert seen(found.packages) == [
        ("deb", "bash", "4.3-11", "bash", "4.3-11"),
        ("deb", "libssl1.0.0", "1.0.1t-1+deb8u8+b1", "openssl", "1.0.1t-1+deb8u8"),
    ]
    assert found.problems == ["the database of dpkg has 1 invalid entries"]


def test_dpkg_in_parts() -> None:
    parts = {
        "var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\nArchitecture: amd64\n",
        "var/lib/dpkg/status.d/base.md5sums": "Package: no\nVersion: 1\n",
    }
    assert seen(told(parts).packages) == [("deb", "base-files", "12", "base-files", "12")]


def test_apk() -> None:
    found = told({"lib/apk/db/installed": APK})
    assert seen(found.packages) == [
        ("apk", "musl", "1.2.5-r0", "musl", "1.2.5-r0"),
        ("apk", "musl-utils", "1.2.5-r0", "musl", "1.2.5-r0"),
    ]
    assert found.packages[1].licence == "MIT AND BSD-2-Clause" and len(found.problems) == 1


def headers() -> list[bytes]:
    many = [
        rpm_header(f"p{n}", "1." + str(n) * (n * 7 % 900 + 1), "2.el9", source=f"s{n}-1-2.src.rpm") for n in range(60)
    ]
    return [
        rpm_header("bash", "5.1.8", "6.el9", source="bash-5.1.8-6.el9.src.rpm"),
        rpm_header("dbus-libs", "1.12", "8.el9", 1, source="dbus-1.12-8.el9.src.rpm"),
        rpm_header("gpg-pubkey", "1", "2"),
        rpm_header("big", "1", "2") + bytes(70_000),
        *many,
    ]


@pytest.mark.parametrize("form", ["sqlite", "log", "ndb", "berkeley"])
def test_rpm(tmp_path: Path, form: str) -> None:
    files: dict[str, bytes | str]
    if form in ("sqlite", "log"):
        data, log = sqlite_database(tmp_path / "db", headers(), wal=form == "log")
        assert bool(log) == (form == "log")
        files = {"var/lib/rpm/rpmdb.sqlite": data, "var/lib/rpm/rpmdb.sqlite-wal": log}
    elif form == "ndb":
        files = {"usr/lib/sysimage/rpm/Packages.db": ndb_database(headers())}
    else:
        files = {"var/lib/rpm/Packages": berkeley_database(tmp_path / "db", headers())}
    found = told(files)
    assert found.problems == [] and len(found.packages) == 63
    assert seen(found.packages)[:3] == [
        ("rpm", "bash", "5.1.8-6.el9", "bash", "5.1.8-6.el9"),
        ("rpm", "big", "1-2", "big", "1-2"),
        ("rpm", "dbus-libs", "1:1.12-8.el9", "dbus", "1:1.12-8.el9"),
    ]


def test_the_log_counts_up_to_the_last_whole_transaction(tmp_path: Path) -> None:
    data, log = sqlite_database(tmp_path / "db", headers()[:2], wal=True)
    # The last frame of it does not hold what its sum says.
    broken = log[:-1] + bytes([log[-1] ^ 1])
    for cut in (broken, log[:-100]):
        rows = list(sqlitefile.SqliteFile(data, cut).rows("Packages"))
        assert [len(row) for row in rows] == [2]


def test_python_and_npm() -> None:
    found = told(
        {
            "usr/local/lib/python3.12/site-packages/six_pack-1.0.dist-info/METADATA": METADATA,
            "opt/app/lib/old.egg-info": "Name: old\nVersion: 2\n",
            "opt/app/lib/none.egg-info/PKG-INFO": "nothing here",
            "app/node_modules/@scope/thing/package.json": '{"name":"@scope/thing","version":"1.2.3","license":"MIT"}',
            "app/node_modules/thing/package.json": '{"name":"thing","version":"2.0.0","license":{"type":"ISC"}}',
            "app/node_modules/thing/dist/package.json": '{"type":"module"}',
            "app/node_modules/bad/package.json": "[" * 100_000,
            "app/node_modules/worse/package.json": '{"name":7,"version":[]}',
            "app/package.json": '{"name":"app","version":"0.0.1"}',
        }
    )
    assert seen(found.packages) == [
        ("npm", "@scope/thing", "1.2.3", "@scope/thing", "1.2.3"),
        ("npm", "thing", "2.0.0", "thing", "2.0.0"),
        ("pypi", "old", "2", "old", "2"),
        ("pypi", "six-pack", "1.0", "six-pack", "1.0"),
    ]
    assert [each.licence for each in found.packages] == ["MIT", "ISC", "", "MIT"]
    assert found.packages[0].purl({}) == "pkg:npm/%40scope/thing@1.2.3"
    assert len(found.problems) == 2


def test_who_brought_a_python_package() -> None:
    name = "usr/lib/python3.12/site-packages/six-1.0.dist-info/METADATA"
    assert [each.owner for each in told({"lib/apk/db/installed": APK, name: METADATA}).packages] == [
        "", "", "apk:musl-utils",
    ]  # fmt: skip
    listed = {"var/lib/dpkg/info/python3-six:all.list": f"/.\n/{name}\n", name: METADATA}
    assert [each.owner for each in told({**listed}).packages] == ["deb:python3-six"]
    database = ndb_database([rpm_header("python3-six", "1", "2", file=f"/{name}")])
    found = told({"var/lib/rpm/Packages.db": database, name: METADATA})
    assert [(each.kind, each.owner) for each in found.packages] == [("pypi", "rpm:python3-six"), ("rpm", "")]


def test_os_release() -> None:
    text = 'NAME="A \\"B\\" C"\nID=debian\n# X=1\nVERSION_ID="12"\nVERSION_CODENAME=\'bookworm\'\n'
    assert osrelease.parse(text) == {
        "NAME": 'A "B" C', "ID": "debian", "VERSION_ID": "12", "VERSION_CODENAME": "bookworm",
    }  # fmt: skip
    old = MemoryFiles({"etc/centos-release": "CentOS release 6.10 (Final)\n"})
    assert osrelease.read(old) == {"ID": "centos", "VERSION_ID": "6.10"}
    assert osrelease.read(MemoryFiles({"etc/debian_version": "7.11\n"})) == {"ID": "debian", "VERSION_ID": "7"}
    assert osrelease.read(MemoryFiles({"etc/debian_version": "trixie/sid\n"})) == {}


def test_package_urls() -> None:
    release = {"ID": "almalinux", "VERSION_ID": "9.4"}
    assert (
        Package("rpm", "dbus", "1:1.12-8.el9", "x86_64").purl(release)
        == "pkg:rpm/almalinux/dbus@1.12-8.el9?arch=x86_64&epoch=1&distro=almalinux-9.4"
    )
    assert Package("deb", "libc++1", "1:2~3", "amd64").purl({}) == "pkg:deb/debian/libc%2B%2B1@1%3A2~3?arch=amd64"
    assert Package("pypi", "six", "1.0").purl(release) == "pkg:pypi/six@1.0"


# Broken ones


def test_a_broken_database_is_a_problem_and_no_error() -> None:
    found = told(
        {
            "var/lib/rpm/rpmdb.sqlite": b"SQLite format 3\0" + bytes(4000),
            "var/lib/dpkg/status": STATUS,
            "etc/os-release": "ID=x\n",
        }
    )
    assert len(found.packages) == 2 and found.release == {"ID": "x"}
    assert any("rpm cannot be read" in problem for problem in found.problems)


def outcome(files: dict[str, bytes | str]) -> str:
    """What is read of a damaged database of `NAMES`: "told" that something is wrong, the "whole" of it, an "older" state,
    or something "other", as only logs have checksums."""
    found = told(files)
    names = {each.name for each in found.packages}
    assert len(found.packages) <= len(NAMES) and "" not in names
    if found.problems:
        return "told"
    if names == set(NAMES):
        return "whole"
    return "older" if names == set(NAMES[: len(names)]) else "other"


def test_damage_anywhere_is_found_out_or_harmless(tmp_path: Path) -> None:
    chance = random.Random(11)
    sqlite, log = sqlite_database(tmp_path / "one", headers()[:6], wal=True)
    whole, _ = sqlite_database(tmp_path / "two", headers()[:6])
    for name, data in (
        ("rpmdb.sqlite", whole),
        ("rpmdb.sqlite-wal", log),
        ("Packages.db", ndb_database(headers()[:6])),
    ):
        outcomes: Counter[str] = Counter()
        for _ in range(150):
            spoilt = bytearray(data)
            for _ in range(chance.randint(1, 8)):
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
            spoilt = spoilt[: chance.randrange(len(spoilt))] if chance.random() < 0.3 else spoilt
            files: dict[str, bytes | str] = {f"var/lib/rpm/{name}": bytes(spoilt)}
            if name.endswith("wal"):
                files["var/lib/rpm/rpmdb.sqlite"] = sqlite
            outcomes[outcome(files)] += 1
        if name.endswith("wal"):
            assert set(outcomes) == {"older"}  # as SQLite has it: what a checksum does not fit was never committed
        else:
            assert outcomes["told"] and outcomes["whole"] and outcomes["other"] < 15


def test_damage_in_a_berkeley_database(tmp_path: Path) -> None:
    chance = random.Random(12)
    data = berkeley_database(tmp_path / "db", headers()[:6])
    outcomes: Counter[str] = Counter()
    for _ in range(200):
        spoilt = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        outcomes[outcome({"var/lib/rpm/Packages": bytes(spoilt)})] += 1
    assert outcomes["told"] and outcomes["whole"] and outcomes["other"] < 15


def test_loops_end(tmp_path: Path) -> None:
    data, _ = sqlite_database(tmp_path / "db", headers())
    size = struct.unpack_from(">H", data, 16)[0]
    looping = bytearray(data)
    for at in range(0, len(data), size):
        # Overflow pages that name themselves: the value is as long as its row says, no longer.
        if looping[at] == 0 and looping[at + 4] not in (0,):
            struct.pack_into(">I", looping, at, at // size + 1)
    try:
        list(sqlitefile.SqliteFile(bytes(looping)).rows("Packages"))
    except UnderlayError:
        pass
    # An inner page that is its own child
    inner = bytearray(4096 * 2)
    inner[:4096] = data[:4096]
    inner[100:112] = struct.pack(">BHHHBI", 5, 0, 0, 0, 0, 1)
    with pytest.raises(Corrupt):
        list(sqlitefile.SqliteFile(bytes(inner)).rows("Packages"))


def test_rows_that_share_one_place_are_bounded(tmp_path: Path) -> None:
    """A page with a thousand pointers to one long row would take a file's length a thousand times."""
    data, _ = sqlite_database(tmp_path / "db", [rpm_header("a", "1", "2") + bytes(3_000_000)])
    size = struct.unpack_from(">H", data, 16)[0]
    spoilt = bytearray(data)
    for at in range(size, len(data), size):
        if spoilt[at] == 13 and struct.unpack_from(">H", spoilt, at + 3)[0] == 1:
            place = spoilt[at + 8 : at + 10]
            struct.pack_into(">H", spoilt, at + 3, 1000)
            spoilt[at + 8 : at + 2008] = bytes(place) * 1000
    with pytest.raises(UnderlayError):
        list(sqlitefile.SqliteFile(bytes(spoilt)).rows("Packages"))


@pytest.mark.parametrize(
    "data",
    [b"", b"RpmP", b"RpmP" + struct.pack("<III", 0, 1, 1 << 30), b"RpmP" + struct.pack("<III", 0, 1, 1) + bytes(5000)],
)
def test_no_ndb(data: bytes) -> None:
    with pytest.raises(Corrupt):
        list(rpmdatabases.ndb(data))


def test_slots_that_share_one_place_are_bounded() -> None:
    data = bytearray(ndb_database([rpm_header("a", "1", "2") + bytes(100_000)]))
    for at in range(48, 4096, 16):
        data[at : at + 16] = data[32:48]
    with pytest.raises(LimitExceeded):
        list(rpmdatabases.ndb(bytes(data)))


def test_one_file_with_many_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("underlay.packages.installed._READ_LIMIT", 1 << 20)
    part = "Package: a\nVersion: 1\nDescription: " + "x" * 100_000
    found = told({f"var/lib/dpkg/status.d/{number}": part for number in range(1000)})
    assert found.packages == [] and "cannot be read" in found.problems[0]


@pytest.mark.parametrize("data", [b"", bytes(100), bytes(12) + struct.pack("<I", 0x061561) + bytes(8)])
def test_no_berkeley_database(data: bytes) -> None:
    with pytest.raises(Corrupt):
        list(rpmdatabases.berkeley(data))


@pytest.mark.parametrize(
    "data",
    [b"", struct.pack(">II", 1 << 20, 0), struct.pack(">II", 1, 1 << 30) + bytes(16)],
)
def test_no_header(data: bytes) -> None:
    with pytest.raises(Corrupt):
        rpm.Header(data)


def test_values_of_a_header_stay_inside_it() -> None:
    def header(kind: int, offset: int, count: int) -> rpm.Header:
        return rpm.Header(struct.pack(">IIIIII", 1, 8, 1000, kind, offset, count) + b"abc\0defg")

    assert header(6, 0, 1).text(1000) == "abc"
    for kind, offset, count in ((6, 4, 1), (6, 1 << 31, 1), (8, 0, 1 << 31)):
        with pytest.raises(Corrupt):
            header(kind, offset, count).strings(1000)
    with pytest.raises(Corrupt):
        header(4, 0, 1 << 30).numbers(1000)


def test_texts_that_are_none() -> None:
    found = DatabaseContents()
    dpkg.parse("\0\xff: \n\n\n:::\n\n", found)
    apk.parse("P\n\nPP:x\n:\n", found)
    assert found.packages == []
