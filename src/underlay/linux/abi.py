"""What programs find on this host: processor, kernel, page size, supported ABIs, some settings."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Flags of /proc/cpuinfo that make a level of x86-64 (x86-64 psABI, "Processor specific levels").
LEVELS: dict[int, frozenset[str]] = {
    2: frozenset("cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3".split()),
    3: frozenset("avx avx2 bmi1 bmi2 f16c fma abm movbe xsave".split()),
    4: frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split()),
}
_SYSCTLS = ("kernel.io_uring_disabled", "vm.max_map_count", "kernel.apparmor_restrict_unprivileged_userns")


def level(flags: Iterable[str]) -> int:
    """Return the level of x86-64 that a processor with these flags has: 1 to 4."""
    there = set(flags)
    reached = 1
    for number, wanted in sorted(LEVELS.items()):
        if not wanted <= there:
            break
        reached = number
    return reached


def gather() -> dict[str, Any]:
    """Return facts that JSON can hold: `flags` of the processor, `cpu_architecture` (of ARM, 0 unknown), `page_size` in
    bytes, `vsyscall` (whether the page is there), `compat32` (whether programs of 32 bits run), `emulated` (architectures
    that binfmt_misc has interpreters for), `nf_tables`, `sysctls`."""
    flags, architecture = _processor()
    return {
        "flags": flags,
        "cpu_architecture": architecture,
        "page_size": os.sysconf("SC_PAGE_SIZE"),
        "vsyscall": "[vsyscall]" in _text("/proc/self/maps"),
        "compat32": _compat32(),
        "emulated": _emulated(),
        "nf_tables": os.path.exists("/proc/sys/net/netfilter") or os.path.isdir("/sys/module/nf_tables"),
        "sysctls": {name: text for name in _SYSCTLS if (text := _text(f"/proc/sys/{name.replace('.', '/')}").strip())},
    }


def _processor() -> tuple[list[str], int]:
    flags: list[str] = []
    architecture = 0
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features") and not flags:
            flags = sorted(value.split())
        if name.strip() == "CPU architecture" and value.strip().isdigit():
            architecture = int(value)
    return flags, architecture


# The smallest program of 32 bits: exit(0).
_PROGRAM = bytes.fromhex("31db89d840cd80")  # xor ebx, ebx; mov eax, ebx; inc eax; int 0x80


def _compat32() -> bool:
    """Tell whether the kernel runs programs of 32 bits: it is asked, since neither version nor settings say."""
    if os.uname().machine != "x86_64":
        return os.uname().machine in ("i386", "i686")
    import struct

    base, size = 0x08048000, 84 + len(_PROGRAM)
    head = b"\x7fELF\1\1\1" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, base + 84, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 4096)
    fd = os.memfd_create("underlay-probe", os.MFD_CLOEXEC)
    try:
        os.write(fd, head + segment + _PROGRAM)
        pid = os.posix_spawn(f"/proc/self/fd/{fd}", ["probe"], {})
        return os.waitpid(pid, 0)[1] == 0
    except OSError:
        return False
    finally:
        os.close(fd)


def _emulated() -> list[str]:
    architectures = []
    try:
        names = os.listdir("/proc/sys/fs/binfmt_misc")
    except OSError:
        return []
    known = {"aarch64": "arm64", "x86_64": "amd64", "i386": "386", "loongarch64": "loong64"}
    for name in names:
        machine = name.removeprefix("qemu-")
        if machine != name and "enabled" in _text(f"/proc/sys/fs/binfmt_misc/{name}"):
            architectures.append(known.get(machine, machine))
    return sorted(architectures)


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
