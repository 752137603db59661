"""Containers: the list, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...api.answers import work_of
from .. import containers
from .parts import page

if TYPE_CHECKING:
    from aiohttp import web

    from .parts import Route

_CONTAINER = "/container/{id:[0-9a-f]{64}}"


async def all_containers(request: web.Request) -> web.StreamResponse:
    """GET /containers: the running containers, or all with `all=1`."""
    return await page(request, "containers.html", await _containers(request))


async def container_rows(request: web.Request) -> web.StreamResponse:
    """GET /containers/rows: the list alone, with which an open page refreshes itself."""
    return await page(request, "containerrows.html", await _containers(request))


async def _containers(request: web.Request) -> dict[str, Any]:
    everything = request.query.get("all", "") == "1"
    return await work_of(request).do(containers.listing, work_of(request).engine, everything)


async def container(request: web.Request) -> web.StreamResponse:
    """GET /container/ID: the page of a container."""
    work, name = work_of(request), request.match_info["id"]
    return await page(request, "container.html", await work.do(containers.container, work.engine, name))


async def container_log(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/log: the end of the log alone, with which an open page refreshes itself."""
    work, name = work_of(request), request.match_info["id"]
    return await page(request, "log.html", await work.do(containers.log, work.engine, name))


ROUTES: tuple[Route, ...] = (
    ("GET", "/containers", all_containers),
    ("GET", "/containers/rows", container_rows),
    ("GET", _CONTAINER, container),
    ("GET", f"{_CONTAINER}/log", container_log),
)
