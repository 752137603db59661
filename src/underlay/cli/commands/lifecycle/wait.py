"""`underlay wait`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Block until one or more containers stop, then print their exit codes"
SYNOPSIS = "wait [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("condition", "", "string", "string", 'What to wait for: "stopped" (default) or "healthy", which prints nothing'),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the exit codes of containers as they end, or return when they are healthy."""
    condition = options["condition"] or "stopped"
    if condition not in ("stopped", "healthy"):
        raise InvalidInput(f"invalid condition: {condition}", 'conditions: "stopped", "healthy"')
    for name in arguments:
        if condition == "healthy":
            engine.containers.wait_healthy(name)
            continue
        sys.stdout.write(f"{engine.containers.wait(name)}\n")
        sys.stdout.flush()
    return 0
