"""A network, and the endpoint of one container in it: what the database keeps and the kernel is given."""

from __future__ import annotations

from ..lean.values import Value
from . import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .subnets import Subnet

BRIDGE, MACVLAN = "bridge", "macvlan"
DEFAULT = "bridge"  # the network of containers that ask for none


class Pool(Value):
    """One subnet of a network, as strings: container addresses are allocated from `range`, "" for the whole subnet."""

    subnet: str
    gateway: str = ""
    range: str = ""

    @property
    def space(self) -> Subnet:
        """The subnet, parsed."""
        return subnets.parse(self.subnet)

    @property
    def giving(self) -> Subnet:
        """The part of it that addresses are allocated from, parsed."""
        return subnets.parse(self.range or self.subnet)


class Network(Value):
    """A network; `interface` is its bridge, or the parent interface of macvlan. `options` are those of the driver."""

    id: str
    name: str
    driver: str
    created: int  # ns since the epoch
    interface: str
    pools: tuple[Pool, ...] = ()
    internal: bool = False
    attachable: bool = False
    mtu: int = 0  # bytes, 0 as the kernel has it
    masquerade: bool = True
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    chosen: bool = False  # its subnet of IPv4 was chosen, not given: another would do as well

    def pool(self, bits: int) -> Pool | None:
        """Return its pool of IPv4 (32) or IPv6 (128) addresses, None without one."""
        return next((pool for pool in self.pools if pool.space.bits == bits), None)

    @property
    def named(self) -> bool:
        """Whether its containers can resolve each other by name: on all networks but the default one."""
        return self.name != DEFAULT


class Endpoint(Value):
    """A container's endpoint in a network: its addresses as strings ("" for none), and its aliases."""

    network: str  # id
    container: str
    address4: str = ""
    address6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
