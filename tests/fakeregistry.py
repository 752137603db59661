"""A registry in this process that can be made to misbehave, and the small HTTP server below it.

    with FakeRegistry() as registry:
        registry.add(image(), "team/app", "1.0")
        registry.rule("GET", r"/blobs/", cut_after(1000), times=1)
        …
        assert [each.headers.get("range") for each in registry.asked("GET", "/blobs/")] == [None, "bytes=1000-"]

An action is a function (handler, match) that returns whether it has answered. Those that answer differently (`status`,
`body`, `redirect`, `endless`) end there; those that change how the ordinary answer is given (`cut_after`, `drip`,
`no_range`, …) return False, so that they can be combined, with each other too.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import http.server
import json
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
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol, Self

from remoteimages import INDEX, Image, Index, encoded

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
            piece = self.rfile.read1(most)  # type: ignore[attr-defined]
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

    def shutdown_request(self, request: socket.socket) -> None:
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
        wanted = Rule(method, path, status(500), None, False)
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


# Actions
# ---------------------------------------------------------------------------------------------------------


def status(code: int, headers: Headers | None = None, body: bytes = b"", early: bool = False) -> Action:
    """Answer with this status. `early`: before the request's body was read, and hang up then."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, body, headers, early=early)
        return True

    return act


def body(data: bytes, kind: str = "application/json", headers: Headers | None = None, code: int = 200) -> Action:
    """Answer with this body; `headers` may lie, about Content-Length too."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, data, headers, kind)
        return True

    return act


def redirect(url: str | Callable[[Handler], str], code: int = 307) -> Action:
    """Send the client elsewhere: to a URL, or to what a function says, as in `lambda it: cdn.url + it.asked.target`."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(code, headers={"Location": url if isinstance(url, str) else url(handler)})
        return True

    return act


def endless(chunk: bytes = b" " * PIECE, kind: str = "application/json", most: int = 10 * GIB) -> Action:
    """Answer with a body that does not end (before 10 GiB), of unknown length."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.answer(200, headers={"Content-Type": kind, "Content-Length": None, "Transfer-Encoding": "chunked"})
        framed = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        while handler.command != "HEAD" and handler.asked.sent < most:
            if handler.owner.stopped.is_set():
                raise Cut
            handler.connection.sendall(framed)
            handler.asked.sent += len(chunk)
        if handler.command != "HEAD":
            handler.wfile.write(b"0\r\n\r\n")
        return True

    return act


def hang_up(reset: bool = True) -> Action:
    """End the connection instead of an answer."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.cut(reset)

    return act


def shaped(send: Callable[[Handler, memoryview], None]) -> Action:
    """Answer as ever, but give the body through this function."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.shape = send
        return False

    return act


def cut_after(count: int, reset: bool = True) -> Action:
    """Answer as ever, but end the connection (by a reset or a plain end) after so many bytes of the body."""

    def send(handler: Handler, view: memoryview) -> None:
        handler.send(view[:count])
        handler.cut(reset)

    return shaped(send)


def stall_after(count: int, seconds: float | None = None) -> Action:
    """Answer as ever, but say nothing more after so many bytes of the body, for so long or for ever."""

    def send(handler: Handler, view: memoryview) -> None:
        handler.send(view[:count])
        handler.wait(seconds)
        handler.send(view[count:])

    return shaped(send)


def drip(seconds: float, pieces: int = 20) -> Action:
    """Answer as ever, but spread the body over so many seconds."""

    def send(handler: Handler, view: memoryview) -> None:
        step = max(1, -(-len(view) // pieces))
        for at in range(0, len(view), step):
            handler.wait(seconds / pieces)
            handler.send(view[at : at + step])

    return shaped(send)


def stall(seconds: float | None = None) -> Action:
    """Answer as ever, but only after so long, or never."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.wait(seconds)
        return False

    return act


def cut_upload(count: int, reset: bool = True) -> Action:
    """Read so many bytes of the request's body (an upload keeps them), then end the connection."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.read_limit = count
        handler.after_limit = lambda handler: handler.cut(reset)
        return False

    return act


def stall_upload(count: int, seconds: float | None = None) -> Action:
    """Read so many bytes of the request's body, then nothing more for so long, or for ever."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.read_limit = count
        handler.after_limit = lambda handler: handler.wait(seconds)
        return False

    return act


def altered(change: Callable[[bytes], bytes]) -> Action:
    """Answer as ever, but with another body; headers such as the digest still tell of the true one."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.changes.append(change)
        return False

    return act


def flipped(at: int) -> Action:
    """Answer as ever, but with one byte of the body wrong."""
    return altered(lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def with_headers(headers: Headers) -> Action:
    """Answer as ever, but with these headers; None leaves one out."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.extra = _merged(handler.extra, headers)
        return False

    return act


def no_range(handler: Handler, _: re.Match[str]) -> bool:
    """Answer as ever, but as if no range had been asked for."""
    handler.ignores_range = True
    return False


def wrong_range(shift: int, honest: bool = True) -> Action:
    """Answer with a range that begins `shift` bytes later than asked; Content-Range says so if `honest`."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.range_shift = (shift, honest)
        return False

    return act


# The registry
# ---------------------------------------------------------------------------------------------------------

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
DIGEST = r"[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,}"
TAG = r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}"
ROUTES = [
    (re.compile(pattern), name)
    for pattern, name in [
        (r"/v2/?", "version"),
        (r"/v2/_catalog", "catalog"),
        (rf"/v2/({NAME})/manifests/({DIGEST}|{TAG})", "manifest"),
        (rf"/v2/({NAME})/blobs/uploads/", "uploads"),
        (rf"/v2/({NAME})/blobs/uploads/([^/]+)", "upload"),
        (rf"/v2/({NAME})/blobs/({DIGEST})", "blob"),
        (rf"/v2/({NAME})/tags/list", "tags"),
        (rf"/v2/({NAME})/referrers/({DIGEST})", "referrers"),
    ]
]

Judge = Callable[[str, str], bool]


class IssuesTokens(Protocol):
    def challenge(self) -> str: ...

    def judge(self, authorization: str, scope: str) -> bool: ...


@dataclass
class Upload:
    data: bytearray = field(default_factory=bytearray)
    states: set[str] = field(default_factory=set)


@dataclass
class Repository:
    """What a repository holds; `documents` are manifests and indexes: digest → (media type, bytes)."""

    documents: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)


class Problem(Exception):
    """An answer that is an error in the words of the specification."""

    def __init__(self, status: int, code: str, message: str = "", headers: Headers | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.headers = headers or {}
        self.body = encoded({"errors": [{"code": code, "message": message or code.lower(), "detail": None}]})


def scope_of(request: Request) -> str:
    """What a token must allow for this request; empty when it must only be there."""
    if request.path == "/v2/_catalog":
        return "registry:catalog:*"
    match = re.match(rf"/v2/({NAME})/(?:manifests|blobs|tags|referrers)/", request.path)
    if not match:
        return ""
    actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(request.method, "pull,push")
    if "/blobs/uploads/" in request.path:
        actions = "pull,push"
    return f"repository:{match[1]}:{actions}"


class FakeRegistry(Server):
    """A registry in memory that speaks the OCI distribution protocol 1.1.

    Who may ask: everyone, or `users` (name → password, Basic), or who has a token of a `TokenServer`, or whom `judge`
    (Authorization, scope) lets in after `challenge`, in which {scope} stands for what the request needs.

    Its manners: `mounts` blobs from other repositories; takes a blob in a `single_post`; knows `referrers`; `deletes`;
    gives `absolute` locations of uploads; lists at most `page` entries; `negotiates`: has no manifest of a type that
    Accept does not name, as docker-registry; `checks` that what a manifest names is there; wants chunks of at least
    `least_chunk` bytes but for the last.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | HasContext | None = None,
        *,
        users: dict[str, str] | None = None,
        token: IssuesTokens | None = None,
        challenge: str | list[str] | None = None,
        judge: Judge | None = None,
        mounts: bool = True,
        single_post: bool = True,
        referrers: bool = True,
        deletes: bool = True,
        absolute: bool = False,
        page: int = 0,
        negotiates: bool = False,
        checks: bool = True,
        least_chunk: int = 0,
    ) -> None:
        self.repositories: dict[str, Repository] = {}
        self.challenge: str | list[str] | None = challenge
        self.judge: Judge | None = judge
        if users is not None:
            accepted = {"Basic " + base64.b64encode(f"{n}:{p}".encode()).decode() for n, p in users.items()}
            self.challenge = challenge or 'Basic realm="fake"'
            self.judge = lambda authorization, _: authorization in accepted
        elif token is not None:
            self.challenge = challenge or token.challenge()
            self.judge = judge or token.judge
        elif challenge is not None and judge is None:
            self.judge = lambda authorization, _: bool(authorization)
        self.mounts, self.single_post, self.has_referrers = mounts, single_post, referrers
        self.deletes, self.absolute, self.page = deletes, absolute, page
        self.negotiates, self.checks, self.least_chunk = negotiates, checks, least_chunk
        super().__init__(tls)

    # What tests do with it

    def add(self, image: Image | Index, repository: str, *tags: str) -> str:
        """Put an image there; returns its name with the first tag, or else with its digest."""
        place = self.repository(repository)
        place.documents.update(image.documents)
        place.blobs.update(image.blobs)
        place.tags.update(dict.fromkeys(tags, image.digest))
        return f"{self.host}/{repository}" + (f":{tags[0]}" if tags else f"@{image.digest}")

    def repository(self, name: str) -> Repository:
        with self.lock:
            return self.repositories.setdefault(name, Repository())

    def manifest(self, repository: str, reference: str) -> dict[str, Any]:
        """The document that a tag or digest names."""
        place = self.repository(repository)
        return json.loads(place.documents[place.tags.get(reference, reference)][1])

    # The protocol

    def denied(self, handler: Handler) -> bool:
        scope = scope_of(handler.asked)
        if self.judge is None or self.judge(handler.asked.headers.get("authorization", ""), scope):
            return False
        said = [self.challenge] if isinstance(self.challenge, str) else self.challenge or []
        problem = Problem(401, "UNAUTHORIZED", "authentication required")
        said = [each.replace("{scope}", scope) if scope else re.sub(r',?[a-z]+="\{scope\}"', "", each) for each in said]
        handler.answer(401, problem.body, {"WWW-Authenticate": said or None})
        return True

    def serve(self, handler: Handler) -> None:
        handler.extra = {"Docker-Distribution-Api-Version": "registry/2.0", **handler.extra}
        try:
            for pattern, name in ROUTES:
                match = pattern.fullmatch(handler.asked.path)
                if match:
                    method = handler.command.replace("HEAD", "GET").lower()
                    action = getattr(self, f"_{method}_{name}", None)
                    if action is None:
                        raise Problem(405, "UNSUPPORTED")
                    action(handler, *match.groups())
                    return
            raise Problem(404, "NAME_INVALID" if handler.asked.path.startswith("/v2/") else "NOT_FOUND")
        except Problem as problem:
            handler.answer(problem.status, problem.body, problem.headers)

    def _known(self, name: str) -> Repository:
        with self.lock:
            if name not in self.repositories:
                raise Problem(404, "NAME_UNKNOWN", "repository name not known to registry")
            return self.repositories[name]

    def _get_version(self, handler: Handler) -> None:
        handler.answer(200, b"{}")

    def _get_catalog(self, handler: Handler) -> None:
        names = [name for name, place in self.repositories.items() if place.documents or place.blobs]
        some, headers = self._page(handler, names, "/v2/_catalog")
        handler.answer(200, encoded({"repositories": some}), headers)

    def _get_tags(self, handler: Handler, name: str) -> None:
        some, headers = self._page(handler, self._known(name).tags, f"/v2/{name}/tags/list")
        handler.answer(200, encoded({"name": name, "tags": some}), headers)

    def _page(self, handler: Handler, words: Iterable[str], path: str) -> tuple[list[str], Headers]:
        query = handler.asked.query
        found = sorted(word for word in words if word > query.get("last", ""))
        try:
            count = int(query["n"]) if "n" in query else len(found)
        except ValueError:
            raise Problem(400, "PAGINATION_NUMBER_INVALID")
        if self.page:
            count = min(count, self.page)
        some = found[:count]
        if not some or len(some) == len(found):
            return some, {}
        more = urllib.parse.urlencode({"last": some[-1], "n": count})
        return some, {"Link": f'<{path}?{more}>; rel="next"'}

    # Manifests

    def _document(self, name: str, reference: str) -> tuple[Repository, str]:
        place = self._known(name)
        digest = place.tags.get(reference, reference)
        if digest not in place.documents:
            raise Problem(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return place, digest

    def _get_manifest(self, handler: Handler, name: str, reference: str) -> None:
        place, digest = self._document(name, reference)
        kind, data = place.documents[digest]
        accepted = handler.asked.headers.get("accept", "*/*")
        if self.negotiates and "*/*" not in accepted and kind not in accepted:
            raise Problem(404, "MANIFEST_UNKNOWN", "manifest found, but accept header does not support its type")
        headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"'}
        if digest in handler.asked.headers.get("if-none-match", ""):
            handler.answer(304, headers=headers)
        else:
            handler.answer(200, data, headers, kind)

    def _put_manifest(self, handler: Handler, name: str, reference: str) -> None:
        data = handler.read_body()
        place = self.repository(name)
        algorithm = reference.split(":")[0] if ":" in reference else "sha256"
        digest = _digest(data, algorithm)
        if ":" in reference and digest != reference:
            raise Problem(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        try:
            value = json.loads(data)
        except ValueError:
            raise Problem(400, "MANIFEST_INVALID")
        kind = handler.asked.headers.get("content-type", "")
        if value.get("mediaType", kind) != kind:
            raise Problem(400, "MANIFEST_INVALID", f"mediaType is not {kind}")
        wanted = [value["config"], *value.get("layers", [])] if "config" in value else []
        missing = [each["digest"] for each in wanted if each["digest"] not in place.blobs and not each.get("urls")]
        missing += [e["digest"] for e in value.get("manifests", []) if e["digest"] not in place.documents]
        if missing and self.checks:
            raise Problem(400, "MANIFEST_BLOB_UNKNOWN", f"unknown: {' '.join(missing)}")
        place.documents[digest] = (kind, data)
        if ":" not in reference:
            place.tags[reference] = digest
        headers = {"Location": self._location(f"/v2/{name}/manifests/{digest}"), "Docker-Content-Digest": digest}
        if "subject" in value and self.has_referrers:
            headers["OCI-Subject"] = value["subject"]["digest"]
        handler.answer(201, headers=headers)

    def _delete_manifest(self, handler: Handler, name: str, reference: str) -> None:
        self._may_delete()
        place, digest = self._document(name, reference)
        if reference in place.tags:
            del place.tags[reference]
        else:
            del place.documents[digest]
            for tag in [tag for tag, named in place.tags.items() if named == digest]:
                del place.tags[tag]
        handler.answer(202)

    def _may_delete(self) -> None:
        if not self.deletes:
            raise Problem(405, "UNSUPPORTED", "the operation is unsupported")

    def _get_referrers(self, handler: Handler, name: str, digest: str) -> None:
        if not self.has_referrers:
            raise Problem(404, "NOT_FOUND")
        place = self.repositories.get(name, Repository())
        found = []
        for own, (kind, data) in place.documents.items():
            value = json.loads(data)
            if value.get("subject", {}).get("digest") == digest:
                entry = {"mediaType": kind, "digest": own, "size": len(data)}
                entry["artifactType"] = value.get("artifactType") or value.get("config", {}).get("mediaType")
                if "annotations" in value:
                    entry["annotations"] = value["annotations"]
                found.append(entry)
        headers = {}
        wanted = handler.asked.query.get("artifactType")
        if wanted:
            found = [entry for entry in found if entry["artifactType"] == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        value = {"schemaVersion": 2, "mediaType": INDEX[False], "manifests": found}
        handler.answer(200, encoded(value), headers, INDEX[False])

    # Blobs

    def _blob(self, name: str, digest: str) -> tuple[Repository, bytes]:
        place = self._known(name)
        if digest not in place.blobs:
            raise Problem(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return place, place.blobs[digest]

    def _get_blob(self, handler: Handler, name: str, digest: str) -> None:
        _, data = self._blob(name, digest)
        tag = f'"{digest}"'
        headers = {"Docker-Content-Digest": digest, "ETag": tag}
        if not handler.ignores_range:
            headers["Accept-Ranges"] = "bytes"
        span = handler.asked.headers.get("range", "")
        if span and not handler.ignores_range and handler.asked.headers.get("if-range", tag) == tag:
            found = _span(span, len(data))
            if found is None:
                raise Problem(416, "RANGE_INVALID", headers={"Content-Range": f"bytes */{len(data)}"})
            begin, end = found
            shift, honest = handler.range_shift
            low = max(0, begin + shift)
            high = min(len(data), end + shift)
            first, last = (low, high) if honest else (begin, end)
            headers["Content-Range"] = f"bytes {first}-{last - 1}/{len(data)}"
            handler.answer(206, memoryview(data)[low:high], headers, "application/octet-stream")
        else:
            handler.answer(200, data, headers, "application/octet-stream")

    def _delete_blob(self, handler: Handler, name: str, digest: str) -> None:
        self._may_delete()
        place, _ = self._blob(name, digest)
        del place.blobs[digest]
        handler.answer(202)

    # Uploads

    def _location(self, path: str) -> str:
        return self.url + path if self.absolute else path

    def _stored(self, handler: Handler, name: str, digest: str) -> None:
        location = self._location(f"/v2/{name}/blobs/{digest}")
        handler.answer(201, headers={"Location": location, "Docker-Content-Digest": digest})

    def _store(self, handler: Handler, name: str, digest: str, data: bytes) -> None:
        algorithm = digest.partition(":")[0]
        if not re.fullmatch(DIGEST, digest) or _digest(data, algorithm) != digest:
            raise Problem(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.repository(name).blobs[digest] = data
        self._stored(handler, name, digest)

    def _post_uploads(self, handler: Handler, name: str) -> None:
        query = handler.asked.query
        place = self.repository(name)
        mount = query.get("mount", "")
        if mount and self.mounts:
            sources = [self.repositories.get(query["from"])] if "from" in query else []
            for source in sources:
                if source and mount in source.blobs:
                    place.blobs[mount] = source.blobs[mount]
                    self._stored(handler, name, mount)
                    return
        if "digest" in query and self.single_post:
            self._store(handler, name, query["digest"], handler.read_body())
            return
        number = str(uuid.uuid4())
        place.uploads[number] = Upload()
        self._accepted(handler, name, number, 202)

    def _accepted(self, handler: Handler, name: str, number: str, code: int) -> None:
        handler.answer(code, headers=self._progress(name, number))

    def _progress(self, name: str, number: str) -> Headers:
        """What is said of an upload: where it goes on, with a state that must be brought along, and how far it is."""
        upload = self.repository(name).uploads[number]
        state = uuid.uuid4().hex
        upload.states.add(state)
        headers = {
            "Location": self._location(f"/v2/{name}/blobs/uploads/{number}?_state={state}"),
            "Docker-Upload-UUID": number,
            "Range": f"0-{max(0, len(upload.data) - 1)}",
        }
        if self.least_chunk:
            headers["OCI-Chunk-Min-Length"] = str(self.least_chunk)
        return headers

    def _upload(self, handler: Handler, name: str, number: str) -> tuple[Repository, Upload]:
        place = self._known(name)
        upload = place.uploads.get(number)
        if upload is None:
            raise Problem(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if handler.asked.query.get("_state") not in upload.states:
            raise Problem(400, "BLOB_UPLOAD_INVALID", "the query of the location was not brought along")
        return place, upload

    def _receive(self, handler: Handler, name: str, number: str, upload: Upload) -> None:
        """Append the body to an upload, each piece as it comes: what came before an interruption is kept."""
        headers = handler.asked.headers
        span = headers.get("content-range", "")
        if span:
            match = re.fullmatch(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", span)
            if not match or int(match[1]) != len(upload.data):
                raise Problem(416, "RANGE_INVALID", headers=self._progress(name, number))
            length = headers.get("content-length")
            if length is not None and int(length) != int(match[2]) - int(match[1]) + 1:
                raise Problem(400, "SIZE_INVALID")
        for piece in handler.pieces():
            upload.data += piece

    def _patch_upload(self, handler: Handler, name: str, number: str) -> None:
        _, upload = self._upload(handler, name, number)
        self._receive(handler, name, number, upload)
        self._accepted(handler, name, number, 202)

    def _put_upload(self, handler: Handler, name: str, number: str) -> None:
        place, upload = self._upload(handler, name, number)
        if "digest" not in handler.asked.query:
            raise Problem(400, "DIGEST_INVALID")
        self._receive(handler, name, number, upload)
        del place.uploads[number]
        self._store(handler, name, handler.asked.query["digest"], bytes(upload.data))

    def _get_upload(self, handler: Handler, name: str, number: str) -> None:
        self._upload(handler, name, number)
        self._accepted(handler, name, number, 204)

    def _delete_upload(self, handler: Handler, name: str, number: str) -> None:
        place, _ = self._upload(handler, name, number)
        del place.uploads[number]
        handler.answer(204)


def _digest(data: bytes, algorithm: str) -> str:
    try:
        return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    except ValueError:
        raise Problem(400, "DIGEST_INVALID", "unknown algorithm")


def _span(asked: str, size: int) -> tuple[int, int] | None:
    """What of `size` bytes a Range of one part asks for: begin and end; None when there is nothing of it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.strip())
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        begin, end = max(0, size - int(match[2])), size
    else:
        begin, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    return (begin, end) if begin < end else None
