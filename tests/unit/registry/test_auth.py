"""Challenges, tokens and who gets which credential."""

from __future__ import annotations

import json
import threading
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asking
from asking import Net, Page, Sent
from fakeregistry import FakeRegistry
from faults import hang_up, redirect, stall, status
from registries import TokenServer, all_may_pull, basic
from remoteimages import image
from underlay.errors import AccessDenied, LimitExceeded, RegistryError
from underlay.registry import auth, problems
from underlay.registry.auth import parse
from underlay.registry.credentials import Credential
from underlay.registry.hosts import Endpoint

ALICE = Credential("alice", "s3cr3t")
PULL = ("repository:team/app:pull",)
QUOTED = "repository%3Ateam%2Fapp%3Apull"
TAGS = "/v2/team/app/tags/list"


# Challenges


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ('Bearer realm="https://a/t",service="s"', [("bearer", {"realm": "https://a/t", "service": "s"})]),
        ('bearer REALM="a" , Service = s', [("bearer", {"realm": "a", "service": "s"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (r'Basic realm="say \"x\", \\y"', [("basic", {"realm": r'say "x", \y'})]),
        ('Bearer scope="repository:a/b:pull,push x"', [("bearer", {"scope": "repository:a/b:pull,push x"})]),
        ("Bearer realm=a,realm=b", [("bearer", {"realm": "a"})]),
        ('Bearer realm=""', [("bearer", {"realm": ""})]),
        (",, ,Basic,,", [("basic", {})]),
    ],
)
def test_challenges(header: str, wanted: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, each.parameters) for each in parse(header)] == wanted


@pytest.mark.parametrize(
    "header", ["", " ", "=", '"', '"x"', "\\", "=x", "\0", "é realm=x"[1:], 'Bearer realm="no end', 'Bearer realm="\\']
)
def test_challenges_that_are_none(header: str) -> None:
    assert all(each.parameters.get("realm", "")[:6] in ("", "no end") for each in parse(header))


def test_a_long_header_is_not_read_to_its_end() -> None:
    found = parse("Bearer " + ",".join(f"k{n}=v" for n in range(1_000_000)))
    assert len(found) == 1 and len(found[0].parameters) < 3000
    assert len(parse("a " * 1_000_000)) < 5000
    assert len(parse('Bearer realm="' + "x" * 1_000_000)[0].parameters["realm"]) <= 8192


@given(st.one_of(st.text(max_size=300), st.text('Bb ="\\,\tx:;é', max_size=300)))
def test_any_text_is_read(header: str) -> None:
    found = parse(header)
    told = sum(len(one.scheme) + sum(len(k) + len(v) for k, v in one.parameters.items()) for one in found)
    # Lower case may be longer than what it is made from: İ.
    assert told <= len(header.lower())


TOKEN = st.text("abcXYZ019-_.~", min_size=1, max_size=12)


@given(st.lists(st.tuples(TOKEN, st.dictionaries(TOKEN, st.text(max_size=20), max_size=4)), max_size=3))
def test_what_is_written_by_the_book_is_understood(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(f"{s} " + ", ".join(f"{k}={quoted(v)}" for k, v in p.items()) for s, p in challenges)
    wanted = []
    for scheme, parameters in challenges:
        first: dict[str, str] = {}
        for key, value in parameters.items():
            first.setdefault(key.lower(), value)
        wanted.append((scheme.lower(), first))
    assert [(each.scheme, each.parameters) for each in parse(header)] == wanted


# Tokens


@pytest.fixture
def tokens(tmp_path: Path) -> TokenServer:
    return TokenServer(tmp_path / "tokens", users={"alice": "s3cr3t"})


def asked_for(tokens: TokenServer) -> list[str]:
    """The scopes of the tokens that were asked for by GET."""
    return [each.query.get("scope", "") for each in tokens.asked("GET", "^/token$")]


def test_a_token_a_scope(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        registry.add(image(), "team/db", "1")
        server = asking.server(registry, ALICE)
        for _ in range(3):
            assert server.ask("GET", TAGS, PULL).document(1000, "") == b'{"name":"team/app","tags":["1"]}'
        assert asked_for(tokens) == ["repository:team/app:pull"]
        assert server.ask("GET", "/v2/team/db/tags/list", ("repository:team/db:pull",)).status == 200
        assert len(asked_for(tokens)) == 2
        request = tokens.asked()[0]
        assert request.headers["authorization"] == basic("alice", "s3cr3t")
        told = {"service": "registry.test", "account": "alice", "client_id": "underlay"}
        assert request.query == {**told, "scope": PULL[0]}
        # Only the first request goes without.
        assert ["authorization" in each.headers for each in registry.asked()] == [False, True, True, True, True]
        assert not any("s3cr3t" in str(each.headers) for each in registry.asked())


def test_no_more_is_asked_for_than_is_needed(tokens: TokenServer) -> None:
    """What was challenged for one request does not widen the tokens of others."""
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        registry.add(image(), "team/db", "1")
        server = asking.server(registry, ALICE)
        for name in ("team/app", "team/db"):
            assert server.ask("GET", f"/v2/{name}/tags/list", (f"repository:{name}:pull",)).status == 200
        assert asked_for(tokens) == ["repository:team/app:pull", "repository:team/db:pull"]


def test_an_anonymous_visitor_gets_a_token_too(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        assert asking.server(registry).ask("GET", TAGS, PULL).status == 200
        request = tokens.asked()[0]
        assert "authorization" not in request.headers and "account" not in request.query


def test_threads_share_a_token(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        tokens.rule("GET", "/token", stall(0.2))
        server = asking.server(registry, ALICE)
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.append(server.ask("GET", TAGS, PULL).status)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert answers == [200] * 8
        assert len(asked_for(tokens)) == 1


@pytest.mark.parametrize(
    ("expires", "good_for"), [(300, 290), (None, 50), (0, 50), (-5, 0.5), (1, 0.5), (10**15, 10**9)]
)
def test_a_token_is_renewed_before_it_expires(
    tokens: TokenServer, monkeypatch: pytest.MonkeyPatch, expires: int | None, good_for: float
) -> None:
    now = [1000.0]
    monkeypatch.setattr(auth, "monotonic", lambda: now[0])
    with tokens, FakeRegistry(token=tokens, judge=lambda said, _: bool(said)) as registry:
        registry.add(image(), "team/app", "1")
        tokens.expires_in = expires
        server = asking.server(registry, ALICE)
        assert server.ask("GET", TAGS, PULL).status == 200
        now[0] += good_for
        assert server.ask("GET", TAGS, PULL).status == 200
        assert len(asked_for(tokens)) == 1
        now[0] += 2 * (expires or 60) if good_for < 10**9 else 0
        assert server.ask("GET", TAGS, PULL).status == 200
        assert len(asked_for(tokens)) == (2 if good_for < 10**9 and (expires or 60) > 0 else 1)
        # No token was refused on the way.
        assert [each.status for each in registry.asked()] == [401, 200, 200, 200]


def test_a_token_that_is_refused_is_renewed_once(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        server = asking.server(registry, ALICE)
        assert server.ask("GET", TAGS, PULL).status == 200
        tokens.issued.clear()
        assert server.ask("GET", TAGS, PULL).status == 200
        assert [each.status for each in registry.asked()] == [401, 200, 401, 200]
        assert len(asked_for(tokens)) == 2


def test_tokens_that_are_never_accepted_end_the_asking(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens, judge=lambda said, scope: False) as registry:
        answer = asking.server(registry, ALICE).ask("GET", TAGS, PULL)
        assert answer.status == 401
        assert len(registry.asked()) <= 3 and len(asked_for(tokens)) <= 3
        assert isinstance(problems.of(answer, "it"), AccessDenied)


def test_insufficient_scope_is_final(tokens: TokenServer) -> None:
    challenge = tokens.challenge() + ',error="insufficient_scope"'
    with tokens, FakeRegistry(token=tokens, challenge=challenge, judge=lambda said, scope: False) as registry:
        assert asking.server(registry, ALICE).ask("GET", TAGS, PULL).status == 401
        assert len(asked_for(tokens)) == 1 and len(registry.asked()) == 2


def test_a_wrong_password(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        server = asking.server(registry, Credential("alice", "wr0ng"))
        with pytest.raises(AccessDenied, match=r"its token server denies access for alice: unauthorized") as caught:
            server.ask("GET", TAGS, PULL)
        told = caught.value.message + caught.value.hint
        assert "underlay login" in caught.value.hint
        assert "wr0ng" not in told and basic("alice", "wr0ng").split()[1] not in told
        assert len(tokens.asked()) == 1


def test_what_may_not_be_seen(tokens: TokenServer) -> None:
    """The token is granted, with fewer rights."""
    tokens.access = lambda user, kind, name, actions: all_may_pull(user, kind, name, actions) if user else set()
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        answer = asking.server(registry).ask("GET", TAGS, PULL)
        assert answer.status == 401
        assert isinstance(problems.of(answer, "tags"), AccessDenied)
        assert asking.server(registry, ALICE).ask("GET", TAGS, PULL).status == 200


@pytest.mark.parametrize("code", [400, 401, 403])
@pytest.mark.parametrize(
    ("credential", "who"),
    [
        (None, ""),
        (ALICE, " for alice"),
        (Credential("alice", identity_token="s3cr3t"), " for alice"),
        (Credential(identity_token="s3cr3t"), " for the identity token"),
    ],
)
def test_refusals_name_the_user_and_never_the_secret(credential: Credential | None, who: str, code: int) -> None:
    net = Net(lambda sent: (code, {}, b"no") if "tokens" in sent.url else challenge("https://tokens.registry.test/t"))
    server = asking.at(Endpoint("https", "registry.test"), net, credential)
    with pytest.raises(AccessDenied) as caught:
        server.ask("GET", TAGS, PULL)
    assert caught.value.message == f"registry.test: its token server denies access{who}"
    assert "s3cr3t" not in caught.value.message + caught.value.hint


def test_identity_tokens_go_by_post(tokens: TokenServer) -> None:
    tokens.refreshes["r3fr3sh"] = "alice"
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        server = asking.server(registry, Credential("alice", identity_token="r3fr3sh"))
        assert server.ask("GET", TAGS, PULL).status == 200
        [request] = tokens.asked()
        assert request.method == "POST" and not request.query and "authorization" not in request.headers
        assert request.form == {
            "service": "registry.test",
            "client_id": "underlay",
            "grant_type": "refresh_token",
            "refresh_token": "r3fr3sh",
            "scope": "repository:team/app:pull",
        }
        assert not any("r3fr3sh" in str(each.headers) + each.target for each in registry.asked())


def test_a_registry_token_is_presented_as_it_is(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(challenge=tokens.challenge(), judge=lambda said, _: said == "Bearer given") as registry:
        registry.add(image(), "team/app", "1")
        assert asking.server(registry, Credential(registry_token="given")).ask("GET", TAGS, PULL).status == 200
        assert len(registry.asked()) == 1
        answer = asking.server(registry, Credential(registry_token="b4d")).ask("GET", TAGS, PULL)
        assert answer.status == 401 and "b4d" not in problems.of(answer, "tags").message
        assert tokens.asked() == []


def test_basic() -> None:
    with FakeRegistry(users={"alice": "s3cr3t"}) as registry:
        registry.add(image(), "team/app", "1")
        server = asking.server(registry, ALICE)
        assert [server.ask("GET", TAGS, PULL).status for _ in range(2)] == [200, 200]
        said = [each.headers.get("authorization") for each in registry.asked()]
        assert said == [None, basic("alice", "s3cr3t"), basic("alice", "s3cr3t")]
        registry.forget()
        assert asking.server(registry, Credential("alice", "wr0ng")).ask("GET", TAGS, PULL).status == 401
        assert len(registry.asked()) == 2
        registry.forget()
        assert asking.server(registry).ask("GET", TAGS, PULL).status == 401
        assert len(registry.asked()) == 1


def test_names_and_passwords_of_any_letters() -> None:
    with FakeRegistry(users={"ålice": "pä:ss wörd"}) as registry:
        registry.add(image(), "team/app", "1")
        assert asking.server(registry, Credential("ålice", "pä:ss wörd")).ask("GET", TAGS, PULL).status == 200


def test_bearer_comes_before_basic(tokens: TokenServer) -> None:
    with tokens:
        for said in (['Basic realm="x"', tokens.challenge()], f'Basic realm="x", {tokens.challenge()}'):
            with FakeRegistry(token=tokens, challenge=said) as registry:
                registry.add(image(), "team/app", "1")
                assert asking.server(registry, ALICE).ask("GET", TAGS, PULL).status == 200
                assert not any(each.headers.get("authorization", "").startswith("Basic") for each in registry.asked())


def test_the_credential_is_looked_up_once_and_first() -> None:
    looked = []

    def find() -> Credential | None:
        looked.append(1)
        return None

    net = Net(lambda sent: (200, {}, b""))
    endpoint = Endpoint("https", "registry.test")
    authorizer = auth.Authorizer(net, endpoint, find)
    server = asking.exchange.Server(net, endpoint, authorizer)
    assert looked == []
    for _ in range(3):
        server.ask("GET", "/v2/", ())
    assert looked == [1]

    def failing() -> Credential | None:
        raise RegistryError("the helper is broken")

    server = asking.exchange.Server(net, endpoint, auth.Authorizer(net, endpoint, failing))
    net.sent.clear()
    with pytest.raises(RegistryError, match="the helper is broken"):
        server.ask("GET", "/v2/", ())
    assert net.sent == []


# What token servers say


def challenge(realm: str, more: str = "") -> Page:
    return 401, {"www-authenticate": f'Bearer realm="{realm}"{more}'}, b""


def token_net(page: bytes = b'{"token":"t"}', realm: str = "https://tokens.registry.test/t", more: str = "") -> Net:
    """A registry, at which every token is good, and what its token server answers."""

    def say(sent: Sent) -> Page:
        if sent.endpoint.host == "registry.test":
            return (200, {}, b"{}") if sent.headers.get("authorization") else challenge(realm, more)
        return 200, {}, page

    return Net(say)


def visit(net: Net, credential: Credential | None = ALICE, scopes: tuple[str, ...] = PULL) -> int:
    return asking.at(Endpoint("https", "registry.test"), net, credential).ask("GET", "/v2/", scopes).status


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        (b'{"token":"a"}', "a"),
        (b'{"access_token":"b"}', "b"),
        (b'{"token":"a","access_token":"b"}', "a"),
        (b'{"token":"","access_token":"b"}', "b"),
        (b'{"token":"a","expires_in":300,"issued_at":"x","unknown":[1]}', "a"),
        (b'{"token":"a","expires_in":null,"refresh_token":null}', "a"),
        (b'{"token":"a","expires_in":1e300}', "a"),
        (b'{"token":"a","expires_in":0.5}', "a"),
    ],
)
def test_answers_with_a_token(page: bytes, wanted: str) -> None:
    net = token_net(page)
    assert visit(net) == 200
    assert net.sent[-1].headers["authorization"] == f"Bearer {wanted}"


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"token"',
        b"<html>",
        b"\xff\xfe",
        b'{"token":null}',
        b'{"token":5}',
        b'{"token":"a\\r\\nX-Evil: 1"}',
        b'{"token":"a\\u0000"}',
        b'{"token":"\xc3\xa9"}',
        b'{"token":"a","expires_in":"soon"}',
        b'{"token":"a","expires_in":NaN}',
        b'{"token":' + b"[" * 100_000,
        b'{"token":"' + b"a" * 2_000_000 + b'"}',
    ],
    ids=lambda page: repr(page[:30]),
)
def test_answers_without_a_token(page: bytes) -> None:
    net = token_net(page)
    with pytest.raises((RegistryError, LimitExceeded)) as caught:
        visit(net)
    assert "registry.test" in caught.value.message and caught.value.message.isprintable()
    assert "s3cr3t" not in caught.value.message
    assert len(net.sent) == 2


@pytest.mark.parametrize(
    ("realm", "more", "scopes", "wanted"),
    [
        ("https://tokens.test/t", "", (), ""),
        ("https://tokens.test/t", ',service="a&b c"', (), "service=a%26b+c"),
        ("https://tokens.test/t?x=1", ',service="s"', PULL, f"x=1&service=s&scope={QUOTED}"),
        ("https://tokens.test/t", ',scope="a:b:c d:e:f"', (), "scope=a%3Ab%3Ac&scope=d%3Ae%3Af"),
        ("https://tokens.test/t", f',scope="{PULL[0]} d:e:f"', PULL, f"scope={QUOTED}&scope=d%3Ae%3Af"),
    ],
)
def test_what_a_token_server_is_asked(realm: str, more: str, scopes: tuple[str, ...], wanted: str) -> None:
    net = token_net(realm=realm, more=more)
    assert visit(net, None, scopes) == 200
    assert urllib.parse.urlsplit(net.sent[1].url).query == wanted


@pytest.mark.parametrize(
    "realm",
    [
        "http://tokens.test/t",
        "http://registry.test/t",
        "HTTP://tokens.test/t",
        "https://127.0.0.1/t",
        "https://localhost:8080/t",
        "https://x.localhost/t",
        "https://[::1]/t",
        "https://[::ffff:127.0.0.1]/t",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/",
        "https://10.0.0.7/t",
        "https://evil.test/t",
        "https://registry.test.evil.test/t",
        "https://aregistry.test/t",
        "https://0x7f.1/",
        "https://0/",
        "ftp://tokens.test/t",
        "file:///etc/passwd",
        "https://u:p@tokens.test/t",
        "https://tokens.test\\@evil.test/t",
        "https://tokens.test /t",
        "https://tokens.test/t\t",
        "https://",
        "//tokens.test/t",
        "/t",
        "tokens.test",
        "https://[::1/t",
        "https://tokens.test:99999/t",
        "https://tökens.test/t",
    ],
)
@pytest.mark.parametrize(
    "credential", [ALICE, Credential("alice", identity_token="s3cr3t")], ids=["secret", "identity"]
)
def test_token_servers_that_are_not_asked(realm: str, credential: Credential) -> None:
    net = token_net(realm=realm)
    with pytest.raises(RegistryError, match=r"registry.test names a token server") as caught:
        visit(net, credential)
    assert caught.value.message.isprintable() and len(caught.value.message) < 300
    assert len(net.sent) == 1


def test_the_refusal_of_a_token_server_says_which_line_allows_it() -> None:
    with pytest.raises(RegistryError, match="of another owner") as caught:
        visit(token_net(realm="https://evil.test:8443/t"))
    line = 'token_servers = ["https://evil.test:8443"]'
    assert f'{line} below [registry."registry.test"] in registries.toml' in caught.value.hint


def test_insecurity_is_not_handed_on_to_the_token_server() -> None:
    registry = Endpoint("https", "registry.test", insecure=True)
    net = token_net()
    assert asking.at(registry, net, ALICE).ask("GET", "/v2/", PULL).status == 200
    assert [sent.endpoint.insecure for sent in net.sent] == [True, False, True]
    at_the_same_place = token_net(realm="https://registry.test/t")
    at_the_same_place.say = lambda sent: (
        (200, {}, b'{"token":"t"}')
        if sent.url.startswith("https://registry.test/t")
        else ((200, {}, b"") if sent.headers.get("authorization") else challenge("https://registry.test/t"))
    )
    assert asking.at(registry, at_the_same_place, ALICE).ask("GET", "/v2/", PULL).status == 200
    assert all(sent.endpoint.insecure for sent in at_the_same_place.sent)


def test_a_token_server_does_not_redirect_the_credential(tokens: TokenServer) -> None:
    with tokens, FakeRegistry() as thief, FakeRegistry(token=tokens) as registry:
        for code in (301, 302, 303, 307, 308):
            tokens.rule("GET|POST", "/token", redirect(f"{thief.url}/token", code), times=2)
            for credential in (ALICE, Credential("alice", identity_token="r3fr3sh")):
                with pytest.raises(RegistryError):
                    asking.server(registry, credential).ask("GET", TAGS, PULL)
        assert not any("authorization" in each.headers or each.body for each in thief.asked())


def test_a_token_server_that_hangs_up_is_asked_again(tokens: TokenServer, pauses: list[float]) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        tokens.rule("GET", "/token", hang_up(), times=1)
        assert asking.server(registry, ALICE).ask("GET", TAGS, PULL).status == 200
        assert len(pauses) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_token_server_that_fails_for_a_moment_is_asked_again(
    tokens: TokenServer, pauses: list[float], code: int
) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "team/app", "1")
        tokens.rule("GET", "/token", status(code), times=1)
        assert asking.server(registry, ALICE).ask("GET", TAGS, PULL).status == 200
        assert len(pauses) == 1


def test_a_token_server_that_fails_for_good(tokens: TokenServer, pauses: list[float]) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        tokens.rule("GET", "/token", status(503, body=json.dumps({"details": "out of order"}).encode()))
        with pytest.raises(RegistryError, match=r"token server of 127\.0\.0\.1: out of order"):
            asking.server(registry, ALICE).ask("GET", TAGS, PULL)
        assert len(tokens.asked()) <= 3


# Identity tokens


def test_an_identity_token_for_login(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        server = asking.server(registry, ALICE)
        assert server.ask("GET", "/v2/", ()).status == 200
        token = server.authorizer.offline()
        assert tokens.refreshes == {token: "alice"}
        assert tokens.asked()[-1].query["offline_token"] == "true"
        tokens.issues_refresh = False
        assert server.authorizer.offline() == ""
        assert asking.server(registry).authorizer.offline() == ""


def test_a_prefix_belongs_to_the_scope(tokens: TokenServer) -> None:
    with tokens, FakeRegistry(token=tokens) as registry:
        registry.add(image(), "proxy/team/app", "1")
        assert asking.server(registry, ALICE, prefix="/proxy").ask("GET", TAGS, PULL).status == 200
        assert asked_for(tokens) == ["repository:proxy/team/app:pull"]
        assert [each.path for each in registry.asked()] == ["/v2/proxy/team/app/tags/list"] * 2


# Whose word counts


def test_only_the_registry_itself_may_ask_who_we_are(tokens: TokenServer) -> None:
    """RG-01: where a redirect leads to gets no credential, and no token, by asking for it."""

    with tokens:
        for said in ('Basic realm="x"', tokens.challenge()):
            with FakeRegistry(challenge=said, judge=lambda a, b: False) as elsewhere, FakeRegistry() as registry:
                registry.rule("GET", "/blobs/", redirect(lambda it: elsewhere.url + it.asked.target))
                server = asking.server(registry, ALICE)
                answer = server.ask("GET", f"/v2/team/app/blobs/sha256:{'0' * 64}", PULL)
                assert answer.status == 401
                assert len(elsewhere.asked()) == 1 and "authorization" not in elsewhere.asked()[0].headers
        assert tokens.asked() == []


def test_credentials_are_by_exact_host() -> None:
    """RG-02: a mirror gets its own; the registry's goes to the registry."""
    with FakeRegistry(users={"alice": "s3cr3t"}) as registry, FakeRegistry(users={"bob": "x"}) as other:
        registry.add(image(), "team/app", "1")
        with asking.registries({registry.host: ALICE, "127.0.0.1": Credential("bob", "x")}) as found:
            for server in found.servers(registry.host):
                if server.endpoint.scheme == "http":
                    assert server.ask("GET", TAGS, PULL).status == 200
            for server in found.servers(other.host):
                if server.endpoint.scheme == "http":
                    assert server.ask("GET", TAGS, PULL).status == 401
        assert not any("authorization" in each.headers for each in other.asked())
