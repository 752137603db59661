"""One action for each named object: a failure is printed, and the others are acted on all the same."""

from __future__ import annotations

import sys

from ..errors import NotFound, UnderlayError
from . import problems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def print_error(error: UnderlayError) -> None:
    """Print an error after which the command continues with the other arguments."""
    sys.stdout.flush()
    sys.stderr.write(problems.lines(error))


def act_on_each(names: list[str], act: Callable[[str], object]) -> int:
    """Call `act` for each name and print the name; returns 1 if a call failed, otherwise 0."""
    failed = 0
    for name in names:
        try:
            act(name)
        except UnderlayError as error:
            print_error(error)
            failed = 1
        else:
            sys.stdout.write(name + "\n")
    return failed


def remove_each(names: list[str], remove: Callable[[str], object], force: bool) -> int:
    """Call `remove` for each name as `act_on_each` does; with `force` a missing object counts as removed."""

    def act(name: str) -> None:
        try:
            remove(name)
        except NotFound:
            if not force:
                raise

    return act_on_each(names, act)
