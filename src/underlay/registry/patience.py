"""Retries: after a broken connection or a busy server, with growing pauses or as long as Retry-After says."""

from __future__ import annotations

import random
from time import time

from ..human import whole
from . import problems
from .transport import Broken

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .transport import Answer

_LONGEST_PAUSE = 60.0  # seconds; a server that asks for a longer wait causes an error instead
_FIRST_PAUSE = 0.3
_TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))


def repeated(send: Callable[[], Answer], attempts: int, pause: Callable[[float, str], None]) -> Answer:
    """Return the answer of `send`, which is called up to `attempts` times; `pause(seconds, reason)` waits between.

    The last answer is returned whatever it says, one that asks for a long wait at once. Raises Broken (`final` when it
    was tried more than once), and what `send` raises else.
    """
    length = _FIRST_PAUSE
    for attempt in range(1, attempts + 1):
        last = attempt == attempts
        wait = length * (0.5 + random.random())
        try:
            answer = send()
        except Broken as error:
            if last:
                error.final = error.final or attempts > 1
                raise
            reason = error.message
        else:
            if answer.status not in _TRANSIENT or last:
                return answer
            asked = retry_after(answer)
            if asked > _LONGEST_PAUSE:
                return answer
            wait = max(wait, asked)
            reason = problems.reason_of(answer) or f"status {answer.status}"
        pause(wait, reason)
        length = min(length * 2, _LONGEST_PAUSE / 4)
    raise AssertionError("unreachable")


def retry_after(answer: Answer) -> float:
    """Return the seconds that an answer asks to wait (RFC 9110, section 10.2.3), 0 when it asks for none."""
    text = answer.headers.get("retry-after", "").strip()
    if whole(text) >= 0 and len(text) < 10:
        return float(text)
    if not text:
        return 0.0
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
