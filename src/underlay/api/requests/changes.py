"""Changes of an image's configuration (commit, import) as Dockerfile instructions, from queries and from bodies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput

if TYPE_CHECKING:
    from aiohttp import web


def of_query(request: web.Request) -> list[str]:
    """Return the instructions in `changes`, which may be repeated and may have several lines."""
    return [line for text in request.query.getall("changes", []) for line in text.splitlines() if line.strip()]


def of_config(config: dict[str, Any]) -> list[str]:
    """Return instructions that set what a configuration says (Engine API, ContainerConfig). Raises InvalidInput."""
    found: list[str] = []
    for name, word in (("User", "USER"), ("WorkingDir", "WORKDIR"), ("StopSignal", "STOPSIGNAL")):
        value = config.get(name) or ""
        if not isinstance(value, str) or not value.isprintable():
            raise InvalidInput(f"{name}: not a string of one line")
        if value:
            found.append(f"{word} {_escaped(value)}")
    for text in _strings(config, "Env"):
        name, _, value = text.partition("=")
        found.append(f"ENV {name}={_quoted(value)}")
    labels = config.get("Labels") or {}
    if not isinstance(labels, dict):
        raise InvalidInput("Labels: not an object")
    found += [f"LABEL {_quoted(str(key))}={_quoted(str(value))}" for key, value in labels.items()]
    found += [f"EXPOSE {port}" for port in _keys(config, "ExposedPorts")]
    found += [f"VOLUME {json.dumps([path])}" for path in _keys(config, "Volumes")]
    # An entry point removes the command that was there, so it comes first.
    for name, word in (("Entrypoint", "ENTRYPOINT"), ("Cmd", "CMD")):
        words = _strings(config, name)
        if words:
            found.append(f"{word} {json.dumps(words)}")
    return found


def _strings(config: dict[str, Any], name: str) -> list[str]:
    value = config.get(name) or []
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidInput(f"{name} is not a list of texts")
    return value


def _keys(config: dict[str, Any], name: str) -> list[str]:
    value = config.get(name) or {}
    if not isinstance(value, dict | list) or not all(isinstance(each, str) and each.isprintable() for each in value):
        raise InvalidInput(f"{name}: not an object")
    return list(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("$", "\\$")


def _quoted(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise InvalidInput(f"a value of several lines cannot be set: {text[:100]!r}")
    return '"' + _escaped(text).replace('"', '\\"') + '"'
