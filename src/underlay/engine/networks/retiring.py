"""What the host has for networks goes with the last container and network: the default bridge, and the firewall's table."""

from __future__ import annotations

import os
import sys
import time

from ...errors import UnderlayError
from ...network import bridge
from ...network.model import DEFAULT
from ...store.rows import networks as rows
from . import other_firewalls
from .records import Records, firewall_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store

_REST = 2.0  # seconds that may pass between two containers that remove themselves, without all being made anew


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
                other_firewalls.dismiss(store, network)
                bridge.take_down(network, wall)
        wall.retire()


def rest() -> None:
    """In a process that the monitor of a container which removes itself has become: wait a little, then retire.

    Arguments: the root and state directories, and the descriptor of the lock that is held meanwhile.
    """
    from ..engine import Engine

    root, state, lock = sys.argv[-3:]
    time.sleep(_REST)
    os.close(int(lock))
    try:
        with Engine(root, state) as engine:
            engine.networks.retire()
            # A container that ended just before left this to us, and may have been on record still.
            time.sleep(_REST / 2)
            engine.networks.retire()
    except (UnderlayError, OSError):
        pass  # nobody is there to be told; the next removal is another try
