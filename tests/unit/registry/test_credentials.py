"""Credentials: every form that config.json has, helper programs good and bad, and writing that loses nothing."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engines import REPOSITORY, needs_root
from underlay.errors import InvalidInput, KernelError, LimitExceeded, UnderlayError
from underlay.registry import helpers as helpers_
from underlay.registry.credentials import Credential, Store, server_key

HUB = "https://index.docker.io/v1/"
SECRET = "s3cr3t-never-shown"

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory on PATH for helper programs."""
    directory = tmp_path / "programs"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def helper(directory: Path, name: str, script: str) -> None:
    path = directory / f"docker-credential-{name}"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)


# Keeps one file a server, named by what it is asked with.
KEEPER = """\
mkdir -p "$HOME/kept"
case "$1" in
store) data=$(cat); url=${data#*ServerURL\\":\\"}; url=${url%%\\"*}
    printf %s "$data" > "$HOME/kept/$(printf %s "$url" | tr / _)" ;;
get|erase) file="$HOME/kept/$(tr / _)"
    [ -e "$file" ] || { echo credentials not found in native keychain; exit 1; }
    if [ "$1" = get ]; then cat "$file"; else rm "$file"; fi ;;
list) printf '{"https://index.docker.io/v1/":"a","listed.example.com":"b","own.example.com":"c"}' ;;
esac
"""


def answering(directory: Path, name: str, user: str, secret: str) -> None:
    text = json.dumps({"ServerURL": "x", "Username": user, "Secret": secret})
    helper(directory, name, f'cat >"$HOME/asked-{name}"; echo $1 >>"$HOME/asked-{name}"; cat <<\'E\'\n{text}\nE\n')


def auth(user: str, secret: str) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


def configured(home: Path, document: object) -> Store:
    directory = home / ".docker"
    directory.mkdir(exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (directory / "config.json").write_text(text)
    return Store()


def pair(found: Credential | None) -> tuple[str, str] | None:
    return None if found is None else (found.username, found.secret)


# Names


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("docker.io", HUB),
        ("index.docker.io", HUB),
        ("registry-1.docker.io", HUB),
        (HUB, HUB),
        ("example.com", "example.com"),
        ("Example.COM:5000", "example.com:5000"),
        ("https://example.com/v2/", "example.com"),
        ("http://example.com:5000/v1", "example.com:5000"),
        ("localhost", "localhost"),
        ("[::1]:5000", "[::1]:5000"),
        ("docker.io:443", "docker.io:443"),
    ],
)
def test_keys_are_dockers(host: str, key: str) -> None:
    assert server_key(host) == key


@pytest.mark.parametrize(
    "host",
    ["", "a/b", "example.com/project", "https://", "a b", "a\nb", "../x", "x:y", f"u:{SECRET}@h", "ftp://h", "-a"],
)
def test_what_is_no_registry_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        server_key(host)
    assert SECRET not in caught.value.message and "\n" not in caught.value.message


# Reading


def test_nothing_configured(home: Path) -> None:
    assert Store().get("example.com") is None
    assert Store().hosts() == []
    assert Store().erase("example.com") is False
    assert not (home / ".docker").exists()
    assert configured(home, "").get("example.com") is None


def test_where_the_file_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Store().path == str(home / ".docker/config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "elsewhere"))
    assert Store().path == str(tmp_path / "elsewhere/config.json")
    assert Store("/x/y.json").path == "/x/y.json"


@pytest.mark.parametrize(
    "key", ["h.example.com", "https://h.example.com", "https://h.example.com/v1/", "h.example.com/v2/", "H.example.com"]
)
def test_keys_in_all_forms(home: Path, key: str) -> None:
    store = configured(home, {"auths": {key: {"auth": auth("me", "a:b")}}})
    assert pair(store.get("h.example.com")) == ("me", "a:b")
    for other in ("example.com", "h.example.com:5000", "h.example.com.evil.com", "x.h.example.com", "docker.io"):
        assert store.get(other) is None, other


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"])
def test_keys_of_docker_hub(home: Path, key: str) -> None:
    store = configured(home, {"auths": {key: {"auth": auth("me", "pw")}}})
    assert pair(store.get("docker.io")) == ("me", "pw")
    assert store.get("example.com") is None
    assert store.hosts() == ["docker.io"]


def test_a_part_of_a_registry_is_not_the_registry(home: Path) -> None:
    keys = ["h.example.com/project", "https://h.example.com/v2/project", f"https://x:{SECRET}@h.example.com", "*", ""]
    store = configured(home, {"auths": {key: {"auth": auth("me", "pw")} for key in keys}})
    assert store.get("h.example.com") is None
    assert store.hosts() == []


def test_the_exact_key_is_first(home: Path) -> None:
    entries = {"https://h.example.com/v1/": {"auth": auth("old", "1")}, "h.example.com": {"auth": auth("new", "2")}}
    assert pair(configured(home, {"auths": entries}).get("h.example.com")) == ("new", "2")
    entries["h.example.com"] = {}
    assert pair(configured(home, {"auths": entries}).get("h.example.com")) == ("old", "1")


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"username": "u", "password": "p"}, ("u", "p", "", "")),
        ({"auth": auth("u", "p"), "username": "x", "password": "y"}, ("u", "p", "", "")),
        ({"auth": auth("u", "p") + "\n"}, ("u", "p", "", "")),
        ({"auth": auth("u", "p\0\0")}, ("u", "p", "", "")),
        ({"auth": auth("ü", "pä")}, ("ü", "pä", "", "")),
        ({"auth": auth("u", ""), "identitytoken": "t"}, ("u", "", "t", "")),
        ({"identitytoken": "t"}, ("", "", "t", "")),
        ({"registrytoken": "b"}, ("", "", "", "b")),
        ({"auth": "", "email": "x@y"}, None),
        ({"auth": None}, None),
        ({}, None),
    ],
)
def test_entries(home: Path, entry: dict[str, object], wanted: tuple[str, ...] | None) -> None:
    found = configured(home, {"auths": {"h": entry}}).get("h")
    parts = found and (found.username, found.secret, found.identity_token, found.registry_token)
    assert parts == wanted


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{" + SECRET, "not JSON"),
        ('{"auths": {"h": {"auth": "' + SECRET, "not JSON"),
        ("[1]", "expected an object"),
        ({"auths": [SECRET]}, "auths: expected an object"),
        ({"auths": {"h": SECRET}}, 'auths["h"]: expected an object'),
        ({"auths": {"h": {"auth": [SECRET]}}}, 'auths["h"].auth: expected a string'),
        ({"auths": {"h": {"auth": "%" + SECRET}}}, 'auths["h"].auth: expected base64'),
        ({"auths": {"h": {"auth": auth(SECRET, "")[:-4]}}}, 'auths["h"].auth: expected base64'),
        ({"auths": {"h": {"auth": base64.b64encode(SECRET.encode()).decode()}}}, '["h"].auth: expected base64 of USER'),
        ({"auths": {"h": {"auth": base64.b64encode(b"u:\xff").decode()}}}, '["h"].auth: expected base64 of UTF-8'),
        ({"auths": {"h": {"identitytoken": 5}}}, 'auths["h"].identitytoken'),
        ({"credsStore": ["x"]}, "credsStore: expected a string"),
        ({"credHelpers": "x"}, "credHelpers: expected an object"),
        ({"credHelpers": {"h": 5}}, 'credHelpers["h"]: expected a string'),
        ({"credsStore": "a/b"}, "one word"),
        ({"credsStore": "a b"}, "one word"),
        ({"credHelpers": {"h": "../x"}}, "one word"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_malformed_files(home: Path, document: object, said: str) -> None:
    store = configured(home, document)
    with pytest.raises(InvalidInput) as caught:
        store.get("h")
    assert said in caught.value.message and store.path in caught.value.message
    assert SECRET not in caught.value.message + caught.value.hint + repr(caught.value)
    if '["h"].' in said and "credHelpers" not in said:
        store.put("h", Credential("u", "p"))  # which replaces what is wrong
        assert pair(store.get("h")) == ("u", "p")
        return
    before = Path(store.path).read_text()
    with pytest.raises(InvalidInput):
        store.put("h", Credential("u", "p"))
    assert Path(store.path).read_text() == before


def test_another_registrys_malformed_entry_is_not_ours(home: Path) -> None:
    store = configured(home, {"auths": {"h": {"auth": auth("u", "p")}, "other": {"auth": "%"}, "third": 5}})
    assert pair(store.get("h")) == ("u", "p")
    assert store.hosts() == ["h", "other"]


def test_a_file_too_large(home: Path) -> None:
    store = configured(home, '{"x": "' + "a" * (4 << 20) + '"}')
    with pytest.raises(LimitExceeded):
        store.get("h")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(KernelError):
        Store(str(tmp_path)).get("h")


# Helpers


def test_helpers_come_before_the_file(home: Path, helpers: Path) -> None:
    answering(helpers, "one", "of-one", "1")
    answering(helpers, "two", "of-two", "2")
    document = {
        "auths": {"a": {"auth": auth("file", "f")}, "b": {"auth": auth("file", "f")}, "c": {"auth": auth("file", "f")}},
        "credHelpers": {"a": "one", "https://index.docker.io/v1/": "one", "c": ""},
        "credsStore": "two",
    }
    store = configured(home, document)
    assert pair(store.get("a")) == ("of-one", "1")
    assert (home / "asked-one").read_text() == "aget\n"
    assert pair(store.get("b")) == ("of-two", "2")
    assert pair(store.get("c")) == ("file", "f")
    assert pair(store.get("docker.io")) == ("of-one", "1")
    assert (home / "asked-one").read_text() == HUB + "get\n"
    assert pair(store.get("a:5000")) == ("of-two", "2")


def test_a_helpers_identity_token(home: Path, helpers: Path) -> None:
    answering(helpers, "h", "<token>", "refresh")
    found = configured(home, {"credsStore": "h"}).get("example.com")
    assert found is not None and (found.username, found.secret, found.identity_token) == ("", "", "refresh")


def test_a_helper_that_has_nothing(home: Path, helpers: Path) -> None:
    document = {"credsStore": "h", "auths": {"example.com": {"auth": auth("file", "f")}}}
    helper(helpers, "h", "echo credentials not found in native keychain; exit 1\n")
    assert configured(home, document).get("example.com") is None
    answering(helpers, "h", "", "")
    assert configured(home, document).get("example.com") is None


NOISE = 'cat >/dev/null; echo \'{"Username":"u","Secret":"' + SECRET + "\"}'; "


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (NOISE + "exit 1\n", "exit status 1"),
        (NOISE + "echo credentials not found in native keychain; exit 1\n", "exit status 1"),
        ("echo credentials not found in native keychain; exit 2\n", "exit status 2"),
        ("echo credentials not found in native keychain\n", "not a JSON object"),
        (NOISE + "kill -9 $$\n", "ended by signal 9"),
        (
            NOISE + "printf '\\n  the \\033[31mvault\\033[0m\\tis shut  \\nmore\\n' >&2; exit 3\n",
            "status 3: the \\x1b[31mvault",
        ),
        (f"echo {SECRET}\n", "not a JSON object"),
        (f"echo '[\"{SECRET}\"]'\n", "not a JSON object"),
        (f'echo \'{{"Username":"u","Password":"{SECRET}"}}\'\n', "no Username and Secret"),
        (f'echo \'{{"Username":["{SECRET}"],"Secret":""}}\'\n', "no Username and Secret"),
        ("exit 0\n", "not a JSON object"),
        ("exec head -c 2000000 /dev/zero\n", "longer than 1048576 bytes"),
        ("exec yes\n", "longer than 1048576 bytes"),
    ],
)
def test_a_helper_that_fails_is_an_error(home: Path, helpers: Path, script: str, said: str) -> None:
    helper(helpers, "bad", script)
    store = configured(home, {"credHelpers": {"h": "bad"}, "auths": {"h": {"auth": auth("file", SECRET)}}})
    with pytest.raises(UnderlayError) as caught:
        store.get("h")
    error = caught.value
    assert said in error.message and "docker-credential-bad failed for h:" in error.message
    assert SECRET not in error.message + error.hint and error.message.isprintable() and "more" not in error.message


def test_a_helper_that_is_missing(home: Path, helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = configured(home, {"credsStore": "gone", "auths": {"h": {"auth": auth("u", "p")}}})
    for ask in (
        lambda: store.get("h"),
        lambda: store.put("h", Credential("u", "p")),
        lambda: store.erase("h"),
        store.hosts,
    ):
        with pytest.raises(UnderlayError, match="no such program on PATH"):
            ask()
    # One in the current directory is none.
    helper(helpers, "gone", "exit 5\n")
    monkeypatch.chdir(helpers)
    monkeypatch.setenv("PATH", ".::/usr/bin")
    with pytest.raises(UnderlayError, match="no such program on PATH"):
        store.get("h")


def test_a_helper_that_cannot_be_run(home: Path, helpers: Path) -> None:
    path = helpers / "docker-credential-odd"
    path.write_text("#!/no/such/interpreter\n")
    path.chmod(0o755)
    with pytest.raises(UnderlayError, match="it cannot be run: No such file"):
        configured(home, {"credsStore": "odd"}).get("h")


def test_a_helper_that_does_not_answer(home: Path, helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helpers_, "_ANSWER_SECONDS", 0.3)
    helper(helpers, "slow", 'echo $$ > "$HOME/pid"; exec sleep 1000\n')
    with pytest.raises(UnderlayError, match="no answer within"):
        configured(home, {"credsStore": "slow"}).get("h")
    assert not Path(f"/proc/{(home / 'pid').read_text().strip()}").exists()


def test_an_agent_that_a_helper_leaves_behind(home: Path, helpers: Path) -> None:
    helper(helpers, "agent", 'sleep 1000 & echo $! > "$HOME/pid"; echo \'{"Username":"u","Secret":"s"}\'\n')
    try:
        assert pair(configured(home, {"credsStore": "agent"}).get("h")) == ("u", "s")
    finally:
        os.kill(int((home / "pid").read_text()), 9)


def test_a_helper_that_reads_nothing_and_says_much(home: Path, helpers: Path) -> None:
    helper(helpers, "loud", 'exec <&-; head -c 3000000 /dev/zero >&2; echo \'{"Username":"u","Secret":"s"}\'\n')
    store = configured(home, {"credsStore": "loud"})
    assert pair(store.get("h")) == ("u", "s")
    assert store.put("h", Credential("u", "x" * 500_000)) == ""


def test_storing_with_a_helper(home: Path, helpers: Path) -> None:
    helper(helpers, "keeper", KEEPER)
    document = {
        "credsStore": "keeper",
        "auths": {"https://h/v1/": {"auth": auth("u", SECRET), "email": "e"}, "other": {"auth": auth("o", "o")}},
    }
    store = configured(home, document)
    assert store.put("h", Credential("me", 'p"w\\é')) == ""
    assert pair(store.get("h")) == ("me", 'p"w\\é')
    kept = json.loads(Path(store.path).read_text())
    assert kept == {**document, "auths": {"https://h/v1/": {"email": "e"}, "other": document["auths"]["other"]}}

    before = Path(store.path).stat()
    assert store.put("docker.io", Credential("me", identity_token="t")) == ""
    assert json.loads((home / "kept" / HUB.replace("/", "_")).read_text()) == {
        "ServerURL": HUB,
        "Username": "<token>",
        "Secret": "t",
    }
    found = store.get("docker.io")
    assert found is not None and found.identity_token == "t" and Path(store.path).stat().st_ino == before.st_ino
    with pytest.raises(InvalidInput, match="bearer"):
        store.put("h", Credential(registry_token="b"))

    assert store.erase("h") is True
    assert store.get("h") is None
    assert store.erase("h") is False
    assert "https://h/v1/" not in json.loads(Path(store.path).read_text())["auths"]


def test_storing_with_a_helper_that_fails(home: Path, helpers: Path) -> None:
    helper(helpers, "full", "cat; cat >&2; exit 1\n")
    store = configured(home, {"credsStore": "full"})
    with pytest.raises(UnderlayError) as caught:
        store.put("h", Credential("me", SECRET))
    assert SECRET not in caught.value.message
    assert SECRET not in Path(store.path).read_text()
    helper(helpers, "full", "echo credentials not found in native keychain; exit 1\n")
    with pytest.raises(UnderlayError, match="does not store"):
        store.put("h", Credential("me", SECRET))


def test_hosts(home: Path, helpers: Path) -> None:
    helper(helpers, "keeper", KEEPER)
    auths = {"file.example.com": {"auth": auth("u", "p")}, "empty.example.com": {}, "in.example.com": {"auth": "x"}}
    assert configured(home, {"auths": auths}).hosts() == ["file.example.com", "in.example.com"]
    document = {
        "auths": auths,
        "credsStore": "keeper",
        "credHelpers": {"own.example.com": "x", "third.example.com": "y", "in.example.com": ""},
    }
    wanted = ["docker.io", "in.example.com", "listed.example.com", "own.example.com", "third.example.com"]
    assert configured(home, document).hosts() == wanted
    helper(helpers, "keeper", "exit 7\n")
    with pytest.raises(UnderlayError, match="failed for its list"):
        configured(home, document).hosts()


# Writing


def test_what_is_written_is_what_docker_writes(home: Path) -> None:
    store = Store()
    assert store.put("docker.io", Credential("me", "p:w")) == str(home / ".docker/config.json")
    assert store.put("h:5000", Credential("you", "ignored", identity_token="t")) == store.path
    assert store.put("r", Credential(registry_token="b")) == store.path
    assert Path(store.path).read_text() == (
        '{\n\t"auths": {\n\t\t"https://index.docker.io/v1/": {\n\t\t\t"auth": "' + auth("me", "p:w") + '"\n\t\t},\n'
        '\t\t"h:5000": {\n\t\t\t"auth": "' + auth("you", "") + '",\n\t\t\t"identitytoken": "t"\n\t\t},\n'
        '\t\t"r": {\n\t\t\t"registrytoken": "b"\n\t\t}\n\t}\n}'
    )
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(home / ".docker").st_mode) == 0o700
    assert os.listdir(home / ".docker") == ["config.json"]
    assert pair(store.get("index.docker.io")) == ("me", "p:w")


def test_the_rest_of_the_file_is_kept_in_its_order(home: Path) -> None:
    document = {
        "zeta": {"b": 1, "a": [1.5, None, True, "ü\u2028", "\ud800"]},
        "auths": {"x": {"auth": auth("u", "p"), "email": "e", "new": 1}, "a": {}},
        "credHelpers": {"other": "helper"},
        "alpha": 12345678901234567890123,
    }
    store = configured(home, document)
    os.chmod(store.path, 0o644)
    store.put("x", Credential("n", "q"))
    document["auths"]["x"] = {"email": "e", "new": 1, "auth": auth("n", "q")}
    text = Path(store.path).read_text()
    assert json.dumps(json.loads(text)) == json.dumps(document)
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o600
    assert store.erase("x") is True and store.erase("x") is False
    del document["auths"]["x"]
    assert json.dumps(json.loads(Path(store.path).read_text())) == json.dumps(document)


def test_every_form_of_a_registry_is_erased(home: Path) -> None:
    entry = {"auth": auth("u", "p")}
    store = configured(
        home, {"auths": {"h": entry, "https://h/v1/": entry, "h:5000": entry, "docker.io": entry, HUB: {}}}
    )
    assert store.erase("h") is True
    assert list(json.loads(Path(store.path).read_text())["auths"]) == ["h:5000", "docker.io", HUB]
    assert store.erase("docker.io") is True
    assert list(json.loads(Path(store.path).read_text())["auths"]) == ["h:5000"]


def test_an_empty_entry_was_no_credential(home: Path) -> None:
    store = configured(home, {"auths": {"h": {}}})
    assert store.erase("h") is False
    assert json.loads(Path(store.path).read_text()) == {"auths": {}}


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_written_through(home: Path, tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "kept" / "docker.json"
    target.parent.mkdir()
    if exists:
        target.write_text('{"a": 1}')
    (home / ".docker").mkdir()
    (home / ".docker/config.json").symlink_to("../../kept/docker.json")
    store = Store()
    assert store.put("h", Credential("u", "p")) == str(home / ".docker/config.json")
    assert Path(store.path).is_symlink() and not target.is_symlink()
    assert "auths" in json.loads(target.read_text()) and ("a" in json.loads(target.read_text())) is exists
    assert pair(store.get("h")) == ("u", "p")
    assert os.listdir(target.parent) == ["docker.json"]


@pytest.mark.root
def test_the_owner_is_kept_when_root_writes(home: Path) -> None:
    needs_root()
    store = configured(home, {})
    os.chown(store.path, 12345, 54321)
    store.put("h", Credential("u", "p"))
    info = os.stat(store.path)
    assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (12345, 54321, 0o600)


def test_a_failed_write_leaves_the_old_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = configured(home, {"auths": {}})

    def full(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(KernelError):
        store.put("h", Credential("u", "p"))
    assert json.loads(Path(store.path).read_text()) == {"auths": {}}
    assert os.listdir(home / ".docker") == ["config.json"]


@pytest.mark.parametrize(
    "credential",
    [Credential(), Credential(secret=SECRET), Credential("a:b", SECRET), Credential("u", SECRET + "\udcff")],
)
def test_what_cannot_be_kept(home: Path, helpers: Path, credential: Credential) -> None:
    helper(helpers, "keeper", KEEPER)
    for document in ({}, {"credsStore": "keeper"}):
        if "\udcff" in credential.secret and document:
            continue  # as JSON it can be
        with pytest.raises(InvalidInput) as caught:
            configured(home, document).put("h", credential)
        assert SECRET not in caught.value.message + caught.value.hint


def test_two_at_once_lose_nothing(home: Path) -> None:
    code = (
        "import sys\n"
        "from underlay.registry.credentials import Credential, Store\n"
        "for n in range(40): Store().put(f'{sys.argv[1]}{n}.example.com', Credential('u', 'p'))\n"
    )
    environment = {"HOME": str(home), "PYTHONPATH": str(REPOSITORY / "src")}
    running = [subprocess.Popen([sys.executable, "-c", code, name], env=environment) for name in "abc"]
    assert [each.wait(timeout=120) for each in running] == [0, 0, 0]
    assert Store().hosts() == sorted(f"{name}{n}.example.com" for name in "abc" for n in range(40))


def test_nothing_secret_is_shown() -> None:
    credential = Credential("me", SECRET, SECRET, SECRET)
    assert SECRET not in repr(credential) + str(credential) and "me" in repr(credential)
    assert not hasattr(credential, "__dict__")


def test_the_module_alone_loads_nothing_heavy() -> None:
    code = (
        "import sys; before = set(sys.modules); from underlay.registry import credentials, hosts; "
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = "re json typing dataclasses enum pathlib subprocess base64 tomllib ssl ipaddress socket urllib".split()
    assert set(done.stdout.split()) & set(heavy) == set()
