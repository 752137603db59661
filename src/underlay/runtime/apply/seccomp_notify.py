"""A seccomp filter that asks: its listener is sent to the agent that the specification names (config-linux, "Seccomp").

The process that takes the filter hands the listener to its parent over the setup socket, and the parent, which is still
at home in the host's namespaces and knows the pid, tells the agent.
"""

from __future__ import annotations

import os

from ...errors import InvalidInput, StartFailed
from ...lean.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NotRequired, TypedDict

    from ...linux.specification import Seccomp, Spec, State

    Announce = Callable[[int, int], None]

    class ProcessState(TypedDict):
        """What an agent is sent with a listener (config-linux, "Container Process State")."""

        ociVersion: str
        fds: list[str]
        pid: int
        metadata: NotRequired[str]
        state: State


NOTIFY = "SCMP_ACT_NOTIFY"
_PATIENCE = 10.0  # seconds that an agent may take to accept
OCI_VERSION = "1.2.0"


def wanted(profile: Seccomp | None) -> bool:
    """Return whether an OCI `linux.seccomp` object needs an agent; raises InvalidInput when it cannot work."""
    if not profile:
        return False
    if profile.get("listenerMetadata") and not profile.get("listenerPath"):
        raise InvalidInput("linux.seccomp.listenerMetadata: it needs listenerPath")
    if profile.get("defaultAction") == NOTIFY:
        raise InvalidInput(
            f"linux.seccomp.defaultAction: {NOTIFY} would block the call that passes the listener to the agent"
        )
    notifies = False
    for position, rule in enumerate(profile.get("syscalls") or []):
        if rule.get("action") == NOTIFY:
            notifies = True
            if "sendmsg" in (rule.get("names") or []):
                raise InvalidInput(
                    f"linux.seccomp.syscalls[{position}]: {NOTIFY} blocks sendmsg, which passes the listener to the agent"
                )
    if notifies and not profile.get("listenerPath"):
        raise InvalidInput(f"linux.seccomp.listenerPath: {NOTIFY} needs the socket of an agent")
    return notifies


def state_of(container_id: str, status: str, bundle: str, spec: Spec) -> State:
    """Return the state of a container as agents get it (runtime, "State"), without a pid."""
    return {
        "ociVersion": OCI_VERSION,
        "id": container_id,
        "status": status,
        "bundle": bundle,
        "annotations": spec.get("annotations") or {},
    }


def announcer(profile: Seccomp | None, state: State) -> Announce | None:
    """Return the function that sends a process and its listener to the agent; None for a filter without one.

    `state` is the container's state (runtime, "State"); without a `pid` in it the process is the container's first.
    """
    if not profile or not wanted(profile):
        return None
    path, metadata = profile["listenerPath"], profile.get("listenerMetadata")

    def announce(pid: int, listener: int) -> None:
        try:
            send(path, metadata, pid, listener, {"pid": pid, **state})
        finally:
            os.close(listener)

    return announce


def send(path: str, metadata: str | None, pid: int, listener: int, state: State) -> None:
    """Send one container process state, and the listener, to the socket at `path`; raises StartFailed."""
    import _socket

    record: ProcessState = {"ociVersion": OCI_VERSION, "fds": ["seccompFd"], "pid": pid, "state": state}
    if metadata:
        record["metadata"] = metadata
    data = dumps(record).encode("utf-8", "surrogateescape")
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, listener.to_bytes(4, "little"))]
        sent = connection.sendmsg([data], rights)
        connection.sendall(data[sent:])
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StartFailed(f"cannot hand the seccomp listener to {path}: {reason}", 125) from None
    finally:
        connection.close()
