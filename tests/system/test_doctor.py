"""What `doctor` and `config show` say of this host and this installation."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from engines import Installation

pytestmark = pytest.mark.root


def test_what_works_here_is_said_to_work(ul: Installation) -> None:
    """The statements are compared with what this host does."""
    rows = [json.loads(line) for line in ul.out("doctor", "--format", "json").splitlines()]
    states = {row["Feature"]: row["State"] for row in rows}
    assert states["containers"] == "ok"
    ul.run("box", "true")
    limits = ("--memory", "32m", "--cpus", "1", "--pids-limit", "9")
    limited = ul("run", "--rm", "--network", "none", *limits, "box", "true", code=None)
    assert (limited.returncode == 0) == (states["limits"] in ("ok", "limited"))
    sized = ul("run", "--rm", "--network", "none", "--storage-opt", "size=40m", "box", "true", code=None)
    assert (sized.returncode == 0) == (states["--storage-opt size"] == "ok")
    assert (states["layers"] == "ok") == (ul.out("info", "-f", "{{.Driver}}") == "erofs")
    assert all(row["Remedy"] for row in rows if row["State"] == "missing")
    assert ul.out("doctor").startswith("containers ")


def test_where_settings_come_from(ul: Installation, tmp_path: Path) -> None:
    place = tmp_path / "underlay"
    place.mkdir()
    (place / "config.toml").write_text('network = "none"\nlog-driver = "json-file"\n[log-opts]\nmax-size = "1m"\n')
    environment = {**ul.environment, "XDG_CONFIG_HOME": str(tmp_path)}
    del environment["UNDERLAY_NETWORK"]

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [*ul.command, *words]
        return subprocess.run(command, env={**environment, **more}, capture_output=True, text=True)

    shown = run("config", "show", "--format", "{{.Name}}={{.Value}} {{.From}}").stdout.splitlines()
    assert f"root={ul.root} UNDERLAY_ROOT" in shown or f"root={ul.root} flag" in shown
    assert f"network=none {place}/config.toml" in shown and "add-limit=2g default" in shown
    name = run("create", "box", "true").stdout.strip()
    facts = "{{.HostConfig.NetworkMode}} {{.HostConfig.LogConfig.Type}}"
    assert ul.out("inspect", "-f", facts, name) == "none json-file"
    assert run("config", "show", UNDERLAY_LOG_DRIVER="none").stdout.count("UNDERLAY_LOG_DRIVER") == 1
    (place / "config.toml").write_text("netwrk = 'none'\n")
    done = run("ps")
    assert done.returncode == 1 and f"{place}/config.toml: no setting is called netwrk" in done.stderr
    assert "did you mean `network`?" in done.stderr


@pytest.mark.parametrize("more", [{"NO_COLOR": "1"}, {"UNDERLAY_COLOUR": "never"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours_gets_no_escapes(ul: Installation, tmp_path: Path, more: dict[str, str]) -> None:
    archive = tmp_path / "box.tar"
    ul("save", "-o", str(archive), "box")
    ours, theirs = pty.openpty()
    environment = {**ul.environment, "TERM": "xterm", **more}
    process = subprocess.Popen(
        [*ul.command, "load", "-i", str(archive)], env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 1 << 16):
            seen += data
    except OSError:
        pass  # the other end is closed
    os.close(ours)
    assert process.wait() == 0 and b"Loaded image" in seen and b"\x1b" not in seen
