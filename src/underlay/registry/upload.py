"""Writing to a repository: blobs mounted or sent, in a stream that can be taken up again, and manifests."""

from __future__ import annotations

import threading

from ..errors import AccessDenied, NotFound, RegistryError, Unreachable
from ..human import whole
from . import problems
from .repository import Repository
from .transport import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from typing import Protocol, TypeVar

    from .exchange import Server
    from .registries import Registries
    from .transport import Answer

    T = TypeVar("T")

    class Content(Protocol):
        """Bytes to send: `pieces(n)` yields them from byte n on, the same ones each time.

        `digest` and `size` (bytes, -1 for not known yet) are known when `pieces` has ended, if not before.
        """

        @property
        def digest(self) -> str: ...
        @property
        def size(self) -> int: ...
        def pieces(self, start: int, /) -> Iterable[bytes]: ...


_STREAM = {"content-type": "application/octet-stream"}
# A connection that took so many bytes before it broke was worth something: patience begins anew.
_PROGRESS = 64 << 10


class _Unreadable(Exception):
    """What was to be sent could not be read; `reason` says why."""

    def __init__(self, reason: BaseException) -> None:
        super().__init__()
        self.reason = reason


class Target(Repository):
    """A repository of a registry to write to; reads go to the registry itself, not to a mirror."""

    def __init__(self, registries: Registries, domain: str, path: str) -> None:
        super().__init__(registries, domain, path)
        self.scopes = (f"repository:{path}:pull,push",)
        self._server: Server | None = None
        self._finding = threading.Lock()

    @property
    def server(self) -> Server:
        """The server that is written to: found by asking, TLS first where both are allowed. Raises Unreachable."""
        with self._finding:
            if self._server is None:
                self._server = self._ready_server()
            return self._server

    def _ready_server(self) -> Server:
        servers = self.registries.servers(self.domain, push=True, path=self.path)
        for number, server in enumerate(servers):
            try:
                # The version check costs one answer and tells who listens (specification, "Determining Support").
                server.ask("GET", "/v2/", self.scopes).finish()
            except Unreachable as error:
                if error.speaks_tls or number == len(servers) - 1:
                    raise
            else:
                self.registries.remember(self.domain, True, server)
                return server
        raise AssertionError("no server")

    def asked(self, work: Callable[[Server], T], without: Collection[Server] = ()) -> T:
        """Return what `work` gets from the server that is written to; there is no other."""
        return self._tried(work, self.server)

    def present(self, digest: str) -> bool:
        """Tell whether a blob need not be sent. Where the registry will not say, it need."""
        try:
            return self.has_blob(digest)
        except AccessDenied:
            return False

    def mount(self, digest: str, source: str) -> bool:
        """Let the registry take a blob from its repository `source`; False when it would rather have it sent.

        (Specification, "Mounting a blob from another repository".)
        """
        try:
            answer = self._begin(f"?mount={digest}&from={source}", (f"repository:{source}:pull", *self.scopes))
        except AccessDenied:
            return False  # of the other repository; whether this one may be written to will show
        if answer.status == 202:
            self._abandon(answer)
        else:
            answer.finish()
        return answer.status == 201

    def _abandon(self, answer: Answer) -> None:
        """Give an upload up that will not be used; the registry would forget it by itself, later."""
        location = answer.headers.get("location", "")
        answer.finish()
        if location:
            try:
                self.server.ask("DELETE", self._upload_url(answer, location), self.scopes, attempts=1).finish()
            except RegistryError:
                pass

    def _begin(self, query: str, scopes: tuple[str, ...]) -> Answer:
        return self.server.ask("POST", f"/v2/{self.path}/blobs/uploads/{query}", scopes, {"content-length": "0"}, b"")

    def send(self, content: Content) -> None:
        """Send a blob. Raises AccessDenied, RegistryError, Broken, and what reading `content` raises."""
        network = self.registries.settings.network
        location, position, failures = "", 0, 0
        while True:
            self.registries.transport.check()
            try:
                if not location:
                    location, position = self._session(), 0
                location = self._stream(location, content, position)
                if self._finished(location, content):
                    return
                location = ""
                raise Broken(f"the registry has lost the upload of {content.digest}")
            except _Unreadable as error:
                raise error.reason from None
            except Broken as error:
                failures += 1
                if failures >= network.retries or error.final:
                    raise
                self.server.pause(min(0.2 * 2**failures, 10.0), error.message)
                location, at = self._state(location)
                if at - position >= _PROGRESS:
                    failures = 0
                position = at

    def _session(self) -> str:
        answer = self._begin("", self.scopes)
        if answer.status != 202:
            raise problems.of(answer, f"cannot upload to {self}")
        location = answer.headers.get("location", "")
        answer.finish()
        if not location:
            raise RegistryError(f"cannot upload to {self}: the registry gives no URL to upload to")
        return self._upload_url(answer, location)

    def _upload_url(self, answer: Answer, location: str) -> str:
        """Return the URL of an upload; it may be another server's. Raises RegistryError for an invalid one."""
        from urllib.parse import urljoin

        try:
            return urljoin(answer.url, location)
        except ValueError:
            raise RegistryError(f"{self} gives an invalid URL to upload to: {location!r:.100}") from None

    def _stream(self, location: str, content: Content, start: int) -> str:
        """Send all pieces from byte `start` on in one request; returns where to finish."""
        headers = dict(_STREAM)
        if content.size >= 0:
            if start >= content.size:
                return location
            headers["content-length"] = str(content.size - start)
            if start:
                headers["content-range"] = f"{start}-{content.size - 1}"
        pieces = _Guarded(content, start)
        try:
            answer = self.server.ask("PATCH", location, self.scopes, headers, pieces.begin, attempts=1)
        except Broken:
            if pieces.error is not None:
                raise _Unreadable(pieces.error) from None
            raise
        if pieces.error is not None:
            answer.close()
            raise _Unreadable(pieces.error)
        if answer.status in (408, 429, 500, 502, 503, 504, 416):
            raise Broken(f"upload to {self}: {problems.reason_of(answer) or f'status {answer.status}'}")
        if answer.status not in (201, 202, 204):
            raise problems.of(answer, f"cannot upload to {self}")
        following = answer.headers.get("location", "")
        answer.finish()
        return self._upload_url(answer, following) if following else location

    def _finished(self, location: str, content: Content) -> bool:
        """Close an upload; returns whether the registry has the blob now."""
        joint = "&" if "?" in location else "?"
        target = f"{location}{joint}digest={content.digest.replace(':', '%3A')}"
        try:
            answer = self.server.ask("PUT", target, self.scopes, {**_STREAM, "content-length": "0"}, b"")
        except Broken:
            # The registry may have received the request all the same.
            if self.has_blob(content.digest):
                return True
            raise
        if answer.status in (201, 202, 204):
            answer.finish()
            return True
        if answer.status == 404:
            answer.finish()
            return self.has_blob(content.digest)
        raise problems.of(answer, f"the registry does not take the blob {content.digest}")

    def _state(self, location: str) -> tuple[str, int]:
        """Return where an upload that broke off goes on, and how many bytes have come; ("", 0) to begin anew."""
        if not location:
            return "", 0
        try:
            answer = self.server.ask("GET", location, self.scopes, attempts=1)
        except (Broken, Unreachable):
            return "", 0
        status, following = answer.status, answer.headers.get("location", "")
        end = answer.headers.get("range", "").removeprefix("bytes=").partition("-")[2]
        answer.finish()
        last = whole(end)
        if status != 204 or last < 0:
            return "", 0
        # "0-0" stands for no byte as well as for one: no byte is assumed.
        return (self._upload_url(answer, following) if following else location), (last + 1 if last else 0)

    def put_manifest(self, data: bytes, media_type: str, name: str) -> None:
        """Store a manifest or index under a tag or digest. Raises AccessDenied, RegistryError, NotFound."""
        answer = self.server.ask(
            "PUT",
            f"/v2/{self.path}/manifests/{name}",
            self.scopes,
            {"content-type": media_type, "content-length": str(len(data))},
            data,
        )
        if answer.status not in (200, 201, 202):
            error = problems.of(answer, f"the registry does not take the manifest of {self.shown(name)}")
            raise RegistryError(error.message, error.hint) if isinstance(error, NotFound) else error
        answer.finish()

    def delete_manifest(self, name: str) -> bool:
        """Remove a tag, or a manifest by its digest; False when the registry does not do that.

        (Specification, "Deleting tags" and "Deleting Manifests".) Raises AccessDenied, RegistryError, NotFound.
        """
        scopes = (f"repository:{self.path}:delete,pull,push",)
        answer = self.server.ask("DELETE", f"/v2/{self.path}/manifests/{name}", scopes)
        if answer.status in (400, 405, 501):
            answer.finish()
            return False
        if answer.status not in (200, 202, 204):
            raise problems.of(answer, f"cannot remove {self.shown(name)}")
        answer.finish()
        return True


class _Guarded:
    """Pieces whose reading may fail: the error is kept apart from those of the connection that they are sent over."""

    def __init__(self, content: Content, start: int) -> None:
        self._content = content
        self._start = start
        self.error: BaseException | None = None

    def begin(self) -> Iterator[bytes]:
        """Yield the pieces, from the beginning at each call."""
        try:
            for piece in self._content.pieces(self._start):
                if piece:
                    yield piece
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise OSError("the content cannot be read") from error
