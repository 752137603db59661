"""Cloning the first process of a container: joins namespaces, clones, makes the mounts that must be made beforehand."""

from __future__ import annotations

import os

from ...errors import KernelError
from ...linux import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.cgroup import Group
    from ..plan import Plan
    from ..plan.context import IdMapping, Operation

    Maps = tuple[list[dict[str, int]], list[dict[str, int]]]

EPERM = 1
# Linux before 5.3, before 5.7; an unprivileged caller that may not place a child; a version 1 group.
_NOT_INTO_GROUPS = (38, 7, 13, 22)


def birth(made: Plan, group: Group) -> tuple[int, bool]:
    """Clone the process of a plan, into the group where the kernel can; returns its pid (0 in it) and whether it could.

    The caller must have one thread. Raises KernelError.
    """
    group_fd = group.birthplace()
    if group_fd < 0:
        return clone(made), False
    try:
        return clone(made, group_fd), True
    except KernelError as error:
        if error.errno not in _NOT_INTO_GROUPS:
            raise
        return clone(made), False
    finally:
        os.close(group_fd)


def clone(made: Plan, group_fd: int = -1) -> int:
    """Clone the process of a plan after joining the namespaces it names; `group_fd` as in `linux.process.clone`."""
    if not made.joins:
        return process.clone(made.flags, group_fd)
    if [kind for kind, _ in made.joins] == ["pid"]:
        return _clone_in_pid_namespace(made, group_fd)
    return _clone_by_helper(made, group_fd)


def _clone_in_pid_namespace(made: Plan, group_fd: int) -> int:
    """Only our children enter the pid namespace, so that we can go back."""
    path = made.joins[0][1]
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    other = open_namespace(path)
    try:
        process.setns(other, process.CLONE_NEWPID, path)
        pid = process.clone(made.flags, group_fd)
        if pid:
            process.setns(own, process.CLONE_NEWPID)
        return pid
    finally:
        os.close(own)
        os.close(other)


def _clone_by_helper(made: Plan, group_fd: int) -> int:
    """A helper joins, which cannot be undone, and clones a sibling of itself: the process is our child all the same."""
    report, report_end = os.pipe2(os.O_CLOEXEC)
    helper = process.clone(0)
    if helper == 0:
        try:
            _join_all(made.joins)
            pid = process.clone(made.flags | process.CLONE_PARENT, group_fd)
        except KernelError as error:
            os.write(report_end, f"!{error.errno} {error.operation}\n{error.path}".encode())
            os._exit(1)
        if pid == 0:
            os.close(report)
            os.close(report_end)
            return 0
        os.write(report_end, str(pid).encode())
        os._exit(0)
    os.close(report_end)
    try:
        answer = os.read(report, 8192).decode(errors="replace")
        os.waitpid(helper, 0)
    finally:
        os.close(report)
    if not answer:
        raise KernelError("join namespaces", "", EPERM, "the helper that joins has ended early")
    if answer[0] != "!":
        return int(answer)
    first, _, path = answer[1:].partition("\n")
    number, _, operation = first.partition(" ")
    raise KernelError(operation, path, int(number))


def _join_all(joins: list[tuple[str, str]]) -> None:
    """Join with the privileges that we have now; what they do not allow, with those that the user namespace gives."""
    opened = [(kind, path, open_namespace(path)) for kind, path in joins]
    refused = []
    for kind, path, fd in opened:
        if kind != "user":
            try:
                process.setns(fd, process.NAMESPACES[kind][1], path)
            except KernelError as error:
                if error.errno != EPERM:
                    raise
                refused.append((kind, path, fd))
    for kind, path, fd in opened:
        if kind == "user":
            process.setns(fd, process.NAMESPACES[kind][1], path)
    for kind, path, fd in refused:
        process.setns(fd, process.NAMESPACES[kind][1], path)
    for _, _, fd in opened:
        os.close(fd)


def open_namespace(path: str) -> int:
    """Return a descriptor of the namespace at `path`; raises KernelError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open namespace", path, error.errno or 2) from None


def sources(operations: list[Operation], in_user: bool, maps: Maps | None = None) -> dict[str, int]:
    """Return mounts that only we can make, by destination ("/" for the root), for operations that would make them.

    In a user namespace (`in_user`, with `maps`) the new process may not reach what the host's root may; and ids are mapped
    with the host's privileges only (mount_setattr(2), MOUNT_ATTR_IDMAP). Raises KernelError, Unsupported.
    """
    from ...linux import userns
    from ...linux.files import mounts
    from ..apply import mounts as mounting

    mounts_by_path: dict[str, int] = {}
    spaces: dict[str, int] = {}
    privileged = os.geteuid() == 0

    def space(uids: list[dict[str, int]], gids: list[dict[str, int]]) -> int:
        key = f"{uids} {gids}"
        if key not in spaces:
            spaces[key] = userns.namespace(uids, gids)
        return spaces[key]

    try:
        for operation in operations:
            if operation[0] == "bind-root" and in_user and privileged:
                mounts_by_path["/"] = mounting.copy_of(operation[1], True)
            elif operation[0] == "disk":
                mounts_by_path["disk"] = _disk(operation[1])
            elif operation[0] == "overlay" and maps and privileged:
                from ..apply import idmapped

                uids, gids = (idmapped.with_host_root(id_map) for id_map in maps)
                top = mounts_by_path.get("disk", -1)
                mounts_by_path["/"] = idmapped.overlay(*operation[1:6], space=space(uids, gids), disk=top)
                if top >= 0:
                    os.close(mounts_by_path.pop("disk"))
            elif operation[0] == "bind" and (operation[4].get("idmap") or (in_user and privileged)):
                source, path, recursive, settings = operation[1:5]
                mounts_by_path[path] = fd = mounting.copy_of(source, recursive, settings.get("beneath", ""))
                mapping: IdMapping | None = settings.get("idmap")
                if mapping:
                    mounts.map_ids(fd, space(mapping["uids"], mapping["gids"]), mapping["recursive"], path)
                mounting.change(fd, recursive, settings)
    except BaseException:
        for fd in mounts_by_path.values():
            os.close(fd)
        raise
    finally:
        for fd in spaces.values():
            os.close(fd)
    return mounts_by_path


def _disk(file: str) -> int:
    """Return the mounted file system of a writable layer, with the directories that the overlay wants."""
    from ...linux.files import loopdevice

    # What is removed inside becomes a hole in the file again.
    fd = loopdevice.mount(file, "ext4", (("discard", None),))
    for name in ("upper", "work"):
        try:
            os.mkdir(name, 0o755, dir_fd=fd)
            os.chmod(name, 0o755, dir_fd=fd)
        except FileExistsError:
            pass
    return fd
