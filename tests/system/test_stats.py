"""What containers use, in docker's columns and figures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from engines import Installation, until
from underlay import Engine
from underlay.errors import Conflict

pytestmark = pytest.mark.root

TITLES = "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O   BLOCK I/O   PIDS"


def test_table(ul: Installation) -> None:
    name = ul.start("--name", "busy", "-m", "64m", "box", "sh", "-c", "sleep 60 & while :; do :; done")
    ul.start("--name", "idle", "box", "sleep", "60")
    lines = ul.out("stats", "--no-stream").splitlines()
    assert lines[0].split() == TITLES.split()
    rows = {line.split()[1]: line.split() for line in lines[1:]}
    assert set(rows) == {"busy", "idle"}
    row = rows["busy"]
    assert row[0] == name[:12] and row[2].endswith("%") and float(row[2][:-1]) > 0
    assert row[3].endswith("iB") and row[4:6] == ["/", "64MiB"] and row[-1] == "2"
    assert rows["idle"][5].endswith("GiB") and rows["idle"][-1] == "1"


def test_json_and_templates(ul: Installation) -> None:
    name = ul.start("--name", "one", "-m", "64m", "box", "sleep", "60")
    stopped = ul.out("create", "--network", "none", "--name", "never", "box", "true")
    found = json.loads(ul.out("container", "stats", "--no-stream", "--format", "json", "one"))
    assert list(found) == sorted(found)
    assert (found["Container"], found["ID"], found["Name"]) == ("one", name[:12], "one")
    assert found["NetIO"] == "0B / 0B" and found["PIDs"] == "1" and found["MemUsage"].endswith(" / 64MiB")
    assert ul.out("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}") == name
    rows = ul.out("stats", "--no-stream", "-a", "--format", "{{.ID}} {{.MemUsage}} {{.CPUPerc}}").splitlines()
    assert f"{stopped[:12]} -- / -- --" in rows and len(rows) == 2
    assert ul.out("stats", "--no-stream", "--format", "table {{.Name}}\t{{.PIDs}}").split() == [
        "NAME",
        "PIDS",
        "one",
        "1",
    ]


def test_stream(ul: Installation) -> None:
    ul.start("--name", "one", "box", "sleep", "60")
    process = subprocess.Popen([*ul.command, "stats", "one"], env=ul.environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    seen = b""
    while seen.count(b"\x1b[H") < 2:
        seen += process.stdout.read1()
    assert seen.count(b"CONTAINER ID") >= 1 and b"one" in seen
    ul("rm", "-f", "one")
    process.stdout.read()  # with the last of those that were named it ends
    process.stdout.close()
    assert process.wait(timeout=30) == 0


def test_who_is_not_there(ul: Installation) -> None:
    assert b"No such container: nobody" in ul("stats", "--no-stream", "nobody", code=1).stderr
    assert ul.out("stats", "--no-stream").split() == TITLES.split()


def test_samples_from_python(ul: Installation) -> None:
    name = ul.start("-m", "64m", "box", "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=20; while :; do :; done")
    with Engine(str(ul.root), str(ul.state)) as engine:
        # What the group uses at first are pages of files, which are not counted.
        assert until(lambda: engine.containers.stats(name).memory >= 20 << 20)
        before = engine.containers.stats(name)
        assert until(lambda: engine.containers.stats(name).cpu > before.cpu)
        now = engine.containers.stats(name)
        assert now.cpu_percent(before) > 0 and now.memory >= 20 << 20 and now.memory_limit == 64 << 20
        assert 0 < now.memory_percent < 100 and now.pids >= 1 and (now.received, now.sent) == (0, 0)
        # A file that only the kernel's cache holds is nothing that is used.
        usage, raw = now.figures["memory"]["usage"]["usage"], now.figures["memory"]["raw"]
        assert now.memory == usage - raw.get("total_inactive_file", raw["inactive_file"])
        ul("stop", "-t", "0", name)
        with pytest.raises(Conflict, match="is not running"):
            engine.containers.stats(name)


def test_the_hosts_network_is_not_a_containers(ul: Installation) -> None:
    name = ul.out("run", "-d", "--network", "host", "box", "sleep", "60")
    assert ul.out("stats", "--no-stream", "--format", "{{.NetIO}}", name) == "0B / 0B"
    assert Path(f"/proc/{ul.pid(name)}/net/dev").exists()
