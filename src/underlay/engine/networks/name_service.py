"""The process that is an installation's name server: names come from the database, containers from their monitors."""

from __future__ import annotations

import _socket
import os
import sys

from ...errors import KernelError, UnderlayError
from ...linux import process
from ...linux.security import capabilities
from ...network import nameserver
from ...network.ports import is_address
from ...paths import Paths
from ...runtime.monitor import control, detached
from ...store.rows import networks as rows
from ...store.rows.meta import Meta
from .names import BUILD, has_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...network.answers import Asker, Directory

_CAPABILITIES = 1 << 2  # DAC_READ_SEARCH: the database may be of another user
_RESOLVER = "/etc/resolv.conf"
_DESCRIPTORS = 65536
_SOCKETS = 2  # sockets that a container gives


def serve() -> None:
    """Run the name server of the root and state directories in the arguments, on the socket that the caller has opened."""
    detached.begin()
    _limit()
    root, state = sys.argv[1:3]
    listener = _socket.socket(fileno=detached.GIVEN)
    listener.setblocking(False)
    try:
        source = Names(Paths(root, state))
    except (UnderlayError, OSError):
        os._exit(1)  # monitors see their connections end, and try again with later questions
    nameserver.Server(source, Arrivals(listener)).run()


def _limit() -> None:
    """Give up what is not needed, for what is read comes from containers; have many files open, for there may be many."""
    import resource

    process.set_name("underlay-names")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, _DESCRIPTORS) if hard >= 0 else _DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        capabilities.limit_bounding(_CAPABILITIES, capabilities.last_known())
        capabilities.apply(_CAPABILITIES, _CAPABILITIES, 0)
    except KernelError:
        pass  # this host's root is not allowed to give rights up


class Arrivals:
    """The monitors that bring containers."""

    __slots__ = ("_listener",)

    def __init__(self, listener: _socket.socket) -> None:
        self._listener = listener

    def fileno(self) -> int:
        """Return the descriptor that is ready when one comes."""
        return self._listener.fileno()

    def next(self) -> _socket.socket | None:
        """Return a container's connection, None for none."""
        try:
            channel = control.accept(self._listener)
        except OSError:
            return None
        channel.setblocking(False)
        return channel

    def introduction(self, channel: _socket.socket) -> tuple[str, Sequence[int]] | None:
        """Return the id of a connection's container, and its sockets, and acknowledge them; None when there are none."""
        message, fds = control.receive(channel)
        container = (message or {}).get("container")
        if isinstance(container, str) and len(fds) == _SOCKETS and control.send(channel, {"noted": True}):
            return container, fds
        for fd in fds:
            os.close(fd)
        return None


class Names:
    """Names of containers, from the database."""

    def __init__(self, paths: Paths) -> None:
        """Open the database of an installation. Raises UnderlayError, OSError."""
        os.stat(paths.database)  # it is not made anew where it was removed
        self._paths = paths
        self._meta = Meta(paths.database)
        self._state: object = None
        self._directories: dict[str, Directory] = {}

    def changed(self) -> bool:
        """Return whether the database or the host's servers have changed since this was last asked."""
        try:
            status = os.stat(_RESOLVER)
            resolver: object = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            resolver = None
        state = (self._meta.version(), resolver)
        if state == self._state:
            return False
        self._state = state
        self._directories.clear()
        return True

    def asker(self, container: str) -> Asker:
        """Return what a container may ask for. Raises UnderlayError."""
        from ...network.answers import Asker
        from ..containers.specification import etc_texts, host_facts

        directories, forwards = [], False
        for lease in rows.leases(self._meta, container=container):
            record = rows.find(self._meta, lease.network)
            if record is None:
                continue
            forwards = forwards or not record["internal"]
            if has_names(record["name"]):
                directories.append(self._directory(record["id"], record["name"]))
        servers = rows.servers_of(self._meta, container)
        if not servers:
            text = etc_texts.upstream(host_facts.text_of(_RESOLVER), public=False)
            words = [line.split() for line in text.splitlines()]
            servers = [pair[1] for pair in words if pair[:1] == ["nameserver"] and pair[1:]]
        # A name would have to be looked up, and everybody would wait for that.
        addresses = [server for server in servers if is_address(server.partition("%")[0])]
        return Asker(directories, addresses, forwards)

    def _directory(self, network: str, name: str) -> Directory:
        directory = self._directories.get(network)
        if directory is None:
            from ...network.answers import Directory, Member

            members = []
            for lease, called, host_name in rows.members(self._meta, network):
                if lease.container.startswith(BUILD):
                    continue  # it asks, and nobody asks for it
                addresses = [address for address in (lease.address4, lease.address6) if address]
                names = [text for text in (called, *lease.aliases, lease.container[:12], host_name) if text]
                members.append(Member(addresses, names, f"{self._paths.container_state(lease.container)}/net"))
            directory = self._directories[network] = Directory(name, members)
        return directory
