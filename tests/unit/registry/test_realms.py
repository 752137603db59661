"""Which token servers a registry may name, with a credential and without."""

from __future__ import annotations

from pathlib import Path

import pytest

import asking
from asking import Net, Page, Sent
from underlay.errors import InvalidInput, RegistryError
from underlay.registry import realms
from underlay.registry.credentials import Credential
from underlay.registry.hosts import Endpoint, Settings, endpoint_of

ALICE = Credential("alice", "s3cr3t")


@pytest.mark.parametrize(
    ("registry", "server", "near"),
    [
        ("registry.example.com", "auth.example.com", True),
        ("registry.example.com", "example.com", True),
        ("registry.example.com", "a.b.example.com", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry.eu.example.co.uk", "auth.eu.example.co.uk", True),
        ("docker.elastic.co", "docker-auth.elastic.co", True),
        ("example.com", "auth.example.com", True),
        ("example.com", "evil.com", False),
        ("example.com", "com", False),
        ("registry.example.com", "notexample.com", False),
        ("registry.example.com", "example.com.evil.org", False),
        ("registry.co.uk", "evil.co.uk", False),
        ("registry.com.br", "evil.com.br", False),
        ("registry.gouv.fr", "evil.gouv.fr", False),
        ("mine.azurecr.io", "yours.azurecr.io", False),
        ("1.dkr.ecr.eu-west-1.amazonaws.com", "2.dkr.ecr.eu-west-1.amazonaws.com", False),
        ("registry", "auth.registry", False),
        ("registry.lan", "auth.lan", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("1.0.0.1", "2.0.0.1", False),
        ("fd00::1", "fd00::2", False),
        ("registry.0.0.1", "10.0.0.1", False),
    ],
)
def test_names_that_have_one_owner(registry: str, server: str, near: bool) -> None:
    assert realms.is_of_one_owner(registry, server) is near


@pytest.mark.parametrize(
    ("registry", "realm", "secret", "anonymous"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token", "", ""),
        ("https://registry.redhat.io", "https://sso.redhat.com/auth", "", ""),
        ("https://ghcr.io", "https://ghcr.io/token", "", ""),
        ("https://gitlab.example.com:5050", "https://gitlab.example.com/jwt/auth", "", ""),
        ("https://r.example.com", "https://tokens.example.org/t", "of another owner", ""),
        ("https://r.example.com", "https://10.1.2.3/t", "of another owner", "inside a private network"),
        ("https://r.example.com", "https://100.64.0.1/t", "of another owner", "inside a private network"),
        ("https://r.example.com", "https://[fd00::1]/t", "of another owner", "inside a private network"),
        ("https://r.example.com", "https://127.0.0.1/t", "inside this host", "inside this host"),
        ("https://10.0.0.1:5000", "https://10.0.0.1:5001/t", "", ""),
        ("https://10.0.0.1:5000", "https://192.168.0.1/t", "of another owner", ""),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/t", "", ""),
        ("http://127.0.0.1:5000", "http://127.0.0.1:6000/t", "on another port of this host", ""),
        ("http://127.0.0.1:5000", "https://169.254.169.254/t", "inside this host", "inside this host"),
        ("http://127.0.0.1:5000", "https://10.0.0.1/t", "of another owner", "inside a private network"),
        ("http://10.0.0.1:5000", "http://10.0.0.1:80/t", "without TLS, which is not declared insecure", ""),
        (
            "http://r.example.com",
            "http://auth.example.com/t",
            "without TLS, which is not declared insecure",
            "without TLS on another host",
        ),
    ],
)
def test_refusals(registry: str, realm: str, secret: str, anonymous: str) -> None:
    asked = endpoint_of(registry)
    asked.insecure = asked.scheme == "http"
    server = Settings().endpoint_of(realm, asked)
    assert realms.refusal(asked, server, True) == secret
    assert realms.refusal(asked, server, False) == anonymous


def test_what_the_user_names_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "registries.toml"
    monkeypatch.setenv("UNDERLAY_REGISTRIES", str(path))
    path.write_text(
        '[registry."r.example.com"]\ntoken_servers = ["tokens.example.org", "http://10.0.0.1:81"]\n'
        '[registry."mirror.test"]\ntoken_servers = ["m.example.org"]\n'
        '[registry."other.test"]\nlocation = "r.example.com"\nmirrors = ["mirror.test"]\n'
    )
    settings = Settings.load()
    for domain in ("r.example.com", "other.test"):
        [*_, registry] = settings.plan(domain).endpoints
        for url in ("https://tokens.example.org/t", "http://10.0.0.1:81/t"):
            assert realms.refusal(registry, settings.endpoint_of(url, registry), True) == ""
        for url in ("http://tokens.example.org/t", "https://tokens.example.org:8443/t", "https://m.example.org/t"):
            assert realms.refusal(registry, settings.endpoint_of(url, registry), True) != ""
    [mirror, _] = settings.plan("other.test").endpoints
    assert realms.refusal(mirror, Endpoint("https", "m.example.org"), True) == ""
    path.write_text('[registry."r.example.com"]\ntoken_servers = ["https://tokens.example.org/path"]\n')
    with pytest.raises(InvalidInput, match="a token server has no path"):
        Settings.load()


def on_this_host(realm: str) -> Net:
    """A registry at localhost:5000 that names a token server, which gives a token."""

    def say(sent: Sent) -> Page:
        if sent.url.startswith(realm):
            return 200, {}, b'{"token":"t"}'
        return (
            (200, {}, b"")
            if sent.headers.get("authorization")
            else (401, {"www-authenticate": f'Bearer realm="{realm}"'}, b"")
        )

    return Net(say)


def test_a_registry_on_this_host_may_have_its_token_server_here() -> None:
    for realm in ("http://127.0.0.1:7/t", "http://localhost:7/t", "https://127.0.0.1:7/t"):
        assert asking.at(Endpoint("http", "localhost", 5000), on_this_host(realm)).ask("GET", "/v2/", ()).status == 200


@pytest.mark.parametrize("realm", ["http://localhost:7/t", "http://127.0.0.1:5000/t", "https://10.0.0.7/t"])
@pytest.mark.parametrize("credential", [ALICE, Credential("alice", identity_token="s3cr3t")])
def test_a_credential_does_not_leave_the_port_of_this_host(realm: str, credential: Credential) -> None:
    """Any user of this host may open another port, and anyone may write the header of a line without TLS."""
    net = on_this_host(realm)
    with pytest.raises(RegistryError, match="names a token server"):
        asking.at(Endpoint("http", "localhost", 5000, insecure=True), net, credential).ask("GET", "/v2/", ())
    assert len(net.sent) == 1
    allowed = Endpoint("http", "localhost", 5000, insecure=True)
    allowed.token_servers = frozenset((endpoint_of(realm).origin,))
    assert asking.at(allowed, on_this_host(realm), credential).ask("GET", "/v2/", ()).status == 200
