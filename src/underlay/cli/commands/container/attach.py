"""`underlay attach`."""

from __future__ import annotations

from ... import foreground
from ...flags import runflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Attach local standard input, output, and error streams to a running container"
SYNOPSIS = "attach [OPTIONS] CONTAINER"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("detach-keys", "", "string", "string", "Override the key sequence for detaching a container"),
    ("no-stdin", "", "bool", "", "Do not attach STDIN"),
    ("sig-proxy", "", "bool", "", "Proxy all received signals to the process (default true)"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Attach to a running container until it ends or the detach keys are typed."""
    from ....engine.containers.find import find
    from ....runtime.monitor.attachment import Attachment

    row = find(engine._store, arguments[0])
    container_options = row.intent["options"]
    terminal = bool(container_options.get("terminal"))
    attachment = Attachment(
        stdin=foreground.usable(0) if container_options.get("interactive") and not options["no-stdin"] else -1,
        stdout=foreground.usable(1),
        stderr=foreground.usable(2),
        keys=runflags.detach_keys(options["detach-keys"], terminal),
        removes=row.intent["remove"],
    )
    forward = not terminal and ("sig-proxy" not in options or options["sig-proxy"])
    with foreground.Foreground(terminal, forward) as caller:
        session = engine.containers.attach(row.id, attachment)
        code = caller.attend(session, redraw=True)
    session.close()
    if session.removes:
        engine.containers.remove_ended(row.id)
    return code or 0
