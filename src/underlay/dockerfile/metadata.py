"""What instructions do to an image's configuration: the `config` member that OCI and docker share."""

from __future__ import annotations

import posixpath

from ..human import whole
from .instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Onbuild,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from .ports import Port, read_ports
from .problems import DockerfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    Execution = dict[str, Any]

DEFAULT_SHELL = ("/bin/sh", "-c")


def apply(instruction: Instruction, execution: Execution, cmd_set: bool = False) -> Execution:
    """Return the `config` member after an (expanded) instruction; `execution`, the one before it, is not altered.

    `cmd_set` says that the stage had a CMD before: else ENTRYPOINT drops the one that came from the base. What
    alters no member (RUN, COPY, ARG, MAINTAINER…) returns an equal one. Raises DockerfileError.
    """
    effect = _EFFECTS.get(type(instruction))
    changes = effect(instruction, execution) if effect else {}
    if isinstance(instruction, Entrypoint) and not cmd_set:
        changes["Cmd"] = None
    return {key: value for key, value in {**execution, **changes}.items() if value is not None}


def shell_of(execution: Execution) -> list[str]:
    """Return what SHELL has set, or the default."""
    return list(execution.get("Shell") or DEFAULT_SHELL)


def environment_of(execution: Execution) -> dict[str, str]:
    """Return the environment of a `config` member by name."""
    return {name: value for name, _, value in (item.partition("=") for item in execution.get("Env") or ())}


def with_variables(environment: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return `NAME=value` items with `pairs` set: what is there keeps its place, what is new follows."""
    items = {item.partition("=")[0]: item for item in environment}
    items.update((name, f"{name}={value}") for name, value in pairs)
    return list(items.values())


def _env(instruction: Env, execution: Execution) -> Execution:
    return {"Env": with_variables(execution.get("Env") or (), instruction.variables)}


def _label(instruction: Label, execution: Execution) -> Execution:
    return {"Labels": {**(execution.get("Labels") or {}), **dict(instruction.labels)}}


def _cmd(instruction: Cmd, execution: Execution) -> Execution:
    # "ArgsEscaped" matters only to Windows; BuildKit sets it always.
    return {"Cmd": instruction.command.arguments(shell_of(execution)), "ArgsEscaped": True}


def _entrypoint(instruction: Entrypoint, execution: Execution) -> Execution:
    return {"Entrypoint": instruction.command.arguments(shell_of(execution)) or None}


def _shell(instruction: Shell, execution: Execution) -> Execution:
    return {"Shell": list(instruction.words)}


def _expose(instruction: Expose, execution: Execution) -> Execution:
    ports = dict(execution.get("ExposedPorts") or {})
    for text in instruction.ports:
        ports.update({name: {} for name in _port(instruction, text).names})
    return {"ExposedPorts": ports}


def _port(instruction: Expose, text: str) -> Port:
    try:
        return read_ports(text)
    except DockerfileError as error:
        raise instruction.problem(error.problem, error.hint, text) from None


def _volume(instruction: Volume, execution: Execution) -> Execution:
    if not all(instruction.paths):
        raise instruction.problem("VOLUME specified can not be an empty string")
    return {"Volumes": {**(execution.get("Volumes") or {}), **{path: {} for path in instruction.paths}}}


def _user(instruction: User, execution: Execution) -> Execution:
    return {"User": instruction.user}


def _workdir(instruction: Workdir, execution: Execution) -> Execution:
    path = posixpath.normpath(posixpath.join("/", execution.get("WorkingDir") or "", instruction.path))
    return {"WorkingDir": "/" + path.lstrip("/")}


def _stop_signal(instruction: StopSignal, execution: Execution) -> Execution:
    if not _is_signal(instruction.signal):
        raise instruction.problem(f"invalid signal: {instruction.signal}", "", instruction.signal)
    return {"StopSignal": instruction.signal}


def _is_signal(word: str) -> bool:
    import signal

    if whole(word) >= 0:
        return 0 < whole(word) <= 64
    name = word.upper().removeprefix("SIG")
    for start in ("RTMIN", "RTMAX"):
        sign, offset = ("+", name[6:]) if start == "RTMIN" else ("-", name[6:])
        if name.startswith(start + sign):
            return offset in {str(number) for number in range(1, 16 if sign == "+" else 15)}
    return f"SIG{name}" in signal.Signals.__members__


def _onbuild(instruction: Onbuild, execution: Execution) -> Execution:
    return {"OnBuild": [*(execution.get("OnBuild") or ()), instruction.trigger]}


def _healthcheck(instruction: Healthcheck, execution: Execution) -> Execution:
    members = {
        "Test": list(instruction.test),
        "Interval": instruction.interval,
        "Timeout": instruction.timeout,
        "StartPeriod": instruction.start_period,
        "StartInterval": instruction.start_interval,
        "Retries": instruction.retries,
    }
    return {"Healthcheck": {name: value for name, value in members.items() if value}}


_EFFECTS: dict[type, Callable[[Any, Execution], Execution]] = {
    Cmd: _cmd,
    Entrypoint: _entrypoint,
    Env: _env,
    Expose: _expose,
    Healthcheck: _healthcheck,
    Label: _label,
    Onbuild: _onbuild,
    Shell: _shell,
    StopSignal: _stop_signal,
    User: _user,
    Volume: _volume,
    Workdir: _workdir,
}
