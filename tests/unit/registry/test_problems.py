"""What a registry says when it refuses, in one line, whatever it sends."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import asking
from asking import reply
from fakeregistry import FakeRegistry
from faults import drip, endless, status
from underlay.errors import AccessDenied, NotFound, RateLimited, RegistryError
from underlay.registry import problems
from underlay.registry import transport as transports


def said(code: int, body: bytes = b"", **headers: str) -> RegistryError | NotFound:
    return problems.of(reply(code, {k.replace("_", "-"): v for k, v in headers.items()}, body), "it")


def errors(*each: dict[str, object]) -> bytes:
    return json.dumps({"errors": list(each)}).encode()


@pytest.mark.parametrize(
    ("code", "kind", "wanted"),
    [
        (401, AccessDenied, "it: access denied"),
        (403, AccessDenied, "it: access denied"),
        (404, NotFound, "it not found"),
        (429, RateLimited, "it: too many requests"),
        (500, RegistryError, "it: the registry answers with status 500"),
        (204, RegistryError, "it: the registry answers with status 204"),
    ],
)
def test_without_a_word(code: int, kind: type[Exception], wanted: str) -> None:
    found = said(code)
    assert type(found) is kind and found.message == wanted


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (errors({"code": "DENIED", "message": "no rights"}), "denied: no rights"),
        (errors({"code": "TOO_LONG", "message": "too long"}), "too long"),
        (errors({"code": "DENIED"}), "denied"),
        (errors({"message": "no rights", "detail": {"a": [1]}}), "no rights"),
        (errors({"code": "DENIED", "message": None}), "denied"),
        (errors({"message": "a"}, {"message": "b"}, {"message": "c"}, {"message": "d"}), "a; b; c"),
        (b'{"details":"incorrect username or password"}', "incorrect username or password"),
        (b'{"error":"invalid_grant","error_description":"expired"}', "invalid_grant: expired"),
        (b'{"errors":[],"details":"x"}', "x"),
        (errors({"message": "über 💥"}), "über 💥"),
        # Control characters, escapes of terminals, directions of writing, lines.
        (errors({"message": "a\x1b[2Jb\r\nc\x00d\x9be"}), "a [2Jb  c d e"),
        (errors({"message": "a\u202eb\u2028c\u200bd"}), "a b c d"),
        (errors({"code": "\x1b]0;owned\x07", "message": "x"}), " ]0;owned : x"),
    ],
)
def test_its_words(body: bytes, wanted: str) -> None:
    assert said(400, body).message == f"it: {wanted}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body><h1>502 Bad Gateway</h1></body></html>",
        b"404 page not found\n",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b'"x"',
        b'{"errors":"x"}',
        b'{"errors":[1]}',
        b'{"errors":[{"message":{}}]}',
        b'{"errors":null}',
        b"{" * 100_000,
        b'{"errors":[' + b"[" * 100_000,
        b'{"errors":[{"message":"' + b"x" * 300_000 + b'"}]}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_word(body: bytes) -> None:
    assert said(400, body).message == "it: the registry answers with status 400"


def test_long_words_are_cut() -> None:
    found = said(400, errors({"code": "C" * 10_000, "message": "m" * 100_000}))
    assert len(found.message) == len("it: ") + 303 and found.message.endswith("...")


def test_endless_and_slow_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transports, "DOCUMENT_SECONDS", 0.5)
    with FakeRegistry() as registry:
        server = asking.server(registry, retries=1)
        registry.rule("GET", "/endless", endless(b"x" * 65536))
        registry.rule("GET", "/slow", drip(20.0, 200))
        registry.rule("GET", "/slow", status(500, body=errors({"message": "x" * 1000})))
        assert (
            problems.of(server.ask("GET", "/endless", ()), "it").message == "it: the registry answers with status 200"
        )
        assert registry.asked()[-1].sent < 1 << 26
        assert problems.of(server.ask("GET", "/slow", ()), "it").message == "it: the registry answers with status 500"
        assert registry.asked()[-1].sent < 1000


def test_the_connection_is_given_back() -> None:
    with FakeRegistry() as registry:
        server = asking.server(registry)
        for _ in range(3):
            assert problems.of(server.ask("GET", "/v2/a/manifests/x", ()), "it").message.startswith("it not found: ")
        assert {each.connection for each in registry.asked()} == {0}


WORDS = st.recursive(
    st.none() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["errors", "code", "message", "details", "error"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=100), WORDS.map(json.dumps).map(str.encode)))
def test_any_word(body: bytes) -> None:
    message = said(400, body).message
    assert message.isprintable() and len(message) < 320


# Limits


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        (
            {"ratelimit_limit": "100;w=21600", "ratelimit_remaining": "0;w=21600"},
            "the limit is 100 in 6 h, 0 in 6 h left; logging in may raise it",
        ),
        ({"ratelimit_limit": "100"}, "the limit is 100, none left; logging in may raise it"),
        (
            {"ratelimit_limit": "9;w=60", "ratelimit_remaining": "3"},
            "the limit is 9 in 1 h, 3 left; logging in may raise it",
        ),
        ({"retry_after": "120"}, "the registry asks to wait 120 seconds"),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "wait until Wed, 21 Oct 2026 07:28:00 GMT"),
        ({"ratelimit_limit": "a\x1b[2J;w=9999999999999"}, "the limit is a [2J, none left; logging in may raise it"),
        ({}, "wait, or log in"),
    ],
)
def test_limits(headers: dict[str, str], wanted: str) -> None:
    assert said(429, **headers).hint == wanted


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_any_limits(limit: str, remaining: str, wait: str) -> None:
    hint = said(429, ratelimit_limit=limit, ratelimit_remaining=remaining, retry_after=wait).hint
    assert hint.isprintable() and len(hint) < 320
