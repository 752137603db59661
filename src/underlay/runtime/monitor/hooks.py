"""Hooks of a container's specification, which descriptions of devices bring: the monitor's part in them."""

from __future__ import annotations

import os

from ...errors import StartFailed, UnderlayError
from ...lean.jsontext import dumps
from ..apply import hooks as programs
from ..apply import seccomp_notify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plan.context import Context
    from .records import LaunchRecord


def prepare(record: LaunchRecord, context: Context) -> None:
    """Let the new process know its hooks, and write the bundle that hooks look at: a config.json in the state directory."""
    spec, bundle = record["spec"], record["state"]
    context.hooks = spec.get("hooks") or {}
    context.state = seccomp_notify.state_of(record["id"], "creating", bundle, spec)
    text = dumps({**spec, "root": {**spec["root"], "path": record["root"]["target"]}})
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    with open(os.open(f"{bundle}/config.json", flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def run(kinds: Sequence[str], context: Context, pid: int) -> None:
    """Run the hooks of these kinds in the host's namespaces; `pid` is the container's first process. Raises StartFailed."""
    word = "running" if "poststart" in kinds else "creating"
    for kind in kinds:
        try:
            programs.run(kind, context.hooks.get(kind) or [], {**context.state, "status": word, "pid": pid})
        except UnderlayError as error:
            raise StartFailed(error.message, 125, error.hint) from None
