"""Builds: docker's classic build from a context in the body or at an address, and the build cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from ...cancellation import Cancellation
from ...engine.containers.files.members import Target, read_tar
from ...errors import InvalidInput, UnderlayError
from ...human import parse_duration, short_id
from ...oci import reference as references
from ...store.scratch import Scratch
from ..answers import answer, work_of
from ..requests import buildquery, logins, query
from ..streaming.buildprogress import Steps, failure
from ..streaming.progress import streamed
from ..streaming.spooling import spooled

if TYPE_CHECKING:
    from aiohttp import web

    from ...builder.request import BuildRequest
    from ...engine.engine import Engine
    from ..answers import Route
    from ..streaming.progress import Say


async def build(request: web.Request) -> web.StreamResponse:
    """POST /build."""
    cancellation = Cancellation()
    asked = buildquery.requested(request).changed(cancellation=cancellation)
    quiet = query.flag(request, "q")
    credentials = logins.of_build(request)
    file = await spooled(request)

    def call(engine: Engine, say: Say) -> None:
        with file:
            image = _built(engine, asked, file)
        if quiet:
            say({"stream": f"{image}\n"})
            return
        say({"aux": {"ID": image}})
        say({"stream": f"Successfully built {short_id(image)}\n"})
        for name in asked.tags:
            say({"stream": f"Successfully tagged {references.parse(name).familiar}\n"})

    return await streamed(request, call, Steps(quiet), credentials, failure, cancellation)


def _built(engine: Engine, asked: BuildRequest, file: BinaryIO) -> str:
    """Build an image of an address, or of the archive in a file; returns its id."""
    if asked.context:
        return engine.builds.build(asked).id
    with Scratch(engine._store.paths, "build") as scratch:
        context = f"{scratch.path}/context"
        os.mkdir(context, 0o700)
        _unpack(file, context)
        dockerfile = f"{context}/{asked.dockerfile}" if asked.dockerfile else ""
        try:
            return engine.builds.build(asked.changed(context=context, dockerfile=dockerfile)).id
        except UnderlayError as error:
            # The client's context is nowhere on this host.
            error.message = error.message.replace(f" in {context}", "").replace(f"{context}/", "")
            raise


def _unpack(file: BinaryIO, directory: str) -> None:
    """Place an archive's files in an empty directory: none outside of it, no devices, and owners mean nothing.

    Raises InvalidInput, Conflict, KernelError, OSError.
    """
    root = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        Target(root, "", (-1, -1), set_id=True, links=False).place(read_tar(file))
    except InvalidInput as error:
        error.message = error.message.replace("what is to be copied is no", "the context is no")
        raise
    finally:
        os.close(root)


async def prune(request: web.Request) -> web.StreamResponse:
    """POST /build/prune."""
    chosen = query.filters(request, ("until", "unused-for"))
    older = 0.0
    for text in (text for values in chosen.values() for text in values):
        try:
            older = max(older, parse_duration(text))
        except ValueError as error:
            raise InvalidInput(f"invalid filter 'until={text}': {error}") from None
    keep = query.number(request, "keep-storage")
    pruned = await work_of(request).wait(
        lambda: work_of(request).engine.builds.prune(query.flag(request, "all"), older, keep)
    )
    return answer({"CachesDeleted": list(pruned.removed), "SpaceReclaimed": pruned.reclaimed})


ROUTES: tuple[Route, ...] = (
    ("POST", "/build", build),
    ("POST", "/build/prune", prune),
)
