"""Values as people read them: sizes, durations, ages, short ids, random names."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_NUMERIC = "0123456789."
_BINARY = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def whole(text: str | bytes) -> int:
    """Return the number that a text of ASCII digits alone stands for, -1 for any other text and beyond 19 digits.

    Python's own int() and isdigit() know signs, underscores, white space and the digits of every script, too.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def plain(text: str) -> bool:
    """Return whether a text has printable characters alone and no white space: it is one word in a file of lines."""
    return text.isprintable() and " " not in text


def decimal(text: str) -> float:
    """Return the number of ASCII digits with or without a point, such as `1.5`; raises ValueError for any other text."""
    before, _, after = text.partition(".")
    if min(whole(before or "0"), whole(after or "0")) < 0 or not before + after:
        raise ValueError(f"not a number: '{text}'")
    return float(text)


def lowest_layers_are(count: int) -> str:
    """Return the beginning of a sentence: `its lowest layer is that`, `its 3 lowest layers are those`."""
    return "its lowest layer is that" if count == 1 else f"its {count} lowest layers are those"


def size(count: float) -> str:
    """Return `count` bytes with decimal units and up to three significant digits, as `docker images` does."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.3g}{_UNITS[unit]}" if count < 999.5 else f"{count:.0f}{_UNITS[unit]}"


def binary_size(count: float) -> str:
    """Return `count` bytes with binary units and up to four significant digits, as `docker stats` shows memory."""
    unit = 0
    while count >= 1024 and unit < len(_BINARY_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.4g}{_BINARY_UNITS[unit]}" if count < 1000 else f"{count:.0f}{_BINARY_UNITS[unit]}"


def parse_size(text: str) -> int:
    """Return the bytes meant by `512`, `64m`, `1.5g`, `10kb`: binary units, as docker's memory flags take them.

    Raises ValueError on anything else.
    """
    word = text.lower()
    number = word.rstrip("bkmgtpi")
    suffix = word[len(number) :]
    number = number.removesuffix(" ")
    if suffix.endswith("ib"):
        suffix = suffix[:-2]
    elif suffix.endswith("b") and len(suffix) > 1:
        suffix = suffix[:-1]
    if suffix not in _BINARY or not number:
        raise ValueError(f"invalid size: '{text}'")
    try:
        value = decimal(number) * _BINARY[suffix]
    except ValueError:
        value = -1.0
    if not 0 <= value < 1 << 63:
        raise ValueError(f"invalid size: '{text}'")
    return int(value)


def parse_duration(text: str) -> float:
    """Return the seconds meant by Go's durations such as `1h2m`, `300ms`, `1.5s`; raises ValueError."""
    units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    rest = text
    sign = 1.0
    if rest[:1] in "+-":
        sign = -1.0 if rest[:1] == "-" else 1.0
        rest = rest[1:]
    if rest == "0":
        return 0.0
    total = 0.0
    if not rest:
        raise ValueError(f"invalid duration: '{text}'")
    while rest:
        digits = 0
        while digits < len(rest) and rest[digits] in _NUMERIC:
            digits += 1
        letters = digits
        while letters < len(rest) and rest[letters] not in _NUMERIC:
            letters += 1
        unit = rest[digits:letters]
        try:
            total += decimal(rest[:digits]) * units[unit]
        except (KeyError, ValueError):
            raise ValueError(f"invalid duration: '{text}'") from None
        rest = rest[letters:]
    if total * 1e9 >= 1 << 63:
        raise ValueError(f"invalid duration: '{text}'")  # Go counts nanoseconds in 64 bits
    return sign * total


def duration(seconds: float) -> str:
    """Return a span as docker words it: `Less than a second`, `5 minutes`, `About an hour`, `3 weeks`."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600 / 24 / 365)} years"


def age(timestamp: float, now: float | None = None) -> str:
    """Return how long ago `timestamp` (seconds since the epoch) was, in docker's words."""
    return duration((time.time() if now is None else now) - timestamp) + " ago"


def rfc3339(timestamp_ns: int) -> str:
    """Return nanoseconds since the epoch as UTC text with nine decimals (RFC 3339), as docker stores times."""
    seconds, rest = divmod(timestamp_ns, 1_000_000_000)
    t = time.gmtime(seconds)
    return f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{rest:09d}Z"


def parse_rfc3339(text: str) -> float:
    """Return seconds since the epoch for an RFC 3339 time (any fraction length); raises ValueError."""
    return parse_rfc3339_ns(text) / 1e9


def parse_rfc3339_ns(text: str) -> int:
    """Return nanoseconds since the epoch for an RFC 3339 time; raises ValueError."""
    from datetime import datetime

    head, _, tail = text.strip().partition(".")
    digits = len(tail) - len(tail.lstrip("0123456789"))
    seconds = datetime.fromisoformat((head + tail[digits:]).replace("Z", "+00:00")).timestamp()
    return round(seconds) * 1_000_000_000 + int((tail[:digits] + "0" * 9)[:9])


def short_id(digest: str) -> str:
    """Return the first twelve hexadecimal digits of a digest or id."""
    return digest.partition(":")[2][:12] if ":" in digest else digest[:12]


def share(probability: float) -> str:
    """Return a probability (0 to 1) in percent; only what is certain is 100%."""
    return f"{probability if probability >= 1 else min(probability, 0.99):.0%}"


def escaped(text: str, kept: str = "") -> str:
    """Return a text in which all that is not printable, but for the characters `kept`, stands as an escape: `\\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode("ascii") for c in text)


def truncate(text: str, width: int) -> str:
    """Return `text` cut to `width` characters, the last one an ellipsis when something was cut."""
    return text if len(text) <= width else text[: width - 1] + "…"


def did_you_mean(word: str, known: Iterable[str], begin: str, otherwise: str) -> str:
    """Return "did you mean …?" with the known word that is most like `word`, after `begin`; `otherwise` if none is."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1, cutoff=0.65)
    return f"did you mean `{begin}{near[0]}`?" if near else otherwise
