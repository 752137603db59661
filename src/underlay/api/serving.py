"""The server: its sockets, and its end when it is asked to, or when nobody has asked anything for a while."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import stat
from typing import TYPE_CHECKING

from aiohttp import web

from ..errors import InvalidInput, UnderlayError
from .answers import EXECS
from .encryption import Encrypted
from .streaming.door import Door
from .work import Work

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from ..engine.engine import Engine
    from .answers import Handler

    Site = Callable[[Work], web.Application]

_DESCRIPTORS = 32768
_WAITING = 1024  # connections that are not yet accepted
_ENDING = (signal.SIGINT, signal.SIGTERM)
_FIRST_FD = 3  # of those that systemd passes (sd_listen_fds(3))
_PATIENCE = 60.0  # seconds for the first request of a connection to come, and for the head of a later one
_LONGEST = 1 << 20  # bytes of a request's line and of a header, as Go's servers take them


class Listening:
    """Where the server listens: its socket, TLS or None, and the path of a socket that goes with the server."""

    def __init__(self, address: str, sock: socket.socket, tls: ssl.SSLContext | None = None, path: str = "") -> None:
        self.address = address
        self.socket = sock
        self.tls = tls
        self.path = path


def listen(address: str, tls: ssl.SSLContext | None = None, insecure: bool = False) -> list[Listening]:
    """Listen at `unix://PATH`, `tcp://ADDRESS:PORT`, `fd://` (sockets that systemd has passed) or `fd://NUMBER`.

    TCP needs `tls`, or `insecure` and an address of this host alone. Raises InvalidInput, UnderlayError.
    """
    scheme, _, rest = address.partition("://")
    if scheme == "unix" and rest.startswith("/"):
        return [Listening(address, _unix(rest), None, rest)]
    if scheme == "fd" and not rest:
        return [_checked(each, tls, insecure) for each in _passed()]
    if scheme == "fd" and rest.isascii() and rest.isdecimal():
        return [_checked(_given(int(rest)), tls, insecure)]
    if scheme == "tcp":
        return [_tcp(address, rest, tls, insecure)]
    raise InvalidInput(f"invalid address {address!r} to listen at", "unix:///PATH, tcp://ADDRESS:PORT or fd://")


def hold_signals() -> None:
    """Let signals that end the server wait until it serves: before, its sockets would be left."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)


def _unix(path: str) -> socket.socket:
    """Make a socket for its owner alone, in a directory of its owner's."""
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            facts = os.lstat(path)
        except FileNotFoundError:
            pass
        else:
            if not stat.S_ISSOCK(facts.st_mode):
                raise UnderlayError(f"{path} is there and is not a socket", "give another path with -H unix://PATH")
            probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with probe:
                try:
                    probe.connect(path)
                except OSError:
                    os.unlink(path)  # of a server that was killed
                else:
                    raise UnderlayError(f"a server listens at {path} already")
        # Under another name until it listens: who waits for the socket to be there may connect at once.
        early = f"{directory}/.{os.getpid()}"
        before = os.umask(0o177)
        try:
            sock.bind(early)
        finally:
            os.umask(before)
        try:
            sock.listen(_WAITING)
            os.rename(early, path)
        except BaseException:
            os.unlink(early)
            raise
        return sock
    except OSError as error:
        sock.close()
        raise UnderlayError(f"cannot listen at {path}: {error.strerror or error}") from None
    except BaseException:
        sock.close()
        raise


def _passed() -> list[socket.socket]:
    """Return the sockets that systemd has passed (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise InvalidInput("fd://: no sockets were passed to this process", "systemd does that for a socket unit")
    count = int(os.environ.get("LISTEN_FDS") or 0)
    return [socket.socket(fileno=number) for number in range(_FIRST_FD, _FIRST_FD + count)]


def _checked(passed: socket.socket, tls: ssl.SSLContext | None, insecure: bool) -> Listening:
    """Return a socket that systemd has passed, with TLS unless it is one of this host. Raises InvalidInput."""
    address = f"fd://{passed.fileno()}"
    if passed.family == socket.AF_UNIX:
        return Listening(address, passed)
    _check_host(address, str(passed.getsockname()[0]), tls, insecure)
    return Listening(address, passed, tls)


def check_access(address: str, tls: ssl.SSLContext | None, insecure: bool) -> None:
    """Raise InvalidInput for a TCP address without client certificates; `insecure` allows it on a loopback address."""
    scheme, _, rest = address.partition("://")
    if scheme == "tcp":
        _check_host(address, rest.rpartition(":")[0].strip("[]"), tls, insecure)


def _check_host(address: str, host: str, tls: ssl.SSLContext | None, insecure: bool) -> None:
    if tls is None and not (insecure and is_loopback(host)):
        raise InvalidInput(
            f"{address}: without certificates of clients whoever reaches it is root on this host",
            "give --tlscacert, --tlscert and --tlskey; --insecure-tcp allows it on an address of this host alone",
        )


def _given(number: int) -> socket.socket:
    """Return the socket that the caller has passed as a descriptor. Raises InvalidInput."""
    try:
        return socket.socket(fileno=number)
    except OSError as error:
        raise InvalidInput(f"fd://{number}: this is no socket: {error.strerror}") from None


def _tcp(address: str, rest: str, tls: ssl.SSLContext | None, insecure: bool) -> Listening:
    host, _, port = rest.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isascii() or not port.isdecimal():
        raise InvalidInput(
            f"invalid address {address!r} to listen at", "give an address and a port: tcp://127.0.0.1:2376"
        )
    _check_host(address, host, tls, insecure)
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        sock = socket.create_server((host, int(port)), family=found[0], backlog=_WAITING)
    except (OSError, OverflowError) as error:
        raise UnderlayError(f"cannot listen at {address}: {error}") from None
    return Listening(address, sock, tls)


def is_loopback(host: str) -> bool:
    """Return whether a host is a loopback address, given in digits: one that other hosts cannot reach."""
    from ipaddress import ip_address

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class _Activity:
    """When somebody asked last, how many are being answered, and the connections."""

    def __init__(self) -> None:
        self.now = 0
        self.last = asyncio.get_running_loop().time()
        self.doors: set[Door] = set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.now += 1
        door = request.transport.get_protocol() if request.transport is not None else None
        if isinstance(door, Door):
            door.began(request)
        try:
            return await handler(request)
        finally:
            self.now -= 1
            self.last = asyncio.get_running_loop().time()
            if isinstance(door, Door):
                door.answered()

    async def drop_silent(self) -> None:
        """Close connections whose first request does not come, or one whose head does not become whole: else who only
        connects, or sends a head without end, would stay for ever. aiohttp closes those that ask no more."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PATIENCE / 4)
            now = loop.time()
            for door in tuple(self.doors):
                if door.since is not None and now - door.since > _PATIENCE:
                    door.drop()


def _silent() -> logging.Logger:
    """Return a log that nobody reads: damaged requests of clients are answered, and are no news."""
    log = logging.Logger("underlay.api")
    log.addHandler(logging.NullHandler())
    return log


def _allow_connections() -> None:
    """Raise the limit of descriptors, so that clients who only connect keep no others out (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _protocols(
    runner: web.AppRunner, activity: _Activity, tls: ssl.SSLContext | None
) -> Callable[[], asyncio.Protocol]:
    """Return a function that makes the protocol object of a new connection, with TLS if `tls` is given."""

    def door() -> Door:
        assert runner.server is not None
        return Door(runner.server(), activity.doors)

    return door if tls is None else lambda: Encrypted(tls, door)


async def _serve(engine: Engine, places: Sequence[Listening], make_site: Site, idle: float) -> None:
    loop = asyncio.get_running_loop()
    _allow_connections()
    work = Work(engine)
    activity = _Activity()
    made = make_site(work)
    made.middlewares.insert(0, activity.middleware)
    runner = web.AppRunner(
        made,
        access_log=None,
        logger=_silent(),
        handle_signals=False,
        handler_cancellation=True,  # nobody waits for the answer to a client that is gone
        shutdown_timeout=1.0,
        max_line_size=_LONGEST,
        max_field_size=_LONGEST,
    )
    await runner.setup()
    stopping = asyncio.Event()
    for number in _ENDING:
        loop.add_signal_handler(number, stopping.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    listening: list[asyncio.Server] = []
    dropping = asyncio.ensure_future(activity.drop_silent())
    try:
        for place in places:
            make = _protocols(runner, activity, place.tls)
            listening.append(await loop.create_server(make, sock=place.socket, backlog=_WAITING))
        while not stopping.is_set():
            left = idle - (loop.time() - activity.last) if idle else 3600.0
            if idle and left <= 0 and not activity.now and not (EXECS in made and made[EXECS].running):
                return
            try:
                await asyncio.wait_for(stopping.wait(), max(0.05, left if left > 0 else 1.0))
            except TimeoutError:
                pass
    finally:
        dropping.cancel()
        for server in listening:
            server.close()
        await runner.cleanup()
        work.close()


def serve(engine: Engine, places: Sequence[Listening], make_site: Site, idle: float = 0.0) -> None:
    """Serve the application that `make_site` returns, until SIGTERM or SIGINT comes, or no request has come for `idle`
    seconds (0 for no limit).

    Containers that were started go on.
    """
    try:
        asyncio.run(_serve(engine, places, make_site, idle))
    finally:
        for place in places:
            place.socket.close()
            if place.path:
                try:
                    os.unlink(place.path)
                except FileNotFoundError:
                    pass
