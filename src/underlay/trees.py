"""Directory trees that others made: measured, and walked side by side, at any depth with one descriptor a tree.

A container may nest directories until their path is longer than the kernel takes (PATH_MAX), and a descriptor a level
would run out; so every step is a name relative to the one directory that is open.
"""

from __future__ import annotations

import errno
import os
import stat

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Cursor:
    """A directory of a tree: `fd`, which goes down into a directory in it, and up again as far as it has come down.

    It takes the descriptor over. Links are not followed.
    """

    __slots__ = ("_above", "fd")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._above: list[tuple[int, int]] = []

    def down(self, name: str) -> None:
        """Go into the directory `name`. Raises OSError, and stays."""
        below = os.open(name, OPEN_DIRECTORY, dir_fd=self.fd)
        self._above.append(_identity(self.fd))
        os.close(self.fd)
        self.fd = below

    def up(self) -> None:
        """Go back to the directory above. Raises OSError; EBUSY when this one has been moved elsewhere meanwhile."""
        above = os.open("..", OPEN_DIRECTORY, dir_fd=self.fd)
        if _identity(above) != self._above.pop():
            os.close(above)
            raise OSError(errno.EBUSY, "the directory was moved meanwhile")
        os.close(self.fd)
        self.fd = above

    def close(self) -> None:
        """Close the directory."""
        os.close(self.fd)


def _identity(fd: int) -> tuple[int, int]:
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


def size(path: str, files_only: bool = False) -> int:
    """Return the bytes that all below the directory `path` occupies on disk; 0 when it is missing or none.

    Links are not followed. With `files_only` it is the length of the regular files. What may not be read, or is gone
    before it is looked at, does not count; a directory that is moved while it is measured ends the count.
    """
    try:
        cursor = Cursor(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        return 0
    try:
        total, names = _measured(cursor.fd, files_only)
        waiting = [names]
        while True:
            if waiting[-1]:
                try:
                    cursor.down(waiting[-1].pop())
                except OSError:
                    continue
                below, names = _measured(cursor.fd, files_only)
                total += below
                waiting.append(names)
                continue
            waiting.pop()
            if not waiting:
                return total
            try:
                cursor.up()
            except OSError:
                return total
    finally:
        cursor.close()


def _measured(fd: int, files_only: bool) -> tuple[int, list[str]]:
    """Return the bytes on disk of what is in one directory, and the names of the directories in it."""
    total = 0
    names: list[str] = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # removed since; those beside it count
                if stat.S_ISDIR(facts.st_mode):
                    names.append(entry.name)
                if not files_only:
                    total += facts.st_blocks * 512
                elif stat.S_ISREG(facts.st_mode):
                    total += facts.st_size
    except OSError:
        pass
    return total, names
