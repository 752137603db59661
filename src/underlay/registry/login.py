"""Logging in and out: a credential is verified with the registry before it is stored."""

from __future__ import annotations

from ..errors import AccessDenied, Unreachable
from . import problems
from .credentials import Credential, Store
from .registries import Registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .hosts import Settings


class _Only(Store):
    """Knows one credential, for every host that it is asked about: see `verify`, which asks one host."""

    def __init__(self, credential: Credential) -> None:
        super().__init__()
        self._credential = credential

    def get(self, host: str, repository: str = "") -> Credential | None:
        """Return the credential."""
        return self._credential


def verify(domain: str, credential: Credential, settings: Settings | None = None) -> Credential:
    """Try a credential at a registry; return what should be kept: itself, or an identity token in its place.

    A registry that asks for no credential accepts any. Raises AccessDenied, Unreachable, RegistryError.
    """
    with Registries(settings=settings, credentials=_Only(credential)) as registries:
        servers = registries.servers(domain, push=True)
        for number, server in enumerate(servers):
            try:
                answer = server.ask("GET", "/v2/", ())
            except Unreachable as error:
                if error.speaks_tls or number == len(servers) - 1:
                    raise
                continue
            if answer.status in (401, 403):
                reason = problems.reason_of(answer)
                raise AccessDenied(
                    f"login to {domain} failed" + (f": {reason}" if reason else ": wrong name or password"),
                    "check the user name and the password or token",
                )
            if answer.status != 200:
                raise problems.of(answer, f"login to {domain}")
            answer.finish()
            token = server.authorizer.offline()
            return Credential(username=credential.username, identity_token=token) if token else credential
    raise AssertionError("no server")
