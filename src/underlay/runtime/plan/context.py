"""What the operations of a container share while they are applied: file descriptors and the resolved identity."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any, TypedDict

    from ...linux.cgroup import Group
    from ...linux.specification import Hooks, Maps, State
    from ..apply.laststep import Script

    Operation = tuple[Any, ...]
    Add = Callable[[Operation], None]
    Node = tuple[str, str, int, int, int, int, int]  # path, type, major, minor, mode, uid, gid

    class IdMapping(TypedDict):
        """With which ids a bind shows its files."""

        uids: Maps
        gids: Maps
        recursive: bool

    # What the operation `bind` sets: attributes of the mount, and (all-) of those below it, too; with `beneath` only that
    # path of the source is bound.
    BindSettings = TypedDict(
        "BindSettings",
        {
            "on": int,
            "off": int,
            "all-on": int,
            "all-off": int,
            "propagation": list[int],
            "idmap": IdMapping,
            "beneath": str,
        },
        total=False,
    )


class Context:
    """What the operations share while they are applied: descriptors, and the identity found on the way."""

    __slots__ = (
        "admitted",
        "capabilities",
        "channel",
        "console",
        "directory",
        "environment",
        "gid",
        "group",
        "groups",
        "groups_denied",
        "home",
        "hooks",
        "host_proc",
        "listener",
        "notifies",
        "null",
        "proc",
        "root",
        "script",
        "seccomp",
        "secrets",
        "sibling",
        "sources",
        "state",
        "stdio",
        "uid",
        "volatile",
    )

    def __init__(self) -> None:
        self.root = -1  # O_PATH descriptor of the container's root
        self.proc = -1  # the container's own procfs, for all writes
        self.null = -1  # the container's own /dev/null
        self.console = -1
        self.channel: _socket.socket  # to the monitor; set by the code that clones the process
        self.stdio: tuple[int, ...] = ()
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.capabilities = (0, 0, 0, 0, 0)  # of the program: bounding, permitted, inheritable, ambient, effective
        self.groups_denied = False  # whether the user namespace forbids setgroups(2)
        self.group: Group | None = None  # the cgroup to enter; None when there is nothing to do
        self.admitted = False  # whether the parent moves this process, which is not allowed to
        self.home = "/"
        self.directory = "/"  # where the program will start
        self.environment: dict[str, str] = {}
        self.seccomp = b""
        self.script: Script  # the calls that are made at the very end; begun with the first operation
        self.notifies = False  # whether the filter has an agent: its listener is sent to the parent
        self.sibling = -1  # flags of the clone that enters the pid namespace at the end; -1 when we are in it already
        self.host_proc = -1  # the host's procfs, for a process that is still in the host's pid namespace
        self.volatile: list[int] = []  # descriptors to close before the program starts
        self.sources: dict[str, int] = {}  # unattached mounts that the parent has made, by destination
        self.secrets: list[bytes] = []  # in the order of the operation's targets
        self.hooks: Hooks = {}  # by kind, those that run in here
        self.state: State  # the state that hooks get, where there are any
        self.listener: _socket.socket  # the socket on which a created container waits to be started
