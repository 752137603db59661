"""Dispatch of the runtime's commands: words to a command, exceptions to one line, a log, and an exit code."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ..flags import Flag

GLOBAL_FLAGS: tuple[Flag, ...] = (
    ("root", "", "string", "dir", "Directory for the state of containers"),
    ("log", "", "string", "file", "File to which errors and warnings are appended"),
    ("log-format", "", "string", "text|json", "Format of the log"),
    ("debug", "", "bool", "", "Print a traceback when an error occurs"),
    ("rootless", "", "string", "auto|true|false", "Whether to run without root privileges on the host"),
    ("systemd-cgroup", "", "bool", "", "Not supported: cgroups are managed with cgroupfs"),
    ("version", "v", "bool", "", "Print version information and quit"),
)
# Command → (module below cli.runtime, one line of help).
COMMANDS = {
    "create": ("containers", "Create a container from a bundle"),
    "delete": ("containers", "Delete a container"),
    "events": ("resources", "Show statistics and out-of-memory events of a container"),
    "exec": ("processes", "Run another program in a container"),
    "features": ("documents", "Show the features that this runtime supports"),
    "kill": ("containers", "Send a signal to a container"),
    "list": ("containers", "List containers"),
    "pause": ("containers", "Suspend all processes of a container"),
    "ps": ("processes", "List the processes of a container"),
    "resume": ("containers", "Resume all processes of a paused container"),
    "run": ("containers", "Create and start a container"),
    "spec": ("documents", "Create a specification file to start from"),
    "start": ("containers", "Start the program of a created container"),
    "state": ("containers", "Show the state of a container"),
    "update": ("resources", "Change the limits of a container"),
}
# What runc has beyond that.
_NOT_SUPPORTED = frozenset(("checkpoint", "restore"))


class Settings:
    """What is set for all commands: where records are, and where errors and warnings go."""

    __slots__ = ("debug", "log", "log_json", "root")

    def __init__(self) -> None:
        self.root = ""
        self.log = ""
        self.log_json = False
        self.debug = False

    def write(self, level: str, message: str) -> None:
        """Append a line to the log, if there is one."""
        if not self.log:
            return
        import time

        from ...lean.jsontext import dumps

        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.log_json:
            line = dumps({"level": level, "msg": message, "time": stamp})
        else:
            line = f"time={stamp} level={level} msg={dumps(message)}"
        with open(self.log, "a", encoding="utf-8", errors="replace") as file:
            file.write(line + "\n")

    def warn(self, message: str) -> None:
        """Tell what is odd: in the log, or on standard error where there is none."""
        self.write("warning", message)
        if not self.log:
            from ..problems import shown

            sys.stderr.write(f"warning: {shown(message)}\n")


def entry() -> NoReturn:
    """Run the program with the words it was called with, and exit."""
    from ..main import leave, spare

    spare()
    leave(main(sys.argv[1:]))


def main(words: list[str]) -> int:
    """Run one command line; return its exit code. Errors are written to standard error and to the log."""
    from ...errors import UnderlayError, Unsupported, UsageError
    from .. import flags

    settings = Settings()
    try:
        given, rest = flags.parse("runtime", GLOBAL_FLAGS, words, interspersed=False)
        settings.debug = given["debug"]
        settings.log = given["log"]
        if given["log-format"] not in ("", "text", "json"):
            raise UsageError(f"invalid --log-format: {given['log-format']}, not text or json")
        settings.log_json = given["log-format"] == "json"
        if given["version"]:
            return _version()
        if given["help"] or not rest or rest[0] == "help":
            sys.stdout.write(_listing() + "\n")
            return 0
        if given["systemd-cgroup"]:
            raise Unsupported(
                "--systemd-cgroup: groups are made as directories, not asked of systemd", "use the cgroupfs manager"
            )
        if given["rootless"] not in ("", "auto", "true", "false"):
            raise UsageError(f"invalid --rootless: {given['rootless']}, not auto, true or false")
        name, arguments = rest[0], rest[1:]
        if name not in COMMANDS:
            hint = "not supported" if name in _NOT_SUPPORTED else "see `underlay-runtime --help`"
            raise UsageError(f"unknown command: {name}", hint)
        module = __import__(f"underlay.cli.runtime.{COMMANDS[name][0]}", fromlist=["run"])
        options, arguments = flags.parse(f"runtime {name}", module.FLAGS[name], arguments, name not in ("exec", "ps"))
        if options["help"]:
            synopsis = f"runtime {name} {module.SYNOPSIS[name]}"
            sys.stdout.write(flags.usage(name, synopsis, COMMANDS[name][1], module.FLAGS[name]) + "\n")
            return 0
        from ...paths import check_private
        from ...runtime.standalone import records

        settings.root = os.path.abspath(given["root"]) if given["root"] else records.default_root()
        check_private(settings.root, "root directory", records.ROOT_HINT)  # hooks are run as its records say
        return int(module.run(name, settings, options, arguments) or 0)
    except UnderlayError as error:
        return _failed(settings, error.message, error.hint)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        return _failed(settings, f"{error.strerror or error}{where}", "")
    except KeyboardInterrupt:
        return 130


def _failed(settings: Settings, message: str, hint: str) -> int:
    if settings.debug:
        import traceback

        traceback.print_exc()
    from ..problems import shown

    sys.stdout.flush()
    message = shown(message)
    sys.stderr.write(f"underlay-runtime: {message}\n")
    if hint:
        sys.stderr.write(f"hint: {shown(hint)}\n")
    try:
        settings.write("error", message + (f" ({hint})" if hint else ""))
    except OSError as error:
        sys.stderr.write(f"underlay-runtime: cannot write the log {settings.log}: {error.strerror}\n")
    return 1


def _version() -> int:
    from ... import __version__
    from ...runtime.config import SPECIFICATION

    sys.stdout.write(f"underlay-runtime version {__version__}\nspec: {SPECIFICATION}\n")
    return 0


def _listing() -> str:
    lines = [
        "Usage:  underlay-runtime [OPTIONS] COMMAND",
        "",
        "An OCI runtime that depends on nothing",
        "",
        "Commands:",
    ]
    lines += [f"  {name:<10}  {text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "Options:"]
    for name, short, kind, meta, text in GLOBAL_FLAGS:
        left = f"{'-' + short + ', ' if short else '    '}--{name}" + ("" if kind == "bool" else f" {meta}")
        lines.append(f"  {left:<32}  {text}")
    return "\n".join(lines)
