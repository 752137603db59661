"""File descriptors that a caller attaches to a container's streams."""

from __future__ import annotations


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
