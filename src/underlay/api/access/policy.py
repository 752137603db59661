"""Rules for what clients of a socket may do: by operation, image, label, mount, volume, network and privilege.

What no rule allows is refused. Rules stand in a TOML file (docs/guides/docker-clients.md): an `[[allow]]` has `operations`,
patterns such as `containers.*`, and conditions. Without `privileged = true` a rule allows nothing by which a client could
get more than its containers: options of `create` are allowed by a list, so that a new one is refused until it is known.
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput, UnderlayError
from .rules import Rule, refusal_of_create

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...engine.options import ContainerOptions

_READING = ("GET", "HEAD")
_LISTED = ("images", "volumes", "networks", "mounts")


class Forbidden(UnderlayError):
    """The rules of the server do not allow a request."""

    http_status = 403


class Policy:
    """The rules of a server. `read_only`: requests that change anything are refused, whatever the rules say."""

    def __init__(self, rules: Sequence[Rule] | None = None, read_only: bool = False) -> None:
        self._rules = rules
        self._read_only = read_only

    @property
    def everything(self) -> bool:
        """Whether nothing is refused."""
        return self._rules is None and not self._read_only

    def rules_for(self, method: str, path: str) -> list[Rule] | None:
        """Return the rules of which one must allow a request for a route, None if all are allowed. Raises Forbidden."""
        name = operation(method, path)
        if self._read_only and (method not in _READING or name == "containers.attach"):
            raise Forbidden(f"{name} is not allowed: this server is read-only")
        if self._rules is None:
            return None
        rules = [rule for rule in self._rules if any(fnmatchcase(name, pattern) for pattern in rule.operations)]
        if not rules:
            raise Forbidden(f"{name} is not allowed by the rules of this server")
        return rules


def operation(method: str, path: str) -> str:
    """Return the name of what a route does: `containers.create`, `images.list`, `exec.start`, `ping`."""
    parts = [part for part in path.split("/") if part and not part.startswith("{")]
    named = "{" in path
    kind, words = parts[0].lstrip("_"), parts[1:]
    if words[-1:] == ["json"]:
        return f"{kind}.{'inspect' if named else 'list'}"
    if words == ["attach", "ws"]:
        return f"{kind}.attach"
    if words == ["archive"]:
        return f"{kind}.{'copy_in' if method == 'PUT' else 'copy_out'}"
    if words:
        return f"{kind}.{words[-1]}"
    if method == "DELETE":
        return f"{kind}.remove"
    if kind in ("networks", "volumes", "plugins", "swarm", "services", "tasks", "nodes", "secrets", "configs"):
        return f"{kind}.{'inspect' if named else 'list'}"
    return kind


def read(path: str) -> list[Rule]:
    """Return the rules of a file. Raises InvalidInput naming it and what is wrong."""
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    unknown = sorted(set(document) - {"allow"})
    if unknown:
        raise InvalidInput(f"{path}: unknown key {unknown[0]!r}", "a file of rules has [[allow]] tables alone")
    tables = document.get("allow")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InvalidInput(f"{path}: there is no [[allow]]", "an empty list allows nothing: allow = []")
    return [_rule(table, f"{path}: allow[{position}]") for position, table in enumerate(tables)]


def _rule(table: Mapping[str, Any], where: str) -> Rule:
    unknown = sorted(set(table) - {"operations", "labels", "privileged", *_LISTED})
    if unknown:
        raise InvalidInput(f"{where}: unknown key {unknown[0]!r}")
    lists = {name: _strings(table, name, where) for name in ("operations", *_LISTED)}
    if not lists["operations"]:
        raise InvalidInput(f"{where}: there are no operations", 'as operations = ["containers.*"]')
    labels = table.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise InvalidInput(f"{where}: labels is not a table of texts")
    privileged = table.get("privileged", False)
    if not isinstance(privileged, bool):
        raise InvalidInput(f"{where}: privileged is neither true nor false")
    return Rule(
        operations=lists["operations"] or [],
        images=lists["images"],
        mounts=lists["mounts"] or [],
        volumes=lists["volumes"] or [],
        networks=lists["networks"] or [],
        labels=labels,
        privileged=privileged,
    )


def _strings(table: Mapping[str, Any], name: str, where: str) -> list[str] | None:
    value = table.get(name)
    if value is not None and (not isinstance(value, list) or not all(isinstance(word, str) for word in value)):
        raise InvalidInput(f"{where}: {name} is not a list of texts")
    return value


def check_create(rules: Sequence[Rule] | None, options: ContainerOptions) -> ContainerOptions:
    """Return the options of a container that a rule allows, with the labels that it demands. Raises Forbidden."""
    if rules is None:
        return options
    reasons = []
    for rule in rules:
        reason = refusal_of_create(rule, options)
        if not reason:
            return options.changed(labels={**options.labels, **rule.labels})
        reasons.append(reason)
    raise Forbidden(f"the rules of this server do not allow {reasons[0]}")
