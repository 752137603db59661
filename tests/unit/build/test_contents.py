"""The digest of a selection changes with all that a COPY depends on only; unchanged files are not read."""

import os
import time

import pytest

from layers import store
from underlay.builder.copy import contents
from underlay.builder.copy.selecting import select

OLD = 1_000_000_000


@pytest.fixture
def tree(tmp_path):
    place = tmp_path / "tree"
    (place / "d" / "e").mkdir(parents=True)
    for name in ("a", "b", "d/x", "d/e/y"):
        (place / name).write_text(name)
        os.utime(place / name, (OLD, OLD))
    os.symlink("a", place / "l")
    return place


def digest(place, source=".", owners=False, index=None):
    fd = os.open(place, os.O_PATH)
    try:
        return contents.digest([select(fd, source)], owners=owners, index=index)
    finally:
        os.close(fd)


CHANGES = {
    "content": lambda t: (t / "a").write_text("b"),
    "name": lambda t: (t / "a").rename(t / "c"),
    "mode": lambda t: (t / "a").chmod(0o755),
    "mode of a directory": lambda t: (t / "d" / "e").chmod(0o700),
    "link": lambda t: ((t / "l").unlink(), os.symlink("b", t / "l")),
    "kind": lambda t: ((t / "l").unlink(), (t / "l").write_text("a")),
    "one more": lambda t: (t / "d" / "z").write_text(""),
    "one less": lambda t: (t / "d" / "x").unlink(),
    "an empty directory": lambda t: (t / "n").mkdir(),
    "swapped contents": lambda t: ((t / "a").write_text("b"), (t / "b").write_text("a")),
    "moved between directories": lambda t: (t / "d" / "x").rename(t / "d" / "e" / "x"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_counts(tree, tmp_path, name):
    index = contents.FileIndex(store(tmp_path), "k")
    before = digest(tree, index=index)
    CHANGES[name](tree)
    after = digest(tree, index=index)
    assert before != after == digest(tree)


def test_what_does_not_count(tree):
    before, owners = digest(tree), digest(tree, owners=True)
    os.utime(tree / "a", (5, 5))
    os.utime(tree / "d", (5, 5))
    (tree / "b").unlink()
    (tree / "b").write_text("b")
    (tree / "zz").write_text("")
    (tree / "zz").unlink()
    for name in "ad":
        os.setxattr(tree / name, "user.x", b"1")
    owners = digest(tree, owners=True) if digest(tree, owners=True) != owners else ""
    assert (digest(tree), digest(tree, owners=True)) == (before, owners)


def test_owners_count_where_they_are_kept(tree):
    before, owners = digest(tree), digest(tree, owners=True)
    os.chown(tree / "a", 5, 5)
    assert digest(tree) == before
    assert digest(tree, owners=True) != owners


def test_the_name_counts_but_not_how_it_was_found(tree):
    (tree / "d" / "a").write_text("a")
    assert digest(tree, "a") == digest(tree, "d/a") == digest(tree, "a*")
    assert digest(tree, "a") != digest(tree, "l")  # it would be called l
    assert digest(tree, "d") != digest(tree, "d/e")


def later(monkeypatch, seconds=10):
    """Let it be later, since files that were changed just now are not remembered."""
    monkeypatch.setattr(contents, "time_ns", lambda: time.time_ns() + seconds * 10**9)


def reads(monkeypatch):
    opened = []
    inner = contents.walking.open_file
    monkeypatch.setattr(contents.walking, "open_file", lambda p, n, path: opened.append(path) or inner(p, n, path))
    return opened


def test_unchanged_files_are_read_once(tree, tmp_path, monkeypatch):
    paths = store(tmp_path)
    later(monkeypatch)
    first = contents.FileIndex(paths, "k").load()
    before = digest(tree, index=first)
    first.save()
    opened = reads(monkeypatch)
    second = contents.FileIndex(paths, "k").load()
    assert digest(tree, index=second) == before and opened == []
    (tree / "a").write_text("A")
    assert digest(tree, index=second) != before and opened == [b"a"]
    opened.clear()
    assert digest(tree, index=contents.FileIndex(paths, "other").load()) and len(opened) == 4


def test_same_size_and_mtime_do_not_deceive(tree, tmp_path, monkeypatch):
    later(monkeypatch)
    index = contents.FileIndex(store(tmp_path), "k")
    before = digest(tree, index=index)
    time.sleep(0.02)
    (tree / "a").write_text("z")
    os.utime(tree / "a", (OLD, OLD))
    assert digest(tree, index=index) != before


def test_files_that_may_be_changing_are_not_remembered(tree, tmp_path, monkeypatch):
    index = contents.FileIndex(store(tmp_path), "k")
    opened = reads(monkeypatch)
    digest(tree, index=index)
    digest(tree, index=index)
    assert len(opened) == 8


@pytest.mark.parametrize(
    "damage", [b"", b"garbage", b"underlay files 1\n\x93\x01", b"underlay files 1\n\x91\x96\1\2\3\4\5\xc4\1x"]
)
def test_a_damaged_index_is_ignored(tree, tmp_path, monkeypatch, damage):
    paths = store(tmp_path)
    later(monkeypatch)
    index = contents.FileIndex(paths, "k")
    before = digest(tree, index=index)
    index.save()
    (file,) = os.listdir(f"{paths.root}/cache/files")
    with open(f"{paths.root}/cache/files/{file}", "wb") as out:
        out.write(damage)
    again = contents.FileIndex(paths, "k").load()
    assert digest(tree, index=again) == before
    again.save()
    opened = reads(monkeypatch)
    assert digest(tree, index=contents.FileIndex(paths, "k").load()) == before and opened == []


def test_what_was_not_seen_is_kept(tree, tmp_path, monkeypatch):
    paths = store(tmp_path)
    later(monkeypatch)
    for source in ("a", "d"):
        index = contents.FileIndex(paths, "k").load()
        digest(tree, source, index=index)
        index.save()
    opened = reads(monkeypatch)
    index = contents.FileIndex(paths, "k").load()
    digest(tree, "a", index=index)
    digest(tree, "d", index=index)
    assert opened == []
