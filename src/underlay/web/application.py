"""The application of the site: its routes, styles and scripts, and its error pages."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from ..api.answers import WORK
from ..errors import UnderlayError
from . import files, listing
from .asking import Asking
from .pulls import Pulls
from .registry import Lists
from .remote import RemoteImages
from .routes import ROUTES
from .routes.parts import ASKING, LISTING, LISTS, PULLS, REMOTES, ROOTS, page

if TYPE_CHECKING:
    from ..api.answers import Handler
    from ..api.work import Work
    from .visitors import Visitors

_STATIC = {"style.css": "text/css", "htmx.min.js": "text/javascript", "icon.svg": "image/svg+xml"}


def make(work: Work, visitors: Visitors) -> web.Application:
    """Return the application that shows the images and containers of an engine."""
    application = web.Application(middlewares=[visitors.middleware, _errors])
    application[WORK] = work
    application[LISTING] = listing.Listing(work.engine)
    application[ROOTS] = files.MergedRoots(work.engine)
    application[ASKING], application[LISTS], application[REMOTES] = Asking(work), Lists(), RemoteImages()
    application[PULLS] = Pulls(work.engine)
    for method, path, handler in ROUTES:
        application.router.add_route(method, path, handler)
    application.router.add_get("/static/{name}", static)
    return application


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with a page that says what happened and what to do."""
    try:
        return await handler(request)
    except UnderlayError as error:
        return await page(request, "problem.html", {"title": error.message, "hint": error.hint}, error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return await page(request, "problem.html", {"title": "There is no such page", "hint": ""}, error.status)
    except Exception as error:  # a bug: the browser must get an answer nevertheless
        return await page(request, "problem.html", {"title": "This page cannot be shown", "hint": repr(error)}, 500)


async def static(request: web.Request) -> web.StreamResponse:
    """GET /static/NAME: the styles and scripts of the package."""
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    data = (resources.files(__package__) / "static" / name).read_bytes()
    return web.Response(body=data, content_type=_STATIC[name], headers={"Cache-Control": "max-age=3600"})
