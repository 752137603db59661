"""`underlay compose`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

from ....errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Run docker's compose program with a server of its own for as long as it takes"
SYNOPSIS = "compose [ARG...]"
ARGUMENTS = (0, None)
FLAGS: tuple[Flag, ...] = ()
PASSES_ALL_ON = True
_PLUGINS = (
    "~/.docker/cli-plugins/docker-compose",
    "/usr/local/lib/docker/cli-plugins/docker-compose",
    "/usr/local/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/libexec/docker/cli-plugins/docker-compose",
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Run the installed program with the words as they are, and end as it does."""
    from ...privateserver import private_server

    program = _program()
    with private_server(engine) as path:
        client = subprocess.Popen(
            [program, *arguments], env={**os.environ, "DOCKER_HOST": f"unix://{path}", "DOCKER_BUILDKIT": "0"}
        )
        # It has the terminal, and gets its signals itself.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: client.terminate())
        code = client.wait()
    return code if code >= 0 else 128 - code


def _program() -> str:
    """Return the path of the compose program. Raises Unsupported."""
    found = shutil.which("docker-compose")
    for path in _PLUGINS if found is None else ():
        path = os.path.expanduser(path)
        if os.access(path, os.X_OK):
            found = path
            break
    if found is None:
        raise Unsupported("there is no docker-compose on this host", "apt install docker-compose")
    return found
