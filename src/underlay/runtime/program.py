"""The last step: from our process to the container's program."""

from __future__ import annotations

import os
import stat

from ..errors import KernelError, StartFailed
from ..linux import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .context import Context

ENOENT, EACCES, ENOEXEC, ENOTDIR, ELOOP = 2, 13, 8, 20, 40


def execute(context: Context, arguments: list[str], init: bool) -> None:
    """exec(2) the program named by `arguments[0]`, found along PATH of the container's environment.

    With `init` this process stays as process 1: it starts the program as its child, passes signals on and reaps.
    Raises StartFailed with 127 when it is not found, 126 when it cannot be executed.
    """
    environment = context.environment
    environment.setdefault("HOME", context.home)
    name = arguments[0]
    if not name:
        raise StartFailed("the command is empty", 127)
    if "/" in name:
        candidates = [name]
    else:
        path = environment.get("PATH") or "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        candidates = [f"{directory or '.'}/{name}" for directory in path.split(":")]
    if init:
        from . import reaper

        reaper.stay(context)  # returns in the child only
    number = ENOENT
    for candidate in candidates:
        refuse_magic(candidate, name, context.uid)
        try:
            os.execve(candidate, arguments, environment)
        except OSError as error:
            if error.errno == ENOEXEC:
                raise StartFailed(f'exec: "{name}": exec format error', 126, _format_hint(candidate)) from None
            if error.errno not in (ENOENT, ENOTDIR):
                number = error.errno or EACCES
                if "/" not in name and number == EACCES:
                    continue
                break
            # The file is there, yet the kernel says it is not: its interpreter or loader is missing.
            if _exists(candidate):
                raise StartFailed(
                    f'exec: "{name}": no such file or directory',
                    127,
                    "the file exists but its interpreter (the #! line or the dynamic loader) does not",
                ) from None
        except ValueError as error:
            raise StartFailed(f"cannot execute {name!r}: {error}", 126) from None
    if number != ENOENT:
        raise StartFailed(f'exec: "{name}": {os.strerror(number).lower()}', 126)
    if "/" in name:
        raise StartFailed(f'exec: "{name}": stat {name}: no such file or directory', 127)
    raise StartFailed(f'exec: "{name}": executable file not found in $PATH', 127)


def refuse_magic(path: str, name: str, uid: int, depth: int = 5) -> None:
    """Raise StartFailed when a program, or the interpreter that its first line names, is reached by a magic link.

    /proc/self/exe is the host's interpreter as long as we are the process: executed with the image's own libraries it
    would hand the image a way to write to it (attacks RT-01). What is missing is left to the kernel to complain about.
    """
    try:
        fd = beneath.open_own(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError as error:
        if error.errno == ELOOP:
            raise StartFailed(f'exec: "{name}": it leads through a link of procfs or too many links', 126) from None
        if error.errno == EACCES and uid == 0 and os.access(path, os.X_OK):
            # Root without its capabilities may execute what it may not read; the kernel reads it for it.
            raise StartFailed(f'exec: "{name}": permission denied', 126) from None
        return
    try:
        head = os.read(fd, 256) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    if head[:2] == b"#!" and depth:
        words = head[2:].split(b"\n", 1)[0].split()
        if words:
            refuse_magic(os.fsdecode(words[0]), name, uid, depth - 1)


def _exists(path: str) -> bool:
    try:
        return not os.path.isdir(path) and os.access(path, os.F_OK)
    except OSError:
        return False


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


def _format_hint(path: str) -> str:
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError:
        return ""
    if head[:4] != b"\x7fELF":
        return "the file is neither a program of this kernel nor a script with a #! line"
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return f"the program is for {_MACHINES.get(machine, f'machine {machine}')}, this processor is {os.uname().machine}"
