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

    @property
    def is_running(self) -> bool:
        """Whether the container runs, is paused or is about to be restarted."""
        return self.status.status in (state.RUNNING, state.PAUSED, state.RESTARTING)


def find(store: Store, name: str) -> ContainerRow:
    """Return the row of a container, by its name, id or the beginning of its id; raises NotFound, Conflict (ambiguous)."""
    return rows.find(store.meta, name)


def given_labels(row: ContainerRow) -> dict[str, str]:
    """Return the labels that a container was given when it was made, without those of its image."""
    return dict(row.intent["options"].get("labels") or {})


def listed(store: Store, all: bool = False) -> list[ContainerListing]:
    """Return the running containers, or all, the newest first."""
    found = (listing(store, row) for row in rows.every(store.meta))
    return [item for item in found if item is not None and (all or item.is_running)]


def listing(store: Store, row: ContainerRow) -> ContainerListing | None:
    """Return a container as it is now, None if it has just been removed."""
    status = presence.status(store, row.id)
    if status.status == state.CREATED and presence.has_vanished(store, row.id):
        return None
    return ContainerListing(row, row.intent, status)
