"""The list of devices under version 2: a BPF program of type CGROUP_DEVICE, made and attached by us (bpf(2))."""

from __future__ import annotations

import os
import sys

from ...errors import KernelError
from .. import libc
from .devicerules import v2_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..specification import DeviceRule

_BPF_PROG_LOAD, _BPF_PROG_ATTACH, _BPF_PROG_DETACH, _BPF_PROG_GET_FD_BY_ID, _BPF_PROG_QUERY = 5, 8, 9, 13, 16
_BPF_PROG_TYPE_CGROUP_DEVICE, _BPF_CGROUP_DEVICE = 15, 6
_BPF_F_ALLOW_MULTI, _BPF_F_REPLACE = 2, 4
_MOST_PROGRAMS = 64  # that a group can have attached (kernel: BPF_CGROUP_MAX_PROGS)
EPERM = 1
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# eBPF opcodes (kernel: bpf/standardization/instruction-set).
_LDX_W, _MOV_K, _MOV_X, _AND_K, _RSH_K, _JNE_K, _JNE_X, _EXIT = 0x61, 0xB7, 0xBF, 0x57, 0x77, 0x55, 0x5D, 0x95


def _instruction(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return (
        bytes((code, target | source << 4))
        + (offset & 0xFFFF).to_bytes(2, "little")
        + (immediate & 0xFFFFFFFF).to_bytes(4, "little")
    )


def program(rules: list[DeviceRule]) -> bytes:
    """Return the program for OCI device rules: the last rule that matches an access decides; none refuses.

    The context is struct bpf_cgroup_dev_ctx: access_type (type in the low, access in the high half), major, minor.
    """
    code = [
        _instruction(_LDX_W, 2, 1, 0),  # r2 = access_type
        _instruction(_MOV_X, 3, 2),
        _instruction(_RSH_K, 3, immediate=16),  # r3 = access
        _instruction(_AND_K, 2, immediate=0xFFFF),  # r2 = type
        _instruction(_LDX_W, 4, 1, 4),  # r4 = major
        _instruction(_LDX_W, 5, 1, 8),  # r5 = minor
    ]
    ended = False
    for rule in reversed(rules):
        tests: list[bytes] = []
        kind = rule.get("type") or "a"
        allow = bool(rule.get("allow"))
        answer = [_instruction(_MOV_K, 0, immediate=int(allow)), _instruction(_EXIT)]
        if kind == "a":
            code += answer
            ended = True
            break
        access = sum(_ACCESS[letter] for letter in set(rule.get("access") or "rwm"))
        tests.append(_instruction(_JNE_K, 2, immediate=_TYPES[kind]))
        if access != 7:
            # Allowed when nothing beyond the rule's access is asked for.
            tests.append(_instruction(_MOV_X, 6, 3))
            tests.append(_instruction(_AND_K, 6, immediate=access))
            tests.append(_instruction(_JNE_X, 6, 3) if allow else _instruction(0x15, 6, immediate=0))
        for register, number in ((4, rule.get("major")), (5, rule.get("minor"))):
            if number is not None and number >= 0:
                tests.append(_instruction(_JNE_K, register, immediate=number))
        total = len(tests) + len(answer)
        for position, test in enumerate(tests):
            if test[0] in (_JNE_K, _JNE_X, 0x15):
                distance = total - position - 1
                tests[position] = test[:2] + distance.to_bytes(2, "little") + test[4:]
        code += tests + answer
    if not ended:
        code += [_instruction(_MOV_K, 0, immediate=0), _instruction(_EXIT)]
    return b"".join(code)


def attach_rules(directory: str, rules: list[DeviceRule]) -> None:
    """Load the program of OCI rules and put it in the place of those that the group at `directory` has.

    At no moment the group is without one. Raises KernelError, InvalidInput.
    """
    code = program(v2_rules(rules))
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fds = [group]
    try:
        loaded = _load(directory, code)
        fds.append(loaded)
        old = [_descriptor(directory, number) for number in _attached(directory, group)]
        fds += old
        if len(old) == 1:
            _command(directory, _BPF_PROG_ATTACH, group, loaded, _BPF_F_ALLOW_MULTI | _BPF_F_REPLACE, old[0])
            return
        _command(directory, _BPF_PROG_ATTACH, group, loaded, _BPF_F_ALLOW_MULTI, 0)
        for fd in old:
            _command(directory, _BPF_PROG_DETACH, group, fd, 0, 0)
    finally:
        for fd in fds:
            os.close(fd)


def _load(directory: str, code: bytes) -> int:
    ctypes = libc.load()
    buffer = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    # union bpf_attr for BPF_PROG_LOAD: type, count, instructions, licence; the rest is zero.
    load = libc.words(4, _BPF_PROG_TYPE_CGROUP_DEVICE, len(code) // 8)
    load += libc.words(8, ctypes.addressof(buffer), ctypes.addressof(licence), *[0] * 6)
    try:
        return libc.check("load the device filter for", directory, "bpf", _BPF_PROG_LOAD, load, len(load))
    except KernelError as error:
        if error.errno != EPERM:
            raise
    # Before Linux 5.11 programs count to the limit of locked memory, which many containers fill.
    import resource

    before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        return libc.check("load the device filter for", directory, "bpf", _BPF_PROG_LOAD, load, len(load))
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, before)


def _command(directory: str, command: int, group: int, fd: int, flags: int, replaced: int) -> None:
    """Attach or detach: target_fd, attach_bpf_fd, attach_type, attach_flags, replace_bpf_fd (Linux 5.6)."""
    attachment = libc.words(4, group, fd, _BPF_CGROUP_DEVICE, flags, replaced, 0, 0, 0)
    libc.check("attach the device filter to", directory, "bpf", command, attachment, len(attachment))


def _attached(directory: str, group: int) -> list[int]:
    """Return the numbers of the programs that a group has of its own (BPF_PROG_QUERY)."""
    ctypes = libc.load()
    numbers = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    # target_fd, attach_type, query_flags, attach_flags; prog_ids; prog_cnt, which the kernel writes.
    content = libc.words(4, group, _BPF_CGROUP_DEVICE, 0, 0) + libc.words(8, ctypes.addressof(numbers))
    content += libc.words(4, _MOST_PROGRAMS) + bytes(36)
    query = ctypes.create_string_buffer(content, len(content))
    libc.check("look for the device filter of", directory, "bpf", _BPF_PROG_QUERY, query, len(content))
    return list(numbers[: int.from_bytes(query.raw[24:28], sys.byteorder)])


def _descriptor(directory: str, number: int) -> int:
    wanted = libc.words(4, number, 0, 0, 0)
    return libc.check("open the device filter of", directory, "bpf", _BPF_PROG_GET_FD_BY_ID, wanted, len(wanted))
