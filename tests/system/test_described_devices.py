"""Devices by their names in CDI, and GPUs, with descriptions made for the test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation

pytestmark = pytest.mark.root

YAML = """
cdiVersion: 0.6.0
kind: yaml.example/device
devices:
  - name: y
    containerEdits:
      env: [FROM_YAML=1]
"""


@pytest.fixture
def described(ul: Installation, tmp_path: Path) -> Iterator[Path]:
    """A directory with descriptions; hooks write what they are told to `told`."""
    place = tmp_path / "cdi"
    place.mkdir()
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $HOOKED $(tr -d "\\n")" >> {tmp_path}/told\n[ "$1" != fail ]\n')
    hook.chmod(0o755)

    def hooks(*kinds: str) -> list[dict[str, object]]:
        return [{"hookName": k, "path": str(hook), "args": ["hook", k], "env": ["HOOKED=1"]} for k in kinds]

    one = {
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/class",
        "containerEdits": {"env": ["ALL=1"]},
        "devices": [
            {
                "name": "a",
                "containerEdits": {
                    "env": ["A=vendor"],
                    "deviceNodes": [{"path": "/dev/mine", "hostPath": "/dev/full"}],
                    "mounts": [{"hostPath": str(place), "containerPath": "/opt/vendor", "options": ["ro", "rbind"]}],
                    "additionalGids": [4321],
                },
            },
            {"name": "hooked", "containerEdits": {"hooks": hooks("createRuntime", "createContainer", "poststart")}},
            {
                "name": "failing",
                "containerEdits": {
                    "hooks": [{"hookName": "createRuntime", "path": str(hook), "args": ["hook", "fail"]}]
                },
            },
            {"name": "late", "containerEdits": {"hooks": hooks("poststop")}},
        ],
    }
    gpu = {"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": []}
    gpu["devices"] = [{"name": n, "containerEdits": {"env": [f"GPU{n}=1"]}} for n in ("0", "1", "all")]
    (place / "one.json").write_text(json.dumps(one))
    (place / "gpu.json").write_text(json.dumps(gpu))
    (place / "two.yaml").write_text(YAML)
    ul.environment["UNDERLAY_CDI"] = str(place)
    yield tmp_path / "told"
    del ul.environment["UNDERLAY_CDI"]


def test_nodes_mounts_and_variables(ul: Installation, described: Path) -> None:
    show = ["sh", "-c", "echo $ALL $A $B; stat -c %t:%T /dev/mine; ls /opt/vendor; id -G; echo x > /dev/mine"]
    done = ul(
        "run",
        "--rm",
        "--network",
        "none",
        "--device",
        "vendor.com/class=a",
        "-e",
        "A=mine",
        "-e",
        "B=2",
        "box",
        *show,
        code=1,
    )
    assert done.stdout.decode().split() == ["1", "vendor", "2", "1:7", "gpu.json", "one.json", "two.yaml", "0", "4321"]
    assert "No space left" in done.stderr.decode()
    ul("create", "--name", "made", "--device", "vendor.com/class=a", "--device", "/dev/null:/dev/other", "box")
    config = json.loads(ul.out("inspect", "-f", "{{json .HostConfig}}", "made"))
    assert (
        config["DeviceRequests"][0]["DeviceIDs"] == ["vendor.com/class=a"]
        and config["DeviceRequests"][0]["Driver"] == "cdi"
    )
    assert [device["PathInContainer"] for device in config["Devices"]] == ["/dev/other"]
    pytest.importorskip("yaml")
    assert ul.run("--device", "yaml.example/device=y", "box", "sh", "-c", "echo $FROM_YAML") == "1"


def test_hooks(ul: Installation, described: Path) -> None:
    ul.run("--device", "vendor.com/class=hooked", "box", "true")
    lines = described.read_text().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["createRuntime", "1"],
        ["createContainer", "1"],
        ["poststart", "1"],
    ]
    states = [json.loads(line.split(" ", 2)[2]) for line in lines]
    assert [state["status"] for state in states] == ["creating", "creating", "running"]
    assert all(state["pid"] > 0 and state["bundle"].startswith(str(ul.state)) for state in states)
    said = ul(
        "run", "--network", "none", "--name", "no", "--device", "vendor.com/class=failing", "box", "true", code=125
    )
    assert "hooks.createRuntime[0]" in said.stderr.decode()
    ul("rm", "no")


def test_gpus(ul: Installation, described: Path) -> None:
    show = ["sh", "-c", "echo $GPU0:$GPU1:$GPUall"]
    for text, shown in (
        ("all", "::1"),
        ("1", "1::"),
        ("2", "1:1:"),
        ("device=1", ":1:"),
        ('"device=0,1"', "1:1:"),
        ("count=1,driver=nvidia", "1::"),
    ):
        assert ul.run("--gpus", text, "box", *show) == shown, text
    for text, message in (
        ("3", "there are 2 GPUs"),
        ("device=7", "unresolvable CDI devices nvidia.com/gpu=7"),
        ("driver=amd", 'could not select device driver "amd" with capabilities: [[gpu]]'),
        ("nonsense", 'invalid argument "nonsense" for "--gpus" flag'),
        ("all,capabilities=utility", "invalid argument"),
        ("capabilities=utility", "capabilities"),
    ):
        assert message in ul("run", "--network", "none", "--gpus", text, "box", "true", code=125).stderr.decode()


def test_devices_that_are_refused(ul: Installation, described: Path) -> None:
    place = Path(ul.environment["UNDERLAY_CDI"])

    def fails(device: str, *words: str) -> str:
        return ul("run", "--network", "none", "--device", device, *words, "box", "true", code=125).stderr.decode()

    assert "unresolvable CDI devices vendor.com/class=none" in fails("vendor.com/class=none")
    assert "hooks poststop are not run" in fails("vendor.com/class=late")
    assert "Duplicate mount point: /opt/vendor" in fails("vendor.com/class=a", "-v", "/opt/vendor")
    (place / "bad.json").write_text("{")
    assert "bad.json" in fails("vendor.com/class=a")
    ul.environment["UNDERLAY_CDI"] = "/nothere"
    assert "described in /nothere" in fails("vendor.com/class=a")
    assert ul.out("ps", "-aq") == ""
    said = ul("run", "--network", "none", "--gpus", "all", "box", "true", code=125).stderr.decode()
    assert 'could not select device driver "" with capabilities: [[gpu]]' in said
