"""A small HTTP server for tests: it records its requests, and rules say how it answers instead of as ever.

See `faults` for ready actions and `fakeregistry` for what is built on it.
"""

from __future__ import annotations

import fcntl
import http.server
import re
import select
import socket
import socketserver
import ssl
import struct
import sys
import termios
import threading
import time
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, Self

KEPT = 1 << 16
PIECE = 1 << 20
GIB = 1 << 30
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT")

Headers = dict[str, Any]
Action = Callable[["Handler", "re.Match[str]"], bool]


class HasContext(Protocol):
    def server_context(self) -> ssl.SSLContext: ...


# The server
# ---------------------------------------------------------------------------------------------------------


@dataclass
class Request:
    """A request as it came, and what became of it."""

    method: str
    path: str
    query: dict[str, str]
    """Decoded; what is repeated is joined by a space, as in Docker's `scope`."""
    target: str = field(repr=False)
    """Path and query as they stood in the request line."""
    headers: dict[str, str] = field(repr=False)
    """By names in lower case; what is repeated is joined by a comma."""
    connection: int
    """Which connection of the server it came through, counted from 0."""
    body: bytes = field(repr=False, default=b"")
    """The first 64 KiB of it."""
    length: int = 0
    """How many bytes of the body were read."""
    status: int = 0
    """What was answered; 0 is nothing."""
    sent: int = 0
    """How many bytes of the answer's body were sent."""
    started: float = field(repr=False, default=0.0)
    ended: float = field(repr=False, default=0.0)

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return _fields(self.body.decode())


def most_at_once(requests: Iterable[Request]) -> int:
    """How many of the requests were under way at one time, at most."""
    ends = [(each.started, 1) for each in requests] + [(each.ended or time.monotonic(), -1) for each in requests]
    now = most = 0
    for _, step in sorted(ends):
        now += step
        most = max(most, now)
    return most


@dataclass
class Rule:
    method: str
    path: str
    action: Action
    times: int | None
    first: bool
    used: int = 0
    """How often it was applied."""

    def match(self, request: Request) -> re.Match[str] | None:
        if self.times is not None and self.used >= self.times:
            return None
        if self.method != "*" and not re.fullmatch(self.method, request.method):
            return None
        return re.search(self.path, request.path)


class Cut(Exception):
    """The connection ends here."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection. What actions use: `asked`, `answer`, `read_body`, `send`, `wait`, `cut`, `owner`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def setup(self) -> None:
        self.owner = self.server.owner
        self.number = self.owner.count()
        self.resets = False
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def serve(self) -> None:
        path, _, query = self.path.partition("?")
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            name = name.lower()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.asked = Request(
            self.command,
            urllib.parse.unquote(path),
            _fields(query),
            self.path,
            headers,
            self.number,
            started=time.monotonic(),
        )
        self.chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.unread = 0 if self.chunked else int(headers.get("content-length", 0))
        self.read_all = not self.chunked and not self.unread
        self.read_limit: int | None = None
        self.after_limit: Callable[[Handler], None] = Handler.cut
        self.ignores_range = False
        self.range_shift: tuple[int, bool] = (0, True)
        self.shape: Callable[[Handler, memoryview], None] = Handler.send
        self.changes: list[Callable[[bytes], bytes]] = []
        self.extra: Headers = {}
        try:
            with self.owner.lock:
                self.owner.requests.append(self.asked)
            self.owner.handle(self)
        except (Cut, OSError, EOFError):
            self.close_connection = True
        except Exception as error:
            self.owner.trouble.append(f"{self.asked}\n{''.join(traceback.format_exception(error))}")
            self.close_connection = True
            if not self.asked.status:
                self.answer(500, b"the test's server has failed\n")
        finally:
            self.asked.ended = time.monotonic()
        if not self.read_all:
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def handle_expect_100(self) -> bool:
        """Said when the body is wanted, not before."""
        self.expected = True
        return True

    def parse_request(self) -> bool:
        self.expected = False
        return super().parse_request()

    def log_message(self, *_: object) -> None:
        pass

    # Reading

    def pieces(self) -> Iterable[bytes]:
        """The body as it comes."""
        if not self.read_all and self.expected:
            self.expected = False
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not self.read_all:
            if self.chunked and not self.unread:
                self.unread = int(self._line().split(b";")[0], 16)
                if not self.unread:
                    while self._line():
                        pass
                    self.read_all = True
                    return
            most = min(self.unread, PIECE)
            if self.read_limit is not None:
                most = min(most, self.read_limit - self.asked.length)
                if most <= 0:
                    self.read_limit = None
                    self.after_limit(self)
                    continue
            piece = self.rfile.read1(most)
            if not piece:
                raise EOFError
            self.unread -= len(piece)
            if not self.unread:
                if self.chunked:
                    self._line()
                else:
                    self.read_all = True
            self.asked.length += len(piece)
            if len(self.asked.body) < KEPT:
                self.asked.body += piece[: KEPT - len(self.asked.body)]
            yield piece

    def _line(self) -> bytes:
        line = self.rfile.readline(65536)
        if not line.endswith(b"\n"):
            raise EOFError
        return line.strip()

    def read_body(self) -> bytes:
        """The whole body, or what is left of it."""
        return b"".join(self.pieces())

    # Answering

    def answer(
        self,
        code: int,
        body: bytes | bytearray | memoryview = b"",
        headers: Headers | None = None,
        kind: str = "application/json",
        early: bool = False,
    ) -> None:
        """Answer, after what is left of the request's body was read unless `early`.

        A header of None is not sent, one with a list is sent several times; `headers` win over what would be said.
        """
        all_headers: Headers = {}
        if not self.read_all and (early or self.expected):
            all_headers["Connection"] = "close"
            self.close_connection = True
        else:
            for _ in self.pieces():
                pass
        for change in self.changes:
            body = change(bytes(body))
        if code >= 200 and code not in (204, 304):
            all_headers["Content-Length"] = str(len(body))
        if body:
            all_headers["Content-Type"] = kind
        for more in (headers or {}, self.extra):
            all_headers = _merged(all_headers, more)
        self.head(code, all_headers)
        if self.command != "HEAD" and code not in (204, 304):
            self.shape(self, memoryview(body))

    def head(self, code: int, headers: Headers) -> None:
        """Send a status line and headers."""
        phrase = self.responses[code][0] if code in self.responses else "Unknown"
        lines = [f"HTTP/1.1 {code} {phrase}"]
        for name, value in headers.items():
            if value is not None:
                lines += [f"{name}: {each}" for each in (value if isinstance(value, list) else [value])]
                if name.lower() == "connection" and value == "close":
                    self.close_connection = True
        self.asked.status = code
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, body: bytes | memoryview) -> None:
        """Send bytes of the answer's body."""
        view = memoryview(body)
        for at in range(0, len(view), PIECE):
            self.connection.sendall(view[at : at + PIECE])
            self.asked.sent += len(view[at : at + PIECE])

    # Time and end

    def wait(self, seconds: float | None = None) -> None:
        """Wait for so long, or for ever; ends the connection when the other side or the server ends."""
        until = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while until is None or time.monotonic() < until:
            left = 0.05 if until is None else min(0.05, max(0.0, until - time.monotonic()))
            if self.owner.stopped.wait(left) or poll.poll(0):
                raise Cut
        if self.owner.stopped.is_set():
            raise Cut

    def cut(self, reset: bool = True) -> NoReturn:
        """End the connection, by a reset or a plain end, once the other side has received what was sent."""
        descriptor = self.connection.fileno()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not self.owner.stopped.is_set():
            if not struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]:
                break
            time.sleep(0.001)
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.server.ending[self.request] = "reset" if reset else "end"
        raise Cut


for _method in METHODS:
    setattr(Handler, f"do_{_method}", Handler.serve)


class _Listener(socketserver.ThreadingTCPServer):
    """Connections, each in a thread; knows those that are open."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, owner: Server, context: ssl.SSLContext | None) -> None:
        self.owner = owner
        self.context = context
        self.open: set[socket.socket] = set()
        self.ending: dict[socket.socket, str] = {}
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self.owner.lock:
            self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        with self.owner.lock:
            self.open.discard(request)
            ending = self.ending.pop(request, "")
        if not ending and isinstance(request, ssl.SSLSocket):
            # Says that this is the end (close_notify), without waiting for the other side to say so too.
            try:
                request.setblocking(False)
                request.unwrap()
            except (OSError, ValueError):
                pass
        if ending != "reset":
            try:
                socket.socket.shutdown(request, socket.SHUT_WR)
            except OSError:
                pass
        request.close()

    def handle_error(self, request: object, address: object) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            self.owner.refused.append(str(error))
        elif not isinstance(error, OSError):
            self.owner.trouble.append(traceback.format_exc())


class Server:
    """An HTTP server on loopback, from its making until `close`; what it answers is in `serve` of those below.

    `host` is "127.0.0.1:PORT", `name` is "localhost:PORT". `requests` are all that came. `refused` are TLS handshakes
    that failed. When an action or the server itself fails, the `with` block fails too.
    """

    def __init__(self, tls: ssl.SSLContext | HasContext | None = None) -> None:
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.requests: list[Request] = []
        self.rules: list[Rule] = []
        self.trouble: list[str] = []
        self.refused: list[str] = []
        self.connections = 0
        context = tls if tls is None or isinstance(tls, ssl.SSLContext) else tls.server_context()
        self._listener = _Listener(self, context)
        self.port: int = self._listener.server_address[1]
        self.host = f"127.0.0.1:{self.port}"
        self.name = f"localhost:{self.port}"
        self.url = f"{'https' if context else 'http'}://{self.host}"
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close()
        if kind is None and self.trouble:
            raise AssertionError("the test's server has failed:\n" + "\n".join(self.trouble))

    def close(self) -> None:
        """End all connections and wait, at most 2 s, until their threads have seen it."""
        self.stopped.set()
        self._listener.shutdown()
        self._listener.server_close()
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            with self.lock:
                for connection in self._listener.open:
                    try:
                        # Not SSLSocket's, which would take the TLS object away from the thread that uses it.
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)
                    except OSError:
                        pass
                if not self._listener.open:
                    return
            time.sleep(0.005)

    def count(self) -> int:
        with self.lock:
            self.connections += 1
            return self.connections - 1

    def rule(self, method: str, path: str, action: Action, times: int | None = None, first: bool = False) -> Rule:
        """Apply an action to requests whose method (a regular expression, or *) and path (one that is searched) match.

        Rules go in the order they were made, for so many `times` each. They see requests that have passed the
        authentication; with `first` they come before it.
        """
        made = Rule(method, path, action, times, first)
        self.rules.append(made)
        return made

    def asked(self, method: str = "*", path: str = "") -> list[Request]:
        """The requests that came whose method and path match, as in `rule`."""
        wanted = Rule(method, path, lambda handler, match: False, None, False)
        return [each for each in list(self.requests) if wanted.match(each)]

    def forget(self) -> None:
        """Forget the requests that came."""
        with self.lock:
            self.requests.clear()

    def handle(self, handler: Handler) -> None:
        if self._ruled(handler, first=True) or self.denied(handler) or self._ruled(handler, first=False):
            return
        self.serve(handler)

    def _ruled(self, handler: Handler, first: bool) -> bool:
        for rule in list(self.rules):
            if rule.first != first:
                continue
            with self.lock:
                match = rule.match(handler.asked)
                if match:
                    rule.used += 1
            if match and rule.action(handler, match):
                return True
        return False

    def denied(self, handler: Handler) -> bool:
        """Whether the request was answered because it may not be made."""
        return False

    def serve(self, handler: Handler) -> None:
        handler.answer(404)


def _fields(query: str) -> dict[str, str]:
    return {name: " ".join(values) for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}


def _merged(headers: Headers, more: Headers) -> Headers:
    names = {name.lower() for name in more}
    return {**{name: value for name, value in headers.items() if name.lower() not in names}, **more}
