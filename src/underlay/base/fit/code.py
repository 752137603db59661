"""What can be told from a program's machine code, or what its compiler notes of that: system calls, instructions."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .files import Files

_READ = 64 << 20  # bytes of a program
# The number of io_uring_setup, 425 on all architectures, put where the kernel wants it, and the call right behind it.
_IO_URING_SETUP = {
    "amd64": re.compile(rb"\xb8\xa9\x01\x00\x00.{0,24}?\x0f\x05", re.DOTALL),  # mov eax, 425 … syscall
    "arm64": re.compile(rb"\x28\x35\x80\xd2(?:.{4}){0,6}?\x01\x00\x00\xd4", re.DOTALL),  # mov x8, 425 … svc 0
}


def sets_up_io_uring(files: Files, path: bytes, architecture: str) -> bool:
    """Return whether a program calls io_uring_setup itself.

    False says nothing: a number that the program computes, or hands to a function, is not found.
    """
    pattern = _IO_URING_SETUP.get(architecture)
    return pattern is not None and pattern.search(files.part(path, 0, _READ)) is not None


def goamd64(files: Files, path: bytes) -> str:
    """Return the level of x86-64 that a program in Go was built for ("v1" to "v4"), "" for other programs.

    From v2 on its runtime checks at the start that the processor has that, and ends with 1 if not (runtime/asm_amd64.s).
    """
    from ...packages.languages import elf, go

    def part(offset: int, size: int) -> bytes:
        return files.part(path, offset, size)

    found = elf.sections(part)
    level = go.setting(part, found, "GOAMD64") if found is not None else ""
    return level if level in ("v1", "v2", "v3", "v4") else ""
