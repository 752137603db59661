"""Drivers of logs beyond the files: syslog with a service made for the test, and what options add to files."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from engines import Installation

pytestmark = pytest.mark.root


def test_syslog(ul: Installation, tmp_path: Path) -> None:
    service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    service.bind(str(tmp_path / "log"))
    service.settimeout(10)
    options = {
        "syslog-address": f"unixgram://{tmp_path}/log",
        "tag": "{{.Name}}/{{.ImageName}}",
        "syslog-facility": "local0",
    }
    words = [word for key, value in options.items() for word in ("--log-opt", f"{key}={value}")]
    # Longer than the monitor takes to become slim: that begins the connection anew.
    script = "echo first; echo bad >&2; sleep 0.6; printf 'half '; sleep 0.3; echo line; printf unfinished"
    ul("run", "--network", "none", "--name", "talker", "--log-driver", "syslog", *words, "box", "sh", "-c", script)
    messages = [service.recv(4096).decode() for _ in range(4)]
    assert sorted(message.split("]: ")[1] for message in messages) == [
        "bad\n",
        "first\n",
        "half line\n",
        "unfinished" + "\n",
    ]
    assert all(" talker/box[" in message for message in messages)
    assert {message.partition(">")[0] for message in messages} == {"<134", "<131"}
    assert ul.out("logs", "talker").split() == ["first", "half", "line", "unfinished"]
    config = json.loads(ul.out("inspect", "-f", "{{json .HostConfig.LogConfig}}", "talker"))
    assert config == {"Type": "syslog", "Config": dict(sorted(options.items()))}
    ul("rm", "talker")
    ul(
        "run",
        "--network",
        "none",
        "--name",
        "quiet",
        "--log-driver",
        "syslog",
        *words,
        "--log-opt",
        "cache-disabled=true",
        "box",
        "echo",
        "x",
    )
    said = ul("logs", "quiet", code=1).stderr.decode()
    assert "configured logging driver does not support reading" in said


def test_what_records_say_of_the_container(ul: Installation) -> None:
    words = [
        "--log-driver",
        "json-file",
        "--log-opt",
        "tag={{.Name}}",
        "--log-opt",
        "labels=tier",
        "--log-opt",
        "env-regex=^OS_",
    ]
    words += ["--label", "tier=db", "--label", "other=1", "-e", "OS_NAME=x", "-e", "HIDDEN=y"]
    ul("run", "--network", "none", "--name", "told", *words, "box", "echo", "x")
    record = json.loads(Path(ul.out("inspect", "-f", "{{.LogPath}}", "told")).read_text())
    assert list(record) == ["log", "stream", "attrs", "time"]
    assert record["attrs"] == {"tier": "db", "OS_NAME": "x", "tag": "told"}
    assert ul.out("logs", "told") == "x"


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_old_files_are_compressed(ul: Installation, driver: str) -> None:
    options = ["--log-opt", "max-size=4k", "--log-opt", "max-file=5", "--log-opt", "compress=true"]
    options += ["--log-opt", "mode=non-blocking", "--log-opt", "max-buffer-size=4m"]
    script = "for i in $(seq 1 1500); do echo line $i; [ $((i % 150)) != 0 ] || sleep 0.03; done"
    ul("run", "--network", "none", "--name", "much", "--log-driver", driver, *options, "box", "sh", "-c", script)
    log = Path(ul.out("inspect", "-f", "{{.LogPath}}", "much"))
    names = sorted(path.name for path in log.parent.glob("log*"))
    assert {"log", "log.1", "log.2.gz"} <= set(names) and "log.2" not in names and not [n for n in names if "part" in n]
    lines = ul.out("logs", "much").splitlines()
    assert (
        lines[-1] == "line 1500" and lines == [f"line {n}" for n in range(1501 - len(lines), 1501)] and len(lines) > 100
    )
    assert ul.out("logs", "-n", "90", "much").splitlines() == lines[-90:]


def test_drivers_that_are_not_here(ul: Installation) -> None:
    if not Path("/run/systemd/journal/socket").exists():
        said = ul("run", "--network", "none", "--log-driver", "journald", "box", "true", code=125).stderr.decode()
        assert "journald is not enabled on this host" in said
    ul("run", "--network", "none", "--name", "none", "--log-driver", "none", "box", "true")
    assert "configured logging driver does not support reading" in ul("logs", "none", code=1).stderr.decode()
