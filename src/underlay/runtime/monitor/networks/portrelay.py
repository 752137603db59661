"""The process that relays published ports which the kernel cannot redirect: from IPv6 to a container with IPv4 alone, and
from ::1. The monitor starts it with the first packet or connection, and lends it the sockets."""

from __future__ import annotations

import asyncio
import resource
import socket as sockets
import sys
from contextlib import suppress

from ....errors import KernelError
from ....linux import process
from ....linux.security import capabilities
from .. import control, detached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, Protocol

    from ..records import PortRelay

    class Closable(Protocol):
        """A connection, or what is known of a sender."""

        def abort(self) -> None:
            """Close it at once."""


_IDLE = 30.0  # seconds without connections after which it ends
_FLOW = 60.0  # seconds that a sender of UDP is remembered after its last packet
_FLOWS = 1024  # senders of UDP that are remembered for a port
_DESCRIPTORS = 65536  # at most
_PIECE = 1 << 16  # bytes that are read at a time
_NO_LINGER = (1).to_bytes(4, sys.byteorder) + bytes(4)  # struct linger
_CONNECT = 10.0  # seconds that the container has to accept in


def serve() -> None:
    """Relay what comes on the sockets that the monitor sends; end when it closes the connection, or nothing comes."""
    detached.begin()
    process.set_name("underlay-relay")
    with suppress(KernelError):
        capabilities.limit_bounding(0, capabilities.last_known())
        capabilities.apply(0, 0, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, _DESCRIPTORS) if hard >= 0 else _DESCRIPTORS, hard))
    monitor = sockets.socket(fileno=detached.GIVEN)
    asyncio.run(_Relays(monitor).run())


class _Relays:
    """All relays of a container."""

    def __init__(self, monitor: sockets.socket) -> None:
        self.monitor = monitor
        self.relays: list[PortRelay] = []
        self.open: list[set[Closable]] = []  # connections, and senders of UDP, of each
        self.ended = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        servers = []
        while True:
            message, fds = control.receive(self.monitor)
            if message is None:
                return
            if message.get("complete"):
                break
            relay = message["relay"]
            self.relays.append(relay)
            self.open.append(set())
            given = sockets.socket(fileno=fds[0])
            given.setblocking(False)
            number = len(self.relays) - 1
            if relay["protocol"] == "udp":
                await loop.create_datagram_endpoint(lambda number=number: _Packets(self, number), sock=given)  # type: ignore[misc]
            else:
                servers.append(await asyncio.start_server(self._accepting(number), sock=given))
        control.send(self.monitor, {"noted": True})
        self.monitor.setblocking(False)
        loop.add_reader(self.monitor.fileno(), self._message)
        while not self.ended.is_set():
            idle = not any(self.open)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), _IDLE)
            if idle and not any(self.open):
                return

    def _message(self) -> None:
        """Take what the monitor says: ports lead elsewhere now, or it is over."""
        message, _ = control.receive(self.monitor)
        if message is None:
            self.ended.set()
            return
        for number, relay in enumerate(message.get("relays") or []):
            if relay["target"] != self.relays[number]["target"]:
                self.relays[number] = relay
                for each in list(self.open[number]):
                    each.abort()

    def _accepting(self, number: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            opened = self.open[number]
            opened.add(writer.transport)
            try:
                await _connect(self.relays[number], reader, writer)
            finally:
                opened.discard(writer.transport)

        return accept


async def _connect(relay: PortRelay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Relay a connection until both sides have ended."""
    try:
        if not relay["target"]:
            raise ConnectionRefusedError
        async with asyncio.timeout(_CONNECT):
            there = await asyncio.open_connection(relay["target"], relay["target_port"])
    except (OSError, TimeoutError):
        # As if nobody listened: with a reset, which a socket sends that does not linger.
        writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _NO_LINGER)
        writer.transport.abort()
        return
    with suppress(OSError):
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))
    for side in (writer, there[1]):
        side.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction; its end is passed on. Raises OSError."""
    try:
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
        raise


class _Packets(asyncio.DatagramProtocol):
    """Packets of UDP to a port: each sender has a socket to the container, by which answers find back."""

    def __init__(self, relays: _Relays, number: int) -> None:
        self.relays = relays
        self.number = number
        self.flows: dict[Any, _Flow] = {}
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        """Pass a packet on."""
        flow = self.flows.get(sender)
        if flow is None:
            if len(self.flows) >= _FLOWS or not self.relays.relays[self.number]["target"]:
                return
            flow = self.flows[sender] = _Flow(self, sender)
        flow.send(data)

    def error_received(self, _: Exception) -> None:
        """Ignore what the network says: senders find out for themselves."""


class _Flow(asyncio.DatagramProtocol):
    """One sender's packets to the container, and the answers."""

    def __init__(self, packets: _Packets, sender: Any) -> None:
        self.packets = packets
        self.sender = sender
        self.waiting: list[bytes] = []
        self.transport: asyncio.DatagramTransport | None = None
        self.loop = asyncio.get_running_loop()
        relays, number = packets.relays, packets.number
        self.open = relays.open[number]
        self.open.add(self)
        target = relays.relays[number]["target"], relays.relays[number]["target_port"]
        self.opening = self.loop.create_task(self.loop.create_datagram_endpoint(lambda: self, remote_addr=target))
        self.opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        self.end = self.loop.call_later(_FLOW, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what has waited."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport
        for data in self.waiting:
            transport.sendto(data)
        self.waiting.clear()

    def send(self, data: bytes) -> None:
        """Send a packet to the container."""
        self.end.cancel()
        self.end = self.loop.call_later(_FLOW, self.abort)
        if self.transport is not None:
            self.transport.sendto(data)
        elif len(self.waiting) < _FLOWS:
            self.waiting.append(data)

    def datagram_received(self, data: bytes, _: object) -> None:
        """Send an answer to who asked."""
        if self.packets.transport is not None:
            self.packets.transport.sendto(data, self.sender)

    def error_received(self, _: Exception) -> None:
        """Ignore that nobody listens in the container."""

    def abort(self) -> None:
        """Forget the sender."""
        self.end.cancel()
        self.packets.flows.pop(self.sender, None)
        self.open.discard(self)
        self.opening.cancel()
        if self.transport is not None:
            self.transport.close()
