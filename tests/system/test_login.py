"""Logging in and out: what is kept, where, and how it is used; what is secret is never said."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from fakeserver import Handler
from faults import cut_after, drip, status
from registries import DockerRegistry, TokenServer
from remoteimages import Image, image, random_tar, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"
USER, SECRET = "alice", "s3cr3t-w0rd"
WRONG = "wr0ng-w0rd"
BASIC = base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
PLAIN = "WARNING! Your credentials are stored unencrypted in"
HELPER = """#!/bin/sh
# A credential helper that keeps each credential in a file of its own.
mkdir -p "{place}"
[ "$1" = list ] && {{ echo '{{}}'; exit; }}
said=$(cat)
echo "$1" >>"{place}/asked"
name() {{ printf %s "$1" | tr -c 'a-zA-Z0-9.\\n' _; }}
case $1 in
store)
    server=$(printf %s "$said" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/')
    printf %s "$said" >"{place}/$(name "$server").json"
    ;;
get) cat "{place}/$(name "$said").json" 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
erase) rm "{place}/$(name "$said").json" 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
esac
"""


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    visitor = Visitor(tmp_path)
    visitor.secrets += [SECRET, BASIC, WRONG]
    return visitor


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("registry"), htpasswd={USER: SECRET}) as registry:
        yield registry


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry(users={USER: SECRET}) as registry:
        yield registry


@pytest.fixture(scope="module")
def made() -> Image:
    return image([small_tar(), random_tar(100_000, 1)])


def login(visitor: Visitor, *hosts: str, password: str = SECRET, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    words = ("login", "-u", USER, "--password-stdin", *hosts)
    return visitor(*words, input=f"{password}\n".encode(), code=code)


def config(visitor: Visitor) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((visitor.docker / "config.json").read_text())
    return found


def helper(visitor: Visitor, name: str, text: str = HELPER) -> Path:
    """Put a credential helper on PATH; returns the directory where it keeps what it is given."""
    programs, place = visitor.home / "bin", visitor.home / f"kept-{name}"
    programs.mkdir(exist_ok=True)
    path = programs / f"docker-credential-{name}"
    path.write_text(text.format(place=place))
    path.chmod(0o755)
    visitor.environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    return place


# What is kept
# ---------------------------------------------------------------------------------------------------------


def test_htpasswd(visitor: Visitor, guarded: DockerRegistry, made: Image) -> None:
    host = guarded.host
    done = login(visitor, host, password=WRONG, code=1)
    assert b"Succeeded" not in done.stdout and host.encode() in done.stderr
    assert len(done.stderr.decode().splitlines()) <= 2
    assert not visitor.docker.exists()
    done = login(visitor, host)
    assert done.stdout == b"Login Succeeded\n"
    path = visitor.docker / "config.json"
    assert f"{PLAIN} '{path}'" in done.stderr.decode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert config(visitor) == {"auths": {host: {"auth": BASIC}}}
    # A wrong password leaves the good one where it is.
    login(visitor, host, password=WRONG, code=1)
    assert config(visitor) == {"auths": {host: {"auth": BASIC}}}
    name = guarded.add(made, TEAM, "1.0")
    visitor("pull", name)
    visitor("tag", name, f"{host}/pushed:1")
    visitor("push", f"{host}/pushed:1")
    assert visitor.out("logout", host) == f"Removing login credentials for {host}"
    assert visitor.out("logout", host) == f"Not logged in to {host}"
    assert config(visitor).get("auths") == {}
    visitor.fails("pull", f"{host}/pushed:2")
    visitor.fails("push", f"{host}/pushed:1")


def test_a_login_of_podmans(visitor: Visitor, guarded: DockerRegistry, made: Image) -> None:
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    guarded.add(made, TEAM, "podman")
    name = f"{guarded.host}/{TEAM}:podman"
    del visitor.environment["DOCKER_CONFIG"]
    session = visitor.home / "session"
    session.mkdir()
    visitor.environment["XDG_RUNTIME_DIR"] = str(session)

    def podman(*words: str) -> None:
        done = subprocess.run(["podman", *words], input=SECRET.encode(), capture_output=True, env=visitor.environment)
        assert done.returncode == 0, done.stderr

    words = ("login", "--tls-verify=false", "-u", USER, "--password-stdin")
    assert b"access denied" in visitor("pull", name, code=1).stderr
    podman(*words, guarded.host)
    file = session / "containers/auth.json"
    assert guarded.host in json.loads(file.read_text())["auths"]
    visitor("pull", name)
    done = visitor("logout", guarded.host)
    assert (done.stdout, str(file) in done.stderr.decode()) == (f"Not logged in to {guarded.host}\n".encode(), True)
    podman("logout", guarded.host)
    assert visitor("logout", guarded.host).stderr == b""

    # For one repository only, in a file that is named.
    podman(*words, "--authfile", str(visitor.home / "auth.json"), f"{guarded.host}/{TEAM}")
    visitor("rmi", "-f", name)
    assert b"access denied" in visitor("pull", name, code=1).stderr
    visitor.environment["REGISTRY_AUTH_FILE"] = str(visitor.home / "auth.json")
    visitor("pull", name)
    visitor("tag", name, f"{guarded.host}/other/app:1")
    assert b"access denied" in visitor("push", f"{guarded.host}/other/app:1", code=1).stderr
    visitor("tag", name, f"{guarded.host}/{TEAM}/below:1")
    visitor("push", f"{guarded.host}/{TEAM}/below:1")
    login(visitor, guarded.host)
    visitor("push", f"{guarded.host}/other/app:1")
    assert set(json.loads((visitor.home / "auth.json").read_text())["auths"]) == {
        guarded.host,
        f"{guarded.host}/{TEAM}",
    }
    assert not (visitor.home / ".docker").exists()
    visitor("logout", guarded.host)
    assert set(json.loads((visitor.home / "auth.json").read_text())["auths"]) == {f"{guarded.host}/{TEAM}"}


def test_other_members_are_kept(visitor: Visitor, fake: FakeRegistry) -> None:
    others = {"other.test": {"auth": base64.b64encode(b"bob:0ther-w0rd").decode()}}
    more = {"HttpHeaders": {"X-A": "ö"}, "psFormat": "table {{.ID}}", "proxies": {"default": {}}, "n": [1, None]}
    visitor.docker.mkdir()
    path = visitor.docker / "config.json"
    path.write_text(json.dumps({"auths": others, **more}))
    path.chmod(0o644)
    login(visitor, fake.host)
    assert config(visitor) == {"auths": {**others, fake.host: {"auth": BASIC}}, **more}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    visitor("logout", fake.host)
    assert config(visitor) == {"auths": others, **more}
    assert os.listdir(visitor.docker) == ["config.json"]
    path.write_text("{")
    assert str(path).encode() in login(visitor, fake.host, code=1).stderr
    assert path.read_text() == "{"


@pytest.mark.parametrize("refresh", [True, False])
def test_token_server(visitor: Visitor, tmp_path: Path, made: Image, refresh: bool) -> None:
    """Where there are identity tokens one is kept instead of the password; after logout nothing is."""
    options: dict[str, Any] = {"users": {USER: SECRET}, "issues_refresh": refresh}
    with TokenServer(tmp_path / "t", **options) as tokens, FakeRegistry(token=tokens) as registry:
        visitor.sends_to(registry, tokens)
        assert b"Succeeded" not in login(visitor, registry.host, password=WRONG, code=1).stdout
        assert not visitor.docker.exists()
        assert b"Login Succeeded\n" in login(visitor, registry.host).stdout
        entry = config(visitor)["auths"][registry.host]
        if refresh:
            [token] = tokens.refreshes
            visitor.secrets.append(token)
            assert entry.pop("identitytoken") == token
            assert SECRET not in base64.b64decode(entry.pop("auth", "")).decode() and entry == {}
        else:
            assert entry == {"auth": BASIC}
        name = registry.add(made, TEAM, "1.0")
        tokens.forget()
        visitor("pull", name)
        visitor("tag", name, f"{registry.host}/else:1")
        visitor("push", f"{registry.host}/else:1")
        assert {each.method for each in tokens.requests} == ({"POST"} if refresh else {"GET"})
        assert b"existing credentials" in visitor("login", registry.host).stdout
        visitor.secrets += tokens.issued
        if refresh:
            tokens.refreshes.clear()
            visitor.fails("pull", f"{registry.host}/{TEAM}:2")
            assert "log in with `underlay login`" in visitor.fails("push", f"{registry.host}/else:1")
        visitor("logout", registry.host)
        visitor.fails("push", f"{registry.host}/else:1")


def test_docker_registry_with_tokens(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    with (
        TokenServer(tmp_path / "t", users={USER: SECRET}) as tokens,
        DockerRegistry(tmp_path / "r", token=tokens) as registry,
    ):
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)
        visitor.fails("push", name)
        visitor.fails("copy", name, f"{registry.host}/copy:1")
        assert "token_servers" in login(visitor, registry.host, code=1).stderr.decode()
        visitor.sends_to(registry, tokens)
        login(visitor, registry.host)
        visitor("tag", name, f"{registry.host}/else:1")
        visitor("push", f"{registry.host}/else:1")
        # The layers were mounted, with a token for both repositories.
        assert len(registry.asked("PATCH", "/else/")) <= 1
        visitor("copy", name, f"{registry.host}/copy:1")
        assert registry.asked("PATCH", "/copy/") == []


def test_open_registry(visitor: Visitor) -> None:
    with FakeRegistry() as registry:
        assert login(visitor, registry.host).stdout == b"Login Succeeded\n"
        registry.rule("GET", "^/v2/$", status(404))
        login(visitor, registry.host, code=1)
    login(visitor, registry.host, code=1)  # nobody is there any more
    assert list(config(visitor)["auths"]) == [registry.host]


def test_docker_hub(visitor: Visitor, fake: FakeRegistry) -> None:
    visitor.settings(f'[registry."docker.io"]\nlocation = "http://{fake.host}"\n')
    done = login(visitor)
    assert done.stdout == b"Login Succeeded\n"
    assert config(visitor)["auths"] == {"https://index.docker.io/v1/": {"auth": BASIC}}
    assert visitor.out("logout") == "Removing login credentials for Docker Hub"
    assert visitor.out("logout") == "Not logged in to Docker Hub"


# How it is asked for
# ---------------------------------------------------------------------------------------------------------


def test_words(visitor: Visitor, fake: FakeRegistry) -> None:
    host = fake.host
    assert "non TTY" in visitor.fails("login", host)
    assert "non TTY" in visitor.fails("login", "-u", USER, host)
    assert "requires --username" in visitor.fails("login", "--password-stdin", host, code=125)
    assert "both" in visitor.fails("login", "-u", USER, "-p", "x", "--password-stdin", host, code=125)
    assert "password is empty" in visitor.fails("login", "-u", USER, "--password-stdin", host)
    visitor.fails("login", host, host)
    assert b"not the name of a registry" in login(visitor, "not a host", code=1).stderr
    assert fake.requests == [] and not visitor.docker.exists()
    visitor.fails("logout", host, host)
    assert visitor.out("logout", host) == f"Not logged in to {host}"
    assert not (visitor.docker / "config.json").exists()
    done = visitor("login", "-u", USER, "-p", SECRET, host)
    assert b"WARNING! Using --password via the CLI is insecure" in done.stderr
    assert done.stdout == b"Login Succeeded\n"
    done = visitor("login", "-u", USER, "-p", "-", host, input=f"{SECRET}\r\n".encode())
    assert b"insecure" not in done.stderr


def test_existing_credentials(visitor: Visitor, fake: FakeRegistry) -> None:
    login(visitor, fake.host)
    done = visitor("login", fake.host)
    assert done.stdout == b"Authenticating with existing credentials...\nLogin Succeeded\n"
    visitor.credentials({fake.host: (USER, WRONG)})
    done = visitor("login", fake.host, code=1)
    assert b"Succeeded" not in done.stdout and b"login to" in done.stderr


def test_terminal(visitor: Visitor, fake: FakeRegistry) -> None:
    """Name and password are asked for; the password is not shown."""
    near, far = pty.openpty()
    process = subprocess.Popen(
        [*visitor.command, "login", fake.host],
        stdin=far,
        stdout=far,
        stderr=far,
        env=visitor.environment,
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(far)
    said = b""
    for wanted, answer in ((b"Username for ", USER), (b"Password: ", SECRET), (b"Login Succeeded", "")):
        deadline = time.monotonic() + 10
        while wanted not in said and time.monotonic() < deadline:
            try:
                said += os.read(near, 4096)
            except OSError:
                break
        assert wanted in said, said
        if answer:
            os.write(near, f"{answer}\n".encode())
    assert process.wait(10) == 0
    os.close(near)
    visitor.look(said)
    assert config(visitor)["auths"] == {fake.host: {"auth": BASIC}}


# Helpers
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["credsStore", "credHelpers"])
def test_helpers(visitor: Visitor, fake: FakeRegistry, made: Image, member: str) -> None:
    place = helper(visitor, "shelf")
    visitor.credentials({fake.host: (USER, WRONG)})
    path = visitor.docker / "config.json"
    value = {member: "shelf" if member == "credsStore" else {fake.host: "shelf"}, "psFormat": "x"}
    path.write_text(json.dumps({**config(visitor), **value}))
    done = login(visitor, fake.host)
    assert done.stdout == b"Login Succeeded\n" and done.stderr == b""
    # Nothing is in the clear, and what was there before is gone.
    for secret in visitor.secrets:
        assert secret not in path.read_text()
    assert {name: config(visitor)[name] for name in value} == value
    [kept] = place.glob("*.json")
    assert json.loads(kept.read_text()) == {"ServerURL": fake.host, "Username": USER, "Secret": SECRET}
    name = fake.add(made, TEAM, "1.0")
    visitor("pull", name)
    visitor("push", name)
    assert b"existing" in visitor("login", fake.host).stdout
    assert visitor.out("logout", fake.host) == f"Removing login credentials for {fake.host}"
    assert list(place.glob("*.json")) == []
    assert visitor.out("logout", fake.host) == f"Not logged in to {fake.host}"
    visitor.fails("push", name)


def test_identity_token_with_a_helper(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    place = helper(visitor, "shelf")
    visitor.docker.mkdir()
    (visitor.docker / "config.json").write_text('{"credsStore": "shelf"}')
    with TokenServer(tmp_path / "t", users={USER: SECRET}) as tokens, FakeRegistry(token=tokens) as registry:
        visitor.sends_to(registry, tokens)
        login(visitor, registry.host)
        [token] = tokens.refreshes
        [kept] = place.glob("*.json")
        assert json.loads(kept.read_text()) == {"ServerURL": registry.host, "Username": "<token>", "Secret": token}
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)
        visitor("push", name)


def test_helper_that_fails(visitor: Visitor, fake: FakeRegistry, made: Image) -> None:
    """It is said, without what it printed, and nothing is put into the file instead."""
    name = fake.add(made, TEAM, "1.0")
    visitor.docker.mkdir()
    path = visitor.docker / "config.json"
    path.write_text('{"credsStore": "broken"}')
    helper(visitor, "broken", f"#!/bin/sh\necho {SECRET}\necho locked >&2\nexit 3\n")
    assert "docker-credential-broken" in visitor.fails("pull", name)
    assert b"docker-credential-broken" in login(visitor, fake.host, code=1).stderr
    shutil.rmtree(visitor.home / "bin")
    assert b"no such program on PATH" in login(visitor, fake.host, code=1).stderr
    assert "no such program on PATH" in visitor.fails("logout", fake.host)
    assert path.read_text() == '{"credsStore": "broken"}'


@pytest.mark.parametrize("kind", ["credsStore", "credHelpers"])
def test_what_is_public_needs_no_helper(visitor: Visitor, fake: FakeRegistry, made: Image, kind: str) -> None:
    """A helper that is not installed is told of, in one line; nobody is logged in then, not even by the file."""
    with FakeRegistry() as public:
        name = public.add(made, TEAM, "1.0")
        private = fake.add(made, TEAM, "1.0")
        hosts = {public.host: "gone", fake.host: "gone"}
        more: dict[str, object] = {kind: "gone" if kind == "credsStore" else hosts}
        visitor.credentials({fake.host: ("alice", SECRET)}, **more)
        for words in (("pull", name), ("pull", "-q", name), ("manifest", "inspect", name)):
            [told] = visitor(*words).stderr.decode().splitlines()
            assert told.startswith(f"underlay: not logged in at {public.host}, ")
            assert "docker-credential-gone" in told and "no such program on PATH" in told
        assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id
        assert b"access denied" in visitor("pull", private, code=1).stderr
        assert all("authorization" not in each.headers for each in [*public.requests, *fake.requests])


# Tokens that end
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["pull", "push"])
def test_tokens_that_expire(visitor: Visitor, tmp_path: Path, word: str) -> None:
    """A token that is no longer good in the middle is renewed, and nothing is lost."""
    made = image([random_tar(50_000, n) for n in range(5)])
    with TokenServer(tmp_path / "t", users={USER: SECRET}) as tokens, FakeRegistry(token=tokens) as registry:
        visitor.sends_to(registry, tokens)
        login(visitor, registry.host)
        name = registry.add(made, TEAM, "1.0")
        visitor.settings("[network]\nparallel_layers = 1\n")
        if word == "push":
            with FakeRegistry() as other:
                visitor("pull", other.add(made, TEAM, "1.0"))
                visitor("tag", f"{other.host}/{TEAM}:1.0", name)
            registry.repositories.clear()
        tokens.forget()
        seen, lock = [0], threading.Lock()

        def expire(handler: Handler, match: re.Match[str]) -> bool:
            with lock:
                seen[0] += 1
                if seen[0] % 2 == 0:
                    tokens.issued.clear()
                if seen[0] == 4 and word == "pull":
                    cut_after(20_000)(handler, match)
            return False

        registry.rule("GET|POST|PATCH|PUT", "/blobs/", expire)
        visitor(word, name)
        assert len(tokens.requests) >= 3
        assert {each.form["refresh_token"] for each in tokens.requests if each.method == "POST"} <= {*tokens.refreshes}
        if word == "pull":
            assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id
            sent = [each.sent for each in registry.asked("GET", "/blobs/") if each.status in (200, 206)]
            assert sum(sent) == sum(map(len, made.blobs.values()))
        else:
            assert registry.manifest(TEAM, "1.0")["config"]["digest"] == made.id


def test_tokens_that_say_when(visitor: Visitor, tmp_path: Path) -> None:
    """A short life, used up by slow downloads: renewed in time or when refused."""
    made = image([random_tar(20_000, n) for n in range(5)])
    settings: dict[str, Any] = {"users": {USER: SECRET}, "expires_in": 2}
    with TokenServer(tmp_path / "t", **settings) as tokens, FakeRegistry(token=tokens) as registry:
        name = registry.add(made, TEAM, "1.0")
        visitor.settings("[network]\nparallel_layers = 1\n")
        visitor.sends_to(registry, tokens)
        visitor.credentials({registry.host: (USER, SECRET)})
        registry.rule("GET", "/blobs/", drip(0.4, 2))
        visitor("pull", name)
        assert 2 <= len(tokens.requests) <= 6
        assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id
