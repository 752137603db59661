"""The registries of one operation: which servers stand for a name, with their connections and credentials."""

from __future__ import annotations

from .. import events
from ..errors import HelperMissing
from . import hosts
from .auth import Authorizer
from .credentials import Store
from .exchange import Server
from .repository import Repository
from .transport import Transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..events import Emit
    from ..oci.reference import Reference
    from .credentials import Credential
    from .hosts import Endpoint, Settings


class Registries:
    """Connections, tokens and settings for as long as it is entered.

    `settings` and `credentials` default to the user's. Emits `registry.retry` and `registry.mirror` (a mirror failed and
    the next is asked; attribute `reason`), and `registry.anonymous` (the credential of a host cannot be had, since its
    helper is not installed; attribute `reason`).
    """

    def __init__(
        self, emit: Emit = events.ignore, settings: Settings | None = None, credentials: Store | None = None
    ) -> None:
        self.settings = settings or hosts.Settings.load()
        self.credentials = credentials or Store()
        self.emit = emit
        self.transport = Transport(self.settings)
        self._servers: dict[tuple[Endpoint, str], Server] = {}
        self._credentials: dict[tuple[str, str], Credential | None] = {}
        self._parts: dict[tuple[str, str], str] = {}
        self._working: dict[tuple[str, bool], Endpoint] = {}

    def repository(self, reference: Reference) -> Repository:
        """Return the repository of a reference; nothing is asked yet. Raises Conflict when its registry is blocked."""
        return Repository(self, reference.domain, reference.path)

    def servers(self, domain: str, push: bool = False, path: str = "") -> list[Server]:
        """Return the servers that stand for `domain`, in the order to be asked; without mirrors for `push`.

        `path` is the repository that is meant, which may have a credential of its own.
        """
        plan = self.settings.plan(domain)
        endpoints = list(plan.push if push else plan.endpoints)
        working = self._working.get((domain, push))
        if working is not None and working in endpoints:
            # Nor need the other way to it be asked, with TLS or without.
            endpoints = [working, *(endpoint for endpoint in endpoints if endpoint.server_key != working.server_key)]
        return [self.server(domain, endpoint, path) for endpoint in endpoints]

    def server(self, domain: str, endpoint: Endpoint, path: str = "") -> Server:
        """Return the server at an endpoint of `domain`; a mirror has its own credential, not the domain's."""
        host = endpoint.authority if endpoint.mirror else domain
        part = "" if endpoint.mirror else self._part(domain, path)
        if (endpoint, part) not in self._servers:
            authorizer = Authorizer(self.transport, endpoint, lambda: self._credential(host, part))
            self._servers[endpoint, part] = Server(self.transport, endpoint, authorizer, self.emit)
        return self._servers[endpoint, part]

    def remember(self, domain: str, push: bool, server: Server) -> None:
        """Ask this server first from now on."""
        self._working[domain, push] = server.endpoint

    def _part(self, domain: str, path: str) -> str:
        """Return the part of a repository's path that has a credential of its own: see `Store.part`."""
        if not path:
            return ""
        if (domain, path) not in self._parts:
            self._parts[domain, path] = self.credentials.part(domain, path)
        return self._parts[domain, path]

    def _credential(self, host: str, part: str) -> Credential | None:
        if (host, part) not in self._credentials:
            try:
                self._credentials[host, part] = self.credentials.get(host, part)
            except HelperMissing as error:
                # What everyone may see can be had all the same, as docker has it.
                self._credentials[host, part] = None
                self.emit(events.Event("registry.anonymous", host, reason=error.message))
        return self._credentials[host, part]

    def cancel(self) -> None:
        """End all requests under way, in whichever thread."""
        self.transport.cancel()

    def resume(self) -> None:
        """Go on with the next piece of work after one that failed."""
        self.transport.resume()

    def __enter__(self) -> Registries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.cancel()
        self.transport.close()
