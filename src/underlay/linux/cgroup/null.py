"""The driver for hosts without a usable control group: limits are refused, the rest works."""

from __future__ import annotations

from ...errors import Unsupported
from .settings import limits_something

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..specification import Resources
    from .stats import Figures


class GroupNone:
    """Stands where the host or the privilege gives no group."""

    version = "none"
    base = ""
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path.strip("/")

    def create(self, resources: Resources) -> None:
        """Refuse limits; device rules need no group here, since an unprivileged container can make no device."""
        self.update(resources)

    def check_free(self) -> None:
        """There is no group that could be in use."""

    def update(self, resources: Resources) -> Callable[[], None]:
        """Refuse limits."""
        for name, value in resources.items():
            if name != "devices" and limits_something(value):
                raise Unsupported(
                    f"{name} cannot be limited: no control group can be used here",
                    "run as root, or in a delegated cgroup (version 2)",
                )
        return lambda: None

    def birthplace(self) -> int:
        """Return -1: there is none."""
        return -1

    def enter(self) -> None:
        """There is nothing to join."""

    def admit(self, pid: int) -> None:
        """There is nothing to join."""

    def processes(self) -> list[int]:
        """Return nothing: without a group processes are not counted."""
        return []

    def frozen(self) -> bool:
        """Return False: without a group nothing can be frozen."""
        return False

    def freeze(self, on: bool) -> None:
        """Refuse: freezing needs a group."""
        raise Unsupported("pausing needs a control group, and none can be used here")

    def kill(self) -> None:
        """Leave it to the pid namespace, which dies with its first process."""

    def out_of_memory(self) -> bool:
        """Return False: without a group this is not known."""
        return False

    def oom_kills(self) -> int:
        """Return 0: without a group they are not counted."""
        return 0

    def oom_event(self) -> int:
        """Refuse: events need a group."""
        raise Unsupported("out-of-memory events need a control group, and none can be used here")

    def stats(self) -> Figures:
        """Return nothing."""
        return {}

    def remove(self) -> None:
        """There is nothing to remove."""

    def locations(self) -> dict[str, str]:
        """Return nothing."""
        return {}
