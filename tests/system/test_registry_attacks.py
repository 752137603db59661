"""Registries that mean harm: they want credentials, memory, time, or other bytes in the store than were asked for.

Tests named after a row (`test_rg01_…`) are of that requirement of the list of attacks.
"""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines import needs_root, until
from fakeregistry import FakeRegistry, Upload
from fakeserver import Action, Cut, Handler
from faults import body, endless, redirect, stall_after, status, with_headers
from registries import Certificate, TokenServer, plain_proxy
from remoteimages import Image, encoded, image, random_tar, small_tar
from visitors import MIB, Visitor

pytestmark = pytest.mark.root
needs_root()

PASSWORD = "secret-of-alice-7341"
USERS = {"alice": PASSWORD}
TEAM = "team/app"
QUICK = "[network]\nstall_timeout = 1\nretries = 2\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), ("IP:127.0.0.1", "DNS:localhost", "DNS:registry.test"))


@pytest.fixture(scope="module")
def made() -> Image:
    return image([small_tar(), random_tar(400_000, 1)])


def never_authorised(*servers: FakeRegistry | TokenServer) -> None:
    """No server was given anything that a visitor could be known by."""
    for server in servers:
        for request in server.requests:
            assert not {"authorization", "cookie", "proxy-authorization"} & set(request.headers), request


def raw(send: Callable[[Handler], object]) -> Action:
    """Answer by these bytes, and close the connection."""

    def act(handler: Handler, _: re.Match[str]) -> bool:
        handler.read_body()
        send(handler)
        raise Cut

    return act


def for_ever(begin: bytes, again: bytes, pause: float = 0.0) -> Action:
    """Answer with `begin`, and `again` without end."""

    def send(handler: Handler) -> None:
        handler.connection.sendall(begin)
        while not handler.owner.stopped.is_set():
            handler.connection.sendall(again)
            handler.asked.sent += len(again)
            if pause:
                handler.wait(pause)

    return raw(send)


# RG-01: credentials stay at the host that they are for
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("kind", ["basic", "token"])
def test_rg01_redirect_to_another_host(
    visitor: Visitor, tmp_path: Path, certificate: Certificate, made: Image, kind: str, secure: bool
) -> None:
    tls = certificate if secure else None
    with TokenServer(tmp_path / "token", users=USERS, tls=tls) as tokens, FakeRegistry(tls) as other:
        login: dict[str, Any] = {"users": USERS} if kind == "basic" else {"token": tokens, "judge": only_alice(tokens)}
        with FakeRegistry(tls, **login) as registry:
            visitor.sends_to(registry, tokens)
            visitor.credentials({registry.host: ("alice", PASSWORD)})
            name = registry.add(made, TEAM, "1.0")
            other.add(made, "elsewhere")
            registry.rule("*", "", with_headers({"Set-Cookie": "session=cookie-of-alice"}))
            registry.rule(
                "GET", "/blobs/", redirect(lambda it: other.url + it.asked.target.replace(TEAM, "elsewhere"), 302)
            )
            out = visitor("-D", "pull", name)
            assert [each.path.rpartition("/")[2] for each in other.requests] != []
            assert {each.path.rpartition("/")[2] for each in other.requests} == set(made.blobs)
            never_authorised(other)
            assert all("cookie" not in each.headers for each in registry.requests)
            assert all("authorization" in each.headers for each in registry.asked("GET", "/blobs/"))
            for token in tokens.issued:
                assert token.encode() not in out.stdout + out.stderr
            assert bool(tokens.issued) == (kind == "token")


def only_alice(tokens: TokenServer) -> Callable[[str, str], bool]:
    def judge(authorization: str, scope: str) -> bool:
        claims = tokens.issued.get(authorization.partition(" ")[2], {})
        return claims.get("sub") == "alice" and tokens.judge(authorization, scope)

    return judge


@pytest.mark.parametrize("challenge", ["basic", "bearer"])
def test_rg01_who_is_redirected_to_asks_for_credentials(
    visitor: Visitor, tmp_path: Path, made: Image, challenge: str
) -> None:
    with FakeRegistry(users=USERS) as registry, TokenServer(tmp_path / "token", users=USERS) as tokens:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        asked = 'Basic realm="give"' if challenge == "basic" else tokens.challenge()
        with FakeRegistry(challenge=asked) as other:
            name = registry.add(made, TEAM, "1.0")
            registry.rule("GET", "/blobs/", redirect(lambda it: other.url + it.asked.target))
            assert "denied" in visitor.fails("pull", name)
            assert other.requests
            never_authorised(other, tokens)
            assert tokens.requests == []
    visitor.is_empty()


def test_rg01_redirect_within_the_host_to_another_port_or_scheme(
    visitor: Visitor, certificate: Certificate, made: Image
) -> None:
    with FakeRegistry(users=USERS) as registry, FakeRegistry(certificate) as other:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        name = registry.add(made, TEAM, "1.0")
        other.add(made, TEAM)
        # Port and scheme are others, and the host is written otherwise.
        registry.rule("GET", "/blobs/", redirect(lambda it: f"https://localhost:{other.port}{it.asked.target}"))
        visitor("pull", name)
        assert other.requests
        never_authorised(other)


@pytest.mark.parametrize("what", ["manifest", "blobs", "token"])
def test_rg01_redirect_from_tls_to_plain_text(
    visitor: Visitor, tmp_path: Path, certificate: Certificate, made: Image, what: str
) -> None:
    with FakeRegistry() as plain, TokenServer(tmp_path / "token", users=USERS, tls=certificate) as tokens:
        with FakeRegistry(certificate, token=tokens, judge=only_alice(tokens)) as registry:
            visitor.sends_to(registry, tokens)
            visitor.credentials({registry.host: ("alice", PASSWORD)})
            name = registry.add(made, TEAM, "1.0")
            plain.add(made, TEAM, "1.0")
            send = redirect(lambda it: plain.url + it.asked.target, 302)
            if what == "token":
                tokens.rule("*", "/token", send)
            else:
                registry.rule("GET", "/manifests/" if what == "manifest" else "/blobs/", send)
            said = visitor.fails("pull", name)
            if what != "token":
                assert "plain HTTP" in said
            assert plain.requests == []
    visitor.is_empty()


def test_rg01_plain_text_at_the_same_host(visitor: Visitor, certificate: Certificate, made: Image) -> None:
    """A redirect to the registry itself without TLS would carry the credential if only the host counted."""
    with FakeRegistry(certificate, users=USERS) as registry:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        name = registry.add(made, TEAM, "1.0")
        registry.rule("GET", "/blobs/", redirect(lambda it: f"http://{registry.host}{it.asked.target}"), times=1)
        assert "plain HTTP" in visitor.fails("pull", name)


@pytest.mark.parametrize("kind", ["plain", "foreign", "not there"])
def test_rg01_urls_of_a_layer_are_not_asked(visitor: Visitor, made: Image, kind: str) -> None:
    with FakeRegistry(users=USERS) as registry, FakeRegistry() as other:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        other.add(made, TEAM)
        value = json.loads(made.manifest)
        for layer in value["layers"]:
            layer["urls"] = [f"{other.url}/v2/{TEAM}/blobs/{layer['digest']}"]
            if kind == "foreign":
                layer["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        blobs = made.blobs if kind == "plain" else {made.id: made.config}
        changed = Image(encoded(value), made.media_type, made.config, blobs, made.diff_ids, made.platform)
        name = registry.add(changed, TEAM, "1.0")
        if kind == "plain":
            visitor("pull", name)
        else:
            said = visitor.fails("pull", name)
            assert "foreign" in said if kind == "foreign" else "not found" in said
            visitor.is_empty()
        assert other.requests == []


@pytest.mark.parametrize("absolute", [True, False])
def test_rg01_location_of_an_upload_at_another_host(visitor: Visitor, made: Image, absolute: bool) -> None:
    with FakeRegistry(users=USERS) as registry, FakeRegistry(absolute=absolute) as other:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        source = registry.add(made, "team/source", "1.0")
        visitor("pull", source)
        other.repositories = registry.repositories

        def elsewhere(handler: Handler, match: re.Match[str]) -> bool:
            number, state = str(time.monotonic_ns()), "s"
            registry.repository(match[1]).uploads[number] = Upload(states={state})
            location = f"{other.url}/v2/{match[1]}/blobs/uploads/{number}?_state={state}"
            handler.answer(202, headers={"Location": location})
            return True

        name = f"{registry.host}/team/target:1.0"
        registry.rule("POST", "/v2/(.*)/blobs/uploads/$", elsewhere)
        visitor("tag", source, name)
        visitor("-D", "push", name)
        assert {each.method for each in other.requests} >= {"PUT"}
        assert {each.method for each in registry.asked("PATCH|PUT", "/uploads/")} == set()
        never_authorised(other)
        assert list(registry.repositories["team/target"].tags) == ["1.0"]


@pytest.mark.parametrize(
    "location",
    [
        "http://alice:x@{host}{target}",
        "ftp://{host}{target}",
        "file:///etc/passwd",
        "//",
        "http://[",
        "http://{host}\\@",
    ],
)
def test_rg01_redirect_to_what_is_no_address(visitor: Visitor, made: Image, location: str) -> None:
    with FakeRegistry(users=USERS) as registry, FakeRegistry() as other:
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        name = registry.add(made, TEAM, "1.0")
        other.add(made, TEAM, "1.0")
        registry.rule("GET", "/blobs/", redirect(lambda it: location.format(host=other.host, target=it.asked.target)))
        visitor.fails("pull", name)
        assert other.requests == []
    visitor.is_empty()


def test_rg01_no_address_of_this_host_for_a_public_registry(
    visitor: Visitor, tmp_path: Path, certificate: Certificate, made: Image
) -> None:
    """A registry somewhere else cannot make us ask our own services: by a redirect, a realm or a link."""
    with FakeRegistry(certificate) as registry, FakeRegistry(certificate) as inside:
        certificate.directory(visitor.certificates / "registry.test")
        with plain_proxy({"registry.test:443": registry.host}) as proxy:
            visitor.environment["HTTPS_PROXY"] = proxy.url
            registry.add(made, TEAM, "1.0")
            inside.add(made, TEAM, "1.0")
            name = f"registry.test/{TEAM}:1.0"
            for host in (inside.host, inside.name, f"[::1]:{inside.port}", "169.254.169.254", "0.0.0.0"):
                registry.rules.clear()
                registry.rule("GET", "/blobs/", redirect(f"https://{host}/latest"))
                assert "this host" in visitor.fails("pull", name)
                registry.rules.clear()
                registry.rule("GET", "", status(401, {"WWW-Authenticate": f'Bearer realm="https://{host}/t"'}))
                assert "inside this host" in visitor.fails("pull", name)
            assert inside.requests == []
            assert set(proxy.forwarded) == {"registry.test:443"}
            registry.rules.clear()
            visitor("pull", name)


@pytest.mark.parametrize(
    "realm", ["http://{host}/token", "HTTP://{host}/token", "//{host}/token", "/token", "gopher:x"]
)
def test_rg01_token_server_without_tls(
    visitor: Visitor, tmp_path: Path, certificate: Certificate, made: Image, realm: str
) -> None:
    with TokenServer(tmp_path / "token", users=USERS) as tokens:
        challenge = f'Bearer realm="{realm.format(host=tokens.host)}",service="registry.test",scope="{{scope}}"'
        with FakeRegistry(certificate, challenge=challenge) as registry:
            visitor.credentials({registry.host: ("alice", PASSWORD)})
            assert "token server" in visitor.fails("pull", registry.add(made, TEAM, "1.0"))
            assert tokens.requests == []
            never_authorised(registry)
    visitor.is_empty()


def test_rg01_no_basic_for_who_asks_for_a_token(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    """The password goes to the token server alone, and neither the token nor the password into any message."""
    with TokenServer(tmp_path / "token", users=USERS) as tokens:
        with FakeRegistry(token=tokens, judge=only_alice(tokens)) as registry:
            visitor.sends_to(registry, tokens)
            visitor.credentials({registry.host: ("alice", PASSWORD)})
            name = registry.add(made, TEAM, "1.0")
            done = visitor("-D", "pull", name)
            told = done.stdout + done.stderr
            registry.rule("GET", "/blobs/", status(500, body=b"no"))
            registry.rule("HEAD", "/manifests/", status(403))
            visitor.settings("[network]\nretries = 1\n")
            visitor("rmi", name)
            for words in (["pull", name], ["pull", f"{name}0"], ["image", "inspect", "--remote", name]):
                done = visitor("-D", *words, code=1)
                told += done.stdout + done.stderr
            for token in tokens.issued:
                assert token.encode() not in told
            assert tokens.issued
            assert all(not each.headers.get("authorization", "").startswith("Basic") for each in registry.requests)


def test_rg01_a_token_server_that_nobody_named(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    """Another port of this host, under this name or another, gets neither password nor identity token."""
    with TokenServer(tmp_path / "token", users=USERS) as tokens, FakeRegistry(token=tokens) as registry:
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)  # nothing goes along
        assert len(tokens.requests) == 1
        for realm in (tokens.realm, tokens.realm.replace("127.0.0.1", "localhost"), "https://10.9.8.7/token"):
            registry.challenge = f'Bearer realm="{realm}"'
            for entry in ({"auth": "YWxpY2U6c3dvcmRmaXNo"}, {"identitytoken": "swordfish"}):
                visitor.credentials({})
                (visitor.docker / "config.json").write_text(json.dumps({"auths": {registry.host: entry}}))
                said = visitor.fails("pull", f"{name}1")
                assert "names a token server" in said and "swordfish" not in said
        assert len(tokens.requests) == 1


# RG-03: no credential of another host
# ---------------------------------------------------------------------------------------------------------


def test_rg03_credentials_of_another_host(visitor: Visitor, made: Image) -> None:
    with FakeRegistry(users=USERS) as one, FakeRegistry() as two:
        one_name, two_name = one.add(made, TEAM, "1.0"), two.add(made, TEAM, "1.0")
        visitor.credentials(
            dict.fromkeys(
                (one.host, "127.0.0.1", "https://index.docker.io/v1/", f"{two.host}/{TEAM}", two.name),
                ("alice", PASSWORD),
            )
        )
        two.rule("*", "", with_headers({"WWW-Authenticate": 'Basic realm="x"'}))
        visitor("pull", two_name)
        two.rule("*", "", status(401, {"WWW-Authenticate": 'Basic realm="x"'}))
        assert "access denied" in visitor.fails("pull", f"{two_name}1")
        never_authorised(two)
        visitor("pull", one_name)


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
@pytest.mark.parametrize("fault", ["fails", "nonsense"])
def test_rg03_a_helper_that_fails_is_an_error(
    visitor: Visitor, tmp_path: Path, made: Image, kind: str, fault: str
) -> None:
    with FakeRegistry(users=USERS) as one, FakeRegistry() as two:
        name = two.add(made, TEAM, "1.0")
        more: dict[str, object] = {kind: "broken" if kind == "credsStore" else {two.host: "broken"}}
        visitor.credentials({one.host: ("alice", PASSWORD), "https://index.docker.io/v1/": ("alice", PASSWORD)}, **more)
        visitor.secrets.append("said-by-the-helper")
        program = tmp_path / "docker-credential-broken"
        answer = "exit 1" if fault == "fails" else "exit 0"
        program.write_text(f"#!/bin/sh\necho said-by-the-helper\necho its complaint >&2\n{answer}\n")
        program.chmod(0o755)
        visitor.environment["PATH"] = f"{tmp_path}:{visitor.environment['PATH']}"
        said = visitor.fails("pull", name)
        assert "docker-credential-broken" in said
        assert ("its complaint" in said) == (fault == "fails")
        never_authorised(two)
        assert two.requests == [] and one.requests == []
    visitor.is_empty()


# RG-05: endless answers
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def attacked(visitor: Visitor) -> Any:
    """A function that pulls while the requests for one thing are answered so; returns what is said."""
    visitor.settings("[network]\nstall_timeout = 0.5\nretries = 1\n")
    only = image([random_tar(400_000, 1)])

    def attack(place: str, action: Action, timeout: float = 15) -> str:
        with FakeRegistry() as registry:
            name = registry.add(only, TEAM, "1.0")
            path = {"manifest": "/manifests/", "config": only.id, "layer": only.layers[0]}[place]
            registry.rule("GET", path, action)
            said = visitor.fails("pull", name, timeout=timeout)
            assert sum(each.sent for each in registry.requests) < 64 * MIB
        visitor.is_empty()
        return said

    return attack


@pytest.mark.parametrize("place", ["manifest", "config", "layer"])
def test_rg05_endless_bodies(attacked: Any, place: str) -> None:
    assert re.search("longer than|wrong size", attacked(place, endless()))


@pytest.mark.parametrize("place", ["manifest", "config", "layer"])
@pytest.mark.parametrize("code", [401, 404, 500])
def test_rg05_endless_errors(attacked: Any, place: str, code: int) -> None:
    head = f"HTTP/1.1 {code} X\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert attacked(place, for_ever(head, b"%x\r\n%b\r\n" % (MIB, b" " * MIB)))


def test_rg05_endless_tokens(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    with TokenServer(tmp_path / "token", users=USERS) as tokens, FakeRegistry(token=tokens) as registry:
        name = registry.add(made, TEAM, "1.0")
        tokens.rule("*", "/token", endless())
        assert "longer than" in visitor.fails("pull", name)
        tokens.rules.clear()
        tokens.rule("*", "/token", body(encoded({"token": "x" * (MIB - 100), "expires_in": 300})))
        visitor.fails("pull", name)
        tokens.rules.clear()
        tokens.rule("*", "/token", body(encoded({"token": "a\r\nX-Evil: b"})))
        assert "no token" in visitor.fails("pull", name)
        assert sum(each.sent for each in tokens.requests) < 64 * MIB
        assert "x-evil" not in {header for each in registry.requests for header in each.headers}


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("place", "begin", "again", "pause"),
    [
        pytest.param("manifest", b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0, id="continue"),
        pytest.param("manifest", b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.2, id="slow continue"),
        pytest.param("manifest", OK + b"A: ", b"x", 0.2, id="slow header"),
        pytest.param("layer", OK + b"A: ", b"x", 0.2, id="slow header of a layer"),
        pytest.param("manifest", OK + b"A: ", b"x" * MIB, 0, id="long header"),
        pytest.param("manifest", OK, b"A: b\r\n", 0, id="headers"),
        pytest.param("manifest", b"", b"H", 0.2, id="slow status"),
        pytest.param("layer", b"", b"H", 0.2, id="slow status of a layer"),
        pytest.param("manifest", CHUNKS + b"1;", b"x" * MIB, 0, id="extension"),
        pytest.param("layer", CHUNKS + b"1;", b"x" * MIB, 0, id="extension of a layer"),
        pytest.param("manifest", CHUNKS + b"0\r\n", b"A: b\r\n", 0, id="trailers"),
        pytest.param("layer", CHUNKS + b"0\r\n", b"A: b\r\n", 0.2, id="slow trailers of a layer"),
        pytest.param("manifest", CHUNKS, b"1\r\n \r\n", 0.2, id="slow chunks"),
        pytest.param("layer", CHUNKS, b"1\r\n \r\n", 0.2, id="slow chunks of a layer"),
        pytest.param("manifest", CHUNKS, b"0", 0.2, id="slow size"),
        pytest.param("manifest", OK + b"Content-Length: 1000000\r\n\r\n", b" ", 0.2, id="slow body"),
        pytest.param("config", OK + b"\r\n", b" ", 0.2, id="slow configuration"),
        pytest.param("layer", OK + b"\r\n", b" ", 0.2, id="slow layer"),
        pytest.param("manifest", OK + b"Content-Length: 100000000000\r\n\r\n", b" " * MIB, 0, id="long body"),
    ],
)
def test_rg05_endless_protocol(attacked: Any, place: str, begin: bytes, again: bytes, pause: float) -> None:
    """A byte from time to time keeps nobody waiting, in whichever part of an answer; nor does a flood."""
    assert attacked(place, for_ever(begin, again, pause))


def test_rg05_interim_answers_are_counted(attacked: Any) -> None:
    assert "interim answers" in attacked("manifest", for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"))


def test_interim_answers_before_the_real_one_are_skipped(visitor: Visitor, made: Image) -> None:
    def announced(handler: Handler, _: re.Match[str]) -> bool:
        handler.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 8)
        return False

    with FakeRegistry() as registry:
        name = registry.add(made, TEAM, "1.0")
        registry.rule("GET", "/manifests/", announced)
        visitor("pull", name)
    visitor("image", "prune", "-af")


@pytest.mark.parametrize("words", [("search", "{host}/app"), ("search", "--list-tags", "{host}/team/app")])
def test_rg05_endless_lists(visitor: Visitor, words: tuple[str, ...]) -> None:
    member = "tags" if len(words) == 3 else "repositories"

    def ask(action: Action) -> str:
        registry.rules.clear()
        registry.rule("GET", "tags/list|_catalog", action)
        said = visitor.fails(*(word.format(host=registry.host) for word in words))
        assert sum(each.sent for each in registry.requests) < 64 * MIB
        return said

    def leads_on(handler: Handler, _: re.Match[str]) -> bool:
        last = int(handler.asked.query.get("last", "0"))
        link = f'<{handler.asked.path}?n=1&last={last + 1}>; rel="next"'
        handler.answer(200, encoded({member: [f"app-{last}"]}), {"Link": link})
        return True

    with FakeRegistry() as registry, FakeRegistry() as other:
        page = encoded({member: ["app"]})
        assert "does not end" in ask(
            lambda it, _: bool(it.answer(200, page, {"Link": f"<{it.path}>; rel=next"})) or True
        )
        assert "does not end" in ask(leads_on)
        assert len(registry.asked("GET")) < 1100
        assert "longer than" in ask(body(encoded({member: [f"app-{n}" for n in range(1_000_000)]})))
        ask(endless())
        ask(body(b"[" * 1_000_000))
        ask(body(encoded({member: {"app": 1}})))
        # Only the path of a link counts.
        link = {"Link": f'<{other.url}/v2/x>; rel="next"'}
        assert "not found" in ask(
            lambda it, _: "last" not in it.path and it.path != "/v2/x" and not it.answer(200, page, link)
        )
        assert other.requests == []


@pytest.mark.parametrize("kind", ["itself", "two", "longer"])
def test_rg05_redirects_that_do_not_end(visitor: Visitor, made: Image, kind: str) -> None:
    with FakeRegistry() as registry, FakeRegistry() as other:
        name = registry.add(made, TEAM, "1.0")
        where = other.url if kind == "two" else registry.url
        more = "?again=x" if kind == "longer" else ""
        for each, goal in ((registry, where), (other, registry.url)):
            each.rule("GET", "", redirect(lambda it, goal=goal: goal + it.asked.target + more, 301))
        assert "redirects" in visitor.fails("pull", name)
        assert len(registry.requests) + len(other.requests) <= 12


def test_rg05_cancel_works(visitor: Visitor, made: Image) -> None:
    """Ctrl-C ends a pull that waits, for whichever answer."""
    for path in ("/manifests/", made.id, made.layers[1]):
        with FakeRegistry() as registry:
            name = registry.add(made, TEAM, "1.0")
            registry.rule("GET", path, stall_after(0))
            process = visitor.begin("pull", name)
            assert until(lambda: registry.asked("GET", path))
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
            assert process.returncode == 130
    visitor("image", "prune", "-f")
    visitor.is_empty()


# What is shown
# ---------------------------------------------------------------------------------------------------------

EVIL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b1m\r"


@pytest.mark.parametrize("code", [403, 404, 429, 500])
def test_control_characters_in_errors(visitor: Visitor, made: Image, code: int) -> None:
    visitor.settings("[network]\nretries = 2\n")
    message = encoded({"errors": [{"code": f"DENIED{EVIL}", "message": f"{EVIL}no\nunderlay: all is well"}]})
    headers = {"Retry-After": "0", "RateLimit-Limit": "1;w=\x1b[2J", "Content-Type": "application/json"}
    with FakeRegistry() as registry:
        name = registry.add(made, TEAM, "1.0")
        for path in ("/manifests/", made.id, made.layers[0]):
            registry.rules.clear()
            registry.rule("GET", path, status(code, headers, message))
            said = visitor.fails("pull", name)
            assert "\x1b" not in said and "underlay: all is well" in said


def test_control_characters_in_the_protocol(visitor: Visitor, made: Image) -> None:
    """What is no HTTP is told of in one clean line, when it is tried again as well as at the end."""
    visitor.settings("[network]\nretries = 2\n")
    evil = EVIL.replace("\u202e", "").encode("latin-1").replace(b"\r", b"")
    with FakeRegistry() as registry:
        name = registry.add(made, TEAM, "1.0")
        for path in ("/manifests/", made.layers[0]):
            for answer in (
                b"SSH-2.0 " + evil + b"\n",
                b"HTTP/1.1 200" + evil + b" X\r\n\r\n",
                CHUNKS + evil + b"\r\n",
                OK + b"Location: " + evil + b"\r\nContent-Length: " + evil + b"\r\n\r\n",
                b"HTTP/1.1 307 X\r\nLocation: http://" + evil + b"\r\n\r\n",
                b'HTTP/1.1 401 X\r\nWWW-Authenticate: Bearer realm="' + evil + b'"\r\n\r\n',
            ):
                registry.rules.clear()
                registry.rule("GET", path, raw(lambda it, answer=answer: it.connection.sendall(answer)))
                said = visitor.fails("pull", name)
                assert said and "\x1b" not in said and "\x9b" not in said


def test_control_characters_in_lists(visitor: Visitor) -> None:
    with FakeRegistry() as registry:
        registry.rule("GET", "_catalog", body(encoded({"repositories": [f"app{EVIL}", "app/good"]})))
        registry.rule("GET", "tags/list", body(encoded({"tags": [f"1{EVIL}", "good"]})))
        row = {"name": f"app{EVIL}", "description": f"an{EVIL} app", "star_count": 3, "is_official": True}
        registry.rule("GET", "/v1/search", body(encoded({"results": [row]})))
        visitor.settings(f'[registry."docker.io"]\nlocation = "http://{registry.host}"\n')
        for words in (["search", f"{registry.host}/app"], ["search", "--list-tags", f"{registry.host}/app"]):
            out = visitor.out(*words)
            assert "good" in out and out.replace("\n", "").isprintable(), out
        out = visitor.out("search", "app")
        assert "app" in out and out.replace("\n", "").isprintable(), out
