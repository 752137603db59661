"""The part of Go's text/template that people use in `--format`, with docker's functions.

Fields `.A.B`, `$` and variables, pipes, parentheses, literals, `if`, `else`, `else if`, `with`, `range`,
comments and the trim markers `{{-` and `-}}`. Anything else is refused by name. Values are what JSON has:
dict, list, str, numbers, bool, None. Source of the rules: the package documentation of Go's text/template.
"""

from __future__ import annotations

from ...errors import InvalidInput
from .goparse import parse
from .govalues import FUNCTIONS, MISSING, NIL, empty_of, text_of, to_json, truth

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = tuple[Any, ...]

__all__ = ["Template", "to_json"]


class Template:
    """A parsed template; raises InvalidInput when `source` is none that is understood here.

    `shown` changes the text of each value before it is put into the result.
    """

    def __init__(
        self,
        source: str,
        functions: dict[str, Callable[..., Any]] | None = None,
        shown: Callable[[str], str] | None = None,
    ) -> None:
        self._shown = shown
        self._functions = {**FUNCTIONS, **(functions or {})}
        self._nodes = parse(source, self._functions)

    def render(self, value: object) -> str:
        """Return the text for `value`; raises InvalidInput when a field or a function does not fit it."""
        out: list[str] = []
        _Run(self._functions, value, self._shown).nodes(self._nodes, value, out)
        return "".join(out)


# ------------------------------------------------------------------------------------------------------------


class _Run:
    def __init__(self, functions: dict[str, Any], root: object, shown: Callable[[str], str] | None) -> None:
        self.functions = functions
        self.shown = shown
        self.variables: dict[str, object] = {"$": root}

    def nodes(self, nodes: list[Node], dot: object, out: list[str]) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                out.append(node[1])
            elif kind == "print":
                text = text_of(self.value(node[1], dot))
                out.append(self.shown(text) if self.shown is not None else text)
            elif kind == "assign":
                self.variables[node[1][0]] = self.value(node[2], dot)
            elif kind == "range":
                self._range(node, dot, out)
            else:
                value = self.value(node[2], dot)
                for name in node[1]:
                    self.variables[name] = value
                if truth(value):
                    self.nodes(node[3], value if kind == "with" else dot, out)
                else:
                    self.nodes(node[4], dot, out)

    def _range(self, node: Node, dot: object, out: list[str]) -> None:
        value = self.value(node[2], dot)
        pairs: list[tuple[object, object]]
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list | tuple):
            pairs = list(enumerate(value))
        elif value is None or value is MISSING or value is NIL:
            pairs = []
        else:
            raise InvalidInput(f"template: range can't iterate over {text_of(value)}")
        for key, item in pairs:
            if len(node[1]) == 2:
                self.variables[node[1][0]] = key
            if node[1]:
                self.variables[node[1][-1]] = item
            self.nodes(node[3], item, out)
        if not pairs:
            self.nodes(node[4], dot, out)

    def value(self, node: Node, dot: object) -> Any:
        kind = node[0]
        if kind == "literal":
            return node[1]
        if kind == "dot":
            return dot
        if kind == "variable":
            if node[1] not in self.variables:
                raise InvalidInput(f'template: undefined variable "{node[1]}"')
            return self.variables[node[1]]
        if kind == "field":
            return _field(self.value(node[1], dot), node[2])
        if kind == "function":
            return self._call(node[1], [])
        result: Any = None
        for number, command in enumerate(node[1]):
            carried = [result] if number else []
            if command[0][0] == "field" and (command[1:] or carried):
                result = _method(self.value(command[0][1], dot), command[0][2], self._values(command, dot) + carried)
            elif command[0][0] == "function":
                if command[0][1] in ("and", "or"):
                    result = self._logic(command, carried, dot)
                else:
                    result = self._call(command[0][1], self._values(command, dot) + carried)
            else:
                result = self.value(command[0], dot)
        return result

    def _values(self, command: list[Node], dot: object) -> list[Any]:
        return [self.value(argument, dot) for argument in command[1:]]

    def _logic(self, command: list[Node], carried: list[Any], dot: object) -> Any:
        """Evaluate `and` or `or` no further than needed, as Go does."""
        stops_on = command[0][1] == "or"
        result: Any = None
        for argument in command[1:]:
            result = self.value(argument, dot)
            if truth(result) is stops_on:
                return result
        return carried[0] if carried else result

    def _call(self, name: str, arguments: list[Any]) -> Any:
        try:
            return self.functions[name](*arguments)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise InvalidInput(f"template: error calling {name}: {error}") from None


def _method(value: object, name: str, arguments: list[Any]) -> Any:
    """Call what a row offers beside its texts: docker's `.Label "name"`."""
    method = value.get(name) if isinstance(value, dict) else None
    if not callable(method) or len(arguments) != 1:
        raise InvalidInput(f"template: can't give argument to non-function {name}")
    return method(*arguments)


def _field(value: object, name: str) -> Any:
    if isinstance(value, dict):
        if name in value:
            found = value[name]
            if callable(found):
                raise InvalidInput(f"template: wrong number of args for {name}: want 1 got 0")
            return empty_of(name) if found is None else found
        absent = getattr(value, "absent", None)
        if absent is not None and name in absent:
            return NIL if absent[name] is None else absent[name]
        # Records have fields in capitals, and lacking one is a mistake; maps of users' keys may lack any.
        if value and all(isinstance(key, str) and key[:1].isupper() for key in value):
            raise InvalidInput(f'template: map has no entry for key "{name}"')
        return MISSING
    if value is None or value is MISSING or value is NIL:
        raise InvalidInput(f"template: nil pointer evaluating .{name}")
    raise InvalidInput(f"template: can't evaluate field {name} in {text_of(value)[:40]!r}")
