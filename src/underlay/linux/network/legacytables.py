"""The tables of iptables-legacy, which nf_tables knows nothing of: whether they drop what is forwarded.

They are read as the kernel has them (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h), and only where
something has loaded them: asking for one would.
"""

from __future__ import annotations

import _socket
import sys

from ...errors import KernelError
from .. import libc
from .rulesets import IPV4, IPV6

_LEVELS = {IPV4: _socket.IPPROTO_IP, IPV6: _socket.IPPROTO_IPV6}
_LOADED = {IPV4: "/proc/net/ip_tables_names", IPV6: "/proc/net/ip6_tables_names"}
_FAMILIES = {IPV4: _socket.AF_INET, IPV6: _socket.AF_INET6}
_INFO, _ENTRIES = 64, 65  # IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; the same for IPv6
_NAME, _HOOKS = 32, 5
_INFO_SIZE = _NAME + 4 * (1 + 2 * _HOOKS + 2)
_FORWARD = 2  # NF_INET_FORWARD
_HEAD = 40  # bytes of struct ipt_get_entries before its entries
# In an entry: where the names of interfaces are (in, out), and the offsets of its target and of the next entry.
_PLACES = {IPV4: ((16, 32), 88), IPV6: ((64, 80), 140)}
_INTERFACE = 16
_VERDICT = 32  # bytes of a target before what a standard one says
_DROP = -1  # -NF_DROP - 1


class LegacyForward:
    """What the table `filter` of a family does with packets that are forwarded: whether its policy drops them, and the
    names of interfaces in its rules."""

    __slots__ = ("drops", "interfaces")

    def __init__(self, drops: bool, interfaces: frozenset[str]) -> None:
        self.drops = drops
        self.interfaces = interfaces


def forward(family: int) -> LegacyForward | None:
    """Return it, for the network namespace of this thread; None where there is no such table. Raises KernelError."""
    try:
        with open(_LOADED[family], encoding="ascii") as file:
            if "filter" not in file.read().split():
                return None
    except OSError:
        return None  # this kernel has none, or this user must not know
    socket = _socket.socket(_FAMILIES[family], _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _socket.IPPROTO_RAW)
    try:
        info = _ask(socket.fileno(), family, _INFO, _INFO_SIZE)
        numbers = [int.from_bytes(info[at : at + 4], sys.byteorder) for at in range(_NAME, _INFO_SIZE, 4)]
        last, size = numbers[1 + _HOOKS + _FORWARD], numbers[-1]
        entries = _ask(socket.fileno(), family, _ENTRIES, _HEAD + size, size)[_HEAD:]
    finally:
        socket.close()
    places, offsets = _PLACES[family]
    target = last + int.from_bytes(entries[last + offsets : last + offsets + 2], sys.byteorder) + _VERDICT
    verdict = int.from_bytes(entries[target : target + 4], sys.byteorder, signed=True)
    names = set()
    at = 0
    while at < size:
        for place in places:
            name = entries[at + place : at + place + _INTERFACE].rstrip(b"\0")
            names.add(name.decode("utf-8", "surrogateescape"))
        length = int.from_bytes(entries[at + offsets + 2 : at + offsets + 4], sys.byteorder)
        if not length:
            break  # no table is like that
        at += length
    return LegacyForward(verdict == _DROP, frozenset(names))


def _ask(fd: int, family: int, option: int, size: int, entries: int = 0) -> bytes:
    ctypes = libc.load()
    head = b"filter".ljust(_NAME, b"\0") + entries.to_bytes(4, sys.byteorder)
    buffer = ctypes.create_string_buffer(head, size) if size > len(head) else ctypes.create_string_buffer(head)
    length = ctypes.c_uint32(size)
    if libc.syscall("getsockopt", fd, _LEVELS[family], option, buffer, ctypes.byref(length)) < 0:
        raise KernelError("getsockopt", "iptables-legacy", libc.errno())
    return bytes(buffer.raw)
