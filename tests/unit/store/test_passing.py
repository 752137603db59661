"""Layers that are read and not kept: the same files as in the store, whatever the pieces; limits; wrong bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
from pathlib import Path

import pytest

from layers import Tar, load, pax, store
from underlay.errors import Corrupt, DigestMismatch, LimitExceeded, NotFound
from underlay.store.layers import passing
from underlay.store.layers.passing import SkimmedLayer, SpooledLayer
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


def skimmed(tar: bytes, size: int = 4096, limits: Limits | None = None, data: bytes = b"") -> SkimmedLayer:
    source = io.BytesIO(data or gzip.compress(tar))

    def keep(entry: Entry) -> bool:
        return entry.name == b"etc/os-release"

    return passing.skim(lambda: source.read(size), diff_id(tar), keep, limits or Limits())


def spooled(tmp_path: Path, tar: bytes, limits: Limits | None = None, data: bytes = b"") -> SpooledLayer:
    source = io.BytesIO(data or gzip.compress(tar))
    return passing.spool(lambda: source.read(4096), diff_id(tar), str(tmp_path), limits or Limits())


@pytest.mark.parametrize("size", [7, 512, 1 << 20])
def test_the_same_as_in_the_store(tmp_path: Path, size: int) -> None:
    paths = store(tmp_path)
    here = ImageFiles(paths, load(paths, [BELOW, ABOVE]))
    there = ImageFiles(paths, [diff_id(BELOW), diff_id(ABOVE)], {diff_id(t): skimmed(t, size) for t in (BELOW, ABOVE)})
    names = [path for path, _ in here.walk()]
    assert names == [path for path, _ in there.walk()] and b"etc/gone" not in names
    assert [here.checksum(name) for name in names] == [there.checksum(name) for name in names]
    assert there.read(b"etc/os-release") == b"ID=y\n" and there.read(b"etc/same") == b"ID=x\n"
    assert there.read(b"etc/empty") == b"" and there.part(b"etc/os-release", 3, 1) == b"y"
    with pytest.raises(NotFound, match="passed over"):
        there.read(b"etc/large")


def test_all_files_in_a_file_without_a_name(tmp_path: Path) -> None:
    """Those of a sparse member too, whose holes read as zeros."""
    paths = store(tmp_path)
    directory = tmp_path / "temporary"
    directory.mkdir()
    table = [(b"GNU.sparse.map", b"1024,3,4096,2"), (b"GNU.sparse.size", b"5000"), (b"GNU.sparse.numblocks", b"2")]
    sparse = Tar().raw(pax(table)).add("sparse", data="abcde").add("after", data="after").data()
    tars = (BELOW, ABOVE, sparse)
    here = ImageFiles(paths, load(paths, list(tars)))
    layers = {diff_id(tar): spooled(directory, tar) for tar in tars}
    there = ImageFiles(paths, [diff_id(tar) for tar in tars], layers)
    names = [path for path, _ in here.walk()]
    assert names == [path for path, _ in there.walk()] and b"sparse" in names
    assert [here.checksum(name) for name in names] == [there.checksum(name) for name in names]
    assert [here.read(name) for name in names] == [there.read(name) for name in names]
    assert here.read(b"sparse") == b"\0" * 1024 + b"abc" + b"\0" * 3069 + b"de" + b"\0" * 902
    assert there.part(b"etc/large", 69_999, 10) == b"l" and list(directory.iterdir()) == []
    for layer in layers.values():
        layer.close()


def test_parts_of_an_image_on_others(tmp_path: Path) -> None:
    paths = store(tmp_path)
    [below, above] = load(paths, [BELOW, ABOVE])
    files = ImageFiles(paths, [below, above])
    assert files.lower(1).read(b"etc/gone") == b"gone" and files.read(b"etc/gone") is None
    other = Tar().add("etc/gone", data="other").add("etc/kept", data="kept").data()
    [onto] = load(paths, [other])
    moved = files.on(ImageFiles(paths, [onto]), 1)
    assert [path for path, _ in moved.walk()] == [b"etc/kept", b"etc/os-release"]
    assert moved.read(b"etc/os-release") == b"ID=y\n"
    assert [entry.name for entry in files.entries(1)] == [b"etc/.wh.gone", b"etc/os-release"]


def test_one_layer_of_the_store_and_one_that_is_not(tmp_path: Path) -> None:
    paths = store(tmp_path)
    [below] = load(paths, [BELOW])
    files = ImageFiles(paths, [below, diff_id(ABOVE)], {diff_id(ABOVE): skimmed(ABOVE)})
    assert files.read(b"etc/os-release") == b"ID=y\n" and files.read(b"etc/large") == b"l" * 70_000


def test_what_is_not_what_it_says(tmp_path: Path) -> None:
    for wrong in (gzip.compress(ABOVE), gzip.compress(BELOW)[:-20]):
        with pytest.raises(Corrupt):
            spooled(tmp_path, BELOW, data=wrong)
    with pytest.raises(LimitExceeded):
        spooled(tmp_path, BELOW, Limits(total=1000))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DigestMismatch):
        skimmed(BELOW, data=gzip.compress(ABOVE))
    with pytest.raises(Corrupt):
        skimmed(BELOW, data=gzip.compress(BELOW)[:-20])
    with pytest.raises(LimitExceeded):
        skimmed(BELOW, limits=Limits(total=1000))
    with pytest.raises(LimitExceeded):
        skimmed(BELOW, limits=Limits(members=3))
