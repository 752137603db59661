"""What the operations of a container share while they are applied: descriptors, and the identity found on the way."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Operation = tuple[Any, ...]


class Context:
    """What the operations share while they are applied: descriptors, and the identity found on the way."""

    __slots__ = (
        "channel",
        "console",
        "environment",
        "gid",
        "group",
        "groups",
        "groups_denied",
        "home",
        "null",
        "proc",
        "root",
        "seccomp",
        "stdio",
        "uid",
        "volatile",
    )

    def __init__(self) -> None:
        self.root = -1  # O_PATH descriptor of the container's root
        self.proc = -1  # the container's own procfs, for all writes
        self.null = -1  # the container's own /dev/null
        self.console = -1
        self.channel: Any = None  # socket to the monitor
        self.stdio: tuple[int, ...] = ()
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.groups_denied = False  # whether the user namespace forbids setgroups(2)
        self.group: Any = None  # the cgroup to enter; None when there is nothing to do
        self.home = "/"
        self.environment: dict[str, str] = {}
        self.seccomp = b""
        self.volatile: list[int] = []  # descriptors to close before the program starts
