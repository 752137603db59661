"""A server of docker's API on an installation of the test's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines import Installation


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name: paths of sockets are limited."""
    made = Path(tempfile.mkdtemp(prefix="api"))
    yield made
    shutil.rmtree(made)


@contextmanager
def serving(ul: Installation, path: Path, *options: str) -> Iterator[str]:
    """Run a server at a socket, of which the path is short; yields its address for clients.

    It must end by itself when it is asked to, and leave no socket.
    """
    pytest.importorskip("aiohttp")
    words = [*ul.command, "serve", "-H", f"unix://{path}", *options]
    # Without a buffer: what is not read here is for `communicate`.
    process = subprocess.Popen(words, env=ul.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0)
    assert process.stderr is not None
    try:
        heard = b""
        while heard.count(b"listening at") < words.count("-H"):  # said of each address when all are open
            line = process.stderr.readline()
            assert line, heard.decode()
            heard += line
        yield f"unix://{path}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            said = process.communicate(timeout=30)[1].decode()
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1].decode() + "it did not end"
    assert "Traceback" not in said and "did not end" not in said, said
    assert process.returncode == 0 and not path.exists()
