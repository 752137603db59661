"""The values of Go templates: how they print, when they are true, and the functions on them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class _Missing:
    """The value of a key that a map lacks: false, printed as Go prints it."""

    def __bool__(self) -> bool:
        return False


class _Nil:
    """A pointer that leads nowhere: a member that is known, and not there."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"


class _NoList(list[object]):
    """A list that is null in JSON, and empty for a template."""


class _NoMap(dict[str, object]):
    """A map that is null in JSON, and empty for a template."""


MISSING = _Missing()
NIL = _Nil()
_NULLS = (MISSING, NIL, _NO_LIST := _NoList(), _NO_MAP := _NoMap())
# Members that docker's own types have as lists and maps: null in JSON is an empty one to a template.
_LISTS = frozenset(
    "Binds BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps CapAdd "
    "CapDrop Cmd DeviceCgroupRules DeviceRequests Devices Dns DnsOptions DnsSearch Entrypoint Env ExecIDs ExtraHosts "
    "GroupAdd Links Mounts OnBuild RepoDigests RepoTags SecurityOpt Shell Ulimits VolumesFrom".split()
)
_MAPS = frozenset("Annotations ExposedPorts Labels Options PortBindings StorageOpt Sysctls Tmpfs Volumes".split())


def empty_of(name: str) -> object:
    """Return what a template sees of a member that is null."""
    return _NO_LIST if name in _LISTS else _NO_MAP if name in _MAPS else None


def truth(value: object) -> bool:
    """Tell whether Go's `if` takes the value as true: neither zero, empty nor nil."""
    return bool(value)


def text_of(value: object) -> str:
    """Return a value as Go's `%v` prints it."""
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<no value>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, dict):
        return (
            "map["
            + " ".join(f"{text_of(k)}:{_inner(v)}" for k, v in sorted(value.items(), key=lambda item: str(item[0])))
            + "]"
        )
    if isinstance(value, list | tuple):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _inner(value: object) -> str:
    return "<nil>" if value is None else text_of(value)


def to_json(value: object) -> str:
    """Return compact JSON with `<`, `>` and `&` escaped, as Go's encoder writes it."""
    from ...lean import jsontext

    text = jsontext.dumps(None if any(value is null for null in _NULLS) else value)
    for plain, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(plain, escaped)
    return text


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise ValueError(f"cannot index a list with {key!r}")
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        elif value is None or value is MISSING:
            raise ValueError("index of untyped nil")
        else:
            raise ValueError(f"can't index item of type {type(value).__name__}")
    return value


def _printf(pattern: str, *arguments: Any) -> str:
    out: list[str] = []
    rest = list(arguments)
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter != "%":
            out.append(letter)
            continue
        flags = ""
        while position < len(pattern) and pattern[position] in "+-# 0123456789.":
            flags += pattern[position]
            position += 1
        verb = pattern[position : position + 1]
        position += 1
        if verb == "%":
            out.append("%")
            continue
        if not rest:
            out.append(f"%!{verb}(MISSING)")
            continue
        value = rest.pop(0)
        if sum(map(int, "".join(c if c.isdigit() else " " for c in flags).split())) > 10_000:
            raise ValueError("field too wide")
        if verb in ("s", "v"):
            out.append(f"%{flags}s" % text_of(value))
        elif verb == "q":
            out.append(to_json(text_of(value)))
        elif verb in "dxXofeg" and isinstance(value, int | float):
            out.append(f"%{flags}{verb}" % value)
        else:
            raise ValueError(f"unsupported verb %{verb}")
    return "".join(out)


def _compare(a: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any((isinstance(a, bool) == isinstance(b, bool)) and a == b for b in others)


def _truncate(text: str, width: int) -> str:
    return text[:width]


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if not isinstance(value, list | str):
        raise ValueError("can't slice item")
    if not 0 <= start <= len(value) or (end is not None and not start <= end <= len(value)):
        raise ValueError("slice index out of range")
    return value[start:end]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *a: None,  # evaluated by the runner, which may stop early
    "or": lambda *a: None,
    "not": lambda value: not truth(value),
    "eq": _compare,
    "ne": lambda a, b: not _compare(a, b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "len": lambda value: len(value or ()),
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(map(text_of, values)),
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": _printf,
    "json": to_json,
    "join": lambda values, separator="": separator.join(map(text_of, values or ())),
    "split": lambda text, separator: text.split(separator),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: " ".join(word[:1].upper() + word[1:] for word in text.split(" ")),
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "truncate": _truncate,
}
