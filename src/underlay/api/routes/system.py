"""The system: ping, version, information, events, disk usage, and what there is only with swarm."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ... import __version__
from ...engine.containers.find import find, given_labels, listed
from ...errors import NotFound
from ...oci.platform import host
from .. import summaries
from ..answers import NEWEST, OLDEST, answer, problem, version_of, work_of
from ..requests import query
from ..streaming.bodies import in_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...engine.engine import Engine
    from ...journal import Entry
    from ..answers import Route

_FILTERS = ("type", "event", "label", "scope", "container", "image", "network", "volume", "daemon", "plugin")
_WITHOUT_ID = (1, 52)  # events have `status`, `id` and `from` below this version


async def ping(request: web.Request) -> web.StreamResponse:
    """GET and HEAD /_ping."""
    headers = {"Cache-Control": "no-cache, no-store, must-revalidate", "Pragma": "no-cache"}
    return web.Response(text="OK", headers=headers)


async def version(request: web.Request) -> web.StreamResponse:
    """GET /version."""
    system = os.uname()
    newest, oldest = (".".join(map(str, each)) for each in (NEWEST, OLDEST))
    facts = {
        "Version": __version__,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": host().architecture,
        "KernelVersion": system.release,
    }
    details = {key: value for key, value in facts.items() if key != "Version"}
    # Where builds of docker's plug-in go, which are done beside the server.
    paths = work_of(request).engine._store.paths
    places = {"Root": paths.root, "State": paths.state}
    engine = {"Name": "Engine", "Version": __version__, "Details": {**details, "Experimental": "false", **places}}
    return answer({"Platform": {"Name": "underlay"}, "Components": [engine], **facts, "Experimental": False})


async def info(request: web.Request) -> web.StreamResponse:
    """GET /info."""
    return answer(await work_of(request).do(work_of(request).engine.system.info))


async def events(request: web.Request) -> web.StreamResponse:
    """GET /events."""
    work = work_of(request)
    chosen = query.filters(request, _FILTERS)
    for absent in ("daemon", "plugin"):
        chosen.pop(absent, None)
    demanded = query.demanded(request)
    if demanded:
        chosen["label"] = [*chosen.get("label", []), *(f"{name}={value}" for name, value in demanded.items())]
    now = time.time()
    since, until = query.time(request, "since"), query.time(request, "until")
    following = not until or until > now
    begin = since or (0.0 if not following else now)

    def make(stopped: Callable[[], bool]) -> Iterator[Entry]:
        return work.engine.system.events(begin, until, chosen, following, stopped)

    entries = work.each(make)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    in_chunks(request, response)
    await response.prepare(request)
    try:
        async for entry in entries:
            if demanded and entry["type"] == "container" and not await work.do(_may_see, work.engine, entry, demanded):
                continue
            await response.write(answer(shown(entry, version_of(request) < _WITHOUT_ID)).body)  # type: ignore[arg-type]
    finally:
        await entries.aclose()  # type: ignore[attr-defined]
    return response


def _may_see(engine: Engine, entry: Entry, demanded: dict[str, str]) -> bool:
    """Return whether a container was given labels when it was made; of one that is gone all labels count."""
    try:
        return demanded.items() <= given_labels(find(engine._store, entry["id"])).items()
    except NotFound:
        return True


def shown(entry: Entry, with_id: bool) -> dict[str, Any]:
    """Return an entry of the journal as docker's clients read it."""
    attributes = entry["attributes"]
    before: dict[str, Any] = {}
    if with_id and entry["type"] == "container":
        before = {"status": entry["action"], "id": entry["id"], "from": attributes.get("image", "")}
    return {
        **before,
        "Type": entry["type"],
        "Action": entry["action"],
        "Actor": {"ID": entry["id"], "Attributes": attributes},
        "scope": "local",
        "time": entry["time"] // 10**9,
        "timeNano": entry["time"],
    }


async def df(request: web.Request) -> web.StreamResponse:
    """GET /system/df."""
    from .images import summaries_of
    from .volumes import with_usage

    engine = work_of(request).engine

    def work() -> dict[str, Any]:
        images = summaries_of(engine)
        usage = engine.system.image_usage()
        for image in images:
            known = usage.get(image["Id"])
            if known is not None:
                image["SharedSize"], image["Containers"] = known.shared, known.containers
        return {
            "LayersSize": sum(each.size for each in engine.system.disk_usage() if each.kind == "Images"),
            "Images": images,
            "Containers": [summaries.container(engine, item, True) for item in listed(engine._store, True)],
            "Volumes": with_usage(engine),
            "BuildCache": [],
            "BuilderSize": sum(each.size for each in engine.system.disk_usage() if each.kind == "Build Cache"),
        }

    return answer(await work_of(request).do(work))


async def plugins(request: web.Request) -> web.StreamResponse:
    """GET /plugins: there are none."""
    return answer([])


async def swarm(request: web.Request) -> web.StreamResponse:
    """All that needs a swarm."""
    return problem(
        'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
        "and try again.",
        503,
    )


async def buildkit(request: web.Request) -> web.StreamResponse:
    """All that is BuildKit's own protocol."""
    return problem(
        "BuildKit's protocol is not spoken here: build with underlay's docker-buildx (`underlay serve --install`), or with "
        "DOCKER_BUILDKIT=0",
        501,
    )


_OF_SWARM = ("swarm", "services", "tasks", "nodes", "secrets", "configs")
ROUTES: tuple[Route, ...] = (
    ("HEAD", "/_ping", ping),
    ("GET", "/_ping", ping),
    ("GET", "/version", version),
    ("GET", "/info", info),
    ("GET", "/events", events),
    ("GET", "/system/df", df),
    ("GET", "/plugins", plugins),
    *(("POST", path, buildkit) for path in ("/grpc", "/session")),
    *(("*", f"/{word}{rest}", swarm) for word in _OF_SWARM for rest in ("", "/{rest:.*}")),
)
