"""Removing several named objects: a failure is printed and the others are removed all the same."""

from __future__ import annotations

import sys

from ..errors import NotFound, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def told(error: UnderlayError) -> None:
    """Tell of an error after which the command goes on with what else is named."""
    from .main import shown

    sys.stdout.flush()
    sys.stderr.write(f"underlay: {shown(error.message)}\n" + (f"hint: {shown(error.hint)}\n" if error.hint else ""))


def remove_each(names: list[str], remove: Callable[[str], object], force: bool) -> int:
    """Remove what is named and print the names; returns 1 when something failed.

    With `force` what is not there is no matter.
    """
    failed = 0
    for name in names:
        try:
            remove(name)
        except UnderlayError as error:
            if not (force and isinstance(error, NotFound)):
                told(error)
                failed = 1
                continue
        sys.stdout.write(name + "\n")
    return failed
