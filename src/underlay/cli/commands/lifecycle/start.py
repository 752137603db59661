"""`underlay start`."""

from __future__ import annotations

from ....errors import UsageError
from ... import foreground
from ...each import act_on_each
from ...flags import runflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Start one or more stopped containers"
SYNOPSIS = "start [OPTIONS] CONTAINER [CONTAINER...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("attach", "a", "bool", "", "Attach STDOUT/STDERR and forward signals"),
    ("detach-keys", "", "string", "string", "Override the key sequence for detaching a container"),
    ("interactive", "i", "bool", "", "Attach container's STDIN"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Start containers; with -a or -i stay with the one that is named."""
    if options["attach"] or options["interactive"]:
        if len(arguments) > 1:
            raise UsageError("you cannot start and attach multiple containers at once")
        return _attached(engine, options, arguments[0])
    return act_on_each(arguments, engine.containers.start)


def _attached(engine: Engine, options: Options, name: str) -> int:
    from ....engine.containers.find import find
    from ....runtime.monitor.attachment import Attachment

    row = find(engine._store, name)
    container_options = row.intent["options"]
    terminal = bool(container_options.get("terminal"))
    attachment = Attachment(
        stdin=foreground.usable(0) if options["interactive"] and container_options.get("interactive") else -1,
        stdout=foreground.usable(1),
        stderr=foreground.usable(2),
        keys=runflags.detach_keys(options["detach-keys"], terminal),
        removes=row.intent["remove"],
    )
    with foreground.Foreground(terminal, not terminal) as caller:
        session = engine.containers.start_attached(row.id, attachment)
        if session is None:
            session = engine.containers.attach(row.id, attachment)
        code = caller.attend(session)
    session.close()
    if session.removes:
        engine.containers.remove_ended(row.id)
    return code or 0
