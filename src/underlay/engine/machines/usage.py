"""Who uses the kernels of machines: containers that have recorded one, whatever their state."""

from __future__ import annotations

from ...errors import Conflict
from ...store.rows import containers
from .. import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.rows.containers import ContainerRow
    from ...store.store import Store


def users(store: Store) -> dict[str, list[ContainerRow]]:
    """Return the containers that have recorded a kernel, by its release."""
    found: dict[str, list[ContainerRow]] = {}
    for row in containers.every(store.meta):
        machine = row.intent.get("machine")
        if machine is not None:
            found.setdefault(machine["kernel"], []).append(row)
    return found


def refuse_if_used(store: Store, release: str, force: bool) -> None:
    """Raise Conflict for the kernel of a container, with `force` of a running one only: as images are kept."""
    rows = users(store).get(release, [])
    running = next((row for row in rows if presence.is_running(store, row.id)), None)
    if running is not None:
        raise Conflict(
            f"conflict: unable to delete {release} (cannot be forced) - "
            f"kernel is being used by running container {running.name}",
            "stop the container first",
        )
    if rows and not force:
        raise Conflict(
            f"conflict: unable to delete {release} (must be forced) - "
            f"kernel is being used by stopped container {rows[0].name}",
            "remove the container first, or use --force",
        )
