"""Points in time as docker's filters and `--since` take them: Unix seconds, dates, or Go durations before now."""

from __future__ import annotations

from ...errors import InvalidInput


def moment(text: str) -> float:
    """Return seconds since the epoch for `text`; dates without a zone are local. Raises InvalidInput.

    Formats: `1136073600[.5]`, RFC 3339, `2006-01-02T15:04:05`, `2006-01-02T07:00` (a zone), `2006-01-02`,
    `1h30m`.
    """
    from datetime import datetime
    from time import time

    from ...human import decimal, parse_duration, parse_rfc3339

    try:
        return decimal(text)
    except ValueError:
        pass
    try:
        return time() - parse_duration(text)
    except ValueError:
        pass
    try:
        if not text.isascii():
            raise ValueError
        if "T" not in text:
            return datetime.strptime(text, "%Y-%m-%d").timestamp()
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is not a time",
            "use Unix seconds, a date such as 2006-01-02T15:04:05Z, or a duration such as 24h",
        ) from None
