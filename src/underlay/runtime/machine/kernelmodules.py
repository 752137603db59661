"""The kernel modules of a machine: a child of its first process loads them while the agent is being imported.

Both take long on an emulated processor, and machines have more than one, unless the container has not.
"""

from __future__ import annotations

import os

from ...errors import KernelError, UnderlayError
from ...linux import libc

DIRECTORY = "/modules"  # in the initrd: the modules, and `order`, their names as they are to be loaded
# On the kernel's command line: modules that are not loaded. The kernel hands words that it does not know, and which have no
# dot, to its first process as environment (admin-guide/kernel-parameters).
WITHOUT = "underlay_without"
_THERE = 17  # errno of a module that is loaded, or built in


def begin() -> int:
    """Start to load the modules; returns the pid of the child that does."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        _load_all()
        code = 0
    except (UnderlayError, OSError) as error:
        os.write(2, f"agent: {error}\n".encode())
    finally:
        os._exit(code)


def finish(pid: int) -> None:
    """Wait for the child to end. Raises UnderlayError when it could not load them all."""
    if os.waitpid(pid, 0)[1]:
        raise UnderlayError("the kernel's modules could not be loaded")


def _load_all() -> None:
    with open(f"{DIRECTORY}/order", encoding="ascii") as file:
        names = file.read().split()
    without = os.environ.get(WITHOUT, "").split(",")
    for name in names:
        if name not in without:
            _load(f"{DIRECTORY}/{name}.ko")


def _load(path: str) -> None:
    """Load a kernel module (finit_module(2))."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.syscall("finit_module", fd, b"", 0) < 0 and libc.errno() != _THERE:
            raise KernelError("load module", path, libc.errno())
    finally:
        os.close(fd)
