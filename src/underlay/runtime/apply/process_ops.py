"""Operations around the process: cgroup, namespaces, kernel parameters, host name, console, and the last step."""

from __future__ import annotations

import _socket
import os
import stat

from ...errors import KernelError, StartFailed
from ...linux import libc, process
from ...linux.files import beneath, mounts
from ..monitor import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import State
    from ..plan.context import Context

EACCES, EINVAL = 13, 22


def gate(context: Context, what: str) -> None:
    """Wait until the monitor has done its part (`mapped`: id maps written; `grouped`: the cgroup is made)."""
    message = context.channel.recv(64)
    if message != what.encode():
        os._exit(125)  # the monitor is gone or has given up; it says why


def announce(context: Context, what: str) -> None:
    """Tell the parent how far we are (`hooks`: all is mounted, the root not yet changed)."""
    context.channel.send(what.encode())


def await_start(context: Context) -> None:
    """Tell the parent that all is made, then wait for `start` to connect; what fails from now on is reported to it.

    The parent ends then: this process lives without it from here on.
    """
    process.prctl(process.PR_SET_PDEATHSIG, 0)
    context.channel.send(b"created")
    context.channel.close()
    while True:
        connection = control.accept(context.listener)
        # Others connect, too, to see whether we still wait.
        if connection.recv(64) == b"start":
            break
        connection.close()
    context.listener.close()
    context.channel = connection


def hooks(context: Context, kind: str) -> None:
    """Run the hooks of the specification that belong into the container's namespaces.

    Those of the start come from the container's root: they get the rights of its process and no more, as with runc.
    """
    from . import hooks as programs

    state: State = {**context.state, "pid": os.getpid()}
    if kind != "startContainer":
        programs.run(kind, context.hooks.get(kind) or [], state)
        return
    from . import program

    state["status"] = "created"
    items = context.hooks.get(kind) or []
    programs.run(kind, items, state, lambda hook, channel: program.become_hook(context, hook, channel))


def locate(context: Context, name: str, directory: str) -> None:
    """Fail now, not at the start, when no file can be the program: callers show their users the error of `create`."""
    from . import program

    for candidate in program.locate(name, context.environment, directory):
        path = os.path.join(directory, candidate)
        try:
            mode = os.stat(path).st_mode
        except OSError:
            return  # it may be there for the program's user, when it is time
        if stat.S_ISREG(mode) and mode & 0o111:
            return
        problem = "is a directory" if stat.S_ISDIR(mode) else "permission denied"
    raise StartFailed(f'exec: "{name}": {problem}' + (": permission denied" if problem[0] == "i" else ""), 126)


def time_offsets(context: Context, offsets: dict[str, list[int]]) -> None:
    """Make a time namespace, set its clocks, and enter it (time_namespaces(7))."""
    process.unshare(process.CLONE_NEWTIME)
    if offsets:
        text = "".join(f"{clock} {seconds} {nanoseconds}\n" for clock, (seconds, nanoseconds) in offsets.items())
        write_proc(context, "self/timens_offsets", text)
    fd = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    process.setns(fd, process.CLONE_NEWTIME, "time namespace")
    os.close(fd)


def enter_cgroup(context: Context) -> None:
    """Enter the container's cgroup, unless this process is in it already."""
    if context.group is not None and not context.admitted:
        context.group.enter()


def unshare(context: Context, flags: int, names: list[str]) -> None:
    """Make namespaces that can only be made late."""
    process.unshare(flags)


def join(context: Context, kind: str, path: str) -> None:
    """Join the namespace at `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    process.setns(fd, process.NAMESPACES[kind][1], path)
    os.close(fd)


def sysctl(context: Context, name: str, value: str, optional: bool) -> None:
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


def write_proc(context: Context, name: str, value: str) -> None:
    """Write a file of the container's own procfs."""
    if context.proc >= 0:
        fd = beneath.open_in_root(context.proc, name, os.O_WRONLY, resolve=beneath.RESOLVE_NO_XDEV)
    else:
        fd = os.open("/proc/" + name, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def loopback(context: Context) -> None:
    """Bring up `lo` of the new network namespace (netdevice(7), SIOCSIFFLAGS).

    The namespace belongs to the user namespace that it was made in. Where root has no CAP_NET_ADMIN there, as within other
    containers, `lo` stays down: most programs need none.
    """
    import fcntl

    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    request = b"lo".ljust(16, b"\0") + (0x1 | 0x40).to_bytes(2, "little") + bytes(22)
    try:
        fcntl.ioctl(control, 0x8914, request)
    except PermissionError:
        pass
    finally:
        control.close()


def hostname(context: Context, name: str) -> None:
    """Set the host name of the UTS namespace."""
    libc.check("sethostname", name, "sethostname", name.encode(), len(name.encode()))


def domainname(context: Context, name: str) -> None:
    """Set the NIS domain name of the UTS namespace."""
    libc.check("setdomainname", name, "setdomainname", name.encode(), len(name.encode()))


def console(context: Context, rows: int, columns: int, bind: bool) -> None:
    """Make a terminal of the container's own devpts and hand its other end to the monitor.

    With `bind` it is /dev/console too.
    """
    from ...linux import tty

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
    context.channel.sendmsg([b"console"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, ptmx.to_bytes(4, "little"))])
    os.close(ptmx)
    context.console = slave


def directory(context: Context, path: str) -> None:
    """Make the working directory, as docker does for WORKDIR, while we are still root."""
    os.close(beneath.make_directories(context.root, path))


def chdir(context: Context, path: str) -> None:
    """Change to the working directory, inside the root only: links of procfs could lead out of it."""
    words = f"cannot change to the working directory {path}"
    try:
        fd = beneath.open_own(path, os.O_PATH | os.O_DIRECTORY)
    except KernelError as error:
        code = 126 if error.errno == EACCES else 127
        raise StartFailed(f"{words}: {os.strerror(error.errno)}", code) from None
    context.directory = path
    script = context.script
    cases = {str(EACCES): (f"{words}: {os.strerror(EACCES)}", "", 126)}
    # By name, since the user's rights on the way count; then to the directory that has been looked at.
    script.add("chdir", "chdir", script.string(path), failure=words, code=127, cases=cases)
    script.add("chdir", "fchdir", script.inherit(fd), failure=words, code=127, cases=cases)


def execute(context: Context, arguments: list[str], init: bool) -> None:
    """Become the program. Exit codes of failures are docker's: 127 not found, 126 not executable."""
    from . import program

    program.execute(context, arguments, init)
