"""Records without a library: named fields with defaults, given by place or by name, and copies with some of them changed.

msgspec's Struct does this and more; importing it takes longer than all that a build from the cache does besides
(docs/decisions/0003-imports.md). What is decoded or held by the hundred thousand stays with it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_: object) -> object:
        """Mean nothing but for type checkers."""
        return lambda found: found


class _Fields:
    """Makes records of classes: their annotations are the fields, in order, those of the class above first."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _by_place: ClassVar[bool] = True

    def __init_subclass__(cls, kw_only: bool = False) -> None:
        own = [name for name in cls.__annotations__ if name not in cls._fields]
        cls._fields = (*cls._fields, *own)
        cls._by_place = not kw_only

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._fields
        if len(values) > len(fields) * self._by_place:
            raise TypeError(f"{type(self).__name__}: too many values without a name")
        given = dict(zip(fields, values, strict=False))
        for name in named:
            if name not in fields or name in given:
                raise TypeError(f"{type(self).__name__}: unexpected {name!r}")
        given |= named
        for name in fields:
            if name not in given:
                try:
                    default = getattr(type(self), name)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__}: {name!r} is missing") from None
                if isinstance(default, list | dict):
                    given[name] = default.copy()
        self.__dict__.update(given)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def changed(self, **values: Any) -> Self:
        """Return a copy in which some fields have other values."""
        given = {name: getattr(self, name) for name in self._fields}
        return type(self)(**{**given, **values})


@dataclass_transform()
class Record(_Fields):
    """A record whose fields may be set; a default that is a list or dictionary is everyone's own."""

    __hash__ = None  # type: ignore[assignment]


@dataclass_transform(frozen_default=True)
class Value(_Fields):
    """A record that stays as it was made."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._fields))
