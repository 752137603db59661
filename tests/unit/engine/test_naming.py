"""Who is in a network is told in the order in which it became so."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from underlay.engine.networks import names
from underlay.network.model import Network, Pool
from underlay.store.rows import networks as rows
from underlay.store.rows.meta import Meta

RECORD = {"id": "ab" * 32, "name": "front", "driver": "bridge", "created": 0, "interface": "br0"}
POOL = ["10.0.0.0/24", "10.0.0.1"]


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    meta = Meta(str(tmp_path / "meta.db"))
    rows.insert(meta, lambda _: {**RECORD, "pools": [POOL]})
    yield SimpleNamespace(meta=meta, paths=SimpleNamespace(state=str(tmp_path)))
    meta.close()


def network() -> Network:
    return Network(**{**RECORD, "pools": (Pool(*POOL),)})


def test_what_was_read_first_does_not_replace_what_was_read_later(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[Thread] = []

    def describe(*_: object) -> dict[str, Any]:
        """The first one is slow, and while it is at it another begins."""
        if others:
            return {"names": "new"}
        others.append(Thread(target=names.refresh, args=(engine, network())))
        others[0].start()
        others[0].join(0.2)
        return {"names": "old"}

    monkeypatch.setattr(names, "_description", describe)
    names.refresh(engine, network())
    others[0].join()
    assert json.loads(Path(names.directory(engine), f"{RECORD['id']}.json").read_text()) == {"names": "new"}


def test_nothing_is_told_of_a_network_that_was_removed(engine: Any) -> None:
    rows.delete(engine.meta, str(RECORD["id"]), "front", lambda: None)
    names.end(engine, network())
    names.refresh(engine, network())
    assert not list(Path(names.directory(engine)).glob("*.json"))
