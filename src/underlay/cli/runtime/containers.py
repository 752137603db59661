"""`create`, `start`, `run`, `state`, `list`, `kill`, `pause`, `resume` and `delete` of the runtime."""

from __future__ import annotations

import os
import sys

from ...errors import InvalidInput, UsageError
from ...linux import signals
from ...runtime.standalone import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...runtime.standalone.creating import StartOptions
    from ..flags import Flag, Options
    from .main import Settings

_CREATE: tuple[Flag, ...] = (
    ("bundle", "b", "string", "dir", "Directory of config.json and root file system (default: the current one)"),
    ("console-socket", "", "string", "path", "Socket that takes the terminal of the process"),
    ("pid-file", "", "string", "file", "File to write the process id to"),
    ("no-pivot", "", "bool", "", "Change the root without pivot_root, for a host that runs from its initramfs"),
    ("no-new-keyring", "", "bool", "", "Keep the caller's session keyring"),
    ("preserve-fds", "", "int", "n", "Pass on this many descriptors beyond the standard ones"),
)
FLAGS: dict[str, tuple[Flag, ...]] = {
    "create": _CREATE,
    "run": (
        *_CREATE,
        ("detach", "d", "bool", "", "Leave when the program runs"),
        ("keep", "", "bool", "", "Do not delete the container when its program has ended"),
    ),
    "start": (),
    "state": (),
    "list": (
        ("format", "f", "string", "table|json", "Form of the output"),
        ("quiet", "q", "bool", "", "Only IDs"),
    ),
    "kill": (("all", "a", "bool", "", "Send the signal to all processes of the container"),),
    "pause": (),
    "resume": (),
    "delete": (("force", "f", "bool", "", "Kill a container that runs; none is fine, too"),),
}
SYNOPSIS = {
    "create": "[OPTIONS] CONTAINER",
    "run": "[OPTIONS] CONTAINER",
    "start": "CONTAINER",
    "state": "CONTAINER",
    "list": "[OPTIONS]",
    "kill": "[OPTIONS] CONTAINER [SIGNAL]",
    "pause": "CONTAINER",
    "resume": "CONTAINER",
    "delete": "[OPTIONS] CONTAINER",
}


def run(name: str, settings: Settings, options: Options, arguments: list[str]) -> int:
    """Run one of the commands of this module."""
    from ...runtime.standalone import lifecycle

    if name == "list":
        if arguments:
            raise UsageError("list takes no argument")
        return _list(settings, options)
    most = 2 if name == "kill" else 1
    if not 1 <= len(arguments) <= most:
        raise UsageError(f"{name} needs the ID of one container", f"see `underlay-runtime {name} --help`")
    container_id = arguments[0]
    if name in ("create", "run"):
        return _create(name, settings, options, container_id)
    if name == "start":
        lifecycle.start(settings.root, container_id, settings.warn)
    elif name == "state":
        _print(records.state(settings.root, records.load(settings.root, container_id)))
    elif name == "kill":
        text = arguments[1] if len(arguments) > 1 else "SIGTERM"
        try:
            number = 0 if text == "0" else signals.number(text)
        except InvalidInput as error:
            raise InvalidInput(f"unknown signal: {text}", error.hint) from None  # as runc has it
        lifecycle.kill(settings.root, container_id, number, options["all"])
    elif name in ("pause", "resume"):
        lifecycle.pause(settings.root, container_id, name == "pause")
    else:
        lifecycle.delete(settings.root, container_id, options["force"], settings.warn)
    return 0


def creation_options_of(settings: Settings, options: Options) -> StartOptions:
    """Return what create, run and exec have been asked for beside the bundle."""
    from ...runtime.standalone import creating

    creation_options = creating.StartOptions()
    creation_options.warn = settings.warn
    creation_options.pid_file = options["pid-file"]
    creation_options.preserve = options["preserve-fds"] or 0
    if options["console-socket"]:
        from ...runtime.standalone import consoles

        creation_options.console = consoles.to_socket(options["console-socket"])
    if not 0 <= creation_options.preserve < 1 << 16:
        raise InvalidInput(f"--preserve-fds: {creation_options.preserve} is not a number of descriptors")
    for number in range(3, 3 + creation_options.preserve):
        try:
            os.fstat(number)
        except OSError:
            raise InvalidInput(f"--preserve-fds: file descriptor {number} is not open") from None
    return creation_options


def _create(name: str, settings: Settings, options: Options, container_id: str) -> int:
    from ...runtime.standalone import creating, lifecycle

    creation_options = creation_options_of(settings, options)
    creation_options.pivot = not options["no-pivot"]
    creation_options.keyring = not options["no-new-keyring"]
    bundle = options["bundle"] or os.getcwd()
    if name == "create" or options["detach"]:
        creating.create(settings.root, container_id, bundle, creation_options)
        if name == "run":
            try:
                lifecycle.start(settings.root, container_id, settings.warn)
            except BaseException:
                lifecycle.delete(settings.root, container_id, True, settings.warn)
                raise
        return 0
    from ...runtime.standalone.foreground import Foreground

    front = Foreground()
    if creation_options.console is None and creating.has_terminal(bundle):
        creation_options.console = front.take_terminal
    record = creating.create(settings.root, container_id, bundle, creation_options)
    try:
        from ...linux import process

        pidfd = process.pidfd_open(record["pid"])
        lifecycle.start(settings.root, container_id, settings.warn)
        return front.wait(record["pid"], pidfd)
    finally:
        if not options["keep"]:
            lifecycle.delete(settings.root, container_id, True, settings.warn)


def _print(value: Any) -> None:
    import json

    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _list(settings: Settings, options: Options) -> int:
    if options["format"] not in ("", "table", "json"):
        raise UsageError(f"invalid --format: {options['format']}, not table or json")
    names = records.names(settings.root)
    if options["quiet"]:
        sys.stdout.write("".join(name + "\n" for name in names))
        return 0
    states = [records.state(settings.root, records.load(settings.root, name)) for name in names]
    if options["format"] == "json":
        import json

        sys.stdout.write(json.dumps(states) + "\n")
        return 0
    rows = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
    rows += [(s["id"], str(s["pid"]), s["status"], s["bundle"], s["created"], s["owner"]) for s in states]
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("   ".join(cells).rstrip() + "\n")
    return 0
