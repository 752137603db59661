"""Networks beside the firewalls of other programs: what is set up there, and warnings of what they drop."""

from __future__ import annotations

from ...events import Event
from ...network import beside
from ...network.model import BRIDGE
from . import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network.beside import Obstacle
    from ...network.model import Network
    from ...store.store import Store


def admit(network: Network) -> None:
    """Let Docker's firewall pass the traffic of a network. Raises KernelError."""
    beside.admit(network.interface)


def dismiss(network: Network) -> None:
    """Take back what `admit` did. Raises KernelError."""
    beside.dismiss(network.interface)


def obstacles(store: Store, network: Network) -> list[Obstacle]:
    """Return the chains of other programs that drop what a network needs. Raises KernelError."""
    if network.driver != BRIDGE:
        return []
    asks = names.has_names(network)
    return [item for item in beside.obstacles(network.interface, asks) if not (network.internal and item.forward)]


def warn(store: Store, network: Network) -> None:
    """Tell of each chain of another program that drops what a network needs, and how to let it pass."""
    for obstacle in obstacles(store, network):
        message, hint = obstacle.text(network.interface), obstacle.remedy(network.interface)
        store.emit(Event("host.warning", network.name, message=message, hint=hint))


def warn_of_forwarding(store: Store, network: Network) -> None:
    """Tell that the host had stopped forwarding packets, and does so again."""
    message = (
        "the host had stopped forwarding packets (net.ipv4.ip_forward, net.ipv6.conf.all.forwarding): switched on again"
    )
    store.emit(Event("host.warning", network.name, message=message, hint="another program sets it, see /etc/sysctl.d"))
