"""A container as a Python object."""

from __future__ import annotations

from ...errors import NotFound
from ...lean.overload import overload
from .find import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Literal, Unpack

    from ...runtime.monitor.attachment import Attachment
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ..keywords import Command, ExecKeywords, LimitKeywords
    from ..options import ContainerOptions
    from . import Containers
    from .result import Result, Source, Target
    from .session import Session
    from .stats import Stats
    from .top import Processes


class Container:
    """A container of an engine, running or not: what `engine.containers` returns.

    `id`, `name`, `image` (the name that it was made from), `image_id`, `labels` and `created` (ns since the epoch) are as
    of the lookup, `reload` refreshes them; `status`, `state` and `attrs` are always current. Two
    objects for the same container are equal.
    """

    __slots__ = ("_containers", "_row")

    def __init__(self, containers: Containers, row: ContainerRow) -> None:
        self._containers = containers
        self._row = row

    @property
    def id(self) -> str:
        """The id: 64 hexadecimal digits."""
        return self._row.id

    @property
    def short_id(self) -> str:
        """The first twelve digits of the id."""
        return self._row.id[:12]

    @property
    def name(self) -> str:
        """The name."""
        return self._row.name

    @property
    def image(self) -> str:
        """The name of the image, as the caller gave it."""
        return str(self._row.intent["image"]["name"])

    @property
    def image_id(self) -> str:
        """The id of the image."""
        return self._row.image

    @property
    def labels(self) -> dict[str, str]:
        """The labels, those of the image too."""
        return dict(self._row.intent["labels"])

    @property
    def created(self) -> int:
        """When it was made, in ns since the epoch."""
        return self._row.created

    @property
    def status(self) -> str:
        """`created`, `running`, `paused`, `restarting`, `exited`; `removed` when it no longer exists."""
        try:
            return self.state.status
        except NotFound:
            return "removed"

    @property
    def state(self) -> Status:
        """The current state: first process, times, exit code. Raises NotFound."""
        return self._containers.state(self.id)

    @property
    def attrs(self) -> dict[str, Any]:
        """What `inspect` returns."""
        return self.inspect()

    @property
    def ports(self) -> dict[str, Sequence[str]]:
        """The host addresses of its published ports while it runs: `{"80/tcp": ["0.0.0.0:8080", "[::]:8080"]}`."""
        return self._containers.ports(self.id)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.short_id} {self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def reload(self) -> None:
        """Reload it from the database: another process may have renamed it. Raises NotFound."""
        self._row = find(self._containers._store, self.id)

    def inspect(self) -> dict[str, Any]:
        """Return detailed information on it, in the format of `docker inspect`. Raises NotFound."""
        return self._containers.inspect(self.id)

    def start(self) -> None:
        """Start it; harmless when it runs already. Raises StartFailed."""
        self._containers.start(self.id)

    def stop(self, timeout: float | None = None, signal: str = "") -> None:
        """Send it its stop signal, and kill it after `timeout` seconds (-1 waits for ever)."""
        self._containers.stop(self.id, timeout, signal)

    def restart(self, timeout: float | None = None, signal: str = "") -> None:
        """Stop it if it runs, and start it again."""
        self._containers.restart(self.id, timeout, signal)

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal to its first process; raises Conflict when it is not running."""
        self._containers.kill(self.id, signal)

    def pause(self) -> None:
        """Suspend all its processes until `unpause`."""
        self._containers.pause(self.id)

    def unpause(self) -> None:
        """Resume all its processes."""
        self._containers.unpause(self.id)

    def wait(self) -> int:
        """Block until it exits and return its exit code; returns at once when it has exited."""
        return self._containers.wait(self.id)

    def wait_healthy(self) -> None:
        """Block until its health check has found it healthy; raises Conflict when it has none, or it ends before."""
        self._containers.wait_healthy(self.id)

    def remove(self, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with `volumes` its anonymous volumes too; with `force` it is killed first if it runs.

        Raises Conflict when it runs.
        """
        self._containers.remove(self.id, force, volumes)

    def rename(self, name: str) -> None:
        """Give it another name; raises Conflict when that is taken."""
        self._containers.rename(self.id, name)
        self.reload()

    def update(self, options: ContainerOptions | None = None, **limits: Unpack[LimitKeywords]) -> None:
        """Change limits or the restart policy, as `engine.containers.update` does."""
        self._containers.update(self.id, options, **limits)

    def stats(self) -> Stats:
        """Return its current resource usage; a rate takes two samples. Raises Conflict when it does not run."""
        return self._containers.stats(self.id)

    def top(self, options: Sequence[str] = ()) -> Processes:
        """Return its processes as ps would list them with `options`; none means `-ef`."""
        return self._containers.top(self.id, options)

    def attach(self, attachment: Attachment) -> Session:
        """Attach descriptors to its streams while it runs."""
        return self._containers.attach(self.id, attachment)

    @overload
    def logs(
        self,
        *,
        follow: Literal[False] = False,
        tail: int = -1,
        since: float = 0.0,
        until: float = 0.0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> bytes: ...

    @overload
    def logs(
        self,
        *,
        follow: Literal[True],
        tail: int = -1,
        since: float = 0.0,
        until: float = 0.0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[bytes]: ...

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int = -1,
        since: float = 0.0,
        until: float = 0.0,
        stdout: bool = True,
        stderr: bool = True,
    ) -> bytes | Iterator[bytes]:
        """Return its logged output; with `follow` yield pieces as they arrive, until it exits.

        `tail` is a number of lines from the end, `since` and `until` are seconds since the epoch. `engine.containers.logs`
        also yields the time and stream of each piece. Raises Unsupported when the log driver stores nothing.
        """
        records = self._containers.logs(self.id, follow, tail, since, until, stdout, stderr)
        pieces = (data for _, _, data in records)
        return pieces if follow else b"".join(pieces)

    @overload
    def exec(
        self,
        command: Command,
        *,
        detach: Literal[False] = False,
        input: bytes | None = None,
        stdin: Source = None,
        stdout: Target = None,
        stderr: Target = None,
        **options: Unpack[ExecKeywords],
    ) -> Result: ...

    @overload
    def exec(self, command: Command, *, detach: Literal[True], **options: Unpack[ExecKeywords]) -> None: ...

    def exec(self, command: Command, **options: Any) -> Result | None:
        """Run another program in it until it exits; the same as `engine.containers.exec`."""
        result: Result | None = self._containers.exec(self.id, command, **options)
        return result
