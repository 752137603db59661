"""Operations that make the root and what is mounted in it.

Everything that an image or a user named is opened below the root's descriptor, so that no link leads out of it.
"""

from __future__ import annotations

import os
import stat

from ..errors import KernelError, StartFailed
from ..linux import beneath, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context

ENOENT, ENOTDIR = 2, 20
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def propagation(context: Context, flags: int, word: str) -> None:
    """Change how mounts below the root of this namespace propagate."""
    mounts.propagate("/", flags)


def overlay(
    context: Context, lower: list[str], upper: str, work: str, target: str, options: dict[str, str | None]
) -> None:
    """Mount the layers and the writable directory at `target`, which only this mount namespace sees."""
    # Descriptors keep the option string short (127 layers fit in a page) and free of special characters.
    opened = [os.open(path, _DIRECTORY | os.O_CLOEXEC) for path in lower]
    parameters: list[tuple[str, str | None]] = []
    names = [f"/proc/self/fd/{fd}" for fd in opened]
    if upper:
        for path in (upper, work):
            opened.append(os.open(path, _DIRECTORY | os.O_CLOEXEC))
        parameters += [
            ("lowerdir", ":".join(names)),
            ("upperdir", f"/proc/self/fd/{opened[-2]}"),
            ("workdir", f"/proc/self/fd/{opened[-1]}"),
        ]
    else:
        # Without an upper the kernel wants two lower directories at least.
        if len(names) == 1:
            names.append(names[0])
        parameters.append(("lowerdir", ":".join(names)))
    parameters += list(options.items())
    fd = mounts.new_filesystem("overlay", tuple(parameters), source="overlay")
    for other in opened:
        os.close(other)
    _attach_root(context, fd, target)


def bind_root(context: Context, source: str, target: str) -> None:
    """Take the directory `source` as the root, as the OCI bundle says."""
    directory = os.open(source, _DIRECTORY | os.O_CLOEXEC)
    _attach_root(context, mounts.clone_tree(directory, "", True), target)
    os.close(directory)


def _attach_root(context: Context, fd: int, target: str) -> None:
    where = os.open(target, _DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    mounts.attach(fd, where, target)
    os.close(where)
    context.root = fd


# Files of procfs that may be bound over: they only tell (lxcfs does so).
_PROC_FILES = frozenset(
    "/proc/cpuinfo /proc/diskstats /proc/loadavg /proc/meminfo /proc/slabinfo /proc/stat /proc/swaps /proc/uptime".split()
)


def _target(context: Context, path: str, directory: bool, plain: bool) -> int:
    """Return a descriptor of the mount point `path`, made when missing; `plain` refuses links (procfs, sysfs)."""
    if plain:
        try:
            return beneath.open_in_root(context.root, path, _DIRECTORY, resolve=beneath.RESOLVE_NO_SYMLINKS)
        except KernelError as error:
            if error.errno != ENOENT:
                raise StartFailed(
                    f"{path} of the image is not a directory: nothing can be mounted there safely",
                    125,
                    "the image is damaged or hostile",
                ) from None
    if directory:
        target = beneath.make_directories(context.root, path)
    else:
        target = beneath.make_file(context.root, path)
    if mounts.magic(target) == mounts.PROC_SUPER_MAGIC and path not in _PROC_FILES:
        # A link of the image may lead here too. What lies over procfs would answer in its place (attacks RT-05, RT-09).
        os.close(target)
        raise StartFailed(f"{path} leads into /proc: nothing can be mounted there safely", 125)
    return target


def mount(
    context: Context,
    fstype: str,
    source: str,
    path: str,
    attributes: int,
    options: dict[str, str | None],
    optional: bool = False,
) -> None:
    """Mount a new file system of the kernel (proc, tmpfs, …) at `path`."""
    plain = fstype in ("proc", "sysfs")
    try:
        fd = mounts.new_filesystem(fstype, tuple(options.items()), attributes, source)
    except KernelError:
        if optional:
            return
        raise
    target = _target(context, path, True, plain)
    mounts.attach(fd, target, path)
    os.close(target)
    if fstype == "proc" and path == "/proc":
        context.proc = fd
    else:
        os.close(fd)


def bind(
    context: Context,
    source: str,
    path: str,
    attributes: int,
    recursive: bool,
    propagation: int,
    clear: int = 0,
) -> None:
    """Bind a file or directory of the host at `path`."""
    origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    directory = stat.S_ISDIR(os.fstat(origin).st_mode)
    fd = mounts.clone_tree(origin, "", recursive)
    os.close(origin)
    late = False
    if attributes or clear or propagation:
        try:
            mounts.set_attributes(fd, attributes, clear, recursive=recursive, propagation=propagation)
        except KernelError as error:
            if error.errno != mounts.ENOSYS:
                raise
            late = True
    target = _target(context, path, directory, False)
    mounts.attach(fd, target, path)
    os.close(target)
    if late:
        if attributes:
            mounts.remount_bind(fd, attributes)
        if propagation:
            mounts.propagate(f"/proc/self/fd/{fd}", propagation)
    os.close(fd)


def cgroup_v1(context: Context, path: str, controllers: list[str], attributes: int) -> None:
    """Mount each version 1 hierarchy below `path`, as seen from the container's own cgroup namespace."""
    base = _target(context, path, True, False)
    fd = mounts.new_filesystem("tmpfs", (("mode", "755"),), attributes & ~mounts.MOUNT_ATTR_RDONLY, "cgroup")
    mounts.attach(fd, base, path)
    os.close(base)
    for controller in controllers:
        os.mkdir(controller, 0o755, dir_fd=fd)
        one = mounts.new_filesystem("cgroup", ((controller, None),), attributes, "cgroup")
        where = os.open(controller, _DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
        mounts.attach(one, where, path)
        os.close(where)
        os.close(one)
    if attributes & mounts.MOUNT_ATTR_RDONLY:
        _readonly_mount(fd)
    os.close(fd)


def _readonly_mount(fd: int, keep: int = 0) -> None:
    try:
        mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY)
    except KernelError as error:
        if error.errno != mounts.ENOSYS:
            raise
        mounts.remount_bind(fd, mounts.MOUNT_ATTR_RDONLY | keep)


def devices(context: Context, nodes: list[list[Any]], links: dict[str, str], bind: bool) -> None:
    """Make device nodes [path, type, major, minor, mode, uid, gid] and links below /dev.

    With `bind` (user namespaces, where nodes cannot be made) the host's nodes are bound instead.
    """
    for path, kind, major, minor, mode, uid, gid in nodes:
        parent, _, name = path.rpartition("/")
        directory = beneath.make_directories(context.root, parent)
        if bind:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=directory))
            origin = os.open(path, os.O_PATH | os.O_CLOEXEC)
            fd = mounts.clone_tree(origin, "", False)
            os.close(origin)
            where = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            mounts.attach(fd, where, path)
            os.close(where)
            os.close(fd)
        else:
            kind_bits = stat.S_IFBLK if kind == "b" else stat.S_IFIFO if kind == "p" else stat.S_IFCHR
            try:
                os.unlink(name, dir_fd=directory)
            except OSError:
                pass
            os.mknod(name, kind_bits | mode, os.makedev(major, minor), dir_fd=directory)
            # mknod's mode passes through the umask, which is 0 here; owners are root's unless asked for.
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        os.close(directory)
    for path, target in links.items():
        parent, _, name = path.rpartition("/")
        directory = beneath.make_directories(context.root, parent)
        try:
            os.symlink(target, name, dir_fd=directory)
        except FileExistsError:
            pass
        os.close(directory)


def _open_null(context: Context) -> int:
    """Return the container's own /dev/null, checked to be what it claims (attacks RT-07)."""
    if context.null < 0:
        fd = beneath.open_in_root(
            context.root, "/dev/null", os.O_PATH | os.O_NOFOLLOW, resolve=beneath.RESOLVE_NO_SYMLINKS
        )
        status = os.fstat(fd)
        if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
            os.close(fd)
            raise StartFailed("/dev/null of the container is not the null device: paths cannot be masked", 125)
        context.null = fd
    return context.null


def mask(context: Context, paths: list[str]) -> None:
    """Hide files behind /dev/null and directories behind one empty read-only tmpfs; missing paths are skipped."""
    empty = -1
    for path in _expand(context, paths):
        try:
            target = beneath.open_in_root(context.root, path, os.O_PATH)
        except KernelError as error:
            if error.errno in (ENOENT, ENOTDIR):
                continue
            raise
        if stat.S_ISDIR(os.fstat(target).st_mode):
            if empty < 0:
                empty = mounts.new_filesystem(
                    "tmpfs",
                    (("size", "0"), ("nr_blocks", "1"), ("mode", "0555")),
                    mounts.MOUNT_ATTR_RDONLY,
                    "tmpfs",
                )
                mounts.attach(empty, target, path)
            else:
                fd = mounts.clone_tree(empty, "", False)
                mounts.attach(fd, target, path)
                os.close(fd)
        else:
            fd = mounts.clone_tree(_open_null(context), "", False)
            mounts.attach(fd, target, path)
            os.close(fd)
        os.close(target)
    if empty >= 0:
        os.close(empty)


def _expand(context: Context, paths: list[str]) -> list[str]:
    """Return `paths` with `*` in one component expanded inside the root (cpu*/thermal_throttle)."""
    found = []
    for path in paths:
        before, star, after = path.partition("*")
        if not star:
            found.append(path)
            continue
        parent, _, prefix = before.rpartition("/")
        try:
            fd = beneath.open_in_root(context.root, parent, os.O_RDONLY | os.O_DIRECTORY)
        except KernelError:
            continue
        names = [n for n in os.listdir(fd) if n.startswith(prefix) and n[len(prefix) :].isdigit()]
        os.close(fd)
        found += [f"{parent}/{name}{after}" for name in names]
    return found


def readonly(context: Context, paths: list[str]) -> None:
    """Make paths read-only by binding each onto itself; missing paths are skipped."""
    for path in paths:
        try:
            target = beneath.open_in_root(context.root, path, os.O_PATH)
        except KernelError as error:
            if error.errno in (ENOENT, ENOTDIR):
                continue
            raise
        fd = mounts.clone_tree(target, "", True)
        late = False
        try:
            mounts.set_attributes(fd, mounts.MOUNT_ATTR_RDONLY, recursive=True)
        except KernelError as error:
            if error.errno != mounts.ENOSYS:
                raise
            late = True
        mounts.attach(fd, target, path)
        if late:
            keep = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
            mounts.remount_bind(fd, mounts.MOUNT_ATTR_RDONLY | keep)
        os.close(fd)
        os.close(target)


def readonly_root(context: Context) -> None:
    """Make the root's own mount read-only."""
    _readonly_mount(context.root)


def copy_up(context: Context, path: str, destination: str) -> None:
    """Fill the empty volume at `destination` with what the image has at `path` (docker's rule for new volumes)."""
    from .copyup import copy_tree

    try:
        source = beneath.open_in_root(context.root, path, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError:
        return
    if mounts.magic(source) == mounts.PROC_SUPER_MAGIC:
        os.close(source)
        raise StartFailed(f"{path} leads into /proc: nothing can be mounted there safely", 125)
    target = os.open(destination, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not os.listdir(target):
            copy_tree(source, target)
    finally:
        os.close(source)
        os.close(target)


def pivot(context: Context) -> None:
    """Make the root the root, and forget the old one (pivot_root(2), "pivot_root(\".\", \".\")")."""
    os.fchdir(context.root)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")


def root_propagation(context: Context, flags: int, word: str) -> None:
    """Give the new root its final propagation."""
    mounts.propagate("/", flags)
