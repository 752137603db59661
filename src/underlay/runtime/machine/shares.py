"""Volumes and directories of the host in a machine: one virtiofsd for all of a container's, which can reach nothing else.

They are mounted side by side, by number, in a file system in memory that is the root of virtiofsd: each as the container is
to have it, so that what is read-only is so on the host, whatever the machine does (virtiofsd(1), virtiofs in the kernel's
documentation).
"""

from __future__ import annotations

import _socket
import os
import stat

from ...errors import KernelError, Unsupported
from ...linux import process
from ...linux.files import mounts
from ..apply import mounts as mounting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from ...linux.cgroup import Group
    from ..plan.context import Operation

TAG = "shares"  # by which the machine mounts them
INSIDE = "/run/shares"  # where
_PROGRAMS = ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/bin/virtiofsd")
_SETTINGS = ("--sandbox", "namespace", "--seccomp", "kill", "--cache", "auto", "--xattr", "--no-announce-submounts")
_DIRECTORY = "shares"  # in the state directory: where they are mounted, in a mount namespace of virtiofsd's own
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def program() -> str:
    """Return the path of virtiofsd. Raises Unsupported."""
    for path in _PROGRAMS:
        if os.access(path, os.X_OK):
            return path
    raise Unsupported(
        "--isolation machine: there is no virtiofsd to share volumes with", "install the package virtiofsd"
    )


def opened(operations: Sequence[Operation]) -> list[int]:
    """Return the mounts that the `bind` operations of a plan would make, unattached. Raises KernelError, StartFailed."""
    made: list[int] = []
    try:
        for _, source, _, recursive, settings in operations:
            made.append(mounting.copy_of(source, recursive, settings.get("beneath", "")))
            mounting.change(made[-1], recursive, settings)
    except BaseException:
        for fd in made:
            os.close(fd)
        raise
    return made


class Server:
    """virtiofsd for a container, before it runs: `connection` is QEMU's end of the socket to it."""

    __slots__ = ("_directory", "_listener", "_mounts", "connection")

    def __init__(self, state_directory: str, shared: Sequence[int]) -> None:
        self._directory = f"{state_directory}/{_DIRECTORY}"
        self._mounts = list(shared)
        self._listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        # Through a descriptor: socket addresses hold 107 bytes, directories may be longer.
        directory = os.open(state_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            name = f"/proc/self/fd/{directory}/shares.socket"
            before = os.umask(0o177)
            try:
                self._listener.bind(name)
            finally:
                os.umask(before)
            self._listener.listen(1)
            client.connect(name)
            os.unlink(name)  # nobody else can connect
        finally:
            os.close(directory)
        self.connection = client.detach()

    def start(self, group: Group) -> None:
        """Start it, in the container's control group, as a child of process 1. Raises KernelError, Unsupported."""
        path = program()
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        child = os.fork()
        if child == 0:
            self._begin(path, group)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.close()
        if status:
            raise KernelError("start", path, status if status > 0 else 5)

    def close(self) -> None:
        """Close what only it needs."""
        self._listener.close()
        for fd in self._mounts:
            os.close(fd)
        self._mounts.clear()

    def _begin(self, path: str, group: Group) -> NoReturn:
        """In a child: put the shares together in a mount namespace, and leave virtiofsd behind."""
        code = 5
        try:
            os.setsid()
            group.enter()
            process.unshare(process.CLONE_NEWNS)
            mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
            mounts.mount("tmpfs", self._directory, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, "mode=755,size=1m")
            for number, fd in enumerate(self._mounts):
                _attach(fd, f"{self._directory}/{number}")
            mounts.mount(None, self._directory, None, mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY)
            listener = os.dup(self._listener.fileno())
            process.close_from(3, (listener,))
            os.set_inheritable(listener, True)
            null = os.open("/dev/null", os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            os.chdir("/")
            words = [path, "--fd", str(listener), "--shared-dir", self._directory, *_SETTINGS]
            if os.fork() == 0:
                os.execve(path, words, _ENVIRONMENT)
            code = 0
        except KernelError as error:
            code = error.errno or 5
        except OSError as error:
            code = error.errno or 5
        finally:
            os._exit(code)


def _attach(fd: int, path: str) -> None:
    """Attach an unattached mount at a new directory or file."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.mkdir(path, 0o755)
        target = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    mounts.attach(fd, target, path)
    os.close(target)
