"""What the host has for networks goes with the last container and network: the default bridge, and the firewall's table."""

from __future__ import annotations

import os

from ...network import bridge
from ...network.model import DEFAULT
from ...store.rows import networks as rows
from . import other_firewalls
from .records import Records, firewall_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store


def retire(store: Store) -> None:
    """Remove the default bridge and the firewall's table if no container is in a network and no other network is there.

    Harmless when there is nothing. Raises KernelError.
    """
    if os.geteuid() != 0 or not rows.only_default(store.meta, DEFAULT):
        return
    wall = firewall_of(store)
    # In a transaction: no container can get an address meanwhile.
    with store.meta.write(durable=False):
        if not rows.only_default(store.meta, DEFAULT):
            return
        for network in Records(store).recorded():
            if bridge.stands(network):
                bridge.take_down(network, wall)
                other_firewalls.dismiss(store, network)
        wall.retire()
