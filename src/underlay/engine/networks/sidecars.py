"""Containers that share the network namespace of another (`--network container:`): they keep it over its restart.

A file for each of them lies in the state directory of the container whose namespace it is.
"""

from __future__ import annotations

import os

from ...linux import process
from .. import presence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.store import Store


def note(store: Store, owner: str, sidecar: str) -> None:
    """Note that a container is about to share the namespace of another, which runs. Raises OSError."""
    directory = _directory(store, owner)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    os.close(os.open(f"{directory}/{sidecar}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def known(store: Store, owner: str) -> list[str]:
    """Return the ids of containers that share a container's namespace, or have."""
    try:
        return os.listdir(_directory(store, owner))
    except FileNotFoundError:
        return []


def namespace(store: Store, owner: str) -> int:
    """Return the network namespace, a descriptor, that a container had before, from one that still shares it; else -1."""
    for sidecar in known(store, owner):
        status = presence.status(store, sidecar)
        if not status.pid:
            continue
        try:
            found = os.open(f"/proc/{status.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if process.start_time(status.pid) == status.when:
            return found
        os.close(found)
    return -1


def _directory(store: Store, owner: str) -> str:
    return store.paths.container_state(owner) + "/sidecars"
