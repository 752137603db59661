"""System calls by number through the C library, errno checks, and structures as bytes.

ctypes is loaded at the first call: those who only name constants, or only compose plans, need not wait for it.
"""

from __future__ import annotations

import os
import sys

from ..errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ctypes: Any = None
_syscall: Any = None

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
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "rt_sigprocmask": (14, 135),
    "ioctl": (16, 29),
    "recvfrom": (45, 207),
    "setsockopt": (54, 208),
    "getsockopt": (55, 209),
    "sendmsg": (46, 211),
    "getpid": (39, 172),
    "execve": (59, 221),
    "fcntl": (72, 25),
    "chdir": (80, 49),
    "fchdir": (81, 50),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setgroups": (116, 159),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "exit_group": (231, 94),
    "personality": (135, 92),
    "sched_setattr": (314, 274),
    "chroot": (161, 51),
    "fstatfs": (138, 44),
    "inotify_init1": (294, 26),
    "inotify_add_watch": (254, 27),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "finit_module": (313, 273),
    "quotactl_fd": (443, 443),
}
MACHINE = os.uname().machine  # read once: personality(2) makes the kernel tell another
_COLUMN = 0 if MACHINE == "x86_64" else 1


def number(name: str) -> int:
    """Return the number of system call `name` on this machine."""
    return _NUMBERS[name][_COLUMN]


def load() -> Any:
    """Load ctypes and the C library now, and return ctypes: for processes that are about to lose their files."""
    global _ctypes, _syscall
    if _ctypes is None:
        import ctypes

        # PyDLL keeps the interpreter lock: these calls are short, and a raw clone must not lose it in the child.
        _syscall = ctypes.PyDLL(None, use_errno=True).syscall
        _syscall.restype = ctypes.c_long
        _ctypes = ctypes
    return _ctypes


def syscall(name: str, *arguments: object) -> int:
    """Call the kernel and return its answer; -1 with `errno()` set when it refuses.

    Arguments are int (passed as long), bytes (as pointer to their content, which the kernel must only read), or values
    of ctypes.
    """
    return call(number(name), *arguments)


def call(number: int, *arguments: object) -> int:
    """Call the kernel by number; see `syscall`."""
    long = (_ctypes or load()).c_long
    words = [long(a) if isinstance(a, int) else a for a in arguments]
    return int(_syscall(long(number), *words))


def words(size: int, *numbers: int) -> bytes:
    """Return numbers as unsigned integers of `size` bytes each, one after the other: most structures of the kernel."""
    mask = (1 << 8 * size) - 1
    return b"".join((number & mask).to_bytes(size, sys.byteorder) for number in numbers)


def errno() -> int:
    """Return the error number of the last `syscall` that answered -1."""
    return int(_ctypes.get_errno())


def check(operation: str, path: str, name: str, *arguments: object) -> int:
    """Call the kernel; raise KernelError naming `operation` and `path` when it refuses."""
    answer = syscall(name, *arguments)
    if answer < 0:
        raise KernelError(operation, path, _ctypes.get_errno())
    return answer
