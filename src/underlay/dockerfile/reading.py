"""From a node to its instruction: which flags there are, how many arguments, what they mean."""

from __future__ import annotations

import re

from ..human import parse_duration, whole
from .heredocs import Heredoc, heredoc_of
from .instructions import (
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from .mounts import read_from
from .problems import DockerfileError, suggestion
from .words import SPACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .syntax import Node

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
_ONBUILD = re.compile(r"[ \t\n\f\r]*onbuild[ \t\n\f\r]*", re.IGNORECASE)
_SHORTEST = 1_000_000  # nanoseconds between two health checks

_TRANSFER = {"chown": str, "chmod": str, "link": bool, "exclude": list}
# The flags of each instruction that has any, with what their values are.
FLAGS: dict[str, dict[str, type]] = {
    "add": {**_TRANSFER, "checksum": str, "keep-git-dir": bool, "unpack": bool},
    "copy": {**_TRANSFER, "from": str, "parents": bool},
    "from": {"platform": str},
    "healthcheck": {"interval": str, "timeout": str, "start-period": str, "start-interval": str, "retries": str},
    "run": {"mount": list, "network": str, "security": str, "device": list},
}


def read_instruction(node: Node) -> Instruction:
    """Return the instruction that a node is; raises DockerfileError."""
    reader = _READERS.get(node.keyword)
    if reader is None:
        hint = suggestion(node.keyword, (keyword.upper() for keyword in _READERS))
        raise node.problem(f"unknown instruction: {node.written}", hint, node.written)
    try:
        return reader(node)
    except DockerfileError as error:
        raise error if error.line else node.problem(error.problem, error.hint) from None


class _Flags:
    """The values of an instruction's flags, checked against what the instruction knows."""

    def __init__(self, node: Node) -> None:
        self._values: dict[str, Any] = {}
        known = FLAGS.get(node.keyword, {})
        for name, value in node.flags:
            flag = f"--{name}"
            kind = known.get(name)
            if kind is None:
                raise node.problem(f"unknown flag: {flag}", suggestion(flag, (f"--{item}" for item in known)), flag)
            if name in self._values and kind is not list:
                raise node.problem(f"duplicate flag specified: {flag}", "", flag)
            if kind is bool:
                self._values[name] = self._bool(node, flag, value)
                continue
            if value is None:
                raise node.problem(f"missing a value on flag: {flag}", "", flag)
            if kind is list:
                self._values.setdefault(name, []).append(value)
            else:
                self._values[name] = value

    @staticmethod
    def _bool(node: Node, flag: str, value: str | None) -> bool:
        if value == "":
            raise node.problem(f"missing a value on flag: {flag}", "", flag)
        if value is not None and value.lower() not in ("true", "false"):
            raise node.problem(f"expecting boolean value for flag {flag}, not: {value}", "", flag)
        return value is None or value.lower() == "true"

    def text(self, name: str) -> str:
        return str(self._values.get(name, ""))

    def flag(self, name: str) -> bool | None:
        value: bool | None = self._values.get(name)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._values.get(name, ()))


def _base(node: Node, text: str = "") -> dict[str, Any]:
    return {
        "source": node.source,
        "line": node.line,
        "last_line": node.last_line,
        "keyword": node.keyword,
        "written": node.written,
        "text": text or _line(node),
        "comments": node.comments,
    }


def _line(node: Node) -> str:
    text = node.text.strip(SPACE)
    return node.keyword.upper() + text[len(node.written) :]


def _some(node: Node) -> tuple[str, ...]:
    if not node.arguments.words:
        raise DockerfileError(f"{node.keyword.upper()} requires at least one argument")
    return node.arguments.words


def _one(node: Node) -> str:
    if len(node.arguments.words) != 1:
        raise DockerfileError(f"{node.keyword.upper()} requires exactly one argument")
    return node.arguments.words[0]


def _pairs(node: Node) -> tuple[tuple[str, str], ...]:
    words = _some(node)
    pairs = tuple(zip(words[::2], words[1::2], strict=True))
    if not all(name for name, _ in pairs):
        raise DockerfileError(f"{node.keyword.upper()} names can not be blank")
    return pairs


def _command(node: Node, words: tuple[str, ...] | None = None) -> Command:
    words = node.arguments.words if words is None else words
    return Command(not node.arguments.json, words)


def _add(node: Node) -> Add:
    flags, fields = _transfer(node)
    return Add(
        **fields,
        checksum=flags.text("checksum"),
        keep_git_dir=flags.flag("keep-git-dir"),
        unpack=flags.flag("unpack"),
    )


def _copy(node: Node) -> Copy:
    flags, fields = _transfer(node)
    return Copy(**fields, from_=flags.text("from"), parents=bool(flags.flag("parents")))


def _transfer(node: Node) -> tuple[_Flags, dict[str, Any]]:
    words = node.arguments.words
    if len(words) < 2:
        raise DockerfileError(
            f"{node.keyword.upper()} requires at least two arguments, but only one was provided. "
            "Destination could not be determined"
        )
    flags = _Flags(node)
    if _heredoc(words[-1]):
        raise DockerfileError(f"{node.keyword.upper()} cannot accept a heredoc as a destination")
    contents = {heredoc.name: heredoc for heredoc in node.heredocs}
    sources: list[str] = []
    heredocs: list[Heredoc] = []
    for word in words[:-1]:
        heredoc = _heredoc(word)
        if heredoc is None:
            sources.append(word)
        else:
            heredocs.append(contents.get(heredoc.name, heredoc))
    fields = {
        **_base(node),
        "sources": tuple(sources),
        "destination": words[-1],
        "heredocs": tuple(heredocs),
        "chown": flags.text("chown"),
        "chmod": flags.text("chmod"),
        "link": bool(flags.flag("link")),
        "exclude": flags.texts("exclude"),
    }
    return flags, fields


def _heredoc(word: str) -> Heredoc | None:
    try:
        return heredoc_of(word)
    except DockerfileError:
        return None


def _arg(node: Node) -> Arg:
    arguments: list[tuple[str, str | None]] = []
    for word in _some(node):
        name, equals, value = word.partition("=")
        if not name:
            raise DockerfileError("ARG names can not be blank")
        arguments.append((name, value if equals else None))
    return Arg(**_base(node), arguments=tuple(arguments))


def _cmd(node: Node) -> Cmd:
    _Flags(node)
    return Cmd(**_base(node), command=_command(node))


def _entrypoint(node: Node) -> Entrypoint:
    _Flags(node)
    return Entrypoint(**_base(node), command=_command(node))


def _env(node: Node) -> Env:
    _Flags(node)
    return Env(**_base(node), variables=_pairs(node), legacy=node.arguments.legacy)


def _label(node: Node) -> Label:
    _Flags(node)
    return Label(**_base(node), labels=_pairs(node), legacy=node.arguments.legacy)


def _expose(node: Node) -> Expose:
    ports = _some(node)
    _Flags(node)
    return Expose(**_base(node), ports=tuple(sorted(ports)))


def _from(node: Node) -> From:
    words = node.arguments.words
    as_ = written = ""
    if len(words) == 3 and words[1].lower() == "as":
        as_, written = words[1:]
        if not _STAGE_NAME.fullmatch(written.lower()):
            raise node.problem(
                f'invalid name for build stage: "{written}", name can\'t start with a number or contain symbols',
                "",
                written,
            )
    elif len(words) != 1:
        raise DockerfileError("FROM requires either one or three arguments", "FROM image, or FROM image AS name")
    flags = _Flags(node)
    return From(
        **_base(node),
        base=words[0],
        name=written.lower(),
        platform=flags.text("platform"),
        as_=as_,
        name_written=written,
    )


def _healthcheck(node: Node) -> Healthcheck:
    kind, *words = _some(node)
    if kind.upper() == "NONE":
        if words:
            raise DockerfileError("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(**_base(node), test=("NONE",))
    flags = _Flags(node)
    if kind.upper() != "CMD":
        raise node.problem(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)', "", kind)
    if not words:
        raise DockerfileError("Missing command after HEALTHCHECK CMD")
    return Healthcheck(
        **_base(node),
        test=("CMD" if node.arguments.json else "CMD-SHELL", *words),
        interval=_time(node, flags, "interval"),
        timeout=_time(node, flags, "timeout"),
        start_period=_time(node, flags, "start-period"),
        start_interval=_time(node, flags, "start-interval"),
        retries=_retries(node, flags.text("retries")),
    )


def _time(node: Node, flags: _Flags, name: str) -> int:
    value = flags.text(name)
    if not value:
        return 0
    try:
        nanoseconds = round(parse_duration(value) * 1e9)
    except (ValueError, OverflowError):
        raise node.problem(
            f'time: invalid duration "{value}"', "a duration is like 30s or 1m30s", f"--{name}"
        ) from None
    if nanoseconds and nanoseconds < _SHORTEST:
        raise node.problem(f'Interval "{name}" cannot be less than 1ms', "", f"--{name}")
    return nanoseconds


def _retries(node: Node, value: str) -> int:
    digits = value.removeprefix("-").removeprefix("+")
    if not value:
        return 0
    if not 0 <= whole(digits) <= 0x7FFFFFFF:
        raise node.problem(f'--retries must be a number, not "{value}"', "", "--retries")
    if value[0] == "-" and int(digits):
        raise node.problem(f"--retries cannot be negative ({value})", "", "--retries")
    return int(digits)


def _maintainer(node: Node) -> Maintainer:
    author = _one(node)
    _Flags(node)
    return Maintainer(**_base(node), author=author)


def _onbuild(node: Node) -> Onbuild:
    if node.child is None:
        raise DockerfileError("ONBUILD requires at least one argument")
    _Flags(node)
    keyword = node.child.keyword.upper()
    if keyword == "ONBUILD":
        raise DockerfileError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise node.problem(f"{keyword} isn't allowed as an ONBUILD trigger", "", node.child.written)
    trigger = _ONBUILD.sub("", node.text, count=1)
    for heredoc in node.heredocs:
        trigger += f"\n{heredoc.content}{heredoc.name}"
    return Onbuild(**_base(node), trigger=trigger)


def _run(node: Node) -> Run:
    flags = _Flags(node)
    network = flags.text("network").lower() or "default"
    if network not in ("default", "none", "host"):
        raise node.problem(f'invalid network mode: "{network}"', "default, none or host", "--network")
    security = flags.text("security").lower() or "sandbox"
    if security not in ("sandbox", "insecure"):
        raise node.problem(f'security "{security}" is not valid', "sandbox or insecure", "--security")
    mounts = []
    for text in flags.texts("mount"):
        try:
            mounts.append(read_from(text))
        except DockerfileError as error:
            raise node.problem(error.problem, error.hint, "--mount") from None
    command, script = _run_command(node)
    text = _line(node)
    if node.heredocs and _heredoc(node.arguments.words[0]):
        text += f" ({node.heredocs[0].summary})"
    return Run(
        **_base(node, text),
        command=command,
        mount_texts=flags.texts("mount"),
        mounts=tuple(mounts),
        network=network,
        security=security,
        device_texts=flags.texts("device"),
        script=script,
    )


def _run_command(node: Node) -> tuple[Command, Heredoc | None]:
    if not node.heredocs:
        return _command(node), None
    text, first = node.arguments.words[0], node.heredocs[0]
    if _heredoc(text):
        # The heredoc is the whole command: with `#!` a program, else what the shell is to do.
        if first.content.startswith("#!"):
            return Command(True, (f"/dev/pipes/{first.name}",)), first
        return Command(True, (first.data,)), None
    for heredoc in node.heredocs:
        text += f"\n{heredoc.content}{heredoc.name}"
    return Command(True, (text,)), None


def _shell(node: Node) -> Shell:
    _Flags(node)
    words = _some(node)
    if not node.arguments.json:
        raise DockerfileError("SHELL requires the arguments to be in JSON form", 'SHELL ["/bin/bash", "-c"]')
    return Shell(**_base(node), words=words)


def _stop_signal(node: Node) -> StopSignal:
    return StopSignal(**_base(node), signal=_one(node))


def _user(node: Node) -> User:
    user = _one(node)
    _Flags(node)
    return User(**_base(node), user=user)


def _volume(node: Node) -> Volume:
    words = _some(node)
    _Flags(node)
    paths = tuple(word.strip(SPACE) for word in words)
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string")
    return Volume(**_base(node), paths=paths)


def _workdir(node: Node) -> Workdir:
    path = _one(node)
    _Flags(node)
    return Workdir(**_base(node), path=path)


_READERS: dict[str, Callable[[Node], Instruction]] = {
    "add": _add,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": _env,
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": _label,
    "maintainer": _maintainer,
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": _stop_signal,
    "user": _user,
    "volume": _volume,
    "workdir": _workdir,
}

KEYWORDS = frozenset(_READERS)
