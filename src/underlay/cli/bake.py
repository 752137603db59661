"""Bake files: several builds described in JSON, as words of `build` (docker's Bake reference).

What is written in HCL has functions, conditions and loops; `docker buildx bake --print` makes JSON of it.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import contextmanager

from ..errors import InvalidInput, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Target = dict[str, Any]

_FILES = ("docker-bake.json", "docker-bake.override.json")
_OTHERS = ("docker-bake.hcl", "docker-bake.override.hcl")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_]\w*")
_LIMIT = 8 << 20
# Members of a target that are lists, and the flag that each of their items becomes.
_LISTS = {
    "annotations": "annotation",
    "attest": "attest",
    "cache-from": "cache-from",
    "cache-to": "cache-to",
    "entitlements": "allow",
    "no-cache-filter": "no-cache-filter",
    "output": "output",
    "platforms": "platform",
    "secret": "secret",
    "ssh": "ssh",
    "tags": "tag",
    "ulimits": "ulimit",
}
_MAPS = {"args": "build-arg", "labels": "label", "extra-hosts": "add-host"}
_FLAGS = ("no-cache", "pull")
_TEXTS = {"call": "call", "dockerfile": "file", "network": "network", "shm-size": "shm-size", "target": "target"}
_KNOWN = {*_LISTS, *_MAPS, *_FLAGS, *_TEXTS, "context", "contexts", "dockerfile-inline", "inherits", "description"}


class Plan:
    """The builds to be done: `targets` by their names, whole; those `asked` for; and the `order`, others first on which
    they stand."""

    __slots__ = ("asked", "order", "targets")

    def __init__(self, targets: dict[str, Target], asked: list[str], order: list[str]) -> None:
        self.targets = targets
        self.asked = asked
        self.order = order


def plan(files: Sequence[str], names: Sequence[str], overrides: Sequence[str]) -> Plan:
    """Read bake files and return what is to be built. Raises NotFound, InvalidInput, Unsupported."""
    whole = _read(files)
    targets: dict[str, Target] = {}
    asked: list[str] = []
    for name in names or ["default"]:
        for one in _expanded(whole, name, ()):
            if one not in asked:
                asked.append(one)
    order: list[str] = []
    for name in asked:
        _settle(whole, name, overrides, targets, order, ())
    return Plan(targets, asked, order)


def _read(files: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not files:
        files = [name for name in _FILES if os.path.exists(name)]
        if not files:
            other = next((name for name in _OTHERS if os.path.exists(name)), "")
            if other:
                raise _not_json(other)
            raise NotFound(f"no bake file: {_FILES[0]} is not here", "name one with -f")
    whole: dict[str, dict[str, Any]] = {"variable": {}, "group": {}, "target": {}}
    for path in files:
        for kind, members in _parsed(path).items():
            if kind not in whole or not isinstance(members, dict):
                raise InvalidInput(f"{path}: unexpected {kind!r}", "variable, group and target are known")
            for name, value in members.items():
                if not isinstance(value, dict):
                    raise InvalidInput(f"{path}: {kind} {name!r} is not an object")
                whole[kind][name] = {**whole[kind].get(name, {}), **value}
    variables = {name: os.environ.get(name, str(value.get("default", ""))) for name, value in whole["variable"].items()}
    for kind in ("group", "target"):
        whole[kind] = _filled(whole[kind], variables)
    return whole


def _parsed(path: str) -> dict[str, Any]:
    if path.endswith((".hcl", ".yaml", ".yml")):
        raise _not_json(path)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.loads(file.read(_LIMIT))
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path}: not an object")
    return value


def _not_json(path: str) -> Unsupported:
    return Unsupported(
        f"{path}: bake files are read as JSON only", "`docker buildx bake --print > docker-bake.json` makes one of it"
    )


def _filled(value: Any, variables: dict[str, str]) -> Any:
    """Return a value with its variables replaced."""
    if isinstance(value, dict):
        return {key: _filled(one, variables) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, variables) for one in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match[1].strip()
        if not _NAME.fullmatch(name):
            raise Unsupported(f"bake: expression {match[0]!r:.100} is not supported", "use a variable by its name")
        if name not in variables:
            raise InvalidInput(f"bake: variable {name!r} is not declared")
        return variables[name]

    return _VARIABLE.sub(replaced, value)


def _expanded(whole: dict[str, dict[str, Any]], name: str, above: tuple[str, ...]) -> list[str]:
    """Return the targets that a name means: those of a group, or itself."""
    group = whole["group"].get(name)
    if group is None or name in above:
        if name in whole["target"]:
            return [name]
        if name == "default" and not above and whole["target"]:
            return list(whole["target"])
        if group is not None:
            raise InvalidInput(f"bake: group {name} holds itself")
        raise NotFound(f"failed to find target {name}")
    return [one for member in group.get("targets") or [] for one in _expanded(whole, member, (*above, name))]


def _settle(
    whole: dict[str, dict[str, Any]],
    name: str,
    overrides: Sequence[str],
    targets: dict[str, Target],
    order: list[str],
    above: tuple[str, ...],
) -> None:
    if name in above:
        raise InvalidInput(f"bake: target {name} stands on itself")
    if name in targets:
        return
    target = _inherited(whole, name, ())
    unknown = sorted(set(target) - _KNOWN)
    if unknown:
        raise Unsupported(f"bake: target {name}: {unknown[0]!r} is not supported")
    for text in overrides:
        _override(target, name, text)
    targets[name] = target
    for place in (target.get("contexts") or {}).values():
        if str(place).startswith("target:"):
            _settle(whole, str(place).removeprefix("target:"), overrides, targets, order, (*above, name))
    order.append(name)


def _inherited(whole: dict[str, dict[str, Any]], name: str, above: tuple[str, ...]) -> Target:
    target = whole["target"].get(name)
    if name in above:
        raise InvalidInput(f"bake: target {name} inherits from itself")
    if target is None:
        raise NotFound(f"failed to find target {name}")
    result: Target = {}
    for parent in target.get("inherits") or []:
        _merge(result, _inherited(whole, parent, (*above, name)))
    _merge(result, {key: value for key, value in target.items() if key != "inherits"})
    return result


def _merge(target: Target, more: Target) -> None:
    """Add members: maps are merged, anything else is replaced."""
    for key, value in more.items():
        merges = isinstance(value, dict) and isinstance(target.get(key), dict)
        target[key] = {**target[key], **value} if merges else value


def _override(target: Target, name: str, text: str) -> None:
    """Apply `target.key=value` or `target.key.name=value`, where the target may be a pattern."""
    from fnmatch import fnmatchcase

    path, equals, value = text.partition("=")
    pattern, *keys = path.split(".", 2)
    if not equals or not keys:
        raise InvalidInput(f"invalid --set {text!r}", "as target.key=value")
    key = {"tag": "tags", "platform": "platforms", "label": "labels", "arg": "args"}.get(keys[0], keys[0])
    if key not in _KNOWN:
        raise InvalidInput(f"invalid --set {text!r}: unknown key {keys[0]!r}")
    if not fnmatchcase(name, pattern):
        return
    if len(keys) > 1:
        target[key] = {**(target.get(key) or {}), keys[1]: value}
    else:
        target[key] = [value] if key in _LISTS else value in ("1", "true") if key in _FLAGS else value


@contextmanager
def words(target: Target, made: dict[str, str]) -> Iterator[tuple[list[str], Callable[[], str]]]:
    """Yield the words of `build` for a target, and what returns the id of its image afterwards.

    `made` are the ids of the images of other targets, which it may stand on.
    """
    with tempfile.TemporaryDirectory(prefix="underlay-bake-") as place:
        identity = f"{place}/id"
        found = [f"--iidfile={identity}"]
        for key, flag in _LISTS.items():
            found += [f"--{flag}={_text(item)}" for item in target.get(key) or []]
        for key, flag in _MAPS.items():
            joint = ":" if key == "extra-hosts" else "="
            found += [f"--{flag}={name}{joint}{value}" for name, value in (target.get(key) or {}).items()]
        found += [f"--{key}" for key in _FLAGS if target.get(key)]
        for name, context in (target.get("contexts") or {}).items():
            other = str(context).removeprefix("target:")
            found.append(f"--build-context={name}={context if other == context else f'docker-image://{made[other]}'}")
        context = str(target.get("context") or ".")
        for key, flag in _TEXTS.items():
            if target.get(key) is not None:
                value = str(target[key])
                if key == "dockerfile" and "://" not in context and not os.path.isabs(value):
                    value = f"{context}/{value}"  # a bake file means a path inside the context
                found.append(f"--{flag}={value}")
        if target.get("dockerfile-inline"):
            with open(f"{place}/Dockerfile", "w", encoding="utf-8") as file:
                file.write(str(target["dockerfile-inline"]))
            found.append(f"--file={place}/Dockerfile")
        yield [*found, context], lambda: _content(identity)


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""  # a call that builds nothing


def _text(item: object) -> str:
    """Return an item of a list, which may be an object of what would be fields."""
    if isinstance(item, dict):
        return ",".join(f"{key}={value}" for key, value in item.items())
    return str(item)
