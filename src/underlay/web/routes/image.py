"""The page of one image: its tabs, and files to save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from aiohttp import web

from ...api.answers import work_of
from ...errors import NotFound, UnderlayError
from .. import files, image
from .parts import ROOTS, page, page_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...engine.engine import Engine
    from ...engine.images.handle import Image
    from .parts import Route

IMAGE = "/image/{id:[0-9a-f]{64}}"


async def overview(request: web.Request) -> web.StreamResponse:
    """GET /image/ID: the tab Overview, which shows the base of the image."""
    return await _tab(request, "overview")


async def tab(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/TAB: one of `image.TABS`."""
    word = request.match_info["tab"]
    if word not in image.FACTS and word != "files":
        raise web.HTTPNotFound
    return await _tab(request, word)


def _path(request: web.Request) -> bytes:
    """Return the file path that is asked for, as bytes: names in images need not be UTF-8."""
    query = request.raw_path.partition("?")[2]
    words = (word.removeprefix("path=") for word in query.split("&") if word.startswith("path="))
    return unquote_to_bytes(next(words, "").replace("+", " "))


async def layer(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/layer/NUMBER?path=…: what a layer changes below a directory."""
    number, path, at = int(request.match_info["number"]), _path(request), page_number(request)
    return await shown(
        request, "layers", "layer.html", lambda engine, found: image.layer(engine, found, number, path, at)
    )


async def _tab(request: web.Request, word: str) -> web.StreamResponse:
    if word == "files":
        path, page = _path(request), page_number(request)
        roots = request.app[ROOTS]
        return await shown(request, word, "files.html", lambda _, found: files.facts_of(roots.of(found), path, page))
    return await shown(request, word, f"{word}.html", image.FACTS[word])


async def compare(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/compare?with=NAME: the tab Compare, with the differences between two images."""
    name, number, roots = request.query.get("with", "").strip(), page_number(request), request.app[ROOTS]

    def facts_of(engine: Engine, found: Image) -> dict[str, Any]:
        if not name:
            return {"other": None, "wanted": ""}
        other = engine.images.get(name)
        return {"wanted": name, **image.comparison(engine, found, other, roots, number)}

    return await shown(request, "compare", "compare.html", facts_of)


async def shown(
    request: web.Request, word: str, template: str, facts_of: Callable[[Engine, Image], dict[str, Any]]
) -> web.StreamResponse:
    """Return a page of an image, filled with what `facts_of` returns, with the tab `word` marked as the present one."""
    engine, image_id = work_of(request).engine, f"sha256:{request.match_info['id']}"

    def work() -> dict[str, Any]:
        found = engine.images.get(image_id)
        facts: dict[str, Any] = {"image": found, "tabs": image.TABS, "tab": word, "problem": None}
        facts["addresses"] = image.addresses(found.id)
        try:
            facts |= facts_of(engine, found)
        except UnderlayError as error:
            facts["problem"] = error  # shown instead of this tab; the other tabs still work
        return facts

    facts = await work_of(request).wait(work)  # large images, and registries, take their time
    problem = facts["problem"]
    status = problem.http_status if isinstance(problem, NotFound) else 200
    return await page(request, "failed.html" if problem else template, facts, status)


async def dockerfile(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/Dockerfile: download the reconstructed Dockerfile."""

    def work(engine: Engine) -> str:
        return engine.bases.dockerfile(f"sha256:{request.match_info['id']}").text

    text = await work_of(request).do(work, work_of(request).engine)
    headers = {"Content-Disposition": "attachment; filename=Dockerfile"}
    return web.Response(text=text, content_type="text/plain", headers=headers)


async def file(request: web.Request) -> web.StreamResponse:
    """GET /image/ID/file: download a file of an image, as an attachment: it may be an HTML page with scripts."""
    path = _path(request)

    def work(engine: Engine) -> bytes | None:
        return request.app[ROOTS].of(engine.images.get(f"sha256:{request.match_info['id']}")).read(path)

    data = await work_of(request).do(work, work_of(request).engine)
    if data is None:
        raise files.missing(path)
    name = quote_from_bytes(path.rpartition(b"/")[2], safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
    return web.Response(body=data, content_type="application/octet-stream", headers=headers)


ROUTES: tuple[Route, ...] = (
    ("GET", IMAGE, overview),
    ("GET", f"{IMAGE}/Dockerfile", dockerfile),
    ("GET", f"{IMAGE}/file", file),
    ("GET", IMAGE + "/layer/{number:[0-9]{1,4}}", layer),
    ("GET", f"{IMAGE}/compare", compare),
    ("GET", IMAGE + "/{tab}", tab),
)
