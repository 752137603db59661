"""Progress and lifecycle records, and the type of the callback that receives them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Event:
    """Something that happened, or progress of an operation.

    `kind` is a dotted word such as `layer.progress` or `container.start`; `subject` the id it is about;
    `attributes` plain values (numbers of bytes, names). Events inform people and programs; they never control anything.
    """

    __slots__ = ("attributes", "kind", "subject")

    # By their positions: among the attributes are the labels of containers, which may be called like that.
    def __init__(self, kind: str, subject: str, /, **attributes: object) -> None:
        self.kind = kind
        self.subject = subject
        self.attributes = attributes

    def __repr__(self) -> str:
        return f"Event({self.kind!r}, {self.subject!r}, {self.attributes!r})"


if TYPE_CHECKING:
    Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop an event: the callback of those who do not care."""
