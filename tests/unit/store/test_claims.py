"""Claims: ranges never overlap, come back with their container, and are shared only when asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.errors import LimitExceeded
from underlay.store.rows import containers, id_ranges
from underlay.store.rows.meta import Meta


def wanted(
    size: int, pool: list[tuple[int, int]], kind: str = id_ranges.UID, busy: frozenset[int] = frozenset()
) -> Any:
    return id_ranges.Wanted(
        kind, size, pool, lambda intent, first: intent.update({kind: first}), lambda first: first not in busy
    )


def test_the_lowest_free_range_is_taken() -> None:
    pool = [(1000, 300), (5000, 100)]
    assert id_ranges.free(wanted(100, pool), []) == 1000
    assert id_ranges.free(wanted(100, pool), [(1000, 100)]) == 1100
    assert id_ranges.free(wanted(100, pool), [(1050, 100)]) == 1150
    assert id_ranges.free(wanted(50, pool), [(1050, 250)]) == 1000
    assert id_ranges.free(wanted(100, pool), [(1000, 300)]) == 5000
    assert id_ranges.free(wanted(100, pool, busy=frozenset((1000, 1100))), []) == 1200
    with pytest.raises(LimitExceeded, match="no 301 unused uids are left"):
        id_ranges.free(wanted(301, pool), [])
    with pytest.raises(LimitExceeded):
        id_ranges.free(wanted(1, pool), [(0, 10000)])


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 60)), max_size=8), st.integers(1, 60))
def test_what_is_found_overlaps_nothing(taken: list[tuple[int, int]], size: int) -> None:
    pool = [(50, 150), (220, 100)]
    fits = [
        first
        for start, count in pool
        for first in range(start, start + count - size + 1)
        if all(first + size <= other or other + length <= first for other, length in taken)
    ]
    try:
        assert id_ranges.free(wanted(size, pool), taken) in fits
    except LimitExceeded:
        assert fits == []


def test_claims_go_with_their_container(tmp_path: Path) -> None:
    meta = Meta(str(tmp_path / "meta.db"))
    with meta.write() as sql:
        sql.execute("INSERT INTO images VALUES ('i', 'm', 'a', 'o', '', '', 0, 0, '', 'c', 0)")
    pool = [(1000, 200)]

    def make(name: str, *wishes: Any, shares: str = "") -> dict[str, Any]:
        intent: dict[str, Any] = {}
        containers.insert(meta, name, name, "i", intent, [], wishes, shares)
        return intent

    assert make("one", wanted(100, pool)) == {"uid": 1000}
    assert make("two", wanted(100, pool)) == {"uid": 1100}
    make("three", shares="one")
    with pytest.raises(LimitExceeded):
        make("four", wanted(100, pool))
    assert meta.read("SELECT count(*) FROM containers WHERE id = 'four'") == [(0,)]
    containers.delete(meta, "one", False)
    with pytest.raises(LimitExceeded):  # the one that shares them still has them
        make("four", wanted(100, pool))
    containers.delete(meta, "three", False)
    assert id_ranges.look(meta, wanted(100, pool)) == 1000
    assert containers.find(meta, "two").intent == {"uid": 1100}
    meta.close()
