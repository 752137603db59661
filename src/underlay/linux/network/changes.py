"""News of nf_tables: a socket that becomes readable when a program changes tables, chains or takes rules away."""

from __future__ import annotations

import _socket
import sys

from .. import libc
from .netlink import NETFILTER

_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP = 270, 1, 7  # linux/netlink.h; NFNLGRP_NFTABLES, linux/netfilter/nfnetlink.h
_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, socket(7)
_SUBSYSTEM = 10 << 8
# New rules, changed elements of sets and the number of the generation (linux/netfilter/nf_tables.h): they come with each
# container of anybody, and take nothing away.
_IGNORED = (6, 12, 14, 15)
_LOAD, _IS, _RETURN = 0x28, 0x15, 0x06  # BPF: a half word of the packet, is it equal to, end (linux/filter.h)


def subscribe() -> int:
    """Return such a socket, a descriptor, for the network namespace of this thread. Raises KernelError, OSError."""
    socket = _socket.socket(
        _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK, NETFILTER
    )
    try:
        _attach(socket.fileno())
        socket.bind((0, 0))
        socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        return socket.detach()
    except BaseException:
        socket.close()
        raise


def _attach(fd: int) -> None:
    """Have the kernel leave out what begins with a message of no interest."""
    # The kind of a message is behind its length, in the host's order; BPF reads in that of the network.
    kinds = [int.from_bytes((_SUBSYSTEM | kind).to_bytes(2, sys.byteorder), "big") for kind in _IGNORED]
    program = [(_LOAD, 0, 0, 4)]
    program += [(_IS, len(kinds) - at, 0, kind) for at, kind in enumerate(kinds)]
    program += [(_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
    data = b"".join(
        code.to_bytes(2, sys.byteorder) + bytes((yes, no)) + value.to_bytes(4, sys.byteorder)
        for code, yes, no, value in program
    )
    ctypes = libc.load()
    code = ctypes.create_string_buffer(data, len(data))
    filter_program = len(program).to_bytes(2, sys.byteorder) + bytes(6) + libc.words(8, ctypes.addressof(code))
    libc.check(
        "setsockopt", "SO_ATTACH_FILTER", "setsockopt", fd, _socket.SOL_SOCKET, _ATTACH_FILTER, filter_program, 16
    )
