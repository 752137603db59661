"""`docker-buildx`: docker's command line hands `docker build` and `docker buildx …` to this program, a plug-in of its own.

It builds as `underlay buildx …` does, in the installation of the server that docker's command line speaks to.
"""

from __future__ import annotations

import json
import os
import sys

from .. import __version__
from ..errors import UnderlayError, Unsupported, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, NoReturn

# The buildx whose commands and flags these are, for those who ask for a least version (compose: 0.17); what is behind
# `+` does not count when versions are compared (Semantic Versioning, 10).
VERSION = f"v0.17.0+underlay.{__version__}"
_METADATA = {
    "SchemaVersion": "0.1.0",
    "Vendor": "underlay",
    "Version": VERSION,
    "ShortDescription": "Build with underlay",
}
# Options of docker's command line that it passes on in front of the plug-in's name; True: with a value behind them.
_DOCKERS = {
    **dict.fromkeys(("--config", "-c", "--context", "-H", "--host", "-l", "--log-level"), True),
    **dict.fromkeys(("--tlscacert", "--tlscert", "--tlskey"), True),
    **dict.fromkeys(("-D", "--debug", "--tls", "--tlsverify"), False),
}
_DEFAULT = "unix:///var/run/docker.sock"
# What needs no installation: registries, and the program itself.
_APART = ("version", "imagetools", "ls", "inspect", "use", "--help", "help")
# Where docker's command line looks for plug-ins, after the directory of its settings.
_PLACES = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_PATIENCE = 30.0  # seconds for the server to answer


class NoServer(UnderlayError):
    """No server answers at the address that docker's command line uses."""


def entry() -> NoReturn:
    """Run the plug-in with the words it was called with, and exit."""
    from . import main, problems

    main.spare()
    try:
        client = _follow_client()
        code = run(sys.argv[1:])
        client.close()
    except UnderlayError as error:
        sys.stderr.write(problems.lines(error))
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    main.leave(code)


def _follow_client() -> _socket.socket:
    """Have this process interrupted (KeyboardInterrupt) when docker's command line ends, which keeps a connection with its
    plug-ins for that purpose. Returns the connection, for the caller to close."""
    import _socket
    import fcntl
    import signal

    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    address = os.environ.pop("DOCKER_CLI_PLUGIN_SOCKET", "")
    if not address:
        return client
    try:
        client.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
    except OSError:
        return client  # of another version, perhaps
    client.setblocking(False)

    def look(*_: object) -> None:
        try:
            over = not client.recv(64)
        except BlockingIOError:
            return
        except OSError:
            over = True
        if over:
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            raise KeyboardInterrupt

    # By a signal rather than a thread: a process with threads must not fork.
    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(client, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(client, fcntl.F_SETFL, fcntl.fcntl(client, fcntl.F_GETFL) | os.O_ASYNC)
    look()  # it may have ended before
    return client


def run(words: list[str]) -> int:
    """Run one command line, with or without the name of the plug-in; returns its exit code. Raises UnderlayError."""
    from .main import main

    if words[:1] == ["docker-cli-plugin-metadata"]:
        sys.stdout.write(json.dumps(_METADATA) + "\n")
        return 0
    given, rest = _dockers(words)
    completes = rest[:1] in (["__complete"], ["__completeNoDesc"])
    if completes:
        rest = rest[1:]
    if rest[:1] == ["buildx"]:
        rest = rest[1:]
    try:
        places = _places(given, words)
    except (NoServer, Unsupported):
        if rest and rest[0] not in _APART and not (completes or "--print" in rest or "--help" in rest):
            raise
        places = []
    if completes:
        return main(["__complete", "buildx", *rest])
    if rest[:1] == ["version"]:
        sys.stdout.write(f"underlay/buildx {VERSION} {__version__}\n")
        return 0
    return main([*places, "buildx", *rest])


def _places(given: dict[str, str], words: list[str]) -> list[str]:
    """Return the options of `underlay` that name the installation of the server that docker's command line speaks to.

    Where that is a server of another kind, its own plug-in is run instead, and this does not return. Raises
    NoServer, Unsupported, UsageError.
    """
    host = _host(given)
    try:
        return installation(host)
    except Unsupported:
        other = _other_plugin(given)
        if other is None:
            raise
        os.execv(other, [other, *words])


def _other_plugin(given: dict[str, str]) -> str | None:
    """Return the path of the plug-in that docker's command line would take if this one were not there."""
    import subprocess

    for place in (f"{_home(given)}/cli-plugins", *_PLACES):
        path = f"{place}/docker-buildx"
        if not os.access(path, os.X_OK):
            continue
        done = subprocess.run([path, "docker-cli-plugin-metadata"], capture_output=True, check=False)
        try:
            if json.loads(done.stdout).get("Vendor") != _METADATA["Vendor"]:
                return path
        except (ValueError, AttributeError):
            continue  # what is no plug-in
    return None


def _dockers(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Take docker's own options from the beginning of the words; returns them, and the other words."""
    given: dict[str, str] = {}
    at = 0
    while at < len(words) and words[at].startswith("-"):
        name, equals, value = words[at].partition("=")
        if name not in _DOCKERS:
            break
        if _DOCKERS[name] and not equals:
            at += 1
            value = words[at] if at < len(words) else ""
        given[name] = value
        at += 1
    return given, words[at:]


def _host(given: dict[str, str]) -> str:
    """Return the address that docker's command line would speak to (docker, "Environment variables", "docker context")."""
    host = given.get("-H") or given.get("--host")
    if host:
        return host
    context = given.get("-c") or given.get("--context")
    if not context and os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    home = given.get("--config") or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    context = (
        context or os.environ.get("DOCKER_CONTEXT") or str(_read(f"{home}/config.json").get("currentContext") or "")
    )
    if context in ("", "default"):
        return _DEFAULT
    from hashlib import sha256

    endpoints = _read(f"{home}/contexts/meta/{sha256(context.encode()).hexdigest()}/meta.json").get("Endpoints") or {}
    host = (endpoints.get("docker") or {}).get("Host")
    if not host:
        raise UsageError(f"there is no docker context {context!r}")
    return str(host)


def _home(given: dict[str, str]) -> str:
    return given.get("--config") or os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def installation(host: str) -> list[str]:
    """Return the options of `underlay` that name the installation of the server at `host`.

    Raises NoServer when none answers there, Unsupported for a server of another kind, or on another host.
    """
    if not host.startswith("unix://"):
        raise Unsupported(
            f"docker-buildx of underlay builds on its own host, and the server is at {host}",
            "build there, or with DOCKER_BUILDKIT=0 by the server",
        )
    path = host.removeprefix("unix://")
    answer = _asked(path)
    if answer is None:
        raise NoServer(
            f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?",
            "start `underlay serve`, and set DOCKER_HOST to its socket; `underlay build` needs no server",
        )
    places: dict[str, Any] = next(
        (part.get("Details") or {} for part in answer.get("Components") or [] if part.get("Name") == "Engine"), {}
    )
    if (answer.get("Platform") or {}).get("Name") != "underlay" or "Root" not in places:
        raise Unsupported(
            f"the server at {host} is not underlay, and docker-buildx of underlay builds for underlay alone",
            "set DOCKER_HOST to the socket of `underlay serve`, or remove this plug-in from docker's cli-plugins",
        )
    return ["--root", str(places["Root"]), "--state", str(places["State"])]


def _asked(path: str) -> dict[str, Any] | None:
    """Return what the server at a socket says of itself, or None where none listens."""
    import socket
    from http.client import HTTPConnection, HTTPException

    class Connection(HTTPConnection):
        def connect(self) -> None:
            """Connect with the socket."""
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(_PATIENCE)
            self.sock.connect(path)
            # Who listens there says where to build: only root, or this user.
            credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            owner = int.from_bytes(credentials[4:8], sys.byteorder)
            if owner not in (0, os.geteuid()):
                raise Unsupported(
                    f"the server at {path} is of the user {owner}", "set DOCKER_HOST to a server of yours"
                )

    connection = Connection("localhost")
    try:
        connection.request("GET", "/version")
        value = json.loads(connection.getresponse().read(1 << 20))
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (OSError, ValueError, RecursionError, HTTPException) as error:
        raise UnderlayError(f"the server at {path} does not answer as it should: {error}") from None
    finally:
        connection.close()
    return value if isinstance(value, dict) else {}
