"""Mount points made for a step's container that its layer must not keep: found before the run, removed after it."""

from __future__ import annotations

import os
import stat

from ...errors import KernelError
from ...linux.files import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HOPS = 40  # links of a path that are followed (path_resolution(7))


class Stub:
    """A mount point that is not there: `existing` are the components of the directory it will be made in, `missing` those
    that will be made."""

    __slots__ = ("existing", "missing")

    def __init__(self, existing: list[str], missing: list[str]) -> None:
        self.existing = existing
        self.missing = missing


def find(root: int, destinations: Iterable[str]) -> list[Stub]:
    """Return what is missing of `destinations` below the directory `root`, whose links are followed as in a chroot."""
    stubs = []
    for path in destinations:
        existing, missing = _walk(root, path)
        if missing:
            stubs.append(Stub(existing, missing))
    return stubs


def _walk(root: int, path: str) -> tuple[list[str], list[str]]:
    todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
    here: list[str] = []
    hops = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del here[-1:]
            continue
        try:
            fd = beneath.open_in_root(
                root, "/".join((*here, part)), os.O_PATH | os.O_NOFOLLOW, resolve=beneath.RESOLVE_NO_SYMLINKS
            )
        except KernelError:
            return here, [part, *(component for component in reversed(todo) if component != "..")]
        try:
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                hops += 1
                if hops > _HOPS:
                    return here, []  # the mount will fail, and say so
                target = os.readlink("", dir_fd=fd)
                if target.startswith("/"):
                    here = []
                todo += [component for component in reversed(target.split("/")) if component not in ("", ".")]
                continue
        finally:
            os.close(fd)
        here.append(part)
    return here, []


def remove(upper: int, lower: int, stubs: list[Stub]) -> None:
    """Remove from the directory `upper` what has been made for mounts and is still empty; never follows a link.

    A directory that is only there because a mount point was made in it goes as well: when it is empty, and in nothing
    different from the one in `lower`, the root without the step.
    """
    for stub in stubs:
        for count in range(len(stub.missing), 0, -1):
            if not _remove_one(upper, [*stub.existing, *stub.missing[: count - 1]], stub.missing[count - 1]):
                break
    for depth in range(max((len(stub.existing) for stub in stubs), default=0), 0, -1):
        for parts in {tuple(stub.existing[:depth]) for stub in stubs if len(stub.existing) >= depth}:
            if _copied_only(upper, lower, parts):
                _remove_one(upper, list(parts[:-1]), parts[-1])


def _open(root: int, parts: Iterable[str]) -> int:
    """Return a descriptor of the directory that `parts` lead to without any link, -1 when there is none."""
    try:
        return beneath.open_in_root(
            root, "/".join(parts) or ".", os.O_RDONLY | os.O_DIRECTORY, resolve=beneath.RESOLVE_NO_SYMLINKS
        )
    except KernelError:
        return -1


def _remove_one(upper: int, parts: list[str], name: str) -> bool:
    """Remove an empty file or directory; returns whether it is gone."""
    directory = _open(upper, parts)
    if directory < 0:
        return False
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            os.rmdir(name, dir_fd=directory)
        elif stat.S_ISREG(status.st_mode) and not status.st_size:
            os.unlink(name, dir_fd=directory)
        else:
            return False
    except OSError:
        return False
    finally:
        os.close(directory)
    return True


def _copied_only(upper: int, lower: int, parts: tuple[str, ...]) -> bool:
    above, below = _open(upper, parts), _open(lower, parts)
    try:
        if above < 0 or below < 0 or os.listdir(above):
            return False
        first, second = os.fstat(above), os.fstat(below)
        same = (first.st_mode, first.st_uid, first.st_gid) == (second.st_mode, second.st_uid, second.st_gid)
        return same and not any(_is_opaque(above, word) for word in ("trusted", "user"))
    finally:
        for fd in (above, below):
            if fd >= 0:
                os.close(fd)


def _is_opaque(directory: int, word: str) -> bool:
    try:
        return os.getxattr(directory, f"{word}.overlay.opaque") == b"y"
    except OSError:
        return False
