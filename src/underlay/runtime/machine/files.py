"""Files of a container in a machine, for the host: tars of its root or its writable layer, and files put into its root.

A child of the agent does the work, in the container's root. What the host gets it does not trust: it is read there as the
tar of a stranger is.
"""

from __future__ import annotations

import os
import stat
import sys

from ...errors import KernelError
from ...lean.jsontext import dumps
from ...linux.files import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from tarfile import TarInfo
    from typing import Any, BinaryIO, NoReturn

_EXDEV = 18
_HOPS = 40  # links that lead on, as path_resolution(7) has it
_OVERLAY = "trusted.overlay."
_OPAQUE = ".wh..wh..opq"  # oci image specification, layers: what a directory hides, and what is gone
_WHITEOUT = ".wh."
_TYPES = {stat.S_IFREG: b"0", stat.S_IFLNK: b"2", stat.S_IFCHR: b"3", stat.S_IFBLK: b"4", stat.S_IFDIR: b"5"}


def serve(request: dict[str, Any], root: str, upper: str) -> NoReturn:
    """In a child: do what is asked for, with standard input and output; an error goes to standard error, as JSON."""
    code = 1
    try:
        load()
        # Nothing of the container's files may ever be imported: an import that was forgotten fails instead.
        sys.meta_path.clear()
        sys.path.clear()
        os.chroot(upper if request["do"] == "layer" else root)
        os.chdir("/")
        with open(1, "wb", closefd=False) as out, open(0, "rb", closefd=False) as given:
            if request["do"] == "layer":
                _write(out, _Layer(set(request["skip"])).members())
            elif request["do"] == "tree":
                _write(out, _Tree(request["path"], request["follow"], request["deep"], request["one_device"]).members())
            else:
                _extract(given)
        code = 0
    except OSError as error:
        os.write(2, dumps({"errno": error.errno or 5, "path": str(error.filename or "")}).encode())
    except BaseException as error:
        os.write(2, dumps({"errno": 5, "path": f"{type(error).__name__}: {error}"}).encode())
    finally:
        os._exit(code)


def _write(out: BinaryIO, members: Iterator[TarInfo]) -> None:
    """Write members as a tar, regular files with what they hold."""
    import tarfile

    with tarfile.open(mode="w|", fileobj=out, format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for info in members:
            if not info.isreg() or os.path.basename(info.name).startswith(_WHITEOUT):
                archive.addfile(info)  # nothing is read for a whiteout: there is no such file
                continue
            with open("/" + info.name, "rb", opener=_plainly) as file:
                info.size = os.fstat(file.fileno()).st_size
                archive.addfile(info, file)


def _plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


class _Tree:
    """What is at a path of the root, with the directories and links that lead there; with `deep` what is below it, too."""

    def __init__(self, path: str, follow: bool, deep: bool, one_device: bool) -> None:
        self._path = path
        self._follow = follow
        self._deep = deep
        self._one_device = one_device
        self._there: set[str] = set()
        self._linked: dict[tuple[int, int], str] = {}

    def members(self) -> Iterator[TarInfo]:
        """Yield the members, those above first. Raises OSError for a path that leads nowhere."""
        todo = [part for part in self._path.split("/") if part not in ("", ".")][::-1]
        here: list[str] = []
        hops = 0
        ends = False  # whether the link at the path's end is being followed
        while todo:
            part = todo.pop()
            if part == "..":
                del here[-1:]
                continue
            path = "/".join((*here, part))
            try:
                facts = os.lstat("/" + path)
            except FileNotFoundError:
                if ends:
                    return  # the link is there, and leads nowhere
                raise
            yield from self._one(path, facts)
            if stat.S_ISLNK(facts.st_mode) and (todo or self._follow):
                hops += 1
                ends = ends or not todo
                if hops > _HOPS:
                    raise OSError(40, os.strerror(40), path)
                target = os.readlink("/" + path)
                if target.startswith("/"):
                    here = []
                todo += [part for part in target.split("/") if part not in ("", ".")][::-1]
                continue
            here.append(part)
        found = "/".join(here)
        if self._deep and os.path.isdir("/" + found) and not os.path.islink("/" + found):
            yield from self._below(found, os.lstat("/" + found).st_dev)

    def _below(self, path: str, device: int) -> Iterator[TarInfo]:
        for name in sorted(os.listdir("/" + path)):
            below = f"{path}/{name}" if path else name
            try:
                facts = os.lstat("/" + below)
            except FileNotFoundError:
                continue
            foreign = self._one_device and facts.st_dev != device and _is_mount("/" + path, name)
            if foreign and not stat.S_ISDIR(facts.st_mode):
                continue
            yield from self._one(below, facts)
            if stat.S_ISDIR(facts.st_mode) and not foreign:
                yield from self._below(below, device)

    def _one(self, path: str, facts: os.stat_result) -> Iterator[TarInfo]:
        if path not in self._there and not stat.S_ISSOCK(facts.st_mode):
            self._there.add(path)
            yield _info(path, facts, self._linked)


def _is_mount(directory: str, name: str) -> bool:
    """Return whether something is mounted at a name: an overlay shows files under several devices."""
    parent = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(beneath.open_beneath(parent, name, os.O_PATH | os.O_NOFOLLOW, beneath.RESOLVE_NO_XDEV))
    except KernelError as error:
        return error.errno == _EXDEV
    finally:
        os.close(parent)
    return False


class _Layer:
    """The writable layer as a layer of an image, but for the paths in `skip`."""

    def __init__(self, skip: set[str]) -> None:
        self._skip = skip
        self._linked: dict[tuple[int, int], str] = {}

    def members(self, path: str = "") -> Iterator[TarInfo]:
        """Yield the members, in order."""
        import tarfile

        for name in sorted(os.listdir("/" + path)):
            below = f"{path}/{name}" if path else name
            facts = os.lstat("/" + below)
            if below in self._skip or stat.S_ISSOCK(facts.st_mode):
                continue
            if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == 0:
                yield tarfile.TarInfo(f"{path}/{_WHITEOUT}{name}" if path else _WHITEOUT + name)
                continue
            yield _info(below, facts, self._linked)
            if stat.S_ISDIR(facts.st_mode):
                if _attribute("/" + below, _OVERLAY + "opaque") == b"y":
                    yield tarfile.TarInfo(f"{below}/{_OPAQUE}")
                yield from self.members(below)


def _info(path: str, facts: os.stat_result, linked: dict[tuple[int, int], str]) -> TarInfo:
    """Return the member for a file, without the overlay's own attributes."""
    import tarfile

    info = tarfile.TarInfo(path)
    form = stat.S_IFMT(facts.st_mode)
    info.type = _TYPES.get(form, tarfile.FIFOTYPE)
    info.mode, info.uid, info.gid = stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid
    info.mtime = facts.st_mtime_ns / 1e9
    if form != stat.S_IFDIR and facts.st_nlink > 1:
        first = linked.setdefault((facts.st_dev, facts.st_ino), path)
        if first != path:
            info.type, info.linkname = tarfile.LNKTYPE, first
            return info
    if form == stat.S_IFLNK:
        info.linkname = os.readlink("/" + path)
    elif form in (stat.S_IFCHR, stat.S_IFBLK):
        info.devmajor, info.devminor = os.major(facts.st_rdev), os.minor(facts.st_rdev)
    else:
        names = os.listxattr("/" + path, follow_symlinks=False)
        info.pax_headers = {
            "SCHILY.xattr." + name: _attribute("/" + path, name).decode("utf-8", "surrogateescape")
            for name in names
            if not name.startswith((_OVERLAY, "system."))
        }
    return info


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return b""


def _extract(given: BinaryIO) -> None:
    """Put the members of a tar of the host into the root."""
    import tarfile

    with tarfile.open(mode="r|", fileobj=given, errors="surrogateescape") as archive:
        for info in archive:
            path = "/" + info.name
            if os.path.lexists(path) and not (info.isdir() and os.path.isdir(path)):
                os.unlink(path)
            archive.extract(info, "/", numeric_owner=True, filter="fully_trusted")
    os.sync()


def load() -> None:
    """Import what the work takes, so that the initrd has it."""
    import tarfile  # noqa: F401
