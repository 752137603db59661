"""Servers of the API that commands start: one for a command alone, and one for connections that come and go."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from contextlib import contextmanager

from ..errors import UnderlayError
from ..files import Lock
from ..paths import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from ..engine.engine import Engine

_PATIENCE = 2.0  # seconds for a server whose socket has been closed to end
_IDLE = "30s"  # how long a server waits for further requests when nobody ends it
_LISTENING = b"underlay: listening at "  # what a server says first


@contextmanager
def private_server(engine: Engine) -> Iterator[str]:
    """Run a server on the engine's installation; yields the path of its socket. Raises UnderlayError.

    What it started goes on when it ends. Should this process be killed, the server ends when nobody asks any more.
    """
    directory = tempfile.mkdtemp(prefix="underlay-")  # short, as the path of a socket must be, and the user's alone
    path = f"{directory}/docker.sock"
    try:
        server = _started(engine, f"unix://{path}", subprocess.PIPE)
        assert server.stderr is not None
        try:
            said = server.stderr.readline()
            if not said.startswith(_LISTENING):
                raise _failed(said + server.stderr.read())
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


class SharedServer:
    """A server for several processes of this user, on the engine's installation; it ends when nobody has asked for a while.

    What one client begins in one connection and goes on with in another must be known to the same server.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine._store.paths.state
        self._server: subprocess.Popen[bytes] | None = None

    def connect(self, connection: socket.socket) -> None:
        """Connect a socket with the server, which is started if there is none. Raises UnderlayError, OSError."""
        os.makedirs(self._state, mode=0o700, exist_ok=True)
        directory = os.open(self._state, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # The path of a socket must be short.
            path = f"/proc/self/fd/{directory}/dial.sock"
            with Lock(f"{self._state}/dial.lock"):
                try:
                    connection.connect(path)
                    return
                except ConnectionRefusedError:
                    os.unlink(path)  # of a server that has ended
                except FileNotFoundError:
                    pass
                self._start(path)
                connection.connect(path)
        finally:
            os.close(directory)

    def _start(self, path: str) -> None:
        """Listen at a path, and start a server that answers there: who connects meanwhile waits for it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            before = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(before)
            listener.listen(socket.SOMAXCONN)
            with open(self._log(), "wb") as log:
                self._server = _started(self._engine, f"fd://{listener.fileno()}", log, (listener.fileno(),))

    def _log(self) -> str:
        return f"{self._state}/dial.log"

    def failure(self) -> UnderlayError | None:
        """Return why the server that this process has started could not be, if that is so."""
        if self._server is None:
            return None
        try:
            if not self._server.wait(_PATIENCE):
                return None
        except subprocess.TimeoutExpired:
            return None  # it runs
        with open(self._log(), "rb") as log:
            return _failed(log.read(1 << 16))


def _started(
    engine: Engine, address: str, errors: int | IO[bytes], passed: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    paths = engine._store.paths
    python, places = interpreter()
    search = os.pathsep.join([*places, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [python, "-m", "underlay", "--root", paths.root, "--state", paths.state, "serve", "-H", address]
    return subprocess.Popen(
        [*command, "--idle-timeout", _IDLE],
        env={**os.environ, "PYTHONPATH": search},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        pass_fds=passed,
        start_new_session=True,  # signals of the terminal are for the client
    )


def _failed(said: bytes) -> UnderlayError:
    lines = said.decode(errors="replace").strip().removeprefix("underlay: ")
    return UnderlayError(f"the server did not start: {lines or 'it has said nothing'}")
