"""What bake files say before anything is evaluated: variables, functions, groups and targets of expressions."""

from __future__ import annotations

import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    Value = Any  # a string, number, truth value, None, list of values, or dict of values by strings

    class Scope(Protocol):
        """What the names in an expression mean."""

        def variable(self, name: str) -> Value:
            """Return the value of a name. Raises InvalidInput for one that is not declared."""

        def call(self, name: str, arguments: list[Value]) -> Value:
            """Return what a function answers. Raises InvalidInput, Unsupported."""

    class Expression(Protocol):
        """What has a value once the names in it are known."""

        def value(self, scope: Scope) -> Value:
            """Return the value. Raises InvalidInput."""

    Attributes = Mapping[str, Expression]


_ELSEWHERE = re.compile(r"(?!cwd:)[\w+.-]+(://|:|@)")


def local(context: str) -> str:
    """Return the place of a context; one of this host in its shortest form."""
    if _ELSEWHERE.match(context) or context == "-":
        return context
    return os.path.normpath(context.removeprefix("cwd://"))


class Literal:
    """A value that stands as it is."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def value(self, scope: Scope) -> Value:
        """Return the value."""
        return self._value


class Function:
    """A function of a bake file: names of its parameters, of the list of further arguments if any, and its result."""

    __slots__ = ("parameters", "rest", "result")

    def __init__(self, parameters: list[str], rest: str, result: Expression) -> None:
        self.parameters = parameters
        self.rest = rest
        self.result = result


class Definition:
    """All files together. A group or target is a list of what each file says of it, the later ones changing the earlier."""

    __slots__ = ("functions", "groups", "targets", "values", "variables")

    def __init__(self) -> None:
        self.variables: dict[str, Attributes] = {}
        self.values: dict[str, Expression] = {}
        self.functions: dict[str, Function] = {}
        self.groups: dict[str, list[Attributes]] = {}
        self.targets: dict[str, list[Attributes]] = {}
