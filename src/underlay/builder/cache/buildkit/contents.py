"""BuildKit's digest of files in a context: of what a path names, all that is below it included.

A file's is the SHA-256 of a tar header in the old "tarsum" form followed by its content; a directory's is that of the
names and digests in it, its own header first (BuildKit, cache/contenthash).
"""

from __future__ import annotations

import os
import stat

from ....lean.hashing import sha256
from ....store import kinds
from ....store.layers import walking
from ...copy.selecting import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...context.patterns import Matcher
    from ...copy.selecting import SelectedFile

_PIECE = 1 << 20
_NOTHING = "sha256:" + sha256().hexdigest()
# Sockets are taken for files.
_TYPES = {kinds.REGULAR: "0", kinds.SOCKET: "0", kinds.SYMLINK: "2", kinds.DIRECTORY: "5"}
_Tree = dict[bytes, "str | _Directory"]


class _Directory:
    """A directory: the digest of its header, and what is in it."""

    __slots__ = ("entries", "header")

    def __init__(self, header: str) -> None:
        self.header = header
        self.entries: _Tree = {}


def digest(root: int, path: str, ignore: Matcher | None) -> str:
    """Return the digest of what `path` names below the directory `root` (a descriptor), whose owners mean nothing.

    "" for what has none here: files with extended attributes, and those that are no files, directories or links. Raises
    NotFound, KernelError, Conflict.
    """
    selected = select(root, path, ignore=ignore)
    if len(selected.items) != 1:
        return ""
    (item,) = selected.items
    if not item.is_dir:
        for file in selected.walk(item):
            return _file(file)
        return ""
    # The root of a context has no header of its own.
    top = _Directory(_file(selected.top(item)) if item.components else _NOTHING)
    directories: dict[bytes, _Directory] = {b"": top}
    for file in selected.walk(item):
        value = _file(file)
        if not value:
            return ""
        above, _, name = file.path.rpartition(b"/")
        if file.kind == kinds.DIRECTORY:
            directories[file.path] = _Directory(value)
            directories[above].entries[name] = directories[file.path]
        else:
            directories[above].entries[name] = value
    return _whole(directories) if top.header else ""


def matching(root: int, pattern: str, ignore: Matcher | None) -> str:
    """Return the digest of the files, or of no files, that a pattern names below a directory; "" where it names others.

    Raises NotFound, KernelError, Conflict.
    """
    selected = select(root, pattern, ignore=ignore)
    found = []
    for item in sorted(selected.items, key=lambda item: [os.fsencode(name) for name in item.components]):
        if item.is_dir:
            return ""
        for file in selected.walk(item):
            value = _file(file) if file.kind == kinds.REGULAR else ""
            if not value:
                return ""
            found.append(os.fsencode(item.components[-1]) + value.encode())
    return "sha256:" + sha256(b"\0".join(found)).hexdigest()


def _whole(directories: dict[bytes, _Directory]) -> str:
    """Return the digest of the topmost of directories, given parents first."""
    done: dict[int, str] = {}
    for directory in reversed(list(directories.values())):
        state = sha256(b"\0" + directory.header.encode())
        for name, entry in sorted(directory.entries.items()):
            value = entry if isinstance(entry, str) else done[id(entry)]
            state.update(b"\0" + name + value.encode())
        done[id(directory)] = "sha256:" + state.hexdigest()
    return done[id(directories[b""])]


def _file(file: SelectedFile) -> str:
    """Return the digest of a file's tar header and content, "" for kinds and attributes not covered."""
    if file.facts is not None:
        if file.kind not in _TYPES or file.xattrs:
            return ""
        return "sha256:" + sha256(_header(file.kind, file.facts.st_mode, 0, file.link)).hexdigest()
    fd, facts = walking.open_file(file.parent, file.name, file.source_path)
    try:
        if walking.file_attributes(fd, file.source_path):
            return ""
        state = sha256(_header(kinds.REGULAR, facts.st_mode, facts.st_size, b""))
        left = facts.st_size
        while left and (piece := os.read(fd, min(left, _PIECE))):
            state.update(piece)
            left -= len(piece)
    finally:
        os.close(fd)
    return "sha256:" + state.hexdigest()


def _header(kind: int, mode: int, size: int, link: bytes) -> bytes:
    words = f"namemode{stat.S_IMODE(mode)}uid0gid0size{size}typeflag{_TYPES[kind]}linkname"
    return words.encode() + link + b"unamegnamedevmajor0devminor0"
