"""Bases known from Dockerfiles: read from a folder, kept beside an installation's index.

Each file that is called Dockerfile, Dockerfile.NAME or NAME.Dockerfile stands for one image of a repository: its folders
and NAME make the tag, `latest` at the top (`3.13/slim/Dockerfile`: `3.13-slim`).
"""

from __future__ import annotations

import os
import re
import stat

from ...dockerfile import stages, syntax
from ...dockerfile.instructions import Arg, Env
from ...dockerfile.problems import DockerfileError
from ...dockerfile.words import process
from ...errors import InvalidInput, LimitExceeded, UnderlayError
from ...files import Lock, write_atomic
from ...oci import reference as references
from ..identify.identify import directory
from ..identify.marks import sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...dockerfile.instructions import Instruction
    from ...dockerfile.stages import Recipe, Stage
    from ...store.store import Store

_FILES = 20_000
_NAME = re.compile(r"Dockerfile(?:\.(?P<after>[\w.-]+))?$|(?P<before>[\w.-]+)\.Dockerfile$", re.IGNORECASE)
_NO_TAG = re.compile(r"[^\w.-]+")
# Builders write these with their variables filled in and without quotes.
_FILLED_IN = frozenset("add copy env expose label stopsignal user volume workdir".split())
_UNWRITTEN = frozenset(("onbuild", "shell", "healthcheck", "maintainer", "from"))


def add(store: Store, path: str, repository: str = "") -> tuple[int, list[str]]:
    """Add the Dockerfiles below a folder as images of `repository`, by default called as the folder.

    Returns how many there were, and the problems of those that could not be read. Raises InvalidInput, LimitExceeded.
    """
    if not os.path.isdir(path):
        raise InvalidInput(f"{path}: not a directory", "give the folder of a repository of Dockerfiles")
    name = repository or os.path.basename(os.path.abspath(path)).lower()
    try:
        name = references.parse(name).familiar.removesuffix(":latest")
    except UnderlayError:
        raise InvalidInput(f"{name!r} is no name of a repository", "give one behind the folder") from None
    found: dict[str, sources.Source] = {}
    problems: list[str] = []
    for relative, tag in _files(path):
        try:
            source = read(_text(os.path.join(path, relative)), relative, f"{name}:{tag}")
        except (DockerfileError, UnderlayError, OSError) as error:
            problems.append(f"{relative}: {error}")
            continue
        found[source.names[0]] = source
    if not found and not problems:
        raise InvalidInput(f"{path}: there is no Dockerfile below it")
    place = directory(store)
    os.makedirs(place, mode=0o700, exist_ok=True)
    with Lock(place + "/lock"):
        kept = {source.names[0]: source for source in sources.load(_place(store))}
        write_atomic(_place(store), sources.dump([*{**kept, **found}.values()]))
    return len(found), problems


def read(text: bytes, where: str, name: str) -> sources.Source:
    """Return what the last stage of a Dockerfile says of its image. Raises DockerfileError."""
    recipe = stages.read(syntax.parse(text, where))
    defaults: dict[str, str] = {}
    for argument in recipe.arguments:
        _set(argument, defaults, {})
    scope: dict[str, str] = {}
    base, steps = _stage(recipe, recipe.stages[-1], scope, defaults)
    return sources.Source((name,), process(base, defaults.get, keep_unset=True).text, tuple(steps))


def _stage(
    recipe: Recipe, stage: Stage, scope: dict[str, str], defaults: dict[str, str]
) -> tuple[str, list[tuple[str, int]]]:
    """Return the image beneath a stage, stages of the same file followed, and all its steps."""
    below = recipe.named(stage.base, stage.index)
    base, steps = _stage(recipe, below, scope, defaults) if below is not None else (stage.base, [])
    for item in stage.instructions:
        if item.keyword not in _UNWRITTEN:
            steps.append((item.keyword.upper(), sources.hashed(_written(item, scope))))
        _set(item, scope, defaults)
    return base, steps


def _set(item: Instruction, scope: dict[str, str], defaults: dict[str, str]) -> None:
    """Set the variables of an ARG or ENV; an ARG without a value has that from before the first FROM, if there is one."""
    pairs = item.arguments if isinstance(item, Arg) else item.variables if isinstance(item, Env) else ()
    for name, value in pairs:
        if value is None:
            value = defaults.get(name)
        if value is not None:
            scope[name] = process(value, scope.get, keep_unset=True).text


def _written(item: Instruction, scope: dict[str, str]) -> str:
    """Return an instruction's text as builders record it in an image's history, with variables replaced."""
    if item.keyword not in _FILLED_IN:
        return item.text
    try:
        return process(item.text, scope.get, keep_unset=True).text
    except DockerfileError:
        return item.text


def _files(path: str) -> Iterator[tuple[str, str]]:
    """Yield the Dockerfiles below a folder, relative to it, with their tags; links are not followed."""
    count = 0
    for place, folders, files in os.walk(path):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for name in sorted(files):
            match = _NAME.fullmatch(name)
            if not match:
                continue
            count += 1
            if count > _FILES:
                raise LimitExceeded(f"more than {_FILES} Dockerfiles below {path}")
            relative = os.path.relpath(os.path.join(place, name), path)
            parts = [*os.path.dirname(relative).split("/"), match["after"] or match["before"] or ""]
            tag = "-".join(_NO_TAG.sub("-", part) for part in parts if part).strip("-.")[:128]
            yield relative, tag or "latest"


def _text(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidInput(f"{path}: not a regular file")
        data = file.read(syntax.FILE_LIMIT + 1)
    if len(data) > syntax.FILE_LIMIT:
        raise LimitExceeded(f"{path}: a Dockerfile has at most {syntax.FILE_LIMIT} bytes")
    return data


def _place(store: Store) -> str:
    return directory(store) + "/" + sources.FILE
