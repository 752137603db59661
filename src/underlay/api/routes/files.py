"""Files of containers: copied out and in as tar, exported, compared with the image."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

from aiohttp import web

from ...errors import InvalidInput
from ...human import rfc3339
from ..answers import answer, file_mode, nothing, work_of
from ..streaming import bodies
from ..streaming.spooling import spooled
from .containers import containers_of

if TYPE_CHECKING:
    from ..answers import Route

_CHANGES = {"C": 0, "A": 1, "D": 2}


async def _facts(request: web.Request) -> tuple[str, dict[str, str]]:
    """Return the path asked for, and the header that says what is there (Engine API, ContainerArchiveInfo)."""
    path = request.query.get("path", "")
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    found = await work_of(request).do(containers_of(request).look, request.match_info["name"], path)
    facts = {
        "name": found["name"],
        "size": found["size"],
        "mode": file_mode(found["mode"]),
        "mtime": rfc3339(found["mtime"]),
        "linkTarget": found["link"],
    }
    return path, {"X-Docker-Container-Path-Stat": b64encode(json.dumps(facts).encode("utf-8", "replace")).decode()}


async def look(request: web.Request) -> web.StreamResponse:
    """HEAD /containers/{name}/archive."""
    _, headers = await _facts(request)
    return web.Response(headers=headers)


async def out(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/archive."""
    path, headers = await _facts(request)
    containers, name = containers_of(request), request.match_info["name"]
    headers |= {"Content-Type": "application/x-tar"}
    return await bodies.sent(
        request, work_of(request), lambda fd: containers.copy_out(name, path, fd, archive=True), headers
    )


async def into(request: web.Request) -> web.StreamResponse:
    """PUT /containers/{name}/archive: a tar, as it is or compressed, goes into a directory."""
    path = request.query.get("path", "")
    if not path:
        raise InvalidInput("bad parameter: path cannot be empty")
    containers, name = containers_of(request), request.match_info["name"]

    # Whole before it is read: the files of a stopped container are placed by a child, which would hold a pipe open.
    with await spooled(request) as file:
        await work_of(request).do(containers.copy_in, name, file, path, archive=True)
    return nothing(200)


async def export(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/export."""
    containers, name = containers_of(request), request.match_info["name"]
    await work_of(request).do(containers.get, name)
    headers = {"Content-Type": "application/octet-stream"}
    return await bodies.sent(request, work_of(request), lambda fd: containers.export(name, fd), headers)


async def changes(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/changes."""
    found = await work_of(request).do(containers_of(request).diff, request.match_info["name"])
    return answer([{"Path": path, "Kind": _CHANGES[kind]} for kind, path in found])


_NAME = "/containers/{name}"
ROUTES: tuple[Route, ...] = (
    ("HEAD", _NAME + "/archive", look),
    ("GET", _NAME + "/archive", out),
    ("PUT", _NAME + "/archive", into),
    ("GET", _NAME + "/export", export),
    ("GET", _NAME + "/changes", changes),
)
