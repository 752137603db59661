"""Run in a guest: systemd as the first process of a pid namespace, booted twice, with containers that come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, until

BOOT = "mount -t tmpfs tmpfs /run && exec /lib/systemd/systemd --log-target=null"


class Host:
    """A host that systemd runs on; its /run is emptied by a boot."""

    def __init__(self) -> None:
        self.pid = 0

    def boot(self) -> None:
        words = ["unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", BOOT]
        self._process = subprocess.Popen(words, env={**os.environ, "container": "other"})
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        assert until(lambda: children.read_text().split())
        self.pid = int(children.read_text())
        states = ("running", "degraded", "starting")
        assert until(lambda: self.out("systemctl", "is-system-running", code=None).strip() in states, 60)

    def down(self) -> None:
        self._process.kill()
        self._process.wait()
        time.sleep(1)

    def out(self, *words: str, code: int | None = 0) -> str:
        done = subprocess.run(
            ["nsenter", "-t", str(self.pid), "-m", "-p", "--", *words], capture_output=True, text=True
        )
        assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    made.boot()
    yield made
    made.down()


def test_containers_run_again_after_a_reboot(host: Host) -> None:
    directory = Path("/var/lib/underlay-test")  # a boot of systemd empties /tmp
    directory.mkdir()
    installation = Installation(directory)
    place = Path("/run/underlay-test")  # as /run/underlay is: emptied by a boot
    path = os.pathsep.join(map(os.path.abspath, installation.environment["PYTHONPATH"].split(os.pathsep)))
    settings = {**installation.environment, "UNDERLAY_STATE": str(place), "PYTHONPATH": path}
    prefix = [
        "env",
        *(f"{key}={value}" for key, value in settings.items() if key.startswith(("UNDERLAY", "PYTHONPATH"))),
    ]
    (directory / "box.tar").write_bytes(image_tar())

    def ul(*words: str) -> str:
        return host.out(*prefix, sys.executable, "-m", "underlay", *words).rstrip("\n")

    ul("import", str(directory / "box.tar"), "box")
    for name, policy in (
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("never", "no"),
        ("stopped", "unless-stopped"),
    ):
        ul("run", "-d", "--network", "none", "--name", name, "--restart", policy, "box", "sleep", "600")
    ul("stop", "-t", "0", "stopped")
    # The journal has what docker's driver says.
    words = [
        "--log-driver",
        "journald",
        "--log-opt",
        "labels=tier",
        "--label",
        "tier=db",
        "--log-opt",
        "tag=t/{{.Name}}",
    ]
    ul("run", "--network", "none", "--name", "said", *words, "box", "sh", "-c", "echo to the journal; echo bad >&2")
    query = ["journalctl", "-o", "json", "CONTAINER_NAME=said"]
    assert until(lambda: len(host.out(*query).splitlines()) == 2)
    entries = {entry["MESSAGE"]: entry for entry in map(json.loads, host.out(*query).splitlines())}
    entry = entries["to the journal"]
    assert (entry["PRIORITY"], entries["bad"]["PRIORITY"]) == ("6", "3")
    assert (entry["CONTAINER_TAG"], entry["SYSLOG_IDENTIFIER"], entry["TIER"]) == ("t/said", "t/said", "db")
    assert entry["IMAGE_NAME"] == "box" and entry["CONTAINER_ID_FULL"].startswith(entry["CONTAINER_ID"])
    assert "to the journal" in ul("logs", "said")

    assert ul("system", "install") == "/etc/systemd/system/underlay.service"
    assert host.out("systemctl", "is-enabled", "underlay").strip() == "enabled"
    assert "underlay.service" not in host.out("systemd-analyze", "verify", "underlay.service", code=None)
    host.down()
    host.boot()
    assert until(lambda: host.out("systemctl", "is-active", "underlay", code=None).strip() in ("active", "failed"), 60)
    assert host.out("systemctl", "is-active", "underlay", code=None).strip() == "active", host.out(
        "journalctl", "-u", "underlay", "--no-pager", code=None
    )
    assert set(ul("ps", "--format", "{{.Names}}").split()) == {"always", "unless"}
    # The unit's end is nothing to them.
    host.out("systemctl", "stop", "underlay")
    assert set(ul("ps", "--format", "{{.Names}}").split()) == {"always", "unless"}
    ul("system", "uninstall")
    assert host.out("systemctl", "is-enabled", "underlay", code=None).strip() in ("", "not-found")
    ul("rm", "-f", "always", "unless", "never", "stopped", "said")


def test_a_server_that_starts_when_somebody_asks(host: Host) -> None:
    """Its socket is there after `serve --install` and after a boot; the server comes with a request and goes when idle."""
    pytest.importorskip("aiohttp")
    directory = Path("/var/lib/underlay-api-test")
    directory.mkdir()
    installation = Installation(directory)
    path = os.pathsep.join(map(os.path.abspath, installation.environment["PYTHONPATH"].split(os.pathsep)))
    settings = {"UNDERLAY_ROOT": str(directory / "root"), "UNDERLAY_STATE": "/run/underlay-api", "PYTHONPATH": path}
    prefix = ["env", *(f"{key}={value}" for key, value in settings.items()), sys.executable, "-m", "underlay"]
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/underlay/docker.sock'); "
        "s.sendall(b'GET /info HTTP/1.0\\r\\n\\r\\n'); print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )

    def asked() -> str:
        return host.out(sys.executable, "-c", script)

    def server() -> str:
        return host.out("systemctl", "is-active", "underlay-docker.service", code=None).strip()

    paths = host.out(*prefix, "serve", "--install", "--idle-timeout", "2s").splitlines()
    assert paths[0] == "/etc/systemd/system/underlay-docker.socket"
    assert (server(), host.out("stat", "-c", "%a", "/run/underlay/docker.sock").strip()) == ("inactive", "600")
    assert f'"DockerRootDir":"{directory}/root"' in asked().replace(" ", "")
    assert server() == "active"
    assert until(lambda: server() == "inactive", 30)
    host.down()
    host.boot()
    assert until(lambda: "200 OK" in host.out(sys.executable, "-c", script, code=None), 30)
    host.out(*prefix, "serve", "--uninstall")
    assert server() == "inactive" and host.out("ls", "-d", *paths, "/run/underlay/docker.sock", code=None) == ""
