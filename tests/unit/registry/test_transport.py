"""Connections: patience, bounds of answers, the end from another thread, and what is told of a URL."""

from __future__ import annotations

import socket
import ssl
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asking
import fakeserver
from asking import raw_server, reply
from fakeregistry import FakeRegistry
from faults import body, drip, endless, hang_up, stall, stall_after, stall_upload, with_headers
from registries import Certificate, Proxy
from remoteimages import image, noise, sha
from underlay.errors import LimitExceeded, RegistryError, Unreachable
from underlay.registry import transport as transports
from underlay.registry.hosts import Endpoint
from underlay.registry.transport import Broken, Cancelled, Transport, shown_url

BLOB = noise(300_000, 1)
PATH = f"/v2/team/app/blobs/{sha(BLOB)}"


@pytest.fixture
def registry() -> FakeRegistry:
    made = FakeRegistry()
    made.repository("team/app").blobs[sha(BLOB)] = BLOB
    return made


def get(server: asking.exchange.Server, path: str = PATH) -> transports.Answer:
    return server.transport.send("GET", server.endpoint.url(path), server.endpoint, {})


def whole(answer: transports.Answer, piece: int = 1 << 16) -> bytes:
    pieces = []
    while data := answer.read(piece):
        assert len(data) <= piece
        pieces.append(data)
    return b"".join(pieces)


# What is told of a URL


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://u:s3cr3t@h:5000/v2/x?sig=s3cr3t#s3cr3t", "https://h:5000/v2/x"),
        ("https://s3cr3t@h/", "https://h/"),
        ("https://a@s3cr3t@h/", "https://h/"),
        ("https://h", "https://h"),
        ("http://[::1]:5000/v2/", "http://[::1]:5000/v2/"),
    ],
)
def test_places(url: str, wanted: str) -> None:
    assert shown_url(url) == wanted


def test_places_are_short() -> None:
    assert len(shown_url("https://h/" + "x" * 100_000)) == 200


@given(st.text(max_size=60).map("https://h/".__add__))
def test_any_place_can_be_told(url: str) -> None:
    assert len(shown_url(url)) <= 200


def test_errors_name_no_query(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("GET", "/blobs/", hang_up(reset=False))
        server = asking.server(registry)
        for path in (f"{PATH}?X-Amz-Signature=s3cr3t", f"{PATH}?s3cr3t"):
            with pytest.raises(Broken) as caught:
                get(server, path)
            assert "s3cr3t" not in caught.value.message and PATH in caught.value.message
            assert caught.value.message.endswith("the connection was closed early")


# No connection


def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for scheme in ("http", "https"):
            server = asking.at(Endpoint(scheme, "127.0.0.1", port, insecure=True), Transport(asking.settings()))
            with pytest.raises(Unreachable, match=rf"{scheme}://127.0.0.1:{port}/v2/: connection refused") as caught:
                get(server, "/v2/")
            assert caught.value.hint


def test_no_such_host() -> None:
    server = asking.at(Endpoint("http", "nobody.invalid"), Transport(asking.settings()))
    with pytest.raises(Unreachable, match=r"http://nobody.invalid/v2/: no such host"):
        get(server, "/v2/")


def test_tls_where_there_is_none_and_none_where_there_is(registry: FakeRegistry, tmp_path: Path) -> None:
    with registry, FakeRegistry(tls=Certificate(tmp_path / "tls")) as secure:
        insecure = Endpoint("https", "127.0.0.1", registry.port, insecure=True)
        with pytest.raises(Unreachable):
            get(asking.at(insecure, Transport(asking.settings())))
        with pytest.raises(RegistryError):
            get(asking.at(Endpoint("http", "127.0.0.1", secure.port), Transport(asking.settings())))


def test_certificates_that_are_not_trusted(tmp_path: Path) -> None:
    with FakeRegistry(tls=Certificate(tmp_path / "tls")) as registry:
        registry.repository("team/app").blobs[sha(BLOB)] = BLOB
        strict = Endpoint("https", "127.0.0.1", registry.port)
        with pytest.raises(Unreachable, match="its certificate is not trusted: unable to get local issuer") as caught:
            get(asking.at(strict, Transport(asking.settings())))
        assert "certs.d" in caught.value.hint
        assert registry.asked() == []
        assert whole(get(asking.server(registry))) == BLOB


@pytest.mark.filterwarnings("error")
def test_nothing_is_warned_of_where_it_was_asked_for(tmp_path: Path) -> None:
    """That certificates are not verified is the user's wish, or docker's rule for this host."""
    with FakeRegistry(tls=Certificate(tmp_path / "tls")) as registry:
        with warnings.catch_warnings(record=True) as told:
            answer = get(asking.server(registry), "/v2/")
            answer.finish()
        assert answer.status == 200 and told == []


def test_certificates_for_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = Certificate(tmp_path / "tls", ["DNS:elsewhere.test"])
    with FakeRegistry(tls=tls) as registry:
        monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "certs.d"))
        tls.directory(tmp_path / "certs.d" / registry.host)
        with pytest.raises(Unreachable, match="its certificate is not trusted: IP address mismatch"):
            get(asking.at(Endpoint("https", "127.0.0.1", registry.port), Transport(asking.settings())))
        assert registry.asked() == []


def test_a_private_authority_and_a_certificate_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls = Certificate(tmp_path / "tls", mutual=True)
    with FakeRegistry(tls=tls) as registry:
        monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "certs.d"))
        tls.directory(tmp_path / "certs.d" / registry.host)
        server = asking.at(Endpoint("https", "127.0.0.1", registry.port), Transport(asking.settings()))
        assert get(server, "/v2/").status == 200


# Patience


def told(work: Callable[[], object]) -> str:
    """The message of the Broken that something ends with."""
    with pytest.raises(Broken) as caught:
        work()
    return caught.value.message


def test_no_answer(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("GET", "/blobs/", stall())
        message = told(lambda: get(asking.server(registry, stall_timeout=0.3)))
        assert message.endswith("no answer in time")


def test_a_stall(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("GET", "/blobs/", stall_after(1000))
        message = told(lambda: whole(get(asking.server(registry, stall_timeout=0.3))))
        assert message.endswith("no answer in time")


def test_a_body_that_drips(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """RG-05: less than 512 bytes a second is no transfer, though it never stands still."""
    registry.repository("team/app").blobs[sha(BLOB)] = BLOB[:200]
    with registry:
        registry.rule("GET", "/blobs/", drip(20.0, 200))
        message = told(lambda: whole(get(asking.server(registry, stall_timeout=0.5))))
        assert message.endswith("the connection has stalled")


def test_a_document_that_drips(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "DOCUMENT_SECONDS", 0.5)
    with registry:
        registry.rule("GET", "/blobs/", drip(20.0, 200))
        answer = get(asking.server(registry))
        message = told(lambda: answer.document(1 << 20, "it"))
        assert message.endswith("the answer comes too slowly")


def test_headers_that_drip() -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(40):
            connection.sendall(b"x")
            time.sleep(0.1)

    with raw_server(speak) as port:
        server = asking.at(Endpoint("http", "127.0.0.1", port), Transport(asking.settings(stall_timeout=0.3)))
        assert told(lambda: get(server, "/v2/")).endswith("the answer comes too slowly")


def test_answers_that_never_begin() -> None:
    """100 (Continue) may come before an answer, but not for ever."""
    sent = []

    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        for number in range(400):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            sent.append(number)
            time.sleep(0.01)

    with raw_server(speak) as port:
        server = asking.at(Endpoint("http", "127.0.0.1", port), Transport(asking.settings(stall_timeout=0.3)))
        told(lambda: get(server, "/v2/"))
        assert len(sent) < 400


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 1_000_000 + b"\r\na\r\n",
    ],
    ids=lambda answer: repr(answer[:60]),
)
def test_what_is_no_http(answer: bytes) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with raw_server(speak) as port:
        server = asking.at(Endpoint("http", "127.0.0.1", port), Transport(asking.settings(stall_timeout=1.0)))
        with pytest.raises(RegistryError) as caught:
            get(server, "/v2/").document(100, "it")
        assert caught.value.message.startswith(f"http://127.0.0.1:{port}/v2/: ")
        assert "object at" not in caught.value.message and len(caught.value.message) < 300


# Bounds


def test_bounds_of_documents(registry: FakeRegistry) -> None:
    with registry:
        server = asking.server(registry)
        assert get(server).document(len(BLOB), "it") == BLOB
        with pytest.raises(LimitExceeded, match="it: longer than 299999 bytes"):
            get(server).document(len(BLOB) - 1, "it")
        registry.rule("GET", "/blobs/", with_headers({"Content-Length": str(10**15)}))
        with pytest.raises(LimitExceeded):
            get(server).document(len(BLOB), "it")


def test_endless_documents(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("GET", "/blobs/", endless())
        with pytest.raises(LimitExceeded):
            get(asking.server(registry)).document(1 << 20, "it")
        assert registry.asked()[0].sent < 1 << 27


def test_compressed_answers_are_left_alone(registry: FakeRegistry) -> None:
    """No bomb can hide in a Content-Encoding."""
    with registry:
        registry.rule("GET", "/blobs/", with_headers({"Content-Encoding": "gzip"}))
        assert whole(get(asking.server(registry))) == BLOB
        assert registry.asked()[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0", 0), ("12", 12), ("", -1), ("-5", -1), ("+5", -1), ("1.5", -1), ("x", -1), ("٣", -1), ("9" * 30, -1)],
)
def test_lengths(text: str, wanted: int) -> None:
    assert reply(200, {"content-length": text} if text.isascii() else {}).length == wanted


# Connections


def test_connections_are_used_again(registry: FakeRegistry) -> None:
    with registry:
        server = asking.server(registry)
        for _ in range(3):
            assert whole(get(server)) == BLOB
            get(server, "/v2/nothing").finish()
        assert {each.connection for each in registry.asked()} == {0}


def test_questions_without_a_body_keep_the_connection(registry: FakeRegistry) -> None:
    with registry:
        server = asking.server(registry)
        for _ in range(3):
            with server.ask("HEAD", PATH, ()) as answer:
                assert answer.status == 200 and answer.length == len(BLOB)
        assert {each.connection for each in registry.asked()} == {0}


# The end, from another thread


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_cancelling(tmp_path: Path, tls: bool) -> None:
    certificate = Certificate(tmp_path / "tls") if tls else None
    with FakeRegistry(certificate) as registry:
        registry.repository("team/app").blobs[sha(BLOB)] = BLOB
        registry.rule("GET", "/v2/$", stall())
        registry.rule("GET", "/blobs/", stall_after(100))
        for work in (
            lambda server: get(server, "/v2/"),
            lambda server: whole(get(server)),
            lambda server: server.ask("GET", "/v2/", ()),
        ):
            server = asking.server(registry, stall_timeout=15.0)
            outcome, seconds = asking.ended_by(lambda: work(server), server.transport.cancel)
            assert isinstance(outcome, Cancelled | Broken) and seconds < 2, outcome
            with pytest.raises(Cancelled):
                get(server, "/v2/")


def test_cancelling_an_upload(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("PUT", "/v2/", stall_upload(1000))
        server = asking.server(registry, stall_timeout=15.0)
        outcome, seconds = asking.ended_by(
            lambda: server.ask("PUT", "/v2/", (), {}, bytes(100 << 20)), server.transport.cancel
        )
        assert isinstance(outcome, Cancelled) and seconds < 2, outcome


def test_cancelling_a_pause() -> None:
    net = asking.Net(lambda sent: (503, {"retry-after": "30"}, b""))
    server = asking.at(Endpoint("https", "registry.test"), net)
    outcome, seconds = asking.ended_by(lambda: server.ask("GET", "/v2/", ()), net.cancel)
    assert isinstance(outcome, Cancelled) and seconds < 1, outcome


def test_cancelling_while_a_connection_is_made() -> None:
    """The other side is there, but does not shake hands."""
    with raw_server(lambda connection: time.sleep(10)) as port:
        endpoint = Endpoint("https", "127.0.0.1", port, insecure=True)
        server = asking.at(endpoint, Transport(asking.settings(connect_timeout=4.0)))
        outcome, seconds = asking.ended_by(lambda: get(server, "/v2/"), server.transport.cancel)
        assert isinstance(outcome, Cancelled) and seconds < 2, outcome


def test_cancelling_when_there_is_nothing_to_end(registry: FakeRegistry) -> None:
    with registry:
        server = asking.server(registry)
        assert whole(get(server)) == BLOB
        server.transport.cancel()
        server.transport.cancel()
        server.transport.close()


def test_a_handshake_that_takes_too_long() -> None:
    with raw_server(lambda connection: time.sleep(10)) as port:
        endpoint = Endpoint("https", "127.0.0.1", port, insecure=True)
        server = asking.at(endpoint, Transport(asking.settings(connect_timeout=0.3)))
        with pytest.raises(RegistryError, match="no answer in time"):
            get(server, "/v2/")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(tmp_path: Path) -> None:
    context = Certificate(tmp_path / "tls").server_context()
    try:
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    except (ValueError, ssl.SSLError):
        pytest.skip("this OpenSSL has no TLS 1.1 to refuse")
    with FakeRegistry(context) as registry:
        with pytest.raises(RegistryError):
            get(asking.server(registry), "/v2/")
        assert registry.asked() == []


def test_a_body_is_sent_as_it_is(registry: FakeRegistry) -> None:
    with registry:
        registry.rule("PUT", "/", body(b"{}"))
        server = asking.server(registry)
        pieces = [b"abc", b"", b"defg"]
        for content, headers in ((b"abcdefg", {}), (pieces, {}), (pieces, {"content-length": "7"})):
            server.transport.send("PUT", server.endpoint.url("/v2/"), server.endpoint, headers, content).finish()
        assert [each.body for each in registry.asked()] == [b"abcdefg"] * 3
        encodings = [each.headers.get("transfer-encoding") for each in registry.asked()]
        assert encodings == [None, "chunked", None]


def test_who_we_are(registry: FakeRegistry) -> None:
    with registry:
        registry.add(image(), "team/app", "1")
        get(asking.server(registry), "/v2/")
        assert registry.asked()[0].headers["user-agent"].startswith("underlay/")
        assert registry.asked()[0].headers["host"] == registry.host


# Proxies


class SecureProxy(Proxy):
    """A proxy that speaks TLS itself."""

    def __init__(self, hosts: dict[str, str], certificate: Certificate) -> None:
        super().__init__(hosts)
        self.close()
        self.stopped.clear()
        fakeserver.Server.__init__(self, certificate)


@pytest.mark.parametrize("kind", ["plain", "tls", "tls in tls"])
def test_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    certificate = Certificate(tmp_path / "tls", ["DNS:registry.test", "IP:127.0.0.1"])
    with FakeRegistry(certificate if kind != "plain" else None) as registry:
        registry.repository("team/app").blobs[sha(BLOB)] = BLOB[:50_000]
        hosts = {"registry.test:443": registry.host, "registry.test:80": registry.host}
        with SecureProxy(hosts, certificate) if kind == "tls in tls" else Proxy(hosts, {"u": "s3cr3t"}) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"{proxy.url.partition(':')[0]}://u:s3cr3t@{proxy.host}")
            monkeypatch.setenv("HTTP_PROXY", f"http://u:s3cr3t@{proxy.host}")
            endpoint = Endpoint("http" if kind == "plain" else "https", "registry.test", insecure=True)
            server = asking.at(endpoint, Transport(asking.settings()))
            assert whole(get(server)) == BLOB[:50_000]
            assert proxy.forwarded == [f"registry.test:{endpoint.port}"]
            assert not any("proxy-authorization" in each.headers for each in registry.asked())
            server.transport.cancel()
            server.transport.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_breaks_behind_a_proxy_are_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float], scheme: str
) -> None:
    """They are tried again, unlike a proxy that is not there."""
    with FakeRegistry(Certificate(tmp_path / "tls") if scheme == "https" else None) as registry:
        registry.rule("GET", "/v2/", hang_up(reset=False), times=1)
        with Proxy({f"registry.test:{80 if scheme == 'http' else 443}": registry.host}) as proxy:
            monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
            server = asking.at(Endpoint(scheme, "registry.test", insecure=True), Transport(asking.settings()))
            assert server.ask("GET", "/v2/", ()).status == 200
    assert len(pauses) == 1
    with pytest.raises(Unreachable, match="the proxy failed: connection refused"):
        get(asking.at(Endpoint(scheme, "registry.test", insecure=True), Transport(asking.settings())), "/v2/")


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(users={"u": "s3cr3t"}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://u:wr0ng@{proxy.host}")
        with pytest.raises(Unreachable, match=r"https://registry\.test/v2/: the proxy failed: .*407") as caught:
            get(asking.at(Endpoint("https", "registry.test"), Transport(asking.settings())), "/v2/")
        assert "wr0ng" not in caught.value.message + caught.value.hint
