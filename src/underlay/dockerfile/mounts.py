"""`RUN --mount` and `RUN --device`: what their fields mean."""

from __future__ import annotations

import posixpath

from ..human import parse_size
from ..lean.values import Value
from .problems import DockerfileError, suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Word = Callable[[str], str]

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
FIELDS = "type from source target readonly readwrite id sharing required mode uid gid size env".split()
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_FIELDS = (*FIELDS, *_ALIASES)
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Mount(Value):
    """A mount of a RUN; `target` may be relative to the working directory, `from_` is a stage, context or image.

    What the file leaves out is filled in: `id` of a cache is its target, of a secret the last part of it;
    a secret without `env` has its target in /run/secrets. `mode`, `uid` and `gid` of a cache stay None: they come
    from what it is made of.
    """

    kind: str = "bind"
    target: str = ""
    source: str = ""
    from_: str = ""
    id: str = ""
    sharing: str = ""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    required: bool = False
    size: int = 0
    read_only: bool = True
    env: str | None = None


class Device(Value):
    """A device that a RUN asks for."""

    name: str
    required: bool = False


def read_mount(text: str, word: Word) -> Mount:
    """Return the mount that the value of `--mount` means; `word` expands. Raises DockerfileError without a place."""
    values: dict[str, Any] = {"kind": "bind"}
    for field in _fields(text, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        name = _ALIASES.get(key, key)
        if not equals:
            if name not in ("readonly", "readwrite", "required"):
                raise DockerfileError(f"invalid field '{field}' must be a key=value pair", suggestion(key, _FIELDS))
            value = "true"
        else:
            value = word(value)
        if name not in _FIELDS:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'", suggestion(key, _FIELDS))
        _take(values, key, name, value)
    return _checked(values)


def read_from(text: str) -> Mount:
    """Return what of a mount is known before expansion: where it comes from. Raises DockerfileError without a place."""
    origin = ""
    for field in _fields(text, "mounts"):
        key, _, value = field.partition("=")
        if key.lower() == "from":
            if "$" in value[:-1]:
                raise DockerfileError("'from' doesn't support variable expansion, define alias stage instead")
            origin = value
    return Mount(from_=origin)


def read_device(text: str, word: Word) -> Device:
    """Return the device that the value of `--device` means. Raises DockerfileError without a place."""
    name, required = "", False
    fields = _fields(text, "devices")
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if (not equals and len(fields) == 1) or (not name and key not in ("name", "required")):
            name = word(field)  # vendor.com/class=name, or a class
        elif not equals and key != "required":
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        elif key == "name":
            name = word(value)
        elif key == "required":
            required = _flag(key, word(value)) if equals else True
        else:
            raise DockerfileError(f"unexpected key '{key}' in '{field}'", suggestion(key, ("name", "required")))
    return Device(name, required)


def _take(values: dict[str, Any], key: str, name: str, value: str) -> None:
    kind = values["kind"]
    if (name == "required" and kind not in ("secret", "ssh")) or (name == "size" and kind != "tmpfs"):
        raise DockerfileError(f"unexpected key '{key}' for mount type '{kind}'")
    if name == "type":
        if value.lower() not in _KINDS:
            raise DockerfileError(f'unsupported mount type "{value}"', suggestion(value, _KINDS))
        values["kind"] = value.lower()
    elif name == "sharing":
        if value.lower() not in _SHARING:
            raise DockerfileError(f'unsupported sharing value "{value}"', suggestion(value, _SHARING))
        values["sharing"] = value.lower()
    elif name in ("readonly", "readwrite"):
        values["read_only"] = _flag(key, value) == (name == "readonly")
    elif name == "required":
        values["required"] = _flag(key, value)
    elif name == "size":
        try:
            values["size"] = parse_size(value)
        except ValueError:
            raise DockerfileError(f"invalid value for {key}: {value}") from None
    elif name in ("mode", "uid", "gid"):
        values[name] = _number(name, value, 8 if name == "mode" else 10)
    else:
        values["from_" if name == "from" else name] = value


def _checked(values: dict[str, Any]) -> Mount:
    kind = values["kind"]
    if kind not in ("secret", "ssh", "cache"):
        for name in ("mode", "uid", "gid"):
            if name in values:
                raise DockerfileError(f'{name} not allowed for "{kind}" type mounts')
    if kind == "secret":
        if values.get("from_"):
            raise DockerfileError("secret mount should not have a from")
        if values.get("sharing"):
            raise DockerfileError("secret mount should not define sharing")
        if not values.get("source") and not values.get("target") and not values.get("id"):
            raise DockerfileError("invalid secret mount. one of source, target required")
        if values.get("source") and values.get("id"):
            raise DockerfileError("both source and id can't be set")
    if values.get("sharing") and kind != "cache":
        raise DockerfileError(f"invalid cache sharing set for {kind} mount")
    if kind == "ssh" and values.get("source"):
        raise DockerfileError("ssh mount should not have a source")
    if "env" in values and kind != "secret":
        raise DockerfileError(f"unexpected key 'env' for mount type '{kind}'")
    values.setdefault("read_only", kind not in ("cache", "tmpfs"))
    _fill(values)
    return Mount(**values)


def _fill(values: dict[str, Any]) -> None:
    kind, target = values["kind"], values.get("target", "")
    if kind == "cache":
        values["sharing"] = values.get("sharing") or "shared"
        values["id"] = values.get("id") or posixpath.normpath(target or ".")
    elif kind == "secret":
        name = values.pop("source", "") or values.get("id") or posixpath.basename(target.rstrip("/"))
        values["id"] = name
        if not target and values.get("env") is None:
            values["target"] = "/run/secrets/" + posixpath.basename(name.rstrip("/"))
        values = _owned(values, 0o400)
    elif kind == "ssh":
        values["id"] = values.get("id") or "default"
        values = _owned(values, 0o600)


def _owned(values: dict[str, Any], mode: int) -> dict[str, Any]:
    for name, default in (("mode", mode), ("uid", 0), ("gid", 0)):
        values.setdefault(name, default)
    return values


def _flag(key: str, value: str) -> bool:
    if value not in _TRUE and value not in _FALSE:
        raise DockerfileError(f"invalid value for {key}: {value}")
    return value in _TRUE


def _number(name: str, value: str, base: int) -> int:
    digits = "01234567" if base == 8 else "0123456789"
    if not value or len(value) > 40 or value.strip(digits) or int(value, base) > 0xFFFFFFFF:
        raise DockerfileError(f"invalid value {value} for {name}")
    return int(value, base)


def _fields(text: str, what: str) -> list[str]:
    """Return the fields of one CSV record."""
    fields: list[str] = []
    position = 0
    while True:
        if text[position : position + 1] == '"':
            field, position = _quoted(text, position + 1, what)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            field = text[position:end]
            if '"' in field:
                raise DockerfileError(f'failed to parse csv {what}: bare " in non-quoted field')
            position = end
        fields.append(field)
        if position >= len(text):
            break
        position += 1
    if fields == [""]:
        raise DockerfileError(f"failed to parse csv {what}: EOF")
    return fields


def _quoted(text: str, position: int, what: str) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        end = text.find('"', position)
        if end < 0 or text[end + 1 : end + 2] not in ("", ",", '"'):
            raise DockerfileError(f'failed to parse csv {what}: extraneous or missing " in quoted-field')
        parts.append(text[position:end])
        if text[end + 1 : end + 2] != '"':
            return "".join(parts), end + 1
        parts.append('"')
        position = end + 2
