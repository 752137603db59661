"""The units of systemd that have the bases of a scan watched: by a timer, or by a service that listens for pushes."""

from __future__ import annotations

import os
import re

from ...errors import NotFound
from ...paths import interpreter
from . import systemd

_COMMAND, _REMOVER = "base watch --install", "base watch --uninstall"
_MARK = systemd.mark(_COMMAND, _REMOVER)
_HINT = "the units are written, and are read with the next boot"
_TIMERS = "timers.target"


def name(scan: str) -> str:
    """Return the name of the units for the file of a scan, without their kinds."""
    stem = os.path.basename(scan).rpartition(".")[0] or os.path.basename(scan)
    return "underlay-watch-" + (re.sub(r"[^A-Za-z0-9_-]", "-", stem) or "scan")


def files(user: bool, scan: str, words: list[str], every: float) -> dict[str, str]:
    """Return the units by their paths: a service that runs `base watch` with `words`, and a timer that starts it each
    `every` seconds; 0 is for one that goes on running. Raises InvalidInput for what no unit can hold."""
    place = f"{systemd.directory(user)}/{name(scan)}"
    network = "" if user else "Wants=network-online.target\nAfter=network-online.target\n"
    lines = systemd.service_lines(["base", "watch", *words, scan])
    python, _ = interpreter()
    # A feed that does not answer keeps no base from being looked at.
    update = f"ExecStartPre=-{systemd.quoted(python)} -m underlay base advisories update\n" if every else ""
    found = {
        f"{place}.service": (
            f"{_MARK}[Unit]\n"
            "Description=Watch over the bases of a scan by underlay\n"
            f"{network}\n"
            "[Service]\n"
            f"Type={'oneshot' if every else 'exec'}\n"
            # 1 says that there is news.
            f"{'SuccessExitStatus=1' if every else 'Restart=on-failure'}\n"
            f"{update}{lines}" + ("" if every else f"\n[Install]\nWantedBy={_wanted_by(user, every)}\n")
        )
    }
    if every:
        found[f"{place}.timer"] = (
            f"{_MARK}[Unit]\n"
            "Description=Watch over the bases of a scan by underlay, again and again\n\n"
            "[Timer]\n"
            "OnActiveSec=1min\n"
            f"OnUnitActiveSec={every:.0f}s\n"
            # Many machines do not ask a registry in the same second.
            f"RandomizedDelaySec={every / 10:.0f}s\n"
            f"\n[Install]\nWantedBy={_TIMERS}\n"
        )
    return found


def _wanted_by(user: bool, every: float) -> str:
    return _TIMERS if every else ("default.target" if user else "multi-user.target")


def install(user: bool, scan: str, words: list[str], every: float) -> list[str]:
    """Write the units, and start what they are for if systemd runs; returns their paths.

    Raises Conflict for a file that is not ours, InvalidInput, UnderlayError, OSError.
    """
    _remove(user, scan)
    written = files(user, scan, words, every)
    for path, text in written.items():
        systemd.write(path, text, _MARK)
    started = name(scan) + (".timer" if every else ".service")
    systemd.enable(user, started, _wanted_by(user, every))
    if systemd.systemctl(user, "daemon-reload", hint=_HINT):
        systemd.systemctl(user, "restart", started, hint=f"see `systemctl status {started}`")
    return list(written)


def uninstall(user: bool, scan: str) -> list[str]:
    """Stop and remove what `install` has made for a scan; returns the paths. Raises NotFound, Conflict, OSError."""
    paths = _remove(user, scan)
    if not paths:
        raise NotFound(
            f"there is no {systemd.directory(user)}/{name(scan)}.service",
            f"`underlay {_COMMAND}` writes it; with --user for a user's own",
        )
    systemd.systemctl(user, "daemon-reload", hint=_HINT)
    return paths


def _remove(user: bool, scan: str) -> list[str]:
    place = f"{systemd.directory(user)}/{name(scan)}"
    paths = [path for path in (f"{place}.timer", f"{place}.service") if os.path.lexists(path)]
    for path in paths:
        unit = os.path.basename(path)
        systemd.systemctl(user, "stop", unit, hint=f"see `systemctl status {unit}`")
        for every in (0.0, 1.0):
            systemd.disable(user, unit, _wanted_by(user, every))
        systemd.remove(path, _MARK, "")
    return paths
