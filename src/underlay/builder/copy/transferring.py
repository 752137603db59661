"""COPY, ADD and WORKDIR: what is copied becomes a layer at once; its key is the digest of what was copied."""

from __future__ import annotations

import os

from ...dockerfile import instructions as it
from ...oci import digest as digests
from ...store.rows import layers as layer_rows
from .. import given_secrets, history_text
from ..cache import keys
from ..cache.cache import Result
from ..context import git
from ..context.contexts import Origin
from ..filesystem import Filesystem
from .names import clean, is_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...store.rows.layers import Layer
    from ..cache.buildkit.keys import Copied, Key
    from ..stage_run import StageRun
    from ..vertices import Vertex
    from ..workers.messages import Copying, DigestJob, Digests, LayerCopied, NewDirectory, Source


class _Source:
    """One source: an `origin` with an expression, or literal content; and its part of the key, if it has one already."""

    __slots__ = ("content", "expression", "fetch", "key", "name", "origin", "whole")

    def __init__(self, origin: Origin | None, expression: str, key: object = None, whole: bool = False) -> None:
        self.origin = origin
        self.expression = expression
        self.key = key
        self.whole = whole  # never unpacked
        self.name = ""
        self.content: bytes | None = None
        self.fetch: Callable[[], object] | None = None  # what is still to be done before the origin can be read

    def as_job(self, stage: StageRun) -> Source:
        """Return it as a worker wants it."""
        if self.origin is None:
            return {"name": self.name, "content": self.content}
        ignored = self.origin.ignored
        return {
            "origin": self.origin.opening(stage.work.views),
            "source": self.expression,
            "patterns": None if ignored is None else list(ignored.lines),
            "plain": self.origin.plain,
            "whole": self.whole,
        }


def transfer(stage: StageRun, instruction: it.Transfer) -> None:
    """Carry out a COPY or ADD. Raises NotFound, InvalidInput, Conflict, RegistryError, LimitExceeded."""
    with stage.vertex(stage.shown(instruction)) as vertex:
        sources = [_source(stage, instruction, text, vertex) for text in instruction.sources]
        sources += [_literal(heredoc.name, heredoc.data) for heredoc in instruction.heredocs]
        asked = _request(stage, instruction)
        parent = "" if instruction.link else stage.state.filesystem.key
        key = keys.key("copy", parent, _content(stage, sources, asked), _decisive(asked), stage.work.request.epoch)

        def make() -> Result:
            return Result(lambda: _copied(stage, sources, asked, not instruction.link))

        def buildkit_key(below: Key) -> Key | None:
            return None if instruction.link else _buildkit_key(stage, instruction, sources, below)

        stage.grow(vertex, key, make, linked=instruction.link, buildkit=buildkit_key)
    stage.state.record(history_text.transfer(instruction), stage.created)


def _request(stage: StageRun, instruction: it.Transfer) -> Copying:
    asked: Copying = {
        "destination": instruction.destination,
        "workdir": stage.state.execution.get("WorkingDir") or "/",
        "chown": instruction.chown,
        "chmod": instruction.chmod,
        "exclude": list(instruction.exclude),
        "instruction": instruction.keyword.upper(),
        "several": len(instruction.sources) + len(instruction.heredocs) > 1,
        "parents": False,
        "unpack": False,
    }
    if isinstance(instruction, it.Copy):
        asked["parents"] = instruction.parents
    if isinstance(instruction, it.Add):
        asked["unpack"] = instruction.unpack is not False
    return asked


def _buildkit_key(stage: StageRun, instruction: it.Transfer, sources: list[_Source], below: Key) -> Key | None:
    """Return BuildKit's key of a COPY or ADD above `below`; None for what we do not know its key of."""
    from ..cache.buildkit import keys as buildkit

    if instruction.exclude or instruction.heredocs or stage.work.request.epoch is not None:
        return None
    if (isinstance(instruction, it.Copy) and instruction.parents) or any(source.key is not None for source in sources):
        return None
    mode = None
    if instruction.chmod:
        if not set(instruction.chmod) <= set("01234567"):
            return None
        mode = int(instruction.chmod, 8)
    origin = sources[0].origin
    assert origin is not None
    copied = []
    stands_for: Key | None = None
    for source in sources:
        found = buildkit_source(origin, source.expression)
        if found is None:
            return None
        stands_for = found[0]
        copied.append(found[1])
    return buildkit.copy(
        below,
        copied,
        stands_for,
        instruction.destination,
        stage.state.execution.get("WorkingDir") or "/",
        instruction.chown,
        mode,
        isinstance(instruction, it.Add) and instruction.unpack is not False,
    )


def buildkit_source(origin: Origin, path: str) -> tuple[Key | None, Copied] | None:
    """Return BuildKit's key of an origin, None for a context, of whose files it knows the digest instead; and what is at
    `path` in it, which may be a pattern. None when we do not know its key or digest."""
    from ..cache.buildkit import contents
    from ..cache.buildkit import keys as buildkit

    pattern = is_pattern(path)
    if pattern and "\\" in path:
        return None
    if origin.filesystem is not None:
        theirs = origin.filesystem.buildkit
        return (theirs, buildkit.Copied(clean("/" + path), "")) if theirs is not None else None
    root = os.open(origin.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        digest = (contents.matching if pattern else contents.digest)(root, path, origin.ignored)
    finally:
        os.close(root)
    return (None, buildkit.Copied(clean("/" + path), digest)) if digest else None


def _decisive(asked: Copying) -> list[object]:
    """Return what of a COPY or ADD decides about its result, beside what its sources hold."""
    destination = asked["destination"]
    # What is relative is below the working directory, which means nothing to the others.
    workdir = "" if destination.startswith("/") else asked["workdir"]
    return [destination, workdir, asked["chown"], asked["chmod"], asked["unpack"]]


def _literal(name: str, data: str) -> _Source:
    source = _Source(None, "")
    source.name = name
    source.content = data.encode("utf-8", "surrogateescape")
    source.key = ["literal", name, source.content]
    return source


def _source(stage: StageRun, instruction: it.Transfer, text: str, vertex: Vertex) -> _Source:
    number = stage.planned.stage.index
    if isinstance(instruction, it.Add):
        if stage.work.request.network == "none" and (git.is_git(text) or text.startswith(("http://", "https://"))):
            raise instruction.problem(
                f"{text} is not fetched: the build has --network none",
                "build without it, or fetch the file beforehand and ADD it from the context",
                text,
            )
        if git.is_git(text):
            return _from_git(stage, instruction, text)
        if text.startswith(("http://", "https://")):
            return _from_address(stage, instruction, text, vertex)
        if instruction.checksum:
            raise instruction.problem("checksum can't be specified for non-HTTP(S) & non-Git sources", "", "--checksum")
        return _Source(stage.solver.origin("", number, stage.state.platform), text)
    assert isinstance(instruction, it.Copy)
    return _Source(stage.solver.origin(instruction.from_, number, stage.state.platform), text)


def _from_git(stage: StageRun, instruction: it.Add, text: str) -> _Source:
    directory, commit = git.checkout(
        text,
        stage.work.views.make_directory("git"),
        bool(instruction.keep_git_dir),
        stage.work.request.ssh.get("default", ""),
        instruction.checksum,
        lambda host: given_secrets.git_authorization(stage.work.request, host),
    )
    stage.work.materials[text] = commit
    key = ["git", commit, git.parse_git(text).directory, bool(instruction.keep_git_dir)]
    return _Source(Origin(text, directory, plain=True), "/", key, whole=True)


def _from_address(stage: StageRun, instruction: it.Add, text: str, vertex: Vertex) -> _Source:
    """Fetch a file; not so when its digest is given and what would be made of it is known."""
    from ..context import fetching

    directory = stage.work.views.make_directory("download")
    name = fetching.file_name(text)
    if not name:
        if instruction.destination.endswith("/"):
            raise instruction.problem(
                f"cannot determine filename for source {text}", "name the file in the destination", text
            )
        name = "file"

    mtime: int | None = None

    def fetch() -> str:
        nonlocal mtime
        vertex.status(f"fetching {text}")
        request = stage.work.request
        fetched = fetching.fetch(
            text,
            directory,
            instruction.checksum,
            authorize=lambda host: given_secrets.file_authorization(request, host),
        )
        os.rename(fetched.path, f"{directory}/{name}")
        os.chmod(f"{directory}/{name}", 0o600)
        mtime = fetched.mtime
        if mtime is not None:
            os.utime(f"{directory}/{name}", (mtime, mtime))
        return fetched.digest

    source = _Source(Origin(text, directory, plain=True), _exactly(name), whole=not instruction.unpack)
    digest = instruction.checksum
    if digest:
        digests.check(digest, "--checksum")
        source.fetch = fetch
    else:
        digest = fetch()
    source.key = ["address", name, digest, mtime]
    stage.work.materials[text] = digest
    return source


def _content(stage: StageRun, sources: list[_Source], asked: Copying) -> list[object]:
    """Return what the sources hold of which the instruction copies something, as parts of a key."""
    digests = _digests(stage, [source for source in sources if source.key is None], asked)
    key_parts: list[object] = []
    for source in sources:
        # Of what is only known by an address, what is left out is not known either.
        known = source.key is not None
        key_parts.append([source.key, source.whole, asked["exclude"]] if known else digests.pop(0))
    return key_parts


def _digests(stage: StageRun, sources: list[_Source], asked: Copying | None = None) -> list[str]:
    """Return the digest of what `asked` (None: everything) copies of each source; host directories are read by this
    process, as the caller. What stages and images hold is remembered."""
    exclude = asked["exclude"] if asked is not None else []
    parents = asked is not None and asked["parents"]
    remembered = stage.work.remembered
    digests: list[str] = []
    names: list[str] = []
    for source in sources:
        origin = source.origin
        assert origin is not None
        name = ""
        if origin.filesystem is not None and origin.ignored is None:
            name = remembered.name(origin.filesystem, (source.expression, exclude, parents, origin.plain))
        names.append(name)
        digests.append(remembered.find(name) if name else "")
    unknown = [number for number, digest in enumerate(digests) if not digest]
    if unknown:
        found = _computed(
            stage,
            {
                "paths": [stage.work.views.paths.root, stage.work.views.paths.state],
                "sources": [sources[number].as_job(stage) for number in unknown],
                "exclude": exclude,
                "parents": parents,
                "instruction": asked["instruction"] if asked is not None else "RUN --mount",
                "userxattr": stage.work.views.userxattr,
            },
        )
        for number, digest in zip(unknown, found, strict=True):
            digests[number] = digest
            if names[number]:
                remembered.put(names[number], digest)
    return digests


def _computed(stage: StageRun, job: DigestJob) -> list[str]:
    from ..workers import jobs

    if all("directory" in source["origin"] for source in job["sources"]):
        return jobs.digest(job, [], None)["digests"]
    answer: Digests = stage.work.foreman.call("digest", job)
    return answer["digests"]


def _copied(stage: StageRun, sources: list[_Source], asked: Copying | NewDirectory, above: bool) -> Layer:
    work = stage.work
    for source in sources:
        if source.fetch is not None:
            source.fetch()
    answer: LayerCopied = work.foreman.call(
        "copy",
        {
            "paths": [work.views.paths.root, work.views.paths.state],
            "sources": [source.as_job(stage) for source in sources],
            "lower": work.views.lower(stage.state.filesystem) if above else None,
            "request": asked,
            "clamp": work.request.epoch,
            "userxattr": work.views.userxattr,
        },
    )
    for name in answer["unknown"]:
        work.vertices.warn(f"{asked['chown']}: the image knows no {name!r}, so root's id is used (--chown, USER)")
    return layer_rows.Layer(answer["diff_id"], answer["size"], answer["entries"], answer["content"])


def make_directory(stage: StageRun, vertex: Vertex, path: str) -> None:
    """Make a directory with those above it, as WORKDIR does, if they are missing: they belong to USER."""
    user = stage.state.execution.get("User") or ""
    asked: NewDirectory = {"directory": path, "chown": user}
    key = keys.key("directory", stage.state.filesystem.key, path, user, stage.work.request.epoch)

    def make() -> Result:
        return Result(lambda: _copied(stage, [], asked, True))

    def buildkit_key(below: Key) -> Key | None:
        from ..cache.buildkit import keys as buildkit

        return buildkit.directory(below, path, user) if stage.work.request.epoch is None else None

    stage.grow(vertex, key, make, buildkit=buildkit_key)


def content_key(stage: StageRun, origin: Origin, path: str) -> str:
    """Return the digest of what is at `path` in an origin, for the key of a step that is shown it."""
    (digest,) = _digests(stage, [_Source(origin, _exactly(path))])
    return digest


def _exactly(path: str) -> str:
    """Return a path with what would be wildcards in it quoted."""
    return "".join(f"\\{letter}" if letter in "*?[\\" else letter for letter in path)


def shown(stage: StageRun, origin: Origin, path: str) -> list[str]:
    """Return the directories that show an origin to a step, of a host directory only what is at `path`.

    That is a copy: so the files that the ignore file hides are missing, it cannot change meanwhile, and it belongs to root.
    """
    if origin.filesystem is not None and origin.ignored is None:
        return stage.work.views.lower(origin.filesystem)
    source = _Source(origin, _exactly(path))
    key = keys.key("bind", content_key(stage, origin, path), path, stage.work.request.epoch)
    asked: Copying = {
        "destination": path if path.startswith("/") else f"/{path}",
        "workdir": "/",
        "chown": "",
        "chmod": "",
        "exclude": [],
        "instruction": "RUN --mount",
        "several": False,
        "parents": False,
        "unpack": False,
    }
    name = f"[internal] {origin.name}: {path}"
    with stage.work.vertices(name) as vertex:
        made, _ = stage.work.cache.made(
            key, "", vertex, lambda: Result(lambda: _copied(stage, [source], asked, False)), kind="source.local"
        )
    return stage.work.views.lower(Filesystem(key, (made,)))
