"""What a program that has run to its end has left: exit code and output; and the streams that catch it."""

from __future__ import annotations

import os

from ...errors import InvalidInput
from ...runtime.monitor.attachment import Attachment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    # An open file, its descriptor, or None: nothing to read, and output that is caught.
    Source = IO[str] | IO[bytes] | int | None
    Target = IO[str] | IO[bytes] | int | None


class Result:
    """The result of a program: exit `code` (128 + n for signal n), `stdout` and `stderr` (bytes), and the `id` of its
    container; `oom` says that the kernel's OOM killer killed it.

    Output that went to the caller's own files is not included; the output of a terminal is all in `stdout`.
    """

    __slots__ = ("code", "id", "oom", "stderr", "stdout")

    def __init__(self, code: int, stdout: bytes, stderr: bytes, container_id: str, oom: bool = False) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.id = container_id
        self.oom = oom

    @property
    def text(self) -> str:
        """The standard output as text (UTF-8; invalid bytes are replaced)."""
        return self.stdout.decode(errors="replace")

    def __repr__(self) -> str:
        return f"Result(code={self.code}, stdout={self.stdout!r}, stderr={self.stderr!r})"


class Capture:
    """Streams for one program. Its output goes to files in memory, unless the caller passes its own files.

    Unlike pipes, files never block the writer, so that the caller need not read while the program runs.
    """

    def __init__(self, input: bytes | None, stdin: Source, stdout: Target, stderr: Target) -> None:
        if input is not None and stdin is not None:
            raise InvalidInput("input and stdin cannot both be given")
        if isinstance(input, str):
            raise TypeError("input is bytes, not a text: encode it")
        self.reads = input is not None or stdin is not None
        self._made: list[int] = []
        self._stdin = _number("stdin", stdin)
        self._stdout = _number("stdout", stdout)
        self._stderr = _number("stderr", stderr)
        if input is not None:
            self._stdin = self._memory()
            with open(self._stdin, "wb", buffering=0, closefd=False) as file:
                view = memoryview(input)
                while view:
                    view = view[file.write(view) :]
                file.seek(0)
        self._out = self._memory() if stdout is None else -1
        self._err = self._memory() if stderr is None else -1

    def _memory(self) -> int:
        fd = os.memfd_create("underlay-stream", os.MFD_CLOEXEC)
        self._made.append(fd)
        return fd

    def attachment(self, removes: bool = False) -> Attachment:
        """Return the descriptors to attach."""
        stdout = self._stdout if self._out < 0 else self._out
        stderr = self._stderr if self._err < 0 else self._err
        return Attachment(self._stdin, stdout, stderr, removes=removes)

    def result(self, code: int, container_id: str, oom: bool = False) -> Result:
        """Return the captured output."""
        return Result(code, _content(self._out), _content(self._err), container_id, oom)

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._made:
            os.close(fd)


def _number(name: str, file: IO[str] | IO[bytes] | int | None) -> int:
    if file is None:
        return -1
    try:
        if isinstance(file, int):
            os.fstat(file)
            return file
        number = file.fileno()
        if file.writable():
            file.flush()  # what the caller has written before comes first
    # No file, one that is closed, one of the io module that is in memory, a constant of the subprocess module.
    except (AttributeError, ValueError, OSError):
        raise InvalidInput(
            f"{name} is an open file or a descriptor, not {file!r}",
            "leave it out: the result has the output, and `input` is what is read",
        ) from None
    return number


def _content(fd: int) -> bytes:
    if fd < 0:
        return b""
    with open(fd, "rb", buffering=0, closefd=False) as file:
        file.seek(0)
        return file.readall()


def refuse_streams(*streams: object) -> None:
    """Raise InvalidInput for streams of a program that nobody waits for."""
    if any(stream is not None for stream in streams):
        raise InvalidInput(
            "input, stdin, stdout and stderr cannot be given with detach=True", "`logs` returns the container's output"
        )
