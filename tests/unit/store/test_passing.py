"""Layers that are read and not kept: the same files as in the store, whatever the pieces; limits; wrong bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import pytest

from layers import Tar, load, store
from underlay.errors import Corrupt, DigestMismatch, LimitExceeded, NotFound
from underlay.store.layers import passing
from underlay.store.layers.passing import PassedLayer
from underlay.store.layers.toc import Entry
from underlay.store.limits import Limits
from underlay.store.rootfs.imagefiles import ImageFiles

BELOW = (
    Tar()
    .add("etc", "dir")
    .add("etc/os-release", data="ID=x\n")
    .add("etc/empty", data="")
    .add("etc/large", data="l" * 70_000)
    .add("etc/same", "hard", link="etc/os-release")
    .add("etc/gone", data="gone")
    .data()
)
ABOVE = Tar().add("etc/.wh.gone").add("etc/os-release", data="ID=y\n").data()


def diff_id(tar: bytes) -> str:
    return "sha256:" + hashlib.sha256(tar).hexdigest()


def passed(tar: bytes, size: int = 4096, limits: Limits | None = None, data: bytes = b"") -> PassedLayer:
    source = io.BytesIO(data or gzip.compress(tar))

    def keep(entry: Entry) -> bool:
        return entry.name == b"etc/os-release"

    return passing.read(lambda: source.read(size), diff_id(tar), keep, limits or Limits())


@pytest.mark.parametrize("size", [7, 512, 1 << 20])
def test_the_same_as_in_the_store(tmp_path: Path, size: int) -> None:
    paths = store(tmp_path)
    here = ImageFiles(paths, load(paths, [BELOW, ABOVE]))
    there = ImageFiles(paths, [diff_id(BELOW), diff_id(ABOVE)], {diff_id(t): passed(t, size) for t in (BELOW, ABOVE)})
    names = [path for path, _ in here.walk()]
    assert names == [path for path, _ in there.walk()] and b"etc/gone" not in names
    assert [here.checksum(name) for name in names] == [there.checksum(name) for name in names]
    assert there.read(b"etc/os-release") == b"ID=y\n" and there.read(b"etc/same") == b"ID=x\n"
    assert there.read(b"etc/empty") == b"" and there.part(b"etc/os-release", 3, 1) == b"y"
    with pytest.raises(NotFound, match="passed over"):
        there.read(b"etc/large")


def test_one_layer_of_the_store_and_one_that_is_not(tmp_path: Path) -> None:
    paths = store(tmp_path)
    [below] = load(paths, [BELOW])
    files = ImageFiles(paths, [below, diff_id(ABOVE)], {diff_id(ABOVE): passed(ABOVE)})
    assert files.read(b"etc/os-release") == b"ID=y\n" and files.read(b"etc/large") == b"l" * 70_000


def test_what_is_not_what_it_says() -> None:
    with pytest.raises(DigestMismatch):
        passed(BELOW, data=gzip.compress(ABOVE))
    with pytest.raises(Corrupt):
        passed(BELOW, data=gzip.compress(BELOW)[:-20])
    with pytest.raises(LimitExceeded):
        passed(BELOW, limits=Limits(total=1000))
    with pytest.raises(LimitExceeded):
        passed(BELOW, limits=Limits(members=3))
