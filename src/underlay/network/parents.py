"""Parents of macvlan and ipvlan networks: interfaces of the host on whose links containers are, VLANs and dummies that are
made for them, and checks of what can carry a network."""

from __future__ import annotations

import os

from ..errors import Conflict, InvalidInput, KernelError, Unsupported
from ..human import whole
from ..linux.network import links, netns
from ..linux.network.netlink import Netlink
from .model import IPVLAN, MACVLAN, ON_A_PARENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.network.links import Link
    from ..linux.network.netlink import Request
    from .model import Network

_EBUSY, _EEXIST, _EINVAL, _EOPNOTSUPP, _ENETDOWN = 16, 17, 22, 95, 100
_VLANS = 4094  # identifiers of VLANs (IEEE 802.1Q) are 1 to this


def check(network: Network, others: Sequence[Network]) -> None:
    """Refuse a network whose parent is not there, cannot carry it, or carries networks that it cannot be beside.

    Raises InvalidInput, NotFound, Conflict, Unsupported.
    """
    for other in others:
        if other.driver in ON_A_PARENT and other.interface == network.interface:
            _check_beside(network, other)
    if _dummy(network):
        return
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is None:
            base, _ = _vlan(network)
            there = links.find(connection, base)
            if there is None:
                raise InvalidInput(
                    f"the parent interface {base} was not found on this host", "`ip link` lists the interfaces"
                )
        _check_link(network, there)


def _check_beside(network: Network, other: Network) -> None:
    """Refuse a network on the parent of another one with which the kernel would not, or not rightly, share it."""
    used = f"network {other.name} is already using parent interface {network.interface}"
    if other.driver != network.driver:
        raise Conflict(
            f"{used} with driver {other.driver}: an interface carries either macvlan or ipvlan", "use another parent"
        )
    if network.driver == MACVLAN:
        for one in (network, other):
            if one.options.get("macvlan_mode") == "passthru":
                raise Conflict(f"{used}: mode passthru has it alone", "use another parent")
    elif _ipvlan_mode(network) != _ipvlan_mode(other):
        mode, flag = _ipvlan_mode(other)
        raise Conflict(
            f"{used} with mode {mode} and flag {flag}: all ipvlan networks of a parent have the same",
            f"-o ipvlan_mode={mode} -o ipvlan_flag={flag}, or another parent",
        )


def _check_link(network: Network, there: Link) -> None:
    name = f"{there.name} cannot be the parent of a network of driver {network.driver}"
    if there.hardware == links.LOOPBACK:
        raise InvalidInput(f"{name}: it is the loopback interface")
    if network.driver == MACVLAN and there.hardware != links.ETHERNET:
        raise InvalidInput(f"{name}: it is no Ethernet interface", "ipvlan works on others in mode l3")
    if network.mtu > there.mtu:
        raise InvalidInput(f"invalid mtu {network.mtu}: that of the parent interface {there.name} is {there.mtu}")
    if there.master:
        raise Conflict(f"{name}: it is a port of a bridge, bond or the like", "use the interface that it is a port of")


def ensure(network: Network, owner: str) -> None:
    """Make a network's parent if it is missing: a VLAN of an interface called as in eth0.10, or a dummy for a network
    without a parent. `owner`, the name of an installation, is written on it. Raises InvalidInput, Unsupported, KernelError.
    """
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is None:
            _make(connection, network)
            there = links.find(connection, network.interface)
            if there is None:
                raise Conflict(f"the interface {network.interface} was removed by another program")
            connection.call(links.write_alias(there.index, _alias(owner)))
        elif there.alias != _alias(owner) and not _dummy(network):
            return  # the host's: whether it is up is the host's matter
        if not there.up:
            try:
                connection.call(links.change(there.index, up=True))
            except KernelError as error:
                if error.errno != _ENETDOWN:
                    raise
                base, _ = _vlan(network)
                raise Conflict(f"the parent interface {base} is down", f"ip link set {base} up") from None


def _make(connection: Netlink, network: Network) -> None:
    if _dummy(network):
        request, module = links.create_dummy(network.interface), "dummy"
    else:
        base, number = _vlan(network)
        below = links.find(connection, base)
        if below is None:
            raise InvalidInput(f"the parent interface {base} of network {network.name} was not found on this host")
        request, module = links.create_vlan(network.interface, below.index, number), "8021q"
    try:
        connection.call(request)
    except KernelError as error:
        if error.errno == _EOPNOTSUPP:
            raise Unsupported(
                f"the parent interface {network.interface} cannot be made: this kernel has no {module}",
                f"modprobe {module}, or name a parent that exists",
            ) from None
        if error.errno != _EEXIST:  # another process was faster
            raise


def remove(network: Network, owner: str, others: Sequence[Network]) -> None:
    """Remove a network's parent if `ensure` made it and no other network is on it. Raises KernelError."""
    if any(other.interface == network.interface and other.id != network.id for other in others):
        return
    with Netlink() as connection:
        there = links.find(connection, network.interface)
        if there is not None and (there.alias == _alias(owner) or _dummy(network)):
            connection.call(links.delete(there.index, network.interface))


def prepare(network: Network, owner: str, others: Sequence[Network]) -> None:
    """Do what `ensure` does for a network that is about to be recorded, and have the kernel say whether the parent carries
    an interface for a container. Nothing is left if it does not. Raises InvalidInput, Unsupported, Conflict, KernelError.
    """
    ensure(network, owner)
    try:
        _probe(network)
    except BaseException:
        remove(network, owner, others)
        raise


def _probe(network: Network) -> None:
    namespace = netns.anonymous()
    try:
        with Netlink() as connection:
            parent = links.find(connection, network.interface)
            assert parent is not None
            connection.call(create_child(network, parent, f"ve{os.urandom(6).hex()}", namespace, b""))
    except KernelError as error:
        what = f"{network.interface} cannot be the parent of a network of driver {network.driver}"
        if error.errno == _EOPNOTSUPP:
            raise Unsupported(f"this kernel has no {network.driver}", f"modprobe {network.driver}") from None
        if error.errno in (_EBUSY, _EINVAL):  # of ipvlan, and of a macvlan that has it alone
            raise Conflict(f"{what}: it is in use by another program, or in another mode", error.hint) from None
        raise
    finally:
        os.close(namespace)  # the interface goes with it


def create_child(network: Network, parent: Link, name: str, namespace: int, mac: bytes) -> Request:
    """Return what makes the interface `name` of a container in a network on a parent."""
    options = network.options
    if network.driver == IPVLAN:
        return links.create_ipvlan(name, parent.index, *_ipvlan_mode(network), namespace, network.mtu)
    mode = options.get("macvlan_mode", "bridge")
    return links.create_macvlan(name, parent.index, mode, namespace, network.mtu, mac)


def _ipvlan_mode(network: Network) -> tuple[str, str]:
    return network.options.get("ipvlan_mode", "l2"), network.options.get("ipvlan_flag", "bridge")


def _dummy(network: Network) -> bool:
    """Return whether a network has no parent of the host's: then it has a dummy, called as its bridge would be."""
    return network.interface == f"ul-{network.id[:12]}"


def _vlan(network: Network) -> tuple[str, int]:
    """Return the interface and the VLAN that the name of a missing parent means. Raises InvalidInput."""
    base, dot, digits = network.interface.rpartition(".")
    if not dot:
        raise InvalidInput(
            f"the parent interface {network.interface} was not found on this host",
            "`ip link` lists the interfaces; eth0.10 is made, as VLAN 10 of eth0",
        )
    if not base or not 1 <= whole(digits) <= _VLANS:
        raise InvalidInput(
            f"the parent interface {network.interface} was not found on this host, and means no VLAN",
            f"a VLAN is a number from 1 to {_VLANS}, as in eth0.10",
        )
    return base, int(digits)


def _alias(owner: str) -> str:
    return f"made by underlay for {owner}"
