"""`underlay logs`."""

from __future__ import annotations

import sys
import time

from ....errors import InvalidInput
from ....human import decimal, parse_duration, parse_rfc3339, rfc3339, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Fetch the logs of a container"
SYNOPSIS = "logs [OPTIONS] CONTAINER"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("details", "", "bool", "", "Show extra details provided to logs"),
    ("follow", "f", "bool", "", "Follow log output"),
    (
        "since",
        "",
        "string",
        "string",
        "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m)",
    ),
    ("tail", "n", "string", "string", "Number of lines to show from the end of the logs (default all)"),
    ("timestamps", "t", "bool", "", "Show timestamps"),
    ("until", "", "string", "string", "Show logs before a timestamp or relative"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print what a container has written, standard error to standard error."""
    tail = options["tail"]
    if tail in ("", "all"):
        lines = -1
    elif whole(tail.removeprefix("-")) >= 0:
        lines = whole(tail)  # all of them for a number below zero
    else:
        raise InvalidInput(f"invalid value for --tail: {tail}")
    records = engine.containers.logs(
        arguments[0],
        follow=options["follow"],
        tail=lines,
        since=_moment(options["since"]),
        until=_moment(options["until"]),
    )
    outputs = {1: sys.stdout.buffer, 2: sys.stderr.buffer}
    fresh = {1: True, 2: True}  # whether the stream is at the beginning of a line
    for when, stream, data in records:
        out = outputs[stream]
        # No driver here keeps details, so docker shows the blank that follows them alone.
        start = (rfc3339(when).encode() + b" " if options["timestamps"] else b"") + b" " * options["details"]
        if start:
            for line in data.splitlines(keepends=True):
                out.write(start + line if fresh[stream] else line)
                fresh[stream] = line.endswith(b"\n")
        else:
            out.write(data)
        out.flush()
    return 0


def _moment(text: str) -> float:
    """Return seconds since the epoch for a time, seconds since the epoch, or a span before now; 0 for ""."""
    if not text:
        return 0.0
    try:
        return decimal(text)
    except ValueError:
        pass
    try:
        return time.time() - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_rfc3339(text)
    except ValueError:
        raise InvalidInput(f'invalid value for "since" or "until": {text}') from None
