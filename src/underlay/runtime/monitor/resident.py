"""The monitor after re-executing itself: a small interpreter that only waits until something has to be done."""

from __future__ import annotations

import _signal
import _socket
import gc
import os
import sys

from ...lean.jsontext import known
from .monitor import Monitor
from .streams import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from .records import Handover


def resume() -> NoReturn:
    """Continue for the previous process image: the descriptor named by the last argument holds the record."""
    handover = int(sys.argv[-1])
    record: Handover = known(os.read(handover, os.fstat(handover).st_size))
    os.close(handover)
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGQUIT):
        _signal.signal(number, _signal.SIG_IGN)
    monitor = _monitor(record)
    _set_name()
    del record
    gc.collect()
    monitor.run()
    # The container has ended: from here on the full modules are needed.
    from .launch import supervise

    supervise(monitor)


def _set_name() -> None:
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write("underlay-monito")
    except OSError:
        pass


def _monitor(record: Handover) -> Monitor:
    monitor = Monitor(record["launch"], record["lock"], record["hold"])
    monitor.slim = True
    monitor.holds = record["holds"]
    monitor.ports = record["ports"]
    monitor.pid, monitor.pidfd, monitor.when = record["pid"], record["pidfd"], record["when"]
    monitor.started, monitor.restarts = record["started"], record["restarts"]
    monitor.stopping = record["stopping"]
    monitor.poll.register(monitor.pidfd, 1)
    relay = monitor.relay
    relay.input = record["input"]
    unread = bytes.fromhex(record["unread"])
    relay.resume_input(unread)
    monitor.log.resume(record["unfinished"], record["problem"])
    for fd, stream in record["outputs"]:
        relay.add_output(fd, stream)
    if record["listener"] >= 0:
        monitor.listener = _socket.socket(fileno=record["listener"])
        monitor.poll.register(record["listener"], 1)
    monitor.lend_questions(record["questions"], _connection(record["asked"]))
    monitor.lend_ports(record["relaying"], _connection(record["relayed"]))
    if record["firewall"] >= 0:
        monitor.watch_firewall(record["firewall"])
    monitor.check_health()
    inherited = [
        monitor.lock,
        monitor.pidfd,
        monitor.hold,
        relay.input,
        record["listener"],
        record["asked"],
        record["relayed"],
        record["firewall"],
        *record["holds"],
        *record["questions"],
        *record["relaying"],
        *relay.outputs,
        *monitor.ports,
    ]
    for entry in record["channels"]:
        client = None
        if entry["client"] is not None:
            given = entry["client"]
            client = Client(given["source"], dict(given["targets"]), bytes(given["keys"]))
            client.seen = given["seen"]
            relay.clients.append(client)
            # While the container has not taken what is there, nothing more is read.
            if client.source >= 0 and not unread:
                monitor.poll.register(client.source, 1)
            inherited += [client.source, *client.targets.values()]
        monitor.add_channel(_socket.socket(fileno=entry["fd"]), client)
        inherited.append(entry["fd"])
        if entry["removes"]:
            monitor.removers.add(entry["fd"])
    for fd in inherited:
        if fd >= 0:
            os.set_inheritable(fd, False)
    return monitor


def _connection(fd: int) -> _socket.socket | None:
    return _socket.socket(fileno=fd) if fd >= 0 else None
