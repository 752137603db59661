"""Manifests, small blobs and lists as a registry gives them, and the servers that stand for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import asking
from asking import Net, Page, Sent
from fakeregistry import FakeRegistry
from fakeserver import Action
from faults import altered, body, cut_after, endless, flipped, hang_up, redirect, status, with_headers
from registries import basic
from remoteimages import INDEX, MANIFEST, encoded, image, index, sha
from underlay.errors import (
    AccessDenied,
    Conflict,
    Corrupt,
    DigestMismatch,
    InvalidInput,
    LimitExceeded,
    NotFound,
    RegistryError,
    Unreachable,
    Unsupported,
)
from underlay.events import Event
from underlay.oci.descriptor import Descriptor
from underlay.oci.reference import parse
from underlay.registry.credentials import Credential
from underlay.registry.hosts import Settings
from underlay.registry.registries import Registries
from underlay.registry.repository import Repository, catalog
from underlay.registry.transport import Broken

IMAGE = image()
CONFIG = Descriptor(digest=IMAGE.id, size=len(IMAGE.config))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        made.add(IMAGE, "team/app", "1.0")
        yield made


def repository(registry: FakeRegistry, path: str = "team/app", **network: float) -> Repository:
    return Repository(asking.registries(**network), registry.host, path)


# Manifests


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("many", [False, True])
def test_manifests(registry: FakeRegistry, docker: bool, many: bool) -> None:
    made = index([image(docker=docker)], docker) if many else image(docker=docker)
    registry.add(made, "team/app", "x")
    found = repository(registry)
    for name in ("x", made.digest):
        got = found.manifest(name)
        assert (got.data, got.digest, got.media_type) == (made.manifest, made.digest, made.media_type)
    accepted = registry.asked("GET", "/manifests/")[0].headers["accept"]
    assert all(kind in accepted for kind in (*MANIFEST.values(), *INDEX.values()))


def test_without_types_and_digests(registry: FakeRegistry) -> None:
    registry.rule("GET|HEAD", "/manifests/", with_headers({"Docker-Content-Digest": None, "Content-Type": None}))
    found = repository(registry)
    got = found.manifest("1.0")
    assert got.digest == IMAGE.digest and got.media_type == ""
    assert found.head("1.0") == ("", len(IMAGE.manifest), "")


@pytest.mark.parametrize(
    ("name", "action", "kind", "text"),
    [
        (IMAGE.digest, flipped(20), DigestMismatch, f"expected {IMAGE.digest}, found sha256:"),
        ("1.0", flipped(20), DigestMismatch, "the registry states a digest that it does not have"),
        ("1.0", with_headers({"Docker-Content-Digest": sha(b"else")}), DigestMismatch, "states a digest"),
        (IMAGE.digest, altered(lambda data: data + b" "), DigestMismatch, "expected"),
        (IMAGE.digest, altered(lambda data: b""), DigestMismatch, "expected"),
        ("1.0", with_headers({"Content-Length": str(1 << 40)}), LimitExceeded, "longer than 4194304 bytes"),
        ("1.0", endless(), LimitExceeded, "longer than 4194304 bytes"),
        ("1.0", body(b" " * ((4 << 20) + 1)), LimitExceeded, "longer than 4194304 bytes"),
        ("1.0", body(b"<html>", "text/html"), InvalidInput, "manifest for"),
        ("1.0", body(b"\xff"), InvalidInput, "manifest for"),
        ("1.0", body(b"[" * 1_000_000), LimitExceeded, "nested deeper than"),
        ("1.0", body(b""), InvalidInput, "manifest for"),
        ("1.0", body(b'{"schemaVersion":1}'), Unsupported, "a manifest of schema 1"),
        ("1.0", body(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"), Unsupported, "schema 1"),
        (
            "1.0",
            body(encoded({"schemaVersion": 2, "mediaType": INDEX[False]}), MANIFEST[False]),
            InvalidInput,
            f"its Content-Type is {MANIFEST[False]}, but its mediaType is {INDEX[False]}",
        ),
        ("1.0", status(204), RegistryError, "status 204"),
        ("1.0", status(304), RegistryError, "status 304"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value))[:20],
)
def test_manifests_that_are_none(
    registry: FakeRegistry, name: str, action: Action, kind: type[Exception], text: str
) -> None:
    registry.rule("GET", "/manifests/", action)
    with pytest.raises(kind) as caught:
        repository(registry).manifest(name)
    message = str(caught.value)
    assert text in message and f"{registry.host}/team/app" in message and message.isprintable() and len(message) < 500


def test_manifests_that_are_not_there(registry: FakeRegistry) -> None:
    for path, name in (("team/app", "2.0"), ("team/app", sha(b"")), ("no/such", "1.0")):
        found = repository(registry, path)
        joint = "@" if ":" in name else ":"
        with pytest.raises(NotFound, match=rf"^manifest for {registry.host}/{path}{joint}{name} not found: .* unknown"):
            found.manifest(name)
        assert found.head(name) is None


def test_manifests_that_may_not_be_seen(registry: FakeRegistry) -> None:
    for code in (401, 403):
        registry.rules.clear()
        registry.rule("GET|HEAD", "/manifests/", status(code))
        for ask in (repository(registry).manifest, repository(registry).head):
            with pytest.raises(AccessDenied, match="access denied") as caught:
                ask("1.0")
            assert "underlay login" in caught.value.hint


def test_the_limit_of_pulls(registry: FakeRegistry, pauses: list[float]) -> None:
    told = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600", "Retry-After": "3600"}
    registry.rule("GET", "/manifests/", status(429, told, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}'))
    with pytest.raises(RegistryError, match="too many requests: toomanyrequests: slow") as caught:
        repository(registry).manifest("1.0")
    assert caught.value.hint.startswith(
        "the limit is 100 in 6 h, 0 in 6 h left; the registry asks to wait 3600 seconds"
    )
    assert pauses == [] and len(registry.asked("GET", "/manifests/")) == 1


def test_heads(registry: FakeRegistry) -> None:
    assert repository(registry).head("1.0") == (IMAGE.digest, len(IMAGE.manifest), IMAGE.media_type)
    registry.rule("HEAD", "/", with_headers({"Docker-Content-Digest": "sha256:x", "Content-Length": "x"}))
    assert repository(registry).head("1.0") == ("", 0, IMAGE.media_type)


# What breaks off


@pytest.mark.parametrize("what", ["manifest", "document", "tags", "referrers"])
@pytest.mark.parametrize("action", [cut_after(5), cut_after(5, reset=False), hang_up()], ids=["reset", "end", "none"])
def test_what_breaks_off_is_asked_for_again(
    registry: FakeRegistry, pauses: list[float], what: str, action: Action
) -> None:
    registry.rule("GET", "/team/app/", action, times=2)
    found = repository(registry)
    if what == "manifest":
        assert found.manifest("1.0").data == IMAGE.manifest
    elif what == "document":
        assert found.document(CONFIG, 1 << 20, "configuration") == IMAGE.config
    elif what == "tags":
        assert found.tags() == ["1.0"]
    else:
        assert found.referrers(IMAGE.digest) == []
    assert len(pauses) == 2


def test_tries_are_not_multiplied(registry: FakeRegistry, pauses: list[float]) -> None:
    for action in (hang_up(), cut_after(5)):
        registry.rules.clear()
        registry.forget()
        registry.rule("GET", "/manifests/", action)
        with pytest.raises(Broken):
            repository(registry, retries=4).manifest("1.0")
        assert len(registry.asked("GET", "/manifests/")) == 4


# Small blobs


def test_documents(registry: FakeRegistry) -> None:
    assert repository(registry).document(CONFIG, 1 << 20, "configuration") == IMAGE.config


@pytest.mark.parametrize(
    ("size", "action", "kind"),
    [
        (len(IMAGE.config), flipped(5), DigestMismatch),
        (len(IMAGE.config) + 1, None, DigestMismatch),
        (len(IMAGE.config) - 1, None, DigestMismatch),
        (len(IMAGE.config), endless(), DigestMismatch),
        (len(IMAGE.config) + 1, with_headers({"Content-Length": None, "Connection": "close"}), Corrupt),
        (len(IMAGE.config), status(404), NotFound),
        (len(IMAGE.config), status(403), AccessDenied),
        ((1 << 20) + 1, None, LimitExceeded),
    ],
    ids=["wrong", "long", "short", "endless", "short of unknown length", "gone", "denied", "large"],
)
def test_documents_that_are_none(
    registry: FakeRegistry, size: int, action: Action | None, kind: type[Exception]
) -> None:
    if action is not None:
        registry.rule("GET", "/blobs/", action)
    with pytest.raises(kind, match=f"configuration {IMAGE.id}"):
        repository(registry).document(Descriptor(digest=IMAGE.id, size=size), 1 << 20, "configuration")
    if kind is LimitExceeded:
        assert registry.asked() == []


def test_blobs_that_are_there(registry: FakeRegistry) -> None:
    found = repository(registry)
    assert found.has_blob(IMAGE.id) and not found.has_blob(sha(b""))
    registry.rule("HEAD", "/", status(403))
    with pytest.raises(AccessDenied):
        found.has_blob(IMAGE.id)


# Lists


def many_tags(registry: FakeRegistry, count: int) -> list[str]:
    names = [f"t{n:07}" for n in range(count)]
    registry.repository("team/app").tags = dict.fromkeys(names, IMAGE.digest)
    return names


@pytest.mark.parametrize("page", [0, 1, 7])
def test_tags(page: int) -> None:
    with FakeRegistry(page=page) as registry:
        registry.add(IMAGE, "team/app")
        names = many_tags(registry, 30)
        assert repository(registry).tags() == names
        assert len(registry.asked("GET", "/tags/list")) == (-(-30 // page) if page else 1)


def test_a_server_that_takes_no_notice_of_last(registry: FakeRegistry) -> None:
    names = [f"v{n:04d}" for n in range(1000)]
    registry.rule("GET", "/tags/", body(encoded({"tags": names})))
    assert repository(registry).tags() == names
    assert [each.query for each in registry.asked("GET", "/tags/")] == [{"n": "1000"}, {"n": "1000", "last": "v0999"}]


def test_no_tags(registry: FakeRegistry) -> None:
    for data in (b'{"name":"team/app","tags":null}', b'{"tags":[]}', b"{}"):
        registry.rules.clear()
        registry.rule("GET", "/tags/", body(data))
        assert repository(registry).tags() == []
    registry.rules.clear()
    with pytest.raises(NotFound, match="no/such not found"):
        repository(registry, "no/such").tags()


def test_tags_that_are_none_are_passed_over(registry: FakeRegistry) -> None:
    registry.rule("GET", "/tags/", body(encoded({"tags": ["1.0", "", "a/b", "-x", "../x", "\x1b[2J", "x" * 129, "é"]})))
    assert repository(registry).tags() == ["1.0"]


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>", b"[]", b'"x"', b'{"tags":"x"}', b'{"tags":[1]}', b'{"tags":{"a":1}}', b"[" * 100_000, b"\xff"],
    ids=lambda data: repr(data[:20]),
)
def test_lists_that_are_none(registry: FakeRegistry, data: bytes) -> None:
    registry.rule("GET", "/tags/", body(data))
    with pytest.raises(RegistryError, match=r"tags of .*/team/app: the answer is not a list"):
        repository(registry).tags()


def test_a_page_that_is_too_long(registry: FakeRegistry) -> None:
    """A million names."""
    many_tags(registry, 1_000_000)
    with pytest.raises(LimitExceeded, match=r"tags of .*/team/app: longer than 4194304 bytes"):
        registry.rule("GET", "/tags/", lambda it, _: it.asked.query.clear() or False)
        repository(registry).tags()


def test_too_many_pages(registry: FakeRegistry) -> None:
    """A million names, a thousand a page: it ends."""
    many_tags(registry, 1_000_000)
    registry.page = 5000
    registry.rule("GET", "/tags/", lambda it, _: it.asked.query.update(n="5000") or False)
    with pytest.raises(LimitExceeded, match="more than 200000 names"):
        repository(registry).tags()
    assert len(registry.asked("GET", "/tags/")) <= 42


PAGE = b'{"tags":["1.0"]}'


@pytest.mark.parametrize(
    "link",
    [
        "</v2/team/app/tags/list?n=1000>; rel=next",
        "<>; rel=next",
        "<?n=1000>; rel=next",
        '</v2/team/app/tags/list?n=1000#1>; rel="next"',
    ],
)
def test_a_page_that_leads_to_itself(registry: FakeRegistry, link: str) -> None:
    registry.rule("GET", "/tags/", body(PAGE, headers={"Link": link}))
    with pytest.raises(LimitExceeded, match="the list does not end"):
        repository(registry).tags()
    assert len(registry.asked("GET", "/tags/")) <= 2


def test_pages_that_lead_in_a_circle_or_on_for_ever(registry: FakeRegistry) -> None:
    def lead(to: object) -> Action:
        def act(handler: object, _: object) -> bool:
            number = int(handler.asked.query.get("last", "0"))  # type: ignore[attr-defined]
            link = f"</v2/team/app/tags/list?last={to(number)}>; rel=next"  # type: ignore[operator]
            return body(PAGE, headers={"Link": link})(handler, _)  # type: ignore[arg-type]

        return act

    for to, most in ((lambda n: (n + 1) % 5, 7), (lambda n: n + 1, 1000)):
        registry.rules.clear()
        registry.forget()
        registry.rule("GET", "/tags/", lead(to))
        with pytest.raises(LimitExceeded, match="the list does not end"):
            repository(registry).tags()
        assert len(registry.asked("GET", "/tags/")) <= most


def test_a_link_leads_to_no_other_server(registry: FakeRegistry) -> None:
    """Only its path counts, so that the credential stays where it is."""
    registry.judge, registry.challenge = lambda said, _: bool(said), "Basic"
    with FakeRegistry() as other:
        to = f"{other.url}/v2/team/app/tags/list?last=x"
        registry.rule("GET", "/tags/", body(PAGE, headers={"Link": f'<{to}>; rel="next"'}), times=1)
        registry.rule("GET", "/tags/", body(b'{"tags":["2.0"]}'))
        found = Repository(asking.registries({registry.host: Credential("a", "b")}), registry.host, "team/app")
        assert found.tags() == ["1.0", "2.0"]
        assert other.asked() == []


@pytest.mark.parametrize(
    "link",
    [
        "",
        "x",
        "<",
        ">",
        "</v2/x>",
        "</v2/x>; rel=prev",
        "; rel=next",
        "<http://[::1/x>; rel=next",
        "<http://[x]/y>; rel=next",
        "<\x80>; rel=next",
        "<http://h>; rel=next",
        "</v2/a b>; rel=next",
        "</v2/team/app/tags/list?last=a>; rel=next" * 2,
        "<//[>; rel=next",
        "<" + "x" * 60_000 + ">; rel=next",
    ],
    ids=lambda link: link[:30],
)
def test_links_that_lead_nowhere(registry: FakeRegistry, link: str) -> None:
    """The list ends there, or with an error in one line."""
    registry.rule("GET", "/tags/", body(PAGE, headers={"Link": link}), times=1)
    try:
        assert repository(registry).tags() == ["1.0"]
    except (RegistryError, NotFound, LimitExceeded) as error:
        assert error.message.isprintable()


def test_pages_of_a_registry_below_a_prefix(registry: FakeRegistry) -> None:
    registry.repository("proxy/team/app").tags = {f"t{n}": IMAGE.digest for n in range(5)}
    registry.page = 2
    server = asking.server(registry, prefix="/proxy")
    found = asking.registries()
    found.servers = lambda domain, push=False, path="": [server]  # type: ignore[method-assign]
    assert Repository(found, registry.host, "team/app").tags() == [f"t{n}" for n in range(5)]
    assert {each.path for each in registry.asked()} == {"/v2/proxy/team/app/tags/list"}


# Catalogues and referrers


def test_catalogues(registry: FakeRegistry) -> None:
    registry.add(IMAGE, "team/db", "1")
    registry.page = 1
    assert catalog(asking.registries(), registry.host) == ["team/app", "team/db"]


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_registry_that_keeps_its_catalogue_to_itself(registry: FakeRegistry, code: int) -> None:
    registry.rule("GET", "/_catalog", status(code))
    with pytest.raises(Unsupported, match=f"{registry.host} does not list its repositories: "):
        catalog(asking.registries(), registry.host)


def test_referrers(registry: FakeRegistry) -> None:
    made = image(subject=IMAGE.descriptor(), artifact_type="application/x", config={})
    registry.add(made, "team/app")
    found = repository(registry)
    assert [each.digest for each in found.referrers(IMAGE.digest) or []] == [made.digest]
    for number in range(4):
        registry.add(image(subject=IMAGE.descriptor(), annotations={"number": str(number)}), "team/app")
    registry.page = 2
    listed = found.referrers(IMAGE.digest)
    assert listed is not None and len({each.digest for each in listed}) == 5
    registry.page = 0
    registry.has_referrers = False
    assert found.referrers(IMAGE.digest) is None
    registry.rule("GET", "/referrers/", status(403))
    with pytest.raises(AccessDenied):
        found.referrers(IMAGE.digest)


# Which server


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        made.add(IMAGE, "team/app", "1.0")
        yield made


class Mirrored:
    """The registry and its mirror; `events` are those of mirrors that failed."""

    def __init__(self, tmp_path: Path, registry: FakeRegistry, *mirrors: str) -> None:
        path = tmp_path / "registries.toml"
        quoted = ", ".join(f'"{each}"' for each in mirrors)
        path.write_text(
            f'[registry."{registry.host}"]\nmirrors = [{quoted}]\n[network]\nretries = 2\nconnect_timeout = 5\n'
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("UNDERLAY_REGISTRIES", str(path))
            settings = Settings.load()
        self.events: list[Event] = []
        self.known = asking.Known(
            {registry.host: Credential("alice", "a"), mirrors[0].partition("://")[2]: Credential("bob", "b")}
        )
        self.registries = Registries(self.events.append, settings, self.known)
        self.repository = Repository(self.registries, registry.host, "team/app")


def test_mirrors_come_first(tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry) -> None:
    found = Mirrored(tmp_path, registry, mirror.url)
    assert found.repository.manifest("1.0").data == IMAGE.manifest
    assert found.repository.document(CONFIG, 1 << 20, "it") == IMAGE.config
    assert registry.asked() == [] and len(mirror.asked()) == 2 and found.events == []


@pytest.mark.parametrize("name", [IMAGE.digest, "1.0"], ids=["digest", "tag"])
@pytest.mark.parametrize(
    "action",
    {
        **{str(code): status(code) for code in (401, 403, 404, 500)},
        "wrong": flipped(20),
        "html": body(b"<html>"),
        "ended": hang_up(),
        "endless": endless(),
        "lost": redirect("ftp://x"),
        "another kind": with_headers({"Content-Type": INDEX[False]}),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_a_mirror_that_fails(
    tmp_path: Path,
    registry: FakeRegistry,
    mirror: FakeRegistry,
    pauses: list[float],
    action: tuple[str, Action],
    name: str,
) -> None:
    mirror.rule("GET", "/manifests/", action[1])
    found = Mirrored(tmp_path, registry, mirror.url)
    assert found.repository.manifest(name).data == IMAGE.manifest
    told = [each for each in found.events if each.kind == "registry.mirror"]
    assert [each.subject for each in told] == [mirror.host] and told[0].attributes["reason"]


def test_a_mirror_that_is_not_there(tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry) -> None:
    mirror.close()
    found = Mirrored(tmp_path, registry, f"http://{mirror.host}", mirror.host)
    assert found.repository.manifest("1.0").data == IMAGE.manifest
    # That TLS was tried first, where it may be done without, is not told.
    assert [each.subject for each in found.events] == [mirror.host] * 2
    # From now on the registry is asked first.
    assert found.repository.manifest("1.0").data == IMAGE.manifest
    assert len(found.events) == 2


def test_a_mirror_has_its_own_credential(tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry) -> None:
    for each in (registry, mirror):
        each.judge, each.challenge = (lambda said, _: False), "Basic"
    found = Mirrored(tmp_path, registry, mirror.url)
    with pytest.raises(AccessDenied):
        found.repository.manifest("1.0")
    assert [each.headers.get("authorization") for each in mirror.asked()] == [None, basic("bob", "b")]
    assert [each.headers.get("authorization") for each in registry.asked()] == [None, basic("alice", "a")]


def test_all_servers_fail(tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry) -> None:
    """The registry's own word is told."""
    mirror.rule("GET", "/manifests/", status(403))
    found = Mirrored(tmp_path, registry, mirror.url)
    with pytest.raises(NotFound, match="manifest unknown"):
        found.repository.manifest("2.0")
    registry.close()
    with pytest.raises(Unreachable, match="connection refused") as caught:
        Mirrored(tmp_path, registry, mirror.url).repository.manifest("1.0")
    assert caught.value.message.startswith(f"http://{registry.host}") and caught.value.hint


def test_a_digest_decides_whether_a_mirror_is_believed(
    tmp_path: Path, registry: FakeRegistry, mirror: FakeRegistry
) -> None:
    mirror.add(image(cmd=["/other"]), "team/app", "1.0")
    mirror.repository("team/app").documents[IMAGE.digest] = (IMAGE.media_type, image(cmd=["/other"]).manifest)
    found = Mirrored(tmp_path, registry, mirror.url)
    assert found.repository.manifest(IMAGE.digest).data == IMAGE.manifest


def test_blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "registries.toml"
    path.write_text('[registry."gone.test"]\nblocked = true\n')
    monkeypatch.setenv("UNDERLAY_REGISTRIES", str(path))
    found = Registries(credentials=asking.Known())
    with pytest.raises(Conflict, match=r"registry gone\.test is blocked by"):
        found.repository(parse("gone.test/a")).manifest("1")


def test_no_credential_is_looked_up_for_another_name() -> None:
    def say(sent: Sent) -> Page:
        return 401, {"www-authenticate": "Basic"}, b""

    found = asking.registries({"registry.test": Credential("a", "b")})
    found.transport = Net(say)
    with pytest.raises(AccessDenied):
        Repository(found, "registry.test:5000", "a").manifest("1")
    assert isinstance(found.credentials, asking.Known)
    assert found.credentials.looked_up == ["registry.test:5000"]
