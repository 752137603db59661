"""File descriptors that a caller attaches to a container's streams."""

from __future__ import annotations

from ...errors import InvalidInput

DEFAULT_KEYS = b"\x10\x11"  # ctrl-p, ctrl-q


class Attachment:
    """Streams of the caller, attached to the container (-1 for none), and the key sequence that detaches from it.

    `removes` says that the caller removes an auto-removed container (`Containers.remove_ended`) as soon as it is notified
    of the exit; otherwise its monitor does.
    """

    __slots__ = ("keys", "removes", "stderr", "stdin", "stdout")

    def __init__(
        self, stdin: int = -1, stdout: int = -1, stderr: int = -1, keys: bytes = b"", removes: bool = False
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.keys = keys
        self.removes = removes


def detach_keys(text: str) -> bytes:
    """Return the bytes of keys in docker's notation, `ctrl-p,ctrl-q`. Raises InvalidInput."""
    keys = bytearray()
    for word in text.split(","):
        if (
            word.startswith("ctrl-")
            and len(word) == 6
            and ((word[5].isascii() and word[5].isalpha()) or word[5] in "@[\\]^_")
        ):
            keys.append(ord(word[5].upper()) & 0x1F)
        elif len(word) == 1:
            keys += word.encode()
        else:
            raise InvalidInput(f"invalid detach keys ({text}) provided: unknown character: '{word}'")
    return bytes(keys)
