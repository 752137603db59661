"""Pulls: begin one, see how far it is, stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ...errors import NotFound, UnderlayError
from ...human import whole
from ..registries import places, remote
from .parts import PULLS, page, see

if TYPE_CHECKING:
    from .parts import Route


async def begin(request: web.Request) -> web.StreamResponse:
    """POST /pull with `name` and `platform`: begin to pull an image, or to load an archive.

    A script of the page gets the progress to put in the form's place; others are sent to the page of the pull.
    """
    form = await request.post()
    by_script = request.headers.get("HX-Request") == "true"
    try:
        name = remote.normal(str(form.get("name", ""))[: places.LONGEST])
        pull = request.app[PULLS].begin(name, str(form.get("platform", "")).strip())
    except UnderlayError as error:
        if not by_script:
            raise
        return await page(request, "pulling.html", {"pull": None, "problem": error})
    if by_script:
        return await page(request, "pulling.html", {"pull": pull})
    return see(f"/pull/{pull.number}")


async def one(request: web.Request) -> web.StreamResponse:
    """GET /pull/NUMBER: the page of a pull."""
    pull = request.app[PULLS].get(whole(request.match_info["number"]))
    return await page(request, "pull.html", {"pull": pull})


async def progress(request: web.Request) -> web.StreamResponse:
    """GET /pull/NUMBER/progress: the progress alone; an open page requests it every second."""
    try:
        pull = request.app[PULLS].get(whole(request.match_info["number"]))
    except NotFound as error:  # in place of what asks, which ends the asking
        return await page(request, "pulling.html", {"pull": None, "problem": error})
    return await page(request, "pulling.html", {"pull": pull})


async def stop(request: web.Request) -> web.StreamResponse:
    """POST /pull/NUMBER/stop: stop a pull; a script of the page gets what takes the place of the progress."""
    pull = request.app[PULLS].get(whole(request.match_info["number"]))
    pull.stop()
    if request.headers.get("HX-Request") == "true":
        return await page(request, "pulling.html", {"pull": pull})
    return see(f"/pull/{pull.number}")


ROUTES: tuple[Route, ...] = (
    ("POST", "/pull", begin),
    ("POST", "/pull/{number:[0-9]{1,9}}/stop", stop),
    ("GET", "/pull/{number:[0-9]{1,9}}", one),
    ("GET", "/pull/{number:[0-9]{1,9}}/progress", progress),
)
