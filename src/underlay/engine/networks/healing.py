"""The process that mends the firewall when another program has changed it: monitors start it (`FirewallWatch`)."""

from __future__ import annotations

import os
import sys
import time

from ...errors import UnderlayError
from ...network import bridge
from ...network.model import BRIDGE
from ...runtime.monitor import detached
from . import attach, other_firewalls
from .records import Records, firewall_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store

_CALM = 0.5  # seconds after which whoever changes the firewall may be through


def serve() -> None:
    """Mend the firewall of the root and state directories in the arguments, with the lock in the given descriptor."""
    from ..engine import Engine

    detached.begin()
    root, state = sys.argv[-2:]
    try:
        with Engine(root, state) as engine:
            time.sleep(_CALM)
            engine.networks.mend()
            time.sleep(_CALM)
            os.close(detached.GIVEN)
            # Monitors that were told of changes while the lock was held have done nothing about them.
            engine.networks.mend()
    except (UnderlayError, OSError):
        pass  # nobody is there to be told; the next start of a container is another try


def mend(store: Store) -> None:
    """Make the firewall whole, and let Docker's pass what is ours, where that is not so. Raises KernelError."""
    standing = [network for network in Records(store).recorded() if network.driver == BRIDGE and bridge.stands(network)]
    if standing and not firewall_of(store).is_whole():
        attach.reload(store)
    for network in standing:
        bridge.mend(network)
        other_firewalls.admit(network)
