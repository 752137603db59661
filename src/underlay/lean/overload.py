"""`typing.overload` for type checkers, without importing `typing` when the program runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload as overload
else:

    def overload(function: object) -> object:
        """Mean nothing but for type checkers."""
        return function
