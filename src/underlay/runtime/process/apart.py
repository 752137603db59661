"""Joining a container from an interpreter of its own: for programs that live on, and may have threads."""

from __future__ import annotations

import _socket

from ...linux import cgroup
from ...linux.security import capabilities
from .. import plan
from ..plan.context import Context
from . import init, interpreter, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class Helper:
    """What a helper is to do: `operations` are the arguments of `plan.for_exec` and `plan.Extras`, `group` those of
    `cgroup.open_group`."""

    def __init__(
        self, python: str, import_path: list[str], operations: dict[str, Any], extras: dict[str, Any], group: list[Any]
    ) -> None:
        self._python = python
        self._import_path = import_path
        self._record = {"operations": operations, "extras": extras, "group": group}

    def start(self, flags: int, context: Context, detach: bool, target: int) -> tuple[int, _socket.socket]:
        """Start it; returns its pid and the socket to it. `target` is a descriptor of a process in the container."""
        code = "from underlay.runtime.process.apart import main; main()"
        pid, channel = interpreter.start(self._python, self._import_path, code)
        record = {
            **self._record,
            "flags": flags,
            "detach": detach,
            "environment": context.environment,
            "seccomp": context.seccomp.hex(),
            "groups_denied": context.groups_denied,
        }
        interpreter.send(channel, record, [target, *context.stdio])
        return pid, channel


def main() -> NoReturn:
    """Do what the parent asks for: see `join`."""
    channel, told, (target, *stdio) = interpreter.receive()
    context = Context()
    context.channel = channel
    context.stdio = tuple(stdio)
    context.environment = told["environment"]
    context.seccomp = bytes.fromhex(told["seccomp"])
    context.groups_denied = told["groups_denied"]
    context.group = cgroup.open_group(*told["group"])
    operations = plan.for_exec(extras=plan.Extras(**told["extras"]), **told["operations"])
    init.prepare(operations)
    capabilities.last_known_cached()
    join.become(target, told["flags"], operations, context, told["detach"], join.Alone())
