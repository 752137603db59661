"""Containers: create, list, inspect, start, stop and what else is done to them at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from ... import settings
from ...engine.containers.find import given_labels
from ...engine.filters import containers as filters
from ...errors import Conflict, InvalidInput, NotFound
from ..access import policy
from ..answers import LISTINGS, RULES, RUNS, answer, nothing, work_of
from ..requests import createbody, query
from ..streaming import streams

if TYPE_CHECKING:
    from ...engine.containers import Containers
    from ..answers import Route


def containers_of(request: web.Request) -> Containers:
    """Return the containers of the server's engine."""
    return work_of(request).engine.containers


async def _id(request: web.Request) -> str:
    """Return the id of the container that a path names. Raises NotFound."""
    found = await work_of(request).do(containers_of(request).get, request.match_info["name"])
    return found.id


async def create(request: web.Request) -> web.StreamResponse:
    """POST /containers/create."""
    body = await query.body(request)
    options = createbody.container_options(body, request.query.get("name", ""), request.query.get("platform", ""))
    if not options.log_driver and settings.value("log-driver") == "local":
        options = options.changed(log_driver="json-file")  # docker's libraries read no other's logs
    options = policy.check_create(request.get(RULES), options)
    engine = work_of(request).engine

    def work() -> str:
        engine._launcher.get_ready()  # it will be started soon
        try:
            if createbody.keeps_command(body):
                image = engine.images.get(options.image, options.platform).config.get("config") or {}
                return engine.containers.create(options.changed(command=image.get("Cmd"))).id
            return engine.containers.create(options).id
        except NotFound as error:
            engine.images.get(options.image, options.platform)
            # A network, say. Docker's client would take "not found" for the image, and pull that.
            raise InvalidInput(error.message, error.hint) from None

    return answer({"Id": await work_of(request).do(work), "Warnings": []}, 201)


async def list_(request: web.Request) -> web.StreamResponse:
    """GET /containers/json."""
    chosen = query.pairs(query.filters(request, filters.KEYS))
    for key, value in chosen:
        filters.check(key, value)
    limit = query.number(request, "limit")
    every = query.flag(request, "all") or limit > 0 or any(key in ("status", "exited") for key, _ in chosen)
    size = query.flag(request, "size")
    engine, listings = work_of(request).engine, request.app[LISTINGS]
    demanded = query.demanded(request).items()

    def work() -> web.StreamResponse:
        wanted = filters.Filters(engine, chosen)
        items = [item for item in listings.every(every) if wanted.passes(item)]
        if demanded:
            items = [item for item in items if demanded <= given_labels(item.row).items()]
        return answer([listings.summary(item, size) for item in (items[:limit] if limit > 0 else items)])

    return await work_of(request).do(work)


async def inspect(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/json."""
    facts = await work_of(request).do(
        containers_of(request).inspect, request.match_info["name"], query.flag(request, "size")
    )
    return answer(facts)


async def start(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/start."""
    found = await work_of(request).do(containers_of(request).get, request.match_info["name"])
    # Should the client go away meanwhile: what has begun to start has to be attended.
    starting = work_of(request).keep(request.app[RUNS].start(found.id, bool(found._row.intent["remove"])))
    started = await asyncio.shield(starting)
    return nothing(204 if started else 304)


async def stop(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/stop: waits as long as the container takes."""
    containers, name = containers_of(request), request.match_info["name"]
    if not await work_of(request).do(containers.is_running, name):
        return nothing(304)
    timeout = query.number(request, "t") if "t" in request.query else None
    signal = request.query.get("signal", "")
    await work_of(request).wait(lambda: containers.stop(name, timeout, signal))
    return nothing()


async def restart(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/restart."""
    containers, name = containers_of(request), request.match_info["name"]
    timeout = query.number(request, "t") if "t" in request.query else None
    signal = request.query.get("signal", "")
    await work_of(request).wait(lambda: containers.restart(name, timeout, signal))
    return nothing()


async def kill(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/kill."""
    signal = request.query.get("signal", "") or "KILL"
    await work_of(request).do(containers_of(request).kill, request.match_info["name"], signal)
    return nothing()


async def pause(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/pause."""
    await work_of(request).do(containers_of(request).pause, request.match_info["name"])
    return nothing()


async def unpause(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/unpause."""
    await work_of(request).do(containers_of(request).unpause, request.match_info["name"])
    return nothing()


async def rename(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/rename."""
    await work_of(request).do(
        containers_of(request).rename, request.match_info["name"], request.query.get("name", "").removeprefix("/")
    )
    return nothing()


async def update(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/update."""
    options = createbody.update_options(await query.body(request))
    await work_of(request).do(containers_of(request).update, request.match_info["name"], options)
    return answer({"Warnings": []})


async def remove(request: web.Request) -> web.StreamResponse:
    """DELETE /containers/{name}."""
    containers, name = containers_of(request), request.match_info["name"]
    if query.flag(request, "link"):
        await work_of(request).do(containers.remove_link, name)
        return nothing()
    force, volumes = query.flag(request, "force"), query.flag(request, "v")
    await work_of(request).wait(lambda: containers.remove(name, force, volumes))
    return nothing()


async def resize(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/resize: of a container that is about to start, too."""
    rows, columns = streams.asked_size(request)
    container_id = await _id(request)
    try:
        await work_of(request).do(containers_of(request).resize, container_id, rows, columns)
    except Conflict:
        request.app[RUNS].resize(container_id, rows, columns)
    return nothing(200)


async def top(request: web.Request) -> web.StreamResponse:
    """GET /containers/{name}/top."""
    words = request.query.get("ps_args", "").split()
    found = await work_of(request).do(containers_of(request).top, request.match_info["name"], words)
    return answer({"Titles": found.titles, "Processes": found.rows})


async def prune(request: web.Request) -> web.StreamResponse:
    """POST /containers/prune."""
    chosen = query.filters(request, ("until", "label", "label!"))
    until, labels = query.pruned(chosen)
    pruned = await work_of(request).do(containers_of(request).prune, until, labels, query.demanded(request))
    return answer({"ContainersDeleted": [*pruned.removed], "SpaceReclaimed": pruned.reclaimed})


async def wait(request: web.Request) -> web.StreamResponse:
    """POST /containers/{name}/wait: the head of the answer goes out at once, since docker's client starts it after that."""
    condition = request.query.get("condition", "") or "not-running"
    if condition not in ("not-running", "next-exit", "removed"):
        raise InvalidInput(f"invalid condition: {condition!r}")
    container_id, runs = await _id(request), request.app[RUNS]
    waits = {"not-running": runs.exited, "next-exit": runs.next_exit, "removed": runs.removed}
    # The wait begins before the head goes out: what the client does next may be the start.
    waiting = asyncio.ensure_future(waits[condition](container_id))
    await asyncio.sleep(0)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await response.prepare(request)
        code, error = await waiting, None
    except NotFound as problem:
        code, error = -1, {"Message": problem.message}
    finally:
        waiting.cancel()
    await response.write(answer({"StatusCode": code, **({"Error": error} if error else {})}).body)  # type: ignore[arg-type]
    return response


_NAME = "/containers/{name}"
ROUTES: tuple[Route, ...] = (
    ("POST", "/containers/create", create),
    ("POST", "/containers/prune", prune),
    ("GET", "/containers/json", list_),
    ("GET", _NAME + "/json", inspect),
    ("GET", _NAME + "/top", top),
    ("POST", _NAME + "/start", start),
    ("POST", _NAME + "/stop", stop),
    ("POST", _NAME + "/restart", restart),
    ("POST", _NAME + "/kill", kill),
    ("POST", _NAME + "/pause", pause),
    ("POST", _NAME + "/unpause", unpause),
    ("POST", _NAME + "/rename", rename),
    ("POST", _NAME + "/update", update),
    ("POST", _NAME + "/resize", resize),
    ("POST", _NAME + "/wait", wait),
    ("DELETE", _NAME, remove),
)
