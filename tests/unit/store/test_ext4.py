"""The empty ext4 file system, judged by e2fsprogs: it is whole, has the size asked for, and takes next to no room."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from underlay.errors import InvalidInput
from underlay.store.rootfs import ext4

E2FSCK, DUMPE2FS = shutil.which("e2fsck", path="/usr/sbin:/sbin"), shutil.which("dumpe2fs", path="/usr/sbin:/sbin")
MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    "size",
    [
        16 * MIB,
        16 * MIB + 12345,
        100 * MIB,
        127 * MIB,
        128 * MIB,
        128 * MIB + 4096,  # a second group of one block has no room for its tables
        128 * MIB + 300 * 4096,
        129 * MIB,
        200 * MIB,
        1 * GIB,
        3 * GIB + 777 * MIB,
        10 * GIB,
        100 * GIB,
        4096 * GIB,
    ],
)
def test_it_is_whole(tmp_path: Path, size: int) -> None:
    if not E2FSCK or not DUMPE2FS:
        pytest.skip("no e2fsprogs")
    path = tmp_path / "disk"
    ext4.write(str(path), size)
    done = subprocess.run([E2FSCK, "-fn", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = dict(
        line.split(":", 1)
        for line in subprocess.run(
            [DUMPE2FS, "-h", str(path)], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        if ":" in line
    )
    blocks = int(facts["Block count"])
    assert facts["Filesystem state"].strip() == "clean" and blocks == path.stat().st_size // 4096
    assert size - 128 * MIB // 50 < blocks * 4096 <= size
    features = set(facts["Filesystem features"].split())
    assert {"has_journal", "extent", "uninit_bg", "sparse_super", "filetype", "large_file"} <= features
    assert int(facts["Free blocks"]) > blocks * 0.7
    assert size / int(facts["Inode count"]) == pytest.approx(16384, rel=0.15)
    assert path.stat().st_blocks * 512 < 300_000 + size // 4000


@pytest.mark.parametrize("size", [0, -1, 16 * MIB - 1, 1 << 44, 1 << 60])
def test_sizes_that_cannot_be(tmp_path: Path, size: int) -> None:
    with pytest.raises(InvalidInput, match="cannot create a file system"):
        ext4.write(str(tmp_path / "disk"), size)
    assert not (tmp_path / "disk").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("mine")
    with pytest.raises(FileExistsError):
        ext4.write(str(tmp_path / "disk"), 16 * MIB)
    assert (tmp_path / "disk").read_text() == "mine"
