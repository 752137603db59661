"""From Python, in a process that lives on: what comes, goes, starts or ends while a call is at work."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engines import Installation, until
from underlay import Attachment, ContainerOptions, Engine, ExecOptions
from underlay.engine import presence
from underlay.engine.containers import ending
from underlay.engine.containers import top as processes
from underlay.errors import Conflict, StartFailed
from underlay.linux import cgroup, process
from underlay.runtime.monitor import control
from underlay.runtime.process import interpreter
from underlay.store.rows import containers as container_rows
from underlay.store.rows import images as image_rows
from underlay.store.rows import networks as network_rows

pytestmark = pytest.mark.root


@pytest.fixture
def engine(ul: Installation) -> Iterator[Engine]:
    """The installation from Python."""
    with Engine(str(ul.root), str(ul.state)) as engine:
        yield engine


def create(engine: Engine, name: str) -> str:
    return engine.containers.create("box", ["sleep", "60"], name=name, network="none", stop_timeout=0).id


def after(monkeypatch: pytest.MonkeyPatch, place: object, name: str, act: Callable[[], object]) -> None:
    """Have `act` happen once, just after the function `name` of `place` has looked."""
    look = getattr(place, name)

    def looked(*values: Any, **named: Any) -> Any:
        found = look(*values, **named)
        monkeypatch.setattr(place, name, look)
        act()
        return found

    monkeypatch.setattr(place, name, looked)


def test_prune_passes_over_what_vanishes_and_what_starts(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, started, left = (create(engine, name) for name in ("gone", "started", "left"))

    def meanwhile() -> None:
        engine.containers.remove(gone)
        session = engine.containers.start_attached(started)
        assert session is not None
        session.close()

    after(monkeypatch, ending, "listed", meanwhile)
    pruned = engine.containers.prune()
    assert pruned.removed == [left]
    assert [item.id for item in engine.containers.list(all=True)] == [started]
    engine.containers.remove(started, force=True)


def test_a_list_is_without_what_vanishes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, left = create(engine, "gone"), create(engine, "left")
    after(monkeypatch, container_rows, "every", lambda: engine.containers.remove(gone))
    assert [item.id for item in engine.containers.list(all=True)] == [left]
    engine.containers.remove(left)


def test_top_of_what_ends(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    name = create(engine, "ends")
    session = engine.containers.start_attached(name)
    assert session is not None
    session.close()
    after(monkeypatch, presence, "status", lambda: engine.containers.remove(name, force=True))
    with pytest.raises(Conflict, match="is not running"):
        engine.containers.top(name)
    assert processes.of_namespace(0x7FFFFFFF) == []


def test_networks_of_a_container_that_leaves_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    network = engine.networks.create("passing")
    name = engine.containers.create("box", ["true"], network="passing").id

    def meanwhile() -> None:
        engine.networks.disconnect(network.id, name)
        engine.networks.remove(network.id)

    after(monkeypatch, network_rows, "leases", meanwhile)
    assert engine.networks.of(name) == []
    engine.containers.remove(name)


def test_images_while_one_comes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_rows.names(engine._store.meta)
    # What is named already has come after the images were read.
    monkeypatch.setattr(image_rows, "every", lambda meta: [])
    assert engine.images.list() == []


def test_the_garbage_collector_is_the_embedding_programs(engine: Engine) -> None:
    kept: list[list[int]] = [[] for _ in range(10_000)]
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        name = create(engine, "frozen")
        session = engine.containers.start_attached(name)
        assert session is not None
        session.close()
        # Some of what was frozen has been let go of since; nothing was added, nor was all of it thawed.
        assert len(kept) < gc.get_freeze_count() <= before
        engine.containers.remove(name, force=True)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize("end", ["remove", "stop", "kill", "wait"])
def test_nobody_waits_for_an_execution_that_is_not_waited_for(engine: Engine, end: str) -> None:
    session = engine.containers.run_attached(ContainerOptions(image="box", command=["sleep", "60"], network="none"))
    execution = engine.containers.exec_attached(session.id, ExecOptions(command=["sleep", "60"]))
    # Were it our child it would be a zombie from its end until we wait, and the container could not end before.
    assert str(execution.pid) not in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    if end == "remove":
        engine.containers.remove(session.id, force=True)
    elif end == "stop":
        engine.containers.stop(session.id, timeout=0)
    elif end == "kill":
        engine.containers.kill(session.id)
    else:
        os.kill(session.pid, 9)
        assert engine.containers.wait(session.id) == 137
    assert session.wait() == 137
    assert not Path(f"/proc/{execution.pid}").exists()
    assert execution.wait() == 137
    session.close()


def test_an_execution_tells_its_end_and_its_output(engine: Engine) -> None:
    session = engine.containers.run_attached(ContainerOptions(image="box", command=["sleep", "60"], network="none"))
    read, write = os.pipe()
    attachment = Attachment(-1, write, write)
    wish = ExecOptions(command=["sh", "-c", "echo out; exit 7"])
    execution = engine.containers.exec_attached(session.id, wish, attachment)
    assert execution.wait() == 7
    os.close(write)
    assert os.read(read, 100) == b"out\n"
    os.close(read)
    execution = engine.containers.exec_attached(session.id, ExecOptions(command=["sleep", "60"], terminal=True))
    status = Path(f"/proc/{execution.pid}/status").read_text().splitlines()
    keeper = next(line.split()[1] for line in status if line.startswith("PPid"))
    execution.resize(20, 40)
    execution.signal(9)
    assert execution.wait() == 137
    assert until(lambda: not Path(f"/proc/{keeper}").exists())
    execution.signal(9)  # means nothing any more
    execution = engine.containers.exec_attached(session.id, ExecOptions(command=["sleep", "60"], detach=True))
    assert execution.wait() is None
    execution.signal(9)
    assert until(lambda: not Path(f"/proc/{execution.pid}").exists())
    with pytest.raises(StartFailed) as caught:
        engine.containers.exec_attached(session.id, ExecOptions(command=["nosuch"]))
    assert caught.value.exit_code == 127
    session.close()


@pytest.mark.parametrize(
    ("leaving", "place", "name"),
    [
        (True, presence, "status"),  # before anything is done
        (True, cgroup, "open_group"),
        (True, process, "pidfd_open"),  # the first process is there, and ends
        (True, process, "start_time"),
        (True, control, "pair"),
        (False, presence, "status"),
        (False, interpreter, "start"),
    ],
)
def test_executing_in_a_container_that_ends(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, leaving: bool, place: object, name: str
) -> None:
    session = engine.containers.run_attached(ContainerOptions(image="box", command=["sleep", "60"], network="none"))

    def end() -> None:
        os.kill(session.pid, 9)
        assert until(lambda: not Path(f"/proc/{session.pid}").exists())

    monkeypatch.setattr(engine._launcher, "leaving", leaving)
    after(monkeypatch, place, name, end)
    with pytest.raises(Conflict, match=f"container {session.id} is not running"):
        engine.containers.exec_attached(session.id, ExecOptions(command=["true"]))
    session.close()


def test_executing_nothing_is_an_error_of_its_own(engine: Engine) -> None:
    session = engine.containers.run_attached(ContainerOptions(image="box", command=["sleep", "60"], network="none"))
    for words, code in ((["nosuch"], 127), (["/etc"], 126)):
        with pytest.raises(StartFailed) as caught:
            engine.containers.exec_attached(session.id, ExecOptions(command=words))
        assert caught.value.exit_code == code
    session.close()
