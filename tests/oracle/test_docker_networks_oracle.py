"""Networks and endpoints as a real docker daemon makes and shows them, beside ours: the same words, the same answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dockerdaemon
from networks import World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures

BRIDGE = "com.docker.network.bridge."
Docker = Callable[..., str]


@pytest.fixture(scope="module")
def docker(world: World) -> Iterator[Docker]:
    """Run docker's client; the daemon works in a network namespace of its own, the neighbour's."""
    if not shutil.which("docker") or not shutil.which("iptables-nft"):
        pytest.skip("no docker or no iptables")
    place = Path(tempfile.mkdtemp(prefix="dk"))
    try:
        with dockerdaemon.running(place, "--storage-driver=vfs", inside=world.place / "neighbour") as address:

            def client(*words: str, code: int = 0) -> str:
                done = subprocess.run(["docker", f"--host={address}", *words], capture_output=True, text=True)
                assert (done.returncode != 0) == (code != 0), done.stderr
                return done.stdout.rstrip("\n") if not code else done.stderr

            client("import", str(world.place / "box.tar"), "box")
            yield client
            ids = client("ps", "-aq").split()
            if ids:
                client("rm", "-f", *ids)
    finally:
        shutil.rmtree(place, ignore_errors=True)


WORDS = ["--subnet", "10.71.0.0/24", "--ip-range", "10.71.0.64/26", "--aux-address", "printer=10.71.0.70"]
WORDS += ["--aux-address", "router=10.71.0.71", "--gateway", "10.71.0.66", "--label", "tier=a", "--internal"]
WORDS += [
    "--ipv6",
    "--subnet",
    "fd71::/64",
    "-o",
    BRIDGE + "enable_icc=false",
    "-o",
    "com.docker.network.driver.mtu=1400",
]


def test_networks_are_shown_alike(world: World, docker: Docker) -> None:
    for create in (docker, world.underlay.out):
        create("network", "create", *WORDS, "same")
    theirs: dict[str, Any] = json.loads(docker("network", "inspect", "same"))[0]
    ours: dict[str, Any] = json.loads(world.underlay.out("network", "inspect", "same"))[0]
    assert set(theirs) <= set(ours)
    for config in ours["IPAM"]["Config"]:  # docker says nothing of a gateway that it has chosen itself
        if config["Subnet"] == "fd71::/64":
            assert config.pop("Gateway") == "fd71::1"
    del ours["Options"][BRIDGE + "name"]  # its own name it says only when it was given
    for key in set(theirs) - {"Id", "Created"}:
        assert ours[key] == theirs[key], key
    docker("network", "rm", "same")
    world.underlay("network", "rm", "same")


def test_endpoints_are_shown_alike(world: World, docker: Docker) -> None:
    shown = []
    words = ("--name", "e1", "--hostname", "desk", "--network", "same", "--ip", "10.72.0.2", "--network-alias", "db")
    for tool in (docker, world.underlay.out):
        tool("network", "create", "--subnet", "10.72.0.0/24", "same")
        tool("run", "-d", *words, "box", "sleep", "600")
        tool("run", "-d", "--name", "e2", "--network", "same", "box", "sleep", "600")
        both = json.loads(tool("inspect", "e1", "e2"))
        endpoints = [each["NetworkSettings"]["Networks"]["same"] for each in both]
        for each, endpoint in zip(both, endpoints, strict=True):
            assert each["Id"][:12] in endpoint["DNSNames"]
            endpoint["DNSNames"] = [name for name in endpoint["DNSNames"] if name != each["Id"][:12]]
            assert len(endpoint.pop("EndpointID")) == len(endpoint.pop("NetworkID")) == 64
        members = json.loads(tool("network", "inspect", "-f", "{{json .Containers}}", "same"))
        assert len(members) == 2
        shown.append(
            (
                endpoints,
                sorted(sorted(each.items() - [("EndpointID", each["EndpointID"])]) for each in members.values()),
            )
        )
        tool("rm", "-f", "e1", "e2")
        tool("network", "rm", "same")
    assert shown[1] == shown[0]


@pytest.mark.parametrize(
    "words",
    [
        ("--aux-address", "a=10.73.0.9"),
        ("--subnet", "10.73.0.0/24", "--aux-address", "a=10.74.0.9"),
        ("--subnet", "10.73.0.0/24", "--aux-address", "a=10.73.0.9"),
        ("--subnet", "10.73.0.0/24", "--gateway", "10.73.0.9", "--aux-address", "a=10.73.0.9"),
        ("--subnet", "10.73.0.0/24", "--aux-address", "a"),
        ("--ipam-driver", "nosuch"),
        ("-o", BRIDGE + "enable_icc=perhaps"),
        ("-o", BRIDGE + "enable_icc=T"),
        ("-o", BRIDGE + "host_binding_ipv4=x"),
        ("-o", BRIDGE + "host_binding_ipv4=127.0.0.1"),
        ("-o", BRIDGE + "host_binding_ipv4=::1"),
        ("-d", "macvlan", "-o", "parent=nowhere"),
        ("-d", "macvlan", "-o", "parent=lo"),
        ("-d", "macvlan", "-o", "parent=eth0"),
        ("-d", "macvlan", "-o", "parent=eth0", "-o", "macvlan_mode=odd"),
        ("-d", "ipvlan", "-o", "parent=lo"),
        ("-d", "ipvlan", "-o", "parent=eth0", "-o", "ipvlan_mode=l4"),
        ("-d", "nosuch"),
    ],
    ids=" ".join,
)
def test_what_docker_refuses_we_refuse(world: World, docker: Docker, words: tuple[str, ...]) -> None:
    answers = []
    for tool in (docker, world.underlay.out):
        try:
            tool("network", "create", *words, "tried")
        except (AssertionError, pytest.fail.Exception):
            answers.append("refused")
        else:
            answers.append("made")
            tool("network", "rm", "tried")
    assert answers[0] == answers[1]
