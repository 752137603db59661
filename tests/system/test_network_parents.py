"""Networks on interfaces of the host: macvlan and ipvlan, VLANs and dummies that are made for them, parents refused."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from networks import HOST4, NEIGHBOUR4, NOTHING, World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures


def needs(world: World, *kind: str) -> None:
    """Skip the test if the kernel cannot make an interface of a kind on eth0."""
    if kind[0] == "dummy" and shutil.which("modprobe"):
        # Without this the first use of the module makes an interface that nobody has asked for.
        subprocess.run(["modprobe", "-q", "dummy", "numdummies=0"], check=False)
    words = ("ip", "link", "add", "probe0", *(("link", "eth0") if kind[0] != "dummy" else ()), "type", *kind)
    try:
        world.on_host(*words)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this kernel has no {kind[0]}: {error.stderr.strip()}")
    world.on_host("ip", "link", "del", "probe0")


def create(world: World, name: str, driver: str, *words: str, code: int = 0) -> str:
    """Create a network of a driver; returns what it says on standard error."""
    return world.underlay("network", "create", "-d", driver, *words, name, code=code).stderr.decode()


LAN = ("--subnet", "192.0.2.0/24", "--gateway", NEIGHBOUR4, "--ip-range", "192.0.2.64/28", "-o", "parent=eth0")


@pytest.mark.parametrize("flag", ["bridge", "private"])
def test_ipvlan_on_the_link_of_its_parent(world: World, flag: str) -> None:
    needs(world, "ipvlan", "mode", "l2")
    create(world, "wire", "ipvlan", *LAN, "-o", f"ipvlan_flag={flag}")
    for name in ("i1", "i2"):
        world.run("--name", name, "--network", "wire")
    host = json.loads(world.on_host("ip", "-j", "link", "show", "eth0"))[0]["address"]
    links = [
        json.loads(world.inside(name, lambda: program("ip", "-j", "link", "show", "eth0"))) for name in ("i1", "i2")
    ]
    assert {link[0]["address"] for link in links} == {host}  # what sets it apart from macvlan
    world.serve("i1", 80)
    address = world.address("i1", "wire")
    assert world.ask("neighbour", address, 80) == NEIGHBOUR4
    asked = world.ask("i2", address, 80)
    assert asked == world.address("i2", "wire") if flag == "bridge" else asked in NOTHING
    refused = world.underlay("run", "--network", "name=wire,mac-address=02:42:00:00:00:09", "box", "true", code=125)
    assert b"ipvlan interfaces do not support custom mac address assignment" in refused.stderr
    said = create(world, "other", "macvlan", "-o", "parent=eth0", code=1)
    assert "network wire is already using parent interface eth0 with driver ipvlan" in said
    said = create(world, "other", "ipvlan", "-o", "parent=eth0", "-o", "ipvlan_mode=l3", code=1)
    assert f"with mode l2 and flag {flag}" in said
    create(world, "other", "ipvlan", "-o", "parent=eth0", "-o", f"ipvlan_flag={flag}")
    world.unserve()
    world.underlay("rm", "-f", "i1", "i2")
    world.underlay("network", "rm", "wire", "other")
    assert "eth0" in world.links()  # it is the host's


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_ipvlan_that_routes(world: World, mode: str) -> None:
    needs(world, "ipvlan", "mode", mode)
    create(world, "routed", "ipvlan", "--subnet", "10.77.0.0/24", "-o", "parent=eth0", "-o", f"ipvlan_mode={mode}")
    world.run("--name", "r1", "--network", "routed")
    assert world.underlay.out("exec", "r1", "ip", "route").splitlines()[0].startswith("default dev eth0")
    world.near("ip", "route", "add", "10.77.0.0/24", "dev", "eth0")
    if mode == "l3":  # nobody answers for its addresses there: the neighbour must know where they are
        host = json.loads(world.on_host("ip", "-j", "link", "show", "eth0"))[0]["address"]
        world.near("ip", "neigh", "add", world.address("r1", "routed"), "lladdr", host, "dev", "eth0")
    world.serve("r1", 80)
    assert world.ask("neighbour", world.address("r1", "routed"), 80) == NEIGHBOUR4
    world.near("ip", "route", "del", "10.77.0.0/24")
    world.unserve()
    world.underlay("rm", "-f", "r1")
    world.underlay("network", "rm", "routed")


def program(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_vlan_is_made_and_removed(world: World, driver: str) -> None:
    needs(world, "vlan", "id", "10")
    needs(world, driver)
    create(world, "tagged", driver, "-o", "parent=eth0.10", "--subnet", "10.78.0.0/24")
    made = json.loads(world.on_host("ip", "-d", "-j", "link", "show", "eth0.10"))[0]
    assert made["linkinfo"]["info_data"]["id"] == 10 and "UP" in made["flags"]
    world.on_host("ip", "link", "del", "eth0.10")  # as after a reboot
    world.run("--name", "v1", "--network", "tagged")
    world.near("ip", "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10")
    world.near("ip", "link", "set", "eth0.10", "up")
    world.near("ip", "address", "add", "10.78.0.200/24", "dev", "eth0.10")
    world.serve("v1", 80)
    assert world.ask("neighbour", world.address("v1", "tagged"), 80) == "10.78.0.200"
    world.near("ip", "link", "del", "eth0.10")
    world.unserve()
    # Another network on it keeps it; it goes with the last.
    create(world, "beside", driver, "-o", "parent=eth0.10")
    world.underlay("rm", "-f", "v1")
    world.underlay("network", "rm", "tagged")
    assert "eth0.10" in world.links()
    world.underlay("network", "rm", "beside")
    assert "eth0.10" not in world.links()
    # One that was there stays.
    world.on_host("ip", "link", "add", "link", "eth0", "name", "eth0.10", "type", "vlan", "id", "10")
    create(world, "tagged", driver, "-o", "parent=eth0.10")
    world.underlay("network", "rm", "tagged")
    world.on_host("ip", "link", "del", "eth0.10")


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_without_a_parent_containers_have_each_other(world: World, driver: str) -> None:
    needs(world, "dummy")
    needs(world, driver)
    create(world, "lonely", driver)
    found = json.loads(world.underlay.out("network", "inspect", "lonely"))[0]
    assert found["Internal"] and found["Options"]["parent"] in world.links()
    for name in ("l1", "l2"):
        world.run("--name", name, "--network", "lonely")
    world.serve("l1", 80)
    assert world.ask("l2", world.address("l1", "lonely"), 80) == world.address("l2", "lonely")
    assert "default" not in world.underlay.out("exec", "l1", "ip", "route")
    world.unserve()
    world.underlay("rm", "-f", "l1", "l2")
    world.underlay("network", "rm", "lonely")
    assert found["Options"]["parent"] not in world.links()


@pytest.mark.parametrize(
    ("driver", "words", "text"),
    [
        ("macvlan", ("parent=nowhere",), "the parent interface nowhere was not found on this host"),
        ("ipvlan", ("parent=nowhere.10",), "the parent interface nowhere was not found on this host"),
        ("macvlan", ("parent=eth0.5000",), "a VLAN is a number from 1 to 4094"),
        ("macvlan", ("parent=lo",), "lo cannot be the parent of a network of driver macvlan: it is the loopback"),
        ("ipvlan", ("parent=port0",), "it is a port of a bridge"),
        ("macvlan", ("parent=tun0",), "it is no Ethernet interface"),
        ("macvlan", ("parent=eth0", "mtu=9000"), "invalid mtu 9000: that of the parent interface eth0 is 1500"),
        ("ipvlan", ("parent=eth0", "ipvlan_mode=l4"), "invalid ipvlan_mode 'l4'"),
        ("ipvlan", ("parent=eth0", "ipvlan_flag=x"), "invalid ipvlan_flag 'x'"),
        ("ipvlan", ("parent=eth0", "macvlan_mode=bridge"), "unknown option 'macvlan_mode' for driver ipvlan"),
        ("overlay", (), "network driver 'overlay' is not supported"),
    ],
)
def test_parents_that_cannot_carry_a_network(world: World, driver: str, words: tuple[str, ...], text: str) -> None:
    world.on_host("ip", "link", "add", "br0", "type", "bridge")
    world.on_host("ip", "link", "add", "port0", "type", "veth", "peer", "name", "port1")
    world.on_host("ip", "link", "set", "port0", "master", "br0")
    world.on_host("ip", "tuntap", "add", "dev", "tun0", "mode", "tun")
    try:
        said = create(world, "useless", driver, *(word for text in words for word in ("-o", text)), code=1)
    finally:
        for name in ("br0", "port0", "tun0"):
            world.on_host("ip", "link", "del", name)
    assert text in said and "Traceback" not in said
    assert "useless" not in world.underlay.out("network", "ls", "--format", "{{.Name}}").split()


def test_what_the_kernel_lacks_is_said_at_create(world: World) -> None:
    """No network is recorded that no container can join."""
    for driver, kind, words in (("ipvlan", "ipvlan", ("parent=eth0",)), ("macvlan", "vlan", ("parent=eth0.10",))):
        try:
            needs(world, kind, *(("id", "10") if kind == "vlan" else ()))
        except pytest.skip.Exception:
            said = create(world, "useless", driver, "-o", *words, code=1)
            assert "this kernel has no " in said and "modprobe " in said
        else:
            create(world, "useless", driver, "-o", *words)
            world.underlay("network", "rm", "useless")
    assert "eth0.10" not in world.links()


def test_a_vlan_that_carries_nothing_is_not_left(world: World) -> None:
    needs(world, "vlan", "id", "10")
    script = (
        "import sys\n"
        "from underlay import Engine\n"
        "from underlay.errors import Conflict\n"
        "from underlay.network import parents\n"
        "def refuse(*_):\n"
        "    raise Conflict('it is in use')\n"
        "parents.create_child = refuse\n"
        "with Engine(*sys.argv[1:]) as engine:\n"
        "    engine.networks.create('useless', 'macvlan', options={'parent': 'eth0.10'})\n"
    )
    underlay = world.underlay
    words = [*underlay.command[:-2], "-c", script, str(underlay.root), str(underlay.state)]
    done = subprocess.run(words, env=underlay.environment, capture_output=True, text=True, timeout=30)
    assert "Conflict: it is in use" in done.stderr
    assert "eth0.10" not in world.links() and "useless" not in underlay.out("network", "ls")


def test_macvlan_that_has_its_parent_alone(world: World) -> None:
    needs(world, "macvlan")
    create(world, "wire", "macvlan", *LAN)
    said = create(world, "alone", "macvlan", "-o", "parent=eth0", "-o", "macvlan_mode=passthru", code=1)
    assert "network wire is already using parent interface eth0: mode passthru has it alone" in said
    world.underlay("network", "rm", "wire")
    world.on_host("ip", "link", "add", "foreign0", "link", "eth0", "type", "macvlan", "mode", "passthru")
    said = create(world, "wire", "macvlan", *LAN, code=1)
    assert "eth0 cannot be the parent of a network of driver macvlan" in said
    world.on_host("ip", "link", "del", "foreign0")
    assert world.ask("neighbour", HOST4, 1) in NOTHING
