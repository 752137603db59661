"""Signals by name and number."""

from __future__ import annotations

import _signal

from ..errors import InvalidInput
from ..human import whole

_FIRST, _LAST = int(_signal.SIGRTMIN), int(_signal.SIGRTMAX)


def number(name: str) -> int:
    """Return the number of a signal given as 15, TERM or SIGTERM (also RTMIN+3, RTMAX-1); raises InvalidInput."""
    word = name.upper().removeprefix("SIG")
    offset = whole(word[6:])
    if word.startswith("RTMIN+") and 0 <= offset <= _LAST - _FIRST:
        return _FIRST + offset
    if word.startswith("RTMAX-") and 0 <= offset <= _LAST - _FIRST:
        return _LAST - offset
    # Names of letters and digits only: SIG_IGN is no signal.
    value = int(getattr(_signal, "SIG" + word, 0)) if word.isalnum() else 0
    value = value or whole(word)
    if not 0 < value <= _LAST:
        raise InvalidInput(f"Invalid signal: {name}", "give a number from 1 to 64 or a name such as TERM")
    return value
