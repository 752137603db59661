"""The list of images, and the forest of bases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...api.answers import work_of
from ...errors import NotFound
from ...human import short_id
from .. import forest, listing
from ..paging import Page
from .parts import LISTING, page, page_number, see

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from .parts import Route

_LONGEST = 200  # characters of what is searched for


async def images(request: web.Request) -> web.StreamResponse:
    """GET /: the list of images."""
    return await page(request, "images.html", await _images(request))


async def rows(request: web.Request) -> web.StreamResponse:
    """GET /images/rows: the table of images alone; the page requests it while the user types in the search field."""
    return await page(request, "rows.html", await _images(request))


async def _images(request: web.Request) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        wanted, known = request.query.get("q", "")[:_LONGEST], request.app[LISTING]
        page = Page(known.rows(wanted), page_number(request), listing.ROWS)
        known.measure(page.items)
        return {"wanted": wanted, "rows": page}

    return await work_of(request).do(work)


async def bases(request: web.Request) -> web.StreamResponse:
    """GET /images/bases?of=ID,ID…: the bases of the images that a page of the list shows, by the beginnings of their ids.

    They take longer than the list, so the page requests them later.
    """
    wanted = set(request.query.get("of", "").split(",")[: listing.ROWS])
    over = threading.Event()

    def work() -> dict[str, Any]:
        known = request.app[LISTING]
        rows = [row for row in known.rows() if short_id(row.id) in wanted]
        return {"bases": [known.base_of(row.id) for row in rows if not over.is_set()]}

    try:
        return await page(request, "bases.html", await work_of(request).wait(work))
    finally:
        over.set()  # stops the thread if the browser has closed the connection


async def named(request: web.Request) -> web.StreamResponse:
    """GET /image?name=…: redirect to the page of the image with that name."""
    name = request.query.get("name", "").strip()
    if not name:
        raise NotFound("no image was named", "type a name, such as alpine:3.20")
    found = await work_of(request).do(work_of(request).engine.images.get, name)
    return see(f"/image/{found.id.partition(':')[2]}")


async def all_bases(request: web.Request) -> web.StreamResponse:
    """GET /forest: a drawing of all images, each standing on its base."""
    known = request.app[LISTING]

    def work(engine: Engine) -> dict[str, Any]:
        rows = known.rows()
        trees = forest.trees_of(engine, rows[: forest.MOST], known)
        return {**forest.drawing(trees), "count": len(rows), "most": forest.MOST}

    return await page(request, "forest.html", await work_of(request).do(work, work_of(request).engine))


ROUTES: tuple[Route, ...] = (
    ("GET", "/", images),
    ("GET", "/images/rows", rows),
    ("GET", "/images/bases", bases),
    ("GET", "/image", named),
    ("GET", "/forest", all_bases),
)
