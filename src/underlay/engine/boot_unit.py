"""The unit of systemd that starts containers after a boot: its text, where it lies, switching it on and off."""

from __future__ import annotations

import os
import shutil

from .. import settings
from ..errors import Conflict, InvalidInput, NotFound, UnderlayError
from ..files import write_atomic
from ..paths import interpreter

NAME = "underlay.service"
_MARK = "# Written by `underlay system install`; `underlay system uninstall` removes it.\n"


def directory(user: bool) -> str:
    """Return the directory of units: the host's, or the user's (systemd.unit(5), "Unit File Load Path")."""
    if not user:
        return "/etc/systemd/system"
    return (os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) + "/systemd/user"


def text(user: bool) -> str:
    """Return the unit for this program as it runs now, with its settings. Raises InvalidInput for what no unit can hold."""
    python, path = interpreter()
    known = [setting.variable for setting in settings.SETTINGS.values()]
    variables = {name: os.environ[name] for name in known if name in os.environ}
    given = [os.path.abspath(word) for word in os.environ.get("PYTHONPATH", "").split(os.pathsep) if word]
    variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*path, *given]))
    network = "" if user else "Wants=network-online.target\nAfter=network-online.target\n"
    return (
        f"{_MARK}[Unit]\n"
        "Description=Containers of underlay that are to run after a boot\n"
        f"{network}\n"
        "[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        # The containers and their monitors are no concern of the unit's end.
        "KillMode=process\n"
        "TimeoutStartSec=infinity\n"
        + "".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in variables.items())
        + f"ExecStart={_quoted(python)} -m underlay system start\n"
        "\n"
        "[Install]\n"
        f"WantedBy={_wanted_by(user)}\n"
    )


def _wanted_by(user: bool) -> str:
    return "default.target" if user else "multi-user.target"


def _quoted(word: str) -> str:
    """Return a word as systemd reads it (systemd.syntax(7), "Quoting")."""
    if not word.isprintable():
        raise InvalidInput(f"a unit of systemd cannot hold {word!r}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def install(user: bool) -> str:
    """Write the unit and switch it on; returns its path. Raises Conflict for a unit that is not ours, OSError."""
    place = directory(user)
    path = f"{place}/{NAME}"
    _refuse_others(path)
    wants = f"{place}/{_wanted_by(user)}.wants"
    os.makedirs(wants, exist_ok=True)
    write_atomic(path, text(user).encode())
    os.chmod(path, 0o644)
    link = f"{wants}/{NAME}"
    if not os.path.lexists(link):
        os.symlink(f"../{NAME}", link)
    _reload(user)
    return path


def uninstall(user: bool) -> str:
    """Switch the unit off and remove it; returns its path. Raises NotFound, Conflict, OSError."""
    place = directory(user)
    path = f"{place}/{NAME}"
    if not os.path.lexists(path):
        raise NotFound(f"there is no {path}", "`underlay system install` writes it; with --user for a user's own")
    _refuse_others(path)
    for name in (f"{place}/{_wanted_by(user)}.wants/{NAME}", path):
        try:
            os.unlink(name)
        except FileNotFoundError:
            pass
    _reload(user)
    return path


def _refuse_others(path: str) -> None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            ours = file.read(len(_MARK)) == _MARK
    except FileNotFoundError:
        return
    if not ours:
        raise Conflict(f"{path} was not written by `underlay system install`", "move it away first")


def _reload(user: bool) -> None:
    """Let systemd read its units anew, where it runs. Raises UnderlayError."""
    program = shutil.which("systemctl", path="/usr/bin:/bin")
    if program is None or not os.path.isdir("/run/systemd/system"):
        return  # it reads them when it starts
    import subprocess

    command = [program, *(["--user"] if user else []), "daemon-reload"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UnderlayError(f"{' '.join(command)}: {lines[-1]}", "the unit is written, and is read with the next boot")
