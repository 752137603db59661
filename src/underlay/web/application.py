"""The application of the site: its routes, styles and scripts, and its error pages."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from ..api.answers import WORK
from ..errors import UnderlayError
from . import files, listing
from .registries.asking import Asking
from .registries.places import Lists
from .registries.pulls import Pulls
from .registries.remote import RemoteImages
from .routes import ROUTES
from .routes.parts import ASKING, LISTING, LISTS, PULLS, READ_ONLY, REMOTES, ROOTS, ReadOnly, page

if TYPE_CHECKING:
    from ..api.answers import Handler
    from ..api.work import Work
    from .visitors import Visitors

_KINDS = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATIC = frozenset(
    ("style.css", "htmx.min.js", "icon.svg", "container.js", "terminal.js", "xterm.js", "xterm.css", "addon-fit.js")
)


def make(work: Work, visitors: Visitors, read_only: bool = False) -> web.Application:
    """Return the web application for an engine; with `read_only` it refuses all requests that change something."""
    application = web.Application(middlewares=[visitors.middleware, _errors, _changes])
    application[READ_ONLY] = read_only
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


@web.middleware
async def _changes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse every method but GET and HEAD if the site is read-only."""
    if request.app[READ_ONLY] and request.method not in ("GET", "HEAD"):
        raise ReadOnly
    return await handler(request)


async def static(request: web.Request) -> web.StreamResponse:
    """GET /static/NAME: the styles and scripts of the package. Browsers keep them, and ask if they are still the same."""
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    data, tag = _read(name)
    response = web.Response(content_type=_KINDS[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})
    response.etag = tag
    if any(known.value == tag for known in request.if_none_match or ()):
        response.set_status(304)
    else:
        response.body = data
    return response


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    """Return the content of a static file of the package, and its ETag."""
    data = (resources.files(__package__) / "static" / name).read_bytes()
    return data, hashlib.sha256(data).hexdigest()[:16]
