"""Entry points for monitors: what they have the engine do, since they never open the database."""

from __future__ import annotations

import sys


def removed() -> None:
    """Remove the ended container whose id is the last argument (root, state, id): the end of `run -d --rm`."""
    from ..errors import UnderlayError
    from .engine import Engine

    root, state, container_id = sys.argv[-3:]
    with Engine(root, state) as engine:
        try:
            engine.containers.remove(container_id)
        except UnderlayError:
            # Nobody is there to be told; the container stays listed as exited, and can be removed by hand.
            sys.exit(1)
