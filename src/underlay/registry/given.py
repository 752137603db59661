"""Credentials that a caller gives for one piece of work: they count before the user's own, and are stored nowhere."""

from __future__ import annotations

from .credentials import Store, server_key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .credentials import Credential


class Given(Store):
    """Credentials by registry, in any form of its name that `server_key` takes; the user's own for all other registries.

    Raises InvalidInput for what is no name of a registry.
    """

    __slots__ = ("_given",)

    def __init__(self, given: Mapping[str, Credential]) -> None:
        super().__init__()
        self._given = {server_key(host): credential for host, credential in given.items()}

    def get(self, host: str, repository: str = "") -> Credential | None:
        """Return the credential for a registry: see `Store.get`."""
        return self._given.get(server_key(host)) or super().get(host, repository)

    def part(self, host: str, repository: str) -> str:
        """Return how much of a repository's path has an entry of its own: see `Store.part`."""
        return "" if server_key(host) in self._given else super().part(host, repository)
