"""Netlink: attributes, requests and answers, and what the kernel refuses; in a network namespace of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import needs_root
from underlay.errors import KernelError
from underlay.linux.network import links, netlink, netns, nft
from underlay.linux.network.netlink import Netlink


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=40))))
def test_attributes_come_back(found: list[tuple[int, bytes]]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in found)
    assert list(netlink.pieces(data)) == found
    assert len(data) % 4 == 0


@given(st.binary(max_size=200))
def test_garbage_is_no_trouble(data: bytes) -> None:
    assert sum(len(value) + 4 for _, value in netlink.pieces(data)) <= len(data) + 4


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[int]:
    needs_root()
    made = netns.make(str(tmp_path / "net"))
    yield made
    os.close(made)
    netns.release(str(tmp_path / "net"))
    assert not (tmp_path / "net").exists()


def shown(namespace: int, *words: str) -> list[dict[str, object]]:
    """What `ip` or `nft` says there."""
    command = [words[0], "-j", *words[1:]]
    text = netns.inside(namespace, lambda: subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found: list[dict[str, object]] = json.loads(text)
    return found


def test_a_bridge_as_ip_sees_it(namespace: int) -> None:
    with netns.inside(namespace, Netlink) as connection:
        connection.call(links.create_bridge("br9", 1400, bytes.fromhex("0242aabbccdd")))
        made = links.find(connection, "br9")
        assert made is not None and (made.kind, made.mtu, made.up) == ("bridge", 1400, False)
        connection.call(
            links.change(made.index, up=True),
            links.add_address(made.index, bytes((10, 9, 0, 1)), 24),
            links.add_address(made.index, bytes.fromhex("fd00" + "0" * 26 + "01"), 64),
            links.add_route(made.index, destination=bytes((10, 8, 0, 0)), prefix=16),
        )
        (told,) = shown(namespace, "ip", "-d", "addr", "show", "br9")
        assert (told["address"], told["mtu"], told["linkinfo"]["info_kind"]) == ("02:42:aa:bb:cc:dd", 1400, "bridge")  # type: ignore[index]
        found = {each["local"]: each["prefixlen"] for each in told["addr_info"] if each["scope"] == "global"}  # type: ignore[attr-defined]
        assert found == {"10.9.0.1": 24, "fd00::1": 64}
        ours = {(each.address, each.prefix) for each in links.addresses(connection)}
        assert (bytes((10, 9, 0, 1)), 24) in ours
        assert {each["dst"] for each in shown(namespace, "ip", "route")} == {"10.8.0.0/16", "10.9.0.0/24"}
        assert {each.destination for each in links.routes(connection) if each.family == links.INET} == {
            bytes((10, 8, 0, 0)), bytes((10, 9, 0, 0)),
        }  # fmt: skip
        connection.call(links.remove_address(made.index, bytes((10, 9, 0, 1)), 24), links.delete(made.index))
        assert links.find(connection, "br9") is None


def test_what_the_kernel_refuses_is_told_in_its_words(namespace: int) -> None:
    with netns.inside(namespace, Netlink) as connection:
        connection.call(links.create_bridge("br9"))
        with pytest.raises(KernelError, match="make bridge br9: File exists") as caught:
            connection.call(links.create_bridge("br9"))
        assert caught.value.errno == 17
        with pytest.raises(KernelError) as caught:
            connection.call(links.create_bridge("a-name-that-is-too-long"))
        assert "the kernel says: " in caught.value.hint
        # The first that fails is told; the others are done.
        with pytest.raises(KernelError, match="remove interface 99"):
            connection.call(links.delete(99), links.create_bridge("br8"))
        assert links.find(connection, "br8") is not None
        assert {each.name for each in links.every(connection)} >= {"lo", "br8", "br9"}


def test_a_thread_comes_back(namespace: int) -> None:
    before = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(ZeroDivisionError):
        netns.inside(namespace, lambda: 1 // 0)
    assert os.readlink("/proc/thread-self/ns/net") == before
    assert netns.inside(namespace, lambda: os.readlink("/proc/thread-self/ns/net")) != before


TABLE = nft.Table(
    "trial",
    [
        nft.Set("names", (nft.INTERFACE,)),
        nft.Set("ranges", (nft.ADDRESS4,), interval=True),
        nft.Set("ports", (nft.PROTOCOL, nft.PORT), (nft.ADDRESS4, nft.PORT)),
    ],
    [
        nft.Chain("sub", [[nft.local_destination(), nft.translate(4, "ports", True)]]),
        nft.Chain("begin", [[nft.verdict(nft.JUMP, "sub")]], "nat", nft.PREROUTING, -100),
        nft.Chain("pass", [[nft.state("established", "related"), nft.verdict(nft.ACCEPT)],
                           [nft.interfaces("iifname", "names", inverted=True), nft.verdict(nft.DROP)],
                           [nft.address(4, "saddr", "ranges"), nft.redirected(), nft.verdict(nft.RETURN)]],
                  "filter", nft.FORWARD, 0),
    ],
)  # fmt: skip


def test_a_table_as_nft_reads_it(namespace: int) -> None:
    port = nft.Element(nft.padded(b"\x06", b"\0\x50"), nft.padded(bytes((10, 0, 0, 2)), b"\x1f\x90"))
    contents = {
        "names": [nft.Element(nft.interface("eth7"))],
        "ranges": [nft.Element(bytes((10, 0, 0, 0))), nft.Element(bytes((10, 1, 0, 0)), end=True)],
        "ports": [port],
    }

    def make() -> dict[str, list[str]]:
        nft.transact([*nft.make(TABLE), *nft.add("trial", contents)])
        assert nft.exists("trial") and not nft.exists("other")
        assert nft.elements("trial", "ports") == [port] and nft.elements("trial", "none") is None
        return {each.name: nft.write_elements(each, nft.elements("trial", each.name) or []) for each in TABLE.sets}

    words = netns.inside(namespace, make)
    assert words == {
        "names": ['"eth7"'], "ranges": ["10.0.0.0-10.0.255.255"], "ports": ["tcp . 80 : 10.0.0.2 . 8080"],
    }  # fmt: skip
    by_us = _listed(namespace)
    text = nft.write(TABLE, words)

    def again() -> None:
        subprocess.run(["nft", "delete", "table", "inet", "trial"], check=True)
        subprocess.run(["nft", "-f", "-"], input=text, check=True, text=True)

    netns.inside(namespace, again)
    assert _listed(namespace) == by_us


def _listed(namespace: int) -> str:
    """The table as `nft` lists it, without what it adds of itself when it reads a redirect."""
    command = ["nft", "list", "table", "inet", "trial"]
    text = netns.inside(namespace, lambda: subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return text.replace(" meta nfproto ipv4", "")


def test_elements_taken_away_need_not_be_there(namespace: int) -> None:
    def work() -> list[nft.Element] | None:
        first, second = (nft.Element(nft.interface(name)) for name in ("a", "b"))
        nft.transact([*nft.make(TABLE), *nft.add("trial", {"names": [first]})])
        with pytest.raises(KernelError, match="add to set names"):
            nft.transact(nft.add("trial", {"names": [second, first]}))
        nft.transact(nft.add("trial", {"names": [first, second]}, exclusive=False))
        nft.take_away("trial", {"names": [nft.Element(nft.interface("c")), first], "ports": []})
        return nft.elements("trial", "names")

    assert netns.inside(namespace, work) == [nft.Element(nft.interface("b"))]


def test_thousands_of_elements_at_once(namespace: int) -> None:
    many = [nft.Element(nft.interface(f"e{number}")) for number in range(5000)]

    def work() -> int:
        nft.transact([*nft.make(TABLE), *nft.add("trial", {"names": many})])
        count = len(nft.elements("trial", "names") or [])
        nft.take_away("trial", {"names": many})
        return count - len(nft.elements("trial", "names") or [])

    assert netns.inside(namespace, work) == 5000
