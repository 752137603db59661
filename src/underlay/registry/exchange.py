"""One request to a registry: authorised, redirected, and retried where that may help.

Repeated are requests that broke off, and those answered with 429 or a server's failure, with growing pauses, or as long
as Retry-After asks for. Redirects are followed a few times: never from TLS to plain text, never from a public server to
an address of this host, and without Authorization as soon as scheme, name or port changes (attacks RG-01).
"""

from __future__ import annotations

from .. import events
from ..errors import InvalidInput, RegistryError
from . import hosts, patience
from .transport import shown_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..events import Emit
    from .auth import Authorizer
    from .hosts import Endpoint
    from .transport import Answer, Body, Transport

_REDIRECTS = 6
_MOVED = frozenset((301, 302, 303, 307, 308))


class Server:
    """One endpoint of a registry that can be asked: a mirror, the registry itself, or it without TLS."""

    def __init__(
        self, transport: Transport, endpoint: Endpoint, authorizer: Authorizer, emit: Emit = events.ignore
    ) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.authorizer = authorizer
        self.emit = emit

    def ask(
        self,
        method: str,
        target: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | Callable[[], Body] = None,
        attempts: int = 0,
    ) -> Answer:
        """Send a request to `target`, a path below the endpoint or a URL that the registry gave; return the answer.

        `body` may be a function that makes it anew for each try; an iterable is sent once only. `attempts` defaults to
        the setting `retries`. An answer that says 401 or asks to wait is dealt with; what remains, refusals too, is
        returned. Raises Unreachable, Broken, AccessDenied (from a token server), RegistryError.
        """
        scopes = self._scoped(scopes)
        attempts = attempts or self.transport.settings.network.retries
        if body is not None and not callable(body) and not isinstance(body, bytes):
            attempts = 1
        return patience.repeated(
            lambda: self._authorised(method, target, scopes, headers or {}, body), attempts, self.pause
        )

    def _scoped(self, scopes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the scopes as a server names them whose repositories lie below a prefix."""
        prefix = self.endpoint.prefix.strip("/")
        if not prefix:
            return scopes
        return tuple(scope.replace("repository:", f"repository:{prefix}/", 1) for scope in scopes)

    def pause(self, seconds: float, reason: str) -> None:
        """Wait before another try; raises Cancelled when all is cancelled."""
        self.emit(events.Event("registry.retry", self.endpoint.authority, seconds=seconds, reason=reason))
        self.transport.pause(seconds)

    def _authorised(
        self,
        method: str,
        target: str,
        scopes: tuple[str, ...],
        headers: Mapping[str, str],
        body: Body | Callable[[], Body],
    ) -> Answer:
        for _ in range(3):
            sent = self.authorizer.header(scopes)
            answer, at_home = self._followed(method, target, headers, sent, body)
            # Only the registry's own word counts: who is redirected to must get no credential by asking for one.
            if answer.status != 401 or not at_home:
                return answer
            header = ", ".join(_every(answer, "www-authenticate"))
            if not self.authorizer.challenged(header, scopes, sent):
                return answer
            if body is not None and not callable(body) and not isinstance(body, bytes):
                return answer  # half of it may have been read
            answer.finish()
        return answer

    def _followed(
        self, method: str, target: str, headers: Mapping[str, str], authorization: str, body: Body | Callable[[], Body]
    ) -> tuple[Answer, bool]:
        """Return the last answer of a chain of redirects, and whether it comes from where the first was sent."""
        url, endpoint = self.locate(target)
        trusted = endpoint.origin == self.endpoint.origin
        for _ in range(_REDIRECTS):
            sent = dict(headers)
            if trusted and authorization:
                sent["authorization"] = authorization
            answer = self.transport.send(method, url, endpoint, sent, body() if callable(body) else body)
            location = answer.headers.get("location", "")
            if answer.status not in _MOVED or not location or method not in ("GET", "HEAD"):
                return answer, trusted
            answer.finish()
            url, following = self._redirected(url, location, endpoint)
            trusted = trusted and following.origin == self.endpoint.origin
            endpoint = following
        raise RegistryError(
            f"{shown_url(self.endpoint.url(''))}: more than {_REDIRECTS} redirects, the last to {shown_url(url)}"
        )

    def locate(self, target: str) -> tuple[str, Endpoint]:
        """Return URL and endpoint of a path, or of a URL that the registry gave as the place of an upload.

        A registry behind a proxy that ends TLS may give its own name without TLS: it means itself.
        """
        if target.startswith("/"):
            return self.endpoint.url(target), self.endpoint
        from urllib.parse import urlsplit

        try:
            endpoint = self.transport.settings.endpoint_of(target, self.endpoint)
        except InvalidInput:
            raise RegistryError(f"{self.endpoint.authority} gives an invalid URL: {target!r:.100}") from None
        if endpoint.scheme == "http" and self.endpoint.scheme == "https" and endpoint.host == self.endpoint.host:
            parts = urlsplit(target)
            if parts.port in (None, 80, self.endpoint.port):
                return f"{self.endpoint.root}{parts.path}" + (f"?{parts.query}" if parts.query else ""), self.endpoint
        return self._allowed(target, self.endpoint, endpoint)

    def _redirected(self, url: str, location: str, endpoint: Endpoint) -> tuple[str, Endpoint]:
        from urllib.parse import urljoin

        try:
            target = urljoin(url, location)
            return self._allowed(target, endpoint, self.transport.settings.endpoint_of(target, self.endpoint))
        except (ValueError, InvalidInput):
            raise RegistryError(f"{shown_url(url)} redirects to an invalid URL: {location!r:.100}") from None

    def _allowed(self, url: str, origin: Endpoint, target: Endpoint) -> tuple[str, Endpoint]:
        if origin.scheme == "https" and target.scheme != "https":
            raise RegistryError(
                f"{shown_url(self.endpoint.url(''))} redirects from TLS to plain HTTP: {shown_url(url)}; not followed"
            )
        if hosts.is_local_only(target.host) and not hosts.is_local_only(self.endpoint.host):
            raise RegistryError(
                f"{shown_url(self.endpoint.url(''))} redirects to an address of this host: {shown_url(url)}; not followed"
            )
        return url, target


def _every(answer: Answer, name: str) -> list[str]:
    every = getattr(answer.headers, "getlist", None)
    return list(every(name)) if every else [answer.headers.get(name, "")]
