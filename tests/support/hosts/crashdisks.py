"""A disk whose power can be cut: its content at any moment can be copied, mounted and looked at.

The disk is a file, shown as a device by loop(4), on a file system of its own. While that lower file system is frozen
(FIFREEZE, fsfreeze(8)) nothing reaches the file. So a copy is what a disk would hold if its power were cut then:
what the upper file system has written, and nothing of what is still in memory.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FREEZE, _THAW = 0xC0045877, 0xC0045878  # linux/fs.h


def _command(*words: str | Path) -> None:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")


class CrashDisk:
    """A mounted disk of `size` bytes below `place`: work in `point`, cut its power with `cut`."""

    def __init__(self, place: Path, size: int = 256 << 20, kind: str = "ext4") -> None:
        if os.geteuid() != 0:
            pytest.skip("needs root: loop devices")
        maker = f"mkfs.{kind}"
        if not shutil.which(maker):
            pytest.skip(f"no {maker}")
        self._kind = kind
        self._lower = place / "lower"
        self.point = place / "disk"
        self._copies = place / "copies"
        for directory in (self._lower, self.point, self._copies):
            directory.mkdir()
        self._mounted: list[Path] = []
        self._file = self._lower / "disk.img"
        try:
            self._make(place / "lower.img", size + (128 << 20), "ext4")
            self._mount(place / "lower.img", self._lower, "ext4")
            self._make(self._file, size, kind)
            self._mount(self._file, self.point, kind)
        except OSError as error:
            self.close()
            pytest.skip(f"no file can be mounted here: {error}")

    @staticmethod
    def _make(file: Path, size: int, kind: str) -> None:
        with open(file, "wb") as made:
            made.truncate(size)
        _command(f"mkfs.{kind}", "-q", *(["-F"] if kind == "ext4" else ["-f"]), file)

    def _mount(self, file: Path, point: Path, kind: str) -> None:
        # XFS refuses a second mount of what has the same name, as a copy has.
        options = "loop,nouuid" if kind == "xfs" else "loop"
        _command("mount", "-t", kind, "-o", options, file, point)
        self._mounted.append(point)

    def cut(self, name: str) -> Path:
        """Return a copy of the disk as it is at this moment."""
        copy = self._copies / name
        fd = os.open(self._lower, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, _FREEZE, 0)
            try:
                _command("cp", "--sparse=always", self._file, copy)
            finally:
                fcntl.ioctl(fd, _THAW, 0)
        finally:
            os.close(fd)
        return copy

    @contextmanager
    def after_boot(self, copy: Path) -> Iterator[Path]:
        """Mount a copy, which replays its journal, for as long as the block lasts; then remove it."""
        point = self._copies / f"{copy.name}.mounted"
        point.mkdir()
        try:
            self._mount(copy, point, self._kind)
            try:
                yield point
            finally:
                _command("umount", point)
                self._mounted.remove(point)
        finally:
            point.rmdir()
            copy.unlink()

    def close(self) -> None:
        """Unmount all."""
        for point in reversed(self._mounted):
            subprocess.run(["umount", "-l", str(point)], capture_output=True)
        self._mounted.clear()
