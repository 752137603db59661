"""Records without a library: fields with defaults, given by position or by name, and copies with some of them changed.

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
        return lambda decorated: decorated


class _Fields:
    """Makes records of classes: their annotations are the fields, in order, those of the class above first."""

    _fields: ClassVar[tuple[str, ...]] = ()
    _known: ClassVar[frozenset[str]] = frozenset()
    _needed: ClassVar[frozenset[str]] = frozenset()  # fields without a default
    _copied: ClassVar[tuple[str, ...]] = ()  # fields whose default is a list or dictionary
    _by_place: ClassVar[bool] = True

    def __init_subclass__(cls, kw_only: bool = False) -> None:
        own = [name for name in cls.__annotations__ if name not in cls._fields]
        cls._fields = (*cls._fields, *own)
        cls._known = frozenset(cls._fields)
        cls._needed = frozenset(name for name in cls._fields if not hasattr(cls, name))
        cls._copied = tuple(name for name in cls._fields if isinstance(getattr(cls, name, None), list | dict))
        cls._by_place = not kw_only

    def __init__(self, *values: Any, **named: Any) -> None:
        given = self.__dict__
        given.update(zip(self._fields, values, strict=False))
        given.update(named)
        if (
            len(given) != len(values) + len(named)
            or (values and not self._by_place)
            or not given.keys() >= self._needed
            or not given.keys() <= self._known
        ):
            raise TypeError(self._wrong(values, named))
        for name in self._copied:
            if name not in given:
                given[name] = getattr(type(self), name).copy()

    def _wrong(self, values: tuple[Any, ...], named: dict[str, Any]) -> str:
        """Return what is wrong with the values that a record was to be made of."""
        fields = self._fields
        if len(values) > len(fields) * self._by_place:
            return f"{type(self).__name__}: too many values without a name"
        for name in named:
            if name not in fields[len(values) :]:
                return f"{type(self).__name__}: unexpected {name!r}"
        missing = [name for name in fields[len(values) :] if name in self._needed and name not in named]
        return f"{type(self).__name__}: {missing[0]!r} is missing"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._fields)})"

    def changed(self, **values: Any) -> Self:
        """Return a copy in which some fields have other values."""
        if not values.keys() <= self._known:
            raise TypeError(self._wrong((), values))
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.__dict__.update(values)
        return other


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


class Sparse(dict[str, "Any"]):
    """A dictionary in which some members may be missing: `absent` has what a template sees in their place.

    None is nil there.
    """

    absent: dict[str, Any] = {}

    def __init__(self, members: dict[str, Any], **absent: Any) -> None:
        super().__init__(members)
        self.absent = absent
