"""Names of containers, the engine's side: what a network's name server is to know, and that there is one.

It is a process of its own (`nameserver`), started by the process that needs it (`ensure`). It reads the file that `write`
writes, and ends by itself.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import sys
import time

from .. import files
from ..errors import Conflict, Unsupported
from ..lean.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .described import Written

PORT = 53
_START = 10.0  # seconds to start in
_CAPABILITIES = 1 << 2 | 1 << 10 | 1 << 13  # DAC_READ_SEARCH (to load what others own), NET_BIND_SERVICE, NET_RAW
# Descriptors of the process that becomes the name server: its lock, and what it says when it listens.
_LOCK, _TELL = 3, 4
_INPUT, _OUTPUT = select.POLLIN, select.POLLOUT


def write(directory: str, network_id: str, description: Written) -> None:
    """Write the description of a network for its name server, in `directory` (STATE/networks, created if missing).

    `description`: "interface" (of the bridge), "listen" (addresses), "subnets" (whose clients are answered), "internal"
    (nothing is forwarded), "upstream" (servers of the host), "servers" (other upstream servers of some addresses), "names"
    (the addresses of each name; the first name of an address is the result of its reverse lookup), "members" (files that
    exist while a container runs, and the addresses of each container), "others" (for each other network that members are
    also in: "names" there, and "asked_by", the only addresses here that can look them up).
    Call it before `ensure`: a name server that is about to exit reads it once more. Raises OSError.
    """
    os.makedirs(directory, 0o700, exist_ok=True)
    files.write_atomic(f"{directory}/{network_id}.json", dumps(description).encode(), durable=False)


def remove(directory: str, network_id: str) -> None:
    """Have the name server of a network end, within a second; harmless when there is none. Raises OSError."""
    try:
        os.unlink(f"{directory}/{network_id}.json")
    except FileNotFoundError:
        pass
    lock = take(f"{directory}/{network_id}.lock") if os.path.isdir(directory) else None
    if lock is not None:  # no name server runs
        os.unlink(lock.path)
        lock.release()


def ensure(directory: str, network_id: str) -> None:
    """Return when the name server of a network listens, in this network namespace; one is started if there is none.

    Raises Conflict when another program has its address, Unsupported when it cannot run here.
    """
    path = f"{directory}/{network_id}.lock"
    deadline = time.monotonic() + _START
    while True:
        lock = take(path)
        if lock is not None:
            break
        if _listens(path):
            return
        if time.monotonic() > deadline:
            raise Conflict(
                f"the name server of network {network_id[:12]} does not start",
                f"another process holds {path}: see `fuser {path}`",
            )
        time.sleep(0.002)
    try:
        os.ftruncate(lock.fd, 0)
        _start(directory, network_id, lock.fd)
    finally:
        lock.release()


def take(path: str) -> files.Lock | None:
    """Acquire the lock of a name server, None when one runs. A process removes the file only while it holds the lock."""
    while True:
        lock = files.Lock(path)
        if not lock.acquire(wait=False):
            return None
        try:
            if os.path.samestat(os.fstat(lock.fd), os.stat(path)):
                return lock
        except FileNotFoundError:
            pass
        lock.release()


def _listens(path: str) -> bool:
    """Return whether the lock's holder has recorded in it that it listens, on the bridge that exists now."""
    try:
        pid, index, interface = files.read_bytes(path, 64).decode().split()
        os.kill(int(pid), 0)
        return _socket.if_nametoindex(interface) == int(index)
    except (OSError, ValueError):
        return False


def _library() -> list[str]:
    """Return where the library for messages is. Asking the import system for it would load more than is worth it."""
    for entry in sys.path:
        if entry.startswith("/") and os.path.isfile(entry + "/dns/message.py"):
            return [entry]
    raise Unsupported("names of containers need the Python package dnspython", "pip install dnspython")


def _start(directory: str, network_id: str, lock: int) -> None:
    from ..paths import interpreter

    python, paths = interpreter()
    # What others installed comes last, so that it takes no module's place.
    code = f"import sys; sys.path[:0] = {paths!r}; sys.path += {_library()!r}"
    serve = code + "; from underlay.network.nameserver import serve; serve()"
    command = [python, "-I", "-S", "-c", serve, os.path.abspath(directory), network_id]
    code += "; from underlay.network.resolver import become; become()"
    report, report_end = os.pipe()
    # Not forked off this process, which may have threads. Duplicates, as a descriptor keeps being closed by the exec where
    # it has the wanted number already.
    given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _TELL + 1) for fd in (lock, report_end)]
    os.close(report_end)
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(given, (_LOCK, _TELL), strict=True)]
    try:
        child = os.posix_spawn(python, [python, "-I", "-S", "-c", code, *command], os.environ, file_actions=actions)
    except OSError as error:
        os.close(report)
        raise Unsupported(f"{python} cannot be started for the name server: {error.strerror}") from None
    finally:
        for fd in given:
            os.close(fd)
    try:
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass  # the caller lets the kernel wait for its children
        _await_report(report, network_id)
    finally:
        os.close(report)


def become() -> NoReturn:
    """In the process that was started: become the name server, whose command line is in the arguments, and process 1's
    child, as which nothing of the caller's reaches it: no terminal, directory, descriptors, signals, few rights."""
    try:
        os.setsid()
        if os.fork() == 0:
            _execute(sys.argv[1:])
    except BaseException as error:
        os.write(_TELL, f"{error}".encode())
    finally:
        os._exit(0)


def _execute(command: list[str]) -> NoReturn:
    import _signal

    from ..errors import KernelError
    from ..linux import process
    from ..linux.security import capabilities

    os.chdir("/")
    os.umask(0o077)
    nothing = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    process.close_from(3, (_LOCK, _TELL))
    for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    # What it reads comes from containers. After the exec root has the rights that the bounding set leaves.
    try:
        capabilities.limit_bounding(_CAPABILITIES, capabilities.last_known())
    except KernelError:
        pass  # this host's root is not allowed to give rights up
    os.execve(command[0], [*command, str(_LOCK), str(_TELL)], {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def _await_report(report: int, network_id: str) -> None:
    """Wait until the new process reports that it listens ("1"), or an error."""
    poll = select.poll()
    poll.register(report, _INPUT)
    if not poll.poll(_START * 1000):
        raise Unsupported(f"the name server of network {network_id[:12]} does not answer after {_START:.0f} seconds")
    words = os.read(report, 4096).decode("utf-8", "replace")
    if words == "1":
        return
    what = f"the name server of network {network_id[:12]}"
    if words.startswith("in use "):
        address = words.removeprefix("in use ")
        raise Conflict(
            f"{what} cannot listen on {address} port {PORT}: another DNS server does",
            f"`ss -lnup sport = :{PORT}` shows which; exclude that address there (dnsmasq: bind-interfaces)",
        )
    raise Unsupported(f"{what} does not start: {words or 'its process ended'}")
