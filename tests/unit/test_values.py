"""Records: how they are made, compared, copied and kept from being changed."""

from __future__ import annotations

import pytest

from underlay.lean.values import Record, Value


class Point(Value):
    """Two fields and one with a default."""

    x: int
    y: int
    label: str = "none"


class Named(Point, kw_only=True):
    """Fields of its own come after those above."""

    extra: int


class Wish(Record):
    """Defaults that could be shared by mistake."""

    names: list[str] = []
    count: int = 0


def test_made_by_place_and_by_name() -> None:
    assert Point(1, y=2) == Point(1, 2, "none")
    assert Named(x=1, y=2, extra=3).label == "none"
    assert repr(Point(1, 2)) == "Point(x=1, y=2, label='none')"


@pytest.mark.parametrize(
    ("values", "named", "text"),
    [
        ((1, 2, "a", 4), {}, "too many values"),
        ((1,), {}, "'y' is missing"),
        ((1, 2), {"z": 3}, "unexpected 'z'"),
        ((1, 2), {"x": 3}, "unexpected 'x'"),
    ],
)
def test_made_wrongly(values: tuple[object, ...], named: dict[str, object], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Point(*values, **named)  # type: ignore[arg-type]


def test_by_name_only() -> None:
    with pytest.raises(TypeError, match="without a name"):
        Named(1, 2, "a", 3)  # type: ignore[misc]


def test_other_kinds_and_other_values_differ() -> None:
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Named(x=1, y=2, extra=3)
    assert len({Point(1, 2), Point(1, 2), Point(2, 1)}) == 2


def test_values_cannot_be_changed_but_copied_with_a_change() -> None:
    point = Point(1, 2)
    with pytest.raises(AttributeError, match="cannot be changed"):
        point.x = 3  # type: ignore[misc]
    assert point.changed(x=3) == Point(3, 2)
    assert point == Point(1, 2)


def test_records_have_defaults_of_their_own() -> None:
    first, second = Wish(), Wish()
    first.names.append("a")
    first.count = 2
    assert (first.names, second.names, second.count) == (["a"], [], 0)
    with pytest.raises(TypeError, match="unhashable"):
        hash(first)
