"""The errors that underlay raises: one tree of exceptions, each with an exit code, an HTTP status and a hint."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Protocol, TypedDict

    class Source(Protocol):
        """The text of a Dockerfile under its name."""

        name: str

        def excerpt(self, line: int, last_line: int = 0, column: int = 0) -> str:
            """Return the lines around a position."""

    class ErrorMessage(TypedDict):
        """An error in a message: module and name of its class, its `args` and its attributes."""

        kind: list[str]
        arguments: list[Any]
        members: dict[str, Any]


_PROBLEM_LIMIT = 500  # characters of what is wrong with a Dockerfile


class UnderlayError(Exception):
    """Base of every error that underlay raises on purpose.

    `message` is one line for a person: what went wrong and where. `hint` says what to do about it and may be
    empty. `exit_code` is what a command ends with (commands that start a container use 125 instead of 1, as
    docker does); `http_status` is what an API answers.
    """

    exit_code = 1
    http_status = 500
    excerpt = ""  # the lines of the user's text around the error, to be shown
    place = ""  # the name of that text with the line, as Dockerfile:8

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors be sent to other processes, whatever arguments the constructors of their classes take."""
        return remade, (type(self), self.args, self.__dict__)


def remade(kind: type[UnderlayError], arguments: tuple[Any, ...], members: dict[str, Any]) -> UnderlayError:
    """Return an error of the class `kind` with the `args` and the attributes of another process's error."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(members)
    return error


def to_message(error: UnderlayError) -> ErrorMessage:
    """Return an error as a message to another process: see `from_message`."""
    kind = type(error)
    return {"kind": [kind.__module__, kind.__qualname__], "arguments": list(error.args), "members": vars(error)}


def from_message(message: ErrorMessage) -> UnderlayError:
    """Return the error that another process of this program has sent, with its class and its attributes."""
    module, name = message["kind"]
    # The other process may have imported what is not imported here.
    return remade(getattr(__import__(module, fromlist=[name]), name), tuple(message["arguments"]), message["members"])


class InvalidInput(UnderlayError):
    """The request is invalid: a bad flag, name, option or document."""

    http_status = 400


class UsageError(InvalidInput):
    """The command line is invalid."""

    exit_code = 125


class ArgumentCount(UsageError):
    """A command has too few arguments, too many, or is none: docker ends with 1 then, for `run` too."""

    exit_code = 1


class NotFound(UnderlayError):
    """The requested object does not exist. `name` was asked for where `names` are; the nearest may be proposed."""

    name = ""
    names: Sequence[str] = ()

    http_status = 404


class PlatformMissing(NotFound):
    """An image is not there for the requested platform, but for `platforms` (such as `linux/arm64`)."""

    def __init__(self, message: str, hint: str, platforms: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.platforms = platforms


class Conflict(UnderlayError):
    """The state of an object forbids the operation: in use, running, name taken."""

    http_status = 409


class Unsupported(UnderlayError):
    """This host, or this version of underlay, does not support the operation."""

    http_status = 501


class Corrupt(UnderlayError):
    """Stored or received content is damaged: wrong digest, size or structure."""


class DigestMismatch(Corrupt):
    """Content does not match the expected digest or size."""

    def __init__(self, what: str, expected: object, actual: object, hint: str = "") -> None:
        super().__init__(f"{what}: expected {expected}, found {actual}", hint)
        self.expected = expected
        self.actual = actual


class LimitExceeded(UnderlayError):
    """Content exceeds a limit on size, depth or number that protects the host."""

    http_status = 413


class RegistryError(UnderlayError):
    """A registry cannot be reached, or violates the protocol."""

    http_status = 502


class AccessDenied(RegistryError):
    """A registry denies access: not logged in, wrong credentials, or missing permission."""

    http_status = 403


class RateLimited(RegistryError):
    """A registry takes no more requests for now; `wait`: for how many seconds, 0 where it does not say."""

    http_status = 429
    wait = 0.0


class Untrusted(UnderlayError):
    """An image is not signed as the trust policy or the caller demands; nothing of it was taken."""

    http_status = 403


class KernelError(UnderlayError):
    """The kernel refused an operation.

    `operation` names the system call or step, `path` the object (may be empty), `errno` is the kernel's number.
    """

    def __init__(self, operation: str, path: str, errno: int, hint: str = "") -> None:
        from os import strerror

        where = f" {path}" if path else ""
        super().__init__(f"{operation}{where}: {strerror(errno)}", hint)
        self.operation = operation
        self.path = path
        self.errno = errno


class DiskFull(UnderlayError):
    """No space is left on the disk, or in the user's quota. `needed` is how many bytes it takes at least, 0 if unknown."""

    http_status = 507

    def __init__(self, message: str, hint: str = "", needed: int = 0) -> None:
        super().__init__(message, hint)
        self.needed = needed
        self.explained = False  # the hint says what could be freed


def is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error says that no space is left (ENOSPC), or none of the user's quota (EDQUOT)."""
    from errno import EDQUOT, ENOSPC

    return isinstance(error, DiskFull) or (isinstance(error, OSError | KernelError) and error.errno in (ENOSPC, EDQUOT))


class StartFailed(UnderlayError):
    """A container's process could not be started; `exit_code` is 125, 126 or 127, as in docker."""

    def __init__(self, message: str, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class DockerfileError(InvalidInput):
    """A Dockerfile, or one of its instructions, is invalid.

    `problem` is the message without its position; `line` and `column` count from 1 and are 0 when they are not known;
    `excerpt` shows the lines around it.
    """

    def __init__(
        self,
        problem: str,
        hint: str = "",
        source: Source | None = None,
        line: int = 0,
        column: int = 0,
        last_line: int = 0,
    ) -> None:
        problem = printable(problem if len(problem) <= _PROBLEM_LIMIT else f"{problem[:_PROBLEM_LIMIT]}...")
        super().__init__(f"{printable(source.name)}:{line}:{column}: {problem}" if source else problem, hint)
        self.problem = problem
        self.name = source.name if source else ""
        self.line = line
        self.column = column
        self.excerpt = source.excerpt(line, last_line, column) if source else ""
        self.place = f"{printable(source.name)}:{line}" if source else ""


class NameTaken(Conflict):
    """Another container has the name."""


class Unsafe(Conflict):
    """The operation has `hazards`, and the caller did not force it."""

    def __init__(self, message: str, hint: str, hazards: Sequence[Any]) -> None:
        super().__init__(message, hint)
        self.hazards = hazards


class Unreachable(RegistryError):
    """No connection could be made: another endpoint may work, a retry of this one hardly.

    `speaks_tls`: the server speaks TLS, but refused it or has a certificate that is not trusted; plain HTTP must not be
    tried in its place.
    """

    speaks_tls = False


class StepFailed(UnderlayError):
    """The program of a RUN instruction has exited with a code other than 0."""


class HelperMissing(UnderlayError):
    """The program of a credential helper is not installed."""


class WorkerKilled(UnderlayError):
    """The worker process of a job ended without reporting a result."""


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or could not show, replaced."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in text)
