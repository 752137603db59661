"""HTTP: one request, one answer, over pooled connections. The only user of urllib3.

Nothing is followed, repeated or authorised here; the caller decides (`exchange`). Proxies come from the
environment (`proxies`), certificates from `hosts`.
"""

from __future__ import annotations

import socket
import sys
import threading
import weakref
from http.client import HTTPException, HTTPResponse
from time import monotonic, sleep

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..errors import LimitExceeded, RegistryError, Unreachable
from ..human import whole
from . import hosts, proxies, tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from .hosts import Endpoint, Settings

    Body = bytes | Iterable[bytes] | None

_AGENT = f"underlay/{sys.modules['underlay'].__version__}"
# An answer that is a document must come within this time, however slowly it drips (attacks RG-05).
DOCUMENT_SECONDS = 60.0
# The head of an answer, and each read of its body, must be done within so many stall timeouts.
_STALLS = 3
# What is stored may take a registry longer to move about.
STORING_SECONDS = 900.0
# Slower than this over the time that a stall may last is no transfer (bytes a second).
_SLOWEST = 512
_CONNECTIONS = 16  # kept a host
_INTERIM = 8  # answers of status 1xx that may come before the real one (RFC 9110, section 15.2)


class Broken(RegistryError):
    """A connection ended or stalled before its answer was whole: the request may be tried again, unless it is `final`."""

    final = False


class Cancelled(RegistryError):
    """Somebody else has given up the work that this request was part of."""


class Answer:
    """A response: `status`, `headers` (any case), `url` as it was asked; the body is read in pieces. Close it."""

    __slots__ = (
        "_arrived",
        "_deadline",
        "_handle",
        "_inner",
        "_patience",
        "_since",
        "_watchman",
        "headers",
        "status",
        "url",
    )

    def __init__(
        self, inner: urllib3.BaseHTTPResponse, url: str, patience: float, watchman: _Watchman | None = None
    ) -> None:
        self._inner = inner
        self._watchman = watchman or _Watchman()
        self._handle: socket.socket | None = getattr(inner, "handle", None)
        self.status: int = inner.status
        self.headers: Mapping[str, str] = inner.headers
        self.url = url
        self._patience = patience
        self._since = monotonic()
        self._arrived = 0
        self._deadline = 0.0

    def read(self, most: int) -> bytes:
        """Return what has come, at most `most` bytes; none at the end. Raises Broken (early end, stall, slow drip)."""
        self._watchman.begin(self._handle, self._patience * _STALLS)
        try:
            data = self._inner.read1(most, decode_content=False) or b""
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise Broken(f"{shown_url(self.url)}: {_plainly(error)}") from None
        finally:
            in_time = self._watchman.end(self._handle)
        if not in_time:
            raise Broken(f"{shown_url(self.url)}: the answer comes too slowly")
        now = monotonic()
        self._arrived += len(data)
        if self._deadline and now > self._deadline:
            slow = Broken(f"{shown_url(self.url)}: the answer comes too slowly")
            slow.final = True
            raise slow
        if now - self._since > self._patience:
            if data and self._arrived < _SLOWEST * (now - self._since):
                raise Broken(f"{shown_url(self.url)}: the connection has stalled")
            self._since, self._arrived = now, 0
        return data

    def document(self, limit: int, what: str) -> bytes:
        """Return the whole body, at most `limit` bytes. Raises LimitExceeded naming `what`, Broken."""
        if self.length > limit:
            raise LimitExceeded(f"{what}: longer than {limit} bytes")
        self._deadline = monotonic() + DOCUMENT_SECONDS
        pieces: list[bytes] = []
        left = limit
        while data := self.read(min(left + 1, 1 << 20)):
            left -= len(data)
            if left < 0:
                raise LimitExceeded(f"{what}: longer than {limit} bytes")
            pieces.append(data)
        return b"".join(pieces)

    @property
    def length(self) -> int:
        """The length in bytes that the answer promises, -1 when it promises none."""
        text = self.headers.get("content-length", "")
        return whole(text)

    def finish(self) -> None:
        """Take what is left of a short body, so that the connection can be used again; else close it."""
        try:
            if 0 <= self.length <= 1 << 16:
                self.document(1 << 16, "answer")
        except RegistryError:
            pass
        self.close()

    def close(self) -> None:
        """Give the connection up or back."""
        self._inner.close()
        if self._handle is not None and getattr(self._inner, "last", False):
            self._handle.close()
        self._handle = None

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Watchman:
    """Shuts connections on which something takes longer than it may, whatever they do meanwhile.

    A timeout of single reads does not end what drips: a head, the size of a chunk, trailers without end.
    """

    def __init__(self) -> None:
        self._watched: dict[socket.socket, float] = {}
        self._late: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, handle: socket.socket | None, seconds: float) -> None:
        """Give what begins now on a connection so much time."""
        if handle is None:
            return
        with self._lock:
            self._watched[handle] = monotonic() + seconds
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchman", daemon=True)
                self._thread.start()

    def end(self, handle: socket.socket | None) -> bool:
        """Say that it is over; returns whether it was in time."""
        if handle is None:
            return True
        with self._lock:
            self._watched.pop(handle, None)
            return handle not in self._late

    def _run(self) -> None:
        while True:
            sleep(0.2)
            now = monotonic()
            with self._lock:
                late = [handle for handle, until in self._watched.items() if now > until]
                for handle in late:
                    del self._watched[handle]
                    self._late.add(handle)
                if not self._watched:
                    self._thread = None
            for handle in late:
                _shut(handle)
            if self._thread is None:
                return


def _shut(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Transport:
    """Sends requests; `cancel` ends all that wait for an answer, in whichever thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.cancelled = threading.Event()
        self._managers: dict[tuple[str, str, int, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._watchman = _Watchman()

    def send(
        self,
        method: str,
        url: str,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        body: Body = None,
    ) -> Answer:
        """Send one request to `url`, which lies at `endpoint`; return the answer, whatever its status is.

        An iterable body is sent in chunks unless `headers` has a content-length. Raises Unreachable (no
        connection, certificate not trusted), Broken.
        """
        self.check()
        network = self.settings.network
        # Between the last byte of an upload and its answer a registry may copy all of it.
        patience = network.stall_timeout if method in ("GET", "HEAD") else max(network.stall_timeout, 300.0)
        sent = {"user-agent": _AGENT, "accept-encoding": "identity", **headers}
        try:
            inner = self._manager(endpoint).urlopen(
                method,
                url,
                body=body,
                headers=sent,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
                timeout=urllib3.Timeout(connect=network.connect_timeout, read=patience),
                chunked=body is not None and not isinstance(body, bytes) and "content-length" not in headers,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            self.check()
            raise _explained(error, url) from None
        if method == "HEAD":
            inner.drain_conn()  # there is no body: the connection is free at once
        return Answer(inner, url, network.stall_timeout, self._watchman)

    def pause(self, seconds: float) -> None:
        """Wait before another try; raises Cancelled when all is cancelled meanwhile."""
        self.cancelled.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Cancelled when all has been cancelled."""
        if self.cancelled.is_set():
            raise Cancelled("interrupted")

    def cancel(self) -> None:
        """End all requests under way and to come: their threads get an error at once."""
        self.cancelled.set()
        for opened_socket in list(self._sockets):
            _shut(opened_socket)

    def resume(self) -> None:
        """Allow requests again after `cancel`, when all requests that it ended have raised their error."""
        self.cancelled.clear()

    def close(self) -> None:
        """Close the connections that are kept."""
        for manager in self._managers.values():
            manager.clear()

    def _manager(self, endpoint: Endpoint) -> urllib3.PoolManager:
        key = (*endpoint.origin, endpoint.insecure)
        with self._lock:
            if key not in self._managers:
                self._managers[key] = self._made(endpoint)
            return self._managers[key]

    def _made(self, endpoint: Endpoint) -> urllib3.PoolManager:
        import os

        shared = {"opened": self._sockets, "stall": self.settings.network.stall_timeout, "watchman": self._watchman}
        plain = type("Plain", (_Watched, HTTPConnection), shared)
        secure = type("Secure", (_Watched, HTTPSConnection), shared)
        pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        options: dict[str, object] = {"maxsize": _CONNECTIONS, "block": False}
        if endpoint.scheme == "https":
            certificates = hosts.certificates(endpoint.authority)
            options["ssl_context"] = hosts.ssl_context(endpoint, certificates)
            if not hosts.is_verified(endpoint, certificates):
                # The user has declared it insecure: no warning at each request.
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                options["assert_hostname"] = False
                options["cert_reqs"] = "CERT_NONE"
        proxy = proxies.proxy_for(endpoint, os.environ)
        manager: urllib3.PoolManager
        if proxy:
            manager = urllib3.ProxyManager(proxy, proxy_headers=_proxy_headers(proxy), **options)  # type: ignore[arg-type]
        else:
            manager = urllib3.PoolManager(**options)  # type: ignore[arg-type]
        manager.pool_classes_by_scheme = pools
        return manager


class _Bounded(HTTPResponse):
    """An HTTP answer before which only a few interim ones are skipped: http.client would skip any number of them."""

    _heads = 0

    def _read_status(self) -> tuple[str, int, str]:
        self._heads += 1
        if self._heads > _INTERIM + 1:
            raise HTTPException(f"more than {_INTERIM} interim answers (status 1xx)")
        head: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        return head


class _Watched:
    """What our connections add to urllib3's: they can be shut from another thread, and no part of an answer may drip.

    `opened` takes the sockets, `stall` is the time in seconds that may pass without a byte.
    """

    opened: weakref.WeakSet[socket.socket]
    stall: float
    sock: socket.socket | None
    watchman: _Watchman
    response_class = _Bounded
    _handle: socket.socket | None = None
    _answering = False

    def _new_conn(self) -> socket.socket:
        connection: socket.socket = super()._new_conn()  # type: ignore[misc]
        # A handle of its own on the connection: TLS takes the socket over, within TLS of a proxy even twice.
        self._handle = connection.dup()
        self.opened.add(self._handle)
        return connection

    def connect(self) -> None:
        """Connect; any error before the TLS handshake is complete means that the server does not speak this protocol."""
        try:
            super().connect()  # type: ignore[misc]
        except (ConnectionError, TimeoutError) as error:
            raise urllib3.exceptions.NewConnectionError(self, f"{_plainly(error)}") from error  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the connection; an answer that is still to be read takes the handle over."""
        super().close()  # type: ignore[misc]
        if self._handle is not None and not self._answering:
            self._handle.close()
            self._handle = None

    def send(self, data: Any) -> None:
        """Send a part of a request: each may take as long as an answer may stall."""
        if self.sock is not None:
            self.sock.settimeout(self.stall)
        super().send(data)  # type: ignore[misc]

    def getresponse(self) -> Any:
        """Return the answer when its head is whole; one that drips, or never begins, is cut off."""
        asking = getattr(self, "_method", "") in ("GET", "HEAD")
        handle = self._handle
        self.watchman.begin(handle, self.stall * _STALLS if asking else max(self.stall, STORING_SECONDS))
        self._answering = True
        try:
            response = super().getresponse()  # type: ignore[misc]
        finally:
            self._answering = False
            in_time = self.watchman.end(handle)
        if not in_time:
            raise urllib3.exceptions.ProtocolError("the answer comes too slowly")
        response.handle = handle
        response.last = self.sock is None  # the server closes after this answer, and so did we
        if response.last:
            self._handle = None
        return response


def _proxy_headers(proxy: str) -> dict[str, str] | None:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy)
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return dict(urllib3.make_headers(proxy_basic_auth=pair))


def shown_url(url: str) -> str:
    """Return a URL for a message: without query and user information, which may hold secrets."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return shown if len(shown) <= 200 else shown[:197] + "..."


def _explained(error: Exception, url: str) -> RegistryError:
    """Return the error of a request that got no answer, in one line."""
    exceptions = urllib3.exceptions
    where = shown_url(url)
    # Broken off behind the proxy is broken off; that there is no way through it shows as one of these (or `OSError`).
    if isinstance(error, exceptions.ProxyError) and (
        type(error.original_error) is OSError
        or isinstance(error.original_error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError)
    ):
        return Unreachable(
            f"{where}: the proxy failed: {_plainly(error.original_error)}", "see HTTPS_PROXY and NO_PROXY"
        )
    if isinstance(error, exceptions.NameResolutionError):
        return Unreachable(f"{where}: no such host, or no name server answers", "check the name and the network")
    if isinstance(error, exceptions.SSLError):
        refused = Unreachable(f"{where}: {_plainly(error)}", tls.hint(_innermost(error)))
        refused.speaks_tls = tls.speaks_tls(_innermost(error))
        return refused
    if isinstance(error, exceptions.NewConnectionError | exceptions.ConnectTimeoutError):
        return Unreachable(f"{where}: {_plainly(error)}", "check the name, the port and the network")
    if isinstance(error, exceptions.LocationValueError | ValueError) and not isinstance(error, UnicodeError):
        return Unreachable(f"{where}: not an address to connect to")
    return Broken(f"{where}: {_plainly(error)}")


def _plainly(error: BaseException) -> str:
    """Return the innermost reason of an error of urllib3's without the objects that it names."""
    error = _innermost(error)
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    reason = tls.plainly(error)
    if reason:
        return reason
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror).lower()
    text = str(error).rpartition(">: ")[2] or type(error).__name__
    if "IncompleteRead" in text or "without response" in text:
        return "the connection was closed early"
    return "".join(c if c.isprintable() else " " for c in text[:200]).strip()


def _innermost(error: BaseException) -> BaseException:
    seen = 0
    while seen < 8:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        arguments = [argument for argument in getattr(error, "args", ()) if isinstance(argument, BaseException)]
        if isinstance(error, OSError) and error.strerror and not isinstance(error, urllib3.exceptions.HTTPError):
            break
        following = inner if isinstance(inner, BaseException) else (arguments[0] if arguments else None)
        if following is None or following is error:
            break
        error = following
        seen += 1
    return error
