"""The operations that make a container's inside: each a plain tuple, described in words or applied to the kernel.

An operation is `(name, argument, …)` with values that JSON can hold. `describe` needs no privilege; `apply` runs in the
new process, in its new namespaces, before it becomes the container's program. Everything that an image or a user named
is opened below the root's descriptor, so that no link leads out of it.
"""

from __future__ import annotations

import os
import stat

from ..errors import InvalidInput, KernelError, StartFailed
from ..linux import beneath, capabilities, libc, mounts, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Operation = tuple[Any, ...]

ENOENT, ENOTDIR, EINVAL, ENOSYS = 2, 20, 22, 38
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Context:
    """What the operations share while they are applied: descriptors, and the identity found on the way."""

    __slots__ = (
        "channel",
        "console",
        "environment",
        "gid",
        "group",
        "groups",
        "groups_denied",
        "home",
        "null",
        "proc",
        "root",
        "seccomp",
        "stdio",
        "uid",
        "volatile",
    )

    def __init__(self) -> None:
        self.root = -1  # O_PATH descriptor of the container's root
        self.proc = -1  # the container's own procfs, for all writes
        self.null = -1  # the container's own /dev/null
        self.console = -1
        self.channel: Any = None  # socket to the monitor
        self.stdio: tuple[int, ...] = ()
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.groups_denied = False  # whether the user namespace forbids setgroups(2)
        self.group: Any = None  # the cgroup to enter; None when there is nothing to do
        self.home = "/"
        self.environment: dict[str, str] = {}
        self.seccomp = b""
        self.volatile: list[int] = []  # descriptors to close before the program starts


def describe(operation: Operation) -> str:
    """Return one line saying what an operation does to the kernel."""
    name, *arguments = operation
    if name in _WORDS:
        arguments = _WORDS[name](*arguments)
    shown = []
    for argument in arguments:
        if argument in (None, "", [], {}, ()):
            continue
        if isinstance(argument, dict):
            shown.append(",".join(k if v is None else f"{k}={v}" for k, v in argument.items()))
        elif isinstance(argument, list | tuple):
            shown.append(",".join(str(a) for a in argument))
        else:
            shown.append(str(argument))
    return f"{name:<14} {' '.join(shown)}".rstrip()


def _flag_words(bits: int) -> list[str]:
    names = ((1, "ro"), (2, "nosuid"), (4, "nodev"), (8, "noexec"), (0x10, "noatime"), (0x20, "strictatime"))
    return [word for bit, word in names if bits & bit]


def _credential_words(*masks: int) -> list[Any]:
    names = ("bounding", "permitted", "inheritable", "ambient")
    return [f"{what} {bits:x}" for what, bits in zip(names, masks, strict=True)]


# How the arguments of an operation read in a plan, where they do not read by themselves.
_WORDS: dict[str, Any] = {
    "bind": lambda source, path, bits, recursive, *_: [
        source,
        path,
        [*_flag_words(bits), "rbind" if recursive else "bind"],
    ],
    "cgroup-v1": lambda path, controllers, bits: [path, controllers, _flag_words(bits)],
    "credentials": _credential_words,
    "devices": lambda nodes, links, bind: [[node[0] for node in nodes], links, "bound from the host" if bind else ""],
    "execute": lambda arguments, init: [repr(arguments), "below an init" if init else ""],
    "mount": lambda kind, source, path, bits, options, optional: [kind, path, _flag_words(bits), options],
    "propagation": lambda flags, word: [word],
    "root-propagation": lambda flags, word: [word],
    "sysctl": lambda name, value, optional: [f"{name}={value}", "(if there is such a one)" if optional else ""],
    "umask": lambda value: [f"{value:04o}"],
    "unshare": lambda flags, names: [names],
    "user": lambda name, groups: [name or "root", groups],
}


def apply(operation: Operation, context: Context) -> None:
    """Carry out one operation; raises KernelError, InvalidInput, StartFailed."""
    OPERATIONS[operation[0]](context, *operation[1:])


def _propagation(context: Context, flags: int, word: str) -> None:
    mounts.propagate("/", flags)


def _overlay(
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


def _bind_root(context: Context, source: str, target: str) -> None:
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


def _mount(
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


def _bind(
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


def _cgroup_v1(context: Context, path: str, controllers: list[str], attributes: int) -> None:
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


def _devices(context: Context, nodes: list[list[Any]], links: dict[str, str], bind: bool) -> None:
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


def _mask(context: Context, paths: list[str]) -> None:
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


def _readonly(context: Context, paths: list[str]) -> None:
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


def _readonly_root(context: Context) -> None:
    _readonly_mount(context.root)


def _copy_up(context: Context, path: str, destination: str) -> None:
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


def _sysctl(context: Context, name: str, value: str, optional: bool) -> None:
    """Write a kernel parameter through the container's own procfs (attacks RT-09)."""
    path = "sys/" + name.replace(".", "/")
    try:
        fd = beneath.open_in_root(
            context.proc, path, os.O_WRONLY, resolve=beneath.RESOLVE_NO_XDEV | beneath.RESOLVE_NO_SYMLINKS
        )
    except KernelError as error:
        if optional:
            return
        raise KernelError("set sysctl", name, error.errno) from None
    try:
        os.write(fd, value.encode())
    except OSError as error:
        if not optional:
            raise KernelError(f"set sysctl {name} to", value, error.errno or EINVAL) from None
    finally:
        os.close(fd)


def _write_proc(context: Context, name: str, value: str) -> None:
    if context.proc >= 0:
        fd = beneath.open_in_root(context.proc, name, os.O_WRONLY, resolve=beneath.RESOLVE_NO_XDEV)
    else:
        fd = os.open("/proc/" + name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def _loopback(context: Context) -> None:
    """Bring up `lo` of the new network namespace (netdevice(7), SIOCSIFFLAGS)."""
    import _socket
    import fcntl

    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    request = b"lo".ljust(16, b"\0") + (0x1 | 0x40).to_bytes(2, "little") + bytes(22)
    fcntl.ioctl(control, 0x8914, request)
    control.close()


def _hostname(context: Context, name: str) -> None:
    libc.check("sethostname", name, "sethostname", name.encode(), len(name.encode()))


def _domainname(context: Context, name: str) -> None:
    libc.check("setdomainname", name, "setdomainname", name.encode(), len(name.encode()))


def _gate(context: Context, what: str) -> None:
    """Wait until the monitor has done its part (`mapped`: id maps written; `grouped`: the cgroup is made)."""
    message = context.channel.recv(64)
    if message != what.encode():
        os._exit(125)  # the monitor is gone or has given up; it says why


def _enter_cgroup(context: Context) -> None:
    """Enter the container's cgroup, unless this process was born in it."""
    if context.group is not None:
        context.group.enter()


def _become_root(context: Context) -> None:
    """Take uid and gid 0 of the new user namespace."""
    context.groups_denied = not may_setgroups("self")
    if not context.groups_denied:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def may_setgroups(pid: str) -> bool:
    """Return whether the user namespace of a process of the host's /proc lets setgroups(2) be used."""
    try:
        with open(f"/proc/{pid}/setgroups", encoding="ascii") as file:
            return file.read().strip() == "allow"
    except OSError:
        return True


def _unshare(context: Context, flags: int, names: list[str]) -> None:
    process.unshare(flags)


def _join(context: Context, kind: str, path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    process.setns(fd, process.NAMESPACES[kind][1], path)
    os.close(fd)


def _user(context: Context, user: str, groups: list[str]) -> None:
    """Find uid, gid, groups and home of `user` in the root's own /etc/passwd and /etc/group."""
    from . import users

    found = users.resolve(context.root, user, groups)
    context.uid, context.gid, context.groups, context.home = found


def _ids(context: Context, uid: int, gid: int, groups: list[int]) -> None:
    """Take numbers as the OCI specification gives them; the home comes from /etc/passwd."""
    from . import users

    context.uid, context.gid, context.groups = uid, gid, list(groups)
    context.home = users.home_of(context.root, uid)


def _console(context: Context, rows: int, columns: int, bind: bool) -> None:
    """Make a terminal of the container's own devpts and hand its other end to the monitor.

    With `bind` it is /dev/console too.
    """
    from ..linux import tty

    ptmx = beneath.open_in_root(context.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    slave = tty.open_pair(ptmx)
    if rows and columns:
        tty.set_window_size(slave, rows, columns)
    if bind:
        target = beneath.make_file(context.root, "/dev/console", 0o600)
        fd = mounts.clone_tree(slave, "", False)
        mounts.attach(fd, target, "/dev/console")
        os.close(fd)
        os.close(target)
    import _socket

    context.channel.sendmsg([b"console"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, ptmx.to_bytes(4, "little"))])
    os.close(ptmx)
    context.console = slave


def _pivot(context: Context) -> None:
    """Make the root the root, and forget the old one (pivot_root(2), "pivot_root(\".\", \".\")")."""
    os.fchdir(context.root)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")


def _root_propagation(context: Context, flags: int, word: str) -> None:
    mounts.propagate("/", flags)


def _session(context: Context) -> None:
    os.setsid()
    if context.console >= 0:
        from ..linux import tty

        tty.take_control(context.console)


def _streams(context: Context) -> None:
    """Put the program's standard streams in place."""
    fds = (context.console,) * 3 if context.console >= 0 else context.stdio
    for number, fd in enumerate(fds):
        os.dup2(fd, number, inheritable=True)
    if context.console >= 0:
        os.fchown(0, context.uid, -1)
    elif context.uid:
        # As docker does: a program that is not root may open /dev/stdout again.
        for number in (0, 1, 2):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                try:
                    os.fchown(number, context.uid, -1)
                except OSError:
                    pass


def _rlimit(context: Context, name: str, number: int, soft: int, hard: int) -> None:
    process.set_limit(name, number, soft, hard)


def _umask(context: Context, value: int) -> None:
    os.umask(value)


def _directory(context: Context, path: str) -> None:
    """Make the working directory, as docker does for WORKDIR, while we are still root."""
    os.close(beneath.make_directories(context.root, path))


def _chdir(context: Context, path: str) -> None:
    try:
        os.chdir(path)
        # A working directory outside the root would be a way to the host: its name cannot be told (getcwd(2)).
        os.getcwd()
    except OSError as error:
        code = 126 if error.errno == 13 else 127
        raise StartFailed(f"cannot change to the working directory {path}: {error.strerror}", code) from None


def _session_keyring(context: Context) -> None:
    """Start a session keyring of the container's own, so that it holds no key of the caller's (keyrings(7))."""
    join_session_keyring = 1
    if libc.syscall("keyctl", join_session_keyring, None, 0, 0, 0) < 0 and libc.errno() != ENOSYS:
        raise KernelError("new session keyring", "", libc.errno())


def _no_new_privileges(context: Context) -> None:
    process.prctl(process.PR_SET_NO_NEW_PRIVS, 1)


def _seccomp(context: Context) -> None:
    if context.seccomp:
        from ..linux import seccomp

        seccomp.load(context.seccomp)


def _credentials(context: Context, bounding: int, permitted: int, inheritable: int, ambient: int) -> None:
    """Drop to the container's user and capabilities; groups are always set (attacks RT-19)."""
    known = (1 << (capabilities.last_known_cached() + 1)) - 1
    capabilities.limit_bounding(bounding, capabilities.last_known_cached())
    try:
        if not context.groups_denied:
            os.setgroups(context.groups)
        os.setresgid(context.gid, context.gid, context.gid)
        process.prctl(process.PR_SET_KEEPCAPS, 1)
        os.setresuid(context.uid, context.uid, context.uid)
        process.prctl(process.PR_SET_KEEPCAPS, 0)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        raise StartFailed(
            f"user {context.uid}:{context.gid} does not exist in this user namespace",
            125,
            "subordinate ids in /etc/subuid and /etc/subgid (and the package uidmap) give more ids than one",
        ) from None
    have = capabilities.permitted_now()
    permitted &= known & have
    if context.uid:
        # Another user than root starts with the ambient ones only, as after an exec by that user.
        keep = permitted & ambient
        capabilities.apply(keep, keep, inheritable & have & known)
    else:
        capabilities.apply(permitted, permitted, inheritable & have & known)
    capabilities.set_ambient(ambient & permitted & inheritable)
    # A change of ids sets this anew, to fs.suid_dumpable of the host (attacks RT-03).
    process.undumpable()


def _die_with_monitor(context: Context) -> None:
    """Let the kernel kill this process with its monitor (set again: a change of user clears it, prctl(2))."""
    process.prctl(process.PR_SET_PDEATHSIG, 9)
    try:
        if not context.channel.recv(1, _PEEK):
            os._exit(125)  # it has died since the change of user
    except BlockingIOError:
        pass


_PEEK = 0x42  # MSG_PEEK | MSG_DONTWAIT


def _execute(context: Context, arguments: list[str], init: bool) -> None:
    """Become the program. Exit codes of failures are docker's: 127 not found, 126 not executable."""
    from . import program

    program.execute(context, arguments, init)


OPERATIONS: dict[str, Any] = {
    "propagation": _propagation,
    "overlay": _overlay,
    "bind-root": _bind_root,
    "mount": _mount,
    "bind": _bind,
    "cgroup-v1": _cgroup_v1,
    "devices": _devices,
    "mask": _mask,
    "readonly": _readonly,
    "readonly-root": _readonly_root,
    "copy-up": _copy_up,
    "sysctl": _sysctl,
    "write-proc": _write_proc,
    "loopback": _loopback,
    "hostname": _hostname,
    "domainname": _domainname,
    "gate": _gate,
    "enter-cgroup": _enter_cgroup,
    "become-root": _become_root,
    "unshare": _unshare,
    "join": _join,
    "user": _user,
    "ids": _ids,
    "console": _console,
    "pivot": _pivot,
    "root-propagation": _root_propagation,
    "session": _session,
    "streams": _streams,
    "rlimit": _rlimit,
    "umask": _umask,
    "directory": _directory,
    "chdir": _chdir,
    "session-keyring": _session_keyring,
    "no-new-privs": _no_new_privileges,
    "seccomp": _seccomp,
    "credentials": _credentials,
    "die-with-monitor": _die_with_monitor,
    "execute": _execute,
}


def check_known(operations: list[Operation]) -> None:
    """Raise InvalidInput when a plan holds something that nobody can apply: a bug, or a plan of another version."""
    for operation in operations:
        if operation[0] not in OPERATIONS:
            raise InvalidInput(f"unknown operation {operation[0]!r} in the plan")
