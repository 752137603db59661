"""The parts of a watch over bases: the order of rebuilding, what notifications are about, the units of systemd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from underlay.base.scan.database import ScanFile, SeenBase
from underlay.base.watch import webhooks
from underlay.base.watch.news import steps
from underlay.engine.units import watch
from underlay.errors import InvalidInput, NotFound


def test_order_of_rebuilding() -> None:
    base_of = {"own": "os", "python": "own", "app1": "python", "app2": "own", "tool": "os", "other": "alpine"}
    assert steps(["own", "tool"], base_of) == (("own", "tool"), ("app2", "python"), ("app1",))
    # One that has been rebuilt already holds up nobody.
    assert steps(["app2"], base_of) == (("app2",),) and steps([], base_of) == ()
    # Both have been tagged anew since the other was built.
    assert steps(["a"], {"a": "b", "b": "a", "c": "b"}) == (("a", "b", "c"),)


def event(action: str, repository: object, tag: object) -> dict[str, object]:
    return {"action": action, "target": {"repository": repository, "tag": tag, "digest": "sha256:" + "0" * 64}}


def test_what_a_notification_is_about() -> None:
    bases = ["r.example.com/team/os:1", "r.example.com/team/os:2", "debian:12", "?", "NOT A NAME"]
    events = [event("push", "team/os", "1"), event("pull", "team/os", "2"), event("push", "library/debian", "12")]
    assert webhooks.concerned(json.dumps({"events": events}).encode(), bases) == [bases[0], "debian:12"]
    odd = [None, 1, {}, {"action": "push", "target": 1}, event("push", None, ""), event("push", "", "")]
    assert webhooks.concerned(json.dumps({"events": odd}).encode(), bases) == []
    for data in (b"", b"{", b"[]", b'{"events": 1}', b"[" * 100_000):
        with pytest.raises(InvalidInput, match="not a notification"):
            webhooks.concerned(data, bases)


def test_units() -> None:
    assert watch.name("/a/Fleet 1.db") == "underlay-watch-Fleet-1" and watch.name("x") == "underlay-watch-x"
    timed = watch.files(True, "/f.db", ["--format", "json"], 3600)
    assert [path.rpartition(".")[2] for path in timed] == ["service", "timer"]
    service, timer = timed.values()
    assert "Type=oneshot\nSuccessExitStatus=1\n" in service and "base advisories update\n" in service
    assert 'base watch --format json "/f.db"' in service and "[Install]" not in service
    assert "OnUnitActiveSec=3600s\nRandomizedDelaySec=360s\n" in timer and "WantedBy=timers.target" in timer
    ((_, service),) = watch.files(True, "/f.db", ["--listen", "127.0.0.1:8087"], 0).items()
    assert "Type=exec\nRestart=on-failure\n" in service and "WantedBy=default.target" in service
    with pytest.raises(InvalidInput, match="a unit of systemd cannot hold"):
        watch.files(True, "/a\nb", [], 60)


def test_what_is_remembered(tmp_path: Path) -> None:
    path = str(tmp_path / "scan.db")
    with pytest.raises(NotFound, match="no such scan"):
        ScanFile(path, writing=True, make=False)
    with ScanFile(path, writing=True) as scan:
        first = SeenBase("debian:12", "linux/amd64", "sha256:r", "sha256:c", 5, ("CVE-1", "CVE-2"))
        scan.remember_bases([first, first._replace(platform="linux/arm64", advisories=())])
        scan.remember_bases([first._replace(config="sha256:d")])
        assert scan.bases()["debian:12", "linux/amd64"] == first._replace(config="sha256:d")
        assert len(scan.bases()) == 2
        with ScanFile(str(tmp_path / "other.db"), writing=True) as other:
            other.remember_bases([first._replace(seen=9, root="sha256:later"), first._replace(name="x", seen=1)])
        scan.merge(str(tmp_path / "other.db"))
        assert {key[0]: each.root for key, each in scan.bases().items() if key[1].endswith("amd64")} == {
            "debian:12": "sha256:later",
            "x": "sha256:r",
        }
