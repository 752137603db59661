"""Large request bodies, written to an unnamed temporary file until they are complete."""

from __future__ import annotations

import asyncio
from tempfile import TemporaryFile
from typing import BinaryIO

from aiohttp import web

from ..answers import work_of

_PIECE = 1 << 20
_PATIENCE = 60.0  # seconds for the next piece to come
_GRACE = 300.0  # seconds after which the whole must come at a least rate
_LEAST = 1024  # bytes a second, on average


async def spooled(request: web.Request) -> BinaryIO:
    """Return a request's body as a file in the installation's temporary directory, at its beginning. Raises OSError, and
    HTTPRequestTimeout when it does not come, or so slowly that nobody can mean it.

    The caller closes it; without a name it is gone then, or when the server dies.
    """
    work = work_of(request)

    def make() -> BinaryIO:
        store = work.engine._store
        assert store.meta  # opened, so that the directory is there
        return TemporaryFile(dir=store.paths.temporary)

    file = await work.do(make)
    try:
        clock = asyncio.get_running_loop().time
        begun, size = clock(), 0
        while piece := await _next(request):
            await work.do(file.write, piece)
            size += len(piece)
            if clock() - begun > _GRACE and size < _LEAST * (clock() - begun):
                raise web.HTTPRequestTimeout
        await work.do(file.seek, 0)
    except BaseException:
        file.close()
        raise
    return file


async def _next(request: web.Request) -> bytes:
    """Return what has come of a body, b"" at its end. Raises HTTPRequestTimeout."""
    try:
        async with asyncio.timeout(_PATIENCE):
            return await request.content.read(_PIECE)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
