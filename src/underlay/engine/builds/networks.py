"""Networks of a build's steps: namespaces that are made when steps need them, lent to one at a time, and gone with it."""

from __future__ import annotations

import os
import threading

from ...errors import Unsupported
from ...linux import process
from ...linux.network import netns
from ...network import bridge
from ...network.model import BRIDGE, MACVLAN
from ...store.rows import networks as rows
from ..containers import create, host_facts
from ..networks import Networks, attach, etc_files, names
from ..networks.names import BUILD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...network.model import Network
    from ..engine import Engine


class StepNetworks:
    """The network of one build's steps: `mode` is none, host, or the name of one of the engine's networks.

    Raises Unsupported, NotFound for one that there is not.
    """

    __slots__ = ("_engine", "_free", "_lock", "_made", "_network", "mode")

    def __init__(self, engine: Engine, wanted: str) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._free: list[str] = []
        self._made: dict[str, int] = {}  # descriptors
        self._network: Network | None = None
        self.mode = _mode(engine, wanted)
        if self.mode not in ("none", "host"):
            self._network = Networks(self._engine).get(self.mode)
            if self._network.driver != BRIDGE:
                raise Unsupported(f"network {self.mode}: steps of builds cannot be in one of driver {MACVLAN}")

    def take(self) -> str:
        """Return what a free namespace is called; one is made when there is none.

        Raises Conflict, Unsupported, KernelError.
        """
        with self._lock:
            if self._free:
                return self._free.pop()
            if not self._made:
                sweep(self._engine)
            pid = os.getpid()
            made = f"{BUILD}{pid}-{process.start_time(pid)}-{os.urandom(6).hex()}"
            self._made[made] = self._make(made)
            return made

    def give_back(self, name: str) -> None:
        """Let another step have the namespace."""
        with self._lock:
            self._free.append(name)

    def place(self, name: str) -> str:
        """Return a file that is the namespace for all processes of the build: in mount namespaces that are older than it
        there is none that it is pinned to."""
        return f"/proc/{os.getpid()}/fd/{self._made[name]}"

    def resolver(self) -> str:
        """Return resolv.conf for the steps in a network."""
        assert self._network is not None
        if names.answers(self._engine, self._network):
            return f"nameserver {names.server_of(self._network)}\noptions ndots:0\n"
        return etc_files.upstream(host_facts.text_of("/etc/resolv.conf"))

    def gateway(self) -> str:
        """Return the address of this host for the steps in a network."""
        assert self._network is not None
        return create.host_address([self._network])

    def close(self) -> None:
        """Take all of them down. No step may run any more."""
        for name, namespace in self._made.items():
            os.close(namespace)
            _end(self._engine, name)
        self._made.clear()

    def _make(self, name: str) -> int:
        assert self._network is not None
        self._network = Networks(self._engine).settled(self._network)
        path = attach.place(self._engine, name)
        os.makedirs(os.path.dirname(path), mode=0o700)
        namespace = netns.make(path)
        try:
            bridge.loopback_up(namespace)
            wanted = attach.Place(self._network, "", "", "", ())
            with self._engine.meta.write() as sql:
                lease = rows.lease(sql, self._network.id, name, wanted.choose)
            attach.enter(self._engine, self._network, lease, namespace, () if self._network.internal else (32, 128))
        except BaseException:
            os.close(namespace)
            _end(self._engine, name)
            raise
        return namespace


def _mode(engine: Engine, wanted: str) -> str:
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
    return engine.network_setting or (engine.default_network if os.geteuid() == 0 else "host")


def sweep(engine: Engine) -> None:
    """Take down the networks of builds that were killed with all their processes."""
    for lease in rows.leases_beginning(engine.meta, BUILD):
        pid, when, _ = lease.container.removeprefix(BUILD).split("-")
        if process.start_time(int(pid)) != int(when):
            _end(engine, lease.container)


def _end(engine: Engine, name: str) -> None:
    path = attach.place(engine, name)
    netns.release(path)
    for lease in rows.leases(engine.meta, container=name):
        rows.give_back(engine.meta, lease.network, name)
    try:
        os.rmdir(os.path.dirname(path))
    except FileNotFoundError:
        pass
