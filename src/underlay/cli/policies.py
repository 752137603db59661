"""Reads the file that `--policy` names."""

from __future__ import annotations

from ..base.fleet import policy
from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..base.fleet.policy import Policy

_LIMIT = 1 << 20


def read_policy(path: str) -> Policy:
    """Read the rules of a file. Raises InvalidInput, and what `policy.read` raises."""
    try:
        with open(path, "rb") as file:
            return policy.read(file.read(_LIMIT), path)
    except OSError as error:
        raise InvalidInput(f"--policy: {path}: {error.strerror}") from None
