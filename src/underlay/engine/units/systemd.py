"""Files that are written for other programs to find, and only ours are changed or removed: systemd's units, plug-ins."""

from __future__ import annotations

import os
import shutil

from ... import settings
from ...errors import Conflict, InvalidInput, NotFound, UnderlayError
from ...files import write_atomic
from ...paths import interpreter

_PATH = "/usr/bin:/bin"


def directory(user: bool) -> str:
    """Return the directory of units: the host's, or the user's (systemd.unit(5), "Unit File Load Path")."""
    if not user:
        return "/etc/systemd/system"
    return (os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")) + "/systemd/user"


def mark(command: str, removed_by: str) -> str:
    """Return the first line of a file that `command` writes, by which it is known as ours."""
    return f"# Written by `underlay {command}`; `underlay {removed_by}` removes it.\n"


def environment() -> dict[str, str]:
    """Return what a program of ours must find in its environment to run as this one does."""
    _, path = interpreter()
    known = [setting.variable for setting in settings.SETTINGS.values()]
    variables = {name: os.environ[name] for name in known if name in os.environ}
    given = [os.path.abspath(word) for word in os.environ.get("PYTHONPATH", "").split(os.pathsep) if word]
    variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*path, *given]))
    return variables


def service_lines(words: list[str]) -> str:
    """Return the lines of a service that runs this program with `words`. Raises InvalidInput for what no unit can hold."""
    python, _ = interpreter()
    # A dollar sign has no meaning there (systemd.exec(5), "Environment=").
    variables = "".join(
        f"Environment={quoted(f'{name}={value}').replace('$$', '$')}\n" for name, value in environment().items()
    )
    # Plain words stay bare, so that a person can read them.
    shown = [word if word.replace("-", "").isalnum() else quoted(word) for word in words]
    return f"{variables}ExecStart={quoted(python)} -m underlay {' '.join(shown)}\n"


def quoted(word: str) -> str:
    """Return a word as systemd reads it (systemd.syntax(7), "Quoting"). Raises InvalidInput."""
    if not word.isprintable():
        raise InvalidInput(f"a unit of systemd cannot hold {word!r}")
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def write(path: str, text: str, sign: str, mode: int = 0o644) -> None:
    """Write a file in which `sign` is a line; raises Conflict where another one is, OSError."""
    _refuse_others(path, sign)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_atomic(path, text.encode())
    os.chmod(path, mode)


def remove(path: str, sign: str, hint: str) -> None:
    """Remove a file of ours. Raises NotFound with a hint, Conflict for one that is not ours, OSError."""
    if not os.path.lexists(path):
        raise NotFound(f"there is no {path}", hint)
    _refuse_others(path, sign)
    os.unlink(path)


def _refuse_others(path: str, sign: str) -> None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            ours = sign in file.read(1000)
    except FileNotFoundError:
        return
    if not ours:
        raise Conflict(f"{path} was not written by {sign.partition('`')[2].partition('`')[0]!r}", "move it away first")


def enable(user: bool, name: str, target: str) -> None:
    """Have a unit started with a target (systemctl(1), "enable"). Raises OSError."""
    link = f"{directory(user)}/{target}.wants/{name}"
    os.makedirs(os.path.dirname(link), exist_ok=True)
    if not os.path.lexists(link):
        os.symlink(f"../{name}", link)


def disable(user: bool, name: str, target: str) -> None:
    """Have a unit no longer started with a target. Raises OSError."""
    try:
        os.unlink(f"{directory(user)}/{target}.wants/{name}")
    except FileNotFoundError:
        pass


def runs() -> bool:
    """Return whether systemd runs here (sd_booted(3)), and can be spoken to."""
    return shutil.which("systemctl", path=_PATH) is not None and os.path.isdir("/run/systemd/system")


def systemctl(user: bool, *words: str, hint: str) -> bool:
    """Run systemctl where systemd runs; returns whether it does. Raises UnderlayError with a hint."""
    program = shutil.which("systemctl", path=_PATH)
    if program is None or not runs():
        return False
    import subprocess

    command = [program, *(["--user"] if user else []), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UnderlayError(f"{' '.join(command)}: {lines[-1]}", hint)
    return True
