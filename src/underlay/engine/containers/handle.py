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
    they were when it was asked for, `reload` asks again; `status`, `state` and `attrs` are always the present ones. Two
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
        """The name of the image, as it was given."""
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
        """`created`, `running`, `paused`, `restarting`, `exited`; `removed` when it is not there any more."""
        try:
            return self.state.status
        except NotFound:
            return "removed"

    @property
    def state(self) -> Status:
        """The present state: first process, times, exit code. Raises NotFound."""
        return self._containers.state(self.id)

    @property
    def attrs(self) -> dict[str, Any]:
        """What `inspect` returns."""
        return self.inspect()

    @property
    def ports(self) -> dict[str, Sequence[str]]:
        """Where its ports are reached while it runs: `{"80/tcp": ["0.0.0.0:8080", "[::]:8080"]}`."""
        return self._containers.ports(self.id)

    def __repr__(self) -> str:
        return f"<Container {self.name} {self.short_id} {self.status}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Container) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def reload(self) -> None:
        """Ask the database again: another may have renamed it. Raises NotFound."""
        self._row = find(self._containers._store, self.id)

    def inspect(self) -> dict[str, Any]:
        """Return all that is known of it, in the shape of docker's inspect. Raises NotFound."""
        return self._containers.inspect(self.id)

    def start(self) -> None:
        """Start it; harmless when it runs already. Raises StartFailed."""
        self._containers.start(self.id)

    def stop(self, timeout: float | None = None, signal: str = "") -> None:
        """Ask it to end (its stop signal), and kill it after `timeout` seconds (-1 waits for ever)."""
        self._containers.stop(self.id, timeout, signal)

    def restart(self, timeout: float | None = None) -> None:
        """Stop it if it runs, and start it again."""
        self._containers.restart(self.id, timeout)

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal to its first process; raises Conflict when it is not running."""
        self._containers.kill(self.id, signal)

    def pause(self) -> None:
        """Stop all its processes until `unpause`."""
        self._containers.pause(self.id)

    def unpause(self) -> None:
        """Let its processes go on."""
        self._containers.unpause(self.id)

    def wait(self) -> int:
        """Block until it ends and return its exit code; at once when it has ended."""
        return self._containers.wait(self.id)

    def remove(self, force: bool = False, volumes: bool = False) -> None:
        """Remove it, with `volumes` its anonymous volumes, too; with `force` it is killed first.

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
        """Return what it uses now; two samples make a rate. Raises Conflict when it does not run."""
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
        """Return what it has written; with `follow` pieces as they come, until it ends.

        `tail` is a number of lines from the end, `since` and `until` are seconds since the epoch. Times and streams of the
        pieces are told by `engine.containers.logs`. Raises Unsupported when the log driver keeps nothing.
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
        """Run another program in it to its end; the same as `engine.containers.exec`."""
        result: Result | None = self._containers.exec(self.id, command, **options)
        return result
