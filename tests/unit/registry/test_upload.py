"""Blobs that are sent, broken off and taken up again; places where they go; mounts; manifests."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import asking
from asking import Net, Page, Sent, raw_server
from fakeregistry import FakeRegistry
from fakeserver import Action, Handler
from faults import cut_upload, hang_up, stall, stall_upload, status, with_headers
from registries import Certificate, TokenServer
from remoteimages import MANIFEST, encoded, image, noise, sha
from underlay.errors import AccessDenied, NotFound, RegistryError, Unreachable
from underlay.registry.credentials import Credential
from underlay.registry.registries import Registries
from underlay.registry.transport import Broken, Cancelled
from underlay.registry.upload import Target

SIZE = 3_000_000
BLOB = noise(SIZE, 1)
PIECE = 1 << 16


class Sending:
    """Something to send; `starts` are the bytes from which pieces were asked for. `known`: its size is from the start."""

    def __init__(self, data: bytes = BLOB, known: bool = True, error: BaseException | None = None) -> None:
        self.data, self.error = data, error
        self.digest = sha(data)
        self.size = len(data) if known else -1
        self.starts: list[int] = []

    def pieces(self, start: int, /) -> Iterator[bytes]:
        self.starts.append(start)
        for at in range(start, len(self.data), PIECE):
            if self.error is not None and at > start:
                raise self.error
            yield self.data[at : at + PIECE]
            yield b""
        self.size = len(self.data)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        yield made


def target(registry: FakeRegistry, credential: Credential | None = None, **network: float) -> Target:
    return Target(
        asking.registries({registry.host: credential} if credential else {}, of=registry, **network),
        registry.host,
        "team/app",
    )


def sent(registry: FakeRegistry, repository: str = "team/app") -> dict[str, bytes]:
    return registry.repository(repository).blobs


def steps(registry: FakeRegistry) -> list[str]:
    """Methods of the requests that were about uploads."""
    return [each.method for each in registry.asked("*", "/blobs/")]


# In one go


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("size", [0, 1, PIECE, SIZE])
def test_in_one_stream(registry: FakeRegistry, known: bool, size: int) -> None:
    content = Sending(BLOB[:size], known)
    target(registry).send(content)
    assert sent(registry) == {content.digest: BLOB[:size]}
    assert steps(registry) == ["POST", "PATCH", "PUT"] or (size == 0 and steps(registry) == ["POST", "PUT"])
    for patch in registry.asked("PATCH"):
        assert patch.length == size
        assert patch.headers.get("content-length") == (str(size) if known else None)
        assert "content-range" not in patch.headers
    assert registry.repository("team/app").uploads == {}


@pytest.mark.parametrize("absolute", [True, False])
def test_a_place_with_a_state(absolute: bool) -> None:
    """Each answer gives another; the query must be brought along."""
    with FakeRegistry(absolute=absolute) as registry:
        target(registry).send(Sending())
        assert sent(registry) == {sha(BLOB): BLOB}
        assert all("_state" in each.query for each in registry.asked("PATCH|PUT", "/blobs/"))


def relocated(change: object) -> Action:
    """Answer as ever, but with another Location: what `change` makes of the ordinary one."""

    def act(handler: Handler, _: object) -> bool:
        head = handler.head

        def other(code: int, headers: dict[str, object]) -> None:
            if "Location" in headers:
                headers["Location"] = change(headers["Location"])  # type: ignore[operator]
            head(code, headers)

        handler.head = other  # type: ignore[method-assign]
        return False

    return act


def test_a_place_relative_to_the_last(registry: FakeRegistry) -> None:
    """A Location may be any reference (RFC 9110, section 10.2.2), as net/url resolves it for docker."""
    registry.rule("POST|PATCH|GET", "/uploads/", relocated(lambda location: location.rpartition("/")[2]))
    target(registry).send(Sending())
    assert sent(registry) == {sha(BLOB): BLOB}


def test_a_place_without_a_scheme(registry: FakeRegistry) -> None:
    start = f"//{registry.host}"
    registry.rule("POST|PATCH|GET", "/uploads/", relocated(lambda at: start + at.removeprefix(start)))
    target(registry).send(Sending())
    assert sent(registry) == {sha(BLOB): BLOB}


def test_a_registry_that_does_not_know_of_its_tls(tmp_path: Path) -> None:
    with FakeRegistry(Certificate(tmp_path / "tls"), users={"alice": "x"}, absolute=True) as registry:
        registry.url = f"http://{registry.host}"
        target(registry, Credential("alice", "x")).send(Sending())
        assert sent(registry) == {sha(BLOB): BLOB}


def test_a_place_at_another_server(registry: FakeRegistry) -> None:
    """It gets the bytes and no credential."""
    with FakeRegistry(users={"alice": "x"}, absolute=True) as home:
        home.repositories = registry.repositories
        home.url = registry.url
        target(home, Credential("alice", "x")).send(Sending())
        assert sent(registry) == {sha(BLOB): BLOB}
        assert [each.method for each in registry.asked()] == ["PATCH", "PUT"]
        assert not any("authorization" in each.headers for each in registry.asked())


@pytest.mark.parametrize(
    "location", ["ftp://h/", "http://u:p@h/", "http://[::1/", "http://", "http://h/a b", "\x1b[2J", "//", "//u:p@h/x"]
)
def test_places_that_are_none(registry: FakeRegistry, pauses: list[float], location: str) -> None:
    registry.rule("POST", "/uploads/", with_headers({"Location": location}))
    with pytest.raises((RegistryError, NotFound)) as caught:
        target(registry).send(Sending())
    assert caught.value.message.isprintable()
    assert len(registry.asked("POST")) == 1


def test_no_place(registry: FakeRegistry) -> None:
    registry.rule("POST", "/uploads/", with_headers({"Location": None}))
    with pytest.raises(RegistryError, match="gives no URL to upload to"):
        target(registry).send(Sending())


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1:2375/x", "https://localhost/x", "https://169.254.169.254/x", "http://registry.test:8080/x"],
)
def test_places_that_are_not_used(location: str) -> None:
    def say(one: Sent) -> Page:
        return (202, {"location": location}, b"") if one.method == "POST" else (200, {}, b"")

    net = Net(say)
    found = asking.registries()
    found.transport = net
    with pytest.raises(RegistryError, match="not followed"):
        Target(found, "registry.test", "team/app").send(Sending())
    assert {each.endpoint.host for each in net.sent} == {"registry.test"}
    assert {each.endpoint.scheme for each in net.sent} == {"https"}


# Breaks


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_a_break(registry: FakeRegistry, pauses: list[float], reset: bool, known: bool) -> None:
    registry.rule("PATCH", "/uploads/", cut_upload(1_000_000, reset), times=1)
    content = Sending(known=known)
    target(registry).send(content)
    assert sent(registry) == {sha(BLOB): BLOB}
    assert steps(registry) == ["POST", "PATCH", "GET", "PATCH", "PUT"]
    assert content.starts == [0, 1_000_000]
    assert [each.length for each in registry.asked("PATCH")] == [1_000_000, SIZE - 1_000_000]
    if known:
        assert registry.asked("PATCH")[1].headers["content-range"] == f"1000000-{SIZE - 1}"
    assert len(pauses) == 1


def test_a_stall(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PATCH", "/uploads/", stall_upload(1_000_000), times=1)
    big = noise(30_000_000, 2)
    target(registry, stall_timeout=0.5).send(Sending(big))
    assert sent(registry) == {sha(big): big}


def test_a_short_stall_is_borne(registry: FakeRegistry, pauses: list[float]) -> None:
    """How long a connection may take to come about has nothing to do with it."""
    registry.rule("PATCH", "/uploads/", stall_upload(1_000_000, 1.0), times=1)
    big = noise(30_000_000, 2)
    target(registry, connect_timeout=0.3).send(Sending(big))
    assert len(registry.asked("PATCH")) == 1


def test_a_lost_session(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PATCH", "/uploads/", cut_upload(1_000_000), times=1)
    registry.rule("GET", "/uploads/", status(404), times=1)
    content = Sending()
    target(registry).send(content)
    assert sent(registry) == {sha(BLOB): BLOB}
    assert steps(registry) == ["POST", "PATCH", "GET", "POST", "PATCH", "PUT"]
    assert content.starts == [0, 0]


@pytest.mark.parametrize("said", ["", "0-0", "1-x", "-5", "bytes=0-999999", "0-" + "9" * 30, "0-99999999", "nonsense"])
def test_what_is_said_of_a_session(registry: FakeRegistry, pauses: list[float], said: str) -> None:
    """Whatever it is, what is stored in the end is right, or nothing is."""
    registry.rule("PATCH", "/uploads/", cut_upload(1_000_000), times=1)
    registry.rule("GET", "/uploads/", with_headers({"Range": said}), times=1)
    try:
        target(registry).send(Sending())
    except RegistryError:
        assert sent(registry) == {}
    else:
        assert sent(registry) == {sha(BLOB): BLOB}


@pytest.mark.parametrize("code", [408, 416, 429, 500, 502, 503, 504])
def test_a_refusal_that_may_pass(registry: FakeRegistry, pauses: list[float], code: int) -> None:
    registry.rule("PATCH", "/uploads/", status(code), times=1)
    target(registry).send(Sending())
    assert sent(registry) == {sha(BLOB): BLOB}
    assert len(pauses) == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [(400, RegistryError), (401, AccessDenied), (403, AccessDenied), (404, NotFound), (413, RegistryError)],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
def test_a_refusal(registry: FakeRegistry, pauses: list[float], method: str, code: int, kind: type[Exception]) -> None:
    told = encoded({"errors": [{"code": "SIZE_INVALID", "message": "not so much"}]})
    registry.rule(method, "/uploads/", status(code, body=told))
    if (method, code) == ("PUT", 404):
        kind = RegistryError
    with pytest.raises(kind) as caught:
        target(registry, retries=2).send(Sending())
    assert "not so much" in caught.value.message or code == 404
    assert sent(registry) == {}


def test_the_answer_counts_though_nobody_listens_any_more(registry: FakeRegistry, pauses: list[float]) -> None:
    """A refusal comes before all has been sent, and the connection ends."""
    registry.rule("PATCH", "/uploads/", status(413, body=b'{"errors":[{"message":"too much"}]}', early=True))
    with pytest.raises(RegistryError):
        target(registry, retries=2).send(Sending(noise(20_000_000, 3)))
    assert len(registry.asked("PATCH")) <= 2


def heard_but_cut(handler: Handler, _: object) -> bool:
    """Do what is asked, and hang up before the answer."""
    handler.head = lambda code, headers: handler.cut()  # type: ignore[method-assign]
    return False


def test_a_blob_that_is_stored_and_nobody_says_so(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PUT", "/uploads/", heard_but_cut, times=1)
    target(registry).send(Sending())
    assert sent(registry) == {sha(BLOB): BLOB}
    assert len(registry.asked("PATCH")) == 1


def test_an_upload_that_is_never_finished(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PUT", "/uploads/", status(404))
    with pytest.raises(Broken, match=f"lost the upload of {sha(BLOB)}"):
        target(registry).send(Sending())
    assert len(registry.asked("PUT")) == 3


def test_tries_are_bounded(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PATCH", "/uploads/", hang_up())
    with pytest.raises(Broken):
        target(registry).send(Sending())
    assert len(registry.asked("PATCH")) == 3 and all(each <= 10 for each in pauses)


def test_tries_are_not_multiplied(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("POST", "/uploads/", hang_up())
    with pytest.raises(Broken):
        target(registry, retries=4).send(Sending())
    assert len(registry.asked("POST")) == 4


def test_a_little_at_a_time_is_not_for_ever(registry: FakeRegistry, pauses: list[float]) -> None:
    """A registry may not make us send for ever by taking sixteen bytes and hanging up."""
    registry.rule("PATCH", "/uploads/", cut_upload(16))
    with pytest.raises(Broken):
        target(registry).send(Sending(BLOB[:10_000]))
    assert len(registry.asked("PATCH")) <= 102


def test_as_long_as_there_is_progress_it_goes_on(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PATCH", "/uploads/", cut_upload(300_000))
    target(registry).send(Sending())
    assert sent(registry) == {sha(BLOB): BLOB}
    assert len(registry.asked("PATCH")) >= 10


def test_a_token_that_expires_on_the_way(tmp_path: Path) -> None:
    with TokenServer(tmp_path / "tokens") as tokens, FakeRegistry(token=tokens) as registry:

        def expire(handler: Handler, _: object) -> bool:
            tokens.issued.clear()
            return False

        registry.rule("POST", "/uploads/", expire)
        content = Sending()
        target(registry, Credential("alice", "secret")).send(content)
        assert sent(registry) == {sha(BLOB): BLOB}


# What cannot be read


@pytest.mark.parametrize("error", [OSError(5, "disk"), AccessDenied("it"), KeyboardInterrupt(), Broken("elsewhere")])
def test_the_content_fails(registry: FakeRegistry, pauses: list[float], error: BaseException) -> None:
    """The error is its own, not that of the connection, and nothing is stored."""
    with pytest.raises(type(error)) as caught:
        target(registry).send(Sending(error=error))
    assert caught.value is error
    assert sent(registry) == {} and registry.asked("PUT") == []
    assert len(registry.asked("PATCH")) <= 1 and pauses == []


def test_the_content_is_other_than_it_says(registry: FakeRegistry, pauses: list[float]) -> None:
    content = Sending()
    content.digest = sha(b"else")
    with pytest.raises(RegistryError, match=r"does not take the blob sha256:.*digest did not match"):
        target(registry).send(content)


def test_cancelling(registry: FakeRegistry) -> None:
    registry.rule("PATCH", "/uploads/", stall_upload(1_000_000))
    found = asking.registries(stall_timeout=15.0)
    to = Target(found, registry.host, "team/app")
    big = Sending(noise(30_000_000, 2))
    outcome, seconds = asking.ended_by(lambda: to.send(big), found.cancel, after=0.6)
    assert isinstance(outcome, Cancelled) and seconds < 2


# What is there


def test_present(registry: FakeRegistry) -> None:
    sent(registry)[sha(BLOB)] = BLOB
    to = target(registry)
    assert to.present(sha(BLOB)) and not to.present(sha(b"else"))
    assert registry.asked("HEAD")[0].headers.get("authorization") is None
    registry.rule("HEAD", "/", status(403))
    assert not to.present(sha(BLOB))


def test_mounting(registry: FakeRegistry) -> None:
    registry.repository("other/base").blobs[sha(BLOB)] = BLOB
    to = target(registry)
    assert to.mount(sha(BLOB), "other/base")
    assert sent(registry) == {sha(BLOB): BLOB}
    assert not to.mount(sha(b"else"), "other/base") and not to.mount(sha(BLOB), "no/such")
    # What was begun in its place is given up.
    assert registry.repository("team/app").uploads == {}
    assert len(registry.asked("DELETE", "/uploads/")) == 2


@pytest.mark.parametrize("code", [400, 403, 404, 405])
def test_a_registry_that_does_not_mount(registry: FakeRegistry, code: int) -> None:
    registry.rule("POST", "/uploads/", status(code))
    assert not target(registry).mount(sha(BLOB), "other/base")


def test_what_cannot_be_given_up_is_left(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("DELETE", "/uploads/", hang_up())
    assert not target(registry).mount(sha(BLOB), "no/such")


def test_a_mount_asks_for_both_repositories(tmp_path: Path) -> None:
    with TokenServer(tmp_path / "tokens") as tokens, FakeRegistry(token=tokens) as registry:
        registry.repository("other/base").blobs[sha(BLOB)] = BLOB
        assert target(registry, Credential("alice", "secret")).mount(sha(BLOB), "other/base")
        assert "repository:other/base:pull repository:team/app:pull,push" in [
            each.query["scope"] for each in tokens.asked()
        ]


def test_a_token_server_that_refuses_the_other_repository(tmp_path: Path) -> None:
    """It is no reason to end the push: the blob is sent."""
    with TokenServer(tmp_path / "tokens") as tokens, FakeRegistry(token=tokens) as registry:

        def refuse(handler: Handler, _: object) -> bool:
            if "other/base" in handler.asked.query.get("scope", ""):
                handler.answer(403, b'{"details":"no rights to other/base"}')
                return True
            return False

        tokens.rule("GET", "/token", refuse)
        to = target(registry, Credential("alice", "secret"))
        assert not to.mount(sha(BLOB), "other/base")
        to.send(Sending())
        assert sent(registry) == {sha(BLOB): BLOB}


# Manifests


def test_manifests(registry: FakeRegistry) -> None:
    made = image()
    sent(registry).update(made.blobs)
    to = target(registry)
    to.put_manifest(made.manifest, made.media_type, "1.0")
    to.put_manifest(made.manifest, made.media_type, made.digest)
    place = registry.repository("team/app")
    assert place.documents == {made.digest: (made.media_type, made.manifest)} and place.tags == {"1.0": made.digest}


@pytest.mark.parametrize("code", [400, 403, 404, 413, 500])
def test_manifests_that_are_refused(registry: FakeRegistry, pauses: list[float], code: int) -> None:
    registry.rule("PUT", "/manifests/", status(code, body=b'{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}'))
    with pytest.raises(RegistryError) as caught:
        target(registry).put_manifest(b"{}", MANIFEST[False], "1.0")
    assert f"{registry.host}/team/app:1.0" in caught.value.message and "manifest invalid: no" in caught.value.message
    assert isinstance(caught.value, AccessDenied) == (code == 403)


def test_a_manifest_is_sent_again(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("PUT", "/manifests/", status(503), times=1)
    registry.rule("PUT", "/manifests/", hang_up(), times=1)
    value = json.dumps({"schemaVersion": 2}).encode()
    target(registry).put_manifest(value, MANIFEST[False], "1.0")
    assert registry.manifest("team/app", "1.0") == {"schemaVersion": 2}


# Which server


def test_the_way_is_found_once(registry: FakeRegistry) -> None:
    found = asking.registries()
    for repository in ("team/app", "team/db"):
        to = Target(found, registry.host, repository)
        for _ in range(2):
            to.send(Sending(b"x"))
        assert to.server.endpoint.scheme == "http"
    assert len(registry.asked("GET", "^/v2/$")) == 2


def test_tls_comes_first(tmp_path: Path) -> None:
    with FakeRegistry(Certificate(tmp_path / "tls")) as registry:
        assert target(registry).server.endpoint.scheme == "https"


def test_nobody_listens(registry: FakeRegistry) -> None:
    registry.close()
    with pytest.raises(Unreachable, match="connection refused"):
        target(registry).send(Sending())


def test_plain_http_that_hangs_up_on_what_it_does_not_know(registry: FakeRegistry, pauses: list[float]) -> None:
    """TLS is tried first, and some servers only end the connection then."""

    def speak(connection: socket.socket) -> None:
        data = connection.recv(1, socket.MSG_PEEK)
        if not data.isalpha():
            return
        with socket.create_connection(("127.0.0.1", registry.port)) as far:
            far.sendall(connection.recv(65536))
            connection.sendall(far.recv(65536))

    with raw_server(speak) as port:
        found: Registries = asking.registries()
        assert Target(found, f"127.0.0.1:{port}", "team/app").server.endpoint.scheme == "http"


def test_a_registry_that_does_not_answer(registry: FakeRegistry, pauses: list[float]) -> None:
    registry.rule("GET", "^/v2/$", stall())
    with pytest.raises(Broken, match="no answer in time"):
        target(registry, stall_timeout=0.2, retries=2).send(Sending())
