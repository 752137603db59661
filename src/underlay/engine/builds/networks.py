"""Network namespaces for build steps: created on demand, used by one step at a time, removed with the build."""

from __future__ import annotations

import _socket
import os
import threading

from ...errors import Unsupported
from ...linux import process
from ...linux.network import netns
from ...network import bridge, questions
from ...network.model import BRIDGE
from ...runtime.monitor.networks.names import hand_over
from ...store.rows import networks as rows
from ..containers.specification import etc_texts, host_facts
from ..networks import attach, names
from ..networks.names import BUILD
from ..networks.records import Records, namespace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...network.model import Network
    from ...runtime.monitor.records import NameService
    from ...store.store import Store


class StepNetworks:
    """The network of one build's steps: `mode` is none, host, or the name of one of the engine's networks.

    Raises Unsupported, NotFound for one that there is not.
    """

    __slots__ = ("_asking", "_free", "_lock", "_made", "_network", "_service", "_store", "mode")

    def __init__(self, store: Store, wanted: str, setting: str) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._free: list[str] = []
        self._made: dict[str, int] = {}  # descriptors
        self._network: Network | None = None
        self._service: NameService | None = None
        # Sockets for questions, and the connection to the name server that has them.
        self._asking: dict[str, tuple[Sequence[int], _socket.socket | None]] = {}
        self.mode = _mode(wanted, setting)
        if self.mode not in ("none", "host"):
            self._network = Records(self._store).get(self.mode)
            if self._network.driver != BRIDGE:
                raise Unsupported(
                    f"network {self.mode}: steps of builds cannot be in one of driver {self._network.driver}"
                )

    def take(self) -> str:
        """Return what a free namespace is called; one is made when there is none.

        Raises Conflict, Unsupported, KernelError.
        """
        with self._lock:
            if self._free:
                name = self._free.pop()
                self._ask(name)
                return name
            if not self._made:
                sweep(self._store)
            pid = os.getpid()
            made = f"{BUILD}{pid}-{process.start_time(pid)}-{os.urandom(6).hex()}"
            self._made[made] = self._make(made)
            self._ask(made)
            return made

    def give_back(self, name: str) -> None:
        """Let another step have the namespace."""
        with self._lock:
            self._free.append(name)

    def namespace_file(self, name: str) -> str:
        """Return a file that is the namespace for all processes of the build: in mount namespaces that are older than it
        there is none that it is pinned to."""
        return f"/proc/{os.getpid()}/fd/{self._made[name]}"

    def resolver(self) -> str:
        """Return resolv.conf for the steps in a network."""
        assert self._network is not None
        if self._service is not None and names.can_ask(self._network):
            return f"nameserver {names.SERVER}\noptions ndots:0\n"
        return etc_texts.upstream(host_facts.text_of("/etc/resolv.conf"))

    def gateway(self) -> str:
        """Return the address of this host for the steps in a network."""
        assert self._network is not None
        return etc_texts.host_address([self._network])

    def close(self) -> None:
        """Take all of them down. No step may run any more."""
        for name, namespace in self._made.items():
            os.close(namespace)
            sockets, channel = self._asking.pop(name, ((), None))
            questions.close(sockets)
            if channel is not None:
                channel.close()
            _end(self._store, name)
        self._made.clear()

    def _ask(self, name: str) -> None:
        """Have the name server answer the questions of a namespace, if one is to; it may have ended since the last step."""
        sockets, channel = self._asking.get(name, ((), None))
        if self._service is None or not sockets or (channel is not None and not _ended(channel)):
            return
        if channel is not None:
            channel.close()
        self._asking[name] = sockets, hand_over(self._service, name, sockets)

    def _make(self, name: str) -> int:
        assert self._network is not None
        self._network = Records(self._store).settled(self._network)
        path = namespace_file(self._store, name)
        os.makedirs(os.path.dirname(path), mode=0o700)
        namespace = netns.make(path)
        try:
            bridge.loopback_up(namespace)
            wanted = attach.EndpointRequest(self._network, "", "", "", ())
            with self._store.meta.write(durable=False) as sql:
                lease = rows.lease(sql, self._network.id, name, wanted.choose)
            attach.enter(self._store, self._network, lease, namespace, () if self._network.internal else (32, 128))
            if names.can_ask(self._network):
                self._service, sockets = names.open_questions(self._store, namespace)
                self._asking[name] = sockets, None
        except BaseException:
            os.close(namespace)
            _end(self._store, name)
            raise
        return namespace


def _ended(channel: _socket.socket) -> bool:
    """Return whether the other side of a connection, which never says anything, has closed it."""
    try:
        return not channel.recv(1, _socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _mode(wanted: str, setting: str) -> str:
    """Return the network of steps: where there is no privilege to make one, they have the host's."""
    if wanted not in ("", "default"):
        if wanted not in ("none", "host") and os.geteuid() != 0:
            raise Unsupported(
                f"network {wanted}: an unprivileged user cannot make interfaces for steps of builds",
                "use --network none, or --network host (the default)",
            )
        if wanted.startswith("container:"):
            raise Unsupported("steps of builds cannot share the network of a container", "use --network NAME")
        return wanted
    return setting or ("bridge" if os.geteuid() == 0 else "host")


def sweep(store: Store) -> None:
    """Take down the networks of builds that were killed with all their processes."""
    for lease in rows.leases_beginning(store.meta, BUILD):
        pid, when, _ = lease.container.removeprefix(BUILD).split("-")
        if process.start_time(int(pid)) != int(when):
            _end(store, lease.container)


def _end(store: Store, name: str) -> None:
    path = namespace_file(store, name)
    netns.release(path)
    for lease in rows.leases(store.meta, container=name):
        rows.give_back(store.meta, lease.network, name)
    try:
        os.rmdir(os.path.dirname(path))
    except FileNotFoundError:
        pass
