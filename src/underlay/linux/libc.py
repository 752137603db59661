"""The C library's handle, errno checks, and system calls by number."""

from __future__ import annotations

import ctypes
import os

from ..errors import KernelError

# PyDLL keeps the interpreter lock: these calls are short, and a raw clone must not lose it in the child.
handle = ctypes.PyDLL(None, use_errno=True)
_syscall = handle.syscall
_syscall.restype = ctypes.c_long

# System call numbers that the C libraries we meet do not wrap: (x86_64, the generic table of arm64 and riscv64).
_NUMBERS = {
    "clone": (56, 220),
    "pivot_root": (155, 41),
    "mount": (165, 40),
    "umount2": (166, 39),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "seccomp": (317, 277),
    "bpf": (321, 280),
    "capget": (125, 90),
    "capset": (126, 91),
    "prctl": (157, 167),
    "close_range": (436, 436),
    "openat2": (437, 437),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "clone3": (435, 435),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "prlimit64": (302, 261),
    "mknodat": (259, 33),
    "ioprio_set": (251, 30),
    "landlock_create_ruleset": (444, 444),
    "personality": (135, 92),
}
_COLUMN = 0 if os.uname().machine == "x86_64" else 1


def number(name: str) -> int:
    """Return the number of system call `name` on this machine."""
    return _NUMBERS[name][_COLUMN]


def syscall(name: str, *arguments: object) -> int:
    """Call the kernel and return its answer; -1 with `errno()` set when it refuses.

    Arguments are int (passed as long), bytes (as pointer), or ctypes values.
    """
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_syscall(ctypes.c_long(number(name)), *words))


def errno() -> int:
    """Return the error number of the last `syscall` that answered -1."""
    return ctypes.get_errno()


def check(operation: str, path: str, name: str, *arguments: object) -> int:
    """Call the kernel; raise KernelError naming `operation` and `path` when it refuses."""
    answer = syscall(name, *arguments)
    if answer < 0:
        raise KernelError(operation, path, ctypes.get_errno())
    return answer
