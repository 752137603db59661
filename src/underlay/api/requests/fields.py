"""The members of a JSON object in a request, read as docker does: by name whatever the case, their types checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KINDS = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}


class Fields:
    """An object of a request. null is as good as a missing member; what nobody asks for is ignored.

    All methods raise InvalidInput that names the member by its path, such as `HostConfig.Memory`.
    """

    __slots__ = ("_members", "path")

    def __init__(self, members: Mapping[str, Any], path: str = "") -> None:
        self._members = {name.lower(): value for name, value in members.items()}
        self.path = path

    def _at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _get(self, name: str) -> Any:
        return self._members.get(name.lower())

    def wrong(self, name: str, why: str) -> InvalidInput:
        """Return the error of a member whose value makes no sense."""
        return InvalidInput(f"invalid {self._at(name)}: {why}")

    def refuse(self, *names: str) -> None:
        """Raise Unsupported for those members that are not null, empty, zero or false: nobody can do what they ask for."""
        for name in names:
            if self._get(name):
                raise Unsupported(f"{self._at(name)} is not supported", "leave it out")

    def text(self, name: str) -> str:
        """Return a string, "" for none."""
        value = self._get(name)
        return "" if value is None else _text(value, self._at(name))

    def flag(self, name: str) -> bool:
        """Return a boolean, False for none."""
        return bool(self.choice(name))

    def choice(self, name: str) -> bool | None:
        """Return a boolean, or None for none."""
        value = self._get(name)
        if value is not None and not isinstance(value, bool):
            raise _type(value, self._at(name), "a boolean")
        return value

    def number(self, name: str) -> int:
        """Return an integer, 0 for none."""
        return self.count(name) or 0

    def count(self, name: str) -> int | None:
        """Return an integer, or None for none."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool):
            raise _type(value, self._at(name), "an integer")
        if not -(1 << 63) <= value < 1 << 63:
            raise self.wrong(name, "the number is too large")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of strings, an empty one for none."""
        return [_text(value, f"{self._at(name)}[{at}]") for at, value in enumerate(self._list(name))]

    def words(self, name: str) -> list[str] | None:
        """Return a command: a list of strings, or a string that is its only word; None for none."""
        value = self._get(name)
        if value is None:
            return None
        return [_text(value, self._at(name))] if isinstance(value, str) else self.texts(name)

    def map(self, name: str) -> dict[str, str]:
        """Return an object of strings, an empty one for none; null among its values is ""."""
        return {
            _text(key, self._at(name)): "" if value is None else _text(value, f"{self._at(name)}.{key}")
            for key, value in self._object(name).items()
        }

    def keys(self, name: str) -> list[str]:
        """Return the names of an object's members, whose values mean nothing: they are objects or null."""
        for key, value in self._object(name).items():
            if value is not None and not isinstance(value, dict):
                raise _type(value, f"{self._at(name)}.{key}", "an object")
        return [_text(key, self._at(name)) for key in self._object(name)]

    def child(self, name: str) -> Fields:
        """Return an object, one without members for none."""
        return Fields(self._object(name), self._at(name))

    def children(self, name: str) -> list[Fields]:
        """Return a list of objects, an empty one for none."""
        return _children(self._list(name), self._at(name))

    def by_name(self, name: str) -> dict[str, Fields]:
        """Return an object of objects."""
        return {
            _text(key, self._at(name)): _child(value, f"{self._at(name)}.{key}")
            for key, value in self._object(name).items()
        }

    def lists_by_name(self, name: str) -> dict[str, list[Fields]]:
        """Return an object of lists of objects."""
        found = {}
        for key, value in self._object(name).items():
            if value is not None and not isinstance(value, list):
                raise _type(value, f"{self._at(name)}.{key}", "a list")
            found[_text(key, self._at(name))] = _children(value or [], f"{self._at(name)}.{key}")
        return found

    def grid(self, name: str) -> list[list[str]]:
        """Return a list of lists of strings."""
        rows = Fields({f"{name}[{at}]": value for at, value in enumerate(self._list(name))}, self.path)
        return [rows.texts(f"{name}[{at}]") for at in range(len(self._list(name)))]

    def has(self, name: str) -> bool:
        """Return whether there is a member, and not null."""
        return self._get(name) is not None

    def _list(self, name: str) -> list[Any]:
        value = self._get(name)
        if value is not None and not isinstance(value, list):
            raise _type(value, self._at(name), "a list")
        return value or []

    def _object(self, name: str) -> dict[str, Any]:
        value = self._get(name)
        if value is not None and not isinstance(value, dict):
            raise _type(value, self._at(name), "an object")
        return value or {}


def _type(value: Any, path: str, wanted: str) -> InvalidInput:
    kind = "null" if value is None else _KINDS.get(type(value), "value")
    return InvalidInput(f"invalid {path}: {wanted} is needed, not a {kind}")


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _type(value, path, "a string")
    if "\0" in value:
        raise InvalidInput(f"invalid {path}: it holds a NUL character")
    return value


def _child(value: Any, path: str) -> Fields:
    if value is not None and not isinstance(value, dict):
        raise _type(value, path, "an object")
    return Fields(value or {}, path)


def _children(values: Iterable[Any], path: str) -> list[Fields]:
    return [_child(value, f"{path}[{at}]") for at, value in enumerate(values)]
