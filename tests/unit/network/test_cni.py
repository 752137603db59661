"""Configurations of CNI, how plugins are run in a chain, and what their results say; with a plugin of the test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from underlay.errors import Conflict, NotFound
from underlay.network import cni

# Writes down how it is called; its result is what it was given with one more route; fails where a file says so.
PLUGIN = """#!/bin/sh
dir={place}
name=$(basename "$0")
{{ printf '%s %s %s %s|' "$CNI_COMMAND" "$name" "$CNI_IFNAME" "$CNI_NETNS"; cat; echo; }} >> $dir/calls
if [ -e "$dir/$name.$CNI_COMMAND.fails" ]; then
  echo '{{"cniVersion": "1.0.0", "code": 7, "msg": "no more", "details": "of '$name'"}}'; exit 1
fi
[ "$CNI_COMMAND" = ADD ] && echo '{{"cniVersion": "1.0.0", "ips": [{{"address": "10.1.1.2/24"}}], "by": "'$name'"}}'
exit 0
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of configurations (net.d) and of the plugins `first` and `second` (bin)."""
    for name in ("net.d", "bin"):
        (tmp_path / name).mkdir()
    for name in ("first", "second"):
        plugin = tmp_path / "bin" / name
        plugin.write_text(PLUGIN.format(place=tmp_path))
        plugin.chmod(0o755)
    (tmp_path / "netns").touch()
    monkeypatch.setenv("NETCONFPATH", str(tmp_path / "net.d"))
    monkeypatch.setenv("CNI_PATH", f"/nowhere:{tmp_path / 'bin'}")
    return tmp_path


def configure(place: Path, file: str, document: object) -> None:
    (place / "net.d" / file).write_text(document if isinstance(document, str) else json.dumps(document))


def chain(name: str = "net", *kinds: str) -> dict[str, Any]:
    plugins = [
        {"type": kind, "capabilities": {"portMappings": kind == "second"}} for kind in kinds or ("first", "second")
    ]
    return {"cniVersion": "1.0.0", "name": name, "plugins": plugins}


def calls(place: Path) -> list[tuple[str, dict[str, Any]]]:
    lines = (place / "calls").read_text().splitlines()
    return [(line.partition("|")[0], json.loads(line.partition("|")[2])) for line in lines]


def test_configurations_are_read_in_order_and_what_is_none_is_told(place: Path) -> None:
    configure(place, "10-a.conflist", chain("b"))
    configure(place, "20-b.conflist", chain("a"))
    configure(place, "30-c.conflist", chain("a", "second"))
    configure(place, "40-d.conf", {"cniVersion": "0.4.0", "name": "single", "type": "first"})
    configure(place, "50-e.txt", "no matter")
    wrong = {
        "60.conflist": "{",
        "61.conflist": "[]",
        "62.conflist": {**chain(), "name": "../x"},
        "63.conflist": {**chain(), "plugins": []},
        "64.conflist": chain("x", "../../bin/sh"),
        "65.conflist": {**chain(), "cniVersion": "0.2.0"},
        "66.conflist": {"cniVersion": "1.0.0", "name": "x", "plugins": [{"type": "first", "capabilities": [1]}]},
    }
    for file, document in wrong.items():
        configure(place, file, document)
    found, problems = cni.configurations()
    assert [(each.name, Path(each.file).name) for each in found] == [
        ("a", "20-b.conflist"),
        ("b", "10-a.conflist"),
        ("single", "40-d.conf"),
    ]
    assert found[2].plugins[0]["type"] == "first"
    assert [Path(problem.partition(":")[0]).name for problem in problems] == list(wrong)
    with pytest.raises(NotFound) as caught:
        cni.find("x")
    assert "61.conflist: not a JSON object" in caught.value.hint


def test_no_directory_is_no_network(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETCONFPATH", str(place / "none"))
    assert cni.configurations() == ([], [])


def test_a_chain_is_run_forth_and_back(place: Path) -> None:
    configure(place, "net.conflist", chain())
    found, record, netns = cni.find("net"), str(place / "record"), str(place / "netns")
    assert found.offers("portMappings") and not found.offers("ips")
    cni.check(found)
    mappings = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    (result,) = cni.attach(record, "c" * 64, netns, [(found, "eth0", {"portMappings": mappings})])
    assert result["by"] == "second"
    assert cni.detach(record) == [] and not Path(record).exists()
    assert cni.detach(record) == []  # harmless
    done = calls(place)
    assert [call for call, _ in done] == [
        f"ADD first eth0 {netns}",
        f"ADD second eth0 {netns}",
        f"DEL second eth0 {netns}",
        f"DEL first eth0 {netns}",
    ]
    first, second, undone, _ = (given for _, given in done)
    assert first == {"type": "first", "cniVersion": "1.0.0", "name": "net"}
    # What a plugin does not take it is not given; each is told what the one before has done.
    assert second["runtimeConfig"] == {"portMappings": mappings} and second["prevResult"]["by"] == "first"
    assert undone["runtimeConfig"] == {"portMappings": mappings} and undone["prevResult"]["by"] == "second"
    assert "capabilities" not in second


def test_what_was_begun_can_be_undone_without_the_namespace(place: Path) -> None:
    configure(place, "net.conflist", chain())
    (place / "second.ADD.fails").touch()
    record = str(place / "record")
    with pytest.raises(Conflict) as caught:
        cni.attach(record, "c" * 64, str(place / "netns"), [(cni.find("net"), "eth0", {})])
    assert caught.value.message == "network cni:net: plugin second: ADD: no more: of second"
    (place / "netns").unlink()
    (place / "first.DEL.fails").touch()
    # All plugins are asked, and the record stays until none fails.
    assert cni.detach(record) == ["network cni:net: plugin first: DEL: no more: of first"]
    (place / "first.DEL.fails").unlink()
    (place / "bin" / "second").rename(place / "bin" / "gone")
    (problem,) = cni.detach(record)
    assert problem.startswith("the CNI plugin second is not installed")
    (place / "bin" / "gone").rename(place / "bin" / "second")
    assert cni.detach(record) == []
    assert calls(place)[-1][0] == "DEL first eth0 " and "prevResult" not in calls(place)[-1][1]


def test_results() -> None:
    result = {
        "interfaces": [{"name": "cni0", "mac": "02:00:00:00:00:01"}, {"name": "eth0", "mac": "02:x", "sandbox": "/n"}],
        "ips": [
            {"address": "10.1.1.1/24", "interface": 0},
            {"address": "10.1.1.2/24", "gateway": "10.1.1.1", "interface": 1},
            {"address": "fd01::2/64"},
        ],
        "dns": {"nameservers": ["10.1.1.1"], "domain": "a.example", "options": ["ndots:1"]},
    }
    assert cni.understood(result, "eth0") == cni.Result(
        [("10.1.1.2", 24, "10.1.1.1"), ("fd01::2", 64, "")],
        "02:x",
        ["nameserver 10.1.1.1", "search a.example", "options ndots:1"],
    )
    assert cni.understood({}, "eth0") == cni.Result([], "", [])
