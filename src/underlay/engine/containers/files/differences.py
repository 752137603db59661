"""`diff`: what a container has changed of its image, read from its writable layer."""

from __future__ import annotations

import os
import stat

from ....errors import Conflict, KernelError
from ....linux import process
from ....linux.files import beneath
from ....linux.files.sharedmount import SharedMount
from ....store import rootfs
from ....store.layers import walking
from ... import presence
from ..records import launch
from . import leftovers, rootview

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ....store.rows.containers import ContainerRow
    from ....store.store import Store

    Work = Callable[[int, int], Mapping[str, Any]]

CHANGED, ADDED, DELETED = "C", "A", "D"
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def differences(store: Store, row: ContainerRow) -> Sequence[tuple[str, str]]:
    """Return the changes of a container's files since its image, sorted by path: C, A or D (changed, added, deleted), path.

    Mount points that were made for the container do not count. Raises Conflict for a running container with a size limit on
    its disk, KernelError.
    """

    if "machine" in row.intent:
        from . import inmachine

        return [(kind, os.fsdecode(path)) for kind, path in inmachine.differences(store, row)]

    def work(upper: int, lower: int) -> Mapping[str, Any]:
        skip = leftovers.find(upper, lower, leftovers.destinations(row.intent))
        found = sorted(_walk(upper, lower, skip), key=lambda pair: pair[1])
        return {"changes": [[kind, os.fsdecode(path)] for kind, path in found]}

    told = with_layers(store, row, work)
    return [(kind, path) for kind, path in told["changes"]]


def with_layers(store: Store, row: ContainerRow, work: Work) -> Mapping[str, Any]:
    """Return what `work` returns (what JSON can hold), called with descriptors of the writable layer and of the image's
    root without it. Raises what `work` raises, Conflict as `differences`."""
    paths, image = store.paths, row.intent["image"]
    running = bool(presence.status(store, row.id).pid)
    hold = rootfs.hold(paths, image["chain"])
    try:
        lower = rootfs.lower_names(paths, store.form, image["chain"])
        record = launch.launch_record(store, row.id, row.name, row.intent, lower, make=False)
        root = record["root"]
        disk = root.get("disk")
        if disk and running:
            raise Conflict(
                f"the writable layer of container {row.name} has a file system of its own (--storage-opt size)",
                f"`underlay stop {row.name}` makes it accessible",
            )
        SharedMount(*record["shared_mount"]).ensure()
        fds: list[int] = []

        def prepare() -> int:
            if disk:
                from ....runtime.process.clone import _disk

                fds.append(_disk(disk))
                fds.append(os.open("upper", _READ, dir_fd=fds[0]))
            else:
                fds.append(os.open(root["upper"], _READ))
            return _image_root(root["lower"], row.intent["rootless"])

        flags = process.CLONE_NEWNS | process.CLONE_NEWUSER if row.intent["rootless"] else process.CLONE_NEWNS
        return rootview._in_child(flags, prepare, lambda below: work(fds[-1], below), ())
    finally:
        hold.end()
        rootfs.release_unused(paths, image["chain"])


def _image_root(lower: Sequence[str], rootless: bool) -> int:
    """Return a descriptor of layers (directories, topmost first) mounted over each other, read-only, at no path."""
    if len(lower) == 1:
        return os.open(lower[0], _READ)
    from ....builder.workers.jobs import opened_root

    return opened_root(lower, rootless)


def _walk(upper: int, lower: int, skip: frozenset[bytes]) -> Iterator[tuple[str, bytes]]:
    for parent, path, name, _ in walking.walk(upper, lambda path: path not in skip):
        if path in skip:
            continue
        facts = walking.look(parent, name, path)
        before = _look(lower, path)
        full = b"/" + path
        if _is_whiteout(parent, name, path, facts):
            if before is not None:
                yield DELETED, full
            continue
        yield (ADDED if before is None else CHANGED), full
        if before is not None and stat.S_ISDIR(before.st_mode) and stat.S_ISDIR(facts.st_mode):
            yield from _hidden(parent, name, path, lower)


def _look(lower: int, path: bytes) -> os.stat_result | None:
    try:
        fd = beneath.open_in_root(
            lower, os.fsdecode(path), os.O_PATH | os.O_NOFOLLOW, resolve=beneath.RESOLVE_NO_SYMLINKS
        )
    except KernelError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _is_whiteout(parent: int, name: bytes, path: bytes, facts: os.stat_result) -> bool:
    if stat.S_ISCHR(facts.st_mode):
        return not facts.st_rdev
    if not stat.S_ISREG(facts.st_mode) or facts.st_size:
        return False
    return any(key.endswith(b".overlay.whiteout") for key, _ in walking.attributes(parent, name, path))


def _hidden(parent: int, name: bytes, path: bytes, lower: int) -> Iterator[tuple[str, bytes]]:
    """Yield what an opaque directory hides of the image's."""
    if not any(
        key.endswith(b".overlay.opaque") and value == b"y" for key, value in walking.attributes(parent, name, path)
    ):
        return
    own = os.open(name, _READ, dir_fd=parent)
    try:
        below = beneath.open_in_root(lower, os.fsdecode(path), _READ, resolve=beneath.RESOLVE_NO_SYMLINKS)
        try:
            for gone in sorted(set(os.listdir(below)) - set(os.listdir(own))):
                yield DELETED, b"/" + path + b"/" + os.fsencode(gone)
        finally:
            os.close(below)
    finally:
        os.close(own)
