"""Containers in networks of CNI: asked for as `--network cni:NAME`, attached at start, detached at the end."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...events import Event
from ...lean.hashing import sha256
from ...network import cni
from ...network import ports as port_words
from ...store.rows import containers
from .. import presence
from . import etc_files, ports
from .inspect import empty_endpoint
from .records import OF_PLUGINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...network.cni import Configuration
    from ...runtime.monitor.records import NetworkResources
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import Intent, OfPlugins
    from ...store.store import Store
    from ..containers.specification.grammar import NetworkAttachment

_HINT = "use --network once for each network of CNI, and for no others"


def wanted(asked: Sequence[NetworkAttachment], publishes: bool) -> list[OfPlugins]:
    """Return the networks of CNI that a container asks for, as its intent has them. Raises NotFound, InvalidInput,
    Unsupported."""
    names = [attachment.name for attachment in asked]
    if not all(name.startswith(OF_PLUGINS) for name in names):
        raise InvalidInput(f"networks {' and '.join(names)} cannot be combined", _HINT)
    made: list[OfPlugins] = []
    for attachment in asked:
        configuration = cni.find(attachment.name.removeprefix(OF_PLUGINS))
        cni.check(configuration)
        if any(other["name"] == configuration.name for other in made):
            raise InvalidInput(f"network {attachment.name} is given twice")
        if attachment.aliases:
            raise Unsupported(f"network {attachment.name}: networks of CNI have no aliases", "drop --network-alias")
        addresses = [address for address in (attachment.address4, attachment.address6) if address]
        for values, capability, what in ((addresses, "ips", "an address"), (attachment.mac, "mac", "a MAC")):
            if values and not configuration.offers(capability):
                raise Unsupported(
                    f"network {attachment.name} takes no wish for {what}: no plugin has the capability {capability}"
                )
        if any(not port_words.is_address(address) for address in addresses):
            raise InvalidInput(f"invalid IP address: {' '.join(addresses)}")
        made.append({"name": configuration.name, "addresses": addresses, "mac": attachment.mac})
    if publishes and not any(cni.find(network["name"]).offers("portMappings") for network in made):
        raise Unsupported(
            "ports cannot be published: no plugin of the container's networks has the capability portMappings",
            "add the plugin portmap to the configuration, or drop -p",
        )
    return made


def up(store: Store, container_id: str, intent: Intent, namespace: str) -> NetworkResources:
    """Attach a container to its networks, by the file of its namespace, and write its hosts and resolv.conf.

    Returns what its monitor undoes in the end. Raises NotFound, Conflict.
    """
    held = ports.hold(store, container_id, intent)
    mappings = [
        {
            "hostPort": port.port,
            "containerPort": port.target,
            "protocol": port.protocol,
            **({"hostIP": port.address} if port.address else {}),
        }
        for port in held
    ]
    asked = []
    for number, network in enumerate(intent.get("cni") or []):
        runtime: dict[str, Any] = {"portMappings": mappings} if mappings else {}
        if network["addresses"]:
            runtime["ips"] = network["addresses"]
        if network["mac"]:
            runtime["mac"] = network["mac"]
        asked.append((cni.find(network["name"]), f"eth{number}", runtime))
    found = cni.attach(_record_file(store, container_id), container_id, namespace, asked)
    results = [cni.understood(result, f"eth{number}") for number, result in enumerate(found)]
    addresses = [address for result in results for address, _, _ in result.addresses]
    servers = next((result.resolver for result in results if result.resolver), ())
    etc_files.write_addresses(store, container_id, intent, addresses, servers)
    return {
        "namespaces": [],
        "table": "",
        "elements": {},
        "later": {},
        "ports": [(port.protocol, port.address, port.port) for port in held],
        "relays": [],
        "names": None,
        "plugins": True,
    }


def down(store: Store, container_id: str) -> None:
    """Undo `up`, as far as it came; what plugins say against it is a `host.warning`. Harmless when there is nothing."""
    for problem in cni.detach(_record_file(store, container_id)):
        hint = "it is tried again when the container is started or removed"
        store.emit(Event("host.warning", container_id, message=problem, hint=hint))


def endpoints(store: Store, container_id: str, intent: Intent, running: bool) -> dict[str, dict[str, object]]:
    """Return what `inspect` of a container shows of its networks of CNI."""
    shown: dict[str, dict[str, object]] = {}
    for network in intent.get("cni") or []:
        asked = {f"IPv{6 if ':' in address else 4}Address": address for address in network["addresses"]}
        name = OF_PLUGINS + network["name"]
        shown[name] = {**empty_endpoint(), "IPAMConfig": asked or None, "NetworkID": network_id(network["name"])}
    record = cni.read_record(_record_file(store, container_id)) if running else None
    for attachment in record["attachments"] if record else ():
        network_name = attachment["configuration"]["name"]
        endpoint = shown[OF_PLUGINS + network_name]
        result = cni.understood(attachment["result"] or {}, attachment["interface"])
        endpoint["MacAddress"] = result.mac
        endpoint["EndpointID"] = sha256(f"cni {network_name} {container_id}".encode()).hexdigest()
        for address, prefix, gateway in result.addresses:
            six = ":" in address
            if not endpoint["GlobalIPv6Address" if six else "IPAddress"]:
                endpoint["GlobalIPv6Address" if six else "IPAddress"] = address
                endpoint["GlobalIPv6PrefixLen" if six else "IPPrefixLen"] = prefix
                endpoint["IPv6Gateway" if six else "Gateway"] = gateway
    return shown


def network_id(name: str) -> str:
    """Return the id of a network of CNI, which has none of its own: a digest of its name."""
    return sha256(f"{OF_PLUGINS}{name}".encode()).hexdigest()


def inspect(store: Store, name: str) -> dict[str, Any]:
    """Return detailed information on the network `cni:NAME`: its configuration as it is. Raises NotFound."""
    configuration = cni.find(name.removeprefix(OF_PLUGINS))
    members: dict[str, dict[str, object]] = {}
    for row in containers.every(store.meta):
        in_it = any(network["name"] == configuration.name for network in row.intent.get("cni") or [])
        if in_it and presence.is_running(store, row.id):
            members[row.id] = _member(row, endpoints(store, row.id, row.intent, True)[name])
    return {
        "Name": name,
        "Id": network_id(configuration.name),
        "Scope": "local",
        "Driver": "cni",
        "Internal": False,
        "Attachable": False,
        "Ingress": False,
        "Containers": members,
        "Options": {},
        "Labels": {},
        "File": configuration.file,
        "CNI": configuration.document,
    }


def _member(row: ContainerRow, endpoint: dict[str, object]) -> dict[str, object]:
    """Return what `network inspect` shows of a container, made of what its own `inspect` shows."""
    member = {"Name": row.name, **{key: endpoint[key] for key in ("EndpointID", "MacAddress")}}
    for key, address, prefix in (
        ("IPv4Address", "IPAddress", "IPPrefixLen"),
        ("IPv6Address", "GlobalIPv6Address", "GlobalIPv6PrefixLen"),
    ):
        member[key] = f"{endpoint[address]}/{endpoint[prefix]}" if endpoint[address] else ""
    return member


def listed() -> list[Configuration]:
    """Return the networks of CNI that this host's files configure."""
    return cni.configurations()[0]


def _record_file(store: Store, container_id: str) -> str:
    # Not in the state directory: what plugins hold, an address above all, outlives a reboot.
    return store.paths.container(container_id) + "/cni.json"
