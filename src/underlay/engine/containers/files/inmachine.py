"""Files of a container in a machine: its agent sends and takes tars. What it sends is read as the tar of a stranger is.

A container that does not run has a machine of its own for as long as its files are needed: no kernel of the host ever
mounts its disk.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from ....errors import Conflict, InvalidInput, NotFound, UnderlayError
from ....lean.jsontext import known
from ....linux import process
from ....linux.files import mounts
from ....runtime.machine import calls, idle
from ....runtime.monitor import control
from ....store import rootfs
from ....store.kinds import OPAQUE, REGULAR, WHITEOUT
from ....store.layers import tar, toc
from ....store.layers.intake import ingest
from ....store.rootfs.imagefiles import ImageFiles
from ....store.scratch import Scratch
from ... import presence
from ..records.launch import launch_record
from . import leftovers, rootview
from .members import Target, Tree, read_tar, write_tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from ....runtime.process.join import Joined
    from ....store.layers.toc import Entry
    from ....store.rows.containers import ContainerRow
    from ....store.store import Store

    Work = Callable[[int], Mapping[str, Any]]

_PIECE = 1 << 20
_LONGEST = 64 << 10  # bytes of an error


@contextmanager
def machine(store: Store, row: ContainerRow) -> Iterator[str]:
    """Yield the state directory of a container whose machine serves files: the one that it runs in, or one for that alone.

    Raises Conflict when the container is just being started or removed, StartFailed, Unsupported.
    """
    directory = store.paths.container_state(row.id)
    if presence.status(store, row.id).pid:
        yield directory
        return
    paths, image = store.paths, row.intent["image"]
    hold = rootfs.hold(paths, image["chain"])
    try:
        lock = presence.hold(store, row.id, patience=5.0)
        try:
            rootfs.prepare(paths, rootfs.EROFS, image["diff_ids"])
            lower = rootfs.lower_names(paths, rootfs.EROFS, image["chain"])
            with idle.Idle(launch_record(store, row.id, row.name, row.intent, lower)):
                yield directory
        finally:
            lock.release()
    finally:
        hold.release()


class Absent(UnderlayError):
    """There is no such path in the machine."""


class _Sent:
    """What a machine sends: a tar that is read once, and whether it has come whole."""

    def __init__(self, directory: str, request: dict[str, object], missing: str) -> None:
        self._joined = calls.files(directory, request)
        self._missing = missing
        os.close(self._joined.stdin)
        (out, _), (self._errors, _) = self._joined.outputs
        os.set_blocking(out, True)
        os.set_blocking(self._errors, True)
        self.stream: BinaryIO = open(out, "rb", buffering=0)
        self.size: int | None = None

    def read(self, count: int) -> bytes:
        return self.stream.read(count)

    def close(self) -> None:
        """Take the end. Raises NotFound, Conflict when the machine says that something has gone wrong."""
        try:
            while self.stream.read(_PIECE):
                pass
            self.stream.close()
            _ended(self._joined, self._errors, self._missing)
        finally:
            os.close(self._errors)


def _ended(joined: Joined, errors: int, missing: str) -> None:
    text = b""
    while len(text) < _LONGEST and (piece := os.read(errors, _LONGEST)):
        text += piece
    assert joined.keeper is not None
    message, _ = control.receive(joined.keeper)
    joined.keeper.close()
    if message is None or message.get("exited") is None:
        raise Conflict("the container's machine has ended")
    if message["exited"]:
        try:
            told = known(text)
            number, path = int(told["errno"]), str(told["path"])
        except (ValueError, KeyError, TypeError):
            raise UnderlayError("the container's machine could not read or write its files") from None
        if number in (2, 20):
            raise NotFound(missing) if missing else Absent(path)
        raise UnderlayError(f"{path}: {os.strerror(number)} (in the machine)")


def within(
    store: Store, row: ContainerRow, work: Work, uses: Collection[int], path: str, deep: bool, writes: bool
) -> Mapping[str, Any]:
    """Do what `rootview.within` does for a container in a machine, with a copy of what `work` needs of its root: `path`,
    and with `deep` what is below it.

    If it `writes`, what it has written is sent to the machine. Raises what `work` raises, NotFound, Conflict, StartFailed.
    """
    with machine(store, row) as directory, Scratch(store.paths, "machine") as scratch:
        for name in ("lower", "upper", "work", "root"):
            os.mkdir(f"{scratch.path}/{name}", 0o755)
        missing = "" if writes else f"Could not find the file {path} in container {row.name}"
        _copy_here(directory, path, deep, f"{scratch.path}/lower", missing)
        told = rootview._in_child(process.CLONE_NEWNS, lambda: _opened(scratch.path, writes), work, uses)
        if writes:
            _send(directory, f"{scratch.path}/upper")
        return told


def _copy_here(directory: str, path: str, deep: bool, target: str, missing: str) -> None:
    """Copy what is at a path of the machine's root, with what leads there, into a directory of the host."""
    above = path
    while not _copied(directory, above, deep, target, missing):
        # What is to be written need not be there, what it lies in must: the work says which is missing.
        above = os.path.dirname(above.rstrip("/"))


def _copied(directory: str, path: str, deep: bool, target: str, missing: str) -> bool:
    """Copy what is at a path; returns False when it is not there, unless that is an error: NotFound, with `missing`."""
    sent = _Sent(directory, {"do": "tree", "path": path, "follow": True, "deep": deep, "one_device": False}, missing)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    damaged: InvalidInput | None = None
    try:
        Target(root, "", None, devices=True, set_id=True, links=False).place(read_tar(sent.stream))
    except InvalidInput as error:
        damaged = error  # of an error in the machine, which is the one to tell
    finally:
        os.close(root)
    try:
        sent.close()
    except Absent:
        return False
    if damaged is not None:
        raise damaged
    return True


def _opened(scratch: str, writes: bool) -> int:
    """In a child with a mount namespace of its own: return a descriptor of the copy, over which what is written is kept
    apart if the work `writes`."""
    root = f"{scratch}/lower"
    if writes:
        mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
        root = f"{scratch}/root"
        parts = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
        mounts.mount("overlay", root, "overlay", 0, parts)
    return os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _send(directory: str, source: str) -> None:
    """Put what is in a directory of the host into the machine's root."""
    joined = calls.files(directory, {"do": "extract"})
    (out, _), (errors, _) = joined.outputs
    os.close(out)
    os.set_blocking(errors, True)
    os.set_blocking(joined.stdin, True)
    root = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        tree = Tree(root, "/", b"", attributes=True)
        tree.rename("")
        try:
            with open(joined.stdin, "wb") as stream:
                write_tar(tree.members(), stream)
        except BrokenPipeError:
            pass  # it has given up, and says why
        finally:
            tree.close()
        _ended(joined, errors, "")
    finally:
        os.close(root)
        os.close(errors)


def export(store: Store, row: ContainerRow, target: int) -> int:
    """Write the root of a container as a tar to a descriptor; returns its bytes. Raises Corrupt, LimitExceeded, OSError."""
    request: dict[str, object] = {"do": "tree", "path": "/", "follow": True, "deep": True, "one_device": True}
    with machine(store, row) as directory:
        sent = _Sent(directory, request, "")
        reader, size = tar.Reader(), 0
        try:
            with open(target, "wb", closefd=False) as stream:
                while piece := sent.read(_PIECE):
                    reader.feed(piece)
                    stream.write(piece)
                    size += len(piece)
            reader.finish()
        finally:
            sent.close()
        return size


def layer_entries(directory: str) -> list[Entry]:
    """Return the members of a container's writable layer, as a layer of an image has them.

    Raises Corrupt, LimitExceeded, Conflict.
    """
    sent = _Sent(directory, {"do": "layer", "skip": []}, "")
    reader = tar.Reader()
    try:
        while piece := sent.read(_PIECE):
            reader.feed(piece)
        reader.finish()
    finally:
        sent.close()
    return reader.entries


def differences(store: Store, row: ContainerRow) -> list[tuple[str, bytes]]:
    """Return what a container has changed of its image, as `differences.differences` does: C, A or D, and the path."""
    with machine(store, row) as directory:
        entries = layer_entries(directory)
    image = ImageFiles(store.paths, row.intent["image"]["diff_ids"])
    skip = _skipped(entries, image, leftovers.destinations(row.intent))
    found: list[tuple[str, bytes]] = []
    for entry in entries:
        path = entry.name.rstrip(b"/")
        above, _, name = path.rpartition(b"/")
        if path in skip:
            continue
        if name == OPAQUE:
            own = {other.name.rstrip(b"/") for other in entries}
            gone = (b"/".join(filter(None, (above, name))) for name in image.names(above))
            found += [("D", b"/" + path) for path in gone if path not in own]
        elif name.startswith(WHITEOUT):
            hidden = b"/".join(filter(None, (above, name.removeprefix(WHITEOUT))))
            if image.node(hidden) is not None:
                found.append(("D", b"/" + hidden))
        else:
            found.append(("A" if image.node(path) is None else "C", b"/" + path))
    return sorted(found, key=lambda pair: pair[1])


def commit_layer(store: Store, row: ContainerRow) -> str:
    """Take a container's writable layer into the store as a layer of an image; returns its diff id.

    Raises Corrupt, LimitExceeded, Conflict, OSError.
    """
    with machine(store, row) as directory:
        image = ImageFiles(store.paths, row.intent["image"]["diff_ids"])
        skip = _skipped(layer_entries(directory), image, leftovers.destinations(row.intent))
        sent = _Sent(directory, {"do": "layer", "skip": [os.fsdecode(path) for path in skip]}, "")
        try:
            made = ingest(store.paths, sent)
        finally:
            sent.close()
    assert made is not None
    return made.diff_id


def _skipped(entries: Sequence[Entry], image: ImageFiles, destinations: Iterable[str]) -> set[bytes]:
    """Return the paths of mount points that the image lacks and in which nothing is, and of directories that are there only
    because of those: see `leftovers.find`."""
    there = {entry.name.rstrip(b"/"): entry for entry in entries}
    found: set[bytes] = set()

    def empty(path: bytes) -> bool:
        entry = there.get(path)
        if entry is None:
            return False
        if entry.kind == REGULAR:
            return not entry.size
        below = path + b"/"
        return entry.kind == toc.DIRECTORY and all(
            other in found for other in there if other.startswith(below) and other != path
        )

    for place in sorted((os.fsencode(text.strip("/")) for text in destinations), key=len, reverse=True):
        path = place
        while path and empty(path):
            node = image.node(path)
            if node is not None:
                entry, before = there[path], node.entry
                if node.children is None or (entry.mode, entry.uid, entry.gid) != (before.mode, before.uid, before.gid):
                    break
            found.add(path)
            path = path.rpartition(b"/")[0]
    return found
