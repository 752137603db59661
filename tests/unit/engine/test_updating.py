"""What an update makes of a record, and what of it the living group is told."""

from __future__ import annotations

from typing import Any

import pytest

from underlay.engine.containers.update import changed_intent, difference
from underlay.errors import Conflict


def intent(resources: dict[str, Any] | None = None, **options: object) -> dict[str, Any]:
    rules = [{"allow": False, "access": "rwm"}]
    return {
        "options": {"image": "box", **options},
        "spec": {"linux": {"resources": {"devices": rules, **(resources or {})}, "maskedPaths": ["/x"]}},
        "restart": {"name": "no", "maximum": 0},
        "remove": False,
        "labels": {"a": "b"},
    }


def test_only_what_is_given_changes() -> None:
    throttles = {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}]}
    before = intent({"blockIO": throttles, "pids": {"limit": 9}}, pids_limit=9, device_read_bps=["/dev/gone:5"])
    after = changed_intent(before, {"memory": 64 << 20, "blkio_weight": 500, "restart": "always"})
    found = after["spec"]["linux"]["resources"]
    assert found == {
        "devices": [{"allow": False, "access": "rwm"}],
        "pids": {"limit": 9},
        "memory": {"limit": 64 << 20, "swap": 128 << 20},
        "blockIO": {**throttles, "weight": 500},
    }
    assert after["restart"] == {"name": "always", "maximum": 0} and after["labels"] == {"a": "b"}
    assert after["options"]["memory"] == 64 << 20 and after["options"]["pids_limit"] == 9
    assert after["spec"]["linux"]["maskedPaths"] == ["/x"]
    assert "memory" not in before["options"] and "memory" not in before["spec"]["linux"]["resources"]


def test_no_limit_of_processes() -> None:
    after = changed_intent(intent({"pids": {"limit": 9}}, pids_limit=9), {"pids_limit": 0})
    assert after["spec"]["linux"]["resources"]["pids"] == {"limit": -1}


def test_conflicts() -> None:
    with pytest.raises(Conflict, match="AutoRemove"):
        changed_intent({**intent(), "remove": True}, {"restart": "no"})
    with pytest.raises(Conflict, match="already set memoryswap"):
        changed_intent(intent(memory=64 << 20, memory_swap=96 << 20), {"memory": 128 << 20})
    # No limit of swap is no limit that the new one could be above.
    changed_intent(intent(memory=64 << 20, memory_swap=-1), {"memory": 128 << 20})


def test_difference() -> None:
    before = {"cpu": {"shares": 5, "cpus": "0"}, "memory": {"limit": 1, "swap": 2, "reservation": 3}, "devices": []}
    after = {**before, "cpu": {"shares": 6, "cpus": "0"}, "pids": {"limit": 4}}
    assert difference(before, after) == {"cpu": {"shares": 6}, "pids": {"limit": 4}}
    # Version 2 needs both to know what is left for swap.
    after = {**before, "memory": {"limit": 9, "swap": 2, "reservation": 3}}
    assert difference(before, after) == {"memory": {"limit": 9, "swap": 2}}
    assert difference(before, before) == {}
