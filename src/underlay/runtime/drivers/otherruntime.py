"""A container run by another OCI runtime: its bundle, and the commands of the runtime's command line.

The root is put together by operations of our plan, in a mount namespace of the process that executes `RUNTIME create`;
all else is the runtime's affair. Its process becomes the monitor's child, in the group that our own driver would have made,
so that streams, exit, limits and `exec` need no runtime (runtime-tools, "command line interface").
"""

from __future__ import annotations

import _socket
import os
import select

from ...errors import StartFailed, UnderlayError
from ...lean.jsontext import dumps, known
from ...linux import process
from ..monitor import control
from ..plan import ops
from ..plan.context import Context
from ..policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ...linux.specification import Spec
    from ..monitor.records import LaunchRecord
    from ..plan import Plan

# What makes the root, finds the user in it, and fills new volumes from it; the rest the runtime does.
_OURS = ("propagation", "propagation-around", "disk", "overlay", "bind-root", "user", "ids", "copy-up")
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
_NOT_FOUND = ("executable file not found", "no such file or directory", "No such file or directory")
_NOT_EXECUTABLE = ("permission denied", "Permission denied", "is a directory", "Is a directory", "exec format error")
_PATIENCE = 60.0  # seconds in which a runtime has to send the terminal


def start(record: LaunchRecord, made: Plan, context: Context) -> tuple[int, int]:
    """Create and start the container; returns the pid of its process and its console or -1. Raises StartFailed, OSError."""
    bundle = _bundle(record["state"])
    # That of a run whose end could not be cleaned up.
    delete(record["runtime"], record["state"], record["id"])
    os.mkdir(bundle, 0o700)
    listener = _listen(bundle) if record["terminal"] else None
    pid = console = -1
    try:
        # The runtime ends when the container is created, and this process is to be told of the container's end.
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 1)
        child = os.fork()
        if child == 0:
            _create(record, made, context, bundle)
        context.channel.close()
        for fd in (*context.stdio, *context.sources.values()):
            os.close(fd)
        try:
            if listener is not None:
                console = _received(listener, child)
        finally:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            raise _failure(record, "create")
        with open(f"{bundle}/pid", encoding="ascii") as file:
            pid = int(file.read())
        if _run([*_words(record["runtime"], bundle), "start", record["id"]]):
            raise _failure(record, "start")
    except BaseException:
        if console >= 0:
            os.close(console)
        delete(record["runtime"], record["state"], record["id"])
        if pid > 0:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                pass
        raise
    finally:
        process.prctl(process.PR_SET_CHILD_SUBREAPER, 0)
        if listener is not None:
            listener.close()
    return pid, console


def delete(runtime: str, state: str, container_id: str) -> None:
    """Have the runtime forget a container, and kill what is left of it; harmless when it does not know it.

    `state` is the container's state directory. Raises OSError.
    """
    from ...files import remove_tree

    bundle = _bundle(state)
    if os.path.isdir(bundle):
        _run([*_words(runtime, bundle), "delete", "--force", container_id])
        remove_tree(bundle)


def _bundle(state: str) -> str:
    return state + "/bundle"


def _words(runtime: str, bundle: str) -> list[str]:
    return [runtime, "--root", f"{bundle}/state", "--log", f"{bundle}/log", "--log-format", "json"]


def _run(command: list[str]) -> int:
    """Run one of the other runtime's commands, such as `create`; returns its exit code."""
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        streams = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        child = os.posix_spawn(command[0], command, _ENVIRONMENT, file_actions=streams)
    except OSError:
        return 127  # it has been removed meanwhile
    finally:
        os.close(null)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _create(record: LaunchRecord, made: Plan, context: Context, bundle: str) -> NoReturn:
    """Make the root and become `RUNTIME create`."""
    try:
        process.close_from(3, (*context.stdio, *context.sources.values()))
        process.unshare(process.CLONE_NEWNS)
        for operation in made.operations:
            if operation[0] in _OURS:
                ops.apply(operation, context)
        with open(f"{bundle}/config.json", "w", encoding="utf-8", opener=_private) as file:
            file.write(dumps(configuration(record, context)))
        words = ["create", "--bundle", bundle, "--pid-file", f"{bundle}/pid"]
        if record["terminal"]:
            # From the bundle, into which runtimes change: the path of a socket must be short (unix(7)).
            os.chdir(bundle)
            words += ["--console-socket", "console"]
        # With a terminal there are no streams, and what the runtime says goes to its log.
        null = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(context.stdio[number] if context.stdio else null, number)
        command = [*_words(record["runtime"], bundle), *words, record["id"]]
        os.closerange(3, 64)
        os.execve(command[0], command, _ENVIRONMENT)
    except BaseException as error:
        message = error.message if isinstance(error, UnderlayError) else str(error)
        with open(f"{bundle}/log", "w", encoding="utf-8", errors="replace", opener=_private) as file:
            file.write(dumps({"level": "error", "msg": message}))
    finally:
        os._exit(1)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def configuration(record: LaunchRecord, context: Context) -> Spec:
    """Return the specification as another runtime needs it: with all that ours is told beside it."""
    spec = record["spec"]
    body, linux = spec["process"], spec["linux"]
    environment = body.get("env") or []
    if not any(pair.startswith("HOME=") for pair in environment):
        environment = [*environment, f"HOME={context.home}"]
    user: dict[str, Any] = {**body["user"], "uid": context.uid, "gid": context.gid, "additionalGids": context.groups}
    changed: dict[str, Any] = {**linux, "cgroupsPath": f"/{record['cgroup']}"}
    sysctls = {name: value for name, value in (record["extras"].get("soft_sysctls") or {}).items() if _has(name)}
    if sysctls:
        changed["sysctl"] = {**sysctls, **(linux.get("sysctl") or {})}
    if record["seccomp"] and "seccomp" not in linux:
        system = os.uname()
        bounding = body["capabilities"]["bounding"]
        changed["seccomp"] = profiles.seccomp_profile(bounding, system.machine, profiles.kernel_version(system.release))
    whole: Any = {
        **spec,
        "root": {**spec["root"], "path": record["root"]["target"]},
        "process": {**body, "user": user, "env": environment},
        "linux": changed,
    }
    result: Spec = whole
    return result


def _has(name: str) -> bool:
    """Return whether the kernel has a setting of network namespaces."""
    return os.path.exists("/proc/sys/" + name.replace(".", "/"))


def _listen(bundle: str) -> _socket.socket:
    """Listen for the terminal."""
    directory = os.open(bundle, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.unlink("console", dir_fd=directory)
        except FileNotFoundError:
            pass
        listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        listener.bind(f"/proc/self/fd/{directory}/console")
        listener.listen(1)
        return listener
    finally:
        os.close(directory)


def _received(listener: _socket.socket, child: int) -> int:
    """Return the descriptor of the container's terminal, which the other runtime sends, or -1 if it ends without that."""
    watched = process.pidfd_open(child)
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    poll.register(watched, select.POLLIN)
    try:
        ready = [fd for fd, _ in poll.poll(_PATIENCE * 1000)]
        if listener.fileno() not in ready:
            if not ready:
                os.kill(child, 9)
            return -1
        connection = control.accept(listener)
        try:
            _, extra, _, _ = connection.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        finally:
            connection.close()
        return int.from_bytes(extra[0][2][:4], "little") if extra else -1
    finally:
        os.close(watched)


def _failure(record: LaunchRecord, word: str) -> StartFailed:
    """Return what the runtime has written into its log as an error; its exit code is docker's."""
    message = ""
    try:
        with open(f"{_bundle(record['state'])}/log", encoding="utf-8", errors="replace") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        lines = []
    for line in lines:
        try:
            entry = known(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("error", "fatal"):
            message = str(entry.get("msg"))[:2000]
    name = os.path.basename(record["runtime"])
    message = message or f"{name} {word} failed and has not said why"
    code = 125
    if word == "start" or "exec" in message:
        code = 127 if any(text in message for text in _NOT_FOUND) else code
        code = 126 if any(text in message for text in _NOT_EXECUTABLE) else code
    return StartFailed(f"{name}: {message}", code)
