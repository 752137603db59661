"""Trees of any depth: measured, copied into a volume, copied out of a build, with few descriptors."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from underlay import files, trees
from underlay.builder.output.local import copy_out
from underlay.errors import Conflict
from underlay.runtime.apply.copyup import copy_tree

# Longer than PATH_MAX (4096) and than the descriptors that a process may have.
DEPTH = 1100
OPEN = os.O_RDONLY | os.O_DIRECTORY


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A directory `DEPTH` directories deep with a file of 8 KiB at the bottom; goes without shutil, which cannot."""
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, OPEN)
    for _ in range(DEPTH):
        os.mkdir("abcd", dir_fd=fd)
        below = os.open("abcd", OPEN, dir_fd=fd)
        os.close(fd)
        fd = below
    bottom = os.open("bottom", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=fd)
    os.write(bottom, b"x" * 8192)
    os.close(bottom)
    os.close(fd)
    yield top
    for name in os.listdir(tmp_path):
        files.remove_tree(str(tmp_path / name))


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """At most sixty more descriptors than now."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 60, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def bottom_of(top: Path) -> tuple[int, bytes]:
    """How deep a tree is, and what the file at its bottom holds."""
    fd, depth = os.open(top, OPEN), 0
    while "abcd" in os.listdir(fd):
        below = os.open("abcd", OPEN, dir_fd=fd)
        os.close(fd)
        fd, depth = below, depth + 1
    file = os.open("bottom", os.O_RDONLY, dir_fd=fd)
    data = os.read(file, 10_000)
    os.close(file)
    os.close(fd)
    return depth, data


@pytest.mark.usefixtures("few_descriptors")
def test_a_tree_deeper_than_any_path_is_measured(deep: Path) -> None:
    assert trees.size(str(deep), files_only=True) == 8192
    assert trees.size(str(deep)) >= 8192


def test_sizes(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_bytes(b"x" * 4096)
    (tmp_path / "other").write_bytes(b"x" * 4096)
    os.symlink("/usr", tmp_path / "a/link")
    os.symlink("b", tmp_path / "a/loop")
    os.mkfifo(tmp_path / "a/fifo")
    assert trees.size(str(tmp_path), files_only=True) == 8192
    counted = sum(os.lstat(path).st_blocks * 512 for path in tmp_path.rglob("*"))
    assert trees.size(str(tmp_path)) == counted
    assert trees.size(str(tmp_path / "gone")) == trees.size(str(tmp_path / "other")) == 0


def test_a_directory_that_goes_while_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "file").write_bytes(b"x" * 4096)
    down = trees.Cursor.down

    def faster(cursor: trees.Cursor, name: str) -> None:
        if name == "b":
            shutil.rmtree(tmp_path / "b")
        down(cursor, name)

    monkeypatch.setattr(trees.Cursor, "down", faster)
    assert trees.size(str(tmp_path), files_only=True) == 8192


def copied(copy: object, source: Path, target: Path) -> None:
    target.mkdir()
    here, there = os.open(source, OPEN), os.open(target, OPEN)
    before = len(os.listdir("/proc/self/fd"))
    copy(here, there)  # type: ignore[operator]
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(here)
    os.close(there)


@pytest.mark.usefixtures("few_descriptors")
@pytest.mark.parametrize("copy", [copy_tree, copy_out])
def test_a_tree_deeper_than_any_path_is_copied(deep: Path, tmp_path: Path, copy: object) -> None:
    copied(copy, deep, tmp_path / "copy")
    assert bottom_of(tmp_path / "copy") == (DEPTH, b"x" * 8192)


@pytest.mark.usefixtures("few_descriptors")
@pytest.mark.parametrize("copy", [copy_tree, copy_out])
def test_a_directory_of_many_directories_is_copied(tmp_path: Path, copy: object) -> None:
    for number in range(200):
        (tmp_path / f"source/{number}").mkdir(parents=True)
    copied(copy, tmp_path / "source", tmp_path / "copy")
    assert len(list((tmp_path / "copy").iterdir())) == 200


def test_directories_keep_their_times_and_modes(tmp_path: Path) -> None:
    """What is put into a directory changes its time: that is set last."""
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "a/file").write_text("1")
    (source / "a").chmod(0o2751)
    for path in (source / "a/file", source / "a", source):
        os.utime(path, ns=(1_000_000_000, 2_000_000_000))
    copied(copy_tree, source, tmp_path / "copy")
    for name in ("", "a", "a/file"):
        one, other = (source / name).stat(), (tmp_path / "copy" / name).stat()
        assert (one.st_mtime_ns, one.st_mode) == (other.st_mtime_ns, other.st_mode), name


def test_a_file_in_the_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "source/a/b").mkdir(parents=True)
    (tmp_path / "copy/a").mkdir(parents=True)
    (tmp_path / "copy/a/b").write_text("file")
    here, there = os.open(tmp_path / "source", OPEN), os.open(tmp_path / "copy", OPEN)
    with pytest.raises(Conflict, match="cannot create the directory /a/b: a file of this name exists"):
        copy_out(here, there)
    os.close(here)
    os.close(there)
