"""The unit of systemd that starts containers after a boot: its text, switching it on and off."""

from __future__ import annotations

from . import systemd

NAME = "underlay.service"
_MARK = systemd.mark("system install", "system uninstall")
_HINT = "the unit is written, and is read with the next boot"


def text(user: bool) -> str:
    """Return the unit for this program as it runs now, with its settings. Raises InvalidInput for what no unit can hold."""
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
        + systemd.service_lines(["system", "start"])
        + f"\n[Install]\nWantedBy={_wanted_by(user)}\n"
    )


def _wanted_by(user: bool) -> str:
    return "default.target" if user else "multi-user.target"


def install(user: bool) -> str:
    """Write the unit and switch it on; returns its path. Raises Conflict for a unit that is not ours, OSError."""
    path = f"{systemd.directory(user)}/{NAME}"
    systemd.write(path, text(user), _MARK)
    systemd.enable(user, NAME, _wanted_by(user))
    systemd.systemctl(user, "daemon-reload", hint=_HINT)
    return path


def uninstall(user: bool) -> str:
    """Switch the unit off and remove it; returns its path. Raises NotFound, Conflict, OSError."""
    path = f"{systemd.directory(user)}/{NAME}"
    systemd.remove(path, _MARK, "`underlay system install` writes it; with --user for a user's own")
    systemd.disable(user, NAME, _wanted_by(user))
    systemd.systemctl(user, "daemon-reload", hint=_HINT)
    return path
