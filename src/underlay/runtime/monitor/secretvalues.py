"""Reading the values of a container's secrets, at each of its starts."""

from __future__ import annotations

import os
import stat

from ...errors import StartFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import SecretSource

LARGEST = 500 << 10  # bytes, as docker has it for secrets of Swarm


def read(sources: Sequence[SecretSource]) -> list[bytes]:
    """Return the values, in the same order. Raises StartFailed."""
    return [_read(source) for source in sources]


def _read(source: SecretSource) -> bytes:
    if not source["file"]:
        return bytes.fromhex(source["value"])
    path = source["file"]
    try:
        # Neither a FIFO nor a device may keep the start waiting.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise StartFailed(f"secret {source['id']}: open {path}: {(error.strerror or '').lower()}", 125) from None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise StartFailed(f"secret {source['id']}: {path} is not a file", 125)
        data = b""
        while len(data) <= LARGEST and (piece := os.read(fd, LARGEST + 1 - len(data))):
            data += piece
    except OSError as error:
        raise StartFailed(f"secret {source['id']}: read {path}: {(error.strerror or '').lower()}", 125) from None
    finally:
        os.close(fd)
    if len(data) > LARGEST:
        raise StartFailed(f"secret {source['id']}: {path} has more than {LARGEST >> 10} KiB", 125)
    return data
