"""Options of ps that are understood, columns, and the texts of times and terminals."""

from __future__ import annotations

import os

import pytest

from underlay.engine.containers import top
from underlay.errors import InvalidInput


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        ([], "UID PID PPID C STIME TTY TIME CMD"),
        (["-ef"], "UID PID PPID C STIME TTY TIME CMD"),
        (["-e"], "PID TTY TIME COMMAND"),
        (["aux"], "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (["-o", "pid,comm"], "PID COMMAND"),
        (["-opid", "-o", "comm"], "PID COMMAND"),
        (["-eo", "pid ppid"], "PID PPID"),
        (["axo", "pid,pcpu,%mem"], "PID %CPU %MEM"),
        (["-o", "pid=,user=WHO"], " WHO"),
        (["--format", "pid,cmd"], "PID CMD"),
        (["--format=etime,args"], "ELAPSED COMMAND"),
    ],
)
def test_options(words: list[str], titles: str) -> None:
    assert " ".join(title for _, title in top.columns(words)) == titles


@pytest.mark.parametrize("words", [["-Z"], ["--forest"], ["-o"], ["-o", "colour"], ["-o", "uid_name"], ["-"], ["-q5"]])
def test_options_that_are_not_known(words: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        top.columns(words)
    assert "ps" in caught.value.message and caught.value.hint.startswith("known are")


def test_times() -> None:
    assert top._clock(59) == "00:00:59" and top._clock(90061) == "1-01:01:01"
    assert top._clock(3661, short=True) == "61:01"
    assert top._elapsed(59) == "00:59" and top._elapsed(3600) == "01:00:00"


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "?"), (os.makedev(136, 3), "pts/3"), (os.makedev(137, 0), "pts/256"), (os.makedev(4, 1), "tty1"),
     (os.makedev(4, 64), "ttyS0"), (os.makedev(5, 1), "console"), (os.makedev(99, 7), "99/7")],
)  # fmt: skip
def test_terminals(number: int, name: str) -> None:
    assert top._terminal(number) == name


def test_ourselves() -> None:
    found = top.listed([os.getpid(), 1 << 30], ["-o", "pid,ppid,uid,nlwp"])
    assert len(found.rows) == 1
    assert found.rows[0][:3] == [str(os.getpid()), str(os.getppid()), str(os.geteuid())]
    assert os.getpid() in top.of_namespace(os.getpid())
