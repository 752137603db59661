"""`cp`: files between a container and this host, with docker's rules for what the destination means (docker cp)."""

from __future__ import annotations

import errno
import os
import stat

from ....errors import Conflict, InvalidInput, KernelError, NotFound, Unsupported
from ....events import Event
from ....linux.files import beneath
from . import rootview
from .members import Target, Tree, read_tar, write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, BinaryIO

    from ....linux.specification import IdMaps
    from ....store.rows.containers import ContainerRow
    from ....store.store import Store


class Copied:
    """What a copy has done: bytes of the files, and how many devices were left out."""

    __slots__ = ("left_out", "size")

    def __init__(self, size: int, left_out: int) -> None:
        self.size = size
        self.left_out = left_out


class _Place:
    """Where a copy goes: the directory, a descriptor's root with a `path` in it, and the `name` that what is copied gets
    there, "" when its content goes into the directory itself."""

    __slots__ = ("name", "path")

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name


def out(
    store: Store, row: ContainerRow, path: str, destination: str | int, follow: bool = False, archive: bool = False
) -> Copied:
    """Copy a path of a container to this host, or as a tar to a descriptor.

    With `follow` a link at the end of the path is followed; with `archive` owners, devices and set-id bits are kept. Raises
    NotFound, Conflict, InvalidInput, KernelError, OSError.
    """
    maps = rootview.maps(row)

    def work(root: int) -> Mapping[str, Any]:
        source = _source(root, path, follow, maps, f"Could not find the file {path} in container {row.name}")
        try:
            if isinstance(destination, int):
                with os.fdopen(os.dup(destination), "wb") as stream:
                    return {"size": write_tar(source.members(), stream), "left_out": 0}
            here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                absolute = _absolute(destination)
                place = _place(here, absolute, _base(path), source.is_directory, _is_content(path))
                base = beneath.open_in_root(here, place.path, os.O_PATH | os.O_DIRECTORY)
            finally:
                os.close(here)
            try:
                owner = None if archive and os.geteuid() == 0 else (-1, -1)
                target = Target(base, "", owner, devices=archive, set_id=archive, links=False)
                return _placed(source, target, place)
            finally:
                os.close(base)
        finally:
            source.close()

    uses = (destination,) if isinstance(destination, int) else ()
    copied = _result(rootview.within(store, row, work, uses, path))
    store.emit(Event("container.archive-path", row.id))
    return copied


def look(store: Store, row: ContainerRow, path: str) -> Mapping[str, Any]:
    """Return what is at a path of a container: name, size (bytes), mode (st_mode), mtime (ns), link (the target of a link).

    A link at the end is not followed. Raises NotFound, Conflict, KernelError.
    """
    missing = f"Could not find the file {path} in container {row.name}"

    def work(root: int) -> Mapping[str, Any]:
        end = 0 if path.endswith(("/", "/.")) else os.O_NOFOLLOW
        try:
            fd = beneath.open_in_root(root, path, os.O_PATH | end)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                raise NotFound(missing) from None
            raise
        try:
            facts = os.fstat(fd)
            link = os.readlink(b"", dir_fd=fd) if stat.S_ISLNK(facts.st_mode) else b""
        finally:
            os.close(fd)
        return {
            "name": _base(path) or "/",
            "size": facts.st_size,
            "mode": facts.st_mode,
            "mtime": facts.st_mtime_ns,
            "link": os.fsdecode(link),
        }

    return rootview.within(store, row, work, (), path, deep=False)


def into(
    store: Store, row: ContainerRow, source: str | BinaryIO, path: str, follow: bool = False, archive: bool = False
) -> Copied:
    """Copy a path of this host into a container, or the members of a tar into one of its directories.

    What is copied belongs to the container's root unless `archive` keeps its owners. Raises as `out`.
    """
    maps = rootview.maps(row)
    missing = f"Could not find the file {path} in container {row.name}"

    def work(root: int) -> Mapping[str, Any]:
        owner = None if archive else (0, 0)
        if not isinstance(source, str):
            if not _is_directory(root, path, missing):
                raise InvalidInput(f'destination "{row.name}:{path}" must be a directory')
            target = Target(root, path, None, maps, devices=True, set_id=True)
            target.place(read_tar(source))
            return {"size": target.size, "left_out": target.left_out}
        here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            absolute = _absolute(source)
            tree = _source(here, absolute, follow, None, f"lstat {source}: no such file or directory")
        finally:
            os.close(here)
        try:
            place = _place(root, path, _base(absolute), tree.is_directory, _is_content(source), missing)
            return _placed(tree, Target(root, place.path, owner, maps, devices=True, set_id=True), place)
        finally:
            tree.close()

    uses = () if isinstance(source, str) else _descriptor(source)
    copied = _result(rootview.within(store, row, work, uses, path, deep=False, writes=True))
    store.emit(Event("container.extract-to-dir", row.id))
    return copied


def _descriptor(stream: BinaryIO) -> tuple[int, ...]:
    """Return the descriptor of a stream, if it has one."""
    try:
        return (stream.fileno(),)
    except OSError:
        return ()  # it is in memory


def _result(told: Mapping[str, Any]) -> Copied:
    return Copied(int(told["size"]), int(told["left_out"]))


def _placed(tree: Tree, target: Target, place: _Place) -> Mapping[str, Any]:
    tree.rename(place.name)
    try:
        target.place(tree.members())
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise KernelError("write", f"{place.path}/{place.name}{where}".rstrip("/"), error.errno or errno.EIO) from None
    return {"size": target.size, "left_out": target.left_out}


def _absolute(path: str) -> str:
    """Return a path of this host from its root, with the slash or dot at its end that has a meaning."""
    end = "/." if path == "." or path.endswith("/.") else "/" if path.endswith("/") else ""
    return os.path.abspath(path).rstrip("/") + end or "/"


def _is_content(path: str) -> bool:
    """Return whether a path means what is in a directory."""
    return path in (".", "/.") or path.endswith("/.")


def _base(path: str) -> str:
    """Return the name that a source has by itself: that of the root is none."""
    return os.path.basename(os.path.normpath("/" + path))


def _source(root: int, path: str, follow: bool, maps: IdMaps | None, missing: str) -> Tree:
    # A slash at the end asks for a directory, also behind a link.
    follow = follow or path.endswith(("/", "/."))
    try:
        tree = Tree(root, path, b"", follow, maps=maps)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            raise NotFound(missing) from None
        if error.errno == errno.ENOTDIR:
            raise InvalidInput(f"{path}: not a directory") from None
        raise
    if path.endswith(("/", "/.")) and not tree.is_directory:
        tree.close()
        raise InvalidInput(f"{path}: not a directory")
    tree.rename(_base(path))
    return tree


def _is_directory(root: int, path: str, missing: str = "") -> bool | None:
    """Return whether a path is a directory, None when it is not there; with `missing` that is an error."""
    try:
        fd = beneath.open_in_root(root, path, os.O_PATH)
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        if missing:
            raise NotFound(missing) from None
        return None
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _place(root: int, path: str, name: str, is_directory: bool, is_content: bool, missing: str = "") -> _Place:
    """Return where a source goes, by the rules of docker cp."""
    there = _is_directory(root, path)
    wants_directory = path.endswith(("/", "/."))
    if there:
        return _Place(path, "" if is_directory and is_content else name)
    above, _, last = path.rstrip("/").rpartition("/")
    if there is False:
        if is_directory:
            raise Conflict("cannot copy directory", f"{path} is a file")
        if wants_directory:
            raise InvalidInput(f"{path}: not a directory")
        return _Place(above or "/", last)
    if not _is_directory(root, above or "/"):
        raise NotFound(missing or f'invalid output path: directory "{above or "/"}" does not exist')
    if wants_directory and not is_directory:
        raise NotFound(f"no such directory: {path}")
    return _Place(above or "/", last)


def parse(text: str) -> tuple[str, str]:
    """Return the container and the path that `[CONTAINER:]PATH` means; ("", path) for one of this host."""
    if os.path.isabs(text) or text.startswith("."):
        return "", text
    container, colon, path = text.partition(":")
    if not colon:
        return "", text
    return container, path if path.startswith("/") else "/" + path


def refuse(source: str, destination: str) -> None:
    """Raise for two ends that cannot be copied between: `source` and `destination` are containers, "" for this host."""
    if source and destination:
        raise Unsupported(
            "copying between containers is not supported",
            "copy through a directory, or through a pipe: cp A:P - | cp - B:P",
        )
    if not source and not destination:
        raise InvalidInput("must specify at least one container source", "name it as CONTAINER:PATH")
