"""Containers: the list, and the page of one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...api.answers import work_of
from .. import containers, resources
from ..visitors import NONCE
from .parts import page, see

if TYPE_CHECKING:
    from .parts import Route

CONTAINER = "/container/{id:[0-9a-f]{64}}"


async def all_containers(request: web.Request) -> web.StreamResponse:
    """GET /containers: the running containers, or all with `all=1`."""
    return await page(request, "containers.html", await _containers(request))


async def container_rows(request: web.Request) -> web.StreamResponse:
    """GET /containers/rows: the table of containers alone; an open page requests it every two seconds."""
    return await page(request, "containerrows.html", await _containers(request))


async def _containers(request: web.Request) -> dict[str, Any]:
    everything = request.query.get("all", "") == "1"
    return await work_of(request).do(containers.listing, work_of(request).engine, everything)


async def container(request: web.Request) -> web.StreamResponse:
    """GET /container/ID: the page of a container."""
    work, name = work_of(request), request.match_info["id"]
    request[NONCE] = secrets.token_urlsafe(16)  # the terminal makes style sheets
    facts = await work.do(containers.container, work.engine, name)
    return await page(request, "container.html", {**facts, "nonce": request[NONCE]})


async def processes(request: web.Request) -> web.StreamResponse:
    """GET /container/ID/processes: the table of processes alone; an open page requests it every five seconds."""
    work, name = work_of(request), request.match_info["id"]
    return await page(request, "processes.html", await work.do(containers.processes, work.engine, name))


async def act(request: web.Request) -> web.StreamResponse:
    """POST /container/ID/ACTION: start, stop or remove a container; see `containers.ACTIONS`."""
    work, name, action = work_of(request), request.match_info["id"], request.match_info["action"]
    if action not in containers.ACTIONS:
        raise web.HTTPNotFound
    await work.wait(lambda: containers.ACTIONS[action](work.engine.containers, name))  # stopping may take its time
    return see("/containers" if action == containers.REMOVE else f"/container/{name}")


async def networks(request: web.Request) -> web.StreamResponse:
    """GET /networks: the networks, and which containers are in each."""
    return await page(request, "networks.html", await work_of(request).do(resources.networks, work_of(request).engine))


async def volumes(request: web.Request) -> web.StreamResponse:
    """GET /volumes: the volumes, and which containers use each."""
    return await page(request, "volumes.html", await work_of(request).do(resources.volumes, work_of(request).engine))


ROUTES: tuple[Route, ...] = (
    ("GET", "/containers", all_containers),
    ("GET", "/containers/rows", container_rows),
    ("GET", CONTAINER, container),
    ("GET", f"{CONTAINER}/processes", processes),
    ("POST", f"{CONTAINER}/{{action}}", act),
    ("GET", "/networks", networks),
    ("GET", "/volumes", volumes),
)
