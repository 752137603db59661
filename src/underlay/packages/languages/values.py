"""Fields of JSON documents that somebody else wrote."""

from __future__ import annotations

from ...errors import LimitExceeded
from ...lean import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..model import Files

_LONGEST = 300  # characters of a name or a version


def text(value: dict[str, Any], key: str) -> str:
    """Return a short text, "" when there is none, or something else."""
    found = value.get(key)
    return found if isinstance(found, str) and len(found) <= _LONGEST else ""


def document(files: Files, path: bytes, limit: int) -> Any:
    """Return the JSON value in a file, None when it is too long or no JSON."""
    try:
        return jsontext.loads((files.read(path, limit) or b"").removeprefix(b"\xef\xbb\xbf"))
    except (LimitExceeded, ValueError, RecursionError):
        return None
