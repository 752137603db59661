"""The ignore file: vulnerabilities that somebody has looked at and accepts until a day, with the reason (TOML)."""

from __future__ import annotations

import datetime

import msgspec

from ...errors import InvalidInput, NotFound

_LIMIT = 4 << 20
_EXAMPLE = 'an entry is [[ignore]] with id = "CVE-…", until = YYYY-MM-DD and reason = "…"; package = "…" narrows it'


class Ignored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry: the `id` of a vulnerability (any of its names), `until` which day it counts, that day included (UTC), the
    `reason`, and the `package` alone that it is about ("" for every one)."""

    id: str
    until: datetime.date
    reason: str
    package: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    ignore: list[Ignored] = []


def read(path: str) -> list[Ignored]:
    """Return the entries of an ignore file. Raises NotFound, InvalidInput (which entry lacks what)."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path} has more than {_LIMIT} bytes")
    import tomllib

    try:
        entries = msgspec.convert(tomllib.loads(data.decode()), _File).ignore
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}", _EXAMPLE) from None
    for entry in entries:
        if not entry.id.strip() or not entry.reason.strip():
            raise InvalidInput(f"{path}: an entry has an empty id or reason", _EXAMPLE)
    return entries


def today() -> datetime.date:
    """Return the day by which entries end (UTC)."""
    return datetime.datetime.now(datetime.UTC).date()
