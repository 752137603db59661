"""Downloading a blob over several connections: after a break it continues where it stopped.

Only the length is verified here; the caller hashes the content. A server that starts over or sends other bytes after a
break is detected by the digest; if it was a mirror, the caller may start again without it.
"""

from __future__ import annotations

from ..errors import DigestMismatch, RegistryError, Unreachable
from . import problems
from .transport import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Protocol, TypeVar

    from .exchange import Server
    from .hosts import Settings
    from .transport import Answer, Transport

    T = TypeVar("T")

    class Connections(Protocol):
        """What a download needs of `registries.Registries`."""

        settings: Settings
        transport: Transport

    class Origin(Protocol):
        """What a download needs of a repository (`repository.Repository`)."""

        path: str
        scopes: tuple[str, ...]

        @property
        def registries(self) -> Connections: ...
        def asked(self, work: Callable[[Server], T], without: Collection[Server] = ()) -> T: ...
        def failed(self, mirror: Server, reason: str) -> None: ...


# A connection that brought so much before it broke was worth something: patience begins anew.
_PROGRESS = 64 << 10
_RECONNECTIONS = 100
_PIECE = 1 << 20


class Download:
    """A blob to read: `read(n)` gives at most n bytes, none when all `size` bytes have come. Close it."""

    def __init__(self, repository: Origin, digest: str, size: int, position: int = 0) -> None:
        self.name = digest
        self.digest = digest
        self.size = size
        self.position = position
        self._repository = repository
        self._answer: Answer | None = None
        self._server: Server | None = None
        self._failures = 0
        self._connections = 0
        self._reached = position
        self._gave: set[Server] = set()
        self._without: set[Server] = set()

    def skip(self, position: int) -> None:
        """Begin at `position`: the bytes before it are known. To be called before the first `read`."""
        self.position = self._reached = position

    def read(self, most: int, /) -> bytes:
        """Return what comes next. Raises Broken, NotFound, AccessDenied, DigestMismatch (size), RegistryError."""
        while True:
            try:
                if self._answer is None:
                    if self.position == self.size:
                        return b""
                    self._answer = self._open()
                data = self._answer.read(min(most, _PIECE))
                if not data and self.position < self.size:
                    raise Broken(f"blob {self.digest}: the connection was closed after {self.position} bytes")
            except (Broken, Unreachable) as error:
                # Who has answered before may do so again soon; who never has will not.
                if isinstance(error, Unreachable) and not self._connections:
                    raise
                self.close()
                self._repository.registries.transport.check()
                self._again(error)
                continue
            self.position += len(data)
            if data and self._server is not None:
                self._gave.add(self._server)
            if self.position > self.size:
                raise DigestMismatch(f"blob {self.digest}: wrong size", f"{self.size} bytes", "more")
            return data

    def _again(self, error: Broken | Unreachable) -> None:
        """Wait before another connection; raises `error` when there have been enough without progress."""
        network = self._repository.registries.settings.network
        if self.position - self._reached >= _PROGRESS:
            self._failures = 0
        self._reached = self.position
        self._failures += 1
        self._connections += 1
        final = isinstance(error, Broken) and error.final
        if (final or self._failures >= network.retries) and self._passed_over(error.message, [self._server]):
            self._failures = 0
            return
        if final or self._failures >= network.retries or self._connections > _RECONNECTIONS:
            raise Broken(
                f"{error.message} (after {self._connections} tries)",
                error.hint or "try again: the part that was fetched is kept",
            )
        if self._server is not None:
            self._server.pause(min(0.2 * 2**self._failures, 10.0), error.message)

    def elsewhere(self, reason: str) -> bool:
        """Begin anew without the mirrors that gave bytes which proved wrong; False when there were none."""
        self.close()
        wrong = self._passed_over(reason, list(self._gave))
        if wrong:
            self.skip(0)
            self._gave.clear()
            self._failures = 0
        return wrong

    def _passed_over(self, reason: str, servers: Iterable[Server | None]) -> bool:
        """Ask no mirror of `servers` for this blob again; returns whether there is one among them."""
        mirrors = [
            server
            for server in servers
            if server is not None and server.endpoint.mirror and server not in self._without
        ]
        self._without.update(mirrors)
        for server in mirrors:
            self._repository.failed(server, reason)
        return bool(mirrors)

    def _open(self) -> Answer:
        def ask(server: Server) -> Answer:
            self._server = server
            headers = {"range": f"bytes={self.position}-{self.size - 1}"} if self.position else {}
            repository = self._repository
            answer = server.ask("GET", f"/v2/{repository.path}/blobs/{self.digest}", repository.scopes, headers)
            if answer.status not in (200, 206):
                raise problems.of(answer, f"blob {self.digest} of {repository}")
            try:
                self._fits(answer)
            except BaseException:
                answer.close()
                raise
            return answer

        answer = self._repository.asked(ask, self._without)
        try:
            self._passed(answer)
        except BaseException:
            answer.close()
            raise
        return answer

    def _fits(self, answer: Answer) -> None:
        """Check that an answer says of itself that it continues where we are, or begins anew with the right length."""
        if answer.status == 206:
            unit, _, rest = answer.headers.get("content-range", "").strip().partition(" ")
            if unit.lower() != "bytes" or rest.partition("-")[0] != str(self.position):
                raise RegistryError(
                    f"blob {self.digest}: asked for bytes from {self.position}, got {unit!r:.20} {rest!r:.60}"
                )
        elif answer.length >= 0 and answer.length != self.size:
            raise DigestMismatch(f"blob {self.digest}: wrong size", f"{self.size} bytes", answer.length)

    def _passed(self, answer: Answer) -> None:
        """Pass over what a server without ranges sends again."""
        if answer.status == 206:
            return
        left = self.position
        while left:
            data = answer.read(min(left, _PIECE))
            if not data:
                raise Broken(f"blob {self.digest}: the connection was closed early")
            left -= len(data)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None
