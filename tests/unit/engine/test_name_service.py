"""What the name server reads from the database, and what is on record of networks that were removed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from underlay.engine.networks.name_service import Names
from underlay.errors import Conflict
from underlay.paths import Paths
from underlay.store.rows import networks as rows
from underlay.store.rows.meta import Meta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IDS = {"front": "ab" * 32, "back": "cd" * 32, "bridge": "ef" * 32}
RECORD = {"driver": "bridge", "created": 0, "interface": "br0"}
ONE, TWO = "1" * 64, "2" * 64


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[Meta]:
    made = Meta(str(tmp_path / "meta.db"))
    for name, network_id in IDS.items():
        rows.insert(made, lambda _, name=name, network_id=network_id: _record(name, network_id))  # type: ignore[misc]
    for container, name, intent in (
        (ONE, "web", '{"spec": {"hostname": "www.test"}, "options": {"dns": ["192.0.2.5", "a.name"]}}'),
        (TWO, "db", '{"spec": {}, "options": {}}'),
    ):
        with made.write() as sql:
            sql.execute("INSERT INTO containers VALUES (?, ?, '', 0, ?)", (container, name, intent))
        (tmp_path / "containers" / container).mkdir(parents=True)
        (tmp_path / "containers" / container / "net").touch()
    yield made
    made.close()


def _record(name: str, network_id: str) -> Any:
    return {**RECORD, "id": network_id, "name": name, "pools": [], "internal": name == "back"}


def lease(meta: Meta, network: str, container: str, address: str, *aliases: str) -> rows.Lease:
    with meta.write() as sql:
        return rows.lease(sql, IDS[network], container, lambda _, __: (address, "", "02:00:00:00:00:01", aliases))


def test_names_come_from_the_database(meta: Meta, tmp_path: Path) -> None:
    names = Names(Paths(str(tmp_path), str(tmp_path)))
    lease(meta, "front", ONE, "10.0.0.2", "alias")
    lease(meta, "front", "build-1-2-3", "10.0.0.4")
    lease(meta, "bridge", TWO, "10.1.0.2")
    assert names.changed() and not names.changed()
    asker = names.asker(ONE)
    (directory,) = asker.directories
    called = {"web", "alias", ONE[:12], "www.test"}
    assert {name.decode() for name in directory.names} == called | {f"{name}.front" for name in called}
    assert directory.addresses == {b"\x0a\0\0\2": ("web", f"{tmp_path}/containers/{ONE}/net")}
    assert (asker.servers, asker.forwards) == (["192.0.2.5"], True)
    # A step of a build asks, the default network has no names.
    assert names.asker("build-1-2-3").directories == [directory]
    assert names.asker(TWO).directories == [] and names.asker(TWO).forwards
    lease(meta, "front", TWO, "10.0.0.3")
    assert names.changed()
    assert b"db" in names.asker(ONE).directories[0].names


def test_only_internal_networks_ask_nobody_else(meta: Meta, tmp_path: Path) -> None:
    names = Names(Paths(str(tmp_path), str(tmp_path)))
    lease(meta, "back", ONE, "10.0.0.2")
    assert not names.asker(ONE).forwards
    lease(meta, "front", ONE, "10.1.0.2")
    assert names.asker(ONE).forwards


def test_interfaces_have_the_lowest_free_number(meta: Meta) -> None:
    assert [lease(meta, name, ONE, "10.0.0.2").position for name in ("front", "back")] == [0, 1]
    rows.give_back(meta, IDS["front"], ONE)
    assert [lease(meta, name, ONE, "10.0.0.2").position for name in ("bridge", "front")] == [0, 2]


def test_addresses_that_rest(meta: Meta, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def choose(address: str) -> Callable[[list[rows.Lease], list[str]], tuple[str, str, str, tuple[str, ...]]]:
        def work(_: object, resting: list[str]) -> tuple[str, str, str, tuple[str, ...]]:
            seen.append(resting)
            return address, "", "", ()

        return work

    for address in ("10.0.0.2", "10.0.0.3"):
        with meta.write() as sql:
            rows.lease(sql, IDS["front"], ONE, choose(address))
        rows.give_back(meta, IDS["front"], ONE)
    with meta.write() as sql:
        rows.lease(sql, IDS["front"], ONE, choose("10.0.0.4"))
        rows.lease(sql, IDS["back"], ONE, choose("10.0.0.4"))
    assert seen == [[], ["10.0.0.2"], ["10.0.0.2", "10.0.0.3"], []]
    monkeypatch.setattr(rows, "REST", -1)
    with meta.write() as sql:
        rows.lease(sql, IDS["front"], TWO, choose("10.0.0.5"))
    assert seen[-1] == []


def test_a_network_is_removed_while_stopped_containers_need_it(meta: Meta) -> None:
    lease(meta, "front", ONE, "10.0.0.2", "alias", "other")
    lease(meta, "front", TWO, "10.0.0.3")
    with pytest.raises(Conflict, match="front has active endpoints: db"):
        rows.delete(meta, IDS["front"], "front", lambda container: container == TWO, lambda: None)
    assert len(rows.leases(meta, network=IDS["front"])) == 2
    rows.delete(meta, IDS["front"], "front", lambda _: False, lambda: None)
    assert rows.leases(meta, container=ONE) == []
    (orphan,) = rows.orphans(meta, ONE)
    assert (orphan.network, orphan.position, list(orphan.aliases)) == ("front", 0, ["alias", "other"])
    with meta.write() as sql:
        rows.adopt(sql, ONE, "front")
    assert rows.orphans(meta, ONE) == [] and len(rows.orphans(meta, TWO)) == 1


def test_a_step_of_a_build_keeps_its_network(meta: Meta) -> None:
    lease(meta, "front", "build-1-2-3", "10.0.0.2")
    with pytest.raises(Conflict, match="active endpoints: a step of a build"):
        rows.delete(meta, IDS["front"], "front", lambda _: False, lambda: None)
