"""The name server of a network: its containers find each other by name; other questions go to the host's servers.

It knows what its file says (`resolver.write`), and ends when that is gone, or has had no names for a while. Messages are
the matter of `answers`.
"""

from __future__ import annotations

import _socket
import os
import select
import sys
import time

from .. import files
from ..human import whole
from ..lean.jsontext import known
from . import subnets
from .ports import address_bytes
from .resolver import take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .described import Written


PORT = 53
IDLE = 10.0  # seconds without names after which it ends
_TICK = 1.0  # seconds after which the file is looked at without a question
_STREAMS, _STREAMS_EACH = 64, 16  # connections: of all clients, of one
_FORWARDS, _FORWARDS_EACH = 256, 64  # questions that wait for the host's servers: of all clients, of one
_STREAM_TIME = 10.0  # seconds that a connection may be idle
_SERVER_TIME = 2.0  # seconds that one of the host's servers has
_SERVERS = 3  # of the host's that are asked (resolv.conf(5), MAXNS)
_QUERY, _MESSAGE = 4096, 65535  # bytes of a packet, of any message
_BURST = 32  # packets that are read at a time
_EADDRINUSE = 98
_UNABLE = (2, 5)  # SERVFAIL, REFUSED: another server may know
_INPUT, _OUTPUT = select.POLLIN, select.POLLOUT


class Directory:
    """Names and addresses of one network, to look up."""

    __slots__ = ("addresses", "names")

    def __init__(self, record: dict[str, list[str]], gone: frozenset[str]) -> None:
        self.names: dict[bytes, list[str]] = {}
        self.addresses: dict[bytes, str] = {}
        for name, addresses in record.items():
            wire = name.encode("utf-8", "surrogateescape")
            fits = len(wire) < 254 and all(0 < len(label) < 64 for label in wire.split(b"."))
            there = [address for address in addresses if address not in gone]
            if not there:
                continue
            # DNS tells no case of ASCII letters, and knows no other letters (RFC 4343).
            mine = self.names.setdefault(wire.lower(), [])
            for address in there:
                data = address_bytes(address)
                if data is not None and address not in mine:
                    mine.append(address)
                if data is not None and fits:
                    self.addresses.setdefault(data, name)


class Description:
    """The description of a network, read from its file: members as in `resolver.write`, and indexes for lookups."""

    __slots__ = ("here", "interface", "internal", "listen", "others", "own", "servers", "subnets", "upstream")

    def __init__(self, record: Written, gone: frozenset[str] = frozenset()) -> None:
        """`gone` are addresses of containers that have ended since it was written."""
        self.interface = record["interface"]
        self.listen = record["listen"]
        self.subnets = [subnets.parse(text) for text in record["subnets"]]
        self.internal = record["internal"]
        self.own = {address_bytes(address) for address in self.listen}
        self.upstream = self._others(record["upstream"])
        self.servers = {address: self._others(servers) for address, servers in record["servers"].items()}
        self.here = Directory(record["names"], gone)
        self.others: dict[bytes, list[Directory]] = {}
        for other in record.get("others") or []:
            directory = Directory(other["names"], gone)
            for address in other["asked_by"]:
                self.others.setdefault(address_bytes(address) or b"", []).append(directory)

    def seen_by(self, source: str) -> list[Directory]:
        """Return where the names are that an address may ask for: those of this network come first."""
        return [self.here, *self.others.get(address_bytes(source) or b"", ())]

    def _others(self, servers: list[str]) -> list[str]:
        """Return servers that can be asked: to ask oneself would never end."""
        candidates = [(server, address_bytes(server.partition("%")[0])) for server in servers]
        return [server for server, data in candidates if data and data not in self.own][:_SERVERS]

    def admits(self, source: str) -> bool:
        """Return whether an address may be a member's: in one of the subnets, and not the host's own."""
        data = address_bytes(source)
        if data is None or data in self.own:
            return False
        number = int.from_bytes(data, "big")
        return any(subnet.bits == len(data) * 8 and subnet.holds(number) for subnet in self.subnets)


class _Taken(Exception):
    """Another program listens on an address."""


class _Stream:
    """A connection, of a client or to a server: messages with their lengths before them (RFC 1035, 4.2.2)."""

    __slots__ = ("advancing", "data", "deadline", "out", "socket", "source", "waiting")

    def __init__(self, socket: _socket.socket, source: str) -> None:
        self.socket = socket
        self.source = source
        self.data = b""
        self.out = b""
        self.waiting = False  # for an answer
        self.advancing = False  # its questions are being gone through
        self.deadline = time.monotonic() + _STREAM_TIME

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for or being sent; nothing is read meanwhile, which bounds what is held."""
        return self.waiting or bool(self.out)

    def receive(self) -> None:
        """Read what has come; raises OSError at the end of the connection."""
        try:
            piece = self.socket.recv(_MESSAGE + 2 - len(self.data))
        except BlockingIOError:
            return
        if not piece:
            raise ConnectionResetError
        self.data += piece

    def next(self) -> bytes | None:
        """Return the next message of what was read, None before it is complete."""
        size = int.from_bytes(self.data[:2], "big") + 2
        if len(self.data) < max(2, size):
            return None
        message, self.data = self.data[2:size], self.data[size:]
        return message

    def send(self, message: bytes) -> None:
        """Send a message, as much of it as goes; the rest with `flush`. Raises OSError."""
        self.out += len(message).to_bytes(2, "big") + message
        self.flush()

    def flush(self) -> None:
        """Send what is left. Raises OSError."""
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out) :]
        except BlockingIOError:
            pass


class _Forward:
    """A question on its way to the host's servers, and what is done with the answer."""

    __slots__ = ("by_stream", "deadline", "number", "query", "reply", "servers", "socket", "source", "stream")

    def __init__(
        self, query: bytes, servers: list[str], source: str, by_stream: bool, reply: Callable[[bytes], None]
    ) -> None:
        self.query = query
        self.servers = servers  # still to be asked
        self.source = source
        self.by_stream = by_stream
        self.reply = reply
        self.number = b""  # the id that it has there: a forged answer must not guess it (RFC 5452)
        self.socket: _socket.socket | None = None
        self.stream: _Stream | None = None
        self.deadline = 0.0


class Server:
    """A name server; `lock` is the descriptor of the lock held while it runs."""

    def __init__(self, directory: str, network_id: str, lock: int) -> None:
        self.base_path = f"{directory}/{network_id}"
        self.lock = lock
        self.known: Description | None = None
        self.poll = select.poll()
        self.ready: dict[int, Callable[[int], None]] = {}  # what to do, by descriptor
        self.listeners: list[_socket.socket] = []
        self.bound: tuple[object, ...] = ()
        self.streams: set[_Stream] = set()
        self.forwards: set[_Forward] = set()
        self._read: tuple[int, ...] = ()
        self._members: tuple[str, ...] = ()  # files that are there while their containers run
        self._turn = 0

    # Its file, and its life.

    def look(self) -> None:
        """Read the file if it is another than before."""
        try:
            status = os.stat(self.base_path + ".json")
            now = (status.st_ino, status.st_mtime_ns, status.st_size, *map(os.path.exists, self._members))
            if now == self._read:
                return
            record: Written = known(files.read_bytes(self.base_path + ".json"))
            # Containers that end write nothing here: what they had is gone, and so are they.
            members = record.get("members") or {}
            gone = {address for path, addresses in members.items() if not os.path.exists(path) for address in addresses}
            self.known = Description(record, frozenset(gone))
            self._members = tuple(members)
            self._read = (*now[:3], *map(os.path.exists, self._members))
        except FileNotFoundError:
            self.known = None
            self._read = ()

    def listen(self) -> None:
        """Listen at the addresses in the file, unless it does. Raises OSError, and _Taken with the address in use."""
        known = self.known
        if known is None:
            return
        index = _socket.if_nametoindex(known.interface)
        wanted = (index, known.interface, tuple(known.listen))
        if wanted == self.bound:
            return
        self.deafen()  # the bridge was made anew, and sockets are bound to the old one
        try:
            for address in known.listen:
                self._open(address, known.interface, index, _socket.SOCK_DGRAM, self._packets)
                self._open(address, known.interface, index, _socket.SOCK_STREAM, self._connections)
        except BaseException:
            self.deafen()
            raise
        self.bound = wanted
        os.ftruncate(self.lock, 0)
        os.pwrite(self.lock, f"{os.getpid()} {index} {known.interface}".encode(), 0)

    def _open(
        self, address: str, interface: str, index: int, kind: int, ready: Callable[[_socket.socket], None]
    ) -> None:
        family, socket_address = _socket_address(address, index)
        socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        self.listeners.append(socket)
        socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        if family == _socket.AF_INET6:
            socket.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
        try:
            if kind == _socket.SOCK_STREAM:
                socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)  # connections of one that died
            socket.bind(socket_address)
            if kind == _socket.SOCK_STREAM:
                socket.listen(_STREAMS)
        except OSError as error:
            if error.errno == _EADDRINUSE:
                raise _Taken(address) from None
            raise
        self._watch(socket, _INPUT, lambda _: ready(socket))

    def deafen(self) -> None:
        """Listen no more."""
        for socket in self.listeners:
            self._forget(socket)
        self.listeners.clear()
        self.bound = ()

    def run(self) -> None:
        """Serve until the file is gone, or has had no names for a while."""
        last = time.monotonic()
        while True:
            ready = self.poll.poll(max(0.0, self._pause()) * 1000)
            self._refresh()  # before the questions: who writes a name and then asks for it finds it
            # A descriptor that is closed in this round may in the same round be another's.
            for fd, mask, work in [(fd, mask, self.ready.get(fd)) for fd, mask in ready]:
                if work is not None and self.ready.get(fd) is work:
                    self._guarded(work, mask)
            now = time.monotonic()
            self._expire(now)
            if self.known is not None and self.known.here.names:
                last = now
            elif (self.known is None or now - last > IDLE) and self._end():
                return

    @staticmethod
    def _guarded(work: Callable[[int], None], mask: int) -> None:
        try:
            work(mask)
        except Exception:
            pass  # one client's, which asks again; what belongs to it expires

    def _refresh(self) -> None:
        try:
            self.look()
            self.listen()
        except Exception:
            pass  # the bridge is gone or not yet whole: tried again

    def _pause(self) -> float:
        now = time.monotonic()
        deadlines = [waiting.deadline for waiting in self.streams] + [waiting.deadline for waiting in self.forwards]
        return min([now + _TICK, *deadlines]) - now

    def _end(self) -> bool:
        """Release the lock, and return True unless names were added meanwhile and no other name server serves them."""
        self.deafen()
        if self.known is None:
            try:
                os.unlink(self.base_path + ".lock")
            except OSError:
                pass
        os.close(self.lock)
        # A process that has written names since found the lock held, or will find it free, or is seen here.
        self.look()
        if self.known is None or not self.known.here.names:
            return True
        taken = take(self.base_path + ".lock")
        if taken is None:
            return True
        self.lock = taken.fd
        os.ftruncate(self.lock, 0)
        self._refresh()
        return False

    def _watch(self, socket: _socket.socket, mask: int, work: Callable[[int], None]) -> None:
        self.ready[socket.fileno()] = work
        self.poll.register(socket.fileno(), mask)

    def _forget(self, socket: _socket.socket) -> None:
        if self.ready.pop(socket.fileno(), None) is not None:
            self.poll.unregister(socket.fileno())
        socket.close()

    def _expire(self, now: float) -> None:
        for stream in [stream for stream in self.streams if stream.deadline <= now]:
            self._hang_up(stream)
        for forward in [forward for forward in self.forwards if forward.deadline <= now]:
            try:
                self._ask(forward)
            except Exception:
                self._leave(forward)
                self.forwards.discard(forward)

    # Clients.

    def _packets(self, socket: _socket.socket) -> None:
        for _ in range(_BURST):
            try:
                query, source = socket.recvfrom(_QUERY)
            except BlockingIOError:
                return
            if self._admits(source[0]):

                def reply(message: bytes, source: Any = source) -> None:
                    try:
                        socket.sendto(message, source)
                    except OSError:
                        pass  # it asks again

                self._question(query, source[0], False, reply)

    def _connections(self, socket: _socket.socket) -> None:
        number, source = socket._accept()  # type: ignore[attr-defined]  # the plain class has only this spelling
        client = _socket.socket(fileno=number)
        client.setblocking(False)
        same = sum(other.source == source[0] for other in self.streams)
        if len(self.streams) >= _STREAMS or same >= _STREAMS_EACH or not self._admits(source[0]):
            client.close()
            return
        stream = _Stream(client, source[0])
        self.streams.add(stream)
        self._watch(client, _INPUT, lambda mask: self._progress(stream, mask))

    def _admits(self, source: str) -> bool:
        return self.known is not None and self.known.admits(source)

    def _progress(self, stream: _Stream, mask: int) -> None:
        """Go on with a client's connection."""
        try:
            if mask & ~(_INPUT | _OUTPUT):
                raise ConnectionResetError
            stream.flush()
            if mask & _INPUT and not stream.busy:
                stream.receive()
        except OSError:
            self._hang_up(stream)
            return
        self._advance(stream)

    def _advance(self, stream: _Stream) -> None:
        """Answer the questions that a connection has brought, one at a time."""

        def reply(message: bytes) -> None:
            stream.waiting = False
            stream.deadline = time.monotonic() + _STREAM_TIME
            if stream not in self.streams:
                return  # it has gone meanwhile
            try:
                stream.send(message)
            except OSError:
                self._hang_up(stream)
                return
            if not stream.advancing:
                self._advance(stream)

        stream.advancing = True
        try:
            while stream in self.streams and not stream.busy:
                query = stream.next()
                if query is None:
                    break
                stream.waiting = True
                if not self._question(query, stream.source, True, reply):
                    self._hang_up(stream)  # it speaks no DNS
        finally:
            stream.advancing = False
        if stream in self.streams:
            mask = _OUTPUT if stream.out else 0 if stream.waiting else _INPUT
            self.poll.modify(stream.socket.fileno(), mask)

    def _hang_up(self, stream: _Stream) -> None:
        self.streams.discard(stream)
        self._forget(stream.socket)

    def _question(self, query: bytes, source: str, by_stream: bool, reply: Callable[[bytes], None]) -> bool:
        """Have a question answered, now or later; returns False when it deserves no answer."""
        from . import answers

        known = self.known
        if known is None:
            return False
        self._turn += 1
        answer = answers.answer(query, known, self._turn, by_stream, source)
        if answer is None:
            same = sum(other.source == source for other in self.forwards)
            # What asks from an internal network must not reach anybody by way of this host (CVE-2024-29018).
            if known.internal or len(self.forwards) >= _FORWARDS or same >= _FORWARDS_EACH:
                answer = answers.failure(query)
            else:
                forward = _Forward(query, list(known.servers.get(source, known.upstream)), source, by_stream, reply)
                self.forwards.add(forward)
                self._ask(forward)
                return True
        if answer:
            reply(answer)
        return bool(answer)

    # The host's servers.

    def _ask(self, forward: _Forward) -> None:
        """Ask the next server; without one the answer is a failure."""
        while forward.servers:
            self._leave(forward)
            try:
                self._ask_server(forward, forward.servers.pop(0))
                return
            except OSError:
                pass  # no way there
        from . import answers

        self._finish(forward, answers.failure(forward.query))

    def _ask_server(self, forward: _Forward, server: str) -> None:
        family, socket_address = _socket_address(server)
        kind = _socket.SOCK_STREAM if forward.by_stream else _socket.SOCK_DGRAM
        socket = _socket.socket(family, kind | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK)
        forward.socket = socket
        forward.number = os.urandom(2)
        forward.deadline = time.monotonic() + _SERVER_TIME
        message = forward.number + forward.query[2:]
        try:
            socket.connect(socket_address)
        except BlockingIOError:
            pass  # under way
        if forward.by_stream:
            forward.stream = _Stream(socket, server)
            forward.stream.send(message)
        else:
            socket.send(message)
        mask = _INPUT | _OUTPUT if forward.stream is not None and forward.stream.out else _INPUT
        self._watch(socket, mask, lambda _: self._answered(forward))

    def _answered(self, forward: _Forward) -> None:
        stream, socket = forward.stream, forward.socket
        assert socket is not None
        try:
            if stream is None:
                answer: bytes | None = socket.recv(_MESSAGE)
            else:
                stream.flush()
                self.poll.modify(socket.fileno(), _INPUT | _OUTPUT if stream.out else _INPUT)
                stream.receive()
                answer = stream.next()
        except BlockingIOError:
            return
        except OSError:
            self._ask(forward)  # refused, or closed
            return
        if answer is None or len(answer) < 12 or answer[:2] != forward.number or not answer[2] & 0x80:
            return  # not yet, or not to this question
        if answer[3] & 0xF in _UNABLE and forward.servers:
            self._ask(forward)
            return
        self._finish(forward, forward.query[:2] + answer[2:])

    def _leave(self, forward: _Forward) -> None:
        if forward.socket is not None:
            self._forget(forward.socket)
        forward.socket = forward.stream = None

    def _finish(self, forward: _Forward, answer: bytes) -> None:
        self._leave(forward)
        self.forwards.discard(forward)
        forward.reply(answer)


def _socket_address(address: str, index: int = 0) -> tuple[int, tuple[Any, ...]]:
    """Return family and socket address of a DNS server; `index` is the interface of an address that is of one only."""
    text, _, scope = address.partition("%")
    if ":" not in text:
        return _socket.AF_INET, (text, PORT)
    if scope:
        index = whole(scope) if whole(scope) >= 0 else _socket.if_nametoindex(scope)
    return _socket.AF_INET6, (text, PORT, 0, index if text.lower().startswith("fe8") else 0)


def serve() -> None:
    """Run the name server given by the command line: directory, network, descriptors of the lock and of the pipe."""
    import resource

    directory, network_id, lock, tell = sys.argv[1:5]
    for fd in (lock, tell):
        os.set_inheritable(int(fd), False)
    server = Server(directory, network_id, int(lock))
    words = "1"
    try:
        with open("/proc/self/comm", "w") as file:
            file.write("underlay-names")
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024) if hard >= 0 else 1024, hard))
        server.look()
        if server.known is None:
            raise FileNotFoundError("the file with the names of the network is missing")
        server.listen()
    except _Taken as error:
        words = f"in use {error}"
    except Exception as error:
        words = str(error)
    try:
        os.write(int(tell), words.encode())
    except BrokenPipeError:
        pass  # who wanted it has not waited
    os.close(int(tell))
    if words == "1":
        server.run()
