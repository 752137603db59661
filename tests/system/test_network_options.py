"""Networks as options ask for them in the long form, with the MTU of the way out, and removed in spite of kills."""

from __future__ import annotations

import json
import subprocess

import pytest

from networks import HOST4, NEIGHBOUR4, World, lookup, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures


def program(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_networks_in_the_long_form(world: World) -> None:
    words = (
        "--network",
        "name=front,alias=db,alias=store,mac-address=02:42:00:00:00:09",
        "--network",
        "name=back,alias=far",
    )
    world.run("--name", "long", *words, "-p", "target=80,published=8095,protocol=tcp")
    settings = world.inspect("long")["Networks"]
    assert settings["front"]["MacAddress"] == "02:42:00:00:00:09"
    world.run("--name", "asks", "--network", "front", "--network", "name=back")
    names = world.underlay.out("exec", "asks", "cat", "/etc/resolv.conf").split()[1]
    for name, network in (("db", "front"), ("store", "front"), ("far", "back")):
        assert world.address("long", network) in world.inside("asks", lambda name=name: lookup(name, names)), name
    world.serve("long", 80)
    assert world.ask("neighbour", HOST4, 8095) == NEIGHBOUR4
    address = world.address("long", "back")
    world.underlay("rm", "-f", "long")
    world.run("--name", "long", "--network", f"name=back,ip={address}")
    assert world.address("long", "back") == address


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--network", "name=front,bogus=1"), b"invalid field key bogus"),
        (("--network", "alias=a"), b"network name/id is not specified"),
        (("--network", "name=front,alias"), b"invalid field in --network: alias"),
        (("--network", "name=front,gw-priority=1"), b"--network gw-priority is not supported"),
        (("--network", "name=none,ip=10.0.0.5"), b"--ip cannot be used with --network none"),
        (("--network", "name=front", "-p", "target=80,host=1"), b"invalid field in -p: host=1"),
        (("--network", "name=front", "-p", "published=80"), b"no target port specified"),
        (("--network", "name=front", "-p", "target=80,mode=odd"), b"invalid publish mode odd"),
    ],
)
def test_wrong_words_in_the_long_form(world: World, words: tuple[str, ...], text: bytes) -> None:
    assert text in world.underlay("run", "--rm", *words, "box", "true", code=125).stderr


def test_a_bridge_has_the_mtu_of_the_way_out(world: World) -> None:
    """Larger packets would be lost where the uplink is a tunnel."""
    world.on_host("ip", "link", "set", "eth0", "mtu", "1400")
    world.on_host("ip", "route", "add", "default", "via", NEIGHBOUR4)
    try:
        for name, words, mtu in (("narrow", (), 1400), ("chosen", ("-o", "com.docker.network.driver.mtu=1350"), 1350)):
            world.underlay("network", "create", *words, name)
            world.run("--name", name, "--network", name)
            inside = json.loads(world.inside(name, lambda: program("ip", "-j", "link", "show", "eth0")))
            outside = json.loads(world.on_host("ip", "-j", "link", "show", world.bridge(name)))
            assert (inside[0]["mtu"], outside[0]["mtu"]) == (mtu, mtu)
    finally:
        world.on_host("ip", "route", "del", "default")
        world.on_host("ip", "link", "set", "eth0", "mtu", "1500")
        for name in ("narrow", "chosen"):
            world.underlay("rm", "-f", name)
            world.underlay("network", "rm", name)


def test_a_removal_that_is_killed_can_be_repeated(world: World) -> None:
    """No bridge is left without a network on record."""
    world.underlay("network", "create", "cut")
    world.underlay("run", "--rm", "--network", "cut", "box", "true")
    bridge = world.bridge("cut")
    script = (
        "import os, sys\n"
        "from underlay import Engine\n"
        "from underlay.network import bridge\n"
        "bridge.take_down = lambda *_: os.kill(os.getpid(), 9)\n"
        "with Engine(*sys.argv[1:]) as engine:\n"
        "    engine.networks.remove('cut')\n"
    )
    underlay = world.underlay
    words = [*underlay.command[:-2], "-c", script, str(underlay.root), str(underlay.state)]
    assert subprocess.run(words, env=underlay.environment, timeout=30).returncode == -9
    assert "cut" in underlay.out("network", "ls", "--format", "{{.Name}}").split() and bridge in world.links()
    underlay("network", "rm", "cut")
    assert bridge not in world.links()


def test_why_a_network_could_not_be_made_is_in_the_state(world: World) -> None:
    world.run("--name", "first", "--network", "front", "-p", "8096:80")
    world.underlay("run", "-d", "--name", "second", "--network", "front", "-p", "8096:80", "box", "true", code=125)
    state = json.loads(world.underlay.out("inspect", "-f", "{{json .State}}", "second"))
    assert (state["Status"], state["ExitCode"]) == ("created", 125)
    assert state["Error"].endswith("Bind for 0.0.0.0:8096 failed: port is already allocated")
