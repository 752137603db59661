"""From Python, in a process that lives on: what comes, goes, starts or ends while a call is at work."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engines import Installation
from underlay import Engine
from underlay.engine import presence
from underlay.engine.containers import ending
from underlay.engine.containers import top as processes
from underlay.errors import Conflict
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
