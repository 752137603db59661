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
