"""Requests as the protocol has them: redirects, repetitions, pauses, and where uploads may lie."""

from __future__ import annotations

from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import asking
from asking import Net, Page, Sent
from fakeregistry import FakeRegistry
from faults import body, hang_up, redirect, status
from registries import Certificate, basic
from remoteimages import sha
from underlay.errors import RegistryError, Unreachable
from underlay.events import Event
from underlay.registry import patience, problems
from underlay.registry.credentials import Credential
from underlay.registry.exchange import Server
from underlay.registry.hosts import Endpoint
from underlay.registry.transport import Broken

ALICE = Credential("alice", "s3cr3t")
PUBLIC = Endpoint("https", "registry.test")
DATA = b"some bytes"
BLOB = f"/v2/team/app/blobs/{sha(DATA)}"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        made.repository("team/app").blobs[sha(DATA)] = DATA
        yield made


def authorizations(server: FakeRegistry) -> list[str | None]:
    return [each.headers.get("authorization") for each in server.asked()]


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_another_server_is_told_nothing(registry: FakeRegistry, code: int, method: str) -> None:
    """RG-01: name or port changes, and the Authorization stays behind."""
    with FakeRegistry(users={"alice": "s3cr3t"}) as home:
        home.rule(method, "/blobs/", redirect(lambda it: registry.url + it.asked.target, code))
        server = asking.server(home, ALICE)
        answer = server.ask(method, BLOB, ())
        assert answer.status == 200
        assert method == "HEAD" or answer.document(100, "it") == DATA
        assert authorizations(home) == [None, basic("alice", "s3cr3t")]
        assert authorizations(registry) == [None]
        assert registry.asked()[0].method == method


def test_the_same_server_is(registry: FakeRegistry) -> None:
    registry.judge = lambda said, _: bool(said)
    registry.challenge = "Basic"
    registry.rule("GET", "/old", redirect(f"{registry.url}{BLOB}"))
    registry.rule("GET", "/relative", redirect(f"../v2{BLOB[3:]}?x=1"))
    server = asking.server(registry, ALICE)
    for path in ("/old", "/v2/relative"):
        assert server.ask("GET", path, ()).document(100, "it") == DATA
    assert authorizations(registry) == [None] + [basic("alice", "s3cr3t")] * 4


def test_who_was_elsewhere_comes_back_a_stranger(registry: FakeRegistry) -> None:
    with FakeRegistry(users={"alice": "s3cr3t"}) as home:
        home.rule("GET", "/old", redirect(registry.url + "/back"))
        registry.rule("GET", "/back", redirect(home.url + BLOB))
        answer = asking.server(home, ALICE).ask("GET", "/old", ())
        assert answer.status == 401
        assert authorizations(home) == [None, basic("alice", "s3cr3t"), None]


def test_other_headers_go_along(registry: FakeRegistry) -> None:
    with FakeRegistry() as home:
        home.rule("GET", "/blobs/", redirect(lambda it: registry.url + it.asked.target))
        assert asking.server(home).ask("GET", BLOB, (), {"range": "bytes=5-"}).status == 206


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_circles(registry: FakeRegistry, steps: int) -> None:
    for step in range(steps):
        registry.rule("GET", f"^/{step}$", redirect(f"/{(step + 1) % steps}?secret=s3cr3t"))
    with pytest.raises(RegistryError, match="more than 6 redirects") as caught:
        asking.server(registry).ask("GET", "/0", ())
    assert len(registry.asked()) <= 6 and "s3cr3t" not in caught.value.message


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_changes_something_is_not_sent_elsewhere(registry: FakeRegistry, method: str) -> None:
    with FakeRegistry() as other:
        registry.rule(method, "/", redirect(other.url))
        assert asking.server(registry, ALICE).ask(method, "/v2/", (), None, b"x").status == 307
        assert other.asked() == []


@pytest.mark.parametrize("headers", [{}, {"Location": ""}])
def test_a_redirect_to_nowhere(registry: FakeRegistry, headers: dict[str, str]) -> None:
    registry.rule("GET", "/", status(307, headers))
    answer = asking.server(registry).ask("GET", "/v2/", ())
    assert answer.status == 307
    assert problems.of(answer, "it").message == "it: the registry answers with status 307"


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://u:p@h/",
        "http://",
        "http:///x",
        "http://h:99999/",
        "http://h:x/",
        "http://[::1/",
        "http://[x]/",
        "http://a b/",
        "http://h/a b",
        "http://h\\@g/",
        "http://-/",
        "http://é/",
        "//h:99999/",
        "http://h/" + "x" * 5000 + " ",
    ],
    ids=lambda text: text[:30],
)
def test_redirects_to_no_address(location: str) -> None:
    net = Net(lambda sent: (302, {"location": location}, b""))
    with pytest.raises(RegistryError, match="redirects to an invalid URL") as caught:
        asking.at(PUBLIC, net).ask("GET", "/v2/", ())
    assert caught.value.message.isprintable() and len(caught.value.message) < 300
    assert len(net.sent) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(max_codepoint=255), max_size=40), st.sampled_from(["", "http://", "https://h", "//", "/"]))
def test_any_redirect_ends(location: str, start: str) -> None:
    net = Net(lambda sent: (302, {"location": start + location}, b""))
    try:
        answer = asking.at(PUBLIC, net).ask("GET", "/v2/", ())
    except RegistryError as error:
        assert len(error.message) < 1000
    else:
        assert answer.status == 302
    for sent in net.sent:
        assert sent.endpoint.scheme == "https" and sent.endpoint.host not in ("localhost", "127.0.0.1")


LOCAL = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.0.0.1/",
    "https://017700000001/",
    "https://localhost:2375/",
    "https://LOCALHOST/",
    "https://a.localhost/",
    "https://0.0.0.0/",
    "https://169.254.169.254/latest/meta-data/",
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
]


@pytest.mark.parametrize("location", LOCAL)
@pytest.mark.parametrize("by_way_of", ["", "https://cdn.test/x"])
def test_a_public_registry_does_not_lead_into_this_host(location: str, by_way_of: str) -> None:
    def say(sent: Sent) -> Page:
        assert sent.endpoint.host in ("registry.test", "cdn.test")
        return 307, {"location": by_way_of if by_way_of and sent.endpoint.host == "registry.test" else location}, b""

    net = Net(say)
    with pytest.raises(RegistryError, match=r"redirects to an address of this host: .*; not followed"):
        asking.at(PUBLIC, net).ask("GET", "/v2/", ())


def test_a_registry_on_this_host_may() -> None:
    net = Net(
        lambda sent: (
            (200, {}, b"") if sent.endpoint.port == 9000 else (307, {"location": "http://127.0.0.1:9000/"}, b"")
        )
    )
    assert asking.at(Endpoint("http", "localhost", 5000), net).ask("GET", "/v2/", ()).status == 200


@pytest.mark.parametrize("by_way_of", ["", "https://cdn.test/x"])
def test_tls_is_never_left(by_way_of: str) -> None:
    def say(sent: Sent) -> Page:
        assert sent.endpoint.scheme == "https"
        to = by_way_of if by_way_of and sent.endpoint.host == "registry.test" else "http://registry.test/x?s3cr3t"
        return 307, {"location": to}, b""

    with pytest.raises(RegistryError, match=r"redirects from TLS to plain HTTP: http://registry.test/x; not followed"):
        asking.at(PUBLIC, Net(say)).ask("GET", "/v2/", ())


def test_from_plain_text_to_tls() -> None:
    net = Net(
        lambda sent: (200, {}, b"") if sent.endpoint.scheme == "https" else (307, {"location": "https://h.test/"}, b"")
    )
    assert asking.at(Endpoint("http", "h.test"), net, ALICE).ask("GET", "/v2/", ()).status == 200
    assert [each.headers.get("authorization") for each in net.sent] == [None, None]


# Repetitions


@pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(registry: FakeRegistry, pauses: list[float], code: int) -> None:
    registry.rule("GET", "/blobs/", status(code), times=2)
    assert asking.server(registry).ask("GET", BLOB, ()).document(100, "it") == DATA
    assert len(pauses) == 2


@pytest.mark.parametrize("code", [304, 400, 401, 403, 404, 405, 409, 410, 413, 416, 418, 501, 505, 599])
def test_what_will_not_is_returned(registry: FakeRegistry, pauses: list[float], code: int) -> None:
    registry.rule("GET", "/blobs/", status(code, body=b'{"errors":[{"message":"no"}]}' if code != 304 else b""))
    answer = asking.server(registry).ask("GET", BLOB, ())
    assert answer.status == code and len(registry.asked()) == 1 and pauses == []
    assert problems.reason_of(answer) == ("no" if code != 304 else "")


def test_the_last_answer_is_returned_whole(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", status(503, body=b'{"errors":[{"code":"UNAVAILABLE","message":"in maintenance"}]}'))
    answer = asking.server(registry, retries=4).ask("GET", BLOB, ())
    assert len(registry.asked()) == 4 and len(pauses) == 3
    assert problems.of(answer, "it").message == "it: unavailable: in maintenance"


def test_pauses_grow_and_are_bounded(
    registry: FakeRegistry, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.rule("GET", "/blobs/", status(503))
    for luck in (0.0, 0.999):
        monkeypatch.setattr(patience.random, "random", lambda: luck)
        pauses.clear()
        asking.server(registry, retries=30).ask("GET", BLOB, ())
        assert len(pauses) == 29 and pauses == sorted(pauses)
        assert 0.1 <= pauses[0] < 1 and pauses[3] > 4 * pauses[0] and pauses[-1] <= 22.5


def test_pauses_differ_between_clients(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", status(503))
    asking.server(registry, retries=10).ask("GET", BLOB, ())
    first = list(pauses)
    pauses.clear()
    asking.server(registry, retries=10).ask("GET", BLOB, ())
    assert first != pauses


def test_a_pause_is_announced(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[Event] = []
    registry.rule("GET", "/blobs/", status(503, body=b'{"errors":[{"message":"busy\\u001b[2J"}]}'), times=1)
    registry.rule("GET", "/blobs/", hang_up(), times=1)
    server = asking.server(registry, emit=happened.append)
    monkeypatch.setattr(server.transport.cancelled, "wait", lambda seconds: False)
    assert server.ask("GET", BLOB, ()).status == 200
    assert [(each.kind, each.subject) for each in happened] == [("registry.retry", registry.host)] * 2
    assert happened[0].attributes["reason"] == "busy [2J"
    assert str(happened[1].attributes["reason"]).startswith(f"http://{registry.host}/v2/")
    assert all(0 < float(str(each.attributes["seconds"])) < 2 for each in happened)


def test_connections_that_break_off(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "/blobs/", hang_up(), times=2)
    assert asking.server(registry).ask("GET", BLOB, ()).document(100, "it") == DATA
    registry.rule("GET", "/blobs/", hang_up(reset=False))
    registry.forget()
    with pytest.raises(Broken):
        asking.server(registry).ask("GET", BLOB, ())
    assert len(registry.asked()) == 3
    registry.forget()
    with pytest.raises(Broken):
        asking.server(registry).ask("GET", BLOB, (), attempts=1)
    assert len(registry.asked()) == 1


def test_where_nobody_listens_nothing_is_repeated(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.close()
    with pytest.raises(Unreachable):
        asking.server(registry).ask("GET", BLOB, ())
    assert pauses == []


def waited(net: Net, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that `ask` waits."""
    seconds: list[float] = []
    monkeypatch.setattr(Server, "pause", lambda self, length, reason: seconds.append(length))
    asking.at(PUBLIC, net).ask("GET", "/v2/", ())
    return seconds


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5", 5),
        (" 5 ", 5),
        ("0", 0),
        ("60", 60),
        (formatdate(1_700_000_030, usegmt=True), 30),
        (formatdate(1_700_000_030), 30),
        (formatdate(1_600_000_000, usegmt=True), 0),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("1e3", 0),
        ("Fri, 99 Foo 2023", 0),
        ("Tue, 14 Nov 99999999999 22:13:50 GMT", 0),
        ("12345678901234567890", 0),
        ("٣", 0),
        ("\xb2", 0),
    ],
)
def test_retry_after(monkeypatch: pytest.MonkeyPatch, code: int, text: str, wanted: float) -> None:
    monkeypatch.setattr(patience, "time", lambda: 1_700_000_000.0)
    net = Net(lambda sent: (code if len(net.sent) == 1 else 200, {"retry-after": text}, b""))
    [seconds] = waited(net, monkeypatch)
    assert wanted <= seconds <= max(wanted, 1)


@pytest.mark.parametrize("text", ["61", "999999999", formatdate(1_700_003_600, usegmt=True)])
def test_who_wants_to_be_left_alone_for_long_is(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(patience, "time", lambda: 1_700_000_000.0)
    net = Net(lambda sent: (429, {"retry-after": text}, b""))
    assert waited(net, monkeypatch) == []
    assert len(net.sent) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=40), st.text("0123456789 :,GMTNovTue+-", max_size=40)))
def test_any_retry_after(text: str) -> None:
    found = patience.retry_after(asking.reply(429, {"retry-after": text}))
    assert found >= 0


# Bodies


def test_bytes_and_functions_are_sent_again(registry: FakeRegistry, pauses: list[float]) -> None:
    server = asking.server(registry)
    for content in (b"content", lambda: iter([b"con", b"tent"]), lambda: b"content"):
        registry.forget()
        registry.rules.clear()
        registry.rule("PUT", "/", status(503), times=1)
        registry.rule("PUT", "/", hang_up(), times=1)
        registry.rule("PUT", "/", body(b"{}"))
        assert server.ask("PUT", "/v2/", (), {}, content).status == 200
        assert [each.body for each in registry.asked() if each.status] == [b"content", b"content"]
        assert len(registry.asked()) == 3


def test_what_can_be_read_once_is_sent_once(registry: FakeRegistry, pauses: list[float]) -> None:
    server = asking.server(registry)
    registry.rule("PUT", "/", status(503), times=1)
    registry.rule("PUT", "/", hang_up(), times=1)
    assert server.ask("PUT", "/v2/", (), {}, iter([b"con", b"tent"])).status == 503
    with pytest.raises(Broken):
        server.ask("PUT", "/v2/", (), {}, iter([b"con", b"tent"]))
    assert len(registry.asked()) == 2 and pauses == []


def test_bodies_and_credentials() -> None:
    with FakeRegistry(users={"alice": "s3cr3t"}) as registry:
        registry.rule("PUT", "/", body(b"{}"))
        for content in (b"content", lambda: iter([b"con", b"tent"])):
            registry.forget()
            assert asking.server(registry, ALICE).ask("PUT", "/v2/", (), {}, content).status == 200
            assert [(each.status, each.body) for each in registry.asked()] == [(401, b"content"), (200, b"content")]
        registry.forget()
        assert asking.server(registry, ALICE).ask("PUT", "/v2/", (), {}, iter([b"con", b"tent"])).status == 401
        assert len(registry.asked()) == 1


# Where uploads lie


@pytest.mark.parametrize(
    ("endpoint", "target", "wanted"),
    [
        (PUBLIC, "/v2/x", "https://registry.test/v2/x"),
        (PUBLIC, "/v2/x?_state=a%2Fb", "https://registry.test/v2/x?_state=a%2Fb"),
        (PUBLIC, "https://registry.test/v2/x?a=b", "https://registry.test/v2/x?a=b"),
        (PUBLIC, "https://registry.test:443/v2/x", "https://registry.test:443/v2/x"),
        (PUBLIC, "https://uploads.test/y?a=b", "https://uploads.test/y?a=b"),
        # A registry behind a proxy that ends TLS does not know of it.
        (PUBLIC, "http://registry.test/v2/x?a=b", "https://registry.test/v2/x?a=b"),
        (PUBLIC, "http://registry.test:80/v2/x", "https://registry.test/v2/x"),
        (PUBLIC, "http://REGISTRY.test/v2/x", "https://registry.test/v2/x"),
        (Endpoint("https", "r.test", 5000), "http://r.test:5000/v2/x", "https://r.test:5000/v2/x"),
        (Endpoint("http", "r.test", 5000), "http://r.test:5000/v2/x", "http://r.test:5000/v2/x"),
        (Endpoint("http", "r.test", 5000), "https://r.test/v2/x", "https://r.test/v2/x"),
        (Endpoint("https", "h.test", prefix="/p"), "/v2/a/blobs/uploads/1", "https://h.test/v2/p/a/blobs/uploads/1"),
        (Endpoint("https", "h.test", prefix="/p"), "http://h.test/v2/p/a/b", "https://h.test/v2/p/a/b"),
    ],
)
def test_places_of_uploads(endpoint: Endpoint, target: str, wanted: str) -> None:
    net = Net(lambda sent: (200, {}, b""))
    url, found = asking.at(endpoint, net).locate(target)
    assert url == wanted
    assert found.scheme == wanted.partition(":")[0]


@pytest.mark.parametrize(
    "target",
    [
        "http://registry.test:8080/v2/x",
        "http://other.test/v2/x",
        *LOCAL,
        "ftp://registry.test/",
        "https://u:p@registry.test/",
        "https://[::1",
        "https://",
        "x",
        "",
        "https://registry.test/a b",
        "https://registry.test/\r\nHost: evil.test",
    ],
)
def test_places_that_are_none(target: str) -> None:
    with pytest.raises(RegistryError) as caught:
        asking.at(PUBLIC, Net(lambda sent: (200, {}, b""))).locate(target)
    assert caught.value.message.isprintable()


def test_another_server_for_uploads_gets_no_credential() -> None:
    def say(sent: Sent) -> Page:
        if sent.endpoint.host == "uploads.test":
            return 401, {"www-authenticate": "Basic"}, b""
        return (200, {}, b"") if "authorization" in sent.headers else (401, {"www-authenticate": "Basic"}, b"")

    net = Net(say)
    server = asking.at(PUBLIC, net, ALICE)
    assert server.ask("GET", "/v2/", ()).status == 200
    assert server.ask("PATCH", "https://uploads.test/x", (), {}, b"data").status == 401
    assert "authorization" not in net.sent[-1].headers and len(net.sent) == 3
    # The registry itself, under whichever of its names, does.
    assert server.ask("PATCH", "http://registry.test/x", (), {}, b"data").status == 200


def test_the_registry_behind_a_proxy_that_ends_tls(tmp_path: Path) -> None:
    with FakeRegistry(tls=Certificate(tmp_path / "tls"), users={"alice": "s3cr3t"}) as registry:
        server = asking.server(registry, ALICE)
        registry.rule("GET", "/here", body(b"yes"))
        answer = server.ask("GET", f"http://{registry.host}/here?x=1", ())
        assert answer.document(10, "it") == b"yes"
        assert registry.asked()[-1].query == {"x": "1"}
