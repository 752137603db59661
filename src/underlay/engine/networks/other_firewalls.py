"""Networks beside the firewalls of other programs: what is set up there, and warnings of what they drop."""

from __future__ import annotations

import os

from ...events import Event
from ...files import write_atomic
from ...network import beside
from ...network.model import BRIDGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network.beside import Obstacle
    from ...network.model import Network
    from ...store.store import Store


def admit(network: Network) -> None:
    """Let Docker's firewall pass the traffic of a network. Raises KernelError."""
    beside.admit(network.interface)


def dismiss(store: Store, network: Network) -> None:
    """Take back what `admit` did. Raises KernelError."""
    beside.dismiss(network.interface)
    try:
        os.unlink(_memory(store, network))
    except FileNotFoundError:
        pass


def obstacles(store: Store, network: Network) -> list[Obstacle]:
    """Return the chains of other programs that drop packets of a network. Raises KernelError."""
    if network.driver != BRIDGE or network.internal:
        return []
    return beside.obstacles(network.interface, network.pool(128) is not None)


def warn(store: Store, network: Network) -> None:
    """Emit a `host.warning` for each chain of another program that drops a network's packets, with the remedy."""
    for obstacle in obstacles(store, network):
        message, hint = obstacle.text(network.interface), obstacle.remedy(network.interface)
        store.emit(Event("host.warning", network.name, message=message, hint=hint))


def warn_of_news(store: Store, network: Network) -> None:
    """Do what `warn` does, if other programs have changed their chains since the last time for this network."""
    now = beside.fingerprint()
    path = _memory(store, network)
    try:
        with open(path, encoding="ascii") as file:
            if file.read() == now:
                return
    except FileNotFoundError:
        pass
    warn(store, network)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_atomic(path, now.encode(), durable=False)


def _memory(store: Store, network: Network) -> str:
    """Return the file that keeps which chains there were when the network was looked at."""
    return f"{store.paths.state}/networks/{network.interface}.chains"


def warn_of_forwarding(store: Store, network: Network) -> None:
    """Tell that the host had stopped forwarding packets, and does so again."""
    message = (
        "the host had stopped forwarding packets (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding): switched on again"
    )
    store.emit(Event("host.warning", network.name, message=message, hint="another program sets it, see /etc/sysctl.d"))
