"""`underlay exec`."""

from __future__ import annotations

from ....errors import UsageError
from ... import foreground
from ...flags import runflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Execute a command in a running container"
SYNOPSIS = "exec [OPTIONS] CONTAINER COMMAND [ARG...]"
ARGUMENTS = (2, None)
INTERSPERSED = False
FLAGS: tuple[Flag, ...] = (
    ("detach", "d", "bool", "", "Detached mode: run command in the background"),
    ("detach-keys", "", "string", "string", "Override the key sequence for detaching a container"),
    ("env", "e", "list", "list", "Set environment variables"),
    ("env-file", "", "list", "list", "Read in a file of environment variables"),
    ("interactive", "i", "bool", "", "Keep STDIN open even if not attached"),
    ("privileged", "", "bool", "", "Give extended privileges to the command"),
    ("tty", "t", "bool", "", "Allocate a pseudo-TTY"),
    ("user", "u", "string", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    ("workdir", "w", "string", "string", "Working directory inside the container"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Run a command in a running container; the exit code is the command's."""
    from ....engine.options import ExecOptions
    from ....runtime.monitor.attachment import Attachment

    terminal = options["tty"]
    size = (0, 0)
    if terminal:
        if options["interactive"] and not foreground.is_terminal(0):
            raise UsageError("the input device is not a TTY", "leave out -t")
        from ....linux import tty

        size = tty.window_size(0) if foreground.is_terminal(0) else tty.window_size(1)
    exec_options = ExecOptions(
        command=arguments[1:],
        environment=runflags.environment_of(options),
        working_directory=options["workdir"],
        user=options["user"],
        terminal=terminal,
        interactive=options["interactive"],
        privileged=options["privileged"],
        detach=options["detach"],
        size=size,
    )
    if options["detach"]:
        engine.containers.exec_attached(arguments[0], exec_options)
        return 0
    attachment = Attachment(
        stdin=foreground.usable(0) if options["interactive"] else -1,
        stdout=foreground.usable(1),
        stderr=foreground.usable(2),
        keys=runflags.detach_keys(options["detach-keys"], terminal),
    )
    with foreground.Foreground(terminal, False) as caller:
        return caller.attend(engine.containers.exec_attached(arguments[0], exec_options, attachment)) or 0
