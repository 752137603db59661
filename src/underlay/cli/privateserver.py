"""A server of the API for one command alone: started when the command begins, gone when it ends."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import contextmanager

from ..errors import UnderlayError
from ..paths import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..engine.engine import Engine

_PATIENCE = 30.0  # seconds for the server to listen


@contextmanager
def private_server(engine: Engine) -> Iterator[str]:
    """Run a server on the engine's installation; yields the path of its socket. Raises UnderlayError.

    What it started goes on when it ends. Should this process be killed, the server ends when nobody asks any more.
    """
    paths = engine._store.paths
    directory = tempfile.mkdtemp(prefix="underlay-")  # short, as the path of a socket must be, and the user's alone
    path = f"{directory}/docker.sock"
    python, places = interpreter()
    search = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [python, "-m", "underlay", "--root", paths.root, "--state", paths.state, "serve"]
    try:
        server = subprocess.Popen(
            [*command, "-H", f"unix://{path}", "--idle-timeout", "30s"],
            env={**os.environ, "PYTHONPATH": search},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # signals of the terminal are for the client
        )
        assert server.stderr is not None
        try:
            deadline = time.monotonic() + _PATIENCE
            while not os.path.exists(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    said = server.stderr.read().decode(errors="replace").strip() if server.poll() is not None else ""
                    raise UnderlayError(
                        f"the server did not start: {said.removeprefix('underlay: ') or 'it is too slow'}"
                    )
                time.sleep(0.01)
            yield path
        finally:
            server.terminate()
            server.wait()
            server.stderr.close()
    finally:
        for name in (path, directory):
            try:
                os.unlink(name) if name == path else os.rmdir(name)
            except FileNotFoundError:
                pass
