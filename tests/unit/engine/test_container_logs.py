"""The last lines of a log: as many as are asked for, from the end, in both formats, whole, torn and turned over."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underlay.engine.containers import log_records, logs
from underlay.human import rfc3339
from underlay.runtime.monitor.logs import Log

DRIVERS = ("local", "json-file")


def everything(record: log_records.Record) -> bool:
    return True


def shown(
    path: Path,
    driver: str,
    tail: int,
    keep: int = 1,
    passes: Callable[[log_records.Record], bool] = everything,
) -> bytes:
    records = logs._Log(str(path), driver, keep).records(tail, passes, None)
    return b"".join(data for _, _, data in records)


def write(path: Path, driver: str, pieces: list[bytes], limit: int = 0, keep: int = 1) -> None:
    log = Log(str(path), driver, limit, keep)
    for number, piece in enumerate(pieces):
        log.write(1 + number % 2, piece)
    log.close()


def last(text: bytes, count: int) -> bytes:
    return b"".join(text.splitlines(keepends=True)[-count:]) if count else b""


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_end_of_a_large_log_is_read_from_the_end(
    tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    lines = [b"line %d %s\n" % (number, b"x" * 80) for number in range(60_000)]
    log = Log(str(path), driver, 0, 1)
    for start in range(0, len(lines), 100):
        log.write(1, b"".join(lines[start : start + 100]))
    log.close()
    assert path.stat().st_size > 5 << 20
    read = 0
    pread = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        nonlocal read
        data = pread(fd, size, offset)
        read += len(data)
        return data

    def none(file: object) -> None:
        pytest.fail("read from the beginning")

    monkeypatch.setattr(os, "pread", counting)
    monkeypatch.setattr(log_records.format_of(driver), "forwards", none)
    assert shown(path, driver, 5) == b"".join(lines[-5:])
    assert read < 300 << 10
    read = 0
    assert shown(path, driver, 0) == b""
    assert read < 100 << 10
    monkeypatch.undo()
    for count in (-1, 10**9):
        assert shown(path, driver, count) == b"".join(lines)


@pytest.mark.parametrize("driver", DRIVERS)
@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from((b"a\n", b"bc", b"\n", b"d\ne\nf", b"long " * 40 + b"\n", b"g\n\n")), max_size=30),
    st.integers(0, 12),
    st.sampled_from((0, 60, 400)),
    st.integers(5, 300),
)
def test_any_pieces_and_files(
    tmp_path_factory: pytest.TempPathFactory, driver: str, pieces: list[bytes], count: int, limit: int, block: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    write(path, driver, pieces, limit, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_records, "_BLOCK", block)
        whole = shown(path, driver, -1, 4)
        assert shown(path, driver, count, 4) == last(whole, count)


@pytest.mark.parametrize("driver", DRIVERS)
def test_lines_longer_than_a_block(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "log"
    long = b"x" * 300_000 + b"\n"
    write(path, driver, [b"a\n", b"", long, b"", b"b\n"])
    assert [shown(path, driver, count) for count in (1, 2, 3, 4)] == [
        b"b\n",
        long + b"b\n",
        *[b"a\n" + long + b"b\n"] * 2,
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_empty_and_missing_files(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "log"
    for count in (0, 3, -1):
        assert shown(path, driver, count, 3) == b""
    path.touch()
    Path(f"{path}.2").touch()
    write(Path(f"{path}.1"), driver, [b"1\n2\n"])
    assert [shown(path, driver, count, 3) for count in (0, 1, 3, -1)] == [b"", b"2\n", b"1\n2\n", b"1\n2\n"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_torn_ends(tmp_path: Path, driver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "_PAUSE", 0)
    path = tmp_path / "log"
    write(path, driver, [b"one\ntwo\n", b"", b"three\n"])
    before = path.stat().st_size
    write(path, driver, [b"", b"", b"four\n"])
    data = path.read_bytes()
    record = before if driver == "json-file" else len(data) - len(b"four\n") - 17
    for size in range(record, len(data)):
        path.write_bytes(data[:size])
        assert shown(path, driver, 2) == b"two\nthree\n"
        assert shown(path, driver, -1) == b"one\ntwo\nthree\n"


def test_damage_is_passed_over_or_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, "json-file", [b"one\n"])
    with path.open("ab") as file:
        file.write(
            b'nonsense\n[]\n{"log": 1, "stream": "stdout", "time": "2026-01-01T00:00:00Z"}\n' + b"[" * 100_000 + b"\n"
        )
    write(path, "json-file", [b"two\n"])
    for count in (5, -1):
        assert shown(path, "json-file", count) == b"one\ntwo\n"
    path.write_bytes(b"\xff" * 40 + b"\x05\x00\x00\x00" + b"\xfe" * 13)
    write(path, "local", [b"two\n"])
    assert shown(path, "local", 5) == b"two\n"


@pytest.mark.parametrize("driver", DRIVERS)
def test_between_two_times_and_of_one_stream(tmp_path: Path, driver: str) -> None:
    path = tmp_path / "log"
    write(path, driver, [b"%d\n" % number for number in range(20)])
    with path.open("rb") as file:
        records = list(log_records.format_of(driver).forwards(file))
    since, until = records[5][0], records[15][0]
    within = lambda record: since <= record[0] <= until  # noqa: E731
    assert shown(path, driver, 3, passes=within) == b"13\n14\n15\n"
    assert shown(path, driver, 30, passes=within) == b"".join(b"%d\n" % number for number in range(5, 16))
    assert shown(path, driver, 2, passes=lambda record: record[1] == 2) == b"17\n19\n"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tail", [0, 2, -1])
def test_following_goes_on_where_the_last_lines_end(tmp_path: Path, driver: str, tail: int) -> None:
    path = tmp_path / "log"
    log = Log(str(path), driver, 0, 4)
    for number in range(5):
        log.write(1, b"old %d\n" % number)
    turns = itertools.count()

    def over() -> bool:
        turn = next(turns)
        if turn < 3:
            log.write(1, b"new %d\n" % turn)
        if turn == 1:
            log._turn_over()
        return turn >= 3

    found = b"".join(data for _, _, data in logs._Log(str(path), driver, 4).records(tail, everything, over))
    old = [b"old %d\n" % number for number in range(5)]
    log.close()
    assert found == b"".join(old[len(old) - tail :] if tail >= 0 else old) + b"new 0\nnew 1\nnew 2\n"


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("tail", [100, -1])
def test_files_that_turn_over_while_they_are_opened(
    tmp_path: Path, driver: str, tail: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    log = Log(str(path), driver, 0, 4)
    log.write(1, b"one\n")
    opened = logs._opened

    def slowly(name: str) -> object:
        found = opened(name)
        if name == str(path):
            monkeypatch.setattr(logs, "_opened", opened)
            log._turn_over()
            log.write(1, b"two\n")
        return found

    monkeypatch.setattr(logs, "_opened", slowly)
    assert shown(path, driver, tail, 4) == b"one\ntwo\n"
    log.close()


def test_times_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "log"
    when = 1_764_300_000_123_456_789
    path.write_text(json.dumps({"log": "a\n", "stream": "stdout", "time": rfc3339(when)}) + "\n")
    for tail in (1, -1):
        records = logs._Log(str(path), "json-file", 1).records(tail, everything, None)
        assert list(records) == [(when, 1, b"a\n")]
