"""What a monitor starts in a new process, for work that needs the database or more modules than a monitor has."""

from __future__ import annotations

import os
import sys
import time


def removed() -> None:
    """Remove the ended container whose id is the last argument (root, state, id): the end of `run -d --rm`."""
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


_CALM = 0.5  # seconds after which whoever changes the firewall may be through
_REST = 10.0  # seconds that may pass between two containers that remove themselves, without all being made anew


def mend() -> None:
    """Mend the firewall, with the lock in the given descriptor, when another program has changed it (`FirewallWatch`).

    The root and state directories are the last arguments.
    """
    from ..errors import UnderlayError
    from ..runtime.monitor import detached
    from .engine import Engine

    detached.begin()
    root, state = sys.argv[-2:]
    try:
        with Engine(root, state) as engine:
            time.sleep(_CALM)
            engine.networks.mend()
            time.sleep(_CALM)
            os.close(detached.GIVEN)
            # Monitors that were told of changes while the lock was held have done nothing about them.
            engine.networks.mend()
    except (UnderlayError, OSError):
        pass  # nobody is there to be told; the next start of a container is another try


def rest() -> None:
    """Take down what networks have on the host, after a while, if the container that removed itself was the last one.

    Arguments: the root and state directories, and the descriptor of the lock that is held meanwhile.
    """
    root, state, lock = sys.argv[-3:]
    time.sleep(_REST)
    from ..errors import UnderlayError
    from .engine import Engine

    os.close(int(lock))
    try:
        with Engine(root, state) as engine:
            engine.networks.retire()
            # A container that ended just before left this to us, and may have been on record still.
            time.sleep(_CALM)
            engine.networks.retire()
    except (UnderlayError, OSError):
        pass  # nobody is there to be told; the next removal is another try


def detach_plugins() -> None:
    """Let the CNI plugins detach an ended container; the arguments are root, state and its id."""
    from ..network import cni
    from ..paths import Paths

    root, state, container_id = sys.argv[-3:]
    cni.detach(Paths(root, state).container(container_id) + "/cni.json")
