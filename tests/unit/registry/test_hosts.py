"""Where registries are reached: settings, plans, names, certificates, and addresses that are this host's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from underlay.errors import Conflict, InvalidInput, KernelError, LimitExceeded
from underlay.registry import hosts
from underlay.registry.hosts import Endpoint, Settings

Load = Callable[[str], Settings]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no settings but those that a test makes."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "xdg"))
    monkeypatch.setenv("UNDERLAY_CERTS_D", str(tmp_path / "certs.d"))
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/dev/null")
    return home


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """A function that writes a file of settings and loads it."""

    def write(text: str) -> Settings:
        path = tmp_path / "registries.toml"
        path.write_text(text)
        monkeypatch.setenv("UNDERLAY_REGISTRIES", str(path))
        return Settings.load()

    return write


def ways(endpoints: list[Endpoint]) -> list[str]:
    """The endpoints in short: URL of the server, prefix, `!` when certificates are not verified, `m` for a mirror."""
    return [f"{e.root}{e.prefix}{'!' if e.insecure else ''}{' m' if e.mirror else ''}" for e in endpoints]


# Plans


@pytest.mark.parametrize(
    ("domain", "name", "wanted"),
    [
        ("docker.io", "docker.io", ["https://registry-1.docker.io"]),
        ("index.docker.io", "docker.io", ["https://registry-1.docker.io"]),
        ("Example.com", "example.com", ["https://example.com"]),
        ("example.com:443", "example.com:443", ["https://example.com"]),
        ("example.com:80", "example.com:80", ["https://example.com:80"]),
        ("example.com:5000", "example.com:5000", ["https://example.com:5000"]),
        ("192.168.0.1", "192.168.0.1", ["https://192.168.0.1"]),
        ("localhost", "localhost", ["https://localhost!", "http://localhost!"]),
        ("localhost:5000", "localhost:5000", ["https://localhost:5000!", "http://localhost:5000!"]),
        ("127.1.2.3:5000", "127.1.2.3:5000", ["https://127.1.2.3:5000!", "http://127.1.2.3:5000!"]),
        ("[::1]:5000", "[::1]:5000", ["https://[::1]:5000!", "http://[::1]:5000!"]),
        ("localhost.example.com", "localhost.example.com", ["https://localhost.example.com"]),
    ],
)
def test_without_settings(domain: str, name: str, wanted: list[str]) -> None:
    plan = Settings.load().plan(domain)
    assert plan.domain == name
    assert ways(plan.endpoints) == ways(plan.push) == wanted


@pytest.mark.parametrize(
    "domain", ["", "a/b", "../x", "..", "a..b", "a b", "x:y", "x:0", "x:65536", "x:", "u@h", "é.com"]
)
def test_what_is_no_registry(domain: str) -> None:
    with pytest.raises(InvalidInput):
        Settings().plan(domain)


def test_mirrors_are_read_first_and_never_written(written: Load) -> None:
    settings = written(
        """
        [registry."docker.io"]
        mirrors = [
            "mirror.example.com", "http://10.0.0.5:5000", "HTTPS://harbor.example.com/proxy-docker/", "localhost:5000",
            "https://localhost:5001", "loose.example.com", "closed.example.com", "http://[fd00::5]:80/a/b.c",
        ]
        [registry."loose.example.com"]
        insecure = true
        [registry."closed.example.com"]
        blocked = true
        """
    )
    plan = settings.plan("docker.io")
    assert ways(plan.endpoints) == [
        "https://mirror.example.com m",
        "http://10.0.0.5:5000 m",
        "https://harbor.example.com/proxy-docker m",
        "https://localhost:5000! m",
        "http://localhost:5000! m",
        "https://localhost:5001! m",
        "https://loose.example.com! m",
        "http://loose.example.com! m",
        "http://[fd00::5]/a/b.c m",
        "https://registry-1.docker.io",
    ]
    assert ways(plan.push) == ["https://registry-1.docker.io"]
    assert plan.endpoints[3].port == 5000 and plan.endpoints[8].host == "fd00::5" and plan.endpoints[8].port == 80
    assert ways(settings.plan("example.com").endpoints) == ["https://example.com"]


def test_insecure_and_location(written: Load) -> None:
    settings = written(
        """
        [registry."a.example.com"]
        insecure = true
        [registry."b.example.com:5000"]
        location = "http://10.0.0.1"
        [registry."c.example.com"]
        location = "a.example.com"
        [registry."d.example.com"]
        location = "https://inner.example.com:8443/team"
        insecure = true
        [registry."e.example.com"]
        location = "docker.io"
        [registry."docker.io"]
        location = "hub.example.com"
        """
    )
    assert ways(settings.plan("a.example.com").push) == ["https://a.example.com!", "http://a.example.com!"]
    assert ways(settings.plan("a.example.com:5000").push) == ["https://a.example.com:5000"]
    assert ways(settings.plan("b.example.com:5000").push) == ["http://10.0.0.1"]
    assert ways(settings.plan("c.example.com").push) == ["https://a.example.com!", "http://a.example.com!"]
    assert ways(settings.plan("d.example.com").push) == ["https://inner.example.com:8443/team!"]
    assert ways(settings.plan("e.example.com").push) == ["https://registry-1.docker.io"]
    assert ways(settings.plan("registry-1.docker.io").push) == ["https://hub.example.com"]


def test_patterns(written: Load) -> None:
    settings = written(
        """
        [registry."*.example.com"]
        location = "one"
        [registry."*.corp.example.com"]
        location = "two"
        [registry."x.corp.example.com"]
        location = "three"
        [registry."*.corp.example.com:5000"]
        location = "four"
        """
    )
    wanted = {
        "a.example.com": "one",
        "corp.example.com": "one",
        "A.Corp.example.com": "two",
        "a.b.corp.example.com": "two",
        "x.corp.example.com": "three",
        "x.corp.example.com:5000": "four",
        "example.com": "example.com",
        "a.example.com:5000": "a.example.com:5000",
        "badexample.com": "badexample.com",
    }
    assert {domain: settings.plan(domain).push[0].authority for domain in wanted} == wanted


def test_insecure_for_once(written: Load) -> None:
    settings = written('[registry."*.example.com"]\nmirrors = ["m"]\n')
    settings.allow_insecure("A.example.com")
    assert ways(settings.plan("a.example.com").endpoints) == [
        "https://m m",
        "https://a.example.com!",
        "http://a.example.com!",
    ]
    assert ways(settings.plan("b.example.com").push) == ["https://b.example.com"]
    settings.allow_insecure("docker.io")
    assert settings.plan("index.docker.io").push[0].insecure
    assert ways(written("").plan("docker.io").push) == ["https://registry-1.docker.io"]


def test_where_docker_hub_is_searched(written: Load) -> None:
    assert ways([Settings().hub_endpoint("index.docker.io")]) == ["https://index.docker.io"]
    settings = written('[registry."docker.io"]\nlocation = "http://hub.example.com"\n')
    assert ways([settings.hub_endpoint("index.docker.io")]) == ["http://hub.example.com"]


def test_blocked(written: Load, tmp_path: Path) -> None:
    settings = written(
        """
        [registry."docker.io"]
        blocked = true
        mirrors = ["mirror.example.com"]
        [registry."*.bad.example.com"]
        blocked = true
        [registry."way.example.com"]
        location = "http://in.bad.example.com"
        """
    )
    for domain in ("docker.io", "index.docker.io", "x.bad.example.com", "way.example.com"):
        with pytest.raises(Conflict, match=f"registry .* is blocked by {tmp_path}/registries.toml"):
            settings.plan(domain)
    assert settings.plan("bad.example.com").push


# Files


def test_later_files_replace_a_registrys_table(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERLAY_REGISTRIES")
    mine = home / "xdg/underlay/registries.toml"
    assert hosts.settings_files() == ["/etc/underlay/registries.toml", str(mine)]
    common = tmp_path / "common.toml"
    monkeypatch.setattr(hosts, "settings_files", lambda: [str(common), str(mine)])
    assert ways(Settings.load().plan("docker.io").push) == ["https://registry-1.docker.io"]
    common.write_text(
        '[registry."a"]\ninsecure = true\nmirrors = ["m"]\n[registry."b"]\ninsecure = true\n'
        "[network]\nretries = 2\nparallel_layers = 8\n"
    )
    mine.parent.mkdir(parents=True)
    mine.write_text('[registry."A"]\nmirrors = ["n"]\n[network]\nretries = 3\nstall_timeout = 2\n')
    settings = Settings.load()
    assert ways(settings.plan("a").endpoints) == ["https://n m", "https://a"]
    assert ways(settings.plan("b").endpoints) == ["https://b!", "http://b!"]
    network = settings.network
    assert (network.retries, network.parallel_layers, network.stall_timeout, network.connect_timeout) == (
        3,
        8,
        2.0,
        15.0,
    )


def test_what_holds_without_settings() -> None:
    network = Settings.load().network
    assert (network.connect_timeout, network.stall_timeout) == (15.0, 30.0)
    assert (network.parallel_layers, network.retries) == (4, 5)


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/no/such/file.toml")
    with pytest.raises(KernelError, match=r"/no/such/file.toml"):
        Settings.load()


def test_a_file_that_cannot_be_read(written: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERLAY_REGISTRIES", str(tmp_path))
    with pytest.raises(KernelError):
        Settings.load()
    with pytest.raises(LimitExceeded):
        written("#" * (1 << 20) + "#")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("x", "not TOML", ""),
        ("[a]\n[a]\n", "not TOML", ""),
        ("x = " + "[" * 50_000, "not TOML", ""),
        ("[registries]\n", "registries: unknown table", "known are registry, network"),
        ("registry = 5\n", "registry: expected a table", ""),
        ("network = []\n", "network: expected a table", ""),
        ('registry."a" = 5\n', 'registry."a": expected a table', ""),
        (
            '[registry."a"]\nmirror = []\n',
            '[registry."a"] mirror: unknown key',
            "known are mirrors, insecure, blocked, loc",
        ),
        ("[registry.docker.io]\nblocked = true\n", '[registry."docker"] io: unknown key', "a name goes in quotes"),
        ('[registry."a"]\ninsecure = 1\n', '[registry."a"] insecure: expected true or false', ""),
        ('[registry."a"]\nblocked = "true"\n', '[registry."a"] blocked: expected true or false', ""),
        ('[registry."a"]\nmirrors = "m"\n', '[registry."a"] mirrors: expected a list of addresses', ""),
        ('[registry."a"]\nmirrors = [5]\n', '[registry."a"] mirrors: expected an address', "write HOST"),
        ('[registry."a"]\nlocation = 5\n', '[registry."a"] location: expected an address', "write HOST"),
        ('[registry."a"]\nlocation = "ftp://b"\n', "ftp://b is not an address", "write HOST"),
        ('[registry."a"]\nlocation = "://b"\n', "://b is not an address", "write HOST"),
        ('[registry."a"]\nlocation = ""\n', "is not an address", "write HOST"),
        ('[registry."a"]\nlocation = "b/../c"\n', "is not an address", "write HOST"),
        ('[registry."a"]\nlocation = "b//c"\n', "is not an address", "write HOST"),
        ('[registry."a"]\nlocation = "b/c?d"\n', "is not an address", "write HOST"),
        ('[registry."a"]\nlocation = "b/C"\n', "is not an address", "write HOST"),
        (
            '[registry."a"]\nmirrors = ["https://u:s3cr3t@b"]\n',
            "an address with a user in it is not an address",
            "write",
        ),
        ('[registry."a/b"]\n', '[registry."a/b"]: not the name of a registry', "*.DOMAIN"),
        ('[registry."*"]\n', "not the name of a registry", "*.DOMAIN"),
        ('[registry."a.*.b"]\n', "not the name of a registry", "*.DOMAIN"),
        ('[registry."https://a"]\n', "not the name of a registry", "*.DOMAIN"),
        ('[registry."docker.io"]\n[registry."index.docker.io"]\n', "docker.io has a table already", ""),
        ("[network]\ntimeout = 5\n", "[network] timeout: unknown key", "known are connect_timeout, stall_timeout"),
        ("[network]\nretries = 0\n", "[network] retries: expected a whole number from 1 to 100", ""),
        ("[network]\nretries = 2.0\n", "[network] retries: expected a whole number", ""),
        ("[network]\nparallel_layers = true\n", "[network] parallel_layers: expected a whole number from 1 to 64", ""),
        (
            "[network]\nstall_timeout = nan\n",
            "[network] stall_timeout: expected a number of seconds from 0.1 to 3600",
            "",
        ),
        ("[network]\nstall_timeout = inf\n", "[network] stall_timeout: expected a number", ""),
        ('[network]\nconnect_timeout = "5s"\n', "[network] connect_timeout: expected a number", ""),
        ("[network]\nconnect_timeout = -1\n", "[network] connect_timeout: expected a number", ""),
    ],
)
def test_what_is_wrong_in_a_file(written: Load, tmp_path: Path, text: str, said: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        written(text)
    error = caught.value
    assert error.message.startswith(f"{tmp_path}/registries.toml: ") and said in error.message and hint in error.hint
    assert "s3cr3t" not in error.message + error.hint


def test_bytes_that_are_not_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.toml").write_bytes(b"\xff")
    monkeypatch.setenv("UNDERLAY_REGISTRIES", str(tmp_path / "r.toml"))
    with pytest.raises(InvalidInput, match="not TOML"):
        Settings.load()


# Endpoints


def test_urls() -> None:
    end = Endpoint("https", "harbor.example.com", prefix="/proxy-docker")
    path = "/v2/library/alpine/manifests/latest"
    assert end.url(path) == "https://harbor.example.com/v2/proxy-docker/library/alpine/manifests/latest"
    assert end.local("/v2/proxy-docker/library/alpine/tags/list?last=x") == "/v2/library/alpine/tags/list?last=x"
    assert end.local("/v2/proxy-dockers/x") == "/v2/proxy-dockers/x"
    for path in ("/v2/", "/v2", "/v2/_catalog?n=5", "/v2/?x", "/service/token", "", "/"):
        assert end.url(path) == "https://harbor.example.com" + path and end.local(path) == path
    plain = Endpoint("http", "::1", 5000)
    assert plain.url("/v2/a/b") == "http://[::1]:5000/v2/a/b" and plain.local("/v2/a/b") == "/v2/a/b"
    assert plain.origin == ("http", "::1", 5000) and plain.authority == "[::1]:5000"
    assert Endpoint("http", "h", 443).authority == "h:443" and Endpoint("https", "h", 443).authority == "h"


def test_endpoints_that_are_alike_are_equal() -> None:
    one, other = Endpoint("https", "h"), Endpoint("https", "h", 443)
    assert one == other and hash(one) == hash(other) and len({one, other}) == 1
    different = [
        Endpoint("http", "h"),
        Endpoint("https", "h", 444),
        Endpoint("https", "h", prefix="/p"),
        Endpoint("https", "h", insecure=True),
        Endpoint("https", "h", mirror=True),
    ]
    assert len({one, *different}) == 6 and one != "h"
    assert repr(different[-1]) == "<Endpoint https://h mirror>"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://auth.docker.io/token", ("https", "auth.docker.io", 443)),
        ("HTTP://Example.COM:5000?x=http://evil", ("http", "example.com", 5000)),
        ("https://[::1]#x", ("https", "::1", 443)),
        ("https://my_bucket.s3.amazonaws.com/a b".replace(" ", "%20"), ("https", "my_bucket.s3.amazonaws.com", 443)),
    ],
)
def test_servers_of_urls(url: str, wanted: tuple[str, str, int]) -> None:
    server = hosts.endpoint_of(url)
    assert server.origin == wanted and server.prefix == "" and not server.insecure and not server.mirror


def test_insecurity_is_of_one_host_and_port(written: Load) -> None:
    """A registry that is insecure leads to another server: that one is verified, unless it is declared insecure itself."""
    settings = written('[registry."loose.test"]\ninsecure = true\n[registry."loose.test:81"]\ninsecure = true\n')
    [asked, plain] = settings.plan("loose.test").push
    for url, insecure in (
        ("https://loose.test/x", True),
        ("https://loose.test:443/x", True),
        ("http://loose.test/x", True),
        ("https://loose.test:8443/x", False),
        ("https://loose.test:81/x", True),
        ("https://other.test/x", False),
        ("https://sub.loose.test/x", False),
        ("https://127.0.0.1:7/x", True),
    ):
        assert settings.endpoint_of(url, asked).insecure is insecure, url
        assert settings.endpoint_of(url, plain).insecure is insecure, url


def test_an_authority_for_this_host_means_tls(tmp_path: Path, written: Load) -> None:
    settings = written('[registry."localhost:5001"]\ninsecure = true\n')
    for name in ("localhost:5000", "localhost:5001"):
        (tmp_path / "certs.d" / name).mkdir(parents=True)
        (tmp_path / "certs.d" / name / "ca.crt").write_text("")
    assert ways(settings.plan("localhost:5000").push) == ["https://localhost:5000!"]
    # Who declares it insecure as well may want plain HTTP.
    assert ways(settings.plan("localhost:5001").push) == ["https://localhost:5001!", "http://localhost:5001!"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v2/",
        "//host/",
        "ftp://host/",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://user:s3cr3t@host/",
        "https://host\\@evil/",
        "https://host\n/",
        "https://host/\r\nx",
        "https://ho st/",
        "https://host:99999/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://h\u2024com/",
        "https://host/a b",
    ],
)
def test_what_is_no_url_of_a_server(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        hosts.endpoint_of(url)
    assert "s3cr3t" not in caught.value.message and "\n" not in caught.value.message


# Addresses


LOOPBACK = "localhost LOCALHOST 127.0.0.1 127.255.255.254 ::1 [::1] 127.1 0x7f000001 2130706433 0177.0.0.1".split()
LOOPBACK += ["::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::1%lo"]
LOCAL = "0.0.0.0 0 :: 169.254.169.254 fe80::1 febf::1 fe80::1%eth0 [fe80::1] ::ffff:169.254.1.1 ::ffff:a9fe:101".split()
LOCAL += ["localhost.", "a.localhost", "127.0.0.1.", "2852039166"]
REMOTE = "example.com localhost.example.com notlocalhost 128.0.0.1 10.0.0.1 192.168.0.1 169.255.0.1 fec0::1 ::2".split()
REMOTE += [
    "",
    "fd00::1",
    "126.255.255.255",
    "127.0.0.1.example.com",
    "1.2.3.4.5",
    "::ffff:8.8.8.8",
    "beef",
    "0xyz",
    "a b",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback(host: str) -> None:
    assert hosts.is_loopback(host) and hosts.is_local_only(host)


@pytest.mark.parametrize("host", LOCAL)
def test_local_only(host: str) -> None:
    assert hosts.is_local_only(host)
    assert not hosts.is_loopback(host) or host == "127.0.0.1."


@pytest.mark.parametrize("host", REMOTE)
def test_remote(host: str) -> None:
    assert not hosts.is_loopback(host) and not hosts.is_local_only(host)
