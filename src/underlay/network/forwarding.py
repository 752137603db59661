"""Questions that only other DNS servers can answer: sent to them, the slow ones waited for, the dead ones remembered."""

from __future__ import annotations

import _socket
import os
import time
from heapq import heappop, heappush
from itertools import count

from ..human import whole
from .polling import INPUT, OUTPUT
from .streams import MESSAGE, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from .polling import Poller

PORT = 53
SERVERS = 3  # of those given that are asked (resolv.conf(5), MAXNS)
_ALL, _OF_ONE = 2048, 512  # questions that wait for an answer: of all clients, of one
_PATIENCE = 2.0  # seconds that a server has before another is asked as well
_END = 15.0  # seconds after which a question is given up: resolvers ask twice, and wait 5 seconds each time
_TRIAL = 30.0  # seconds that a server which said nothing comes last, before it is tried again
_UNABLE = (2, 5)  # SERVFAIL, REFUSED: another server may know
_HEADER = 12


class _Attempt:
    """What was sent to one server: `number` is the id there, which a forged answer must not guess (RFC 5452)."""

    __slots__ = ("message", "number", "socket", "stream")

    def __init__(self, socket: _socket.socket, query: bytes, stream: Stream | None) -> None:
        self.socket = socket
        self.number = os.urandom(2)
        self.message = self.number + query[2:]
        self.stream = stream


class _Forward:
    """A question on its way, and what is done with the answer."""

    __slots__ = (
        "attempts",
        "by_stream",
        "client",
        "due",
        "end",
        "failure",
        "key",
        "query",
        "reply",
        "servers",
        "turn",
        "unable",
    )

    def __init__(
        self,
        query: bytes,
        servers: Sequence[str],
        by_stream: bool,
        client: Hashable,
        key: Hashable,
        reply: Callable[[bytes], None],
    ) -> None:
        self.query = query
        self.servers = servers
        self.by_stream = by_stream
        self.client = client
        self.key = key
        self.reply = reply
        self.end = time.monotonic() + _END
        self.due = 0.0  # when something is to be done about it
        self.turn = 0  # how often a server was asked, one after the other
        self.attempts: dict[str, _Attempt] = {}
        self.unable: set[str] = set()  # servers that have answered nothing good
        self.failure = b""  # what the last of those said


class Forwarding:
    """The questions that are on their way to other servers."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._waiting: dict[Hashable, _Forward] = {}
        self._of_client: dict[Hashable, int] = {}
        self._times: list[tuple[float, int, _Forward]] = []  # a heap: when something is to be done about which
        self._number = count()
        self._late: dict[str, float] = {}  # servers that said nothing, and when they are to be tried again

    def ask(
        self,
        query: bytes,
        servers: Sequence[str],
        by_stream: bool,
        client: Hashable,
        source: Hashable,
        reply: Callable[[bytes], None],
    ) -> bool:
        """Send a sound question to the servers; `reply` gets an answer, b"" when there is none.

        The first good answer counts; each server has a while before the next is asked too. A question that `source` (of a
        `client`) repeats while it is under way is not sent again. Returns False when too many are under way.
        """
        key = (client, source, query)
        if not by_stream and key in self._waiting:
            return True
        if len(self._waiting) >= _ALL or self._of_client.get(client, 0) >= _OF_ONE:
            return False
        now = time.monotonic()
        ordered = sorted(servers[:SERVERS], key=self._late.__contains__)
        forward = _Forward(query, ordered, by_stream, client, key, reply)
        self._waiting[key] = forward
        self._of_client[client] = self._of_client.get(client, 0) + 1
        self._next(forward, now)
        for server in forward.servers[1:]:
            # It may be well again: asked beside the good one, the client does not wait for it.
            if self._late.get(server, now) < now:
                self._late[server] = now + _TRIAL
                self.ask(query, [server], by_stream, None, server, _ignore)
        return True

    def pause(self, now: float) -> float:
        """Return the seconds until something is to be done."""
        return self._times[0][0] - now if self._times else 1e9

    def expire(self, now: float) -> None:
        """Ask further servers where one has not answered in time; give up what has waited for long."""
        while self._times and self._times[0][0] <= now:
            due, _, forward = heappop(self._times)
            if self._waiting.get(forward.key) is not forward or due != forward.due:
                continue
            for server in forward.attempts.keys() - forward.unable:
                self._late.setdefault(server, now + _TRIAL)
            if now >= forward.end:
                self._finish(forward, forward.failure)
            else:
                self._next(forward, now)

    def drop(self, client: Hashable) -> None:
        """Forget the questions of a client that has gone."""
        for forward in [forward for forward in self._waiting.values() if forward.client == client]:
            self._leave(forward)

    def _next(self, forward: _Forward, now: float) -> None:
        """Ask the next server, or one of them once more; those that cannot be reached are passed over."""
        able = [server for server in forward.servers if server not in forward.unable]
        if not able:
            self._finish(forward, forward.failure)
            return
        server = able[forward.turn % len(able)]
        forward.turn += 1
        forward.due = min(now + _PATIENCE, forward.end)
        heappush(self._times, (forward.due, next(self._number), forward))
        self._send(forward, server)

    def _send(self, forward: _Forward, server: str) -> None:
        attempt = forward.attempts.get(server)
        try:
            if attempt is None:
                attempt = self._opened(forward, server)
            if attempt.stream is None:
                attempt.socket.send(attempt.message)
        except OSError:
            self._fail(forward, server, b"")  # no way there

    def _opened(self, forward: _Forward, server: str) -> _Attempt:
        family, address = _socket_address(server)
        kind = _socket.SOCK_STREAM if forward.by_stream else _socket.SOCK_DGRAM
        socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        stream = Stream(socket) if forward.by_stream else None
        attempt = forward.attempts[server] = _Attempt(socket, forward.query, stream)
        try:
            socket.connect(address)
        except BlockingIOError:
            pass  # under way
        mask = INPUT
        if stream is not None:
            stream.send(attempt.message)
            mask |= OUTPUT if stream.out else 0
        self._poller.watch(socket, mask, lambda _: self._answered(forward, server, attempt))
        return attempt

    def _answered(self, forward: _Forward, server: str, attempt: _Attempt) -> None:
        try:
            if attempt.stream is None:
                answer: bytes | None = attempt.socket.recv(MESSAGE)
            else:
                attempt.stream.flush()
                self._poller.change(attempt.socket, INPUT | OUTPUT if attempt.stream.out else INPUT)
                attempt.stream.receive()
                answer = attempt.stream.next()
        except BlockingIOError:
            return
        except OSError:
            self._fail(forward, server, b"")  # refused, or closed
            return
        if answer is None or not _answers(answer, attempt.message):
            return  # not yet, or not to this question
        self._late.pop(server, None)
        answer = forward.query[:2] + answer[2:]
        if answer[3] & 0xF in _UNABLE:
            self._fail(forward, server, answer)
        else:
            self._finish(forward, answer)

    def _fail(self, forward: _Forward, server: str, answer: bytes) -> None:
        """Note that a server has no good answer, and ask another if none is being waited for."""
        forward.unable.add(server)
        forward.failure = answer or forward.failure
        attempt = forward.attempts.get(server)
        if attempt is not None:
            self._poller.close(attempt.socket)
        if not forward.attempts.keys() - forward.unable and self._waiting.get(forward.key) is forward:
            self._next(forward, time.monotonic())

    def _finish(self, forward: _Forward, answer: bytes) -> None:
        self._leave(forward)
        forward.reply(answer)

    def _leave(self, forward: _Forward) -> None:
        self._waiting.pop(forward.key, None)
        left = self._of_client.get(forward.client, 1) - 1
        if left > 0:
            self._of_client[forward.client] = left
        else:
            self._of_client.pop(forward.client, None)
        for attempt in forward.attempts.values():
            self._poller.close(attempt.socket)


def _ignore(answer: bytes) -> None:
    """Do nothing with an answer: that there is one has been noted."""


def _answers(answer: bytes, message: bytes) -> bool:
    """Return whether a message answers a question: its id, one question, the same one (RFC 5452, section 9.1)."""
    if len(answer) < _HEADER or answer[:2] != message[:2] or not answer[2] & 0x80:
        return False
    end = _HEADER
    while end < len(message) and message[end]:
        end += message[end] + 1
    end += 5  # the root's label, type and class
    asked = message[_HEADER:end].lower()
    # Some servers leave the question out of what is but an error.
    return answer[_HEADER:end].lower() == asked or (answer[3] & 0xF in _UNABLE and answer[4:6] == b"\0\0")


def _socket_address(server: str) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]]:
    """Return family and socket address of a DNS server; the address may have an interface behind a %. Raises OSError."""
    text, _, scope = server.partition("%")
    if ":" not in text:
        return _socket.AF_INET, (text, PORT)
    index = 0
    if scope:
        index = whole(scope) if whole(scope) >= 0 else _socket.if_nametoindex(scope)
    return _socket.AF_INET6, (text, PORT, 0, index if text.lower().startswith("fe8") else 0)
