"""Texts of /etc/hosts and /etc/resolv.conf, as options, networks and this host make them."""

from __future__ import annotations

from ....errors import InvalidInput, Unsupported
from ....human import plain
from ....network.model import BRIDGE
from . import host_facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....network.model import Network
    from ...options import ContainerOptions

HOST_GATEWAY = "host-gateway"  # in place of an address: this host's
LOOPBACK = "127.0.0.1"  # this host, for what has its network
LOCAL_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def host_address(networks: Sequence[Network]) -> str:
    """Return the address that this host has for a container in networks: where it leads out, if anywhere; "" for none."""
    bridges = [network for network in networks if network.driver == BRIDGE]
    bridges.sort(key=lambda network: network.internal)
    pools = [network.pool(bits) for bits in (32, 128) for network in bridges]
    return next((pool.gateway for pool in pools if pool is not None and pool.gateway), "")


def own_names(container_id: str, hostname: str, domainname: str) -> str:
    """Return the names that a container has for its own address: the full one first, where it has a domain."""
    names = [f"{hostname}.{domainname}"] if hostname and domainname else []
    return " ".join(dict.fromkeys((*names, *filter(None, (hostname, container_id[:12])))))


def extra_hosts(options: ContainerOptions, gateway: str) -> str:
    """Return the lines of hosts that --add-host asks for; `gateway` is this host's address, if the container sees one.

    Raises InvalidInput, Unsupported.
    """
    lines = ""
    for text in options.extra_hosts:
        name, separator, address = text.partition(":") if "=" not in text else text.partition("=")
        address = address.strip("[]")
        if not separator or not name or not address or not plain(name):
            raise InvalidInput(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host')
        if address == HOST_GATEWAY:
            if not gateway:
                raise Unsupported(
                    "--add-host …:host-gateway needs a network with a gateway",
                    "drop it, or add a network of driver bridge",
                )
            address = gateway
        if not _is_address(address):
            raise InvalidInput(f'invalid argument "{text}" for "--add-host" flag: invalid IP address in add-host')
        lines += f"{address}\t{name}\n"
    return lines


def resolver(options: ContainerOptions) -> str:
    """Return resolv.conf; raises InvalidInput."""
    if not (options.dns or options.dns_search or options.dns_options):
        # Without a network of its own the container has nobody to ask.
        return host_facts.text_of("/etc/resolv.conf") if options.network == "host" else ""
    lines = [f"nameserver {address}" for address in options.dns]
    for address in options.dns:
        if not _is_address(address):
            raise InvalidInput(f'invalid argument "{address}" for "--dns" flag: {address} is not an ip address')
    if not options.dns and options.network == "host":
        lines = [line for line in host_facts.text_of("/etc/resolv.conf").splitlines() if line.startswith("nameserver")]
    if options.dns_search and options.dns_search != ["."]:
        lines.append("search " + " ".join(options.dns_search))
    if options.dns_options:
        lines.append("options " + " ".join(options.dns_options))
    return "\n".join(lines) + "\n"


def _is_address(text: str) -> bool:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
            return True
        except OSError:
            pass
    return False


def upstream(text: str, public: bool = True) -> str:
    """Return a resolv.conf for others than this host: what only it can reach is left out.

    Where no server is left, there are `public` ones, or else those that there were.
    """
    lines = text.splitlines()
    if any(line.split()[:2] == ["nameserver", "127.0.0.53"] for line in lines):
        lines = host_facts.text_of("/run/systemd/resolve/resolv.conf").splitlines() or lines
    kept = [line for line in lines if not _local_server(line)] if public else lines
    if public and not any(line.startswith("nameserver") for line in kept):
        kept += ["nameserver 8.8.8.8", "nameserver 8.8.4.4"]
    return "\n".join(kept) + "\n"


def _local_server(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and (words[1].startswith("127.") or words[1] == "::1")
