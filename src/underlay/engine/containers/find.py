"""Finding containers: one by its name, all with their present states."""

from __future__ import annotations

from ...runtime.monitor import state
from ...store.rows import containers as rows
from .. import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import Intent
    from ...store.store import Store


class ContainerListing:
    """A container as `ps` shows it: `row` of the database, `intent` (what was asked for), `status` (its present state)."""

    __slots__ = ("intent", "row", "status")

    def __init__(self, row: ContainerRow, intent: Intent, status: Status) -> None:
        self.row = row
        self.intent = intent
        self.status = status


def find(store: Store, name: str) -> ContainerRow:
    """Return the row of a container, by its name, id or the beginning of its id; raises NotFound, Conflict (ambiguous)."""
    return rows.find(store.meta, name)


def listed(store: Store, all: bool = False) -> list[ContainerListing]:
    """Return the running containers, or all, the newest first."""
    listings = []
    for row in rows.every(store.meta):
        status = presence.status(store, row.id)
        running = status.status in (state.RUNNING, state.PAUSED, state.RESTARTING)
        if not running and not all:
            continue
        if status.status == state.CREATED and presence.has_vanished(store, row.id):
            continue
        listings.append(ContainerListing(row, row.intent, status))
    return listings
