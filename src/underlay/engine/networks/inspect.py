"""What `network inspect` shows, in docker's form."""

from __future__ import annotations

from ...errors import NotFound
from ...human import rfc3339
from ...network.model import BRIDGE
from ...store.rows import containers
from ...store.rows import networks as rows
from .. import presence
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...network.model import Network
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
        "Containers": members,
        "Options": options,
        "Labels": dict(network.labels),
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
        "Containers": {},
        "Options": {},
        "Labels": {},
    }
