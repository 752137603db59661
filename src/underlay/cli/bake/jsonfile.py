"""Bake files in JSON. Their strings are templates as those of HCL are."""

from __future__ import annotations

import re

from ...errors import InvalidInput
from ...lean.jsontext import loads
from .definition import Definition, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .definition import Attributes, Expression, Scope, Value

_KINDS = ("variable", "function", "group", "target")
_VARIABLE = re.compile(r"\$\{\s*([A-Za-z_][\w-]*)\s*\}")


def add(definition: Definition, path: str, text: str) -> None:
    """Add what a JSON text says to `definition`. Raises InvalidInput."""
    try:
        whole = loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    if not isinstance(whole, dict):
        raise InvalidInput(f"{path}: not an object")
    for kind, members in whole.items():
        if kind not in _KINDS:
            definition.values[kind] = _Template(path, members)
            continue
        for block in _blocks(path, repr(kind), members):
            for name, member in block.items():
                for one in _blocks(path, f"{kind} {name!r}", member):
                    _add_block(definition, path, kind, name, one)


def _blocks(path: str, what: str, value: object) -> list[dict[str, Any]]:
    """Return the blocks that a value is: an object is one, and a list has several (HCL's JSON syntax, "Blocks")."""
    blocks: list[Any] = value if isinstance(value, list) else [value]
    for block in blocks:
        if not isinstance(block, dict):
            raise InvalidInput(f"{path}: {what} is not an object")
    return blocks


def _add_block(definition: Definition, path: str, kind: str, name: str, member: dict[str, Any]) -> None:
    attributes: Attributes = {key: _Template(path, value) for key, value in member.items()}
    if kind == "variable":
        definition.variables[name] = attributes
    elif kind == "group":
        definition.groups.setdefault(name, []).append(attributes)
    elif kind == "target":
        definition.targets.setdefault(name, []).append(attributes)
    else:
        parameters = member.get("params") or []
        rest = member.get("variadic_params") or ""
        if not isinstance(parameters, list) or not isinstance(rest, str) or "result" not in member:
            raise InvalidInput(f"{path}: function {name!r}: it needs params (a list) and a result")
        definition.functions[name] = Function([_plain(one) for one in parameters], _plain(rest), attributes["result"])


def _plain(text: object) -> str:
    """Return the name of a parameter, which may be written as `${name}`."""
    found = _VARIABLE.fullmatch(str(text))
    return found[1] if found else str(text)


class _Template:
    """A value of JSON, of which the strings are templates."""

    __slots__ = ("_path", "_value")

    def __init__(self, path: str, value: Value) -> None:
        self._path = path
        self._value = value

    def value(self, scope: Scope) -> Value:
        return self._filled(self._value, scope)

    def _filled(self, value: Value, scope: Scope) -> Value:
        if isinstance(value, dict):
            return {str(self._filled(key, scope)): self._filled(one, scope) for key, one in value.items()}
        if isinstance(value, list):
            return [self._filled(one, scope) for one in value]
        if not isinstance(value, str) or ("${" not in value and "%{" not in value):
            return value
        whole = _VARIABLE.fullmatch(value)
        if whole:  # the most frequent one, for which no parser is needed
            return scope.variable(whole[1])
        from . import hclfile

        expression: Expression = hclfile.template(self._path, value)
        return expression.value(scope)
