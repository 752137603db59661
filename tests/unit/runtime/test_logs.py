"""Logs: records that survive turning over, full disks, torn ends and a change of the writing process."""

from __future__ import annotations

import json
import os
import resource
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.engine.containers import log_records, logs
from underlay.runtime.monitor.logs import Log


def read(path: Path, driver: str = "local") -> list[tuple[int, bytes]]:
    with path.open("rb") as file:
        return [(stream, data) for _, stream, data in log_records.format_of(driver).forwards(file)]


def test_local_keeps_bytes_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), "local", 0, 1)
    pieces = [(1, b"a\n"), (2, b"\xff\x00no newline"), (1, b""), (1, bytes(range(256)) * 100)]
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    assert read(path) == pieces
    assert path.stat().st_mode & 0o007 == 0


def test_local_can_be_read_backwards(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), "local", 0, 1)
    for data in (b"one", b"three"):
        log.write(1, data)
    log.close()
    assert int.from_bytes(path.read_bytes()[-4:], "little") == 5


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(1, 60))
def test_a_torn_end_spoils_nothing(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "log"
    log = Log(str(path), "local", 0, 1)
    for data in pieces:
        log.write(1, data)
    log.close()
    size = path.stat().st_size
    os.truncate(path, max(0, size - cut))
    whole = read(path)
    assert whole == [(1, data) for data in pieces[: len(whole)]]
    log = Log(str(path), "local", 0, 1)
    log.write(2, b"after the crash")
    log.close()
    assert read(path) == [*whole, (2, b"after the crash")]


def test_json_file_is_dockers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), "json-file", 0, 1)
    log.write(1, b"one\ntw")
    log.write(2, b"err\xff\n")
    log.write(1, b"o\nrest")
    log.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(r["stream"], r["log"]) for r in records] == [
        ("stdout", "one\n"),
        ("stderr", "err\ufffd\n"),
        ("stdout", "two\n"),
        ("stdout", "rest"),
    ]
    assert all(set(r) == {"log", "stream", "time"} and r["time"].endswith("Z") for r in records)
    assert read(path, "json-file")[0] == (1, b"one\n")


def test_json_file_cuts_endless_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), "json-file", 0, 1)
    log.write(1, b"x" * 40_000)
    log.close()
    assert [len(data) for _, data in read(path, "json-file")] == [16384, 16384, 40_000 - 2 * 16384]


def test_unfinished_lines_go_with_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = Log(str(path), "json-file", 0, 1)
    first.write(1, b"half \xff")
    second = Log(str(path), "json-file", 0, 1)
    second.resume(json.loads(json.dumps(first.unfinished())), "a problem")
    second.write(1, b" line\n")
    second.close()
    assert [json.loads(line)["log"] for line in path.read_text().splitlines()] == ["half \ufffd line\n"]
    assert second.problem == "a problem"


@pytest.mark.parametrize("driver", ["local", "json-file"])
@pytest.mark.parametrize("keep", [1, 2, 4])
def test_turning_over(tmp_path: Path, driver: str, keep: int) -> None:
    path = tmp_path / "log"
    log = Log(str(path), driver, 1000, keep)
    for number in range(200):
        log.write(1, b"line %d\n" % number)
    log.close()
    files = [path, *(Path(f"{path}.{n}") for n in range(1, keep))]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 1000 for file in files)
    lines = [data for file in reversed(files) for _, data in read(file, driver)]
    assert lines == [b"line %d\n" % n for n in range(200 - len(lines), 200)]


def test_following_finds_what_turned_over_more_than_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(str(path), "local", 100, 4)
    log.write(1, b"a" * 60)
    with path.open("rb") as reader:  # open as long as it is followed, so that its number is not given away
        inode = os.fstat(reader.fileno()).st_ino
        log.write(1, b"b" * 60)
        assert logs._files_between(inode, str(path), 4) == []  # log.1 is the one: what follows is the newest
        log.write(1, b"c" * 60)
        assert logs._files_between(inode, str(path), 4) == [f"{path}.1"]
        for letter in b"defgh":
            log.write(1, bytes([letter]) * 60)
        assert logs._files_between(inode, str(path), 4) == [f"{path}.3", f"{path}.2", f"{path}.1"]
    log.close()


def test_a_link_in_the_logs_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (tmp_path / "log").symlink_to(target)
    log = Log(str(tmp_path / "log"), "local", 0, 1)
    log.write(1, b"x")
    log.close()
    assert not target.exists() and log.problem.startswith("cannot open the log")


def test_none_writes_nothing(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log"), "none", 0, 1)
    log.write(1, b"x\n")
    log.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("driver", ["local", "json-file"])
def test_a_full_disk_leaves_whole_records(tmp_path: Path, driver: str) -> None:
    # The size that a process may give to a file stands for the size of a disk: writes come short, then fail.
    path = tmp_path / "log"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
            log = Log(str(path), driver, 0, 1)
            for number in range(100):
                log.write(1, b"line %d\n" % number)
            lost = log.problem.startswith("output lost to the log")
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            log.write(1, b"space again\n")
            log.close()
            code = 0 if lost else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    records = [data for _, data in read(path, driver)]
    assert records[:3] == [b"line 0\n", b"line 1\n", b"line 2\n"] and records[-1] == b"space again\n"
    assert 3 < len(records) < 100


@pytest.mark.parametrize(
    ("pieces", "count", "expected"),
    [
        ([b"1\n2\n", b"3\n"], 2, b"2\n3\n"),
        ([b"1\n2", b"3\n"], 1, b"23\n"),
        ([b"1\n2\n3"], 2, b"2\n3"),
        ([b"1\n"], 5, b"1\n"),
        ([b"1\n"], 0, b""),
        ([b"\n\n\n"], 2, b"\n\n"),
        ([], 3, b""),
        ([b"1\n2\n", b""], 1, b"2\n"),
    ],
)
def test_last_lines(pieces: list[bytes], count: int, expected: bytes) -> None:
    records = [(0, 1, piece) for piece in pieces]
    assert b"".join(data for _, _, data in log_records.last_lines(reversed(records), count)) == expected
