"""Registries: what one has, by its repositories and their tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from ...api.answers import work_of
from ...errors import UnderlayError
from ..registries import places, remote
from .parts import ASKING, LISTS, PULLS, page, page_number

if TYPE_CHECKING:
    from .parts import Route


async def browse(request: web.Request) -> web.StreamResponse:
    """GET /registry?name=…: the repositories and tags of a registry, a namespace or a repository."""
    name, wanted = request.query.get("name", "").strip(), request.query.get("tag", "")[:128]
    facts: dict[str, Any] = {"name": name[: places.LONGEST], "wanted": wanted, "place": None, "problem": None}
    facts["pulls"] = request.app[PULLS].all()
    status = 200
    if name:
        try:
            if remote.is_archive(name):
                return _to_image(name)
            place = places.parse(name)
            if place.reference is not None:
                return _to_image(place.reference.familiar)
            pages = page_number(request, "repositories"), page_number(request)
            engine, lists = work_of(request).engine, request.app[LISTS]
            facts |= await request.app[ASKING].ask(
                str(place), lambda opened: places.contents(engine, lists, place, pages, wanted, opened)
            )
        except UnderlayError as error:
            facts["problem"], status = error, error.http_status
    return await page(request, "registry.html", facts, status)


def _to_image(name: str) -> web.Response:
    return web.Response(status=303, headers={"Location": f"/remote?name={quote(name, safe='')}"})


ROUTES: tuple[Route, ...] = (("GET", "/registry", browse),)
