"""What has docker's clients answered without a server that runs always: a socket unit, its service, and a plug-in."""

from __future__ import annotations

import os
import shlex

from ...errors import NotFound
from ...paths import interpreter
from . import systemd

SOCKET, SERVICE = "underlay-docker.socket", "underlay-docker.service"
_COMMAND, _REMOVER = "serve --install", "serve --uninstall"
_MARK = systemd.mark(_COMMAND, _REMOVER)
_WANTED_BY = "sockets.target"
_HINT = "the units are written, and are read with the next boot"


def socket_text(listens: list[str]) -> str:
    """Return the unit of the sockets: paths, or addresses with ports, with systemd's specifiers (systemd.socket(5))."""
    lines = "".join(f"ListenStream={address}\n" for address in listens)
    return (
        f"{_MARK}[Unit]\n"
        "Description=Socket of underlay for docker's clients\n\n"
        "[Socket]\n"
        f"{lines}"
        # For its owner alone: who may use it can do all that the owner can.
        "SocketMode=0600\n"
        "DirectoryMode=0700\n"
        "RemoveOnStop=yes\n"
        f"\n[Install]\nWantedBy={_WANTED_BY}\n"
    )


def service_text(options: list[str]) -> str:
    """Return the unit of the server, with options of `serve`. Raises InvalidInput for what no unit can hold."""
    return (
        f"{_MARK}[Unit]\n"
        "Description=underlay's server for docker's clients\n"
        f"Requires={SOCKET}\n"
        f"After={SOCKET}\n\n"
        "[Service]\n"
        "Type=exec\n"
        # The containers and their monitors are no concern of the server's end.
        "KillMode=process\n"
        # Neither its number of processes nor that of open files: they would be those of all containers.
        "TasksMax=infinity\n"
        "LimitNOFILE=1048576\n"
        "Delegate=yes\n" + systemd.service_lines(["serve", "--host", "fd://", *options])
    )


def plugin_path(user: bool) -> str:
    """Return where docker's command line looks for its plug-in `buildx`."""
    if not user:
        return "/usr/local/lib/docker/cli-plugins/docker-buildx"
    return (os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")) + "/cli-plugins/docker-buildx"


def plugin_text() -> str:
    """Return the plug-in: a script that runs this program's."""
    python, path = interpreter()
    places = systemd.environment().get("PYTHONPATH") or os.pathsep.join(path)
    code = "from underlay.cli.buildxplugin import entry; entry()"
    return (
        f'#!/bin/sh\n{_MARK}PYTHONPATH={shlex.quote(places)} exec {shlex.quote(python)} -c {shlex.quote(code)} "$@"\n'
    )


def files(user: bool, listens: list[str], options: list[str]) -> dict[str, str]:
    """Return the units and the plug-in, by their paths. Raises InvalidInput for what no unit can hold."""
    place = systemd.directory(user)
    return {
        f"{place}/{SOCKET}": socket_text(listens),
        f"{place}/{SERVICE}": service_text(options),
        plugin_path(user): plugin_text(),
    }


def install(user: bool, listens: list[str], options: list[str]) -> list[str]:
    """Write the units and the plug-in, and have the sockets listen, now if systemd runs; returns the paths of the files.

    Raises Conflict for a file that is not ours, InvalidInput, UnderlayError, OSError.
    """
    written = files(user, listens, options)
    for path, text in written.items():
        systemd.write(path, text, _MARK, 0o755 if path == plugin_path(user) else 0o644)
    systemd.enable(user, SOCKET, _WANTED_BY)
    if systemd.systemctl(user, "daemon-reload", hint=_HINT):
        # A server that runs has options of before: it ends, and the next request starts it anew.
        systemd.systemctl(user, "stop", SERVICE, hint=f"see `systemctl status {SERVICE}`")
        systemd.systemctl(user, "restart", SOCKET, hint=f"see `systemctl status {SOCKET}`")
    return list(written)


def uninstall(user: bool) -> list[str]:
    """Stop and remove what `install` has made; returns the paths. Containers stay. Raises NotFound, Conflict, OSError."""
    place = systemd.directory(user)
    paths = [path for path in (f"{place}/{SOCKET}", f"{place}/{SERVICE}", plugin_path(user)) if os.path.lexists(path)]
    if not paths:
        raise NotFound(
            f"there is no {place}/{SOCKET}", f"`underlay {_COMMAND}` writes it; with --user for a user's own"
        )
    if f"{place}/{SOCKET}" in paths:
        systemd.systemctl(user, "stop", SOCKET, SERVICE, hint=f"see `systemctl status {SOCKET}`")
    systemd.disable(user, SOCKET, _WANTED_BY)
    for path in paths:
        systemd.remove(path, _MARK, "")
    systemd.systemctl(user, "daemon-reload", hint=_HINT)
    return paths
