"""`exec` in a container of a bundle."""

from __future__ import annotations

import os

from ...errors import Conflict, InvalidInput
from ...linux import process, scheduling
from .. import config, plan
from ..process import join
from . import creating, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Affinity, Process
    from .creating import StartOptions


def own_process(root: str, container_id: str) -> Process:
    """Return a copy of the container's own `process` object, to be changed for another program."""
    body = records.load(root, container_id)["config"]["process"].copy()
    body.pop("consoleSize", None)
    body.pop("oomScoreAdj", None)
    body.pop("scheduler", None)
    body.pop("ioPriority", None)
    return body


def execute(
    root: str, container_id: str, body: Process, options: StartOptions, ignore_paused: bool = False
) -> join.Joined:
    """Start the program of an OCI `process` object in a container that is created or runs; it is our child.

    Raises InvalidInput, Conflict, StartFailed, KernelError.
    """
    for text in config.check_process(body, "process", alone=True):
        options.warn(text)
    terminal = bool(body.get("terminal"))
    if terminal != (options.console is not None):
        raise InvalidInput(
            "process.terminal: a terminal needs --console-socket, or the foreground"
            if terminal
            else "--console-socket: the process has no terminal (process.terminal)"
        )
    record = records.load(root, container_id)
    word = records.status(root, record)
    if word == records.PAUSED and not ignore_paused:
        raise Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    if word not in (records.RUNNING, records.CREATED, records.PAUSED):
        raise Conflict(f"cannot exec in a container that is {word}")
    size = body.get("consoleSize") or {}
    linux = record["config"].get("linux") or {}
    operations = plan.for_exec(
        body,
        plan.Extras(keyring=options.keyring),
        (int(size.get("height") or 0), int(size.get("width") or 0)),
        linux.get("seccomp"),
        scheduling.personality_word(linux["personality"], "linux.personality") if linux.get("personality") else -1,
    )
    alone = join.Alone()
    alone.preserved = tuple(range(3, 3 + options.preserve))
    if body.get("oomScoreAdj") is not None:
        alone.oom_score = str(body["oomScoreAdj"])
    _processors(body.get("execCPUAffinity") or {}, alone)
    environment = dict(pair.partition("=")[::2] for pair in body.get("env") or [] if "=" in pair)
    joined = join.start(
        record["pid"],
        record["when"],
        _foreign_namespaces(record["pid"]),
        records.group_of(record),
        operations,
        environment,
        creating.filter_of(record["config"]),
        terminal,
        False,
        False,
        creating.announcer(record, word, record["pid"]),
        alone,
    )
    if joined.console >= 0:
        assert options.console is not None
        try:
            options.console(joined.console)
        finally:
            os.close(joined.console)
    if options.pid_file:
        creating.write_pid(options.pid_file, joined.pid)
    return joined


def _processors(affinity: Affinity, alone: join.Alone) -> None:
    if affinity.get("initial"):
        alone.first_processors = scheduling.processors(affinity["initial"], "process.execCPUAffinity.initial")
    if affinity.get("final"):
        alone.processors = scheduling.processors(affinity["final"], "process.execCPUAffinity.final")


def _foreign_namespaces(pid: int) -> list[str]:
    """Return the kinds of namespaces in which process `pid` is and we are not: what the kernel says, not the record."""
    return [
        kind
        for kind, (name, _) in process.NAMESPACES.items()
        if _identity(f"/proc/{pid}/ns/{name}") != _identity(f"/proc/self/ns/{name}")
    ]


def _identity(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # a kernel without that kind
