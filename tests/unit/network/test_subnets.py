"""Subnets: read, chosen, and addresses within them; `ipaddress` knows better."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.errors import Conflict, InvalidInput
from underlay.network import subnets
from underlay.network.subnets import Subnet


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 128))
def test_read_as_ipaddress_does(address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int) -> None:
    prefix = min(prefix, address.max_prefixlen)
    theirs = ipaddress.ip_network(f"{address}/{prefix}", strict=False)
    ours = subnets.parse(f"{theirs.network_address}/{prefix}")
    # The C library writes ::ffff:1.2.3.4 where Python writes ::ffff:102:304: the same address.
    assert ipaddress.ip_network(str(ours)) == theirs
    assert ours.size == theirs.num_addresses
    assert ours.holds(int(address)) and ipaddress.ip_address(ours.written(int(address))) == address


@given(st.integers(0, 31), st.integers(0, 31), st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_overlap_as_ipaddress_does(one: int, other: int, first: object, second: object) -> None:
    a, b = ipaddress.ip_network(f"{first}/{one}", strict=False), ipaddress.ip_network(f"{second}/{other}", strict=False)
    assert subnets.parse(str(a)).overlaps(subnets.parse(str(b))) is a.overlaps(b)


@pytest.mark.parametrize(
    "text", ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.1/24", "::/129", "a/8", "/8", "1.2.3/8"]
)
def test_no_subnets(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid subnet"):
        subnets.parse(text)


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0/32", "fd00::1/128", "0.0.0.0/0", "0.0.0.0/1", "127.5.0.0/16", "224.0.0.0/4", "192.0.0.0/2"]
    + ["239.1.0.0/16", "::/64", "::/0", "::ffff:a00:0/104", "ff02::/64"],
)
def test_subnets_that_hosts_cannot_have(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid subnet"):
        subnets.check(subnets.parse(text))


@pytest.mark.parametrize("text", ["10.0.0.0/31", "10.0.0.0/8", "128.0.0.0/2", "240.0.0.0/24", "fd00::/127", "2000::/3"])
def test_subnets_that_hosts_can_have(text: str) -> None:
    subnets.check(subnets.parse(text))


def test_addresses_are_given_in_turn() -> None:
    space = subnets.parse("10.0.0.0/29")
    used = {space.start + 1}
    found = []
    last = space.start
    for _ in range(5):
        last = subnets.next_free(space, space, used, last)
        used.add(last)
        found.append(space.written(last))
    assert found == [f"10.0.0.{number}" for number in range(2, 7)]
    used.remove(space.start + 3)
    assert space.written(subnets.next_free(space, space, used, last)) == "10.0.0.3"
    used.add(space.start + 3)
    with pytest.raises(Conflict, match="no available IPv4 addresses"):
        subnets.next_free(space, space, used, last)


def test_addresses_of_a_part() -> None:
    space, part = subnets.parse("fd00::/64"), subnets.parse("fd00::10/127")
    assert space.written(subnets.next_free(part, space, set(), 0)) == "fd00::10"
    with pytest.raises(Conflict, match="IPv6"):
        subnets.next_free(part, space, {part.start, part.start + 1}, part.start)


@pytest.mark.parametrize(
    ("text", "good"),
    [("10.0.0.1", True), ("10.0.0.0", False), ("10.0.0.255", False), ("10.0.1.1", False), ("::1", False), ("x", False)],
)
def test_addresses_that_a_host_can_have(text: str, good: bool) -> None:
    space = Subnet(10 << 24, 24)
    if good:
        assert space.written(subnets.number_of(text, space)) == text
    else:
        with pytest.raises(InvalidInput):
            subnets.number_of(text, space)
