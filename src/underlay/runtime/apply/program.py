"""The last step: our process becomes the container's program."""

from __future__ import annotations

import os
import stat

from ...errors import KernelError, StartFailed
from ...linux import libc, process
from ...linux.files import beneath
from . import laststep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ...linux.specification import Hook
    from ..plan.context import Context

ENOENT, EACCES, ENOEXEC, ENOTDIR, ELOOP, EBADF = 2, 13, 8, 20, 40, 9
SIG_SETMASK = 2
TIOCSPGRP = 0x5410
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def execute(context: Context, arguments: list[str], init: bool) -> NoReturn:
    """Make the calls that have been put off, then execve(2) of what `arguments[0]` names along the container's PATH.

    With `init` process 1 stays ours: the program is its child, signals are passed on, orphans reaped. What the kernel
    refuses is sent to the parent: 127 when the program is not found, 126 when it cannot be executed. Raises StartFailed
    for what can be seen beforehand.
    """
    environment = context.environment
    environment.setdefault("HOME", context.home)
    name = arguments[0]
    script: laststep.Script = context.script
    candidates = locate(name, environment, context.directory)
    try:
        words = script.strings(arguments)
        variables = script.strings([f"{key}={value}" for key, value in environment.items()])
        for candidate in candidates:
            shown = candidate if candidate.startswith("/") else f"{context.directory}/{candidate}"
            hint = examine(shown, name)
            missing = _NO_INTERPRETER if os.path.exists(shown) else ""
            script.add(
                "execute",
                "execve",
                script.string(candidate),
                words,
                variables,
                failure=f'exec: "{name}"',
                code=126,
                cases={
                    str(ENOEXEC): (f'exec: "{name}": exec format error', hint, 126),
                    str(ENOENT): (f'exec: "{name}": no such file or directory', missing, 127),
                    str(ENOTDIR): (f'exec: "{name}": not a directory', "", 127),
                },
                # Along PATH the next one may do.
                errnos=(EACCES,) if candidate != candidates[-1] else (),
            )
    except ValueError as error:
        raise StartFailed(f"cannot execute {name!r}: {error}", 126) from None
    calls = arrange(context, init)
    if init:
        import _signal

        # What arrives before process 1 waits must not be lost.
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    script.become(calls, context.channel.fileno())


def become_hook(context: Context, hook: Hook, channel: int) -> NoReturn:
    """Become a hook that comes from the container's root: in a child, with what the process itself will get, less
    CAP_SYS_PTRACE (`identity.untraced`).

    What the kernel refuses is written to `channel`. No listener is made for a filter that asks: who is asked waits for the
    process. What such a filter asks about fails then (seccomp_unotify(2)).
    """
    from ...linux.security import seccomp
    from . import identity, laststep

    script = context.script
    script.renew()
    identity.untraced(context)
    path = str(hook["path"])
    try:
        examine(path, path)
        if script.listener is not None:
            mode, flags, *more = script.listener.arguments
            assert isinstance(flags, int)
            script.listener.arguments = (mode, flags & ~seccomp.OF_LISTENERS, *more)
            script.listener = None
        words, variables = script.strings(list(hook.get("args") or [path])), script.strings(list(hook.get("env") or []))
        failure = f"cannot execute {path}"
        script.add("execute", "execve", script.string(path), words, variables, failure=failure, code=126)
        # What the caller lets the process have is not for hooks.
        process.hide_from(3)
        script.become(arrange(context, False), channel)
    except (StartFailed, ValueError, OSError) as error:
        os.write(channel, laststep.told(str(error)))
    os._exit(125)


_NO_INTERPRETER = "the file exists but its interpreter (the #! line or the dynamic loader) does not"


def locate(name: str, environment: dict[str, str], directory: str = "") -> list[str]:
    """Return the paths that `name` may stand for, those that are there; raises StartFailed (127) when none is.

    `directory` is the working directory, for relative ones; when it is not known they count as present.
    """
    if not name:
        raise StartFailed("the command is empty", 127)
    if "/" in name:
        candidates = [name]
    else:
        candidates = [f"{directory or '.'}/{name}" for directory in (environment.get("PATH") or _PATH).split(":")]
    existing = []
    for candidate in candidates:
        path = candidate
        if not candidate.startswith("/"):
            if not directory:
                existing.append(candidate)
                continue
            path = f"{directory}/{candidate}"
        try:
            os.stat(path)
        except ValueError as error:
            raise StartFailed(f"cannot execute {name!r}: {error}", 126) from None
        except OSError as error:
            # Other errors the kernel shall report, with the rights of the program's user. A dangling link may have a
            # target for that user: a process that joins has no /proc/self.
            if error.errno in (ENOENT, ENOTDIR) and not os.path.islink(path):
                continue
        existing.append(candidate)
    if existing:
        return existing
    if "/" in name:
        raise StartFailed(f'exec: "{name}": stat {name}: no such file or directory', 127)
    raise StartFailed(f'exec: "{name}": executable file not found in $PATH', 127)


def examine(path: str, name: str, depth: int = 5) -> str:
    """Look at a program beforehand; returns a hint for the case that the kernel does not know its format.

    Raises StartFailed when it, or the interpreter that its first line names, is reached by a magic link, which no image
    needs. The tiny program that executes it could be reached so, and nothing else of ours (attacks RT-01).
    """
    try:
        fd = beneath.open_own(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError as error:
        if error.errno == ELOOP:
            raise StartFailed(
                f'exec: "{name}": it leads through a link of procfs or too many symbolic links', 126
            ) from None
        return ""
    try:
        head = os.read(fd, 256) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    if head[:2] == b"#!" and depth:
        words = head[2:].split(b"\n", 1)[0].split()
        if words:
            examine(os.fsdecode(words[0]), name, depth - 1)
        return ""
    if head[:4] != b"\x7fELF":
        return "the file is neither a program of this kernel nor a script with a #! line"
    machine = int.from_bytes(head[18:20], "little" if head[5:6] == b"\1" else "big")
    made_for = _MACHINES.get(machine, f"machine {machine}")
    processor = _PROCESSORS.get(libc.MACHINE, libc.MACHINE)
    if made_for == processor:
        return "the file begins as a program does, but the kernel cannot load it: it is damaged"
    return f"the program is for {made_for}, this processor is {processor}"


# ELF machine numbers (elf(5), e_machine) that an image may be of.
_MACHINES = {
    3: "386",
    8: "mips",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
}
_PROCESSORS = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386"}


def arrange(context: Context, init: bool) -> list[laststep.Call]:
    """Return the calls in the order in which they are made; adds the fork where one is needed.

    A process that joins enters the pid namespace only by that fork. Before it no process inside can see this one; so it
    takes its filter and gives up its rights before, and what appears inside has no more than the program will have
    (attacks RT-03). Only where the filter forbids what comes after the fork must it come first.
    """
    script: laststep.Script = context.script
    parts: dict[str, list[laststep.Call]] = {name: [] for name in _APART}
    rest: list[laststep.Call] = []
    for call in script.calls:
        parts.get(call.tag, rest).append(call)
    front, session, last = parts["apparmor"], parts["session"], parts["execute"]
    tags = [call.tag for call in rest]
    if context.sibling >= 0:
        fork = _fork_inside(context)
        after = len(tags) - tags[::-1].index("credentials") if "credentials" in tags else 0
        if "seccomp" in tags[:after] and not _filter_allows_fork(context, fork[0]):
            return [*front, *fork, *session, *rest, *last]
        return [*front, *rest[:after], *fork, *session, *rest[after:], *last]
    if parts["apparmor-early"]:
        at = tags.index("die-with-monitor")
        rest[at:at] = parts["apparmor-early"]
    if init:
        return [*front, *session, *rest, *_fork_below(context, parts["apparmor-init"]), *last]
    return [*front, *session, *rest, *last]


_APART = ("apparmor", "apparmor-early", "apparmor-init", "session", "execute")


def _fork_inside(context: Context) -> list[laststep.Call]:
    """A child in the namespace that was joined; the parent tells its pid and ends."""
    script: laststep.Script = context.script
    start = len(script.calls)
    slot = script.add("fork", "clone", context.sibling | process.SIGCHLD, 0, 0, 0, 0, keep=True)
    script.add("fork", "write", context.channel.fileno(), laststep.address(slot), 8, parent=True)
    script.add("fork", "exit_group", 0, parent=True)
    return script.calls[start:]


def _filter_allows_fork(context: Context, clone: laststep.Call) -> bool:
    """Return whether the filter lets pass what is called between the fork and the program."""
    from ...linux import libc
    from ...linux.security import seccomp

    if context.notifies:
        return False  # the seccomp agent must get the pid first
    machine = libc.MACHINE
    if machine not in seccomp.NATIVE:
        return False
    audit = seccomp.ARCHITECTURES[seccomp.NATIVE[machine][0]][0]
    tried: list[tuple[int, tuple[int, ...]]] = [(clone.number, (context.sibling | process.SIGCHLD, 0, 0, 0, 0))]
    tried += [(libc.number(name), (3, 0, 8)) for name in ("write", "setsid", "exit_group")]
    tried.append((libc.number("ioctl"), (0, 0x540E, 0)))
    return all(
        seccomp.interpret(context.seccomp, audit, number, arguments) == seccomp.RET_ALLOW for number, arguments in tried
    )


def _fork_below(context: Context, reaper: list[laststep.Call]) -> list[laststep.Call]:
    """A child that becomes the program; the parent stays as process 1."""
    script: laststep.Script = context.script
    start = len(script.calls)
    slot = script.add("fork", "clone", process.SIGCHLD, 0, 0, 0, 0, keep=True)
    begun = script.calls[start:]
    start = len(script.calls)
    # It executes nothing any more, which would close what is marked for that.
    for fd in (0, 1, 2, context.channel.fileno(), *script.inherited):
        script.add("fork", "close", fd, parent=True, errnos=(EBADF,))
    if script.listener is not None:
        # It may have got the number of one that was inherited and given up before, and be closed with that.
        script.add("fork", "close", laststep.answer(script.listener.slot), parent=True, errnos=(EBADF,))
    script.add("fork", "reap", laststep.answer(slot), parent=True)
    script.add("fork", "setpgid", 0, 0)
    if context.console >= 0:
        own = script.add("fork", "getpid", keep=True)
        script.add("fork", "ioctl", 0, TIOCSPGRP, laststep.address(own), errnos=(1, 3, 5, 22, 25))
    script.add("fork", "rt_sigprocmask", SIG_SETMASK, script.place(bytes(8)), 0, 8)
    return [*begun, *reaper, *script.calls[start:]]
