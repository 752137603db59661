"""Errors as people see them: one line, and a second that says what to do."""

from __future__ import annotations

from ..errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..errors import UnderlayError


def lines(error: UnderlayError) -> str:
    """Return what is written on standard error."""
    hint = error.hint
    if isinstance(error, NotFound) and error.names:
        from ..human import did_you_mean

        hint = did_you_mean(error.name, error.names, "", hint)
    return f"underlay: {shown(error.message)}\n" + (f"hint: {shown(hint)}\n" if hint else "")


def shown(text: str) -> str:
    """Return `text` as one line without control characters, which foreign names could send to a terminal."""
    if text.isprintable():
        return text
    from ..human import escaped

    return escaped(text)
