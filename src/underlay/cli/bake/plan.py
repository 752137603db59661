"""From bake files to the builds that are to be done: groups, matrices, inheritance, what the command line changes."""

from __future__ import annotations

import os

from ...errors import InvalidInput, NotFound, Unsupported
from .definition import local
from .expressions import Bound, text, truth
from .scope import Names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .definition import Attributes, Definition, Scope, Value

    Target = dict[str, Any]

# What a target may say, by the form of its value (docker's Bake reference, "Target").
TEXTS = ("call", "context", "dockerfile", "dockerfile-inline", "network", "shm-size", "target")
FLAGS = ("no-cache", "pull")
MAPS = ("args", "contexts", "extra-hosts", "labels")
LISTS = (
    *("annotations", "attest", "cache-from", "cache-to", "entitlements", "no-cache-filter", "output", "platforms"),
    *("secret", "ssh", "tags", "ulimits"),
)
_KNOWN = {*TEXTS, *FLAGS, *MAPS, *LISTS}
_APART = {"inherits", "name", "matrix", "description", "args"}  # read elsewhere
# Names that --set has for keys of targets.
_SETTABLE = {"platform": "platforms", "secrets": "secret", "tag": "tags", "label": "labels", "arg": "args"}


class Plan:
    """The builds to be done: `targets` by their names, whole; the `groups` among the names, and `default` for all of them;
    and the `order`, targets first on which others stand."""

    __slots__ = ("groups", "order", "targets")

    def __init__(self) -> None:
        self.targets: dict[str, Target] = {}
        self.groups: dict[str, list[str]] = {}
        self.order: list[str] = []


def plan(definition: Definition, names: Sequence[str], overrides: Sequence[str]) -> Plan:
    """Return what is to be built for the names of groups and targets. Raises NotFound, InvalidInput, Unsupported."""
    whole = _Whole(definition)
    made = Plan()
    changes = [change for one in overrides if (change := _parsed(one)) is not None]
    for change in changes:
        if not any(change.means(name) for name in whole.targets):
            raise InvalidInput(f"could not find any target matching {change.pattern!r}")
    asked = list(dict.fromkeys(names or ["default"]))
    if "default" not in asked:
        made.groups["default"] = asked
    for name in asked:
        for target in _expanded(whole, name, made, ()):
            _settle(whole, target, changes, made, ())
    return made


class _Whole:
    """All groups and targets, those of matrices by the names that the matrices give them."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self.names = Names(definition)
        # Name of a target → what the files say of it, and the scope in which that is evaluated.
        self.targets: dict[str, tuple[list[Attributes], Scope]] = {}
        self.groups: dict[str, list[str]] = {}
        for name in definition.variables:
            self.names.variable(name)  # a value that is not allowed is told whatever is built
        for name, parts in definition.targets.items():
            self._add(name, parts)
        for name, parts in definition.groups.items():
            members: list[str] = []
            for part in parts:
                if "targets" in part:
                    members = _list(f"group {name}", "targets", part["targets"].value(self.names))
            self.groups[name] = members

    def _add(self, name: str, parts: list[Attributes]) -> None:
        matrices = [part["matrix"] for part in parts if "matrix" in part]
        forms = [part["name"] for part in parts if "name" in part]
        if not matrices:
            if forms:
                raise InvalidInput(f"target {name}: a name needs a matrix")
            self.targets[name] = (parts, self.names)
            return
        matrix = matrices[-1].value(self.names)
        if not isinstance(matrix, dict) or not all(isinstance(values, list) for values in matrix.values()):
            raise InvalidInput(f"target {name}: a matrix is an object of lists")
        if not forms:
            raise InvalidInput(f"target {name}: a matrix needs a name")
        members = []
        for values in _combined(matrix):
            scope = Bound(self.names, values)
            one = text(forms[-1].value(scope))
            if one in self.targets or one in members:
                raise InvalidInput(f"target {name}: its matrix gives the name {one!r} twice")
            members.append(one)
            self.targets[one] = (parts, scope)
        self.groups[name] = members


def _combined(matrix: dict[str, list[Value]]) -> list[dict[str, Value]]:
    from itertools import product

    count = 1
    for values in matrix.values():
        count *= len(values)
    if count > 10_000:
        raise InvalidInput(f"a matrix of {count} targets is too large")
    return [dict(zip(matrix, values, strict=True)) for values in product(*matrix.values())]


def _expanded(whole: _Whole, name: str, made: Plan, above: tuple[str, ...]) -> list[str]:
    """Return the targets that a name means: those of a group, or itself."""
    members = whole.groups.get(name)
    if members is None:
        if name in whole.targets:
            return [name]
        from ...human import did_you_mean

        hint = did_you_mean(name, [*whole.groups, *whole.targets], "", "`bake --list=targets` shows all")
        raise NotFound(f"failed to find target {name}", hint)
    if name in above:
        raise InvalidInput(f"bake: group {name} holds itself")
    made.groups[name] = members
    found = [one for member in members for one in _expanded(whole, member, made, (*above, name))]
    return list(dict.fromkeys(found))


def _settle(whole: _Whole, name: str, changes: list[_Change], made: Plan, above: tuple[str, ...]) -> None:
    """Put a target into the plan, and before it those that its contexts name."""
    if name in above:
        raise InvalidInput(f"bake: target {name} stands on itself: {' -> '.join([*above, name])}")
    if name in made.targets:
        return
    target = _inherited(whole, name, ())
    changed: set[str] = set()
    for change in changes:
        change.apply(name, target, changed)
    target["context"] = local(target.get("context", "."))
    target.setdefault("dockerfile", "Dockerfile")
    for place in target.get("contexts", {}).values():
        if place.startswith("target:"):
            _settle(whole, place.removeprefix("target:"), changes, made, (*above, name))
    made.targets[name] = {key: value for key, value in target.items() if value not in ([], {})}
    made.order.append(name)


def _inherited(whole: _Whole, name: str, above: tuple[str, ...]) -> Target:
    """Return a target with what it takes from others."""
    if name in above:
        raise InvalidInput(f"bake: target {name} inherits from itself")
    if name not in whole.targets:
        raise NotFound(f"failed to find target {name}", f"target {above[-1]} needs it" if above else "")
    parts, scope = whole.targets[name]
    result: Target = {}
    for part in parts:
        if "inherits" in part:
            for parent in _list(f"target {name}", "inherits", part["inherits"].value(scope)):
                _merge(result, _inherited(whole, parent, (*above, name)))
    for part in parts:
        _merge(result, _evaluated(name, part, scope))
    return result


def _evaluated(name: str, part: Attributes, scope: Scope) -> Target:
    unknown = sorted(set(part) - _KNOWN - _APART)
    if unknown:
        from ...human import did_you_mean

        hint = did_you_mean(unknown[0], sorted(_KNOWN), "", "see docs/reference/bake.md")
        raise Unsupported(f"bake: target {name}: {unknown[0]!r} is not supported", hint)
    made: Target = {}
    for key, expression in part.items():
        if key in _KNOWN:
            value = expression.value(scope)
            if value is not None:
                made[key] = _formed(f"target {name}", key, value)
        elif key == "description":
            expression.value(scope)
    return made


def _formed(where: str, key: str, value: Value) -> Any:
    """Return a value in the form that its key has. Raises InvalidInput."""
    try:
        if key in TEXTS:
            return text(value)
        if key in FLAGS:
            return truth(value)
        if key in LISTS:
            return _list(where, key, value)
        return {str(name): text(value[name]) for name in value.keys() if value[name] is not None}  # noqa: SIM118
    except (TypeError, AttributeError) as error:
        said = "an object is needed" if isinstance(error, AttributeError) else str(error)
        raise InvalidInput(f"bake: {where}: {key}: {said}") from None


def _list(where: str, key: str, value: Value) -> list[str]:
    """Return a list of texts, without empty ones; an object among them is written as its fields."""
    if not isinstance(value, list):
        raise InvalidInput(f"bake: {where}: {key} is no list")
    try:
        texts = [
            ",".join(f"{name}={text(one[name])}" for name in one) if isinstance(one, dict) else text(one)
            for one in value
            if one is not None
        ]
    except TypeError as error:
        raise InvalidInput(f"bake: {where}: {key}: {error}") from None
    return [one for one in texts if one]


def _merge(target: Target, more: Target) -> None:
    """Add what is said later: objects are merged, anything else is replaced."""
    for key, value in more.items():
        target[key] = {**target[key], **value} if isinstance(value, dict) and key in target else value


class _Change:
    """What one --set changes: `target.key=value` or `target.key.name=value`, the target being a pattern."""

    __slots__ = ("_adds", "_key", "_name", "_value", "pattern")

    def __init__(self, pattern: str, key: str, name: str, value: str, adds: bool) -> None:
        self.pattern = pattern
        self._key = key
        self._name = name
        self._value = value
        self._adds = adds

    def means(self, name: str) -> bool:
        """Return whether a target is to be changed."""
        from fnmatch import fnmatchcase

        return fnmatchcase(name, self.pattern)

    def apply(self, name: str, target: Target, changed: set[str]) -> None:
        """Change a target, if it is meant. The first change of a list replaces what the files say, unless it is `+=`;
        `changed` has the lists that were."""
        if not self.means(name):
            return
        if self._key in MAPS:
            target[self._key] = {**target.get(self._key, {}), self._name: self._value}
        elif self._key in LISTS:
            kept = target.get(self._key, []) if self._adds or self._key in changed else []
            target[self._key] = [*kept, self._value] if self._value else kept
            changed.add(self._key)
        elif self._key in FLAGS:
            said = {"1": "true", "0": "false"}.get(self._value, self._value)
            target[self._key] = _formed(f"--set {self._key}", self._key, said)
        else:
            target[self._key] = self._value


def _parsed(change: str) -> _Change | None:
    """Return a change; None for that of an argument that is to come from the environment, which does not have it."""
    path, equals, value = change.partition("=")
    pattern, *keys = path.split(".", 2)
    adds = len(keys) == 1 and path.endswith("+")
    if adds:
        keys = [keys[0].removesuffix("+")]
    if not equals and len(keys) == 2 and _SETTABLE.get(keys[0], keys[0]) == "args":
        if keys[1] not in os.environ:
            return None
        equals, value = "=", os.environ[keys[1]]
    if not equals or not keys:
        raise InvalidInput(f"invalid --set {change!r}", "as target.key=value")
    key = _SETTABLE.get(keys[0], keys[0])
    if key not in _KNOWN:
        raise InvalidInput(f"invalid --set {change!r}: unknown key {keys[0]!r}")
    if (key in MAPS) != (len(keys) > 1):
        form = f"target.{keys[0]}.name=value" if key in MAPS else f"target.{keys[0]}=value"
        raise InvalidInput(f"invalid --set {change!r}", f"as {form}")
    return _Change(pattern, key, keys[1] if len(keys) > 1 else "", value, adds)


def described(definition: Definition, kind: str) -> list[dict[str, str]]:
    """Return the name and description of each target, or those of each variable with its value. Raises InvalidInput."""
    whole = _Whole(definition)
    if kind == "variables":
        return [
            {"name": name, "value": _shown(whole.names.variable(name)), "description": _description(parts, whole.names)}
            for name, parts in sorted(definition.variables.items())
        ]
    rows = []
    for name, (blocks, scope) in sorted(whole.targets.items()):
        said = [_description(part, scope) for part in blocks]
        rows.append({"name": name, "description": next((one for one in reversed(said) if one), "")})
    for name, members in sorted(whole.groups.items()):
        rows.append({"name": name, "description": ", ".join(members)})
    return rows


def _description(attributes: Attributes, scope: Scope) -> str:
    return _shown(attributes["description"].value(scope)) if "description" in attributes else ""


def _shown(value: Value) -> str:
    from .functions import call

    return value if isinstance(value, str) else str(call("jsonencode", [value])) if value is not None else ""
