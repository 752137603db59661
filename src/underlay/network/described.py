"""What an engine tells a name server of a network, for the type checker: an object that JSON can hold."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    class Beside(TypedDict):
        """Names of another network that members are also in, and the members that may look them up."""

        asked_by: list[str]
        names: dict[str, list[str]]

    class Written(TypedDict):
        """The description that an engine writes for a name server: see `resolver.write`."""

        interface: str
        listen: list[str]
        subnets: list[str]
        internal: bool
        upstream: list[str]
        servers: dict[str, list[str]]
        names: dict[str, list[str]]
        members: NotRequired[dict[str, list[str]]]
        others: NotRequired[list[Beside]]
