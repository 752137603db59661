"""COPY and ADD place files as docker does: what the layer holds, and what stands there when it lies on the root.

The expectations were compared with Docker 26.1 (BuildKit) on the same contexts.
"""

import bz2
import gzip
import lzma
import os
import stat

import pytest

from engines import needs_root
from layers import Mounted, load, make, snapshot, store
from underlay.builder.context.patterns import Matcher
from underlay.builder.copy.copying import CopyRequest, CopySource, copy, directory
from underlay.errors import Corrupt, InvalidInput, NotFound
from underlay.store import layers
from underlay.store.layers import toc

BASE = make(
    ("tmp", "dir", b"", {"mode": 0o1777, "mtime": 1000}),
    ("etc", "dir"),
    ("etc/passwd", "file", "root:x:0:0::/:/\nbob:x:55:66::/:/\n"),
    ("etc/group", "file", "root:x:0:\nstaff:x:77:\n"),
    ("ex", "dir", b"", {"mode": 0o1777, "uid": 5, "gid": 6, "mtime": 1004, "xattrs": {"user.d": b"1"}}),
    ("ex/sub", "dir", b"", {"mode": 0o711, "uid": 7, "gid": 8, "mtime": 1005}),
    ("ex/sub/old", "file", "old"),
    ("ex/file", "file", "F", {"mode": 0o640, "uid": 3, "mtime": 1007}),
    ("ex/lsub", "link", b"", {"link": "sub"}),
    ("ln", "link", b"", {"link": "/ex"}),
    ("lnf", "link", b"", {"link": "ex/file"}),
    ("dang", "link", b"", {"link": "/no/where"}),
    ("loop", "link", b"", {"link": "loop"}),
    ("lup", "link", b"", {"link": "../../../ex"}),
)
ARCHIVE = make(
    ("x", "dir", b"", {"mode": 0o700, "uid": 9, "gid": 9, "mtime": 3000}),
    ("x/y", "file", "y", {"uid": 10, "gid": 11, "mtime": 3001}),
    ("/abs", "file", "abs"),
    ("../../up", "file", "up"),
    ("lnk", "link", b"", {"link": "/x"}),
    ("lnk/thru", "file", "t"),
    ("hl", "hard", b"", {"link": "x/y"}),
    ("deep/er/f", "file", "d"),
)


class World:
    """A context, and a root that is an image: `copy` makes the layer, `entries` are in it, `shown` is what stands then."""

    def __init__(self, place, root):
        self.place, self.root, self.paths = place, root, store(place / "store")
        self.context = place / "context"
        self.context.mkdir()
        self.fill()

    def fill(self):
        c = self.context
        (c / "dir" / "sub" / "deep").mkdir(parents=True)
        for name, text in {
            "dir/a": "A",
            "dir/sub/b": "B",
            "dir/sub/deep/c": "C",
            "f": "f",
            "g.txt": "g",
            "h.txt": "h",
        }.items():
            (c / name).write_text(text)
            os.utime(c / name, ns=(0, 2000_999_999_999))
        os.link(c / "dir" / "a", c / "dir" / "a2")
        os.symlink("sub", c / "dir" / "lsub")
        os.symlink("f", c / "lf")
        os.symlink("dir", c / "ldir")
        os.chown(c / "f", 42, 42)
        (c / "f").chmod(0o4711)
        (c / "dir" / "sub").chmod(0o750)
        (c / "dir").chmod(0o700)
        for name in ("dir/sub/deep", "dir/sub", "dir"):
            os.utime(c / name, (2100, 2100))
        (c / "arch.tar").write_bytes(ARCHIVE)
        for name, content in {"e1/file/q": "", "e2/sub": "S", "e3/lsub/z": "z", "e4/lsub": "repl"}.items():
            (c / name).parent.mkdir(parents=True)
            (c / name).write_text(content)

    def copy(self, line, **options):
        *sources, destination = line.split()
        link = options.pop("link", False)
        stage = options.pop("stage", False)
        ignore = options.pop("ignore", None)
        rest = {key: options.pop(key) for key in ("clamp", "now") if key in options}
        fd = os.open(self.context, os.O_PATH)
        try:
            made = [
                CopySource(root=self.root if stage else fd, source=source, context=not stage, ignore=ignore)
                for source in sources
            ]
            request = CopyRequest(destination=destination, **options)
            return self.take(copy(self.paths, made, None if link else self.root, request, **{"now": 9000, **rest}))
        finally:
            os.close(fd)

    def take(self, layer):
        self.layer = layer
        assert self.unfinished() == []
        return [] if layer is None else layers.read_toc(self.paths, layer.diff_id)

    def unfinished(self):
        return os.listdir(self.paths.temporary) if os.path.exists(self.paths.temporary) else []

    def shown(self) -> dict:
        ids = [*load(self.paths, [BASE]), self.layer.diff_id]
        with Mounted(self.paths, "tree", ids) as root:
            return snapshot(root)


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    needs_root()
    paths = store(tmp_path_factory.mktemp("image"))
    with Mounted(paths, "tree", load(paths, [BASE])) as root:
        fd = os.open(root, os.O_PATH)
        yield fd
        os.close(fd)


@pytest.fixture
def world(tmp_path, image):
    return World(tmp_path, image)


def brief(entries) -> list[str]:
    """Names with owner, mode and time: `name uid:gid mode mtime`, links with their targets."""
    lines = []
    for e in entries:
        what = f" -> {e.link.decode()}" if e.link else ""
        time = "" if e.kind == toc.SYMLINK else f" {e.mtime}"
        lines.append(f"{os.fsdecode(e.name)} {e.uid}:{e.gid} {e.mode:o}{time}{what}")
    return lines


EX = "ex/ 5:6 1777 1004"
COPIED_ONTO = "ex/ 5:6 1777 2100"  # it has the time of what was copied onto it


def tree(base, owner="0:0", sub="750", mode="644", deep="755"):
    return [
        f"{base}a {owner} {mode} 2000",
        f"{base}a2 {owner} {mode} 2000 -> {base}a",
        f"{base}lsub {owner} 777 -> sub",
        f"{base}sub/ {owner} {sub} 2100",
        f"{base}sub/b {owner} {mode} 2000",
        f"{base}sub/deep/ {owner} {deep} 2100",
        f"{base}sub/deep/c {owner} {mode} 2000",
    ]


PLACES = [
    # sources and destination, options, members of the layer
    ("dir /new", {}, ["new/ 0:0 755 2100", *tree("new/")]),
    ("dir /new/", {}, ["new/ 0:0 755 2100", *tree("new/")]),
    ("dir /", {}, tree("")),
    ("dir /ex", {}, [COPIED_ONTO, *tree("ex/")]),
    ("dir /ex", {"chown": "bob"}, [COPIED_ONTO, *tree("ex/", "55:66")]),
    ("dir /a/b", {"chown": "bob:staff"}, ["a/ 55:77 755 9000", "a/b/ 55:77 755 2100", *tree("a/b/", "55:77")]),
    ("dir /new", {"chmod": "700"}, ["new/ 0:0 700 2100", *tree("new/", sub="700", mode="700", deep="700")]),
    ("dir /new", {"chmod": "u=rwX,go=rX"}, ["new/ 0:0 755 2100", *tree("new/", sub="755")]),
    ("f /ex", {}, [EX, "ex/f 0:0 4711 2000"]),
    ("f /new", {}, ["new 0:0 4711 2000"]),
    ("f /new/", {"chown": "12"}, ["new/ 12:12 755 9000", "new/f 12:12 4711 2000"]),
    ("f /new/", {"chown": "1:2", "chmod": "0600"}, ["new/ 1:2 600 9000", "new/f 1:2 600 2000"]),
    ("f /a/b/", {"chmod": "4755"}, ["a/ 0:0 755 9000", "a/b/ 0:0 755 9000", "a/b/f 0:0 4755 2000"]),
    # Nobody knows these: the files are root's, or the group is the user's own.
    ("f /q", {"chown": "nosuch"}, ["q 0:0 4711 2000"]),
    ("f /q", {"chown": "bob:nosuch"}, ["q 55:66 4711 2000"]),
    ("f /ln", {}, [EX, "ex/f 0:0 4711 2000"]),
    ("f /ln/", {}, [EX, "ex/f 0:0 4711 2000"]),
    ("f /lup/sub/x", {}, [EX, "ex/sub/ 7:8 711 1005", "ex/sub/x 0:0 4711 2000"]),
    ("f /lnf", {}, [EX, "ex/file 0:0 4711 2000"]),
    ("f /dang", {}, ["no/ 0:0 755 9000", "no/where 0:0 4711 2000"]),
    ("f /dang/", {}, ["no/ 0:0 755 9000", "no/where/ 0:0 755 9000", "no/where/f 0:0 4711 2000"]),
    ("f .", {"workdir": "/ex/sub"}, [EX, "ex/sub/ 7:8 711 1005", "ex/sub/f 0:0 4711 2000"]),
    ("f ./n/", {"workdir": "/wd"}, ["wd/ 0:0 755 9000", "wd/n/ 0:0 755 9000", "wd/n/f 0:0 4711 2000"]),
    ("f ../../x", {"workdir": "/wd"}, ["x 0:0 4711 2000"]),
    ("g.txt h.txt /q/", {}, ["q/ 0:0 755 9000", "q/g.txt 0:0 644 2000", "q/h.txt 0:0 644 2000"]),
    ("*.txt /q/", {}, ["q/ 0:0 755 9000", "q/g.txt 0:0 644 2000", "q/h.txt 0:0 644 2000"]),
    ("lf /q/", {}, ["q/ 0:0 755 9000", "q/lf 0:0 4711 2000"]),
    ("ldir /new", {}, ["new/ 0:0 755 2100", *tree("new/")]),
    (
        "dir/lsub /new",
        {},
        ["new/ 0:0 755 2100", "new/b 0:0 644 2000", "new/deep/ 0:0 755 2100", "new/deep/c 0:0 644 2000"],
    ),
    ("f /tmp/", {}, ["tmp/ 0:0 1777 1000", "tmp/f 0:0 4711 2000"]),
    ("f /ln/", {"link": True}, ["ln/ 0:0 755 9000", "ln/f 0:0 4711 2000"]),
    (
        "dir/sub /ex",
        {"link": True},
        ["ex/ 0:0 755 2100", "ex/b 0:0 644 2000", "ex/deep/ 0:0 755 2100", "ex/deep/c 0:0 644 2000"],
    ),
    ("/ex/file /ex/sub /n/", {"stage": True}, ["n/ 0:0 755 1005", "n/file 3:0 640 1007", "n/old 0:0 644 1600000000"]),
    (
        "/ex /n",
        {"stage": True, "chown": "9:9"},
        [
            "n/ 9:9 755 1004",
            "n/file 9:9 640 1007",
            "n/lsub 9:9 777 -> sub",
            "n/sub/ 9:9 711 1005",
            "n/sub/old 9:9 644 1600000000",
        ],
    ),
    ("dir /n", {"exclude": ("sub", "a2")}, ["n/ 0:0 755 2100", "n/a 0:0 644 2000", "n/lsub 0:0 777 -> sub"]),
    (
        "dir/sub/b /n/",
        {"parents": True},
        ["n/ 0:0 755 9000", "n/dir/ 0:0 700 2100", "n/dir/sub/ 0:0 750 2100", "n/dir/sub/b 0:0 644 2000"],
    ),
    (
        "dir/./sub/deep /ex",
        {"parents": True},
        [EX, "ex/sub/ 7:8 711 1005", "ex/sub/deep/ 0:0 755 2100", "ex/sub/deep/c 0:0 644 2000"],
    ),
    ("f g.txt /n", {}, ["n 0:0 4711 2000", "n 0:0 644 2000"]),
    ("f /new/", {"clamp": 1500}, ["new/ 0:0 755 1500", "new/f 0:0 4711 1500"]),
]


@pytest.mark.parametrize(("line", "options", "expected"), PLACES)
def test_places(world, line, options, expected):
    assert brief(world.copy(line, **options)) == expected


NOTHING = [("*.none /zz/", []), ("e5 /ex", ["ex/ 5:6 1777 2100"]), ("a?b /new", [])]


@pytest.mark.parametrize(("line", "expected"), NOTHING)
def test_nothing_changes(world, line, expected):
    (world.context / "e5").mkdir()
    os.utime(world.context / "e5", (2100, 2100))
    assert brief(world.copy(line)) == expected
    made = world.layer
    assert made.size == 1024 + 512 * len(expected) + (1024 if expected else 0)  # /ex has an attribute


DIRECTORIES = [
    ("/new/er", "", ["new/ 0:0 755 9000", "new/er/ 0:0 755 9000"]),
    ("/ex/n", "bob", [EX, "ex/n/ 55:66 755 9000"]),
    ("/ln/n", "", [EX, "ex/n/ 0:0 755 9000"]),
    ("/ex", "", []),
    ("/ln", "", []),
]


@pytest.mark.parametrize(("path", "user", "expected"), DIRECTORIES)
def test_directories(world, path, user, expected):
    assert brief(world.take(directory(world.paths, path, world.root, user, now=9000))) == expected


def test_a_directory_in_place_of_a_file(world):
    for path in ("/ex/file", "/lnf"):
        with pytest.raises(InvalidInput, match="not a directory"):
            directory(world.paths, path, world.root, "")


ERRORS = [
    ("f /ex/file/", {}, InvalidInput, "^mkdir /ex/file: not a directory$"),
    ("f /ex/file/x", {}, InvalidInput, "^mkdir /ex/file: not a directory$"),
    ("dir/sub /ex/file", {}, InvalidInput, "^cannot copy to non-directory: /ex/file$"),
    ("e1 /ex", {}, InvalidInput, "^cannot copy to non-directory: /ex/file$"),
    ("e2 /ex", {}, InvalidInput, "^cannot replace to directory /ex/sub with file$"),
    ("e2/sub /ln/", {}, InvalidInput, "^cannot replace to directory /ex/sub with file$"),
    ("e3 /ex", {}, InvalidInput, "^cannot copy to non-directory: /ex/lsub$"),
    ("nofile /", {}, NotFound, '^COPY failed: "/nofile": not found$'),
    ("f /loop/x", {}, InvalidInput, "too many symbolic links"),
    ("f /q/", {"chown": "bob", "link": True}, InvalidInput, "bob"),
    ("f /q/", {"chown": "4294967295"}, InvalidInput, "4294967294"),
    ("f /q/", {"chmod": "9"}, InvalidInput, "invalid chmod parameter: '9'. it should be octal"),
    ("f /q/", {"chmod": "u+q"}, InvalidInput, "invalid chmod parameter: 'u\\+q'"),
    ("wh /q/", {}, InvalidInput, r"/q/\.wh\.x: cannot store a file"),
    ("f /.wh.q/", {}, InvalidInput, r"/\.wh\.q: cannot store a file"),
    ("f /" + "n" * 300, {}, InvalidInput, "file name too long"),
    ("*[ /q/", {}, InvalidInput, "syntax error in pattern"),
]


@pytest.mark.parametrize(("line", "options", "error", "words"), ERRORS)
def test_errors(world, line, options, error, words):
    (world.context / "wh").mkdir()
    (world.context / "wh" / ".wh.x").write_text("")
    with pytest.raises(error, match=words):
        world.copy(line, **options)
    assert layers.list_all(world.paths) == [] and world.unfinished() == []


def test_what_stands_there_then(world):
    world.copy("dir e4 f /ex/")
    shown = world.shown()
    assert shown["ex"][:2] == ("0o41777", (5, 6)) and shown["ex"][5] == [("user.d", b"1")]
    assert shown["ex/sub"][:2] == ("0o40750", (0, 0))
    assert shown["ex/sub/old"] and shown["ex/sub/b"] and shown["ex/lsub"][0] == "0o100644"
    assert shown["ex/a"][4] == 2 and shown["ex/a2"][7] == "ex/a"


def test_ignored_files_are_not_copied(world):
    entries = world.copy(". /n", ignore=Matcher(["*", "!dir/sub", "dir/sub/deep"]))
    assert [e.name for e in entries] == [b"n/", b"n/dir/", b"n/dir/sub/", b"n/dir/sub/b"]


def test_attributes(world):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    for name, value in (
        ("user.a", b"1"),
        ("security.capability", capability),
        ("trusted.x", b"1"),
        ("user.overlay.opaque", b"y"),
    ):
        os.setxattr(world.context / "f", name, value)
    (one,) = world.copy("f /n")
    assert one.xattrs == ((b"security.capability", capability),)
    # Files of stages and images keep those of users.
    files = os.open(world.context, os.O_PATH)
    source = CopySource(root=files, source="f", context=False)
    (one,) = world.take(copy(world.paths, [source], world.root, CopyRequest(destination="/n"), now=7))
    assert one.xattrs == ((b"security.capability", capability), (b"user.a", b"1"))
    os.close(files)


def test_sockets(world):
    """A context's is sent as an empty file by BuildKit's client; a layer holds no other."""
    os.mknod(world.context / "dir" / "s", stat.S_IFSOCK | 0o600)
    assert "n/s 0:0 600" in {line.rpartition(" ")[0] for line in brief(world.copy("dir /n"))}
    assert [line.rpartition(" ")[0] for line in brief(world.copy("dir/s /n"))] == ["n 0:0 600"]
    files = os.open(world.context, os.O_PATH)
    for name in ("dir", "dir/s"):
        source = CopySource(root=files, source=name, context=False)
        entries = world.take(copy(world.paths, [source], world.root, CopyRequest(destination="/n"), now=7))
        assert not any(entry.name.endswith(b"s") for entry in entries)
    os.close(files)


def test_literal_content(world):
    sources = [CopySource(name="EOF1", content=b"one"), CopySource(name="EOF2", content=b"", mode=0o600)]
    for destination, names in (("/n/", ["n/", "n/EOF1", "n/EOF2"]), ("/ex", ["ex/", "ex/EOF1", "ex/EOF2"])):
        made = copy(world.paths, sources, world.root, CopyRequest(destination=destination, chown="3:4"), now=7)
        entries = world.take(made)
        assert [e.name.decode() for e in entries] == names
        assert [(e.uid, e.gid, e.mode, e.mtime) for e in entries[1:]] == [(3, 4, 0o644, 7), (3, 4, 0o600, 7)]
        assert layers.read_member(world.paths, made.diff_id, entries[1]) == b"one"


def test_the_same_sources_make_the_same_layer(world):
    world.copy("dir f /n/", clamp=5)
    first = world.layer
    world.copy("dir f /n/", clamp=5, now=1)
    assert world.layer == first


UNPACKED = [
    "x/ 9:9 700 3000",
    "x/y 10:11 644 3001",
    "abs 0:0 644 1600000000",
    "up 0:0 644 1600000000",
    "lnk 0:0 777 -> /x",
    "x/thru 0:0 644 1600000000",
    "hl 0:0 644 1600000000 -> un/x/y",
    "deep/ 0:0 755 9000",
    "deep/er/ 0:0 755 9000",
    "deep/er/f 0:0 644 1600000000",
]
FORMS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("form", FORMS)
def test_archives_are_unpacked_whatever_they_are_called(world, form):
    (world.context / "arch.tar").write_bytes(FORMS[form](ARCHIVE))
    (world.context / "arch.tar").rename(world.context / "data.bin")
    entries = world.copy("data.bin /un", unpack=True, instruction="ADD")
    assert brief(entries) == ["un/ 0:0 755 9000", *(f"un/{line}" for line in UNPACKED)]
    assert layers.read_member(world.paths, world.layer.diff_id, entries[2]) == b"y"
    assert [e.name for e in world.copy("data.bin /un")] == [b"un"]


def test_archives_belong_to_whom_chown_says(world):
    entries = world.copy("arch.tar /un/", unpack=True, chown="4:5")
    assert {(e.uid, e.gid) for e in entries} == {(4, 5)}


@pytest.mark.parametrize(
    "data", [b"", b"text", bytes(1024), b"\x1f\x8b\x08garbage", gzip.compress(b"no tar", mtime=0), b"x" * 5000, make()]
)
def test_what_is_no_archive_is_copied(world, data):
    (world.context / "n").write_bytes(data)
    (one,) = world.copy("n /here", unpack=True)
    assert (one.name, one.size) == (b"here", len(data))


def test_a_damaged_archive_is_an_error(world):
    (world.context / "n").write_bytes(make(("a", "file", "x" * 4000), ("b", "file", "y" * 4000))[:-4000])
    with pytest.raises(Corrupt):
        world.copy("n /here", unpack=True)
    assert os.listdir(world.paths.temporary) == [] and layers.list_all(world.paths) == []


def test_archives_stay_below_the_destination(world):
    (world.context / "arch.tar").write_bytes(
        make(
            ("out", "link", b"", {"link": "../../etc"}),
            ("out/passwd", "file", "evil"),
            ("abs", "link", b"", {"link": "/etc"}),
            ("abs/shadow", "file", "evil"),
            ("../../etc/group", "file", "evil"),
        )
    )
    names = [e.name for e in world.copy("arch.tar /un", unpack=True)]
    assert all(name.startswith(b"un") for name in names) and b"un/etc/passwd" in names and b"un/etc/shadow" in names


def test_archives_replace_what_is_in_the_way(world):
    (world.context / "arch.tar").write_bytes(
        make(("sub", "file", "now a file"), ("file", "dir"), ("file/x", "file", "x"), ("lsub", "dir"))
    )
    world.copy("arch.tar /ex", unpack=True)
    shown = world.shown()
    assert shown["ex/sub"][0] == "0o100644" and "ex/sub/old" not in shown
    assert shown["ex/file"][0].startswith("0o40") and shown["ex/file/x"] and shown["ex/lsub"][0].startswith("0o40")


def test_a_directory_made_again_shows_nothing_of_the_old_one(world):
    (world.context / "arch.tar").write_bytes(make(("sub", "file", ""), ("sub", "dir"), ("sub/new", "file", "n")))
    world.copy("arch.tar /ex", unpack=True)
    shown = world.shown()
    assert shown["ex/sub/new"] and "ex/sub/old" not in shown


def test_hard_links_of_archives(world):
    (world.context / "arch.tar").write_bytes(make(("mine", "hard", b"", {"link": "/file"})))
    world.copy("arch.tar /ex", unpack=True)
    assert world.shown()["ex/mine"][7] == "ex/file"
    (world.context / "arch.tar").write_bytes(make(("mine", "hard", b"", {"link": "../../etc/passwd"})))
    with pytest.raises(InvalidInput, match=r"hard link 'mine' to .*, which is not a file"):
        world.copy("arch.tar /ex", unpack=True)
