"""The second form of a layer: a directory to be a lower layer of an overlay, where indexes cannot be mounted.

Everything is created by calls relative to a directory descriptor, and every name is one component out of a
merged tree, whose parents are real directories: no path of an image is ever resolved by the kernel.
"""

from __future__ import annotations

import errno
import os
import stat

from ..layers import toc
from ..layers.intake import copy_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..layers.merge import Change, Node

    Owner = Callable[[int, int], tuple[int, int]]
    OpenPart = Callable[[int, int], int]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def unchanged(uid: int, gid: int) -> tuple[int, int]:
    """Keep the owners of files from the image: for root."""
    return uid, gid


def write_tree(
    path: str,
    change: Change,
    open_part: OpenPart,
    *,
    userxattr: bool = False,
    owner: Owner | None = unchanged,
) -> None:
    """Write a layer's changes as the new directory `path`, with a sibling `path`.links while it works.

    `open_part(layer, part)` returns a descriptor of the file that holds the data; it is closed at the end.
    Opaque directories are marked with `user.overlay.opaque` when `userxattr`, else with
    `trusted.overlay.opaque` (kernel, Documentation/filesystems/overlayfs.rst); the overlay must be mounted to
    match. `owner` maps the image's (uid, gid) to those of the host, for use in a user namespace; None is for
    processes without any privilege: all files stay theirs, and device nodes and file capabilities are left
    out. The caller syncs and renames. Raises OSError.
    """
    _Writer(path, change, open_part, userxattr, owner).write()


class _Writer:
    def __init__(self, path: str, change: Change, open_part: OpenPart, userxattr: bool, owner: Owner | None) -> None:
        self._path = path
        self._links_path = path + ".links"
        self._change = change
        self._open_part = open_part
        self._opaque = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
        self._owner = owner
        self._parts: dict[tuple[int, int], int] = {}
        self._links_fd = -1
        self._linked: dict[int, str] = {}

    def write(self) -> None:
        os.mkdir(self._path, 0o700)
        os.mkdir(self._links_path, 0o700)
        try:
            self._links_fd = os.open(self._links_path, _DIRECTORY)
            self._walk(os.open(self._path, _DIRECTORY))
            for name in self._linked.values():
                os.unlink(name, dir_fd=self._links_fd)
        finally:
            for fd in self._parts.values():
                os.close(fd)
            if self._links_fd >= 0:
                os.close(self._links_fd)
        os.rmdir(self._links_path)

    def _walk(self, fd: int) -> None:
        """Fill the directory `fd` and all below it; two descriptors are open at a time, at any depth."""
        stack = [(self._change, self._fill(fd, self._change))]
        try:
            while True:
                change, todo = stack[-1]
                if todo:
                    name, child = todo.pop()
                    os.mkdir(name, 0o700, dir_fd=fd)
                    next_fd = os.open(name, _DIRECTORY, dir_fd=fd)
                    os.close(fd)
                    fd = next_fd
                    stack.append((child, self._fill(fd, child)))
                    continue
                stack.pop()
                if not stack:
                    self._finish_directory(fd, change)
                    return
                # No other process works in here, so `..` is where we came from. It is opened first, because
                # afterwards the mode may forbid it.
                next_fd = os.open("..", _DIRECTORY, dir_fd=fd)
                try:
                    self._finish_directory(fd, change)
                finally:
                    os.close(fd)
                    fd = next_fd
        finally:
            os.close(fd)

    def _fill(self, fd: int, change: Change) -> list[tuple[bytes, Change]]:
        """Make all of a directory but its subdirectories, and return these."""
        later = []
        for name in sorted(change.children, reverse=True):
            child = change.children[name]
            node = child.node
            if node is None:
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=fd)
            elif node.children is not None:
                later.append((name, child))
            elif node.nlink > 1:
                self._link(fd, name, node)
            else:
                self._make(fd, name, node)
        return later

    def _link(self, fd: int, name: bytes, node: Node) -> None:
        """Give a file with several names this one; it is made in a directory apart, and linked from there."""
        known = self._linked.get(id(node))
        if known is None:
            known = str(len(self._linked))
            if not self._make(self._links_fd, known.encode(), node):
                return
            self._linked[id(node)] = known
        os.link(known, name, src_dir_fd=self._links_fd, dst_dir_fd=fd, follow_symlinks=False)

    def _make(self, fd: int, name: bytes, node: Node) -> bool:
        """Make anything but a directory; return False when it has to be left out."""
        entry = node.entry
        times = _times(node)
        if entry.kind == toc.REGULAR:
            file = os.open(name, _CREATE, 0o600, dir_fd=fd)
            try:
                if entry.size:
                    self._copy(node, file)
                self._attributes(file, node)
                os.utime(file, ns=times)
            finally:
                os.close(file)
            return True
        if entry.kind == toc.SYMLINK:
            os.symlink(entry.link, name, dir_fd=fd)
        elif entry.kind == toc.FIFO:
            os.mkfifo(name, 0o600, dir_fd=fd)
        elif self._owner is None or self._opaque.startswith("user."):
            return False  # no privilege, or a user namespace: neither can make devices
        else:
            form = stat.S_IFCHR if entry.kind == toc.CHARACTER else stat.S_IFBLK
            os.mknod(name, form | 0o600, os.makedev(entry.major, entry.minor), dir_fd=fd)
        if self._owner is not None:
            uid, gid = self._owner(entry.uid, entry.gid)
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        if entry.kind != toc.SYMLINK:
            os.chmod(name, entry.mode, dir_fd=fd)
            self._node_xattrs(fd, name, node)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)
        return True

    def _copy(self, node: Node, target: int) -> None:
        entry = node.entry
        key = (node.layer, entry.part)
        source = self._parts.get(key, -1)
        if source < 0:
            source = self._parts[key] = self._open_part(*key)
        if entry.part == toc.TAR:
            copy_range(source, entry.offset, target, 0, entry.size)
            return
        os.ftruncate(target, entry.size)
        end = entry.offset + entry.size
        position = entry.offset
        while position < end:
            try:
                position = os.lseek(source, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            if position >= end:
                return
            hole = min(os.lseek(source, position, os.SEEK_HOLE), end)
            copy_range(source, position, target, position - entry.offset, hole - position)
            position = hole

    def _attributes(self, fd: int, node: Node) -> None:
        """Set owner, mode, attributes, in the order in which none undoes another (see chown(2))."""
        entry = node.entry
        if self._owner is not None:
            os.fchown(fd, *self._owner(entry.uid, entry.gid))
        # user.* takes the right to write, which the mode may withhold; access lists go above a mode.
        pairs = node.xattrs
        self._xattrs(fd, [pair for pair in pairs if not pair[0].startswith(b"system.")])
        os.fchmod(fd, entry.mode)
        self._xattrs(fd, [pair for pair in pairs if pair[0].startswith(b"system.")])

    def _node_xattrs(self, fd: int, name: bytes, node: Node) -> None:
        if not node.xattrs:
            return
        # There is no setxattr relative to a directory. O_PATH opens the node itself, not the device behind
        # it.
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        try:
            self._xattrs(f"/proc/self/fd/{handle}", node.xattrs)
        finally:
            os.close(handle)

    def _xattrs(self, target: int | str, pairs: list[tuple[bytes, bytes]]) -> None:
        for name, value in pairs:
            try:
                os.setxattr(target, name, value)
            except OSError as error:
                # An access list that makes no sense to the kernel means nothing in an index either.
                if name.startswith(b"system.") and error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    continue
                if self._owner is None and error.errno == errno.EPERM:
                    continue
                raise

    def _finish_directory(self, fd: int, change: Change) -> None:
        node = change.node
        assert node is not None
        if change.opaque:
            os.setxattr(fd, self._opaque, b"y")
        self._attributes(fd, node)
        os.utime(fd, ns=_times(node))


def _times(node: Node) -> tuple[int, int]:
    time = node.entry.mtime * 1_000_000_000 + node.entry.nsec
    return time, time
