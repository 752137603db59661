"""The name server of an installation: its containers find each other by name; other questions go to the host's servers.

Monitors give it the sockets at which containers ask (`questions`), each with the connection that ends with the container.
It ends when it has had no containers for a while. Messages are the matter of `answers`.
"""

from __future__ import annotations

import _socket
import os
import time

from .forwarding import Forwarding
from .polling import INPUT, OUTPUT, Poller
from .streams import IDLE, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from .answers import Answer, Asker

    class Source(Protocol):
        """Where names come from."""

        def changed(self) -> bool:
            """Return whether anything may be different from when this was last asked."""

        def asker(self, container: str) -> Asker:
            """Return what a container may ask for."""

    class Arrival(Protocol):
        """Where containers come from."""

        def fileno(self) -> int:
            """Return the descriptor that is ready when one comes."""

        def next(self) -> _socket.socket | None:
            """Return the connection of a container, None for none."""

        def introduction(self, channel: _socket.socket) -> tuple[str, Sequence[int]] | None:
            """Return what a connection's first message says: the container's id, and the descriptors of its sockets (UDP,
            TCP), and acknowledge it; None when it says something else, or has ended."""


LIFE = 3.0  # seconds without containers after which it ends
_STREAMS, _STREAMS_OF_ONE = 256, 32  # connections: of all containers, of one
_QUERY = 4096  # bytes of a packet
_BURST = 64  # packets of a container that are read before others have their turn
_KEPT, _KEPT_QUERY = 4096, 300  # answers that are kept, and bytes of their questions


class _Kept:
    """Answers to one question: `turns` of them that begin with different addresses, while the files `members` exist."""

    __slots__ = ("datas", "members")

    def __init__(self, answer: Answer) -> None:
        self.members = answer.members
        self.datas: list[bytes | None] = [None] * answer.turns


class _Client:
    """A container that asks, and its sockets."""

    __slots__ = ("channel", "connections", "container", "packets", "streams")

    def __init__(self, channel: _socket.socket, container: str, sockets: Sequence[int]) -> None:
        self.channel = channel
        self.container = container
        self.packets, self.connections = (_socket.socket(fileno=fd) for fd in sockets)
        self.streams: set[_ClientStream] = set()


class _ClientStream(Stream):
    """A connection of a program in a container."""

    __slots__ = ("advancing", "waiting")

    def __init__(self, socket: _socket.socket) -> None:
        super().__init__(socket)
        self.waiting = False  # for an answer
        self.advancing = False  # its questions are being gone through

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for or being sent."""
        return self.waiting or bool(self.out)


class Server:
    """A name server."""

    def __init__(self, source: Source, arrival: Arrival) -> None:
        self._source = source
        self._arrival = arrival
        self._poller = Poller()
        self._forwarding = Forwarding(self._poller)
        self._clients: set[_Client] = set()
        self._askers: dict[str, Asker] = {}
        self._kept: dict[tuple[str, bool, bytes], _Kept] = {}
        self._streams = 0
        self._turn = 0

    def run(self) -> None:
        """Serve until there have been no containers for a while."""
        self._poller.watch_descriptor(self._arrival.fileno(), INPUT, lambda _: self._welcome())
        last = time.monotonic()
        while True:
            ready = self._poller.wait(self._pause(last))
            self._poller.work(ready)
            now = time.monotonic()
            self._forwarding.expire(now)
            for client in list(self._clients):
                for stream in [stream for stream in client.streams if stream.deadline <= now]:
                    self._hang_up(client, stream)
            if self._clients:
                last = now
            elif now - last >= LIFE:
                return

    def _pause(self, last: float) -> float:
        now = time.monotonic()
        if not self._clients:
            return last + LIFE - now
        deadlines = [stream.deadline - now for client in self._clients for stream in client.streams]
        return min([self._forwarding.pause(now), *deadlines, 3600.0])

    # Containers.

    def _welcome(self) -> None:
        channel = self._arrival.next()
        if channel is not None:
            self._poller.watch(channel, INPUT, lambda _: self._meet(channel))

    def _meet(self, channel: _socket.socket) -> None:
        introduction = self._arrival.introduction(channel)
        if introduction is None:
            self._poller.close(channel)
            return
        client = _Client(channel, *introduction)
        self._clients.add(client)
        self._poller.watch(client.channel, INPUT, lambda _: self._part(client))
        self._poller.watch(client.packets, INPUT, lambda _: self._packets(client))
        self._poller.watch(client.connections, INPUT, lambda _: self._connections(client))

    def _part(self, client: _Client) -> None:
        """Forget a container whose monitor has ended, or has closed its connection."""
        try:
            if client.channel.recv(64):
                return  # nothing that it has to say matters
        except BlockingIOError:
            return
        except OSError:
            pass
        self._clients.discard(client)
        for stream in list(client.streams):
            self._hang_up(client, stream)
        self._forwarding.drop(client)
        for socket in (client.channel, client.packets, client.connections):
            self._poller.close(socket)

    def _packets(self, client: _Client) -> None:
        received = []
        try:
            for _ in range(_BURST):
                received.append(client.packets.recvfrom(_QUERY))
        except BlockingIOError:
            pass
        self._refresh()
        for query, source in received:

            def reply(message: bytes, source: tuple[str, int] = source) -> None:
                try:
                    client.packets.sendto(message, source)
                except OSError:
                    pass  # it asks again

            self._question(client, query, source, False, reply)

    def _refresh(self) -> None:
        """Forget what is known if it may have changed: after questions were read and before they are answered, so that
        whoever writes a name and then asks for it finds it."""
        if self._source.changed():
            self._askers.clear()
            self._kept.clear()

    def _connections(self, client: _Client) -> None:
        number, _ = client.connections._accept()  # type: ignore[attr-defined]  # the plain class has only this spelling
        socket = _socket.socket(fileno=number)
        socket.setblocking(False)
        if self._streams >= _STREAMS or len(client.streams) >= _STREAMS_OF_ONE:
            socket.close()
            return
        stream = _ClientStream(socket)
        client.streams.add(stream)
        self._streams += 1
        self._poller.watch(socket, INPUT, lambda mask: self._progress(client, stream, mask))

    def _hang_up(self, client: _Client, stream: _ClientStream) -> None:
        if stream in client.streams:
            client.streams.discard(stream)
            self._streams -= 1
            self._poller.close(stream.socket)

    def _progress(self, client: _Client, stream: _ClientStream, mask: int) -> None:
        """Go on with a connection."""
        try:
            if mask & ~(INPUT | OUTPUT):
                raise ConnectionResetError
            stream.flush()
            if mask & INPUT and not stream.busy:
                stream.receive()
                self._refresh()
        except OSError:
            self._hang_up(client, stream)
            return
        self._advance(client, stream)

    def _advance(self, client: _Client, stream: _ClientStream) -> None:
        """Answer the questions that a connection has brought, one at a time."""

        def reply(message: bytes) -> None:
            stream.waiting = False
            stream.deadline = time.monotonic() + IDLE
            if stream not in client.streams:
                return  # it has gone meanwhile
            try:
                stream.send(message)
            except OSError:
                self._hang_up(client, stream)
                return
            if not stream.advancing:
                self._advance(client, stream)

        stream.advancing = True
        try:
            while stream in client.streams and not stream.busy:
                query = stream.next()
                if query is None:
                    break
                stream.waiting = True
                stream.deadline = time.monotonic() + 3 * IDLE  # the servers that are asked have their own limits
                if not self._question(client, query, stream, True, reply):
                    self._hang_up(client, stream)  # it speaks no DNS
        finally:
            stream.advancing = False
        if stream in client.streams:
            mask = OUTPUT if stream.out else 0 if stream.waiting else INPUT
            self._poller.change(stream.socket, mask)

    # Questions.

    def _question(
        self, client: _Client, query: bytes, source: object, by_stream: bool, reply: Callable[[bytes], None]
    ) -> bool:
        """Have a question answered, now or later; returns False when it deserves no answer."""
        self._turn += 1
        key = (client.container, by_stream, query[2:])
        kept = self._kept.get(key)
        if kept is not None and all(map(os.path.exists, kept.members)):
            data = kept.datas[self._turn % len(kept.datas)]
            if data is not None:
                reply(query[:2] + data)
                return True
        from . import answers

        asker = self._asker(client.container)
        answer = answers.answer(query, asker, self._turn, by_stream)
        if answer.forwarded:
            # What asks from internal networks must not reach anybody by way of this host (CVE-2024-29018).
            if not asker.forwards or not self._forward(client, asker, query, source, by_stream, reply):
                reply(answers.failure(query))
            return True
        if not answer.data:
            return False
        if answer.lasting and len(query) <= _KEPT_QUERY:
            if kept is None or kept.members != answer.members:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                kept = self._kept[key] = _Kept(answer)
            kept.datas[self._turn % len(kept.datas)] = answer.data[2:]
        reply(answer.data)
        return True

    def _forward(
        self,
        client: _Client,
        asker: Asker,
        query: bytes,
        source: object,
        by_stream: bool,
        reply: Callable[[bytes], None],
    ) -> bool:
        def finish(message: bytes) -> None:
            from . import answers

            reply(message or answers.failure(query))

        return self._forwarding.ask(query, asker.servers, by_stream, client, source, finish)

    def _asker(self, container: str) -> Asker:
        asker = self._askers.get(container)
        if asker is None:
            asker = self._askers[container] = self._source.asker(container)
        return asker
