"""After a boot: the containers that should run by their restart policies are started."""

from __future__ import annotations

from ..errors import Conflict, UnderlayError
from ..runtime.monitor import state
from ..store.rows import containers
from . import presence
from .containers import session
from .containers.sweep import sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..runtime.monitor.records import Last
    from ..store.rows.containers import ContainerRow
    from ..store.store import Store
    from .launcher import Launcher


class Started:
    """What has been done: names of the containers that were `started`, and the errors of others by name."""

    __slots__ = ("failed", "started")

    def __init__(self) -> None:
        self.started: list[str] = []
        self.failed: dict[str, UnderlayError] = {}


def start_all(store: Store, launcher: Launcher) -> Started:
    """Start the containers that do not run and should: those of the policy always, those of unless-stopped that nobody has
    stopped, those of on-failure that have failed. One that cannot start does not keep the others from it."""
    before = {row.id for row in containers.every(store.meta) if presence.is_running(store, row.id)}
    sweep(store, launcher)  # what has been interrupted is started there
    done = Started()
    waiting = []
    for row in reversed(containers.every(store.meta)):  # the oldest first
        if presence.is_running(store, row.id):
            done.started += [row.name] if row.id not in before else []
        elif should_run(store, row):
            waiting.append(row)
    while waiting:
        # Who joins the namespaces of another container starts after that one.
        ready = [row for row in waiting if not _owners(row).intersection(other.id for other in waiting)] or waiting
        for row in ready:
            try:
                session.start(store, launcher, row.id, row.name, row.intent).close()
                done.started.append(row.name)
            except Conflict as error:
                if not presence.is_running(store, row.id):
                    done.failed[row.name] = error
            except UnderlayError as error:
                done.failed[row.name] = error
        waiting = [row for row in waiting if row not in ready]
    return done


def _owners(row: ContainerRow) -> set[str]:
    return set((row.intent.get("joins") or {}).values())


def should_run(store: Store, row: ContainerRow) -> bool:
    """Return whether a container that does not run should, by docker's rules for the start of its daemon."""
    policy = row.intent["restart"]
    last: Last = state.read(store.paths.container(row.id), "last.json")
    if not last.get("started") and not last.get("failed"):
        return False  # it has never been started
    if policy["name"] == "always":
        return True
    if policy["name"] == "unless-stopped":
        return not last.get("stopped")
    if policy["name"] == "on-failure":
        failed = last.get("code") not in (0, None)
        return failed and (not policy["maximum"] or int(last.get("restarts") or 0) < policy["maximum"])
    return False
