"""Signals by name and number, as docker and runc take them."""

from __future__ import annotations

import pytest

from underlay.errors import InvalidInput
from underlay.linux import signals


@pytest.mark.parametrize(
    ("name", "number"),
    [("15", 15), ("TERM", 15), ("sigterm", 15), ("64", 64), ("RTMIN", 34), ("SIGRTMIN+3", 37), ("RTMAX", 64)]
    + [("RTMAX-1", 63), ("rtmin+30", 64)],
)
def test_signals(name: str, number: int) -> None:
    assert signals.number(name) == number


@pytest.mark.parametrize(
    "name",
    ["", "0", "65", "²", "٩", "1_5", "+9", " 9", "RTMIN+900", "RTMIN+", "RTMIN+²", "RTMINfoo", "RTMAXfoo", "RTMAX-31"]
    + ["RTMAX+1", "FOO", "_IGN", "_SETMASK", "SIG", "9" * 5000],
)
def test_no_signals(name: str) -> None:
    with pytest.raises(InvalidInput, match="Invalid signal"):
        signals.number(name)
