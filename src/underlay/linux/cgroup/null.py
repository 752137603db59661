"""No usable control group: limits are refused, the rest works without."""

from __future__ import annotations

from ...errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class GroupNone:
    """Stands where the host or the privilege gives no group."""

    version = "none"
    base = ""
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path.strip("/")

    def create(self, resources: dict[str, Any]) -> None:
        """Refuse limits; device rules need no group here, since an unprivileged container can make no device."""
        self.update({name: value for name, value in resources.items() if name != "devices"})

    def update(self, resources: dict[str, Any]) -> None:
        """Refuse limits."""
        for name, value in resources.items():
            if value and name != "devices":
                raise Unsupported(
                    f"{name} cannot be limited: no control group can be used here",
                    "run as root, or in a delegated cgroup (version 2)",
                )

    def birthplace(self) -> int:
        """Return -1: there is none."""
        return -1

    def enter(self) -> None:
        """There is nothing to join."""

    def processes(self) -> list[int]:
        """Return nothing: nobody counts."""
        return []

    def freeze(self, on: bool) -> None:
        """Refuse: freezing needs a group."""
        raise Unsupported("pausing needs a control group, and none can be used here")

    def kill(self) -> None:
        """Leave it to the pid namespace, which dies with its first process."""

    def out_of_memory(self) -> bool:
        """Return False: nobody counts."""
        return False

    def stats(self) -> dict[str, int]:
        """Return nothing."""
        return {}

    def remove(self) -> None:
        """There is nothing to remove."""

    def locations(self) -> dict[str, str]:
        """Return nothing."""
        return {}
