"""Subnets of networks: read, chosen so that the host's routes are left alone, and addresses within them.

Addresses are numbers here; `ipaddress` would do, and takes longer to import than a container's network to be made.
"""

from __future__ import annotations

import _socket

from ..errors import Conflict, InvalidInput
from ..human import whole
from .ports import address_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# What no host on a network has (RFC 6890; RFC 5771 and 4291 for multicast).
_OTHERS = (
    ("0.0.0.0/8", "means this network"),
    ("127.0.0.0/8", "is loopback"),
    ("224.0.0.0/4", "is for multicast"),
    ("::/127", "is loopback"),
    ("::ffff:0:0/96", "means addresses of IPv4"),
    ("ff00::/8", "is for multicast"),
)


class Subnet:
    """A range of addresses: `start` (number), `prefix` (bits), `bits` (32 or 128)."""

    __slots__ = ("bits", "prefix", "start")

    def __init__(self, start: int, prefix: int, bits: int = 32) -> None:
        self.start = start
        self.prefix = prefix
        self.bits = bits

    @property
    def size(self) -> int:
        """How many addresses there are."""
        return 1 << (self.bits - self.prefix)

    @property
    def end(self) -> int:
        """The number behind the last address."""
        return self.start + self.size

    def overlaps(self, other: Subnet) -> bool:
        """Return whether the subnets overlap."""
        return self.bits == other.bits and self.start < other.end and other.start < self.end

    def holds(self, address: int) -> bool:
        """Return whether an address is in the subnet."""
        return self.start <= address < self.end

    def wire(self, address: int) -> bytes:
        """Return an address as on the wire."""
        return address.to_bytes(self.bits // 8, "big")

    def written(self, address: int) -> str:
        """Return an address as text."""
        return text_of(self.wire(address))

    def __str__(self) -> str:
        return f"{self.written(self.start)}/{self.prefix}"

    def usable(self, address: int) -> bool:
        """Return whether a host can have an address: not the network address, nor the IPv4 broadcast address."""
        if not self.holds(address):
            return False
        if self.size <= 2:
            return True
        return address != self.start and (self.bits != 32 or address != self.end - 1)


def text_of(address: bytes) -> str:
    """Return an address of the wire as text."""
    return _socket.inet_ntop(_socket.AF_INET if len(address) == 4 else _socket.AF_INET6, address)


def parse_address(text: str) -> bytes:
    """Return an address as on the wire. Raises InvalidInput."""
    data = address_bytes(text)
    if data is None:
        raise InvalidInput(f"{text!r} is not an IP address")
    return data


def number_of(text: str, subnet: Subnet | None = None, what: str = "address") -> int:
    """Return the number of an address; with `subnet` it must be usable there. Raises InvalidInput."""
    data = address_bytes(text)
    if data is None:
        raise InvalidInput(f"invalid {what}: {text!r} is not an IP address")
    number = int.from_bytes(data, "big")
    if subnet is not None and (len(data) * 8 != subnet.bits or not subnet.usable(number)):
        raise InvalidInput(f"invalid {what}: {text} is not a host address of subnet {subnet}")
    return number


def parse(text: str, what: str = "subnet") -> Subnet:
    """Return the subnet that `address/prefix` means. Raises InvalidInput."""
    address, slash, prefix = text.partition("/")
    data = address_bytes(address)
    if data is None or not slash or not 0 <= whole(prefix) <= len(data) * 8:
        raise InvalidInput(f"invalid {what}: {text!r}", "write it as 10.1.0.0/16 or fd00:1::/64")
    bits = len(data) * 8
    size = 1 << (bits - int(prefix))
    number = int.from_bytes(data, "big")
    start = number & ~(size - 1)
    subnet = Subnet(start, int(prefix), bits)
    if start != number:
        raise InvalidInput(f"invalid {what} {text}: it should be {subnet}")
    return subnet


def check(space: Subnet) -> None:
    """Refuse a subnet that has no two addresses for hosts, or in which are some that the kernel gives to none.

    Raises InvalidInput.
    """
    if space.size < 2:
        raise InvalidInput(f"invalid subnet {space}: it has no room for a gateway and a container")
    for text, what in _OTHERS:
        if space.overlaps(parse(text)):
            raise InvalidInput(f"invalid subnet {space}: {text} {what}")


def choose(taken: Iterable[Subnet], pools: Iterable[tuple[Subnet, int]]) -> Subnet | None:
    """Return the first subnet of the pools that overlaps with none that is taken, None when there is none.

    A pool is a range of IPv4 and the prefix of the subnets that it is cut into, at most its own.
    """
    occupied = [subnet for subnet in taken if subnet.bits == 32]
    for pool, size in pools:
        address = pool.start
        while address < pool.end:
            candidate = Subnet(address, size)
            other = next((subnet for subnet in occupied if candidate.overlaps(subnet)), None)
            if other is None:
                return candidate
            # Behind what is in the way, however many subnets that is.
            address = max(candidate.end, other.end + -other.end % candidate.size)
    return None


def next_free(within: Subnet, subnet: Subnet, used: Collection[int], last: int) -> int:
    """Return the first usable address of `within` (a part of `subnet`) after `last` that is not used; raises Conflict.

    Addresses are gone through in turn, so that an address that was just given back is not soon given to another container.
    """
    begin = last + 1 if within.holds(last + 1) else within.start
    # As many steps as addresses are used, and those that cannot be used, find a free one if there is any.
    steps = min(within.size, len(used) + 4)
    candidate = begin
    for _ in range(steps):
        if subnet.usable(candidate) and candidate not in used:
            return candidate
        candidate = candidate + 1 if candidate + 1 < within.end else within.start
    raise Conflict(f"no available IPv{4 if subnet.bits == 32 else 6} addresses in {within}")
