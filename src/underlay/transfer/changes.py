"""`--change`: Dockerfile instructions that alter an image's configuration (Dockerfile reference, docker's CLI
pages)."""

from __future__ import annotations

import posixpath

from ..errors import InvalidInput
from ..human import parse_duration
from ..oci import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Execution = dict[str, Any]

_SHELL = ["/bin/sh", "-c"]
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def apply(changes: Sequence[str], start: Execution | None = None) -> Execution:
    """Return the `config` member of an image configuration after `changes`; raises InvalidInput, naming the
    change.

    `start` is the member before them; it is not altered.
    """
    execution = document.decode(document.encode(start or {}), "configuration")
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        handler = _HANDLERS.get(word.upper())
        if handler is None:
            raise InvalidInput(f"{word.lower() or 'an empty line'} is not a valid change command: {change!r}")
        rest = rest.strip()
        if not rest and word.upper() not in ("CMD", "ENTRYPOINT"):
            raise InvalidInput(f"{word.upper()} requires at least one argument: {change!r}")
        try:
            handler(execution, rest)
        except InvalidInput as error:
            raise InvalidInput(f"--change {change!r}: {error.message}") from None
    return {key: value for key, value in execution.items() if value is not None}


def _json_words(text: str) -> list[str] | None:
    """Return the words of the exec form, None when `text` is the shell form."""
    if not text.startswith("["):
        return None
    try:
        value = document.decode(text.encode(), "exec form")
    except InvalidInput:
        return None
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else None


def _command(execution: Execution, text: str) -> list[str] | None:
    words = _json_words(text)
    if words is not None:
        return words
    return [*(execution.get("Shell") or _SHELL), text] if text else None


def _cmd(execution: Execution, text: str) -> None:
    execution["Cmd"] = _command(execution, text)


def _entrypoint(execution: Execution, text: str) -> None:
    execution["Entrypoint"] = _command(execution, text)


def _shell(execution: Execution, text: str) -> None:
    words = _json_words(text)
    if not words:
        raise InvalidInput("SHELL requires the arguments to be in JSON form")
    execution["Shell"] = words


def _pairs(execution: Execution, text: str) -> list[tuple[str, str]]:
    """Return the pairs of `k=v k2="v 2"`, or of the old form `k v…`."""
    words = _words(text, _environment(execution))
    if "=" not in words[0]:
        key, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidInput(f"{key!r} has no value")
        return [(key, " ".join(_words(value.strip(), _environment(execution))))]
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise InvalidInput(f"Syntax error - can't find = in {word!r}. Must be of the form: name=value")
        if not key:
            raise InvalidInput("names can not be blank")
        pairs.append((key, value))
    return pairs


def _env(execution: Execution, text: str) -> None:
    for key, value in _pairs(execution, text):
        kept = [item for item in execution.get("Env") or [] if item.partition("=")[0] != key]
        execution["Env"] = [*kept, f"{key}={value}"]


def _label(execution: Execution, text: str) -> None:
    execution["Labels"] = {**(execution.get("Labels") or {}), **dict(_pairs(execution, text))}


def _expose(execution: Execution, text: str) -> None:
    ports = dict(execution.get("ExposedPorts") or {})
    for word in _words(text, _environment(execution)):
        port, _, protocol = word.partition("/")
        first, dash, last = port.partition("-")
        protocol = protocol.lower() or "tcp"
        if protocol not in ("tcp", "udp", "sctp") or not first.isdigit() or (dash and not last.isdigit()):
            raise InvalidInput(f"invalid containerPort: {word}")
        start, end = int(first), int(last or first)
        if not 0 < start <= end < 65536:
            raise InvalidInput(f"invalid containerPort: {word}")
        ports.update({f"{number}/{protocol}": {} for number in range(start, end + 1)})
    execution["ExposedPorts"] = ports


def _user(execution: Execution, text: str) -> None:
    execution["User"] = _one(execution, text)


def _volume(execution: Execution, text: str) -> None:
    words = _json_words(text)
    paths = _words(text, _environment(execution)) if words is None else words
    if any(not path.strip() for path in paths):
        raise InvalidInput("VOLUME specified can not be an empty string")
    execution["Volumes"] = {**(execution.get("Volumes") or {}), **{path: {} for path in paths}}


def _workdir(execution: Execution, text: str) -> None:
    path = posixpath.join("/", execution.get("WorkingDir") or "", _one(execution, text))
    execution["WorkingDir"] = "/" + posixpath.normpath(path).lstrip("/")


def _stop_signal(execution: Execution, text: str) -> None:
    import signal

    word = _one(execution, text)
    name = word.upper().removeprefix("SIG")
    if word.isdigit():
        known = 0 < int(word) <= 64
    else:
        plain = name.partition("+")[0].partition("-")[0]
        known = f"SIG{plain if plain in ('RTMIN', 'RTMAX') else name}" in signal.Signals.__members__
    if not known:
        raise InvalidInput(f"invalid signal: {word}")
    execution["StopSignal"] = word


def _healthcheck(execution: Execution, text: str) -> None:
    check: dict[str, Any] = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        text = text.strip()
        name, equals, value = flag[2:].partition("=")
        member = {
            "interval": "Interval",
            "timeout": "Timeout",
            "start-period": "StartPeriod",
            "start-interval": "StartInterval",
            "retries": "Retries",
        }.get(name)
        if member is None or not equals:
            raise InvalidInput(f"unknown flag: {flag}")
        try:
            number = int(value) if member == "Retries" else round(parse_duration(value) * 1e9)
        except ValueError as error:
            raise InvalidInput(f"--{name}: {error}") from None
        if number < 0 or (member != "Retries" and 0 < number < 1_000_000):
            raise InvalidInput(f"--{name}: {value} is too little")
        check[member] = number
    kind, _, rest = text.partition(" ")
    rest = rest.strip()
    if kind.upper() == "NONE" and not rest and not check:
        execution["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not rest:
        raise InvalidInput("HEALTHCHECK is NONE, or [OPTIONS] CMD and a command")
    words = _json_words(rest)
    execution["Healthcheck"] = {"Test": ["CMD-SHELL", rest] if words is None else ["CMD", *words], **check}


def _onbuild(execution: Execution, text: str) -> None:
    word = text.partition(" ")[0].upper()
    if word == "ONBUILD":
        raise InvalidInput("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in ("FROM", "MAINTAINER"):
        raise InvalidInput(f"{word} isn't allowed as an ONBUILD trigger")
    execution["OnBuild"] = [*(execution.get("OnBuild") or []), text]


_HANDLERS: dict[str, Callable[[Execution, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _environment(execution: Execution) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in execution.get("Env") or [])


def _one(execution: Execution, text: str) -> str:
    return " ".join(_words(text, _environment(execution)))


def _words(text: str, environment: dict[str, str]) -> list[str]:
    """Split as a Dockerfile's shell words: quotes, backslashes, `$NAME`, `${NAME}`, `${NAME:-word}`,
    `${NAME:+word}`."""
    words: list[str] = []
    word: list[str] = []
    started = False
    quote = ""
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == "\\" and quote != "'":
            following = text[position : position + 1]
            if quote == '"' and following not in ('"', "\\", "$"):
                word.append("\\")
            else:
                word.append(following)
                position += 1
            started = True
        elif letter == "$" and quote != "'":
            value, position = _variable(text, position, environment)
            word.append(value)
            started = started or bool(value)
        elif quote:
            if letter == quote:
                quote = ""
            else:
                word.append(letter)
        elif letter in "'\"":
            quote = letter
            started = True
        elif letter in " \t":
            if started:
                words.append("".join(word))
            word, started = [], False
        else:
            word.append(letter)
            started = True
    if quote:
        raise InvalidInput(f"unexpected end of statement while looking for matching {quote}")
    if started:
        words.append("".join(word))
    return words or [""]


def _variable(text: str, position: int, environment: dict[str, str]) -> tuple[str, int]:
    if text[position : position + 1] != "{":
        end = position
        while end < len(text) and text[end] in _NAME:
            end += 1
        return (environment.get(text[position:end], ""), end) if end > position else ("$", position)
    end = text.find("}", position)
    if end < 0:
        raise InvalidInput("syntax error: missing '}' in substitution")
    name = position + 1
    stop = name
    while stop < end and text[stop] in _NAME:
        stop += 1
    value = environment.get(text[name:stop], "")
    modifier, word = text[stop : stop + 2], text[stop + 2 : end]
    if stop == name or (stop < end and modifier not in (":-", ":+")):
        raise InvalidInput(f"unsupported substitution ${text[position : end + 1]}")
    if modifier == ":-":
        value = value or word
    elif modifier == ":+":
        value = word if value else ""
    return value, end + 1
