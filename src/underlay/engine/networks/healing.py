"""What other programs have changed of the firewall is mended."""

from __future__ import annotations

from ...network import bridge
from ...network.model import BRIDGE
from . import attach, other_firewalls
from .records import Records, firewall_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store


def mend(store: Store) -> None:
    """Make the firewall whole, and let Docker's pass what is ours, where that is not so. Raises KernelError."""
    standing = [network for network in Records(store).recorded() if network.driver == BRIDGE and bridge.stands(network)]
    if standing and not firewall_of(store).is_whole():
        attach.reload(store)
    for network in standing:
        other_firewalls.admit(network)
        if not bridge.stands(network):
            other_firewalls.dismiss(store, network)  # it has been removed meanwhile
