"""What the firewall says and remembers, without a kernel that has one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from underlay.errors import KernelError, NotFound, Unsupported
from underlay.linux.network import nft
from underlay.network import firewall
from underlay.network.firewall import Firewall, Rule
from underlay.network.model import Network, Pool

FRONT = Network("a" * 64, "front", "bridge", 0, "ul-front", (Pool("10.1.0.0/16", "10.1.0.1"),))


@pytest.mark.parametrize("errno", [1, 93, 95])
def test_without_nf_tables_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, errno: int
) -> None:
    def fail(*_: Any) -> None:
        raise KernelError("netlink", "", errno)

    monkeypatch.setattr(nft, "transact", fail)
    wall = Firewall("t", str(tmp_path))
    for work in (lambda: wall.admit(FRONT), lambda: wall.renew([FRONT], []), lambda: wall.publish([])):
        with pytest.raises(Unsupported) as caught:
            work()
        assert "nf_tables" in caught.value.message and caught.value.hint == "use --network none or --network host"
    monkeypatch.setattr(nft, "take_away", fail)
    wall.dismiss(FRONT)  # there is nothing to take away
    wall.withdraw([Rule("", 80, "tcp", "10.1.0.2", 80)])
    monkeypatch.setattr(nft, "elements", lambda *_: None)
    with pytest.raises(NotFound):
        wall.written()


def test_a_host_that_forwards_is_not_guarded_and_this_is_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = {"0": True, "1": False}
    real = open
    for value, guarded in answers.items():
        (tmp_path / value).mkdir()
        (tmp_path / value / "ip_forward").write_text(f"{value}\n")

        def opened(path: Any, *rest: Any, value: str = value, **more: Any) -> Any:
            return real(
                tmp_path / value / "ip_forward" if path == "/proc/sys/net/ipv4/ip_forward" else path, *rest, **more
            )

        monkeypatch.setattr("builtins.open", opened)
        wall = Firewall("t", str(tmp_path / value / "networks"))
        assert wall._guards() is guarded
        # Since we had it forward, the kernel says 1.
        (tmp_path / value / "ip_forward").write_text("1\n")
        assert wall._guards() is guarded
        monkeypatch.undo()


def test_the_guard_lets_bridges_of_other_installations_alone() -> None:
    guard = 'iifname != "ul-*" iifname != "underlay*" oifname != "ul-*" oifname != "underlay*" drop'
    for guards in (True, False):
        made = firewall.table("underlay-1", guards)
        rules = next(chain.rules for chain in made.chains if chain.name == "forward")
        written = [" ".join(piece.words for piece in rule) for rule in rules]
        assert (guard in written) is guards


def options(**values: str) -> Network:
    """A network of IPv4 and IPv6 with options of bridges."""
    pools = (Pool("10.1.0.0/16", "10.1.0.1"), Pool("fd01::/64", "fd01::1"))
    given = {f"com.docker.network.bridge.{key}": value for key, value in values.items()}
    return Network("a" * 64, "front", "bridge", 0, "ul-front", pools, options=given)


def test_sets_of_a_network_are_what_its_options_say() -> None:
    plain = {"bridges", "same", "gateways4", "gateways6", "subnets4", "subnets6"}
    assert set(firewall.elements_of(options())) == plain
    assert set(firewall.elements_of(options(enable_icc="false"))) == plain - {"same"}
    routed = firewall.elements_of(options(gateway_mode_ipv6="routed"))
    assert set(routed) == plain - {"subnets6"} | {"routed6"}
    assert set(firewall.elements_of(options(gateway_mode_ipv4="nat-unprotected"))) == plain | {"unprotected4"}


def test_a_port_at_the_containers_own_address_is_in_no_map() -> None:
    four, six = Rule("", 0, "tcp", "10.1.0.2", 80), Rule("", 0, "udp", "fd01::2", 53)
    contents = firewall.elements_by_set([four, six, Rule("", 8080, "tcp", "10.1.0.2", 80)])
    assert set(contents) == {"open4", "open6", "published_any4"}
    (element,) = contents["open4"]
    assert element.key == bytes((10, 1, 0, 2)) + nft.padded(b"\6", (80).to_bytes(2, "big")) and not element.data


def test_a_table_that_another_start_has_just_made_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two containers start at once where there is no table: both miss it, and one makes it before the other looks."""
    answers = [KernelError("add to set bridges", "", 2), None]
    sent = []

    def transact(requests: list[Any]) -> None:
        sent.append(requests)
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(nft, "transact", transact)
    monkeypatch.setattr(nft, "elements", lambda *_: [])
    monkeypatch.setattr(nft, "exists", lambda _: True)
    assert Firewall("t", str(tmp_path)).admit(FRONT) is False
    assert len(sent) == 2 and sent[0] == sent[1]
    # Neither has it: one makes it while the other is about to.
    monkeypatch.setattr(nft, "elements", lambda *_: None)
    monkeypatch.setattr(nft, "exists", lambda _: False)
    answers[:] = [KernelError("make the table", "", 17), None]
    assert Firewall("t", str(tmp_path)).admit(FRONT) is False
    assert len(sent) == 4 and sent[3] == sent[2][-len(sent[3]) :]
    answers[:] = [KernelError("make the table", "", 2)]
    with pytest.raises(KernelError):
        Firewall("t", str(tmp_path)).admit(FRONT)
