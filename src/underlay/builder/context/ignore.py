"""The ignore file of a build context: which one counts, and its lines; it may be anything that the context's owner made."""

from __future__ import annotations

import os
import stat

from ...errors import InvalidInput, KernelError
from ...linux.files import beneath
from ..copy.names import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .patterns import Matcher

NAME = ".dockerignore"
_LARGEST = 1 << 20
_ENOENT, _ENOTDIR, _ELOOP, _EXDEV = 2, 20, 40, 18


def read(context: int, dockerfile_name: str, *, beside: int | None = None) -> Matcher | None:
    """Return the matcher of a context (the descriptor of a directory), None when it ignores nothing.

    `<dockerfile_name>.dockerignore` counts before `.dockerignore`; it is looked for in the directory `beside`, for a
    Dockerfile that is not in the context. Raises InvalidInput for a file that is no plain text file within the context,
    or holds a pattern that makes no sense, KernelError for one that cannot be read.
    """
    data = None
    if dockerfile_name:
        data = _content(context if beside is None else beside, clean("/" + dockerfile_name)[1:] + NAME)
    if data is None:
        data = _content(context, NAME)
    if data is None:
        return None
    from .patterns import Matcher

    lines = parse(data)
    return Matcher(lines) if lines else None


def parse(data: bytes) -> list[str]:
    """Return the patterns in the text of an ignore file: no comments, paths relative and clean."""
    patterns = []
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    for line in text.split("\n"):
        # Only at the very start of a line # begins a comment.
        if line.startswith("#"):
            continue
        pattern = line.strip()
        exception = pattern.startswith("!")
        pattern = pattern[exception:].strip()
        if pattern:
            pattern = clean(pattern)
            if pattern != "/":
                pattern = pattern.removeprefix("/")
        if exception or pattern:
            patterns.append("!" * exception + pattern)
    return patterns


def _content(root: int, name: str) -> bytes | None:
    """Return the content of an ignore file, None when there is none; what is in it is never part of an error."""
    if not _there(root, name):
        return None
    try:
        look = beneath.open_beneath(root, name, os.O_PATH)
    except KernelError as error:
        if error.errno in (_EXDEV, _ELOOP, _ENOENT, _ENOTDIR):
            why = "leads out of the context" if error.errno == _EXDEV else "has no target"
            raise InvalidInput(f"{name} is a symbolic link that {why}", "replace the link by the file itself") from None
        raise
    try:
        facts = os.fstat(look)
    finally:
        os.close(look)
    if not stat.S_ISREG(facts.st_mode):
        raise InvalidInput(f"{name} is not a file")
    if facts.st_size > _LARGEST:
        raise InvalidInput(f"{name} has {facts.st_size} bytes; an ignore file has at most {_LARGEST}")
    fd = beneath.open_beneath(root, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    with open(fd, "rb") as file:
        again = os.fstat(fd)
        if (again.st_dev, again.st_ino) != (facts.st_dev, facts.st_ino):
            raise InvalidInput(f"{name} was replaced while it was read")
        return file.read(_LARGEST)


def _there(root: int, name: str) -> bool:
    try:
        os.close(beneath.open_beneath(root, name, os.O_PATH | os.O_NOFOLLOW))
    except KernelError as error:
        if error.errno in (_ENOENT, _ENOTDIR):
            return False
        if error.errno != _EXDEV:
            raise
    return True
