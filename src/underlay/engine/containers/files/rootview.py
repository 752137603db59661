"""The root of a container as its programs see it, for work from outside: nothing of the container is executed.

A running container's root is reached through its first process. For one that does not run a child mounts it, in a mount
namespace that ends with the child. Where the files belong to subordinate ids (without root) a child in the container's user
namespace does the work.
"""

from __future__ import annotations

import fcntl
import os
import stat

from ....errors import Conflict, KernelError, NotFound, UnderlayError
from ....lean.jsontext import dumps, known
from ....linux import process, userns
from ....linux.files import mounts
from ....linux.files.sharedmount import SharedMount
from ....runtime.monitor import heldmounts, launch
from ....runtime.plan import ops
from ....runtime.plan.context import Context
from ....runtime.process import clone as cloning
from ....store import rootfs
from ... import presence
from ..records.launch import launch_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any

    from ....linux.specification import IdMaps
    from ....runtime.plan import Plan
    from ....store.rows.containers import ContainerRow
    from ....store.store import Store

    Work = Callable[[int], Mapping[str, Any]]

# Of the operations of a start those that make the root, and put volumes and directories of the host into it.
_ROOT = frozenset(("propagation", "propagation-around", "disk", "overlay", "bind-root", "bind", "readonly-root"))
_LONGEST = 4000  # bytes of an error's message


def within(
    store: Store,
    row: ContainerRow,
    work: Work,
    uses: Collection[int] = (),
    path: str = "/",
    deep: bool = True,
    writes: bool = False,
) -> Mapping[str, Any]:
    """Return what `work` returns (what JSON can hold), called with a descriptor of the container's root.

    Of that it needs what is at `path`, with `deep` also what is below it; `writes` says that it changes something there. It
    may be called in a child, whose memory ends with it; `uses` are the pipes and sockets that it needs. Raises what
    `work` raises (UnderlayError from a child), Conflict when the container is just being started or removed, KernelError.
    """
    if "machine" in row.intent:
        from . import inmachine

        return inmachine.within(store, row, work, uses, path, deep, writes)
    status = presence.status(store, row.id)
    if not status.pid:
        return _stopped(store, row, work, uses)
    if row.intent["rootless"]:
        return _in_child(0, lambda: _joined(status.pid, status.when), work, uses)
    root = _of_process(status.pid, status.when)
    try:
        return work(root)
    finally:
        os.close(root)


def maps(row: ContainerRow) -> IdMaps | None:
    """Return the id maps (users, groups) by which files of a container look different from outside; None for none."""
    linux = row.intent["spec"]["linux"]
    if row.intent["rootless"] or not linux.get("uidMappings"):
        return None  # without root all work is done inside
    return linux["uidMappings"], linux["gidMappings"]


def _of_process(pid: int, when: int) -> int:
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", f"/proc/{pid}/root", error.errno or 3) from None
    if process.start_time(pid) != when:
        os.close(root)
        raise Conflict("the container has just ended")
    return root


def _joined(pid: int, when: int) -> int:
    """In a child: enter the user namespace of a process, as its root, and return the process's root."""
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    process.setns(namespace, process.CLONE_NEWUSER, "user namespace")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return _of_process(pid, when)


def _stopped(store: Store, row: ContainerRow, work: Work, uses: Collection[int]) -> Mapping[str, Any]:
    """Do the work in the root of a container that does not run, and must not start meanwhile."""
    paths, image = store.paths, row.intent["image"]
    hold = rootfs.hold(paths, image["chain"])
    try:
        lock = presence.hold(store, row.id, patience=5.0)
        try:
            try:
                lower = rootfs.lower_names(paths, store.form, image["chain"])
            except NotFound:
                rootfs.prepare(paths, store.form, image["diff_ids"])
                lower = rootfs.lower_names(paths, store.form, image["chain"])
            record = launch_record(store, row.id, row.name, row.intent, lower)
            SharedMount(*record["shared_mount"]).ensure()
            others = record.get("shared") or {"images": [], "volumes": []}
            locks = heldmounts.take(others)
            made = launch.prepare(record)
            made.operations = [operation for operation in made.operations if operation[0] in _ROOT]
            context = Context()
            if made.in_user or any(operation[0] == "disk" for operation in made.operations):
                context.sources = cloning.sources(made.operations, made.in_user, made.maps)
            try:
                flags = process.CLONE_NEWNS | (process.CLONE_NEWUSER if row.intent["rootless"] else 0)
                return _in_child(flags, lambda: _mounted(made, context), work, uses)
            finally:
                for fd in context.sources.values():
                    os.close(fd)
                heldmounts.give_back(others, locks)
        finally:
            lock.release()
    finally:
        hold.end()
        rootfs.release_unused(paths, image["chain"])


def _mounted(made: Plan, context: Context) -> int:
    """In a child with a mount namespace of its own: mount the root and what lies in it."""
    mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
    for operation in made.operations:
        if operation[0] == "bind" and not operation[2].startswith("/dev"):
            try:
                ops.apply(operation, context)
            except (UnderlayError, OSError):
                pass  # a volume or directory that is not there: the start will say so
        elif operation[0] != "bind":
            ops.apply(operation, context)
    return context.root


def _leave(uses: Collection[int]) -> None:
    """Close the sockets and the reading ends of pipes that this child has copies of, but those in `uses`: as long as it has
    them, a writer to such a pipe gets no EPIPE, and the peer of such a socket does not see it closed."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd < 3 or fd in uses:
            continue
        try:
            mode = os.fstat(fd).st_mode
            reads = stat.S_ISFIFO(mode) and fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        except OSError:
            continue  # the directory that was listed
        if reads or stat.S_ISSOCK(mode):
            os.close(fd)


def _in_child(flags: int, prepare: Callable[[], int], work: Work, uses: Collection[int]) -> Mapping[str, Any]:
    """Clone a child, in which `prepare` returns the root for the work; return what that returned."""
    wait, go = os.pipe2(os.O_CLOEXEC)
    result, report = os.pipe2(os.O_CLOEXEC)
    pid = process.clone(flags)
    if pid == 0:
        message: dict[str, Any] = {}
        try:
            os.close(go)
            if os.read(wait, 1) != b"1":
                os._exit(1)
            _leave(uses)
            if flags & process.CLONE_NEWUSER:
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
            message = {"result": work(prepare())}
        except UnderlayError as error:
            message = {"error": error.message[:_LONGEST], "hint": error.hint, "kind": type(error).__name__}
        except OSError as error:
            message = {"error": f"{error.filename or ''}: {error.strerror}".removeprefix(": ")[:_LONGEST]}
        except BaseException as error:
            message = {"error": f"{type(error).__name__}: {error}"[:_LONGEST]}
        finally:
            data = dumps(message).encode("utf-8", "replace")
            while data:
                data = data[os.write(report, data) :]
            os._exit(0)
    os.close(wait)
    os.close(report)
    try:
        if flags & process.CLONE_NEWUSER:
            userns.write(pid, *userns.default_maps())
        os.write(go, b"1")
    finally:
        os.close(go)
        text = b""
        while piece := os.read(result, 1 << 16):
            text += piece
        os.close(result)
        os.waitpid(pid, 0)
    told: dict[str, Any] = known(text) if text else {"error": "the process that reads the container's files was killed"}
    if "error" in told:
        raise _error(told)
    found: Mapping[str, Any] = told["result"]
    return found


def _error(told: Mapping[str, Any]) -> UnderlayError:
    from .... import errors

    kind = getattr(errors, str(told.get("kind")), None)
    if kind in (errors.NotFound, errors.Conflict, errors.InvalidInput, errors.Unsupported, errors.LimitExceeded):
        made: UnderlayError = kind(told["error"], told.get("hint") or "")
        return made
    return UnderlayError(told["error"], told.get("hint") or "")
