"""What `inspect` shows of networks, and of containers in them, in docker's form."""

from __future__ import annotations

from ...errors import NotFound
from ...human import rfc3339
from ...lean.hashing import sha256
from ...network.model import BRIDGE
from ...store.rows import containers
from ...store.rows import networks as rows
from .. import presence
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...network.model import Network
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store


def inspect(store: Store, name: str) -> dict[str, Any]:
    """Return detailed information on a network; raises NotFound."""
    if name in ("none", "host"):
        return _predefined(name)
    network = Records(store).get(name)
    members: dict[str, dict[str, str]] = {}
    for lease in rows.leases(store.meta, network=network.id):
        if not presence.is_running(store, lease.container):
            continue
        try:
            member = containers.find(store.meta, lease.container)
        except NotFound:
            continue  # removed since
        members[lease.container] = {
            "Name": member.name,
            "EndpointID": endpoint_id(lease),
            "MacAddress": lease.mac,
            "IPv4Address": _with_prefix(network, 32, lease.address4),
            "IPv6Address": _with_prefix(network, 128, lease.address6),
        }
    options = dict(network.options)
    options["com.docker.network.bridge.name" if network.driver == BRIDGE else "parent"] = network.interface
    if network.mtu:
        options["com.docker.network.driver.mtu"] = str(network.mtu)
    if not network.masquerade:
        options["com.docker.network.bridge.enable_ip_masquerade"] = "false"
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339(network.created),
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv4": network.pool(32) is not None,
        "EnableIPv6": network.pool(128) is not None,
        "IPAM": {
            "Driver": "default",
            "Options": {},
            "Config": [
                {
                    "Subnet": pool.subnet,
                    **({"IPRange": pool.range} if pool.range else {}),
                    **({"Gateway": pool.gateway} if pool.gateway else {}),
                    **({"AuxiliaryAddresses": pool.reserved} if pool.reserved else {}),
                }
                for pool in network.pools
            ],
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": members,
        "Options": options,
        "Labels": dict(network.labels),
    }


def endpoint_id(lease: rows.Lease) -> str:
    """Return the id of a container's endpoint in a network: it is the same for as long as both are there."""
    return sha256(f"{lease.network} {lease.container}".encode()).hexdigest()


def endpoint(row: ContainerRow, running: bool, lease: rows.Lease, network: Network) -> dict[str, object]:
    """Return what `inspect` of a container shows of its endpoint in a network (Engine API, "EndpointSettings").

    Addresses are there while it runs; what was asked for always is.
    """
    asked4, asked6 = row.intent.get("addresses", {}).get(network.id, ("", ""))
    asked = {**({"IPv4Address": asked4} if asked4 else {}), **({"IPv6Address": asked6} if asked6 else {})}
    hostname = row.intent["spec"].get("hostname") or ""
    names = dict.fromkeys((row.name, *lease.aliases, row.id[:12], hostname))
    shown: dict[str, object] = {
        **empty_endpoint(),
        "IPAMConfig": asked or None,
        "Aliases": list(lease.aliases) or None,
        "NetworkID": network.id,
        "DNSNames": [name for name in names if name] if network.named else None,
    }
    if running:
        shown |= {"EndpointID": endpoint_id(lease), "MacAddress": lease.mac}
        pools = ((32, lease.address4, _KEYS4), (128, lease.address6, _KEYS6))
        for bits, address, (address_key, prefix_key, gateway_key) in pools:
            pool = network.pool(bits)
            if address and pool is not None:
                shown |= {address_key: address, prefix_key: pool.space.prefix, gateway_key: pool.router}
    return shown


_KEYS4 = "IPAddress", "IPPrefixLen", "Gateway"
_KEYS6 = "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway"


def empty_endpoint() -> dict[str, object]:
    """Return the members of an endpoint without addresses, in docker's order."""
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": "",
        "DriverOpts": None,
        "NetworkID": "",
        "EndpointID": "",
        "Gateway": "",
        "IPAddress": "",
        "IPPrefixLen": 0,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "DNSNames": None,
    }


def _with_prefix(network: Network, bits: int, address: str) -> str:
    pool = network.pool(bits)
    return f"{address}/{pool.space.prefix}" if address and pool is not None else ""


def _predefined(name: str) -> dict[str, object]:
    return {
        "Name": name,
        "Id": name,
        "Scope": "local",
        "Driver": "null" if name == "none" else name,
        "EnableIPv4": True,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": {}, "Config": []},
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {},
        "Options": {},
        "Labels": {},
    }
