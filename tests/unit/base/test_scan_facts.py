"""Facts of layers beside the layers themselves: the same release and packages, whatever covers or hides what."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packagedatabases import ndb_database, rpm_header, sqlite_database
from underlay.base.scan import facts
from underlay.errors import Corrupt
from underlay.packages.installed import installed
from underlay.paths import Paths
from underlay.store.layers import passing
from underlay.store.rootfs.imagefiles import ImageFiles

Member = tuple[str, str, bytes]  # path, kind (file, dir, link, hard), content or target

ALPINE = b"P:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nL:MIT\n\nP:zlib\nV:1.3-r1\nA:x86_64\n"
STATUS = b"Package: libc6\nStatus: install ok installed\nVersion: 2.36\nArchitecture: amd64\nSource: glibc\n"
PART = b"Package: tzdata\nVersion: 2024a\nArchitecture: all\n"


def tar(members: list[Member]) -> bytes:
    """A layer."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for path, kind, content in members:
            item = tarfile.TarInfo(path)
            if kind == "dir":
                item.type = tarfile.DIRTYPE
            elif kind in ("link", "hard"):
                item.type = tarfile.SYMTYPE if kind == "link" else tarfile.LNKTYPE
                item.linkname = content.decode()
            item.size = len(content) if kind == "file" else 0
            archive.addfile(item, io.BytesIO(content))
    return data.getvalue()


def layer(data: bytes) -> passing.SkimmedLayer:
    """A layer as it is read in a registry."""
    from hashlib import sha256

    source = io.BytesIO(data)
    return passing.skim(lambda: source.read(1000), f"sha256:{sha256(data).hexdigest()}", facts.wanted)


def told(paths: Paths, layers: list[list[Member]]) -> tuple[object, object, object]:
    """What facts tell of an image; it is what its layers tell, too."""
    read = [layer(tar(members)) for members in layers]
    kept = [facts.unpack(facts.of_layer(paths, each).pack()) for each in read]
    names = [str(number) for number in range(len(read))]
    whole = installed(ImageFiles(paths, names, dict(zip(names, read, strict=True))), languages=False)
    found = facts.inventory(paths, kept)
    assert [vars_of(each) for each in found.packages] == [vars_of(each) for each in whole.packages]
    assert found.release == whole.release and found.problems == whole.problems
    # Layers that tell nothing may be left out.
    telling = facts.inventory(paths, [each for each in kept if each.tells])
    assert [vars_of(each) for each in telling.packages] == [vars_of(each) for each in found.packages]
    return [(each.name, each.version) for each in found.packages], found.release.get("ID"), found.problems


def vars_of(package: object) -> list[object]:
    return [getattr(package, name) for name in package.__slots__]  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    place = tmp_path_factory.mktemp("facts")
    return Paths(f"{place}/root", f"{place}/state")


RELEASE = b'ID=alpine\nVERSION_ID="3.20"\n'
BASE: list[Member] = [
    ("etc/os-release", "link", b"../usr/lib/os-release"),
    ("usr/lib/os-release", "file", RELEASE),
    ("lib/apk/db/installed", "file", ALPINE),
    ("bin/other", "file", b"#!"),
]
APK = [("musl", "1.2.5-r0"), ("zlib", "1.3-r1")]


def test_layers_of_alpine(paths: Paths) -> None:
    assert told(paths, [BASE]) == (APK, "alpine", [])
    assert told(paths, [BASE, [("opt/app", "file", b"x")]])[0] == APK
    newer = ALPINE.replace(b"1.2.5-r0", b"1.2.5-r1")
    assert told(paths, [BASE, [("lib/apk/db/installed", "file", newer)]])[0] == [("musl", "1.2.5-r1"), APK[1]]
    # Newer ones have /lib as a link, with the database behind it.
    merged: list[Member] = [("lib", "link", b"usr/lib"), ("usr/lib/apk/db/installed", "file", ALPINE)]
    assert told(paths, [merged]) == (APK, None, [])


@pytest.mark.parametrize(
    "hiding",
    [
        [("lib/apk/db/.wh.installed", "file", b"")],
        [("lib/.wh.apk", "file", b"")],
        [("lib/apk/db/.wh..wh..opq", "file", b"")],
        [(".wh.lib", "file", b"")],
        [("lib", "file", b"no directory any more")],
        [("lib/apk/db/installed", "dir", b"")],
        [("lib/apk/db/installed", "link", b"/nowhere")],
    ],
)
def test_what_hides_a_database(paths: Paths, hiding: list[Member]) -> None:
    assert told(paths, [BASE, hiding])[0] == []
    assert told(paths, [BASE, hiding, BASE])[0] in (APK, [])


def test_parts_of_distroless(paths: Paths) -> None:
    """Each layer has a package, as Bazel makes them."""
    one: list[Member] = [("./var/lib/dpkg/status.d/tzdata", "file", PART)]
    two: list[Member] = [
        ("./var/lib/dpkg/status.d/libc6", "file", STATUS),
        ("./var/lib/dpkg/status.d/x.md5sums", "file", b""),
    ]
    assert told(paths, [one, two])[0] == [("libc6", "2.36"), ("tzdata", "2024a")]
    assert told(paths, [one, two, [("var/lib/dpkg/status.d/.wh.tzdata", "file", b"")]])[0] == [("libc6", "2.36")]
    assert told(paths, [[("var/lib/dpkg/status", "file", STATUS)], one])[0] == [("libc6", "2.36"), ("tzdata", "2024a")]


def test_databases_of_rpm(paths: Paths, tmp_path: Path) -> None:
    headers = [rpm_header("bash", "5.1", "1"), rpm_header("kernel", "6", "1"), rpm_header("kernel", "6", "2")]
    sqlite, log = sqlite_database(tmp_path / "db", headers, wal=True)
    members: list[Member] = [
        ("var/lib/rpm", "link", b"../../usr/lib/sysimage/rpm"),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite", "file", sqlite),
        ("usr/lib/sysimage/rpm/rpmdb.sqlite-wal", "file", log),
        ("etc/centos-release", "file", b"CentOS Linux release 7.9.2009 (Core)"),
    ]
    found, release, problems = told(paths, [members])
    assert found == [("bash", "5.1-1"), ("kernel", "6-1"), ("kernel", "6-2")] and (release, problems) == ("centos", [])
    found, _, _ = told(paths, [members, [("usr/lib/sysimage/rpm/Packages.db", "file", ndb_database(headers[:1]))]])
    assert found == [("bash", "5.1-1"), ("kernel", "6-1"), ("kernel", "6-2")]


def test_broken_databases(paths: Paths) -> None:
    _, _, problems = told(paths, [[("var/lib/rpm/rpmdb.sqlite", "file", b"not a database" * 100)]])
    assert len(problems) == 1 and problems[0].startswith("the database of rpm cannot be read: ")  # type: ignore[arg-type, index]
    _, _, problems = told(paths, [[("lib/apk/db/installed", "file", b"V:1\n\nP:a\nV:2\n")]])
    assert problems == ["the database of apk has 1 invalid entries"]


def test_damaged_facts() -> None:
    packed = facts.Facts([], {}, {}).pack()
    for data in (b"", b"x", packed[:-2], packed[:-1] + b"x"):
        with pytest.raises(Corrupt, match="the facts of a layer are damaged"):
            facts.unpack(data)


PLACES = (
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d/a",
    "var/lib/dpkg/status.d/b",
    "etc/os-release",
    "usr/lib/os-release",
    "usr/bin/program",
)
LINKS: tuple[Member, ...] = (
    ("etc/os-release", "link", b"../usr/lib/os-release"),
    ("lib/apk/db/installed", "link", b"/usr/lib/apk/db/installed"),
    ("lib", "link", b"usr/lib"),
    ("var/lib/dpkg/status.d/a", "link", b"b"),
    ("etc/os-release", "link", b"/nowhere"),
    ("usr/lib/os-release", "hard", b"etc/os-release"),
)
DIRECTORIES = sorted({str(above) for place in PLACES for above in Path(place).parents} - {"."})


@st.composite
def changes(draw: st.DrawFn) -> list[Member]:
    """What a layer may do."""
    members: list[Member] = []
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["file", "file", "file", "whiteout", "opaque", "dir", "link"]))
        place = draw(st.sampled_from([*PLACES, *DIRECTORIES] if kind in ("whiteout", "dir") else PLACES))
        if kind == "file":
            number = draw(st.integers(1, 3))
            text = {
                "installed": f"P:p{number}\nV:{number}\n",
                "os-release": f"ID=os{number}\n",
                "program": "x",
            }.get(Path(place).name, f"Package: p{number}\nVersion: {number}\n")
            members.append((place, "file", text.encode()))
        elif kind == "whiteout":
            members.append((f"{Path(place).parent}/.wh.{Path(place).name}".removeprefix("./"), "file", b""))
        elif kind == "opaque":
            members.append((f"{draw(st.sampled_from(DIRECTORIES))}/.wh..wh..opq", "file", b""))
        elif kind == "dir":
            members.append((place, "dir", b""))
        else:
            members.append(draw(st.sampled_from(LINKS)))
    return members


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(changes(), min_size=1, max_size=4))
def test_any_layers(paths: Paths, layers: list[list[Member]]) -> None:
    try:
        told(paths, layers)
    except Corrupt:
        names = [str(number) for number in range(len(layers))]
        with pytest.raises(Corrupt):
            read = [layer(tar(members)) for members in layers]
            ImageFiles(paths, names, dict(zip(names, read, strict=True)))
