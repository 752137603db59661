"""The foreman and its workers: results, errors, what threads were doing meanwhile, and how all of it ends."""

from __future__ import annotations

import _socket
import copy
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import needs_root, until
from underlay.builder.workers.workers import Abandoned, Foreman
from underlay.errors import DigestMismatch, KernelError, NotFound, StartFailed, StepFailed, UnderlayError


def double(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    return {"found": arguments["number"] * 2, "thread": threading.active_count(), "pid": os.getpid()}


def refuse(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    raise NotFound("no such thing", "look elsewhere")


def stumble(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    os.rmdir(arguments["path"])
    return {}


def break_down(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    os.kill(os.getpid(), 9)
    return {}


def dawdle(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    """Work for a minute, and tidy up in the end."""
    Path(arguments["path"]).write_text(str(os.getpid()))
    try:
        time.sleep(60)
    finally:
        os.unlink(arguments["path"])
    return {}


def fetch(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    import slow_to_import  # type: ignore[import-not-found]

    return {"found": slow_to_import.VALUE}


def fail(arguments: dict[str, Any], fds: list[int], leash: _socket.socket) -> dict[str, Any]:
    raise FAILURES[arguments["which"]]


FAILURES: list[UnderlayError] = [
    KernelError("mount", "/here", 28, "make room"),
    StartFailed("it does not start", 126, "make it executable"),
    DigestMismatch("a layer", "sha256:aa", "sha256:bb"),
    StepFailed("exit code: 3"),
    Abandoned(),
]
JOBS = {each.__name__: each for each in (double, refuse, stumble, break_down, dawdle, fetch, fail)}


@pytest.fixture
def foreman(tmp_path: Path) -> Iterator[Foreman]:
    needs_root()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    foreman = Foreman(lambda: (JOBS, {"inline": double}), str(scratch))
    yield foreman
    foreman.close()
    assert not scratch.exists() or foreman._pid == -1


def test_jobs_run_in_processes_of_one_thread(foreman: Foreman) -> None:
    first, second = (foreman.call("double", {"number": number}) for number in (2, 3))
    assert (first["found"], second["found"]) == (4, 6)
    assert first["thread"] == 1
    assert len({first["pid"], second["pid"], os.getpid()}) == 3


def test_inline_jobs_run_in_the_foreman(foreman: Foreman) -> None:
    assert foreman.call("inline", {"number": 1})["pid"] == foreman.call("inline", {"number": 1})["pid"]


def test_errors_come_back_as_what_they_were(foreman: Foreman, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such thing") as caught:
        foreman.call("refuse", {})
    assert caught.value.hint == "look elsewhere"
    with pytest.raises(KernelError, match="No such file") as missed:
        foreman.call("stumble", {"path": str(tmp_path / "none")})
    assert (missed.value.errno, missed.value.path) == (2, str(tmp_path / "none"))


@pytest.mark.parametrize("which", range(len(FAILURES)))
def test_errors_come_back_whole(foreman: Foreman, which: int) -> None:
    sent = FAILURES[which]
    with pytest.raises(type(sent)) as caught:
        foreman.call("fail", {"which": which})
    assert type(caught.value) is type(sent)
    assert str(caught.value) == str(sent)
    assert (vars(caught.value), caught.value.exit_code) == (vars(sent), sent.exit_code)


@pytest.mark.parametrize("sent", FAILURES, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled_and_copied(sent: UnderlayError) -> None:
    for other in (pickle.loads(pickle.dumps(sent)), copy.copy(sent)):
        assert type(other) is type(sent)
        assert (str(other), vars(other)) == (str(sent), vars(sent))


def test_a_killed_worker_is_told_and_others_go_on(foreman: Foreman) -> None:
    with pytest.raises(UnderlayError, match="was killed"):
        foreman.call("break_down", {})
    assert foreman.call("double", {"number": 4})["found"] == 8


def test_long_arguments(foreman: Foreman) -> None:
    assert len(foreman.call("double", {"number": "x" * 3_000_000})["found"]) == 6_000_000


def test_abandoned_workers_tidy_up(foreman: Foreman, tmp_path: Path) -> None:
    path = tmp_path / "mark"
    found: list[BaseException] = []

    def ask() -> None:
        try:
            foreman.call("dawdle", {"path": str(path)})
        except Abandoned as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert until(lambda: path.exists() and path.read_text() != "")
    pid = int(path.read_text())
    foreman.close()
    thread.join()
    assert not path.exists() and len(found) == 1
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(Abandoned):
        foreman.call("double", {"number": 1})


def test_what_a_thread_was_importing(foreman: Foreman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker forked while another thread imports a module does not wait for that thread."""
    mark = tmp_path / "importing"
    (tmp_path / "slow_to_import.py").write_text(
        f"import os, time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(1)\nVALUE = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    thread = threading.Thread(target=lambda: __import__("slow_to_import"))
    thread.start()
    try:
        assert until(mark.exists)
        assert foreman.call("fetch", {})["found"] == 7
    finally:
        thread.join()
        sys.modules.pop("slow_to_import", None)
