"""`underlay web` as a process of its own, on an installation of the test's."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from engines import Installation


@contextmanager
def serving_site(ul: Installation, *options: str) -> Iterator[str]:
    """Run the site with more options; yields the address that it prints.

    It must end when it is asked to, and have had no complaint.
    """
    pytest.importorskip("aiohttp")
    pytest.importorskip("jinja2")
    words = [*ul.command, "web", "--listen", "127.0.0.1:0", *options]
    process = subprocess.Popen(words, env=ul.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            said = process.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            said = process.communicate()[1] + "it did not end"
    assert process.returncode == 0 and said == "", said
