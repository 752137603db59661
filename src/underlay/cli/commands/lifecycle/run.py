"""`underlay run`."""

from __future__ import annotations

import os
import sys

from ....errors import InvalidInput, UnderlayError, UsageError
from ... import foreground
from ...fetching import Fetching
from ...flags import runflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ....engine.options import ContainerOptions
    from ....runtime.monitor.attachment import Attachment
    from ....runtime.monitor.prefork import Standby
    from ...flags import Flag, Options

SUMMARY = "Create and run a new container from an image"
SYNOPSIS = "run [OPTIONS] IMAGE [COMMAND] [ARG...]"
ARGUMENTS = (1, None)
INTERSPERSED = False
FLAGS: tuple[Flag, ...] = (
    *runflags.COMMON,
    ("detach", "d", "bool", "", "Run container in background and print container ID"),
    ("detach-keys", "", "string", "string", "Override the key sequence for detaching a container"),
    ("plan", "", "bool", "", "Print the steps that would set up the container, without executing them"),
    ("sig-proxy", "", "bool", "", "Proxy received signals to the process (default true)"),
)


def standby(options: Options, arguments: list[str]) -> Standby | None:
    """Fork the monitor that will be needed, before anything else is loaded."""
    if options["plan"]:
        return None
    from ....runtime.monitor.prefork import Standby

    return Standby()


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Run a container; the exit code is the container's, or 125, 126, 127 as docker has them."""
    from ....engine.options import ContainerOptions

    container_options = ContainerOptions(**runflags.container_options_of(options, arguments))
    if options["plan"]:
        for line in engine.containers.plan(container_options):
            sys.stdout.write(line + "\n")
        return 0
    if options["cidfile"] and os.path.exists(options["cidfile"]):
        raise InvalidInput(
            f"container ID file found, make sure the other container isn't running or delete {options['cidfile']}"
        )
    if not container_options.network and not engine.network_setting and engine.default_network == "none":
        sys.stderr.write(
            "underlay: no network but loopback: making interfaces needs root; use --network host for the host's network, "
            "or --network none to say that none is wanted\n"
        )
    engine._store.emit = Fetching(engine, options["quiet"])
    if options["detach"]:
        if options["attach"]:
            raise UsageError("conflicting options: cannot specify both --attach and --detach")
        session = engine.containers.run_attached(container_options)
        write_cidfile(options["cidfile"], session.id)
        sys.stdout.write(session.id + "\n")
        session.close()
        return 0
    attachment, size = attachment_of(container_options, options)
    forward = not container_options.terminal and ("sig-proxy" not in options or options["sig-proxy"])
    with foreground.Foreground(container_options.terminal, forward) as caller:
        session = engine.containers.run_attached(container_options, attachment, size)
        write_cidfile(options["cidfile"], session.id)
        try:
            code = caller.attend(session)
        except BrokenPipeError:
            raise  # the container goes on, as with docker
        except OSError as error:
            raise _ended(engine, session.id, container_options.remove, error) from None
    session.close()
    if code is None:
        return 0
    if session.removes:
        engine.containers.remove_ended(session.id)
    if code in _TELLING and not session.oom:
        _tell_why(engine, container_options, code)
    return code


def _ended(engine: Engine, container_id: str, remove: bool, error: OSError) -> UnderlayError:
    """End a container whose output cannot be written; return what to say of it."""
    try:
        engine.containers.remove(container_id, force=True) if remove else engine.containers.kill(container_id)
    except UnderlayError:
        pass  # it has ended already
    return UnderlayError(
        f"cannot write the container's output to {error.filename}: {error.strerror}",
        f"the container was {'removed' if remove else 'killed'}; free some space, or write the output elsewhere",
    )


# Codes with which programs end that cannot run here at all: no interpreter, bad instruction, bad access, bad call.
_TELLING = (126, 127, 132, 139, 159)


def _tell_why(engine: Engine, container_options: ContainerOptions, code: int) -> None:
    """Say in one line why the image cannot run here, if that is known."""

    try:
        fit = engine.bases.fit(
            container_options.image,
            container_options.platform,
            None,
            container_options.command or (),
            container_options.entrypoint,
        )
    except UnderlayError:
        return
    for reason in fit.reasons:
        if reason.effect == "fails" and code in reason.codes:
            from ...problems import shown

            message = f"{container_options.image} cannot run here: {reason.title}: {reason.image}, and {reason.host}"
            remedy = f"{reason.remedy}; or --isolation machine" if fit.machine else reason.remedy
            sys.stderr.write(f"underlay: {shown(message)}\nhint: {shown(remedy)}\n")
            return


def attachment_of(container_options: ContainerOptions, options: Options) -> tuple[Attachment, tuple[int, int]]:
    """Return the streams to attach, and the terminal's size (0, 0 without one); raises UsageError."""
    from ....runtime.monitor.attachment import Attachment

    chosen = [name.lower() for name in options["attach"]]
    for name in chosen:
        if name not in ("stdin", "stdout", "stderr"):
            raise UsageError(
                f'invalid argument "{name}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'
            )
    if container_options.terminal and container_options.interactive and not foreground.is_terminal(0):
        raise UsageError(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal", "leave out -t"
        )
    attachment = Attachment(
        stdin=foreground.usable(0) if (container_options.interactive and (not chosen or "stdin" in chosen)) else -1,
        stdout=foreground.usable(1) if not chosen or "stdout" in chosen else -1,
        stderr=foreground.usable(2) if not chosen or "stderr" in chosen else -1,
        keys=runflags.detach_keys(options["detach-keys"], container_options.terminal),
        removes=container_options.remove,
    )
    size = (0, 0)
    if container_options.terminal:
        from ....linux import tty

        size = tty.window_size(0) if foreground.is_terminal(0) else tty.window_size(1)
    return attachment, size


def write_cidfile(path: str, container_id: str) -> None:
    """Write the id to a new file `path`, if one is asked for."""
    if path:
        with open(path, "x", encoding="ascii") as file:
            file.write(container_id)
