"""The pools of a new network: subnets given or chosen, and the gateway, range and reserved addresses of each."""

from __future__ import annotations

import os

from ...errors import Conflict, InvalidInput
from ...lean.values import Value
from ...network import subnets
from ...network.model import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...network.model import Network
    from ...network.subnets import Subnet


class Wanted(Value):
    """What was asked for: texts of subnets; gateways, ranges and reserved addresses (by name) belong to the subnets that
    contain them. `ipv4` and `ipv6` are the kinds of address that the network is to have; a `bare` kind has no gateway."""

    subnets: Sequence[str] = ()
    gateways: Sequence[str] = ()
    ranges: Sequence[str] = ()
    reserved: dict[str, str] = {}
    ipv4: bool = True
    ipv6: bool = False
    bare: frozenset[int] = frozenset()  # 32, 128


def pools(wanted: Wanted, others: Sequence[Network]) -> list[Pool]:
    """Return the pools of a new network, when all others are known. Raises InvalidInput, Conflict."""
    spaces = _spaces(wanted, others)
    left, parts, reserved = list(wanted.gateways), list(wanted.ranges), dict(wanted.reserved)
    made = []
    for space in spaces:
        gateway = next((text for text in left if _in(space, text, "gateway")), "")
        if gateway:
            left.remove(gateway)
            subnets.number_of(gateway, space, "gateway")
        part = next((text for text in parts if _begins_in(space, text)), "")
        if part:
            parts.remove(part)
            if subnets.parse(part).end > space.end:
                raise InvalidInput(f"ip range {part} is not within subnet {space}")
        if space.bits in wanted.bare:
            if gateway:
                raise InvalidInput(f"gateway {gateway}: a network whose gateway mode is isolated has none")
        elif not gateway:
            gateway = _gateway(space, reserved)
        kept = {name: text for name, text in reserved.items() if _in(space, text, "aux-address")}
        for name, text in kept.items():
            del reserved[name]
            if subnets.number_of(text, space, "aux-address") == (gateway and subnets.number_of(gateway)):
                raise Conflict(f"Address already in use: aux-address {name}={text} is the gateway of {space}")
        made.append(Pool(str(space), gateway, part, kept))
    if reserved:
        raise InvalidInput(f"no matching subnet for aux-address {next(iter(reserved.values()))}")
    if left or parts:
        raise InvalidInput(f"{(left or parts)[0]} lies in none of the subnets {', '.join(map(str, spaces))}")
    return made


def chosen(taken: Sequence[Subnet]) -> Subnet:
    """Return the first free subnet of the address pools. Raises Conflict, and as `pools.load`."""
    from ...network import pools

    space = subnets.choose(taken, pools.load())
    if space is None:
        raise Conflict("all predefined address pools have been fully subnetted", pools.hint())
    return space


def _spaces(wanted: Wanted, others: Sequence[Network]) -> list[Subnet]:
    """Return the subnets of a new network: those given, and one that is chosen for each kind of address without."""
    if not wanted.ipv4 and not wanted.ipv6:
        raise InvalidInput("IPv4 or IPv6 must be enabled", "add --ipv6, or leave --ipv4=false out")
    spaces = [subnets.parse(text) for text in wanted.subnets]
    for space in spaces:
        subnets.check(space)
    theirs = [pool.space for network in others for pool in network.pools]
    for number, space in enumerate(spaces):
        for other in (*theirs, *spaces[:number]):
            if space.overlaps(other):
                raise Conflict(f"Pool overlaps with other one on this address space: {space} and {other}")
    given = {space.bits for space in spaces}
    if 128 in given and not wanted.ipv6:
        raise InvalidInput("an IPv6 subnet needs --ipv6")
    if 32 in given and not wanted.ipv4:
        raise InvalidInput("an IPv4 subnet cannot be given with --ipv4=false")
    if wanted.ipv4 and 32 not in given:
        from ...network import bridge

        spaces.insert(0, chosen([*theirs, *bridge.taken()]))
    if wanted.ipv6 and 128 not in given:
        # A unique local subnet (RFC 4193): nobody else has it, as likely as may be.
        start = int.from_bytes(b"\xfd" + os.urandom(7) + bytes(8), "big")
        spaces.append(subnets.Subnet(start, 64, 128))
    return spaces


def _gateway(space: Subnet, reserved: dict[str, str]) -> str:
    """Return the first address of a subnet that is not reserved, as text. Raises Conflict."""
    kept = {subnets.number_of(text) for text in reserved.values() if _in(space, text, "aux-address")}
    return space.written(subnets.next_free(space, space, kept, space.start))


def _in(space: Subnet, text: str, what: str) -> bool:
    """Return whether an address lies in a subnet. Raises InvalidInput."""
    number = subnets.number_of(text, None, what)
    return space.holds(number) and len(subnets.parse_address(text)) * 8 == space.bits


def _begins_in(space: Subnet, text: str) -> bool:
    part = subnets.parse(text, "ip range")
    return part.bits == space.bits and space.holds(part.start)
