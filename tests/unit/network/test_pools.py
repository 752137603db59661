"""Address pools: docker's and more by default, those of networks.toml, and the first free subnet in them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from underlay.errors import InvalidInput, KernelError, LimitExceeded
from underlay.network import pools, subnets
from underlay.network.subnets import Subnet

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A function that writes the only file of settings; there is nothing in it before."""
    path = tmp_path / "networks.toml"
    path.write_text("")
    monkeypatch.setenv("UNDERLAY_NETWORKS", str(path))

    def write(text: str) -> Path:
        path.write_text(text)
        return path

    return write


def chosen(*taken: str) -> str:
    return str(subnets.choose([subnets.parse(text) for text in taken], pools.load()))


def test_the_first_free_subnet_is_chosen() -> None:
    assert chosen() == "172.17.0.0/16"
    assert chosen("172.16.0.0/15", "172.18.5.0/24") == "172.19.0.0/16"
    assert chosen("172.16.0.0/12") == "192.168.0.0/20"
    assert chosen("fd00::/8") == "172.17.0.0/16"
    assert chosen("172.16.0.0/12", "192.168.0.0/16") == "10.208.0.0/24"
    assert chosen("172.16.0.0/12", "192.168.0.0/16", "10.208.0.0/16") == "10.209.0.0/24"
    assert chosen("0.0.0.0/0") == "None"


def test_hundreds_of_networks_find_a_subnet() -> None:
    """The first 31 are docker's; none overlaps with another."""
    taken: list[Subnet] = []
    for _ in range(300):
        space = subnets.choose(taken, pools.load())
        assert space is not None
        taken.append(space)
    assert [str(space) for space in taken[14:16]] == ["172.31.0.0/16", "192.168.0.0/20"]
    assert [str(space) for space in taken[30:33]] == ["192.168.240.0/20", "10.208.0.0/24", "10.208.1.0/24"]
    networks = [ipaddress.ip_network(str(space)) for space in taken]
    assert not any(one.overlaps(other) for n, one in enumerate(networks) for other in networks[:n])


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(22, 32)), max_size=12), st.integers(24, 30))
def test_as_one_by_one(taken: list[tuple[int, int]], size: int) -> None:
    """What is skipped over is not free."""
    occupied = [ipaddress.ip_network(f"10.0.{part // 64}.{part % 64 * 4}/{bits}", strict=False) for part, bits in taken]
    wanted = next(
        (
            str(space)
            for space in ipaddress.ip_network("10.0.0.0/22").subnets(new_prefix=size)
            if not any(space.overlaps(other) for other in occupied)
        ),
        "None",
    )
    found = subnets.choose([subnets.parse(str(other)) for other in occupied], [(subnets.parse("10.0.0.0/22"), size)])
    assert str(found) == wanted


def test_pools_of_the_settings(settings: Write) -> None:
    settings("""
        [[default-address-pools]]
        base = "10.10.0.0/23"
        size = 24
        [[default-address-pools]]
        base = "10.20.0.0/16"
        size = 16
        """)
    assert chosen() == "10.10.0.0/24"
    assert chosen("10.10.0.0/24") == "10.10.1.0/24"
    assert chosen("10.10.0.0/23") == "10.20.0.0/16"
    assert chosen("10.0.0.0/8") == "None"
    assert pools.hint().startswith("give the network a --subnet, or name pools in /")


def test_the_users_file_comes_after_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNDERLAY_NETWORKS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert pools.files() == ["/etc/underlay/networks.toml", f"{tmp_path}/underlay/networks.toml"]
    (tmp_path / "underlay").mkdir()
    (tmp_path / "underlay/networks.toml").write_text('default-address-pools = [{ base = "10.9.0.0/16", size = 24 }]')
    assert chosen() == "10.9.0.0/24"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "not TOML"),
        ("pools = []", "'pools': unknown key"),
        ("default-address-pools = 5", "expected a list"),
        ("default-address-pools = [5]", "entry 1: expected a table with base and size"),
        ('default-address-pools = [{ base = "10.0.0.0/8" }]', "expected a table with base and size"),
        ("default-address-pools = [{ base = 10, size = 24 }]", "base is not a subnet"),
        ('default-address-pools = [{ base = "10.0.0.1/8", size = 24 }]', "it should be 10.0.0.0/8"),
        ('default-address-pools = [{ base = "127.0.0.0/8", size = 24 }]', "is loopback"),
        ('default-address-pools = [{ base = "fd00::/8", size = 64 }]', "no range of IPv4"),
        ('default-address-pools = [{ base = "10.0.0.0/16", size = 8 }]', "size is not a whole number from 16"),
        ('default-address-pools = [{ base = "10.0.0.0/16", size = 31 }]', "to 30"),
        ('default-address-pools = [{ base = "10.0.0.0/16", size = true }]', "size is not a whole number"),
        ('default-address-pools = [{ base = "10.0.0.0/16", size = "24" }]', "size is not a whole number"),
    ],
)
def test_settings_that_are_wrong(settings: Write, text: str, said: str) -> None:
    path = settings(text)
    with pytest.raises(InvalidInput, match=said) as caught:
        pools.load()
    assert caught.value.message.startswith(str(path))


def test_files_that_cannot_be_read(settings: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    settings("#" * ((1 << 20) + 1))
    with pytest.raises(LimitExceeded):
        pools.load()
    monkeypatch.setenv("UNDERLAY_NETWORKS", "/nowhere/networks.toml")
    with pytest.raises(KernelError):
        pools.load()
