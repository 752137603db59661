"""Where a build's files come from: a directory, an archive on standard input, a Git repository, an address, nothing."""

from __future__ import annotations

import os
import sys

from ...errors import InvalidInput, NotFound
from ...linux.files import beneath
from ...store.rows import layers as layer_rows
from .. import given_secrets
from ..filesystem import Filesystem, Made
from . import git
from .ignore import read as read_ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ...paths import Paths
    from ..filesystem import Views
    from ..request import BuildRequest
    from ..workers.messages import DockerfileRead, Opening
    from ..workers.workers import Foreman
    from .patterns import Matcher

_DOCKERFILE_LIMIT = 16 << 20
_NAMES = ("Dockerfile", "dockerfile", "Containerfile")


class Origin:
    """Files that steps may read: a host directory, or a file system of the build's own.

    `plain` says that owners mean nothing there: what is copied belongs to root. `ignored` decides which files are hidden.
    """

    __slots__ = ("directory", "filesystem", "ignored", "name", "plain")

    def __init__(
        self,
        name: str,
        directory: str = "",
        filesystem: Filesystem | None = None,
        ignored: Matcher | None = None,
        plain: bool = False,
    ) -> None:
        self.name = name
        self.directory = directory
        self.filesystem = filesystem
        self.ignored = ignored
        self.plain = plain

    def opening(self, views: Views) -> Opening:
        """Return what a worker needs to open it (`jobs.opened`)."""
        if self.filesystem is not None:
            return {"lower": views.lower(self.filesystem)}
        return {"directory": self.directory}


class Context:
    """The context of a build: `origin`, and the Dockerfile's `data`, `name` and where it is, for provenance (`uri`).

    `project` stays the same from build to build: the directory or the address of the context, "" for standard input.
    """

    __slots__ = ("commit", "data", "name", "origin", "project", "uri")

    def __init__(self, origin: Origin, name: str, data: bytes, uri: str = "", commit: str = "") -> None:
        self.origin = origin
        self.name = name
        self.data = data
        self.uri = uri
        self.commit = commit
        self.project = origin.directory


class _Begun:
    """Standard input of which the beginning has been looked at."""

    def __init__(self, stream: BinaryIO, begun: bytes) -> None:
        self._stream = stream
        self._begun = begun

    def read(self, count: int, /) -> bytes:
        if self._begun:
            data, self._begun = self._begun[:count], self._begun[count:]
            return data
        return self._stream.read(count)


def open_context(request: BuildRequest, paths: Paths, views: Views, foreman: Foreman) -> Context:
    """Find the context and the Dockerfile that are asked for. Raises NotFound, InvalidInput, Corrupt, RegistryError."""
    where = request.context
    if where == "-":
        return _from_input(request, sys.stdin.buffer, paths, views, foreman)
    if git.is_git(where):
        directory, commit = git.checkout(
            where,
            views.make_directory("git"),
            authorize=lambda host: given_secrets.git_authorization(request, host),
        )
        context = _in_directory(request, directory, inside=True)
        context.uri, context.commit = where, commit
        context.project = git.parse_git(where).url
        return context
    if where.startswith(("http://", "https://")):
        from .fetching import fetch

        fetched = fetch(
            where,
            views.make_directory("download"),
            authorize=lambda host: given_secrets.file_authorization(request, host),
        )
        with open(fetched.path, "rb") as stream:
            context = _from_input(request, stream, paths, views, foreman)
        context.uri = context.project = where
        return context
    return _in_directory(request, os.path.abspath(where), inside=False)


def _in_directory(request: BuildRequest, directory: str, inside: bool) -> Context:
    if not os.path.isdir(directory):
        raise NotFound(
            f"unable to prepare context: path {request.context!r} not found"
            if not os.path.lexists(directory)
            else f"unable to prepare context: path {request.context!r} is not a directory"
        )
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        wanted = request.dockerfile
        beside = ""  # where <Dockerfile>.dockerignore would be, inside the context
        within = wanted if inside else _within(directory, wanted) if wanted not in ("", "-") else ""
        if wanted == "-":
            data, name = sys.stdin.buffer.read(_DOCKERFILE_LIMIT + 1), "Dockerfile"
        elif wanted and not within:
            data, name = _outside(wanted), os.path.basename(wanted)
        else:
            name = ""
            for candidate in (within,) if wanted else _NAMES:
                content = beneath.read_regular(root, candidate, _DOCKERFILE_LIMIT + 1)
                if content is not None:
                    data, name, beside = content, candidate if inside else os.path.basename(candidate), candidate
                    break
            if not name:
                raise _no_dockerfile(wanted or "Dockerfile", request.context)
        _check_size(data, name)
        ignored = read_ignore(root, beside)
        if wanted and not within and wanted != "-":
            ignored = _beside(wanted) or ignored
        return Context(Origin("context", directory, ignored=ignored, plain=True), name, data)
    finally:
        os.close(root)


def _within(directory: str, path: str) -> str:
    """Return the path of a Dockerfile inside the context at `directory`, "" for one that lies elsewhere.

    What a context holds may be hostile, its links too: they are followed inside it only (attacks BD-11).
    """
    head, rest, base = os.path.abspath(path), "", os.path.realpath(directory)
    real = os.path.realpath(os.path.dirname(head)) + "/" + os.path.basename(head)
    within = os.path.relpath(real, base) if real.startswith(base.rstrip("/") + "/") else ""
    while head != "/":
        head, _, last = head.rpartition("/")
        head, rest = head or "/", f"{last}/{rest}" if rest else last
        if os.path.realpath(head) == base:
            within = rest  # and on: from the outermost on what is below is the context's
    return within


def _outside(path: str) -> bytes:
    """Read a Dockerfile that the caller has named: it need not be in the context."""
    try:
        # By its shortest name: `..` after a link of the context would lead wherever that leads.
        fd = os.open(os.path.abspath(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _no_dockerfile(path, "") from None
    except OSError as error:
        raise InvalidInput(f"failed to read dockerfile {path}: {error.strerror}") from None
    with open(fd, "rb") as file:
        try:
            return file.read(_DOCKERFILE_LIMIT + 1)
        except OSError as error:
            raise InvalidInput(f"failed to read dockerfile {path}: {error.strerror}") from None


def _beside(path: str) -> Matcher | None:
    """Return what `<path>.dockerignore` says, wherever it is."""
    directory = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return read_ignore(directory, os.path.basename(path))
    finally:
        os.close(directory)


def _no_dockerfile(name: str, context: str) -> NotFound:
    where = f" in {context}" if context else ""
    return NotFound(
        f"failed to read dockerfile: open {name}: no such file or directory{where}",
        "give the path of the Dockerfile with -f, or the context as the argument",
    )


def _check_size(data: bytes, name: str) -> None:
    if len(data) > _DOCKERFILE_LIMIT:
        raise InvalidInput(f"Dockerfile {name} is larger than {_DOCKERFILE_LIMIT >> 20} MiB")
    if not data.strip():
        raise InvalidInput(f"the Dockerfile ({name}) cannot be empty")


def _is_archive(begun: bytes) -> bool:
    return (
        begun[257:262] == b"ustar"
        or begun.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"))
        or (len(begun) >= 512 and not begun[:512].strip(b"\0"))
    )


def _from_input(request: BuildRequest, stream: BinaryIO, paths: Paths, views: Views, foreman: Foreman) -> Context:
    begun = b""
    while len(begun) < 512 and (piece := stream.read(512 - len(begun))):
        begun += piece
    if not _is_archive(begun):
        data = begun + stream.read(_DOCKERFILE_LIMIT + 1)
        _check_size(data, "-")
        return Context(Origin("context", filesystem=Filesystem("nothing"), plain=True), "Dockerfile", data)
    from ...store.layers import intake

    layer = intake.ingest(paths, _Begun(stream, begun))
    assert layer is not None
    made = Made(layer_rows.Layer(layer.diff_id, layer.size, layer.entries, layer.content))
    origin = Origin("context", filesystem=Filesystem(layer.diff_id, (made,)), plain=True)
    for name in (request.dockerfile,) if request.dockerfile else _NAMES:
        answer: DockerfileRead = foreman.call(
            "read",
            {
                "origin": origin.opening(views),
                "userxattr": views.userxattr,
                "name": name,
                "limit": _DOCKERFILE_LIMIT + 1,
            },
        )
        if answer["data"] is not None:
            _check_size(answer["data"], name)
            from .patterns import Matcher

            patterns = answer["patterns"]
            origin.ignored = Matcher(patterns) if patterns is not None else None
            return Context(origin, name, answer["data"])
    raise _no_dockerfile(request.dockerfile or "Dockerfile", "the archive")
