"""`exec` and `ps` of the runtime."""

from __future__ import annotations

import sys

from ...errors import InvalidInput, UsageError
from ...human import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Process, User
    from ..flags import Flag, Options
    from .main import Settings

FLAGS: dict[str, tuple[Flag, ...]] = {
    "exec": (
        ("process", "p", "string", "file", "File with the `process` object of the specification"),
        ("cwd", "", "string", "dir", "Working directory"),
        ("env", "e", "list", "NAME=VALUE", "Environment variable"),
        ("tty", "t", "bool", "", "Allocate a terminal"),
        ("user", "u", "string", "UID[:GID]", "User of the process"),
        ("additional-gids", "g", "list", "gid", "Further group"),
        ("cap", "c", "list", "capability", "Further capability"),
        ("no-new-privs", "", "bool", "", "Never gain privileges by executing a file"),
        ("apparmor", "", "string", "profile", "AppArmor profile"),
        ("detach", "d", "bool", "", "Leave when the program runs"),
        ("pid-file", "", "string", "file", "File to write the process id to"),
        ("console-socket", "", "string", "path", "Socket that takes the terminal of the process"),
        ("preserve-fds", "", "int", "n", "Pass on this many descriptors beyond the standard ones"),
        ("ignore-paused", "", "bool", "", "Do it in a paused container, too; it runs when that is resumed"),
    ),
    "ps": (("format", "f", "string", "table|json", "Form of the output"),),
}
SYNOPSIS = {"exec": "[OPTIONS] CONTAINER [COMMAND [ARG...]]", "ps": "[OPTIONS] CONTAINER [PS OPTION...]"}


def run(name: str, settings: Settings, options: Options, arguments: list[str]) -> int:
    """Run one of the commands of this module."""
    if not arguments:
        raise UsageError(f"{name} needs the ID of a container", f"see `underlay-runtime {name} --help`")
    if name == "ps":
        return _ps(settings, options, arguments)
    return _exec(settings, options, arguments)


def _exec(settings: Settings, options: Options, arguments: list[str]) -> int:
    from ...runtime.standalone import execution
    from ...runtime.standalone.foreground import Foreground
    from .containers import creation_options_of

    container_id, *command = arguments
    body = _body(settings, options, container_id, command)
    creation_options = creation_options_of(settings, options)
    if options["detach"]:
        execution.execute(settings.root, container_id, body, creation_options, options["ignore-paused"])
        return 0
    front = Foreground()
    if body.get("terminal") and creation_options.console is None:
        creation_options.console = front.take_terminal
    joined = execution.execute(settings.root, container_id, body, creation_options, options["ignore-paused"])
    return front.wait(joined.pid, joined.pidfd)


def _body(settings: Settings, options: Options, container_id: str, command: list[str]) -> Process:
    """Return the `process` object: from a file, or the container's own as the flags change it."""
    from ...runtime.standalone import execution

    if options["process"]:
        if command:
            raise UsageError("exec takes a command or --process, not both")
        return _read(options["process"])
    if not command:
        raise UsageError("exec needs a command", "see `underlay-runtime exec --help`")
    body = execution.own_process(settings.root, container_id)
    body["args"] = command
    body["terminal"] = options["tty"]
    body["cwd"] = options["cwd"] or body["cwd"]
    body["env"] = [*(body.get("env") or []), *options["env"]]
    if "no-new-privs" in options:
        body["noNewPrivileges"] = options["no-new-privs"]
    if options["apparmor"]:
        body["apparmorProfile"] = options["apparmor"]
    user: User = body.get("user") or {}
    user = user.copy()
    if options["user"]:
        uid, _, gid = options["user"].partition(":")
        user["uid"] = _number("--user", uid)
        user["gid"] = _number("--user", gid) if gid else user.get("gid", 0)
    if options["additional-gids"]:
        more = [_number("--additional-gids", text) for text in options["additional-gids"]]
        user["additionalGids"] = [*(user.get("additionalGids") or []), *more]
    body["user"] = user
    sets = {key: list(names or []) for key, names in (body.get("capabilities") or {}).items()}
    for capability in options["cap"]:
        for key in ("bounding", "effective", "permitted"):
            sets.setdefault(key, []).append(capability)
    body["capabilities"] = sets
    return body


def _number(flag: str, text: str) -> int:
    number = whole(text)
    if not 0 <= number < 1 << 32:
        raise InvalidInput(f"{flag}: {text!r} is not a numeric id; a runtime does not look names up")
    return number


def _read(path: str) -> Process:
    from ...files import read_bytes
    from ...lean.jsontext import known
    from ...runtime.config import LIMIT

    try:
        value: Process = known(read_bytes(path, LIMIT))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} is not a JSON object")
    return value


def _ps(settings: Settings, options: Options, arguments: list[str]) -> int:
    from ...runtime.standalone import records

    pids = records.group_of(records.load(settings.root, arguments[0])).processes()
    if options["format"] == "json":
        from ...lean.jsontext import dumps

        sys.stdout.write(dumps(pids) + "\n")
        return 0
    if options["format"] not in ("", "table"):
        raise UsageError(f"invalid --format: {options['format']}, not table or json")
    from ...engine.containers import top

    listed = top.listed(pids, arguments[1:] or ["-ef"])
    rows = [listed.titles, *listed.rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(listed.titles))]
    for row in rows:
        sys.stdout.write("   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n")
    return 0
