"""Options and addresses of new networks, before anything is made."""

from __future__ import annotations

import pytest

from underlay.engine.networks import addressing, driver_options
from underlay.engine.networks.addressing import Wanted
from underlay.errors import Conflict, InvalidInput, Unsupported
from underlay.network.model import Network, Pool

BRIDGE = "com.docker.network.bridge."


def network(**options: str) -> Network:
    return Network("a" * 64, "n", "bridge", 0, "ul-aaaaaaaaaaaa", options=options)


@pytest.mark.parametrize(("text", "meant"), [("true", True), ("1", True), ("T", True), ("False", False), ("0", False)])
def test_switches_are_those_of_go(text: str, meant: bool) -> None:
    settings = driver_options.parse("bridge", {BRIDGE + "enable_ip_masquerade": text})
    assert settings.masquerade is meant and settings.options == {}


def test_options_are_kept_by_their_names() -> None:
    given = {BRIDGE + "enable_icc": "0", BRIDGE + "name": "br7", "mtu": "1400", BRIDGE + "gateway_mode_ipv4": "routed"}
    settings = driver_options.parse("bridge", given)
    assert (settings.interface, settings.mtu) == ("br7", 1400)
    made = network(**settings.options)
    assert not made.connected and made.gateway_mode(32) == "routed" and made.gateway_mode(128) == "nat"


@pytest.mark.parametrize(
    ("driver", "key", "text"),
    [
        ("macvlan", BRIDGE + "name", "unknown option"),
        ("ipvlan", "macvlan_mode", "unknown option"),
        ("bridge", "parent", "unknown option"),
        ("bridge", "com.docker.network.enable_ipv4", "invalid value 'x'"),
        ("macvlan", "macvlan_mode", "invalid macvlan_mode 'x'"),
        ("bridge", BRIDGE + "host_binding_ipv4", "invalid value 'x'"),
    ],
)
def test_options_of_other_drivers_and_wrong_values(driver: str, key: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        driver_options.parse(driver, {key: "x"})


def test_isolation_cannot_be_switched_off() -> None:
    assert driver_options.parse("bridge", {"isolate": "strict"}).options == {"isolate": "strict"}
    with pytest.raises(Unsupported, match="isolate=false"):
        driver_options.parse("bridge", {"isolate": "false"})


def test_addresses_that_ports_are_published_at() -> None:
    four, six = BRIDGE + "host_binding_ipv4", BRIDGE + "host_binding_ipv6"
    assert network().bindings == []
    assert network(**{four: "127.0.0.1"}).bindings == ["127.0.0.1"]
    assert network(**{four: "127.0.0.1", six: "fd00::1"}).bindings == ["127.0.0.1", "fd00::1"]
    assert network(**{four: "0.0.0.0"}).bindings == []  # all, of both kinds
    assert network(**{six: "fd00::1"}).bindings == ["0.0.0.0", "fd00::1"]
    assert network(**{four: "::"}).bindings == ["::"]


def test_the_gateway_is_the_first_address_that_is_not_reserved() -> None:
    reserved = {"a": "10.1.0.1", "b": "10.1.0.2"}
    (pool,) = addressing.pools(Wanted(["10.1.0.0/24"], reserved=reserved), [])
    assert pool == Pool("10.1.0.0/24", "10.1.0.3", "", reserved)
    assert {pool.space.written(number) for number in pool.kept} == {"10.1.0.1", "10.1.0.2", "10.1.0.3"}
    (pool,) = addressing.pools(Wanted(["10.1.0.0/24"], reserved={"DefaultGatewayIPv4": "10.1.0.9"}), [])
    assert (pool.gateway, pool.router) == ("10.1.0.1", "10.1.0.9")


def test_reserved_addresses_belong_to_the_subnet_that_has_them() -> None:
    wanted = Wanted(["fd00:1::/64", "10.1.0.0/24"], reserved={"six": "fd00:1::5", "four": "10.1.0.5"}, ipv6=True)
    six, four = addressing.pools(wanted, [])
    assert (six.reserved, four.reserved) == ({"six": "fd00:1::5"}, {"four": "10.1.0.5"})
    with pytest.raises(InvalidInput, match=r"no matching subnet for aux-address 10\.2\.0\.5"):
        addressing.pools(Wanted(["10.1.0.0/24"], reserved={"x": "10.2.0.5"}), [])
    with pytest.raises(Conflict, match="is the gateway"):
        addressing.pools(Wanted(["10.1.0.0/24"], ["10.1.0.5"], reserved={"x": "10.1.0.5"}), [])


def test_kinds_of_addresses() -> None:
    (six,) = addressing.pools(Wanted(ipv4=False, ipv6=True), [])
    assert six.space.bits == 128 and six.gateway
    (bare,) = addressing.pools(Wanted(["10.1.0.0/24"], bare=frozenset((32,))), [])
    assert bare.gateway == "" and bare.kept == set()
    with pytest.raises(InvalidInput, match="IPv4 or IPv6 must be enabled"):
        addressing.pools(Wanted(ipv4=False), [])
    with pytest.raises(InvalidInput, match="--ipv4=false"):
        addressing.pools(Wanted(["10.1.0.0/24"], ipv4=False, ipv6=True), [])
