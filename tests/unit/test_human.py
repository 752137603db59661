"""Sizes as docker writes them: decimal for files, binary for memory; and numbers as docker reads them."""

from __future__ import annotations

import pytest

from underlay.human import binary_size, decimal, parse_duration, parse_size, size, whole


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


# What Python takes for a number, or for a digit, and docker does not.
NO_NUMBERS = ("", "²", "٣", "1_000", "+1", "-1", " 1", "1 ", "1\n", "0x1", "nan", "inf", "1" * 5000)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_no_numbers(text: str) -> None:
    assert whole(text) == -1
    assert whole(text.encode()) == -1
    with pytest.raises(ValueError):
        decimal(text)
    if text not in ("+1", "-1"):
        with pytest.raises(ValueError):
            parse_duration(text + "s")
    if text != "1 ":
        with pytest.raises(ValueError):
            parse_size(text + "k")


def test_numbers() -> None:
    assert [whole(text) for text in ("0", "007", "65536", b"12", "9" * 19)] == [0, 7, 65536, 12, 10**19 - 1]
    assert [decimal(text) for text in ("1", "1.5", ".5", "1.", "1136073600.25")] == [1.0, 1.5, 0.5, 1.0, 1136073600.25]
    for text in (".", "1.2.3", "1e5"):
        with pytest.raises(ValueError):
            decimal(text)


def test_sizes_and_durations() -> None:
    assert [parse_size(text) for text in ("64m", "64 m", "1.5g", "10kb", "2KiB", "7")] == [
        64 << 20, 64 << 20, 3 << 29, 10240, 2048, 7,
    ]  # fmt: skip
    assert [parse_duration(text) for text in ("1h2m", "-1.5s", "300ms", "0")] == [3720, -1.5, 0.3, 0]
    for text in (" 5s", "5s ", "9999999999999999h"):
        with pytest.raises(ValueError):
            parse_duration(text)
