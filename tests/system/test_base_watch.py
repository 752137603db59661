"""The bases of a scan are watched: what moves and what advisories say is told once, with the order of rebuilding."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_base_scan import BASE, MORE, app, scanner  # noqa: F401 - a fixture
from test_base_vulns import RECORDS

import faults
from engines import Installation, until
from fakeregistry import FakeRegistry
from registries import DockerRegistry
from remoteimages import image, small_tar

NEWER = small_tar({"etc/newer": b"1"})


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry: a base, three images on it, one of them the base of a tool."""
    with FakeRegistry() as made:
        fill(made)
        yield made


def fill(registry: FakeRegistry | DockerRegistry) -> None:
    registry.add(image([BASE]), "team/os", "1")
    registry.add(image([BASE, MORE]), "own/base", "1")
    for number in range(2):
        registry.add(app(number), f"team/app{number}", "1")
    registry.add(app(100, MORE), "other/tool", "latest")


@pytest.fixture
def scan(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> str:  # noqa: F811
    return scanned(scanner, registry, str(tmp_path / "fleet.db"))


def scanned(scanner: Installation, registry: FakeRegistry | DockerRegistry, path: str) -> str:  # noqa: F811
    words = ["base", "scan", "-q", "-o", path, f"{registry.host}/"]
    scanner(*words)
    scanner("base", "index", "add", "--scan", path)
    scanner(*words)
    return path


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_moves(scanner: Installation, registry: FakeRegistry, scan: str) -> None:  # noqa: F811
    host = registry.host
    assert scanner.out("base", "watch", scan) == "nothing new of 2 bases"
    registry.forget()
    assert scanner.out("base", "watch", scan, "--format", "json") == ""
    # What has not moved costs one request a name.
    assert len(registry.asked("HEAD", "/manifests/")) == 2 and not registry.asked("GET", "/(manifests|blobs)/")
    newer = image([BASE, NEWER])
    registry.add(newer, "team/os", "1")
    (moved,) = events(scanner.out("base", "watch", scan, "--format", "json", code=1))
    assert moved["event"] == "moved" and moved["base"] == f"{host}/team/os:1" and moved["platform"] == "linux/amd64"
    assert moved["now"] == newer.id and moved["before"] == image([BASE]).id
    direct = [f"{host}/own/base:1", f"{host}/team/app0:1", f"{host}/team/app1:1"]
    assert moved["behind"] == direct
    assert moved["rebuild"] == [direct, [f"{host}/other/tool:latest"]]
    assert scanner.out("base", "watch", scan) == "nothing new of 2 bases"
    # Their base has been rebuilt: now the tool is to be.
    registry.add(image([BASE, NEWER, MORE]), "own/base", "1")
    text = scanner.out("base", "watch", scan, code=1).splitlines()
    assert text[0].startswith(f"{host}/own/base:1 has moved to ") and text[0].endswith(": 1 image on older builds")
    assert text[1:] == [f"  rebuild 1: {host}/other/tool:latest"]


def test_behind_at_the_first_look(scanner: Installation, registry: FakeRegistry, scan: str) -> None:  # noqa: F811
    registry.add(image([BASE, NEWER]), "team/os", "1")
    (moved,) = events(scanner.out("base", "watch", scan, "--format", "json", code=1))
    assert moved["before"] == "" and len(moved["behind"]) == 3


def test_advisories(scanner: Installation, registry: FakeRegistry, scan: str, tmp_path: Path) -> None:  # noqa: F811
    scanner("base", "watch", scan)
    (tmp_path / "osv.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    scanner("base", "advisories", "import", str(tmp_path / "osv.jsonl"))
    found = events(scanner.out("base", "watch", scan, "--format", "json", code=1))
    told = {(each["base"].partition("/")[2], each["id"]): each for each in found}
    assert set(told) == {
        ("team/os:1", "CVE-2026-0001"),
        ("own/base:1", "CVE-2026-0001"),
        ("own/base:1", "CVE-2026-0003"),
    }
    worst = told["team/os:1", "CVE-2026-0001"]
    assert worst["severity"] == "critical" and worst["packages"] == ["zlib 1.2"] and worst["fixed"] == "1.3"
    assert worst["images"] == 3 and told["own/base:1", "CVE-2026-0003"]["fixed"] == ""
    assert scanner.out("base", "watch", scan) == "nothing new of 2 bases"


class Hook:
    """A webhook that remembers what it was sent, and answers with `status`."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.status = 204
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.taken.append({"path": self.path, "kind": self.headers["Content-Type"], **json.loads(body)})
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/in?key=hidden-w0rd"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_webhook(scanner: Installation, registry: FakeRegistry, scan: str, hook: Hook) -> None:  # noqa: F811
    words = ["base", "watch", scan, "--notify", hook.url, "--format", "json"]
    scanner(*words)
    assert hook.taken == []  # there was no news
    registry.add(image([BASE, NEWER]), "team/os", "1")
    hook.status = 500
    failed = scanner(*words, code=1).stderr.decode()
    assert "answers with status 500" in failed and "hidden-w0rd" not in failed and len(failed.splitlines()) == 1
    hook.status = 204
    hook.taken.clear()
    told = events(scanner.out(*words, code=1))
    assert len(told) == 1 and hook.taken[0]["path"] == "/in?key=hidden-w0rd"
    assert hook.taken[0] | {"events": told} == hook.taken[0] and hook.taken[0]["kind"] == "application/json"
    scanner(*words)
    hook.server.shutdown()
    hook.server.server_close()
    registry.add(image([BASE, NEWER, NEWER]), "team/os", "1")
    assert "hidden-w0rd" not in scanner(*words, code=1).stderr.decode()
    refused = scanner("base", "watch", scan, "--notify", "ftp://x", code=1).stderr.decode()
    assert "not the URL of a server: ftp://x" in refused


def test_what_cannot_be_asked(scanner: Installation, registry: FakeRegistry, scan: str) -> None:  # noqa: F811
    registry.rule("HEAD|GET", "/team/os/manifests/", faults.status(403))
    registry.add(image([BASE, NEWER, MORE]), "own/base", "1")
    done = scanner("base", "watch", scan, "--format", "json", code=1)
    moved, problem = events(done.stdout.decode())
    assert moved["base"].endswith("/own/base:1") and problem["event"] == "problem"
    assert problem["base"] == f"{registry.host}/team/os:1" and problem["problem"]
    registry.rules.clear()
    assert scanner.out("base", "watch", scan) == "nothing new of 2 bases"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_pushes_to_a_registry(scanner: Installation, tmp_path: Path) -> None:  # noqa: F811
    """docker-registry tells of pushes, in its own words."""
    pytest.importorskip("aiohttp")
    port = free_port()
    (tmp_path / "token").write_text("a-t0ken\n")
    out = tmp_path / "out"
    with DockerRegistry(tmp_path / "registry", notify=(f"http://127.0.0.1:{port}/events", "a-t0ken")) as registry:
        fill(registry)
        scan = scanned(scanner, registry, str(tmp_path / "fleet.db"))
        words = ["base", "watch", scan, "--format", "json", "--listen", f"127.0.0.1:{port}"]
        with open(out, "wb") as file:
            watching = subprocess.Popen(
                [*scanner.command, *words, "--token-file", str(tmp_path / "token")],
                env=scanner.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.PIPE,
            )
        try:
            assert watching.stderr is not None
            assert watching.stderr.readline() == f"underlay: listening at 127.0.0.1:{port}\n".encode()
            assert out.read_text() == ""
            registry.add(app(7), "team/app7", "1")  # no base
            registry.add(image([BASE, NEWER]), "team/os", "1")
            assert until(lambda: "moved" in out.read_text(), 30), watching.poll()
            (moved,) = events(out.read_text())
            assert moved["base"] == f"{registry.host}/team/os:1" and len(moved["behind"]) == 3
            right = {"Authorization": "Bearer a-t0ken"}
            for body, headers, status in (
                (b"{}", {}, 401),
                (b"{}", {"Authorization": "Bearer other"}, 401),
                (b"{}", right, 400),
                (b'{"events": []}', right, 202),
                (b"x" * (2 << 20), right, 413),
            ):
                assert posted(port, body, headers) == status
        finally:
            watching.send_signal(signal.SIGTERM)
            said = watching.communicate(timeout=60)[1]
        assert watching.returncode == 0 and said == b"", said


def posted(port: int, body: bytes, headers: dict[str, str]) -> int:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request("POST", "/events", body, headers)
        return client.getresponse().status
    finally:
        client.close()


def test_by_systemd(scanner: Installation, scan: str, tmp_path: Path) -> None:  # noqa: F811
    scanner.environment["XDG_CONFIG_HOME"] = str(tmp_path / "c")
    printed = scanner.out("base", "watch", "--install", "--user", "--print", "--every", "6h", scan)
    assert "OnUnitActiveSec=21600s" in printed and not (tmp_path / "c").exists()
    paths = [Path(path) for path in scanner.out("base", "watch", "--install", "--user", scan).splitlines()]
    assert [path.name for path in paths] == ["underlay-watch-fleet.service", "underlay-watch-fleet.timer"]
    link = paths[0].parent / "timers.target.wants" / "underlay-watch-fleet.timer"
    assert link.resolve() == paths[1]
    # As systemd runs it: the commands and the environment of the unit alone.
    lines = paths[0].read_text().splitlines()
    settings = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    command = next(line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    ran = subprocess.run(["sh", "-c", f"env -i {' '.join(settings)} {command}"], capture_output=True, cwd="/")
    assert ran.returncode == 0 and ran.stdout == b"", ran.stderr
    listening = scanner.out("base", "watch", "--install", "--user", "--listen", "127.0.0.1:8087", scan).splitlines()
    assert listening == [str(paths[0])] and not paths[1].exists() and not os.path.lexists(link)
    assert scanner.out("base", "watch", "--uninstall", "--user", scan).splitlines() == listening
    assert [path for path in (tmp_path / "c").rglob("*") if not path.is_dir()] == []
    assert b"there is no " in scanner("base", "watch", "--uninstall", "--user", scan, code=1).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["/nowhere.db"], "/nowhere.db: no such scan"),
        (["x", "--every", "1h"], "--every belongs to --install"),
        (["x", "--token-file", "y"], "--token-file belongs to --listen"),
        (["x", "--user"], "--user belongs to --install and --uninstall"),
        (["x", "--install", "--uninstall"], "--install and --uninstall exclude each other"),
        (["x", "--install"], "x: no such scan"),
        (["x", "--format", "{{.}}"], "invalid value for --format"),
    ],
)
def test_refused(scanner: Installation, words: list[str], told: str) -> None:  # noqa: F811
    done = scanner("base", "watch", *words, code=None)
    assert done.returncode and told in done.stderr.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--listen", "0.0.0.0:8087"], "0.0.0.0:8087 is reached from other machines"),
        (["--listen", "here"], "invalid address 'here' to listen at"),
        (["--listen", "192.0.2.1:8087", "--token-file", "TOKEN"], "nothing can listen at 192.0.2.1:8087"),
        (["--listen", "127.0.0.1:8087", "--token-file", "/nowhere"], "/nowhere: No such file or directory"),
        (["--install", "--user", "--every", "1s"], "invalid value for --every: 1s"),
        (
            ["--install", "--user", "--every", "1h", "--listen", "127.0.0.1:1"],
            "--every and --listen exclude each other",
        ),
    ],
)
def test_refused_of_a_scan(
    scanner: Installation,  # noqa: F811
    scan: str,
    tmp_path: Path,
    words: list[str],
    told: str,
) -> None:
    (tmp_path / "token").write_text("a-t0ken")
    given = [str(tmp_path / "token") if word == "TOKEN" else word for word in words]
    done = scanner("base", "watch", scan, *given, code=None)
    assert done.returncode and told in done.stderr.decode(), done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) <= 2
