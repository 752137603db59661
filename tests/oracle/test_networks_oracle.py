"""What netlink was told, read by pyroute2: links, addresses, routes, and the firewall's table."""

from __future__ import annotations

from typing import Any

import pytest

from networks import World, nothing_left, world
from underlay.linux.network import netns

pyroute2 = pytest.importorskip("pyroute2")
__all__ = ["nothing_left", "world"]  # fixtures


def _links(connection: Any) -> dict[str, Any]:
    return {link.get_attr("IFLA_IFNAME"): link for link in connection.get_links()}


def test_pyroute2_sees_what_was_made(world: World) -> None:
    words = ("--ipv6", "--subnet", "10.77.0.0/16", "--subnet", "fd77::/64", "-o", "mtu=1400")
    world.underlay("network", "create", *words, "seen")
    mac = "02:42:0a:4d:00:09"
    world.run("--name", "seen", "--network", "seen", "--ip", "10.77.0.9", "--ip6", "fd77::9", "--mac-address", mac)

    def inside() -> None:
        with pyroute2.IPRoute() as connection:
            links = _links(connection)
            assert set(links) >= {"lo", "eth0"}
            eth0 = links["eth0"]
            assert eth0.get_attr("IFLA_ADDRESS") == mac and eth0.get_attr("IFLA_MTU") == 1400
            assert eth0["state"] == links["lo"]["state"] == "up"
            found = {
                (each.get_attr("IFA_ADDRESS"), each["prefixlen"])
                for each in connection.get_addr(index=eth0["index"])
                if not each.get_attr("IFA_ADDRESS").startswith("fe80")
            }
            assert found == {("10.77.0.9", 16), ("fd77::9", 64)}
            gateways = {route.get_attr("RTA_GATEWAY") for route in connection.get_default_routes()}
            assert gateways == {"10.77.0.1", "fd77::1"}

    def outside() -> None:
        with pyroute2.IPRoute() as connection:
            links = _links(connection)
            options = world.underlay.out("network", "inspect", "-f", "{{json .Options}}", "seen")
            bridge = next(link for name, link in links.items() if name in options and name != "lo")
            assert bridge.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") == "bridge"
            ports = [link for link in links.values() if link.get_attr("IFLA_MASTER") == bridge["index"]]
            assert [port.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_KIND") for port in ports] == ["veth"]
            found = {each.get_attr("IFA_ADDRESS") for each in connection.get_addr(index=bridge["index"])}
            assert {"10.77.0.1", "fd77::1"} <= found

    world.inside("seen", inside)
    netns.inside(world.host, outside)
    world.underlay("rm", "-f", "seen")
    world.underlay("network", "rm", "seen")


def test_pyroute2_sees_the_table(world: World) -> None:
    nftables = pytest.importorskip("pyroute2.nftables.main")
    world.run("--name", "ruled", "--network", "front")

    def outside() -> None:
        with nftables.NFTables(nfgen_family=1) as connection:
            tables = {each.get_attr("NFTA_TABLE_NAME") for each in connection.get_tables()}
            chains = {
                each.get_attr("NFTA_CHAIN_NAME"): each.get_attr("NFTA_CHAIN_HOOK") for each in connection.get_chains()
            }
        assert world.table in tables
        hooks = {
            name: (hook.get_attr("NFTA_HOOK_HOOKNUM"), hook.get_attr("NFTA_HOOK_PRIORITY"))
            for name, hook in chains.items()
            if hook is not None
        }
        assert hooks == {
            "raw": (0, -300),
            "destination": (0, -100),
            "destination-here": (3, -100),
            "source": (4, 100),
            "forward": (2, 0),
            "input": (1, 0),
        }

    netns.inside(world.host, outside)
