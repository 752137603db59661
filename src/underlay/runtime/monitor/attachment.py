"""File descriptors that a caller attaches to a container's streams."""

from __future__ import annotations


class Attachment:
    """Streams of the one who starts the container (-1 for none), and the keys that detach from it.

    `removes` says that he removes a container that goes with its end (`Containers.remove_ended`) as soon as he is told
    of it; else its monitor does.
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
