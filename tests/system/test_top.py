"""The processes of a container as ps lists them, without ps."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from engines import Installation, until
from underlay import Engine
from underlay.errors import Conflict, InvalidInput

pytestmark = pytest.mark.root


def start(ul: Installation) -> str:
    """A container with a shell, a sleeping child, and a grandchild of another user."""
    script = "sleep 300 & setsid sleep 301 & exec sleep 302"
    name = ul.start("--name", "three", "box", "sh", "-c", script.replace("setsid ", ""))
    with Engine(str(ul.root), str(ul.state)) as engine:
        assert until(lambda: [row[0] for row in engine.containers.top(name, ["-o", "comm"]).rows] == ["sleep"] * 3)
    return name


def test_default_columns(ul: Installation) -> None:
    name = start(ul)
    lines = ul.out("top", "three").splitlines()
    assert lines[0].split() == "UID PID PPID C STIME TTY TIME CMD".split()
    first = lines[1].split(maxsplit=7)
    assert first[0] == "root" and int(first[1]) == ul.pid(name) and int(first[2]) == ul.monitor(name)
    assert first[5:] == ["?", "00:00:00", "sleep 302"]
    assert sorted(line.split(maxsplit=7)[7] for line in lines[1:]) == ["sleep 300", "sleep 301", "sleep 302"]


def test_columns_by_name(ul: Installation) -> None:
    name = start(ul)
    pid = str(ul.pid(name))
    for words in (
        ["-o", "pid,args"],
        ["-opid,args"],
        ["-eo", "pid,args"],
        ["axo", "pid,args"],
        ["-o", "pid", "-o", "args"],
    ):
        lines = ul.out("container", "top", "three", *words).splitlines()
        assert lines[0].split() == ["PID", "COMMAND"] and [pid, "sleep 302"] in [
            line.split(maxsplit=1) for line in lines
        ]
    assert ul.out("top", "three", "-o", "pid=NUMBER,user,ni,nlwp,stat").splitlines()[0].split() == (
        "NUMBER USER NI NLWP STAT".split()
    )
    assert ul.out("top", "three", "aux").splitlines()[0].split() == (
        "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND".split()
    )


def test_as_ps_says(ul: Installation) -> None:
    """The same columns of the same processes from ps itself, where it is installed."""
    name = start(ul)
    if shutil.which("ps") is None or b"procps" not in subprocess.run(["ps", "--version"], capture_output=True).stdout:
        pytest.skip("no ps of procps")
    with Engine(str(ul.root), str(ul.state)) as engine:
        pids = ",".join(row[0] for row in engine.containers.top(name, ["-o", "pid"]).rows)
        columns = "pid ppid uid user ruser gid group comm args cmd tty tname stat s time stime ni nlwp pgid sid vsz rss"
        for column in [*columns.split(), "start_time"]:
            found = engine.containers.top(name, ["-o", column])
            text = subprocess.run(["ps", "-o", column, "-p", pids], capture_output=True, text=True, check=True).stdout
            title, *theirs = [line.strip() for line in text.splitlines()]
            assert title == found.titles[0]
            for left, right in zip(theirs, [row[0] for row in found.rows], strict=True):
                assert left == right or (column in ("stime", "start_time") and _near(left, right)), column
        for words in (["-f"], ["u"]):
            text = subprocess.run(["ps", *words, "-p", pids], capture_output=True, text=True, check=True).stdout
            found = engine.containers.top(name, words)
            assert text.splitlines()[0].split() == found.titles
            told = [line.split(maxsplit=len(found.titles) - 1) for line in text.splitlines()[1:]]
            skip = {"C", "%CPU", "TIME"}  # these run on
            for one, other in zip(told, found.rows, strict=True):
                for title, left, right in zip(found.titles, one, other, strict=True):
                    alike = left == right or (title in ("STIME", "START") and _near(left, right))
                    assert title in skip or alike, (title, left, right)


def _near(left: str, right: str) -> bool:
    """Times of starting are told from when the host did, to whole seconds: near the turn of a minute they differ by one."""
    hours, minutes = (int(part) for part in left.split(":"))
    return right in {f"{total // 60 % 24:02}:{total % 60:02}" for total in (hours * 60 + minutes + n for n in (-1, 1))}


def test_refused(ul: Installation) -> None:
    start(ul)
    for words in (["--forest"], ["-o"], ["-o", "colour"], ["-q", "1"], ["-L"], ["x", "5"], ["-ux"]):
        done = ul("top", "three", *words, code=1)
        assert b"ps " in done.stderr and b"hint: known are " in done.stderr, words
    assert b"requires at least 1 argument" in ul("top", code=1).stderr
    stopped = ul.out("create", "--network", "none", "box", "true")
    assert f"container {stopped} is not running".encode() in ul("top", stopped, code=1).stderr


def test_from_python(ul: Installation) -> None:
    name = ul.start("--user", "alice", "--tty", "box", "sleep", "60")
    with Engine(str(ul.root), str(ul.state)) as engine:
        found = engine.containers.top(name, ["-o", "pid,uid,tty,comm"])
        assert found.titles == ["PID", "UID", "TT", "COMMAND"]
        assert found.rows == [[str(ul.pid(name)), "1000", "pts/0", "sleep"]]
        with pytest.raises(InvalidInput):
            engine.containers.top(name, ["-Z"])
        ul("stop", "-t", "0", name)
        with pytest.raises(Conflict):
            engine.containers.top(name)
    assert not os.path.exists(f"/proc/{found.rows[0][0]}/ns/pid")
