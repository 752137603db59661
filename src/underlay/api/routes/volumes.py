"""Volumes: create, list, inspect, remove, prune."""

from __future__ import annotations

import collections
import os
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ... import trees
from ...engine.containers.specification import mount_flags
from ...engine.filters import volumes as volume_filters
from ...errors import InvalidInput, NotFound
from ...store.rows import containers
from ..answers import answer, nothing, version_of, work_of
from ..requests import query
from ..requests.fields import Fields

if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ...engine.volumes import Volumes
    from ..answers import Route

_ANONYMOUS_ONLY = (1, 42)  # the version of the API since which a prune leaves named volumes
_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def _volumes_of(request: web.Request) -> Volumes:
    return work_of(request).engine.volumes


def _shown(volumes: Volumes, name: str) -> dict[str, Any]:
    """Return what docker shows of a volume. Raises NotFound."""
    facts = volumes.inspect(name)
    return {**facts, "Labels": facts["Labels"] or {}, "Options": facts["Options"] or {}}


def with_usage(engine: Engine) -> list[dict[str, Any]]:
    """Return all volumes with their sizes in bytes, and the numbers of containers that have them."""
    counts = collections.Counter(
        name
        for row in containers.every(engine._store.meta)
        for name in {mount["Name"] for mount in row.intent["mounts"] if mount["Type"] == "volume"}
    )
    found = []
    for volume in engine.volumes.list():
        try:
            facts = _shown(engine.volumes, volume.name)
            size = trees.size(os.path.dirname(facts["Mountpoint"]))
        except (NotFound, FileNotFoundError):
            continue  # removed since
        found.append({**facts, "UsageData": {"Size": size, "RefCount": counts[volume.name]}})
    return found


async def list_(request: web.Request) -> web.StreamResponse:
    """GET /volumes."""
    chosen = query.filters(request, volume_filters.KEYS)
    volumes = _volumes_of(request)

    def work() -> list[dict[str, Any]]:
        found = []
        for volume in volume_filters.listed(volumes, chosen):
            try:
                found.append(_shown(volumes, volume.name))
            except NotFound:
                pass  # removed since
        return found

    return answer({"Volumes": await work_of(request).do(work), "Warnings": []})


async def inspect(request: web.Request) -> web.StreamResponse:
    """GET /volumes/{name}."""
    return answer(await work_of(request).do(_shown, _volumes_of(request), request.match_info["name"]))


async def create(request: web.Request) -> web.StreamResponse:
    """POST /volumes/create: a volume that is there stays as it is."""
    body = Fields(await query.body(request))
    body.refuse("ClusterVolumeSpec")
    mount_flags.check_driver(body.text("Driver"))
    name, labels, options = body.text("Name"), body.map("Labels"), body.map("DriverOpts")
    volumes = _volumes_of(request)

    def work() -> dict[str, Any]:
        return _shown(volumes, volumes.create(name, labels, options))

    return answer(await work_of(request).do(work), 201)


async def remove(request: web.Request) -> web.StreamResponse:
    """DELETE /volumes/{name}: with `force` one that is not there is as good as removed."""
    try:
        await work_of(request).do(_volumes_of(request).remove, request.match_info["name"])
    except NotFound:
        if not query.flag(request, "force"):
            raise
    return nothing()


async def prune(request: web.Request) -> web.StreamResponse:
    """POST /volumes/prune."""
    chosen = query.filters(request, ("all", "label", "label!"))
    every = version_of(request) < _ANONYMOUS_ONLY
    for text in chosen.get("all", []):
        if text.lower() not in _BOOLEANS:
            raise InvalidInput(f"invalid filter 'all={text}'", "use all=true or all=false")
        every = every or _BOOLEANS[text.lower()]
    labels = chosen.get("label", []) + ["!" + text for text in chosen.get("label!", [])]
    pruned = await work_of(request).do(_volumes_of(request).prune, every, labels)
    return answer({"VolumesDeleted": pruned.removed, "SpaceReclaimed": pruned.reclaimed})


ROUTES: tuple[Route, ...] = (
    ("GET", "/volumes", list_),
    ("POST", "/volumes/create", create),
    ("POST", "/volumes/prune", prune),
    ("GET", "/volumes/{name}", inspect),
    ("DELETE", "/volumes/{name}", remove),
)
