"""What of the events of an engine goes into the journal, in docker's words for types and actions."""

from __future__ import annotations

from ..errors import InvalidInput, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ..events import Emit, Event
    from ..journal import Entry
    from ..paths import Paths
    from ..store.rows.intent import Intent
    from ..store.store import Store

_ACTIONS = frozenset(
    (
        # Its start is written down by its monitor.
        *("container.create", "container.stop", "container.kill", "container.destroy"),
        *("container.update", "container.pause", "container.unpause", "container.rename", "container.commit"),
        *("container.attach", "container.restart", "container.resize", "container.top", "container.export"),
        *("container.exec_create", "container.exec_start", "container.exec_die", "container.archive-path"),
        *(
            "container.extract-to-dir",
            "container.prune",
            "image.prune",
            "network.prune",
            "volume.prune",
            "builder.prune",
        ),
        *("image.pull", "image.push", "image.untag", "image.delete", "image.load", "image.tag", "image.import"),
        *("network.create", "network.destroy", "network.connect", "network.disconnect"),
        *("volume.create", "volume.destroy"),
    )
)
_HIDDEN = ("pid", "size", "new", "names", "command")  # attributes that are not docker's, or not among its attributes


def path(paths: Paths) -> str:
    """Return the file of an installation's journal."""
    return paths.root + "/journal"


class Journaled:
    """Passes events on, and writes to the journal those that are about objects."""

    __slots__ = ("_emit", "store")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.store: Store | None = None

    def __call__(self, event: Event) -> None:
        """Write an event down, if it is to be, and pass it on."""
        if event.kind in _ACTIONS and self.store is not None:
            from .. import journal

            kind, _, action = event.kind.partition(".")
            attributes = {
                key: str(value) for key, value in event.attributes.items() if key not in _HIDDEN and value is not None
            }
            if kind == "container" and event.subject:
                attributes = {**self._container(event.subject), **attributes}
            if "command" in event.attributes:
                action = f"{action}: {event.attributes['command']}"
            journal.append(path(self.store.paths), kind, action, event.subject, attributes)
        self._emit(event)

    def _container(self, container_id: str) -> dict[str, str]:
        from ..store.rows import containers

        assert self.store is not None
        try:
            row = containers.find(self.store.meta, container_id)
        except UnderlayError:
            return {}
        return attributes_of(row.name, row.intent)


def attributes_of(name: str, intent: Intent) -> dict[str, str]:
    """Return what the journal says of a container with each event: its labels, image and name."""
    return {**intent["labels"], "image": intent["image"]["name"], "name": name}


def entries(
    paths: Paths, since: int = 0, until: int = 0, follow: bool = False, stopped: Callable[[], bool] = bool
) -> Iterator[Entry]:
    """Yield what happened: see `journal.read`."""
    from .. import journal

    return journal.read(path(paths), since, until, follow, stopped)


def matches(entry: Entry, filters: Mapping[str, Sequence[str]]) -> bool:
    """Return whether an entry passes filters that `check` has found sound: one value of each key must match."""
    # All labels, as docker has it; values of another key are alternatives.
    return all(
        (all if key == "label" else any)(_matches(entry, key, value) for value in values)
        for key, values in filters.items()
    )


_TYPES = ("container", "image", "network", "volume")
_WITH_WORDS = ("exec_create", "exec_start", "health_status")  # actions behind which more is said


def check(filters: Iterable[str]) -> None:
    """Raise InvalidInput for a key that docker's filters of events do not have (docker events, "--filter")."""
    for key in filters:
        if key not in ("type", "event", "label", "scope", *_TYPES):
            raise InvalidInput(f"invalid filter '{key}'", f"known are type, event, label, scope, {', '.join(_TYPES)}")


def _matches(entry: Entry, key: str, value: str) -> bool:
    attributes = entry["attributes"]
    if key == "type":
        return entry["type"] == value
    if key == "event":
        action = entry["action"]
        return action == value or (value in _WITH_WORDS and action.startswith(f"{value}:"))
    if key == "scope":
        return value == "local"
    if key == "label":
        name, equals, text = value.partition("=")
        return name in attributes and (not equals or attributes[name] == text)
    if key == "image" and entry["type"] == "container":
        return value in _names(attributes.get("image", ""))
    if key in _TYPES:
        return entry["type"] == key and (entry["id"].startswith(value) or value in _names(attributes.get("name", "")))
    return False


def _names(name: str) -> tuple[str, str]:
    """Return a name as it stands and, of an image, without its tag: `localhost:5000/app:1` and `localhost:5000/app`."""
    from ..oci import reference

    try:
        return name, reference.parse_exact(name).familiar_repository
    except InvalidInput:
        return name, name
