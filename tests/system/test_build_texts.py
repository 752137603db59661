"""What a build tells of its steps, failures and warnings, plain and on a terminal of 80 columns."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from buildcases import Builder, steps
from engines import until

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("RUN exit 3", 'underlay: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3'),
        ("COPY none /", 'underlay: COPY failed: "/none": not found'),
        ("WORKDIR /data/seed", "underlay: mkdir /data/seed: it exists and is not a directory"),
    ],
)
def test_the_place_of_a_failure(builder: Builder, line: str, message: str) -> None:
    said = builder(f"FROM box\n\n# why\n{line}\n", code=1)
    place = said.index("Dockerfile:4\n--------------------\n")
    assert f"4 | >>> {line}" in said[place:] and message in said[place:]


def test_names_show_values(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("hidden")
    said = builder(
        "FROM box\nARG A=value\nENV D=/srv\nWORKDIR $D/$A\nCOPY f ${D}/\n"
        'RUN --mount=type=secret,id=s,env=S test "$S" = hidden; echo $A \'$A\' $UNSET "$D"\n',
        "--secret",
        f"id=s,src={tmp_path / 's'}",
        files={"f": ""},
    )
    assert [name for name in steps(said) if "FROM" not in name and "internal" not in name] == [
        "[2/4] WORKDIR /srv/value",
        "[3/4] COPY f /srv/",
        '[4/4] RUN --mount=type=secret,id=s,env=S test "****" = hidden; echo value \'$A\' $UNSET "/srv"',
    ]


@pytest.mark.parametrize("line", ["COPY --from=biuld /a /b", "FROM biuld", "RUN --mount=from=biuld true"])
def test_a_stage_that_may_be_meant(builder: Builder, line: str) -> None:
    said = builder.fails(f"FROM box AS build\nFROM box\n{line}\n")
    assert "hint: did you mean the stage build?" in said


def test_warnings_at_the_end(builder: Builder) -> None:
    """After what failed, too."""
    for line in ("RUN true", "RUN false"):
        said = builder.at(builder.context(f"FROM box as one\nMAINTAINER me\n{line}\n"), code=int(line == "RUN false"))
        end = said[said.index(" 2 warnings found:\n") :]
        assert " - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)\n" in end
        assert end.count("\n - ") == 2


def test_an_interrupted_build(builder: Builder) -> None:
    context = builder.context("FROM box AS one\nRUN sleep 31\nFROM box\nCOPY --from=one /data /\nRUN sleep 32\n")
    process = subprocess.Popen(
        [*builder.ul.command, "build", "--progress=plain", str(context)],
        env=builder.ul.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen: list[str] = []
    assert process.stderr is not None
    while "RUN sleep 31" not in "".join(seen[-1:]):
        seen.append(process.stderr.readline())
        assert seen[-1], "".join(seen)
    until(lambda: "sleep 31" in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout)
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=30)
    said = "".join(seen) + rest
    assert process.returncode == 130
    assert re.search(r"#\d+ CANCELED\n", said) and said.endswith("underlay: build canceled\n")
    assert "ERROR" not in said and "Traceback" not in said


def test_a_terminal(builder: Builder) -> None:
    """One picture, no wider than the terminal, and no longer while it changes; colours only where they are wanted."""
    pytest.importorskip("rich")
    lines = "".join(f"RUN echo step {number} {'x' * 100}\n" for number in range(12))
    context = builder.context(
        f"FROM box as one\n{lines}RUN for n in 1 2 3 4 5 6 7 8 9; do echo out $n; done; sleep 0.5\n"
    )
    for colours in (True, False):
        words = ["build", "--no-cache", *([] if colours else ["--progress", "tty"]), str(context)]
        data = _on_a_terminal(builder, words, {} if colours else {"NO_COLOR": "1"})
        assert ("\x1b[34m" in data) is colours
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data)
        frames = plain.split("[+] Building ")
        assert len(frames) > 2 and "FINISHED" in frames[-1] and "FINISHED" not in frames[1]
        assert all(len(line) <= 80 for line in plain.replace("\r", "\n").split("\n"))
        assert max(frame.count("\n") for frame in frames[1:-1]) <= 10
        assert frames[-1].count(" => ") >= 14 and "1 warning found:" in frames[-1]


def _on_a_terminal(builder: Builder, words: list[str], environment: dict[str, str]) -> str:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 80, 0, 0))
    known = {key: value for key, value in builder.ul.environment.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*builder.ul.command, *words],
        env={**known, "TERM": "xterm", **environment},
        stderr=follower,
        stdout=subprocess.DEVNULL,
    )
    os.close(follower)
    data = b""
    try:
        while piece := os.read(leader, 65536):
            data += piece
    except OSError:
        pass  # the other end has been closed
    os.close(leader)
    assert process.wait(30) == 0
    return data.decode()
