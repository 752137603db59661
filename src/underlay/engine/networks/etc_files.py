"""The hosts and resolv.conf files of a container that is in networks, rewritten when its networks change."""

from __future__ import annotations

import os

from ...store.rows import networks as rows
from ..containers.specification import etc_texts, host_facts
from ..options import ContainerOptions
from . import names
from .records import Records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...network.model import Network
    from ...store.rows.intent import Intent
    from ...store.rows.networks import Lease
    from ...store.store import Store

_LARGEST = 1 << 20  # bytes of a file that a container may have written


def write(store: Store, container_id: str, intent: Intent, leases: Sequence[Lease]) -> None:
    """Write both for a container that is about to start."""
    networks = [Records(store).get(lease.network) for lease in leases]
    directory = store.paths.container(container_id)
    _replace(directory + "/hosts", _hosts(store, container_id, intent, leases, networks).encode())
    _replace(directory + "/resolv.conf", _resolver(store, intent, networks).encode())


def change(
    store: Store,
    container_id: str,
    intent: Intent,
    before: Sequence[Lease],
    after: Sequence[Lease],
    networks: dict[str, Network],
    was: Intent | None = None,
) -> None:
    """Write both for a running container whose endpoints were those of `before`, and its intent `was` if that has changed.

    Its own additions to hosts are kept.
    """
    directory = store.paths.container(container_id)
    then, now = ([networks[endpoint.network] for endpoint in endpoints] for endpoints in (before, after))
    old = _hosts(store, container_id, was or intent, before, then).encode().splitlines()
    new = _hosts(store, container_id, intent, after, now).encode()
    with open(os.open(directory + "/hosts", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
        added = [line for line in file.read(_LARGEST).splitlines() if line not in old]
    _replace(directory + "/hosts", new + b"".join(line + b"\n" for line in added))
    _replace(directory + "/resolv.conf", _resolver(store, intent, now).encode())


def write_addresses(
    store: Store, container_id: str, intent: Intent, addresses: Sequence[str], resolver: Sequence[str]
) -> None:
    """Write both for a container that has got addresses by other means; `resolver` are lines of resolv.conf from there."""
    directory = store.paths.container(container_id)
    hosts = etc_texts.LOCAL_HOSTS
    hosts += "".join(f"{address}\t{_own_names(container_id, intent)}\n" for address in addresses)
    options = ContainerOptions(**intent["options"])
    _replace(directory + "/hosts", (hosts + etc_texts.extra_hosts(options, "")).encode())
    given = "" if options.dns else "".join(f"{line}\n" for line in resolver)
    _replace(directory + "/resolv.conf", (given or _resolver(store, intent, ())).encode())


def _own_names(container_id: str, intent: Intent) -> str:
    spec = intent["spec"]
    return etc_texts.own_names(container_id, spec.get("hostname") or "", spec.get("domainname") or "")


def _hosts(
    store: Store, container_id: str, intent: Intent, leases: Sequence[Lease], networks: Sequence[Network]
) -> str:
    hostname = intent["spec"].get("hostname") or ""
    text = etc_texts.LOCAL_HOSTS
    for lease in leases:
        for address in (lease.address4, lease.address6):
            if address and hostname:
                text += f"{address}\t{_own_names(container_id, intent)}\n"
    options = ContainerOptions(**intent["options"])
    gateway = etc_texts.host_address(networks)
    if not gateway:  # it was taken out of the networks that it had one in
        options.extra_hosts = [line for line in options.extra_hosts if not line.endswith(etc_texts.HOST_GATEWAY)]
    return text + etc_texts.extra_hosts(options, gateway) + _linked(store, intent, leases)


def _linked(store: Store, intent: Intent, leases: Sequence[Lease]) -> str:
    """Return the lines for linked containers, as far as these are in one of the networks of `leases`."""
    text = ""
    own = {lease.network for lease in leases}
    for link in intent.get("links") or []:
        names = dict.fromkeys((link["alias"], link["container"][:12], link["name"]))
        for lease in rows.leases(store.meta, link["container"]):
            for address in (lease.address4, lease.address6):
                if address and lease.network in own:
                    text += f"{address}\t{' '.join(names)}\n"
    return text


def _resolver(store: Store, intent: Intent, networks: Sequence[Network]) -> str:
    options = ContainerOptions(**intent["options"])
    given = etc_texts.resolver(options).splitlines()
    host = host_facts.text_of("/etc/resolv.conf")
    asks = any(map(names.can_ask, networks)) and names.available()
    others = etc_texts.upstream(host, public=not asks).splitlines()
    if asks:
        # The name server knows the servers for other names.
        servers = [f"nameserver {names.SERVER}"]
    else:
        servers = _lines("nameserver", given) or _lines("nameserver", others)
    search = [] if options.dns_search == ["."] else _lines("search", given) or _lines("search", others)
    settings = _lines("options", given) or _lines("options", others)
    if asks and not any(word.startswith("ndots:") for line in settings for word in line.split()):
        # So that names without a dot are first asked for as they are, as docker has it.
        settings = [" ".join(["options", *(word for line in settings for word in line.split()[1:]), "ndots:0"])]
    return "\n".join([*servers, *search, *settings]) + "\n"


def _lines(keyword: str, lines: Sequence[str]) -> list[str]:
    """Return the lines of resolv.conf that begin with a keyword."""
    return [line for line in lines if line.split()[:1] == [keyword]]


def _replace(path: str, text: bytes) -> None:
    """Write a file in place, for it is bound into the container; it is at no time empty."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.write(fd, text)
        os.ftruncate(fd, len(text))
    finally:
        os.close(fd)
