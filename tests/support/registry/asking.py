"""The registry client by itself: short patience, credentials by host, and a network that exists in memory only."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import urllib3

import fakeserver
from underlay import events
from underlay.registry import exchange
from underlay.registry.auth import Authorizer
from underlay.registry.credentials import Credential, Store
from underlay.registry.hosts import Endpoint, HostPlan, Settings, endpoint_of
from underlay.registry.registries import Registries
from underlay.registry.transport import Answer, Transport


class Configured(Settings):
    """Settings in which every registry may have its token server at these origins."""

    def __init__(self) -> None:
        super().__init__()
        self.token_servers: frozenset[tuple[str, str, int]] = frozenset()

    def plan(self, domain: str) -> HostPlan:
        plan = super().plan(domain)
        for endpoint in (*plan.endpoints, *plan.push):
            endpoint.token_servers |= self.token_servers
        return plan


def settings(**network: float) -> Configured:
    """Settings of no file; members of `network` as named, else 5 s for all and 3 tries."""
    made = Configured()
    for name, value in {"connect_timeout": 5.0, "stall_timeout": 5.0, "retries": 3, **network}.items():
        setattr(made.network, name, value)
    return made


class Known(Store):
    """Credentials by registry; `looked_up` are the registries that were asked for."""

    def __init__(self, credentials: dict[str, Credential] | None = None) -> None:
        super().__init__("/nowhere")
        self.credentials = credentials or {}
        self.looked_up: list[str] = []

    def get(self, host: str, repository: str = "") -> Credential | None:
        self.looked_up.append(host)
        return self.credentials.get(host)


def registries(
    credentials: dict[str, Credential] | None = None,
    emit: events.Emit = events.ignore,
    of: fakeserver.Server | None = None,
    **network: float,
) -> Registries:
    """All registries, with the settings above and these credentials; the token server of `of` is configured."""
    made = settings(**network)
    made.token_servers = _token_servers(of)
    return Registries(emit, made, Known(credentials))


def _token_servers(of: fakeserver.Server | None) -> frozenset[tuple[str, str, int]]:
    tokens = getattr(of, "token", None)
    return frozenset((endpoint_of(tokens.url).origin,)) if tokens is not None else frozenset()


def server(
    of: fakeserver.Server,
    credential: Credential | None = None,
    emit: events.Emit = events.ignore,
    transport: Transport | None = None,
    prefix: str = "",
    **network: float,
) -> exchange.Server:
    """A server to ask, by the way that it speaks; certificates are not verified, its token server is configured."""
    endpoint = Endpoint(of.url.partition(":")[0], "127.0.0.1", of.port, prefix, insecure=True)
    endpoint.token_servers = _token_servers(of)
    return at(endpoint, transport or Transport(settings(**network)), credential, emit)


def at(
    endpoint: Endpoint, transport: Transport, credential: Credential | None = None, emit: events.Emit = events.ignore
) -> exchange.Server:
    """A server to ask at any endpoint."""
    return exchange.Server(transport, endpoint, Authorizer(transport, endpoint, lambda: credential), emit)


# A network in memory
# ---------------------------------------------------------------------------------------------------------


@dataclass
class Sent:
    """A request that would have been sent; `headers` by names in lower case."""

    method: str
    url: str
    endpoint: Endpoint
    headers: dict[str, str]
    body: bytes | None


Page = tuple[int, dict[str, str], bytes]


def reply(status: int, headers: Mapping[str, Any] | None = None, body: bytes = b"", url: str = "") -> Answer:
    """An answer without a connection."""
    found = urllib3.HTTPHeaderDict()
    for name, value in (headers or {}).items():
        for each in value if isinstance(value, list) else [value]:
            found.add(name, each)
    inner = urllib3.HTTPResponse(io.BytesIO(body), found, status, preload_content=False, decode_content=False)
    return Answer(inner, url or "https://registry.test/v2/", 5.0)


class Net(Transport):
    """Servers that do not exist: `say` is asked (Sent) for status, headers and body; all that came is in `sent`."""

    def __init__(self, say: Callable[[Sent], Page], **network: float) -> None:
        super().__init__(settings(**network))
        self.say = say
        self.sent: list[Sent] = []

    def send(self, method: str, url: str, endpoint: Endpoint, headers: Mapping[str, str], body: Any = None) -> Answer:
        self.check()
        data = body if body is None or isinstance(body, bytes) else b"".join(body)
        one = Sent(method, url, endpoint, {name.lower(): value for name, value in headers.items()}, data)
        self.sent.append(one)
        status, more, page = self.say(one)
        return reply(status, {"content-length": str(len(page)), **more}, page, url)

    def urls(self) -> list[str]:
        """What was asked, in order, without queries."""
        return [each.url.partition("?")[0] for each in self.sent]


# Servers that speak no HTTP, and time
# ---------------------------------------------------------------------------------------------------------


@contextmanager
def raw_server(speak: Callable[[socket.socket], None]) -> Iterator[int]:
    """A listener on loopback whose connections are handed to `speak`, each in a thread; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        try:
            with connection:
                speak(connection)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_ones.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        for each in (listener, *open_ones):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()


def ended_by(work: Callable[[], object], stop: Callable[[], object], after: float = 0.3) -> tuple[object, float]:
    """Do `work` in a thread and `stop` it from here; return its result or exception, and the seconds after `stop`."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    time.sleep(after)
    assert thread.is_alive(), f"it has ended by itself: {outcome}"
    started = time.monotonic()
    stop()
    thread.join(20)
    assert outcome, "it does not end"
    return outcome[0], time.monotonic() - started
