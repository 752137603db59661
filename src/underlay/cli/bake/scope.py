"""What the names in bake files mean: variables, which the environment may change, other targets, and functions."""

from __future__ import annotations

import os

from ...errors import InvalidInput
from . import functions
from .expressions import Bound, as_number, text, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .definition import Attributes, Definition, Value


class Names:
    """The outermost scope of all files together. Each value is worked out when it is first asked for."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._known: dict[str, Value] = {"BAKE_CMD_CONTEXT": "cwd://", "BAKE_LOCAL_PLATFORM": _platform()}
        self._open: list[str] = []  # what is being worked out

    def variable(self, name: str) -> Value:
        """Return the value of a name. Raises InvalidInput for one that is not declared, or that stands on itself."""
        if name not in self._known:
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> Value:
        if name in self._open:
            raise InvalidInput(f"variable {name!r} stands on itself: {' -> '.join([*self._open, name])}")
        self._open.append(name)
        try:
            if name in self._definition.variables:
                return self._declared(name, self._definition.variables[name])
            if name in self._definition.values:
                return self._definition.values[name].value(self)
        finally:
            self._open.pop()
        if name in ("target", "group"):
            return Blocks(self, self._definition.targets if name == "target" else self._definition.groups)
        raise InvalidInput(f"variable {name!r} is not declared")

    def _declared(self, name: str, attributes: Attributes) -> Value:
        """Return the value of a variable: that of the environment, in the type of the default, or the default."""
        default = attributes["default"].value(self) if "default" in attributes else ""
        value = default
        if name in os.environ:
            value = self._from_environment(name, default, attributes)
        checks = [one for key, one in attributes.items() if key.startswith("validation")]
        for check in checks:
            found = check.value(Bound(self, {name: value}))
            for rule in found if isinstance(found, list) else [found]:
                if not truth(rule.get("condition")):
                    raise InvalidInput(f"variable {name!r}: {rule.get('error_message') or 'its value is not allowed'}")
        return value

    def _from_environment(self, name: str, default: Value, attributes: Attributes) -> Value:
        given = os.environ[name]
        try:
            if isinstance(default, bool):
                return truth({"1": "true", "0": "false"}.get(given, given.lower()))
            if isinstance(default, int | float):
                return as_number(given)
        except (TypeError, ValueError):
            kind = "true or false" if isinstance(default, bool) else "a number"
            raise InvalidInput(f"variable {name!r} is {kind}, but the environment says {given!r:.100}") from None
        if isinstance(default, list):
            import csv

            return next(csv.reader([given]), [])
        if isinstance(default, dict):
            raise InvalidInput(f"variable {name!r} is an object, which the environment cannot give", f"unset {name}")
        return given

    def call(self, name: str, arguments: list[Value]) -> Value:
        """Return what a function of the files or of the standard library answers. Raises InvalidInput, Unsupported."""
        function = self._definition.functions.get(name)
        if function is None:
            return functions.call(name, arguments)
        count = len(function.parameters)
        if len(arguments) < count or (len(arguments) > count and not function.rest):
            raise InvalidInput(f"{name}(): {count} argument{'s' * (count != 1)} expected, {len(arguments)} given")
        bound = dict(zip(function.parameters, arguments, strict=False))
        if function.rest:
            bound[function.rest] = arguments[count:]
        self._open.append(f"{name}()")
        try:
            return function.result.value(Bound(self, bound))
        finally:
            self._open.pop()


class Blocks:
    """Targets or groups as an object: `target.NAME.ATTRIBUTE`."""

    def __init__(self, names: Names, blocks: dict[str, list[Attributes]]) -> None:
        self._names = names
        self._blocks = blocks

    def keys(self) -> list[str]:
        """Return the names."""
        return list(self._blocks)

    def __getitem__(self, name: str) -> Block:
        return Block(self._names, self._blocks[name])


class Block:
    """A target or group as an object, the attributes of which are worked out when they are asked for."""

    def __init__(self, names: Names, parts: list[Attributes]) -> None:
        self._names = names
        self._parts = parts

    def keys(self) -> list[str]:
        """Return the names of the attributes."""
        return list({key: None for part in self._parts for key in part})

    def __getitem__(self, key: str) -> Value:
        for part in reversed(self._parts):
            if key in part:
                return part[key].value(self._names)
        raise KeyError(key)


def _platform() -> str:
    from ...oci import platform

    return text(str(platform.host().brief))
