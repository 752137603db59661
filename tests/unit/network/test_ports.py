"""What `-p` means."""

from __future__ import annotations

import pytest

from underlay.errors import InvalidInput
from underlay.network.ports import Published, parse


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", [Published(80)]),
        ("80/udp", [Published(80, "udp")]),
        ("80/TCP", [Published(80)]),
        ("8080:80", [Published(80, "tcp", "", 8080, 8080)]),
        ("0:80", [Published(80)]),
        (":80", [Published(80)]),
        ("127.0.0.1:8080:80/sctp", [Published(80, "sctp", "127.0.0.1", 8080, 8080)]),
        ("127.0.0.1::80", [Published(80, "tcp", "127.0.0.1")]),
        ("[::1]:8080:80", [Published(80, "tcp", "::1", 8080, 8080)]),
        ("[::]::80", [Published(80, "tcp", "::")]),
        ("8000-8010:80", [Published(80, "tcp", "", 8000, 8010)]),
        ("80-81", [Published(80), Published(81)]),
        ("90-91:80-81", [Published(80, "tcp", "", 90, 90), Published(81, "tcp", "", 91, 91)]),
    ],
)
def test_forms(text: str, found: list[Published]) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no port specified"),
        ("80:", "no port specified"),
        ("x", "invalid containerPort: x"),
        ("0", "invalid containerPort: 0"),
        ("65536", "invalid containerPort"),
        ("99999999999999999999999", "invalid containerPort"),
        ("\u0661", "invalid containerPort"),
        ("x:80", "invalid hostPort: x"),
        ("9-8:1", "ends before it begins"),
        ("1-2:1-3", "invalid ranges"),
        ("80/icmp", "invalid proto: icmp"),
        ("1.2.3.4:80", "invalid hostPort"),
        ("1.2.3:80:80", "invalid IP address: 1.2.3"),
        ("::1:80:80", "invalid hostPort"),
        ("[::1]80", "an address in brackets"),
        ("[::1]:80", "an address in brackets"),
        ("[x]:80:80", "invalid IP address: x"),
    ],
)
def test_nonsense(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem.replace("(", ".")):
        parse(text)
