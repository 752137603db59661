"""Which servers stand for a registry and how they are reached: mirrors, locations, blocks, proxies, certificates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import image_tar, needs_root
from fakeregistry import FakeRegistry
from faults import altered, body, cut_after, flipped, hang_up, redirect, stall_after, status, with_headers
from registries import Certificate, DockerRegistry, basic, plain_proxy
from remoteimages import Image
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"
PASSWORD = "secret-of-alice-9152"
USERS = {"alice": PASSWORD}
QUICK = "[network]\nretries = 2\nstall_timeout = 2\nconnect_timeout = 2\n"


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    with FakeRegistry() as mirror:
        yield mirror


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), ("IP:127.0.0.1", "DNS:registry.test"))


def table(name: str, **members: object) -> str:
    """A table of registries.toml."""
    words = {True: "true", False: "false"}
    lines = [f"{key} = {words[value] if isinstance(value, bool) else repr(value)}" for key, value in members.items()]
    return "\n".join([f'[registry."{name}"]', *lines, ""])


# Mirrors
# ---------------------------------------------------------------------------------------------------------


def test_a_mirror_is_asked_first(visitor: Visitor, registry: FakeRegistry, mirror: FakeRegistry, made: Image) -> None:
    visitor.settings(table(registry.host, mirrors=[f"{mirror.host}/cache"]))
    name = registry.add(made, TEAM, "1.0")
    mirror.add(made, f"cache/{TEAM}", "1.0")
    visitor("pull", name)
    assert len(mirror.requests) == 2 + len(made.layers) and registry.requests == []
    assert visitor.out("inspect", "-f", "{{.RepoTags}} {{.RepoDigests}}", name) == (
        f"[{name}] [{registry.host}/{TEAM}@{made.digest}]"
    )
    visitor("pull", name)
    assert registry.requests == []
    # Never written to.
    mirror.forget()
    other = f"{registry.host}/team/other:1"
    visitor("tag", name, other)
    visitor("push", other)
    assert mirror.requests == []
    assert registry.repositories["team/other"].tags.keys() == {"1"}
    assert visitor.out("manifest", "inspect", "--raw", other) and mirror.requests


@pytest.mark.parametrize(
    "fault", ["gone", "lacks it", "500", "401", "403", "429", "hangs up", "stalls", "wrong manifest", "nonsense", "old"]
)
def test_a_broken_mirror_is_passed_over(
    visitor: Visitor, registry: FakeRegistry, mirror: FakeRegistry, made: Image, fault: str
) -> None:
    settings = QUICK.replace("stall_timeout = 2", "stall_timeout = 1") if fault == "stalls" else QUICK
    visitor.settings(table(registry.host, mirrors=[f"http://{mirror.host}"]) + settings)
    name = registry.add(made, TEAM, "1.0")
    if fault != "lacks it":
        mirror.add(made, TEAM, "1.0")
    if fault == "gone":
        mirror.close()
    elif fault.isdecimal():
        mirror.rule("*", "", status(int(fault), {"Retry-After": "3600"} if fault == "429" else None))
    elif fault == "hangs up":
        mirror.rule("*", "", hang_up())
    elif fault == "stalls":
        mirror.rule("*", "", stall_after(0))
    elif fault == "wrong manifest":
        mirror.rule("GET", "/manifests/", flipped(5))
    elif fault == "nonsense":
        mirror.rule("GET", "/manifests/", altered(lambda data: b"<html>"))
        mirror.rule("GET", "/manifests/", with_headers({"Docker-Content-Digest": None, "Content-Type": "text/html"}))
    elif fault == "old":
        mirror.rule("GET", "/manifests/", altered(lambda data: b'{"schemaVersion":1}'))
        mirror.rule("GET", "/manifests/", with_headers({"Docker-Content-Digest": None}))
    out = visitor.out("pull", name)
    assert f"{mirror.host}: the mirror failed" in out
    assert len(registry.requests) == 2 + len(made.layers)
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id


@pytest.mark.parametrize(
    "fault",
    ["lacks a layer", "cuts", "cuts and cannot go on", "cuts always", "wrong bytes", "wrong size", "short", "nonsense"],
)
def test_a_mirror_that_fails_in_the_middle(
    visitor: Visitor, registry: FakeRegistry, mirror: FakeRegistry, made: Image, fault: str
) -> None:
    """The rest comes from the registry; what came from the mirror is not asked for again unless it was wrong.

    Nothing that was wrong is kept, and whoever gave it is told of.
    """
    visitor.settings(table(registry.host, mirrors=[mirror.host]) + QUICK)
    name = registry.add(made, TEAM, "1.0")
    mirror.add(made, TEAM, "1.0")
    big = made.layers[1]
    if fault == "lacks a layer":
        del mirror.repositories[TEAM].blobs[big]
    elif fault == "wrong bytes":
        mirror.rule("GET", big, flipped(100_000))
    elif fault == "wrong size":
        mirror.rule("GET", big, body(made.blobs[big] + b"1"))
    elif fault == "short":
        mirror.rule("GET", big, body(made.blobs[big][:200_000]))
    elif fault == "nonsense":
        mirror.rule("GET", big, body(b"x" * len(made.blobs[big])))
    elif fault == "cuts always":
        mirror.rule("GET", big, cut_after(1000))
    else:
        mirror.rule("GET", big, cut_after(200_000), times=1 if fault == "cuts" else None)
        if fault != "cuts":
            mirror.rule("GET", big, lambda it, _: "range" in it.asked.headers and not it.answer(503))
    out = visitor.out("pull", name)
    ranges = [each.headers.get("range", "").partition("-")[0] for each in registry.asked("GET", big)]
    assert ranges == {"cuts": [], "cuts and cannot go on": ["bytes=200000"], "cuts always": ["bytes=2000"]}.get(
        fault, [""]
    )
    assert out.count(f"{mirror.host}: the mirror failed, the next is asked: ") == (fault != "cuts")
    assert visitor.partials() == {}
    visitor("system", "check")
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id


def test_credentials_of_the_registry_are_not_for_the_mirror(visitor: Visitor, made: Image) -> None:
    with FakeRegistry(users=USERS) as registry, FakeRegistry(users={"bob": "mirror-secret-1"}) as mirror:
        visitor.settings(table(registry.host, mirrors=[mirror.host]))
        name = registry.add(made, TEAM, "1.0")
        mirror.add(made, TEAM, "1.0")
        visitor.credentials({registry.host: ("alice", PASSWORD)})
        visitor("pull", name)
        assert mirror.requests and registry.requests
        assert {each.headers.get("authorization") for each in mirror.requests} == {None}
        visitor("rmi", name)
        registry.forget()
        visitor.credentials({registry.host: ("alice", PASSWORD), mirror.host: ("bob", "mirror-secret-1")})
        visitor("pull", name)
        assert registry.requests == []
        assert {each.headers.get("authorization") for each in mirror.requests} == {
            None,
            basic("bob", "mirror-secret-1"),
        }


def test_a_real_mirror(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    """docker-registry as a pull-through cache of another."""
    with (
        DockerRegistry(tmp_path / "source") as source,
        DockerRegistry(tmp_path / "mirror", mirror_of=source.url) as mirror,
    ):
        name = source.add(made, TEAM, "1.0")
        visitor.settings(table(source.host, mirrors=[mirror.host]))
        visitor("pull", name)
        before = len(source.asked("GET", "/blobs/"))
        visitor("rmi", name)
        visitor("pull", name)
        assert mirror.asked("GET", made.layers[1]) and len(source.asked("GET", "/blobs/")) == before
        mirror.close()
        visitor("rmi", name)
        visitor("pull", name)


def test_docker_hub_elsewhere(visitor: Visitor, registry: FakeRegistry, mirror: FakeRegistry, made: Image) -> None:
    """Short names, with the location and the mirrors of docker.io; said as docker says it."""
    visitor.settings(table("docker.io", location=f"http://{registry.host}", mirrors=[f"{mirror.host}/hub"]))
    registry.add(made, "library/box", "latest")
    registry.add(made, TEAM, "1")
    mirror.add(made, "hub/library/box", "latest")
    out = visitor.out("pull", "box").splitlines()
    assert out[:2] == ["Using default tag: latest", "latest: Pulling from library/box"]
    assert out[-2:] == ["Status: Downloaded newer image for box:latest", "docker.io/library/box:latest"]
    assert registry.requests == [] and mirror.requests
    assert visitor.out("pull", f"{TEAM}:1").splitlines()[-1] == f"docker.io/{TEAM}:1"
    assert {each.path.split("/")[2] for each in registry.requests} == {"team"}
    by_digest = visitor.out("pull", f"box@{made.digest}").splitlines()
    assert by_digest[0] == f"docker.io/library/box@{made.digest}: Pulling from library/box"
    assert by_digest[-2:] == [
        f"Status: Image is up to date for box@{made.digest}",
        f"docker.io/library/box@{made.digest}",
    ]
    assert visitor.out("images", "--format", "{{.Repository}}:{{.Tag}}").split() in (
        ["box:latest", f"{TEAM}:1"],
        [f"{TEAM}:1", "box:latest"],
    )


def test_blocked(visitor: Visitor, registry: FakeRegistry, mirror: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    mirror.add(made, TEAM, "1.0")
    visitor("pull", name)
    visitor.settings(table(registry.host, blocked=True, mirrors=[mirror.host]))
    registry.forget()
    for words in (
        ["pull", name],
        ["pull", "-a", name.removesuffix(":1.0")],
        ["push", name],
        ["copy", name, f"{mirror.host}/x"],
        ["copy", f"{mirror.host}/{TEAM}:1.0", f"{registry.host}/x"],
        ["image", "inspect", "--remote", name],
        ["manifest", "inspect", name],
        ["search", f"{registry.host}/x"],
        ["login", "-u", "x", "--password-stdin", registry.host],
    ):
        done = visitor(*words, input=b"x", code=1)
        assert f"registry {registry.host} is blocked by {visitor.registries}" in done.stderr.decode(), words
    assert registry.requests == []
    # A mirror that is blocked is passed over.
    visitor("rmi", name)
    mirror.forget()
    visitor.settings(table(registry.host, mirrors=[mirror.host]) + table(mirror.host, blocked=True))
    visitor("pull", name)
    assert mirror.requests == [] and registry.requests


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[registry."x"]\nmirror = ["y"]\n', "unknown key"),
        ("[registry.x]\nblocked = 1\n", "expected true or false"),
        ('[registry."x"]\nmirrors = ["http://a:b@y"]\n', "is not an address"),
        ("[network]\nretries = 0\n", "expected a whole number"),
        ("[", "not TOML"),
    ],
)
def test_settings_that_are_wrong(visitor: Visitor, registry: FakeRegistry, text: str, said: str) -> None:
    visitor.settings(text)
    told = visitor.fails("pull", f"{registry.host}/{TEAM}")
    assert said in told and str(visitor.registries) in told
    assert registry.requests == []


# TLS
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def through(visitor: Visitor) -> Iterator[dict[str, str]]:
    """A proxy that leads to hosts by name, so that servers on loopback are strangers: name → where it really is."""
    with plain_proxy({}) as proxy:
        visitor.environment["HTTPS_PROXY"] = proxy.url
        yield proxy.hosts


def test_certificates(
    visitor: Visitor, through: dict[str, str], certificate: Certificate, tmp_path: Path, made: Image
) -> None:
    """Trusted only with the authority in certs.d, under the name that is in the certificate, and for this registry."""
    with FakeRegistry(certificate) as registry:
        registry.add(made, TEAM, "1.0")
        through |= {"registry.test:443": registry.host, "other.test:443": registry.host}
        through |= {"registry.test:5000": registry.host}
        name = f"registry.test/{TEAM}:1.0"
        assert "certificate is not trusted" in visitor.fails("pull", name)
        certificate.directory(visitor.certificates / "other.test")
        assert "certificate is not trusted" in visitor.fails("pull", name)
        said = visitor.fails("pull", f"other.test/{TEAM}:1.0")
        assert "other.test" in said and "certificate" in said
        assert registry.requests == []
        visitor.is_empty()
        certificate.directory(visitor.certificates / "registry.test")
        assert "certificate is not trusted" in visitor.fails("pull", f"registry.test:5000/{TEAM}:1.0")
        visitor("pull", name)
        assert visitor.out("inspect", "-f", "{{.RepoTags}}", made.id) == f"[{name}]"


def test_an_authority_for_this_host(visitor: Visitor, certificate: Certificate, tmp_path: Path, made: Image) -> None:
    """A registry on loopback is verified where an authority is configured for it, insecure or not, and plain HTTP is not
    tried in its place."""
    strange = Certificate(tmp_path / "strange")
    with FakeRegistry(certificate) as registry, FakeRegistry() as plain:
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)  # without an authority, as docker has it
        visitor("rmi", name)
        strange.directory(visitor.certificates / registry.host)
        for settings in ("", table(registry.host, insecure=True)):
            visitor.settings(settings)
            assert "certificate is not trusted" in visitor.fails("pull", name)
        visitor.settings("")
        strange.directory(visitor.certificates / plain.host)
        assert "it speaks plain HTTP, not TLS" in visitor.fails("pull", plain.add(made, TEAM, "1.0"))
        assert plain.requests == []
        certificate.directory(visitor.certificates / registry.host)
        visitor("pull", name)


def test_insecurity_is_not_handed_on_by_a_redirect(
    visitor: Visitor, through: dict[str, str], certificate: Certificate, made: Image
) -> None:
    with FakeRegistry(certificate) as registry, FakeRegistry(certificate) as other:
        through |= {"strange.test:443": registry.host, "other.test:443": other.host}
        visitor.settings(table("strange.test", insecure=True))
        registry.add(made, TEAM, "1.0")
        other.add(made, TEAM, "1.0")
        registry.rule("GET", "/blobs/", redirect(lambda it: f"https://other.test{it.asked.target}"))
        assert "other.test" in visitor.fails("pull", f"strange.test/{TEAM}:1.0")
        assert other.requests == []
        visitor.settings(table("strange.test", insecure=True) + table("other.test", insecure=True))
        visitor("pull", f"strange.test/{TEAM}:1.0")
        assert other.requests


def test_a_client_certificate(visitor: Visitor, through: dict[str, str], tmp_path: Path, made: Image) -> None:
    mutual = Certificate(tmp_path / "tls", ("IP:127.0.0.1", "DNS:registry.test"), mutual=True)
    place = mutual.directory(visitor.certificates / "registry.test")
    with FakeRegistry(mutual) as registry:
        registry.add(made, TEAM, "1.0")
        through["registry.test:443"] = registry.host
        name = f"registry.test/{TEAM}:1.0"
        visitor("pull", name)
        visitor("rmi", name)
        (place / "client.key").rename(place / "kept")
        assert "client.key is missing" in visitor.fails("pull", name)
        (place / "client.cert").unlink()
        said = visitor.fails("pull", name)
        assert "the server demands a client certificate" in said and "certs.d" in said and "ssl" not in said.lower()
        (place / "client.cert").write_text("nonsense")
        (place / "client.key").write_text("nonsense")
        assert "no pair of certificate and key" in visitor.fails("pull", name)
        visitor.is_empty()


def test_insecure_is_said_of_one_registry(
    visitor: Visitor, through: dict[str, str], certificate: Certificate, made: Image
) -> None:
    with FakeRegistry(certificate) as registry:
        registry.add(made, TEAM, "1.0")
        through |= {f"{name}.test:443": registry.host for name in ("strange", "other", "cdn")}
        visitor.settings(table("strange.test", insecure=True))
        done = visitor("pull", f"strange.test/{TEAM}:1.0")
        assert done.stderr == b""
        visitor.fails("pull", f"other.test/{TEAM}:1.0")
        # Being the mirror of an insecure registry is not enough.
        visitor.settings(table("strange.test", insecure=True, mirrors=["other.test"]) + QUICK)
        visitor("rmi", f"strange.test/{TEAM}:1.0")
        out = visitor.out("pull", f"strange.test/{TEAM}:1.0")
        assert "other.test: the mirror failed" in out and "certificate is not trusted" in out


def test_tls_on_this_host_needs_no_certificate(visitor: Visitor, certificate: Certificate, made: Image) -> None:
    """As docker has it; and nobody is warned of it each time."""
    with FakeRegistry(certificate) as registry:
        done = visitor("pull", registry.add(made, TEAM, "1.0"))
        assert done.stderr == b"" and len(registry.requests) == 2 + len(made.layers)


def test_a_client_certificate_on_this_host(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    """A registry that demands one speaks TLS: it is not asked without, which would hide the reason."""
    mutual = Certificate(tmp_path / "tls", ("IP:127.0.0.1",), mutual=True)
    with FakeRegistry(mutual) as registry:
        name = registry.add(made, TEAM, "1.0")
        assert "the server demands a client certificate" in visitor.fails("pull", name)
        visitor("import", "-", name, input=image_tar())
        assert "the server demands a client certificate" in visitor.fails("push", name)
        mutual.directory(visitor.certificates / registry.host)
        visitor("push", name)


def test_plain_http_where_tls_is_expected(
    visitor: Visitor, through: dict[str, str], registry: FakeRegistry, made: Image
) -> None:
    registry.add(made, TEAM, "1.0")
    through["registry.test:443"] = registry.host
    said = visitor.fails("pull", f"registry.test/{TEAM}:1.0")
    assert "it speaks plain HTTP, not TLS" in said and "insecure" in said and "version" not in said.lower()


def test_a_public_registry_is_not_asked_without_tls(
    visitor: Visitor, through: dict[str, str], registry: FakeRegistry, made: Image
) -> None:
    registry.add(made, TEAM, "1.0")
    visitor.environment["HTTP_PROXY"] = visitor.environment["HTTPS_PROXY"]
    through |= {"registry.test:443": registry.host, "registry.test:80": registry.host}
    visitor.fails("pull", f"registry.test/{TEAM}:1.0")
    assert registry.requests == []
    visitor.settings(table("registry.test", insecure=True))
    visitor("pull", f"registry.test/{TEAM}:1.0")


# Proxies
# ---------------------------------------------------------------------------------------------------------


def test_proxies(visitor: Visitor, certificate: Certificate, registry: FakeRegistry, made: Image) -> None:
    with FakeRegistry(certificate) as secure:
        hosts = {"registry.test:443": secure.host, "plain.test:80": registry.host, "no.test:443": secure.host}
        with plain_proxy(hosts, {"eve": "proxy:secret"}) as proxy:
            visitor.secrets += ["proxy%3Asecret", "proxy:secret", basic("eve", "proxy:secret")[6:]]
            url = f"http://eve:proxy%3Asecret@{proxy.host}"
            visitor.environment |= {"HTTPS_PROXY": url, "http_proxy": url, "NO_PROXY": "no.test,10.0.0.0/8"}
            certificate.directory(visitor.certificates / "registry.test")
            visitor.settings(table("plain.test", location="http://plain.test") + QUICK)
            for each in (secure, registry):
                each.add(made, TEAM, "1.0")
            visitor("pull", f"registry.test/{TEAM}:1.0")
            assert set(proxy.forwarded) == {"registry.test:443"} and secure.requests
            visitor("rmi", made.id)
            visitor("pull", f"plain.test/{TEAM}:1.0")
            assert proxy.forwarded[-1] == "plain.test:80" and registry.requests
            assert all("proxy-authorization" not in each.headers for each in secure.requests)
            before = list(proxy.forwarded)
            visitor.fails("pull", f"no.test/{TEAM}:1.0")
            # This host is asked directly.
            visitor("pull", f"{registry.host}/{TEAM}:1.0")
            assert proxy.forwarded == before
            visitor.environment["HTTPS_PROXY"] = f"http://eve:wrong-secret@{proxy.host}"
            visitor.secrets.append("wrong-secret")
            assert "proxy" in visitor.fails("-D", "pull", f"registry.test/{TEAM}:2.0")
            visitor.environment["HTTPS_PROXY"] = "http://127.0.0.1:1"
            assert "proxy" in visitor.fails("pull", f"registry.test/{TEAM}:2.0")
            visitor.environment["HTTPS_PROXY"] = "telnet://eve:wrong-secret@x"
            assert "HTTPS_PROXY" in visitor.fails("pull", f"registry.test/{TEAM}:2.0")
