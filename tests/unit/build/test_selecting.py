"""Which files a source names, and that nothing else is opened: links, wildcards, ignore files, --parents, --exclude."""

import os
import socket

import pytest

from underlay.builder.context.patterns import Matcher
from underlay.builder.copy.selecting import select
from underlay.errors import InvalidInput, NotFound
from underlay.store.layers import walking

TREE = {
    "a.txt": "A",
    "b.txt": "B",
    ".hidden": "h",
    "arr[0].txt": "arr",
    "we ird*": "w",
    "dir/c.txt": "C",
    "dir/sub/d.txt": "D",
    "dir/sub/deep/e.md": "E",
    "other/c.txt": "OC",
    "other/sub/f.txt": "F",
}


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "root"
    for name, text in TREE.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "empty").mkdir()
    (tmp_path / "secret").write_text("the-token")
    for name, target in {
        "lfile": "a.txt",
        "ldir": "dir",
        "labs": "/dir/sub",
        "lout": "../../secret",
        "labsout": str(tmp_path / "secret"),
        "dir/lup": "../other",
        "dangling": "nowhere",
        "loop": "loop",
        "dir/sub/lfile": "d.txt",
    }.items():
        os.symlink(target, place / name)
    fd = os.open(place, os.O_PATH)
    yield fd
    os.close(fd)


def found(root, source, lines="", **options):
    ignore = Matcher(lines.split(",")) if lines else None
    selected = select(root, source, ignore=ignore, **options)
    return [(item.name, item.is_dir, [os.fsdecode(f.path) for f in selected.walk(item)]) for item in selected.items]


DIR = ["c.txt", "lup", "sub", "sub/d.txt", "sub/deep", "sub/deep/e.md", "sub/lfile"]
SUB = ["d.txt", "deep", "deep/e.md", "lfile"]
SOURCES = {
    "a.txt": [("a.txt", False, ["a.txt"])],
    "/a.txt": [("a.txt", False, ["a.txt"])],
    "./x/../a.txt/": [("a.txt", False, ["a.txt"])],
    "../../a.txt": [("a.txt", False, ["a.txt"])],
    "dir": [("dir", True, DIR)],
    "dir/": [("dir", True, DIR)],
    "dir/.": [("dir", True, DIR)],
    "empty": [("empty", True, [])],
    "lfile": [("lfile", False, ["lfile"])],
    "ldir": [("ldir", True, DIR)],
    "ldir/sub": [("sub", True, SUB)],
    "labs/d.txt": [("d.txt", False, ["d.txt"])],
    "dir/lup/c.txt": [("c.txt", False, ["c.txt"])],
    "dir/sub/lfile": [("lfile", False, ["lfile"])],
    "*.txt": [("a.txt", False, ["a.txt"]), ("arr[0].txt", False, ["arr[0].txt"]), ("b.txt", False, ["b.txt"])],
    "arr[[]0].txt": [("arr[0].txt", False, ["arr[0].txt"])],
    "we ird\\*": [("we ird*", False, ["we ird*"])],
    "*/c.txt": [("c.txt", False, ["c.txt"]), ("c.txt", False, ["c.txt"])],
    "*/sub": [("sub", True, SUB), ("sub", True, ["f.txt"])],
    "d*/s*/d?txt": [("d.txt", False, ["d.txt"])],
    "ldir/*.txt": [("c.txt", False, ["c.txt"])],
    "l[fd]*": [("ldir", True, DIR), ("lfile", False, ["lfile"])],
    "dang*": [],
    "*.nothing": [],
    "**/d.txt": [],
}


@pytest.mark.parametrize("source", SOURCES)
def test_sources(root, source):
    assert found(root, source) == SOURCES[source]


def test_the_content_is_that_of_what_a_link_leads_to(root):
    selected = select(root, "labs/lfile")
    walk = selected.walk(selected.items[0])
    one = next(walk)
    fd, _ = walking.open_file(one.parent, one.name, one.source_path)
    assert (os.read(fd, 9), one.source_path) == (b"D", b"dir/sub/d.txt")
    os.close(fd)


@pytest.mark.parametrize(
    "source", ["nofile", "a.txt/x", "lout", "labsout", "dangling", "no/*.txt", "a.txt/*", "x" * 300, "dir/../../nofile"]
)
def test_what_is_not_there(root, source):
    with pytest.raises(NotFound, match=r"^COPY failed: \"/[^\"]+\": not found$") as raised:
        found(root, source)
    assert raised.value.hint == ""


def test_the_words(root):
    with pytest.raises(NotFound, match=r'^ADD failed: "/nofile": not found$'):
        found(root, "x/../nofile/", instruction="ADD")
    with pytest.raises(InvalidInput, match="too many symbolic links"):
        found(root, "loop")
    with pytest.raises(InvalidInput, match="syntax error in pattern"):
        found(root, "*[")


IGNORED = [
    # ignore file, source, what is copied; None when it is not there
    ("a.txt", "a.txt", None),
    ("**/*.txt", "a.txt", None),
    ("dir/", "dir", None),
    ("dir", "dir/sub", None),
    ("a.txt", "lfile", None),
    ("dir", "ldir", None),
    ("dir/sub", "labs", None),
    ("dir", "ldir/c.txt", None),
    ("lfile", "lfile", None),
    ("*", ".", ["."]),
    ("*.txt", "*.txt", []),
    ("dir,!dir/sub/d.txt", "dir", ["sub", "sub/d.txt"]),
    ("dir,!dir/nothing", "dir", None),
    ("dir/sub,!dir/sub/d.txt", "dir", ["c.txt", "lup", "sub", "sub/d.txt"]),
    ("dir,!dir/sub/d.txt", "dir/sub/d.txt", ["d.txt"]),
    ("dir,!dir/sub/d.txt", "dir/c.txt", None),
    ("**/deep", "dir/sub", ["d.txt", "lfile"]),
    ("**/deep/e.md", "dir/sub", ["d.txt", "deep", "lfile"]),
    ("*,!dir", "dir", DIR),
    ("*,!di?", "dir", DIR),
    ("other,!**/f.txt", "other", ["sub", "sub/f.txt"]),
    ("dir/**", "dir", None),
]


@pytest.mark.parametrize(("lines", "source", "expected"), IGNORED)
def test_ignored_files_are_not_there(root, lines, source, expected):
    if expected is None:
        if source == "dir" and lines == "dir/**":
            assert found(root, source, lines) == [("dir", True, [])]
            return
        with pytest.raises(NotFound) as raised:
            found(root, source, lines)
        assert "ignore file" in raised.value.hint
        return
    names = [name for _, _, names in found(root, source, lines) for name in names]
    assert names == ([] if expected == ["."] else expected)


def test_ignored_directories_are_not_entered(root, monkeypatch):
    opened = []
    inner = walking._open
    monkeypatch.setattr(walking, "_open", lambda parent, name, path: opened.append(name) or inner(parent, name, path))
    found(root, ".", "dir,other,!other/sub/f.txt")
    assert b"dir" not in opened and b"other" in opened and b"empty" in opened


PARENTS = [
    ("dir/sub/d.txt", "", ["dir", "dir/sub", "dir/sub/d.txt"]),
    ("./dir/./sub/d.txt", "", ["sub", "sub/d.txt"]),
    ("dir/./sub", "", ["sub", "sub/d.txt", "sub/deep", "sub/deep/e.md", "sub/lfile"]),
    ("*/c.txt", "", ["dir", "dir/c.txt", "other", "other/c.txt"]),
    ("dir/**/*.txt", "", ["dir", "dir/c.txt", "dir", "dir/sub", "dir/sub/d.txt"]),
    ("**/f.txt", "", ["other", "other/sub", "other/sub/f.txt"]),
    ("ldir/./sub/d.txt", "", ["sub", "sub/d.txt"]),
    ("dir/**/*.none", "", []),
    ("[do]*/./sub/*.txt", "", ["sub", "sub/d.txt", "sub", "sub/f.txt"]),
    ("d*/s?b/./**/*.md", "", ["deep", "deep/e.md"]),
    ("no*/./c.txt", "", []),
    ("d*/./nofile", "", []),
    ("a.t*/./x", "", []),
    ("dir/sub", "deep,**/d.txt", ["dir", "dir/sub", "dir/sub/deep", "dir/sub/deep/e.md", "dir/sub/lfile"]),
    ("dir/sub", "dir/sub/deep", ["dir", "dir/sub", "dir/sub/d.txt", "dir/sub/lfile"]),
]


@pytest.mark.parametrize(("source", "exclude", "expected"), PARENTS)
def test_parents(root, source, exclude, expected):
    result = found(root, source, parents=True, exclude=exclude.split(",") if exclude else ())
    assert [name for _, _, names in result for name in names] == expected


def test_parents_of_what_is_not_there(root):
    for source in ("dir/nofile", "ldir/c.txt", "no/./x"):
        with pytest.raises(NotFound):
            found(root, source, parents=True)


EXCLUDED = [
    ("dir", "sub", ["c.txt", "lup"]),
    ("dir", "**/*.txt", ["lup", "sub", "sub/deep", "sub/deep/e.md", "sub/lfile"]),
    ("*.txt", "a*", ["b.txt"]),
    ("a.txt", "*.txt", []),
    ("*", "d*,o*,l*,e*,*.txt,we*", [".hidden"]),
    ("dir", "*,!sub/d.txt", ["sub", "sub/d.txt"]),
    ("dir", "dir", DIR),
]


@pytest.mark.parametrize(("source", "exclude", "expected"), EXCLUDED)
def test_exclude(root, source, exclude, expected):
    # A link to nothing, or in a loop, is left out of what a pattern matches.
    os.unlink("loop", dir_fd=root)
    assert [name for _, _, names in found(root, source, exclude=exclude.split(",")) for name in names] == expected


def test_sockets_are_found(root, tmp_path):
    """What a layer makes of them is told by whoever makes it."""
    socket.socket(socket.AF_UNIX).bind(str(tmp_path / "root" / "empty" / "s"))
    assert found(root, "empty") == [("empty", True, ["s"])]


def test_a_link_swapped_in_is_not_followed(root, tmp_path):
    selected = select(root, "dir")
    place = tmp_path / "root" / "dir"
    place.rename(tmp_path / "moved")
    os.symlink(tmp_path / "moved", place)
    with pytest.raises(Exception, match=r"Too many levels|Not a directory"):
        list(selected.walk(selected.items[0]))
