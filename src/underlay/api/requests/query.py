"""What requests ask for: flags, numbers, filters and JSON bodies, checked."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from ...engine.filters.moments import moment
from ...errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Of a request: the labels that containers in its lists must have been given. An image's labels do not count: who may build
# one could have others' containers made of it.
DEMANDED = "demanded labels"
_PATIENCE = 60.0  # seconds for a JSON body to come
_DEPTH = 64  # of nested lists and objects in a body
# Brackets, and strings, the brackets in which do not nest.
_NESTING = re.compile(rb'[][{}]|"(?:[^"\\]++|\\.)*+"?', re.S)


def flag(request: web.Request, name: str, default: bool = False) -> bool:
    """Return a boolean of the query, as docker reads it: anything but "", 0, no, false and none is true."""
    if name not in request.query:
        return default
    return request.query[name].strip().lower() not in ("", "0", "no", "false", "none")


def number(request: web.Request, name: str, default: int = 0) -> int:
    """Return an integer of the query. Raises InvalidInput."""
    text = request.query.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"invalid {name}: {text!r} is not a number") from None


def filters(request: web.Request, known: Collection[str]) -> dict[str, list[str]]:
    """Return the filters, values by key; both of docker's forms are read. Raises InvalidInput for an unknown key."""
    text = request.query.get("filters", "")
    if not text:
        return {}
    value = parsed(text.encode(), "filters")
    if not isinstance(value, dict):
        raise InvalidInput("invalid filter: not a JSON object")
    result: dict[str, list[str]] = {}
    for key, values in value.items():
        if key not in known:
            raise InvalidInput(f"invalid filter '{key}'")
        if isinstance(values, dict):
            values = [word for word, wanted in values.items() if wanted]
        if isinstance(values, str):
            values = [values]
        if not isinstance(values, list) or not all(isinstance(word, str) for word in values):
            raise InvalidInput(f"invalid filter '{key}': not a list of texts")
        result[key] = values
    return result


def demanded(request: web.Request) -> dict[str, str]:
    """Return the labels that containers in the lists of a request must have been given, by the server's rules."""
    labels: dict[str, str] = request.get(DEMANDED, {})
    return labels


def pairs(chosen: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """Return filters as pairs of key and value."""
    return [(key, value) for key, values in chosen.items() for value in values]


def pruned(chosen: Mapping[str, list[str]]) -> tuple[float | None, list[str]]:
    """Return what filters of a prune ask for: created before which time (seconds since the epoch; None: any), labels in
    the form that `store.pruned.labelled` reads. Raises InvalidInput."""
    times = [moment(text) for text in chosen.get("until", [])]
    labels = [*chosen.get("label", []), *(f"!{text}" for text in chosen.get("label!", []))]
    return min(times) if times else None, labels


def time(request: web.Request, name: str) -> float:
    """Return a time of the query in seconds since the epoch, 0 for none. Raises InvalidInput."""
    text = request.query.get(name, "")
    return moment(text) if text and text != "0" else 0.0


def parsed(data: bytes, what: str) -> Any:
    """Return the value of a JSON text. Raises InvalidInput, also for one that is nested too deeply."""
    depth = most = 0
    for sign in _NESTING.findall(data):
        if sign in b"[{":
            depth += 1
            most = max(most, depth)
        elif sign in b"]}":
            depth -= 1
    if most > _DEPTH:
        raise InvalidInput(f"{what}: nested too deeply")
    try:
        return msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"{what}: invalid JSON: {error}") from None


async def bytes_of(request: web.Request) -> bytes:
    """Return the small body of a request. Raises HTTPRequestTimeout if it does not come."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


async def body(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that a request carries. Raises InvalidInput, HTTPRequestTimeout if it does not come."""
    data = await bytes_of(request)
    if not data:
        raise InvalidInput("invalid JSON: got EOF while reading request body")
    return object_of(data, "request body")


def object_of(data: bytes, what: str) -> dict[str, Any]:
    """Return the JSON object of a text, an empty one for no text. Raises InvalidInput."""
    value = parsed(data, what) if data.strip() else {}
    if not isinstance(value, dict):
        raise InvalidInput(f"{what}: not a JSON object")
    return value


def string(members: Mapping[str, Any], name: str) -> str:
    """Return a string of an object, "" for none. Raises InvalidInput."""
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{name}: not a string")
    return value or ""


def strings(members: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of strings of an object, empty for none. Raises InvalidInput."""
    value = members.get(name) or []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise InvalidInput(f"{name}: not a list of texts")
    return value
