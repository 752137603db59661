"""The last step: from our process to the container's program."""

from __future__ import annotations

import os

from ..errors import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ops import Context

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
