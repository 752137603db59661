"""Operations that make the root and what is mounted in it.

Everything that an image or a user named is opened below the root's descriptor, so that no link leads out of it.
"""

from __future__ import annotations

import os
import stat

from ...errors import KernelError, StartFailed, Unsupported
from ...linux import libc
from ...linux.files import beneath, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..plan.context import BindSettings, Context, Node

ENOENT, ENOTDIR, EINVAL = 2, 20, 22
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


def propagation(context: Context, flags: int, word: str) -> None:
    """Change how mounts below the root of this namespace propagate."""
    mounts.propagate("/", flags)


def propagation_around(context: Context, target: str) -> None:
    """Keep the tie to the host's mounts, except for the one that the root will lie on: nothing we mount may reach it."""
    mount_point = target
    points = {point for point, _ in mounts.all_points()}
    while mount_point not in points and mount_point != "/":
        mount_point = os.path.dirname(mount_point)
    mounts.propagate(mount_point, mounts.MS_PRIVATE)


def disk(context: Context, file: str, mount_point: str) -> None:
    """Put the file system of the writable layer, which the parent has mounted, where only this mount namespace sees it.

    With the root's change it is out of sight, with the last process it ends. Where the parent has made the overlay, that
    has it already.
    """
    fd = context.sources.pop("disk", -1)
    if fd < 0:
        return
    where = os.open(mount_point, _DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    mounts.attach(fd, where, mount_point)
    os.close(where)
    os.close(fd)


def overlay(
    context: Context, lower: list[str], upper: str, work: str, target: str, options: dict[str, str | None]
) -> None:
    """Mount the layers and the writable directory at `target`, which only this mount namespace sees."""
    if "/" in context.sources:
        _attach_root(context, context.sources.pop("/"), target)
        return
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
    if len(parameters[0][1] or "") > _LONGEST:
        data = mounts.option_string(parameters)
        mounts.mount("overlay", target, "overlay", 0, data)
        context.root = os.open(target, _DIRECTORY | os.O_CLOEXEC)
    else:
        fd = mounts.new_filesystem("overlay", tuple(parameters), source="overlay")
        _attach_root(context, fd, target)
    for other in opened:
        os.close(other)


def bind_root(context: Context, source: str, target: str) -> None:
    """Take the directory `source` as the root, as the OCI bundle says."""
    fd = context.sources.pop("/", -1)
    if fd < 0:
        directory = os.open(source, _DIRECTORY | os.O_CLOEXEC)
        fd = mounts.clone_tree(directory, "", True)
        os.close(directory)
    try:
        # A copy of a shared mount is shared, too: what is mounted below it would appear at the original.
        mounts.set_attributes(fd, 0, recursive=True, propagation=mounts.MS_PRIVATE)
        _attach_root(context, fd, target)
    except KernelError as error:
        if error.errno != mounts.ENOSYS:
            raise
        _attach_root(context, fd, target)
        mounts.propagate(target, mounts.MS_PRIVATE | mounts.MS_REC)


def _attach_root(context: Context, fd: int, target: str) -> None:
    where = os.open(target, _DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    mounts.attach(fd, where, target)
    os.close(where)
    context.root = fd


# Files of procfs that may be bound over: they only tell (lxcfs does so).
_PROC_FILES = frozenset(
    "/proc/cpuinfo /proc/diskstats /proc/loadavg /proc/meminfo /proc/slabinfo /proc/stat /proc/swaps /proc/uptime".split()
)


def target_of(context: Context, path: str, directory: bool, plain: bool) -> int:
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
    propagation: list[int],
    optional: bool = False,
) -> None:
    """Mount a new file system of the kernel (proc, tmpfs, …) at `path`."""
    plain = fstype in ("proc", "sysfs")
    if any(len(value or "") > _LONGEST for value in options.values()):
        _mount_at_once(context, fstype, source, path, attributes, options, propagation)
        return
    try:
        fd = mounts.new_filesystem(fstype, tuple(options.items()), attributes, source)
    except KernelError:
        if optional:
            return
        raise
    target = target_of(context, path, True, plain)
    mounts.attach(fd, target, path)
    os.close(target)
    for word in propagation:
        mounts.propagate(f"/proc/self/fd/{fd}", word)
    if fstype == "proc" and path == "/proc":
        context.proc = fd
    else:
        os.close(fd)


_LONGEST = 255  # bytes of a value that fsconfig(2) takes


def _mount_at_once(
    context: Context,
    fstype: str,
    source: str,
    path: str,
    attributes: int,
    options: dict[str, str | None],
    propagation: list[int],
) -> None:
    """Mount with all options in one string (mount(2)): for long ones, such as the lower directories of an overlay."""
    target = target_of(context, path, True, False)
    data = mounts.option_string(options.items())
    mounts.mount(source, f"/proc/self/fd/{target}", fstype, mounts.flags_of(attributes), data)
    os.close(target)
    if propagation:
        fd = beneath.open_in_root(context.root, path, os.O_PATH)
        for word in propagation:
            mounts.propagate(f"/proc/self/fd/{fd}", word)
        os.close(fd)


def remount(context: Context, path: str, on: int, off: int, options: dict[str, str | None], bind: bool) -> None:
    """Change what is mounted at `path`: with `bind` the mount alone, else its file system, too (mount(2), MS_REMOUNT)."""
    fd = beneath.open_in_root(context.root, path, os.O_PATH)
    if bind:
        mounts.set_attributes(fd, on, off)
    else:
        data = mounts.option_string(options.items())
        flags = mounts.MS_REMOUNT | mounts.flags_of(on)
        mounts.mount(None, f"/proc/self/fd/{fd}", None, flags, data or None)
    os.close(fd)


def tmpfs_copy_up(context: Context, path: str, attributes: int, options: dict[str, str | None]) -> None:
    """Mount a tmpfs at `path` that holds what the root has there (option "tmpcopyup")."""
    from .copyup import copy_tree

    target = target_of(context, path, True, False)
    source = beneath.open_in_root(context.root, path, os.O_RDONLY | os.O_DIRECTORY)
    fd = mounts.new_filesystem("tmpfs", tuple(options.items()), 0, "tmpfs")
    inside = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    copy_tree(source, inside)
    os.close(inside)
    os.close(source)
    mounts.attach(fd, target, path)
    os.close(target)
    if attributes:
        mounts.set_attributes(fd, attributes)
    os.close(fd)


def bind(context: Context, source: str, path: str, recursive: bool, settings: BindSettings) -> None:
    """Bind a file or directory of the host at `path`.

    `settings`: `on`, `off` (attributes of the mount), `all-on`, `all-off` (of all below it, too), `propagation`, and
    `idmap`, which the parent has applied already; `beneath` as in `copy_of`.
    """
    fd = context.sources.pop(path, -1)
    late = False
    if fd < 0:
        fd = copy_of(source, recursive, settings.get("beneath", ""))
        late = not change(fd, recursive, settings)
    directory = stat.S_ISDIR(os.fstat(fd).st_mode)
    target = target_of(context, path, directory, False)
    mounts.attach(fd, target, path)
    os.close(target)
    if late:
        if settings.get("on"):
            mounts.remount_bind(fd, settings["on"])
        for word in settings.get("propagation") or []:
            mounts.propagate(f"/proc/self/fd/{fd}", word)
    os.close(fd)


def copy_of(source: str, recursive: bool, below: str = "") -> int:
    """Return an unattached copy of the mount at `source`, or of the path `below` it; raises KernelError, StartFailed.

    Who can write to the source may have put links there: they cannot lead out of it.
    """
    try:
        origin = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("bind", source, error.errno or 2) from None
    try:
        if not below:
            return mounts.clone_tree(origin, "", recursive)
        try:
            part = beneath.open_in_root(origin, below, os.O_PATH)
        except KernelError as error:
            reason = os.strerror(error.errno).lower()
            code = 127 if error.errno == ENOENT else 125  # as docker
            raise StartFailed(f"cannot access path {source}/{below}: {reason}", code) from None
        try:
            return mounts.clone_tree(part, "", recursive)
        finally:
            os.close(part)
    finally:
        os.close(origin)


def change(fd: int, recursive: bool, settings: BindSettings) -> bool:
    """Change attributes and propagation of an unattached mount; returns False where the kernel can only do it later.

    Raises Unsupported where it cannot do it at all.
    """
    all_on, all_off = settings.get("all-on", 0), settings.get("all-off", 0)
    on, off = settings.get("on", 0), settings.get("off", 0)
    try:
        if all_on or all_off:
            mounts.set_attributes(fd, all_on, all_off, recursive=True)
        if on or off:
            mounts.set_attributes(fd, on, off)
        for word in settings.get("propagation") or []:
            mounts.set_attributes(
                fd, 0, recursive=recursive and bool(word & mounts.MS_REC), propagation=word & ~mounts.MS_REC
            )
    except KernelError as error:
        if error.errno != mounts.ENOSYS:
            raise
        if all_on & ~on or all_off & ~off:
            raise Unsupported("recursive mount options need Linux 5.12") from None
        return False
    return True


def cgroup_v1(context: Context, path: str, controllers: list[str], attributes: int, own: bool) -> None:
    """Mount each version 1 hierarchy below `path`.

    With a cgroup namespace (`own`) a new mount shows the container's group as the root; without, the group is bound, so
    that no other can be seen.
    """
    base = target_of(context, path, True, False)
    fd = mounts.new_filesystem("tmpfs", (("mode", "755"),), attributes & ~mounts.MOUNT_ATTR_RDONLY, "cgroup")
    mounts.attach(fd, base, path)
    os.close(base)
    places = {} if own or context.group is None else context.group.locations()
    for controller in controllers:
        if not own and controller not in places:
            continue
        os.mkdir(controller, 0o755, dir_fd=fd)
        if own:
            one = mounts.new_filesystem("cgroup", ((controller, None),), attributes, "cgroup")
        else:
            origin = os.open(places[controller], _DIRECTORY | os.O_CLOEXEC)
            one = mounts.clone_tree(origin, "", False)
            os.close(origin)
            change(one, False, {"on": attributes, "propagation": [mounts.MS_PRIVATE]})
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


def _make_node(directory: int, path: str, name: str, kind: str, number: int, mode: int, owner: tuple[int, int]) -> None:
    kind_bits = stat.S_IFBLK if kind == "b" else stat.S_IFIFO if kind == "p" else stat.S_IFCHR
    try:
        os.mknod(name, kind_bits | mode, number, dir_fd=directory)
    except FileExistsError:
        status = os.lstat(name, dir_fd=directory)
        if stat.S_IFMT(status.st_mode) != kind_bits or (kind != "p" and status.st_rdev != number):
            raise StartFailed(f"cannot create the device {path}: another file exists there", 125) from None
        return
    # mknod's mode passes through the umask, which is 0 here; owners are root's unless asked for.
    if any(owner):
        os.chown(name, *owner, dir_fd=directory, follow_symlinks=False)


def devices_present(context: Context, nodes: list[Node]) -> None:
    """Check that device nodes are there, where the host's own /dev has been bound."""
    for path, kind, major, minor, *_ in nodes:
        try:
            fd = beneath.open_in_root(context.root, path, os.O_PATH)
        except KernelError as error:
            raise StartFailed(f"device {path}: the /dev that is mounted from the host lacks it", 125) from error
        status = os.fstat(fd)
        os.close(fd)
        if kind != "p" and status.st_rdev != os.makedev(major, minor):
            raise StartFailed(f"device {path}: the /dev that is mounted from the host has another file there", 125)


def devices(context: Context, nodes: list[Node], links: dict[str, str], bind: bool) -> None:
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
            _make_node(directory, path, name, kind, os.makedev(major, minor), mode, (uid, gid))
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
    expanded = []
    for path in paths:
        before, star, after = path.partition("*")
        if not star:
            expanded.append(path)
            continue
        parent, _, prefix = before.rpartition("/")
        try:
            fd = beneath.open_in_root(context.root, parent, os.O_RDONLY | os.O_DIRECTORY)
        except KernelError:
            continue
        names = [n for n in os.listdir(fd) if n.startswith(prefix) and n[len(prefix) :].isdigit()]
        os.close(fd)
        expanded += [f"{parent}/{name}{after}" for name in names]
    return expanded


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
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    made = context.sources.get(path, -1)
    target = os.open(destination, flags) if made < 0 else os.open(".", flags, dir_fd=made)
    try:
        if not os.listdir(target):
            copy_tree(source, target)
    finally:
        os.close(source)
        os.close(target)


def pivot(context: Context) -> None:
    """Make the root the root, and forget the old one (pivot_root(2), "pivot_root(\".\", \".\")")."""
    old = os.open("/", _DIRECTORY | os.O_CLOEXEC)
    os.fchdir(context.root)
    mounts.pivot_root(".", ".")
    os.fchdir(old)
    # Where the host's mounts are still tied to these they would go with them.
    mounts.propagate(".", mounts.MS_SLAVE | mounts.MS_REC)
    mounts.umount(".", mounts.MNT_DETACH)
    os.close(old)
    os.chdir("/")


def move_root(context: Context) -> None:
    """Make the root the root where pivot_root(2) cannot: on a host that runs from its initramfs.

    The old root stays below; its views of processes and devices are taken away first.
    """
    for point, fstype in reversed(mounts.all_points()):
        if fstype in ("proc", "sysfs"):
            try:
                mounts.propagate(point, mounts.MS_PRIVATE)
                mounts.umount(point, mounts.MNT_DETACH)
            except KernelError as error:
                # The container's own are listed, too; by these names the old root does not know them.
                if error.errno not in (EINVAL, ENOENT):
                    raise
    os.fchdir(context.root)
    libc.check("chroot", "the new root", "chroot", b".")
    os.chdir("/")


def root_propagation(context: Context, flags: int, word: str) -> None:
    """Give the new root its final propagation."""
    mounts.propagate("/", flags)
