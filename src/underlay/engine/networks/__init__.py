"""Networks: create, list, inspect, remove, prune, connect, disconnect, and their firewall."""

from __future__ import annotations

import os

from ...errors import Conflict, InvalidInput, NotFound
from ...events import Event
from ...network.model import BRIDGE, DEFAULT
from ...store.pruned import Pruned, labelled
from ...store.rows import networks as rows
from .. import presence
from .records import MODES, OF_PLUGINS, Records, firewall_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ...network.model import Network
    from ...store.store import Store


class Networks(Records):
    """The networks of an engine."""

    __slots__ = ()

    def _created(self, network: Network) -> None:
        """Emit `network.create`, and a `host.warning` for each chain of another program that drops its packets."""
        from . import other_firewalls

        super()._created(network)
        other_firewalls.warn(self._store, network)

    def obstacles(self) -> list[str]:
        """Return a line for each chain of another program that drops packets of a network."""
        from . import other_firewalls

        return [
            item.text(network.interface)
            for network in self.recorded()
            for item in other_firewalls.obstacles(self._store, network)
        ]

    def remove(self, name: str) -> str:
        """Remove a network; returns its name. Raises NotFound, Conflict while running containers are in it."""
        if name in MODES:
            raise InvalidInput(f"{name} is a pre-defined network and cannot be removed")
        network = self.get(name)
        if network.name == DEFAULT:
            raise InvalidInput(f"{name} is a pre-defined network and cannot be removed")
        if os.geteuid() == 0:
            from ..builds import networks

            networks.sweep(self._store)
        rows.delete(
            self._store.meta,
            network.id,
            network.name,
            lambda container: (
                presence.is_running(self._store, container) or presence.is_monitored(self._store, container)
            ),
            lambda: _take_down(self._store, network),
        )
        self._store.emit(Event("network.destroy", network.id, name=network.name, type=network.driver))
        self.retire()
        return network.name

    def in_use(self) -> set[str]:
        """Return the ids of the networks that containers are in, whether they run or not."""
        return rows.in_use(self._store.meta)

    def prune(self, until: float | None = None, labels: Sequence[str] = ()) -> Pruned:
        """Remove networks that no container is in, created before `until` (seconds since the epoch).

        `labels` are `key`, `key=value`, `!key` or `!key=value`: one of the first two must match, none of the others.
        """
        gone = []
        for network in self.list():
            if network.name == DEFAULT or (until is not None and network.created / 1e9 >= until):
                continue
            if rows.leases(self._store.meta, network=network.id):
                continue  # of a container that needs it to start
            if labelled(network.labels, labels):
                try:
                    gone.append(self.remove(network.name))
                except (Conflict, NotFound):
                    pass
        self._store.emit(Event("network.prune", "", reclaimed=0))
        return Pruned(gone)

    def connect(
        self, network: str, container: str, address: str = "", address6: str = "", aliases: Sequence[str] = ()
    ) -> None:
        """Connect a container to a network, at once if it runs. Raises NotFound, Conflict, InvalidInput, Unsupported."""
        from . import attach

        joined = self.get(network)
        attach.connect(self._store, joined, container, address, address6, aliases)
        self._emit_of("network.connect", joined, container)

    def _emit_of(self, kind: str, network: Network, container: str) -> None:
        from ..containers.find import find
        from .attach import connected

        self._store.emit(connected(kind, network, find(self._store, container).id))

    def disconnect(self, network: str, container: str, force: bool = False) -> None:
        """Disconnect a container from a network, at once if it runs. Raises NotFound, Conflict."""
        from . import attach

        left = self.get(network)
        attach.disconnect(self._store, left, container, force)
        try:
            self._emit_of("network.disconnect", left, container)
        except NotFound:
            pass  # `force` takes a container that is gone

    def inspect(self, name: str) -> dict[str, Any]:
        """Return detailed information on a network, in the format of `docker network inspect`."""
        if name.startswith(OF_PLUGINS):
            from . import cni

            return cni.inspect(self._store, name)
        from . import inspect as network_inspection

        return network_inspection.inspect(self._store, name)

    def of_plugins(self) -> Sequence[tuple[str, str]]:
        """Return names (cni:NAME) and ids of the networks that files of CNI configure on this host."""
        from . import cni

        return [(OF_PLUGINS + found.name, cni.network_id(found.name)) for found in cni.listed()]

    def retire(self) -> None:
        """Remove the default bridge and the firewall's table if no container is in a network and no other network exists.

        Removing containers and networks does it. Raises KernelError.
        """
        from . import retiring

        retiring.retire(self._store)

    def mend(self) -> None:
        """Make the firewall whole where another program has changed it. Raises KernelError, Unsupported."""
        from . import healing

        healing.mend(self._store)

    def reload(self) -> int:
        """Rebuild the bridges and the firewall for all running containers; returns the number of containers.

        What Docker's firewall needs for them is set up again, and chains of other programs that drop their traffic are
        reported as `host.warning` events.
        """
        from ...network import bridge
        from . import attach, other_firewalls

        count = attach.reload(self._store)
        for network in self.list():
            if network.driver == BRIDGE and bridge.stands(network):
                stopped = bridge.mend(network)
                if stopped:
                    other_firewalls.warn_of_forwarding(self._store, network)
                other_firewalls.admit(network)
                other_firewalls.warn(self._store, network)
        return count

    def rules(self) -> str:
        """Return the firewall in `nft` syntax: the table, and the set elements of containers and networks."""
        return firewall_of(self._store).written()


def _take_down(store: Store, network: Network) -> None:
    if os.geteuid() != 0:
        return
    if network.driver == BRIDGE:
        from ...network import bridge
        from . import other_firewalls

        # Last, since monitors who find the bridge gone take back what they have just set up.
        bridge.take_down(network, firewall_of(store))
        other_firewalls.dismiss(store, network)
    else:
        from ...network import parents

        parents.remove(network, firewall_of(store).name, Records(store).recorded())
