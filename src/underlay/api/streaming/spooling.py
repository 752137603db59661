"""Large request bodies, written to an unnamed temporary file until they are complete."""

from __future__ import annotations

from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO

from ..answers import work_of

if TYPE_CHECKING:
    from aiohttp import web

_PIECE = 1 << 20


async def spooled(request: web.Request) -> BinaryIO:
    """Return a request's body as a file in the installation's temporary directory, at its beginning. Raises OSError.

    The caller closes it; without a name it is gone then, or when the server dies.
    """
    work = work_of(request)

    def make() -> BinaryIO:
        store = work.engine._store
        assert store.meta  # opened, so that the directory is there
        return TemporaryFile(dir=store.paths.temporary)

    file = await work.do(make)
    try:
        async for piece in request.content.iter_chunked(_PIECE):
            await work.do(file.write, piece)
        await work.do(file.seek, 0)
    except BaseException:
        file.close()
        raise
    return file
