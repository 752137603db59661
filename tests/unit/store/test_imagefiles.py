"""Single files of an image: newest layer first, links followed inside, bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from layers import Tar, load, store
from underlay.errors import LimitExceeded
from underlay.paths import Paths
from underlay.store.rootfs.imagefiles import ImageFiles

BELOW = (
    Tar()
    .add("etc", "dir")
    .add("etc/old", data="old")
    .add("etc/kept", data="kept")
    .add("usr", "dir")
    .add("usr/lib", "dir")
    .add("usr/lib/x.json", data="{}")
    .add("usr/lib/os-release", data="ID=x\n")
    .add("lib", "link", link="usr/lib")
    .add("etc/os-release", "link", link="../usr/lib/os-release")
    .add("etc/out", "link", link="../../../../etc/kept")
    .add("etc/round", "link", link="round")
    .add("etc/nowhere", "link", link="/not/there")
)
ABOVE = Tar().add("etc/.wh.old").add("etc/kept", data="newer").add("opt/y.json", data="[]")


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    paths: Paths = store(tmp_path)
    return ImageFiles(paths, load(paths, [BELOW.data(), ABOVE.data()]))


def test_reading(files: ImageFiles) -> None:
    assert files.read(b"etc/kept") == b"newer" and files.read(b"etc/old") is None
    assert files.read(b"lib/os-release") == files.read(b"etc/os-release") == b"ID=x\n"
    assert files.read(b"etc/out") == b"newer"
    for nothing in (b"etc", b"etc/round", b"etc/nowhere", b"none/at/all", b"etc/kept/below"):
        assert files.read(nothing) is None
    with pytest.raises(LimitExceeded):
        files.read(b"etc/kept", 4)


def test_names_and_search(files: ImageFiles) -> None:
    assert files.names(b"lib") == [b"os-release", b"x.json"] and files.names(b"etc/kept") == []
    assert list(files.find((b".json",))) == [b"opt/y.json", b"usr/lib/x.json"]
