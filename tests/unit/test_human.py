"""Sizes as docker writes them: decimal for files, binary for memory."""

from __future__ import annotations

import pytest

from underlay.human import binary_size, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (396 << 10, "396KiB"), (1023, "1023B"), (1024, "1KiB"), (67108864, "64MiB"), (5902565, "5.629MiB"),
     (16717361816, "15.57GiB"), (1 << 60, "1EiB"), (1048575, "1024KiB")],
)  # fmt: skip
def test_binary(count: int, text: str) -> None:
    assert binary_size(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (916, "916B"), (2480, "2.48kB"), (147000, "147kB"), (4.11e6, "4.11MB")]
)
def test_decimal(count: float, text: str) -> None:
    assert size(count) == text
