"""What a container in networks looks names up with: its hosts and resolv.conf, as its places there want them."""

from __future__ import annotations

import os

from ..containers import create, host_facts
from ..options import ContainerOptions
from . import Networks, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...network.model import Network
    from ...store.rows.networks import Lease
    from ..engine import Engine

_LARGEST = 1 << 20  # bytes of a file that a container may have written


def write(engine: Engine, container_id: str, intent: dict[str, Any], leases: Sequence[Lease]) -> None:
    """Write both for a container that is about to start."""
    networks = [Networks(engine).get(lease.network) for lease in leases]
    directory = engine.paths.container(container_id)
    _replace(directory + "/hosts", _hosts(container_id, intent, leases, networks).encode())
    _replace(directory + "/resolv.conf", _resolver(engine, intent, networks).encode())


def change(
    engine: Engine,
    container_id: str,
    intent: dict[str, Any],
    before: Sequence[Lease],
    after: Sequence[Lease],
    networks: dict[str, Network],
) -> None:
    """Write both for a running container whose places were those of `before`; what it has added to hosts stays there."""
    directory = engine.paths.container(container_id)
    then, now = ([networks[each.network] for each in places] for places in (before, after))
    old = _hosts(container_id, intent, before, then).encode().splitlines()
    new = _hosts(container_id, intent, after, now).encode()
    with open(os.open(directory + "/hosts", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
        added = [line for line in file.read(_LARGEST).splitlines() if line not in old]
    _replace(directory + "/hosts", new + b"".join(line + b"\n" for line in added))
    _replace(directory + "/resolv.conf", _resolver(engine, intent, now).encode())


def _hosts(container_id: str, intent: dict[str, Any], leases: Sequence[Lease], networks: Sequence[Network]) -> str:
    hostname = intent["spec"].get("hostname") or ""
    text = create.LOCAL_HOSTS
    for lease in leases:
        for address in (lease.address4, lease.address6):
            if address and hostname:
                name = hostname if hostname == container_id[:12] else f"{hostname} {container_id[:12]}"
                text += f"{address}\t{name}\n"
    wish = ContainerOptions(**intent["options"])
    gateway = create.host_address(networks)
    if not gateway:  # it was taken out of the networks that it had one in
        wish.extra_hosts = [each for each in wish.extra_hosts if not each.endswith(create.HOST_GATEWAY)]
    return text + create.extra_hosts(wish, gateway)


def _resolver(engine: Engine, intent: dict[str, Any], networks: Sequence[Network]) -> str:
    wish = ContainerOptions(**intent["options"])
    resolver = create.resolver(wish)
    # One server tells the names of all; that of an internal network would tell no others.
    named = sorted((each for each in networks if names.answers(engine, each)), key=lambda each: each.internal)
    host = host_facts.text_of("/etc/resolv.conf")
    if named:
        # It knows the servers to ask for others, and what of the host's names is looked up shortened.
        lines = (resolver or host).splitlines()
        kept = [line for line in lines if line.startswith("search ") or (resolver and line.startswith("options "))]
        options = [] if any(line.startswith("options ") for line in kept) else ["options ndots:0"]
        return "\n".join([f"nameserver {names.server_of(named[0])}", *kept, *options]) + "\n"
    if resolver and wish.dns:
        return resolver
    others = [line for line in upstream(host).splitlines() if not resolver or line.startswith("nameserver")]
    return "\n".join([*others, resolver]).rstrip("\n") + "\n"


def _replace(path: str, text: bytes) -> None:
    """Write a file in place, for it is bound into the container; it is at no time empty."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(fd, text)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)


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
