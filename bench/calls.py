"""What a system call costs in a container: a loop of getppid, under each engine's default filter and under none."""

from __future__ import annotations

import platform
from pathlib import Path

from bench.harness import Contender, timed

COUNT = 3_000_000
ROUNDS = 5


def program(path: Path) -> None:
    """Write a static x86-64 program that calls getppid as often as its only argument's length says, in millions.

    An ELF header, one loadable segment, and: argv[1] is measured, then `mov eax,110; syscall` is repeated.
    """
    code = bytes.fromhex(
        "488b5c2410"  # mov rbx, [rsp+16]      argv[1]
        "31d2"  # xor edx, edx
        "803c1300"  # cmp byte [rbx+rdx], 0
        "7405"  # je +5
        "48ffc2"  # inc rdx
        "ebf5"  # jmp -11
        "4869c240420f00"  # imul rax, rdx, 1000000
        "4889c3"  # mov rbx, rax
        "4885db"  # test rbx, rbx
        "740c"  # je +12
        "b86e000000"  # mov eax, 110            getppid
        "0f05"  # syscall
        "48ffcb"  # dec rbx
        "ebef"  # jmp -17
        "b83c000000"  # mov eax, 60             exit
        "31ff"  # xor edi, edi
        "0f05"  # syscall
    )
    base, header = 0x400000, 64 + 56
    words = b"\x7fELF\x02\x01\x01" + bytes(9)
    words += (2).to_bytes(2, "little") + (62).to_bytes(2, "little") + (1).to_bytes(4, "little")
    words += (base + header).to_bytes(8, "little") + (64).to_bytes(8, "little") + bytes(8) + bytes(4)
    words += b"".join(n.to_bytes(2, "little") for n in (64, 56, 1, 0, 0, 0))
    words += (1).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes(8)
    words += (
        base.to_bytes(8, "little") * 2 + (header + len(code)).to_bytes(8, "little") * 2 + (0x1000).to_bytes(8, "little")
    )
    path.write_bytes(words + code)
    path.chmod(0o755)


def cost(contenders: list[tuple[str, list[str], dict[str, str]]]) -> list[str]:
    """Return a line for each (name, command that runs the program, environment): ns of one call, least of some rounds."""
    if platform.machine() != "x86_64":
        return ["system calls: the program of this measurement is for x86-64"]
    lines = []
    for name, command, environment in contenders:
        try:
            idle = min(timed(Contender(name, [*command, ""], None, environment)) for _ in range(ROUNDS))
            busy = min(timed(Contender(name, [*command, "xxx"], None, environment)) for _ in range(ROUNDS))
        except (RuntimeError, OSError) as error:
            lines.append(f"a getppid in a container, {name}: not measured ({error})")
            continue
        lines.append(f"a getppid in a container, {name}: {(busy - idle) / COUNT * 1e9:.0f} ns")
    return lines
