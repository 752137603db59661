"""User namespaces: subordinate ids as files give them, and maps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engines import needs_root
from underlay.errors import UnderlayError
from underlay.linux import userns


def test_subordinate_ranges(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text(
        "# comment\n"
        "alice:100000:65536\n"
        "bob:200000:65536\n"
        "1000:300000:10\n"
        "alice:400000:5\n"
        "alice:x:5\n"
        "alice:-5:5\n"
        "alice:5\n"
        "alice:500000:0\n"
        "\n"
    )
    assert userns.subordinate(str(file), "alice", 1000) == [(100000, 65536), (300000, 10), (400000, 5)]
    assert userns.subordinate(str(file), "bob", 1) == [(200000, 65536)]
    assert userns.subordinate(str(file), "carol", 2) == []
    assert userns.subordinate(str(tmp_path / "missing"), "alice", 1000) == []


def test_where_roots_containers_get_ids_from(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    assert userns.pool(str(file)) == [userns.POOL]
    file.write_text("alice:1:2\ncontainers:100:200\n")
    assert userns.pool(str(file)) == [(100, 200)]
    file.write_text("containers:100:200\nunderlay:5:6\nunderlay:7:8\n")
    assert userns.pool(str(file)) == [(5, 6), (7, 8)]
    first, count = userns.POOL
    assert first + count == (1 << 32) - (1 << 16)  # -1 and -2 have meanings of their own


@pytest.mark.parametrize("own", [0, 1, 5, 1000, 70000])
def test_keeping_ones_own_id(own: int) -> None:
    kept = userns.keeping(
        own,
        [
            {"containerID": 0, "hostID": 777, "size": 1},
            {"containerID": 1, "hostID": 100000, "size": 3},
            {"containerID": 4, "hostID": 200000, "size": 65536},
        ],
    )
    assert userns.outside(own, kept) == 777
    known = [number for number in range(70001) if userns.outside(number, kept) >= 0]
    others = [userns.outside(number, kept) for number in known if number != own]
    assert others == [*range(100000, 100003), *range(200000, 265536)]
    assert set(known) == set(range(65540)) if own < 65540 else set(known) == {own, *range(65539)}
    assert userns.outside(1 << 31, kept) == -1


def test_subordinate_survives_odd_bytes(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_bytes(b"\xff\xfe:1:2\nalice:7:8\n")
    assert userns.subordinate(str(file), "alice", 1000) == [(7, 8)]


def test_default_maps_begin_with_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(userns, "helper", lambda name: "/usr/bin/" + name)
    monkeypatch.setattr(userns, "subordinate", lambda path, name, number: [(100000, 10), (200000, 5)])
    uids, gids = userns.default_maps()
    assert uids == [
        {"containerID": 0, "hostID": os.geteuid(), "size": 1},
        {"containerID": 1, "hostID": 100000, "size": 10},
        {"containerID": 11, "hostID": 200000, "size": 5},
    ]
    assert gids[0]["hostID"] == os.getegid()
    monkeypatch.setattr(userns, "helper", lambda name: "")
    assert userns.default_maps()[0] == [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]


def test_as_root_tells_failures() -> None:
    needs_root()

    def fails() -> None:
        raise UnderlayError("this and that")

    def breaks() -> None:
        os.stat("/no/such/place")

    with pytest.raises(UnderlayError, match="this and that"):
        userns.as_root(fails)
    with pytest.raises(UnderlayError, match="No such file or directory: /no/such/place"):
        userns.as_root(breaks)


def test_as_root_is_another_namespace(tmp_path: Path) -> None:
    needs_root()
    file = tmp_path / "ns"
    userns.as_root(lambda: file.write_text(os.readlink("/proc/self/ns/user") + f" {os.getuid()}") and None)
    namespace, uid = file.read_text().split()
    assert namespace != os.readlink("/proc/self/ns/user") and uid == "0"
