"""What a monitor starts in a new process: it never opens the database, and has no more modules than it needs."""

from __future__ import annotations

import sys


def removed() -> None:
    """Remove the ended container whose id is the last argument (root, state, id): the end of `run -d --rm`."""
    import time

    from ..errors import NotFound, UnderlayError
    from .engine import Engine

    root, state, container_id = sys.argv[-3:]
    with Engine(root, state) as engine:
        for _ in range(20):
            try:
                engine.containers.remove(container_id)
            except NotFound:
                pass
            except UnderlayError:
                # Someone works on it (stop, start, a busy database): tried again.
                time.sleep(0.1)
                continue
            return
        # Nobody is there to be told; the container stays listed as exited, and can be removed by hand.
        sys.exit(1)


def detached() -> None:
    """Have plugins of CNI detach the ended container whose id is the last argument (root, state, id)."""
    from ..network import cni
    from ..paths import Paths

    root, state, container_id = sys.argv[-3:]
    cni.detach(Paths(root, state).container(container_id) + "/cni.json")
