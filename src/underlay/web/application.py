"""The routes of the site, and its error pages."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from aiohttp import web

from ..api.answers import WORK, work_of
from ..errors import NotFound, UnderlayError
from ..human import whole
from . import containers, files, forest, image, listing, rendering
from .paging import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api.answers import Handler
    from ..api.work import Work
    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from .visitors import Visitors

ROOTS: web.AppKey[files.MergedRoots] = web.AppKey("roots", files.MergedRoots)
LISTING: web.AppKey[listing.Listing] = web.AppKey("listing", listing.Listing)
_STATIC = {"style.css": "text/css", "htmx.min.js": "text/javascript", "icon.svg": "image/svg+xml"}
_LONGEST = 200  # characters of what is searched for


def make(work: Work, visitors: Visitors) -> web.Application:
    """Return the application that shows the images and containers of an engine."""
    application = web.Application(middlewares=[visitors.middleware, _errors])
    application[WORK] = work
    application[LISTING] = listing.Listing(work.engine)
    application[ROOTS] = files.MergedRoots(work.engine)
    for path, handler in (
        ("/", images),
        ("/images/rows", rows),
        ("/images/bases", bases),
        ("/image", named),
        ("/image/{id:[0-9a-f]{64}}", overview),
        ("/image/{id:[0-9a-f]{64}}/Dockerfile", dockerfile),
        ("/image/{id:[0-9a-f]{64}}/file", file),
        ("/image/{id:[0-9a-f]{64}}/layer/{number:[0-9]{1,4}}", layer),
        ("/image/{id:[0-9a-f]{64}}/{tab}", tab),
        ("/forest", all_bases),
        ("/containers", all_containers),
        ("/containers/rows", container_rows),
        ("/container/{id:[0-9a-f]{64}}", container),
        ("/container/{id:[0-9a-f]{64}}/log", container_log),
        ("/static/{name}", static),
    ):
        application.router.add_get(path, handler)
    return application


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors with a page that says what happened and what to do."""
    try:
        return await handler(request)
    except UnderlayError as error:
        return await _page(request, "problem.html", {"title": error.message, "hint": error.hint}, error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return await _page(request, "problem.html", {"title": "There is no such page", "hint": ""}, error.status)
    except Exception as error:  # a bug: the browser must get an answer nevertheless
        return await _page(request, "problem.html", {"title": "This page cannot be shown", "hint": repr(error)}, 500)


async def _page(request: web.Request, template: str, facts: dict[str, Any], status: int = 200) -> web.Response:
    text = await work_of(request).do(rendering.page, template, facts)
    return web.Response(text=text, status=status, content_type="text/html")


def _number(request: web.Request) -> int:
    """Return the number of the page of a list that is asked for; the first one unless a number is given."""
    return max(1, whole(request.query.get("page", "")))


async def images(request: web.Request) -> web.StreamResponse:
    """GET /: the list of images."""
    return await _page(request, "images.html", await _images(request))


async def rows(request: web.Request) -> web.StreamResponse:
    """GET /images/rows: the list alone, while the user types into the search field."""
    return await _page(request, "rows.html", await _images(request))


def _found(request: web.Request) -> tuple[str, Page[listing.Row]]:
    """Return what is searched for, and the page of images that are found."""
    wanted = request.query.get("q", "")[:_LONGEST]
    return wanted, Page(request.app[LISTING].rows(wanted), _number(request), listing.ROWS)


async def _images(request: web.Request) -> dict[str, Any]:
    def work() -> dict[str, Any]:
        wanted, page = _found(request)
        request.app[LISTING].measure(page.items)
        return {"wanted": wanted, "rows": page}

    return await work_of(request).do(work)


async def bases(request: web.Request) -> web.StreamResponse:
    """GET /images/bases: the bases of the images on a page of the list, which take longer to find than the images."""

    def work() -> dict[str, Any]:
        return {"bases": [request.app[LISTING].base_of(row.id) for row in _found(request)[1].items]}

    return await _page(request, "bases.html", await work_of(request).do(work))


async def named(request: web.Request) -> web.StreamResponse:
    """GET /image?name=…: redirect to the page of the image with that name."""
    name = request.query.get("name", "").strip()
    if not name:
        raise NotFound("no image was named", "type a name, such as alpine:3.20")
    found = await work_of(request).do(work_of(request).engine.images.get, name)
    return web.Response(status=303, headers={"Location": f"/image/{quote(found.id.partition(':')[2])}"})


async def overview(request: web.Request) -> web.StreamResponse:
    """GET /image/ID: the overview, with the base of an image."""
    return await _tab(request, "overview")


async def tab(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/TAB: one of `image.TABS`."""
    word = request.match_info["tab"]
    if word not in image.TABS:
        raise web.HTTPNotFound
    return await _tab(request, word)


def _path(request: web.Request) -> bytes:
    """Return the file path that is asked for, as bytes: names in images need not be UTF-8."""
    query = request.raw_path.partition("?")[2]
    words = (word.removeprefix("path=") for word in query.split("&") if word.startswith("path="))
    return unquote_to_bytes(next(words, "").replace("+", " "))


async def layer(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/layer/NUMBER: the files of a layer."""
    number, page = int(request.match_info["number"]), _number(request)
    return await _shown(request, "layers", "layer.html", lambda engine, found: image.layer(engine, found, number, page))


async def _tab(request: web.Request, word: str) -> web.StreamResponse:
    if word == "files":
        path, page = _path(request), _number(request)
        roots = request.app[ROOTS]
        return await _shown(request, word, "files.html", lambda _, found: files.facts_of(roots.of(found), path, page))
    return await _shown(request, word, f"{word}.html", image.FACTS[word])


async def _shown(
    request: web.Request, word: str, template: str, facts_of: Callable[[Engine, Image], dict[str, Any]]
) -> web.StreamResponse:
    """Return a page of an image, filled with what `facts_of` returns, with the tab `word` marked as the present one."""
    engine, image_id = work_of(request).engine, f"sha256:{request.match_info['id']}"

    def work() -> dict[str, Any]:
        found = engine.images.get(image_id)
        facts: dict[str, Any] = {"image": found, "tabs": image.TABS, "tab": word, "problem": None}
        try:
            facts |= facts_of(engine, found)
        except UnderlayError as error:
            facts["problem"] = error  # in the place of the tab: the others can be used nevertheless
        return facts

    facts = await work_of(request).do(work)
    problem = facts["problem"]
    status = problem.http_status if isinstance(problem, NotFound) else 200
    return await _page(request, "failed.html" if problem else template, facts, status)


async def dockerfile(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/Dockerfile: download the reconstructed Dockerfile."""

    def work(engine: Engine) -> str:
        return engine.bases.dockerfile(f"sha256:{request.match_info['id']}").text

    text = await work_of(request).do(work, work_of(request).engine)
    headers = {"Content-Disposition": "attachment; filename=Dockerfile"}
    return web.Response(text=text, content_type="text/plain", headers=headers)


async def file(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/file: download a file of an image. Browsers must not show it: it may be a page with scripts."""
    path = _path(request)

    def work(engine: Engine) -> bytes | None:
        return request.app[ROOTS].of(engine.images.get(f"sha256:{request.match_info['id']}")).read(path)

    data = await work_of(request).do(work, work_of(request).engine)
    if data is None:
        raise files.missing(path)
    name = quote_from_bytes(path.rpartition(b"/")[2], safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


async def all_bases(request: web.Request) -> web.StreamResponse:
    """GET /forest: a drawing of all images, each standing on its base."""
    known = request.app[LISTING]

    def work(engine: Engine) -> dict[str, Any]:
        rows = known.rows()
        trees = forest.trees_of(engine, rows[: forest.MOST], known)
        return {**forest.drawing(trees), "count": len(rows), "most": forest.MOST}

    return await _page(request, "forest.html", await work_of(request).do(work, work_of(request).engine))


async def all_containers(request: web.Request) -> web.StreamResponse:
    """GET /containers: the running containers, or all with `all=1`."""
    return await _page(request, "containers.html", await _containers(request))


async def container_rows(request: web.Request) -> web.StreamResponse:
    """GET /containers/rows: the list alone, with which an open page refreshes itself."""
    return await _page(request, "containerrows.html", await _containers(request))


async def _containers(request: web.Request) -> dict[str, Any]:
    everything = request.query.get("all", "") == "1"
    return await work_of(request).do(containers.listing, work_of(request).engine, everything)


async def container(request: web.Request) -> web.StreamResponse:
    """GET /container/ID: the page of a container."""
    work, name = work_of(request), request.match_info["id"]
    return await _page(request, "container.html", await work.do(containers.container, work.engine, name))


async def container_log(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/log: the end of the log alone, with which an open page refreshes itself."""
    work, name = work_of(request), request.match_info["id"]
    return await _page(request, "log.html", await work.do(containers.log, work.engine, name))


async def static(request: web.Request) -> web.StreamResponse:
    """GET /static/NAME: the styles and scripts of the package."""
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    data = (resources.files(__package__) / "static" / name).read_bytes()
    return web.Response(body=data, content_type=_STATIC[name], headers={"Cache-Control": "max-age=3600"})
