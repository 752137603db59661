"""Networks: create, list, inspect, remove, prune, connect, disconnect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...engine.filters import networks as filters
from ...engine.filters.moments import moment
from ...errors import InvalidInput, NotFound, Unsupported
from ..answers import CONTAINER, answer, nothing, problem, work_of
from ..requests import createbody, query
from ..requests.fields import Fields

if TYPE_CHECKING:
    from ...engine.networks import Networks
    from ..answers import Route

_MODES = ("host", "none")
_PREDEFINED = (*_MODES, "bridge", "default")
# What docker shows, too, and nobody knows of predefined networks and those of CNI; the time is docker's way to say so.
_MISSING = {
    "Created": "0001-01-01T00:00:00Z",
    "EnableIPv4": True,
    "EnableIPv6": False,
    "IPAM": {"Driver": "default", "Options": {}, "Config": []},
    "ConfigFrom": {"Network": ""},
    "ConfigOnly": False,
}


def _networks_of(request: web.Request) -> Networks:
    return work_of(request).engine.networks


def _shown(networks: Networks, name: str) -> dict[str, Any]:
    """Return what docker shows of a network. Raises NotFound, Unsupported."""
    facts = networks.inspect(name)
    # Docker shows no name of an interface that it has chosen: clients take an option that they have not given for a
    # change, and want the network made anew.
    chosen = f"ul-{facts['Id'][:12]}"
    facts["Options"] = {key: value for key, value in (facts.get("Options") or {}).items() if value != chosen}
    facts["Labels"] = facts.get("Labels") or {}
    facts["Containers"] = facts.get("Containers") or {}
    return {**_MISSING, **facts}


async def list_(request: web.Request) -> web.StreamResponse:
    """GET /networks."""
    chosen = query.filters(request, filters.KEYS)
    for key, value in query.pairs(chosen):
        filters.check(key, value)
    chosen = {key: values for key, values in chosen.items() if values}
    networks = _networks_of(request)

    def work() -> list[dict[str, Any]]:
        plugins = networks.of_plugins()
        used = networks.in_use() | {network_id for _, network_id in plugins}  # who uses those is unknown
        found = []
        for name in sorted([*_MODES, *(name for name, _ in plugins), *(network.name for network in networks.list())]):
            try:
                facts = _shown(networks, name)
            except NotFound:
                continue  # removed since
            if filters.passes(chosen, facts["Name"], facts["Id"], facts["Driver"], facts["Labels"], used):
                found.append({**facts, "Containers": {}})
        return found

    return answer(await work_of(request).do(work))


async def inspect(request: web.Request) -> web.StreamResponse:
    """GET /networks/{id}."""
    name = request.match_info["name"]
    if request.query.get("scope", "") not in ("", "local"):
        raise NotFound(f"network {name} not found")
    return answer(await work_of(request).do(_shown, _networks_of(request), name))


async def create(request: web.Request) -> web.StreamResponse:
    """POST /networks/create."""
    body = Fields(await query.body(request))
    name, scope, ipam = body.text("Name"), body.text("Scope"), body.child("IPAM")
    if name in _PREDEFINED:
        return problem(f"operation is not permitted on predefined {name} network", 403)
    body.refuse("Ingress", "ConfigOnly")
    body.child("ConfigFrom").refuse("Network")
    if scope not in ("", "local"):
        raise Unsupported(f"scope {scope!r} is not supported", "networks are those of one host: local")
    if ipam.text("Driver") not in ("", "default"):
        raise Unsupported(f"IPAM driver {ipam.text('Driver')!r} is not supported", "default is the only one")
    ipam.refuse("Options")
    ranges: dict[str, list[str]] = {"Subnet": [], "Gateway": [], "IPRange": []}
    reserved: dict[str, str] = {}
    for pool in ipam.children("Config"):
        for member, texts in ranges.items():
            texts += [pool.text(member)] if pool.text(member) else []
        # A client may send what `inspect` shows.
        reserved |= pool.map("AuxiliaryAddresses") or pool.map("AuxAddress")
    ipv4 = body.choice("EnableIPv4")
    made = await work_of(request).do(
        _networks_of(request).create,
        name,
        body.text("Driver") or "bridge",
        ranges["Subnet"],
        ranges["Gateway"],
        ranges["IPRange"],
        body.flag("EnableIPv6"),
        body.flag("Internal"),
        body.flag("Attachable"),
        body.map("Labels"),
        body.map("Options"),
        True if ipv4 is None else ipv4,
        reserved,
    )
    return answer({"Id": made.id, "Warning": ""}, 201)


async def remove(request: web.Request) -> web.StreamResponse:
    """DELETE /networks/{id}."""
    name = request.match_info["name"]
    if name in _PREDEFINED:
        return problem(f"{name} is a pre-defined network and cannot be removed", 403)
    await work_of(request).do(_networks_of(request).remove, name)
    return nothing()


async def connect(request: web.Request) -> web.StreamResponse:
    """POST /networks/{id}/connect."""
    name, body = request.match_info["name"], Fields(await query.body(request))
    if name in _MODES:
        return problem(f"container cannot be connected to {name} network: only when it is created", 403)
    endpoint = body.child("EndpointConfig")
    endpoint.refuse("Links", "MacAddress")
    asked = createbody.endpoint_of(endpoint)
    await work_of(request).do(
        _networks_of(request).connect, name, _container(request, body), asked["ip"], asked["ip6"], asked["alias"]
    )
    return nothing(200)


async def disconnect(request: web.Request) -> web.StreamResponse:
    """POST /networks/{id}/disconnect."""
    name, body = request.match_info["name"], Fields(await query.body(request))
    if name in _MODES:
        return problem(f"container cannot be disconnected from {name} network", 403)
    await work_of(request).do(_networks_of(request).disconnect, name, _container(request, body), body.flag("Force"))
    return nothing(200)


def _container(request: web.Request, body: Fields) -> str:
    if CONTAINER in request:
        return str(request[CONTAINER])  # that of the name has been looked at, and may be another one's by now
    name = body.text("Container").removeprefix("/")
    if not name:
        raise InvalidInput("invalid Container: the name or id of a container is needed")
    return name


async def prune(request: web.Request) -> web.StreamResponse:
    """POST /networks/prune."""
    chosen = query.filters(request, ("label", "label!", "until"))
    labels = chosen.get("label", []) + ["!" + text for text in chosen.get("label!", [])]
    moments = [moment(text) for text in chosen.get("until", [])]
    pruned = await work_of(request).do(_networks_of(request).prune, min(moments, default=None), labels)
    return answer({"NetworksDeleted": pruned.removed})


ROUTES: tuple[Route, ...] = (
    ("GET", "/networks", list_),
    ("POST", "/networks/create", create),
    ("POST", "/networks/prune", prune),
    ("GET", "/networks/{name}", inspect),
    ("DELETE", "/networks/{name}", remove),
    ("POST", "/networks/{name}/connect", connect),
    ("POST", "/networks/{name}/disconnect", disconnect),
)
