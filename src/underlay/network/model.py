"""A network, and the endpoint of one container in it: what the database keeps and the kernel is given."""

from __future__ import annotations

from ..lean.values import Value
from . import subnets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .subnets import Subnet

BRIDGE, MACVLAN, IPVLAN = "bridge", "macvlan", "ipvlan"
ON_A_PARENT = (MACVLAN, IPVLAN)  # drivers whose containers are on the link of an interface of the host
DEFAULT = "bridge"  # the network of containers that ask for none


class Pool(Value):
    """One subnet of a network, as strings: container addresses are allocated from `range`, "" for the whole subnet.

    `reserved` are addresses in it that no container is given, by name: those of other machines (docker's --aux-address).
    """

    subnet: str
    gateway: str = ""
    range: str = ""
    reserved: dict[str, str] = {}

    @property
    def space(self) -> Subnet:
        """The subnet, parsed."""
        return subnets.parse(self.subnet)

    @property
    def giving(self) -> Subnet:
        """The part of it that addresses are allocated from, parsed."""
        return subnets.parse(self.range or self.subnet)

    @property
    def router(self) -> str:
        """The address that containers send to what lies elsewhere: the gateway's, or the reserved one that docker's bridges
        take instead, by its name; "" for none."""
        name = f"DefaultGatewayIPv{4 if self.space.bits == 32 else 6}"
        return self.reserved.get(name) or self.gateway

    @property
    def kept(self) -> set[int]:
        """The addresses that no container is given, as numbers: the gateway's, and those that are reserved."""
        return {subnets.number_of(text) for text in (self.gateway, *self.reserved.values()) if text}


class Network(Value):
    """A network; `interface` is its bridge, or the parent interface of macvlan and ipvlan. `options` are those of the
    driver, by docker's names."""

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

    def gateway_mode(self, bits: int) -> str:
        """Return how the host leads to its containers by IPv4 (32) or IPv6 (128): nat, nat-unprotected, routed, isolated.

        They are docker's ("Port publishing and mapping", "Gateway modes").
        """
        return self.options.get(f"com.docker.network.bridge.gateway_mode_ipv{4 if bits == 32 else 6}", "nat")

    @property
    def connected(self) -> bool:
        """Whether its containers reach each other (docker's enable_icc)."""
        return self.options.get("com.docker.network.bridge.enable_icc") != "false"

    @property
    def routes_by_interface(self) -> bool:
        """Whether its containers send everything out by their interface, and to no gateway: the kernel routes for them."""
        return self.driver == IPVLAN and self.options.get("ipvlan_mode", "l2") != "l2"

    @property
    def bindings(self) -> list[str]:
        """The addresses of this host at which ports are published that name none; empty for all addresses."""
        four, six = (self.options.get(f"com.docker.network.bridge.host_binding_ipv{version}", "") for version in (4, 6))
        if six:
            return [four or "0.0.0.0", six]
        # Docker, which has the first option alone, takes 0.0.0.0 for all addresses of both kinds.
        return [] if four in ("", "0.0.0.0") else [four]

    def interface_of(self, position: int) -> str:
        """Return the name of the interface with a number in a container that is in the network."""
        return f"{self.options.get('com.docker.network.container_iface_prefix', 'eth')}{position}"

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
