"""The site: its routes, and errors as pages."""

from __future__ import annotations

import os
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes

from aiohttp import web

from ..api.answers import WORK, work_of
from ..errors import NotFound, UnderlayError
from . import containers, files, forest, image, listing, rendering

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api.answers import Handler
    from ..api.work import Work
    from ..engine.engine import Engine
    from ..engine.images.handle import Image
    from .visitors import Visitors

TREES: web.AppKey[files.Trees] = web.AppKey("trees", files.Trees)
LISTING: web.AppKey[listing.Listing] = web.AppKey("listing", listing.Listing)
_STATIC = {"style.css": "text/css", "htmx.min.js": "text/javascript", "icon.svg": "image/svg+xml"}


def make(work: Work, visitors: Visitors) -> web.Application:
    """Return the application that shows the images of an engine."""
    application = web.Application(middlewares=[visitors.middleware, _errors])
    application[WORK] = work
    application[LISTING] = listing.Listing(work.engine)
    application[TREES] = files.Trees(work.engine)
    for path, handler in (
        ("/", images),
        ("/images/rows", rows),
        ("/images/grounds", grounds),
        ("/image", named),
        ("/image/{id:[0-9a-f]{64}}", overview),
        ("/image/{id:[0-9a-f]{64}}/Dockerfile", dockerfile),
        ("/image/{id:[0-9a-f]{64}}/file", file),
        ("/image/{id:[0-9a-f]{64}}/layer/{number:[0-9]{1,4}}", layer),
        ("/image/{id:[0-9a-f]{64}}/{tab}", tab),
        ("/forest", drawing),
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
    """Show what went wrong as a page: what, why, and what to do."""
    try:
        return await handler(request)
    except UnderlayError as error:
        return await _page(request, "problem.html", {"title": error.message, "hint": error.hint}, error.http_status)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return await _page(request, "problem.html", {"title": "There is no such page", "hint": ""}, error.status)
    except Exception as error:  # a fault of ours: the visitor must get an answer
        return await _page(request, "problem.html", {"title": "This page cannot be shown", "hint": repr(error)}, 500)


async def _page(request: web.Request, template: str, facts: dict[str, Any], status: int = 200) -> web.Response:
    text = await work_of(request).do(rendering.page, template, facts)
    return web.Response(text=text, status=status, content_type="text/html")


def _part(request: web.Request) -> tuple[str, int]:
    """Return what is searched for, and which page of the list is meant."""
    number = request.query.get("page", "")
    return request.query.get("q", "")[:200], int(number) if number.isascii() and number.isdigit() and len(
        number
    ) < 6 else 1


async def images(request: web.Request) -> web.StreamResponse:
    """GET /: the list of images."""
    return await _page(request, "images.html", await _rows(request))


async def rows(request: web.Request) -> web.StreamResponse:
    """GET /images/rows: the rows of the list that fit what is being typed."""
    return await _page(request, "rows.html", await _rows(request))


async def _rows(request: web.Request) -> dict[str, Any]:
    wanted, page = _part(request)
    known = request.app[LISTING]

    def work() -> dict[str, Any]:
        found = known.rows(wanted)
        shown = found[(page - 1) * listing.ROWS : page * listing.ROWS]
        known.measure(shown)
        pages = max(1, -(-len(found) // listing.ROWS))
        return {"rows": shown, "count": len(found), "page": page, "pages": pages, "wanted": wanted}

    return await work_of(request).do(work)


async def grounds(request: web.Request) -> web.StreamResponse:
    """GET /images/grounds: what the images of a page stand on, which takes longer than the list."""
    wanted, page = _part(request)
    known = request.app[LISTING]

    def work() -> dict[str, Any]:
        found = known.rows(wanted)[(page - 1) * listing.ROWS : page * listing.ROWS]
        return {"grounds": [known.ground(row.id) for row in found]}

    return await _page(request, "grounds.html", await work_of(request).do(work))


async def named(request: web.Request) -> web.StreamResponse:
    """GET /image?name=…: lead to the page of an image by its name."""
    name = request.query.get("name", "").strip()
    if not name:
        raise NotFound("no image is named", "write a name, such as alpine:3.20")
    found = await work_of(request).do(work_of(request).engine.images.get, name)
    return web.Response(status=303, headers={"Location": f"/image/{quote(found.id.partition(':')[2])}"})


async def overview(request: web.Request) -> web.StreamResponse:
    """GET /image/ID: what an image stands on."""
    return await _tab(request, "overview")


async def tab(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/TAB."""
    word = request.match_info["tab"]
    if word not in image.TABS:
        raise web.HTTPNotFound
    return await _tab(request, word)


def _path(request: web.Request) -> bytes:
    """Return the path of a file that is asked for: names in images are bytes, and need not be UTF-8."""
    query = request.raw_path.partition("?")[2]
    words = (word.removeprefix("path=") for word in query.split("&") if word.startswith("path="))
    return unquote_to_bytes(next(words, "").replace("+", " "))


async def layer(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/layer/NUMBER: what one layer has."""
    number, page = int(request.match_info["number"]), _part(request)[1]
    return await _shown(request, "layers", "layer.html", lambda engine, found: image.layer(engine, found, number, page))


async def _tab(request: web.Request, word: str) -> web.StreamResponse:
    if word == "files":
        path, page = _path(request), _part(request)[1]
        trees = request.app[TREES]
        return await _shown(request, word, "files.html", lambda _, found: files.looked_at(trees.of(found), path, page))
    return await _shown(request, word, f"{word}.html", image.FACTS[word])


async def _shown(
    request: web.Request, word: str, template: str, facts_of: Callable[[Engine, Image], dict[str, Any]]
) -> web.StreamResponse:
    """Show a page of an image, under the tab `word`."""
    engine, image_id = work_of(request).engine, f"sha256:{request.match_info['id']}"

    def work() -> dict[str, Any]:
        found = engine.images.get(image_id)
        facts: dict[str, Any] = {"image": found, "tabs": image.TABS, "tab": word, "problem": None}
        try:
            facts |= facts_of(engine, found)
        except UnderlayError as error:
            facts["problem"] = error  # the other tabs are of use all the same
        return facts

    facts = await work_of(request).do(work)
    problem = facts["problem"]
    status = problem.http_status if isinstance(problem, NotFound) else 200
    return await _page(request, "failed.html" if problem else template, facts, status)


async def dockerfile(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/Dockerfile: the reconstructed Dockerfile as a file."""

    def work(engine: Engine) -> str:
        return engine.bases.dockerfile(f"sha256:{request.match_info['id']}").text

    text = await work_of(request).do(work, work_of(request).engine)
    headers = {"Content-Disposition": "attachment; filename=Dockerfile"}
    return web.Response(text=text, content_type="text/plain", headers=headers)


async def file(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/file: a file of an image, to be kept and never to be shown: it may be a page with scripts."""
    path = _path(request)

    def work(engine: Engine) -> bytes | None:
        return request.app[TREES].of(engine.images.get(f"sha256:{request.match_info['id']}")).read(path)

    data = await work_of(request).do(work, work_of(request).engine)
    if data is None:
        raise NotFound(f"there is no file /{os.fsdecode(path)} in the image")
    name = quote_from_bytes(path.rpartition(b"/")[2], safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


async def drawing(request: web.Request) -> web.StreamResponse:
    """GET /forest: who stands on whom."""
    known = request.app[LISTING]

    def work(engine: Engine) -> dict[str, Any]:
        rows = known.rows()
        trees = forest.grown(engine, rows[: forest.MOST], known)
        return {**forest.drawn(trees), "count": len(rows), "most": forest.MOST}

    return await _page(request, "forest.html", await work_of(request).do(work, work_of(request).engine))


async def all_containers(request: web.Request) -> web.StreamResponse:
    """GET /containers: those that run, or all."""
    return await _page(request, "containers.html", await _containers(request))


async def container_rows(request: web.Request) -> web.StreamResponse:
    """GET /containers/rows: the list anew, for a page that is open."""
    return await _page(request, "containerrows.html", await _containers(request))


async def _containers(request: web.Request) -> dict[str, Any]:
    everything = request.query.get("all", "") == "1"
    return await work_of(request).do(containers.listing, work_of(request).engine, everything)


async def container(request: web.Request) -> web.StreamResponse:
    """GET /container/ID."""
    work, name = work_of(request), request.match_info["id"]
    return await _page(request, "container.html", await work.do(containers.container, work.engine, name))


async def container_log(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/log: the end of the log anew."""
    work, name = work_of(request), request.match_info["id"]
    return await _page(request, "log.html", await work.do(containers.log, work.engine, name))


async def static(request: web.Request) -> web.StreamResponse:
    """GET /static/NAME: style and scripts, from the package."""
    name = request.match_info["name"]
    if name not in _STATIC:
        raise web.HTTPNotFound
    data = (resources.files(__package__) / "static" / name).read_bytes()
    return web.Response(body=data, content_type=_STATIC[name], headers={"Cache-Control": "max-age=3600"})
