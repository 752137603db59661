"""Seccomp: rules of the OCI runtime specification become a BPF program; an interpreter for tests; loading.

Each architecture's section is a decision tree over ranges of call numbers, so a call costs about log2(ranges)
comparisons whatever the length of the list (seccomp(2), bpf(4)).
"""

from __future__ import annotations

import os

from ...errors import InvalidInput, KernelError
from .. import libc

SECCOMP_SET_MODE_FILTER = 1
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": 8,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
NEW_LISTENER = 8
OF_LISTENERS = NEW_LISTENER | 32  # flags that mean nothing without a listener
RET_KILL_PROCESS = 0x80000000
RET_ERRNO = 0x00050000
RET_ALLOW = 0x7FFF0000
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": RET_KILL_PROCESS,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": RET_ERRNO,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": RET_ALLOW,
}
# OCI architecture → (AUDIT_ARCH_*, ABI of linux.tables). x32 shares the audit number of x86-64.
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": (0xC000003E, "x86_64"),
    "SCMP_ARCH_X86": (0x40000003, "x86"),
    "SCMP_ARCH_X32": (0xC000003E, "x32"),
    "SCMP_ARCH_AARCH64": (0xC00000B7, "aarch64"),
    "SCMP_ARCH_ARM": (0x40000028, "arm"),
}
NATIVE = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
EPERM, ENOSYS = 1, 38
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")

# bpf(4) opcodes: load word absolute, compare and jump, return.
_LD, _JEQ, _JGT, _JGE, _JA, _AND, _RET = 0x20, 0x15, 0x25, 0x35, 0x05, 0x54, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16
_LIMIT = 4096  # BPF_MAXINSNS

Instruction = tuple[int, int, int, int]
# (argument, comparison, value, second value); a leaf holds alternatives of conjunctions.
Test = tuple[int, str, int, int]
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..specification import CallRule, Seccomp

    Leaf = tuple[tuple[tuple[tuple[Test, ...], int], ...], int]


def machine(architecture: str) -> str:
    """Return what uname(2) says of a processor that images call `architecture`; "" stays."""
    return _MACHINES.get(architecture, architecture)


def flags_of(profile: Seccomp | None) -> int:
    """Return the flags of seccomp(2) that an OCI `linux.seccomp` object asks for; raises InvalidInput."""
    bits = 0
    for position, name in enumerate((profile or {}).get("flags") or []):
        if name not in FLAGS or FLAGS[name] == NEW_LISTENER:
            raise InvalidInput(f"linux.seccomp.flags[{position}]: unknown flag {name!r}")
        bits |= FLAGS[name]
    # The process that installs the filter has one thread, so that TSYNC, which a listener forbids, is not needed.
    return bits & ~FLAGS["SECCOMP_FILTER_FLAG_TSYNC"]


def action_value(name: str, errno_value: int | None, where: str) -> int:
    """Return the filter's return value for an OCI action; raises InvalidInput naming `where`."""
    if name not in ACTIONS:
        raise InvalidInput(f"{where}: unknown seccomp action {name!r}")
    value = ACTIONS[name]
    if name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"):
        return value | ((EPERM if errno_value is None else errno_value) & 0xFFFF)
    if errno_value is not None and errno_value != 0:
        raise InvalidInput(f"{where}: errnoRet needs SCMP_ACT_ERRNO or SCMP_ACT_TRACE")
    return value


def compile_filter(profile: Seccomp, machine: str = "") -> bytes:
    """Return the BPF program of an OCI `linux.seccomp` object (config-linux, "Seccomp"), 8 bytes an instruction.

    Names without a number on an architecture are skipped there. Numbers above all that our tables know answer ENOSYS
    when the default is an errno, so that newer C libraries fall back. Raises InvalidInput with the JSON path.
    """
    from . import tables  # large, and needed only here

    machine = machine or os.uname().machine
    default = action_value(
        profile.get("defaultAction", ""), profile.get("defaultErrnoRet"), "linux.seccomp.defaultAction"
    )
    architectures = list(profile.get("architectures") or [])
    for native in NATIVE.get(machine, ())[:1]:
        # libseccomp, too, always knows the processor's own calls: a filter without them would kill every program.
        if native not in architectures:
            architectures.insert(0, native)
    for name in architectures:
        if name not in ARCHITECTURES and not name.startswith("SCMP_ARCH_"):
            raise InvalidInput(f"linux.seccomp.architectures: unknown architecture {name!r}")
    by_audit: dict[int, dict[int, Leaf]] = {}
    highest: dict[int, list[tuple[int, int]]] = {}
    for name in architectures:
        if name not in ARCHITECTURES:
            continue  # another processor's: no call of it can arrive here
        audit, abi = ARCHITECTURES[name]
        numbers = tables.numbers(abi)
        by_audit.setdefault(audit, {}).update(_leaves(profile.get("syscalls") or [], numbers, default))
        unknown_from = max(n for n in numbers.values() if n < 0x0F0000 or n >= tables.X32_SYSCALL_BIT) + 1
        unknown_to = 0x0F0000 if unknown_from < 0x0F0000 else 1 << 32
        highest.setdefault(audit, []).append((unknown_from, unknown_to))
    if not by_audit:
        raise InvalidInput(f"linux.seccomp.architectures: none of them is this processor's ({machine})")
    sections = []
    for audit, leaves in by_audit.items():
        ranges = _ranges(leaves, default)
        if default & 0xFFFF0000 == RET_ERRNO:
            for low, high in highest[audit]:
                ranges = _override(ranges, low, high, ((), RET_ERRNO | ENOSYS))
        if audit == ARCHITECTURES["SCMP_ARCH_X32"][0] and "SCMP_ARCH_X32" not in architectures:
            # x32 calls come under the same name: not listed, they are another architecture's, as for libseccomp. Else
            # each call that a profile refuses could be made by its second number.
            ranges = _override(ranges, tables.X32_SYSCALL_BIT, 1 << 32, ((), RET_KILL_PROCESS))
        sections.append((audit, [(_LD, 0, 0, _NR)] + _tree(ranges)))
    program: list[Instruction] = [(_LD, 0, 0, _ARCH)]
    for audit, code in sections:
        # Not this architecture: jump over its section. A far jump, since sections are longer than 255.
        program += [(_JEQ, 1, 0, audit), (_JA, 0, 0, len(code))]
        program += code
    program.append((_RET, 0, 0, RET_KILL_PROCESS))
    if len(program) > _LIMIT:
        raise InvalidInput(f"linux.seccomp: the filter has {len(program)} instructions, the kernel takes {_LIMIT}")
    return b"".join(
        code.to_bytes(2, "little") + bytes((jt, jf)) + k.to_bytes(4, "little") for code, jt, jf, k in program
    )


def _leaves(rules: list[CallRule], numbers: dict[str, int], default: int) -> dict[int, Leaf]:
    """Return what each call number leads to: alternatives in the order of the rules, and what else happens."""
    plain: dict[int, int] = {}
    tested: dict[int, list[tuple[tuple[Test, ...], int]]] = {}
    for position, rule in enumerate(rules):
        where = f"linux.seccomp.syscalls[{position}]"
        value = action_value(rule.get("action", ""), rule.get("errnoRet"), where)
        tests: list[Test] = []
        for argument in rule.get("args") or []:
            operator = str(argument.get("op", "")).removeprefix("SCMP_CMP_")
            index = argument.get("index", -1)
            if operator not in OPERATORS:
                raise InvalidInput(f"{where}.args: unknown comparison {argument.get('op')!r}")
            if not isinstance(index, int) or not 0 <= index <= 5:
                raise InvalidInput(f"{where}.args: index must be 0 to 5")
            tests.append((index, operator, int(argument.get("value", 0)), int(argument.get("valueTwo", 0))))
        # All tests of a rule must hold; but when it tests one argument twice, which libseccomp cannot express, runc and
        # crun take each test as a rule of its own. Profiles that list what is forbidden rely on that.
        once = len({test[0] for test in tests}) == len(tests)
        alternatives = [tuple(tests)] if once else [(test,) for test in tests]
        for name in rule.get("names") or []:
            number = numbers.get(name)
            if number is None:
                continue
            if tests:
                tested.setdefault(number, []).extend((alternative, value) for alternative in alternatives)
            elif value != default or number not in plain:
                plain[number] = value
    leaves: dict[int, Leaf] = {}
    for number in plain.keys() | tested.keys():
        if number in plain:
            leaves[number] = ((), plain[number])
        else:
            leaves[number] = (tuple(tested[number]), default)
    return leaves


def _ranges(leaves: dict[int, Leaf], default: int) -> list[tuple[int, Leaf]]:
    """Return (first number, leaf) for consecutive ranges covering all numbers from 0."""
    other: Leaf = ((), default)
    ranges: list[tuple[int, Leaf]] = [(0, other)]
    for number in sorted(leaves):
        if ranges[-1][0] == number:
            ranges[-1] = (number, leaves[number])
        else:
            ranges.append((number, leaves[number]))
        ranges.append((number + 1, other))
    return _merged(ranges)


def _merged(ranges: list[tuple[int, Leaf]]) -> list[tuple[int, Leaf]]:
    result: list[tuple[int, Leaf]] = []
    for start, leaf in ranges:
        if not result or result[-1][1] != leaf:
            result.append((start, leaf))
    return result


def _override(ranges: list[tuple[int, Leaf]], low: int, high: int, leaf: Leaf) -> list[tuple[int, Leaf]]:
    """Return `ranges` with [low, high) leading to `leaf`."""
    before = [r for r in ranges if r[0] < low]
    inside = [r for r in ranges if r[0] <= high]
    after = [r for r in ranges if r[0] > high]
    result = before + [(low, leaf)]
    if high < 1 << 32:
        result.append((high, inside[-1][1]))
    return _merged(result + after)


def _tree(ranges: list[tuple[int, Leaf]]) -> list[Instruction]:
    if len(ranges) == 1:
        return _leaf_code(ranges[0][1])
    middle = len(ranges) // 2
    left, right = _tree(ranges[:middle]), _tree(ranges[middle:])
    pivot = ranges[middle][0]
    if len(left) <= 255:
        return [(_JGE, len(left), 0, pivot)] + left + right
    return [(_JGE, 0, 1, pivot), (_JA, 0, 0, len(left))] + left + right


def _leaf_code(leaf: Leaf) -> list[Instruction]:
    alternatives, otherwise = leaf
    code: list[Instruction] = []
    for tests, value in alternatives:
        block: list[Instruction] = [(_RET, 0, 0, value)]
        for test in reversed(tests):
            block = _test_code(test, len(block)) + block
        code += block
    return code + [(_RET, 0, 0, otherwise)]


def _test_code(test: Test, skip: int) -> list[Instruction]:
    """Return code that falls through when the 64-bit test holds and else jumps over `skip` instructions more."""
    index, operator, value, second = test
    low_at, high_at = _ARGUMENTS + 8 * index, _ARGUMENTS + 8 * index + 4
    low, high = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    if operator == "MASKED_EQ":
        # value is the mask, valueTwo what must remain.
        want_low, want_high = second & 0xFFFFFFFF, second >> 32 & 0xFFFFFFFF
        return [
            (_LD, 0, 0, high_at),
            (_AND, 0, 0, high),
            (_JEQ, 0, 3 + skip, want_high),
            (_LD, 0, 0, low_at),
            (_AND, 0, 0, low),
            (_JEQ, 0, skip, want_low),
        ]
    if operator == "EQ":
        return [(_LD, 0, 0, high_at), (_JEQ, 0, 2 + skip, high), (_LD, 0, 0, low_at), (_JEQ, 0, skip, low)]
    if operator == "NE":
        return [(_LD, 0, 0, high_at), (_JEQ, 0, 2, high), (_LD, 0, 0, low_at), (_JEQ, skip, 0, low)]
    above = operator in ("GT", "GE")
    compare = _JGT if operator in ("GT", "LE") else _JGE
    # The high words decide unless they are equal.
    if above:
        return [
            (_LD, 0, 0, high_at),
            (_JGT, 3, 0, high),
            (_JEQ, 0, 2 + skip, high),
            (_LD, 0, 0, low_at),
            (compare, 0, skip, low),
        ]
    return [
        (_LD, 0, 0, high_at),
        (_JGT, 3 + skip, 0, high),
        (_JEQ, 0, 2, high),
        (_LD, 0, 0, low_at),
        (compare, skip, 0, low),
    ]


def interpret(program: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """Return what `program` answers to a call: a model of the kernel's interpreter, for tests and for explaining."""
    words = [number, audit, 0, 0]
    for index in range(6):
        value = arguments[index] if index < len(arguments) else 0
        words += [value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF]
    accumulator = position = 0
    while True:
        at = position * 8
        code = int.from_bytes(program[at : at + 2], "little")
        jt, jf = program[at + 2], program[at + 3]
        k = int.from_bytes(program[at + 4 : at + 8], "little")
        position += 1
        if code == _RET:
            return k
        if code == _LD:
            accumulator = words[k // 4]
        elif code == _AND:
            accumulator &= k
        elif code == _JA:
            position += k
        elif code == _JEQ:
            position += jt if accumulator == k else jf
        elif code == _JGT:
            position += jt if accumulator > k else jf
        elif code == _JGE:
            position += jt if accumulator >= k else jf
        else:
            raise ValueError(f"unknown instruction {code:#x}")


def load(program: bytes, flags: int = 0) -> int:
    """Put `program` on this thread for ever; returns the listener with SECCOMP_FILTER_FLAG_NEW_LISTENER, else 0.

    Needs CAP_SYS_ADMIN or no_new_privs. Raises KernelError.
    """
    ctypes = libc.load()
    buffer = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: a short, padding, a pointer.
    header = libc.words(8, len(program) // 8, ctypes.addressof(buffer))
    answer = libc.syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, header)
    if answer < 0:
        raise KernelError("seccomp", "", libc.errno())
    return answer
