"""Rules applied to requests: which objects a request names, and whether a rule that allows its operation allows these."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp import web

from ...engine.containers.find import given_labels
from ...errors import InvalidInput
from ..answers import CONTAINER, EXECS, POLICY, RULES, work_of
from ..requests import pulls, query
from .policy import Forbidden, operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..answers import Handler
    from .rules import Rule

_MAKING_IMAGES = ("build", "commit")
_OF_CONTAINERS = ("containers.list", "containers.prune", "events")  # lists that labels restrict
_PREFIX = "/v{version}"
# Parameters of a build by which it gets nothing beyond itself; of all others a rule must be privileged.
_OF_BUILDS = frozenset(
    (
        *(
            "t",
            "dockerfile",
            "buildargs",
            "labels",
            "target",
            "nocache",
            "pull",
            "rm",
            "forcerm",
            "q",
            "platform",
            "version",
        ),
        *("memory", "memswap", "cpushares", "cpuperiod", "cpuquota", "cpusetcpus", "cpusetmems", "shmsize", "ulimits"),
        *("squash", "buildid", "extrahosts", "cachefrom", "networkmode"),
    )
)
_OF_UPDATES = frozenset(
    (
        *(
            "memory",
            "memoryswap",
            "memoryreservation",
            "cpushares",
            "cpuquota",
            "cpuperiod",
            "cpusetcpus",
            "cpusetmems",
        ),
        *("nanocpus", "pidslimit", "restartpolicy", "blkioweight"),
    )
)
# What the query of a request has when its client means nothing by a parameter.
_NOTHING = ("", "0", "null", "[]", "{}", "false")


@web.middleware
async def enforce(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what the server's rules do not allow. Raises Forbidden."""
    policy = request.app[POLICY]
    resource = request.match_info.route.resource
    if policy.everything or resource is None:
        return await handler(request)
    path = resource.canonical.removeprefix(_PREFIX)
    rules = policy.rules_for(request.method, path)
    if rules is not None:
        name = operation(request.method, path)
        fitting, reasons = [], []
        labels = await _labels(request, name)
        body = await _body(request) if name in ("networks.create", "volumes.create", "containers.update") else {}
        for rule in rules:
            reason = _refusal(rule, request, name, labels, body)
            if reason:
                reasons.append(reason)
            else:
                fitting.append(rule)
        if not fitting:
            raise Forbidden(f"the rules of this server do not allow {reasons[0]}")
        request[RULES] = fitting
        if name in _OF_CONTAINERS:
            request[query.DEMANDED] = _shared_labels(fitting)
    return await handler(request)


async def _labels(request: web.Request, name: str) -> Mapping[str, str] | None:
    """Return the labels that the container was given that a request names, None if it names none. Raises NotFound.

    From here on the request means this container by its id: its name may become another's before the request is whole.
    """
    kind = name.partition(".")[0]
    named = request.match_info.get("name", "") if kind == "containers" else ""
    if kind == "exec":
        named = request.app[EXECS].get(request.match_info["id"]).container
    elif kind == "commit":
        named = request.query.get("container", "")
    elif name in ("networks.connect", "networks.disconnect"):
        named = query.string(await _body(request), "container")
    if not named:
        return None
    found = await work_of(request).do(work_of(request).engine.containers.get, named.removeprefix("/"))
    if kind == "containers":
        request.match_info["name"] = found.id
    request[CONTAINER] = found.id
    return given_labels(found._row)


async def _body(request: web.Request) -> dict[str, object]:
    """Return the members of a request's body by their names in small letters: the routes ignore the case of names.

    Raises InvalidInput for two names that differ by case alone, of which only one would be looked at here.
    """
    members = await query.body(request)
    small = {name.lower(): value for name, value in members.items()}
    if len(small) != len(members):
        raise InvalidInput("request body: a member is given twice")
    return small


def _refusal(
    rule: Rule, request: web.Request, name: str, labels: Mapping[str, str] | None, body: Mapping[str, object]
) -> str:
    """Return the part of a request that a rule forbids, in words for the error; "" if the rule allows the request."""
    if labels is not None and not rule.allows_labels(labels):
        return f"{name} of a container without the label {_written(rule.labels)}"
    kind, _, action = name.partition(".")
    named = request.match_info.get("name", "")
    if rule.images is not None and (
        (kind in ("images", "distribution") and action != "list") or name in _MAKING_IMAGES
    ):
        names = _images(request, kind, action, named)
        refused = [image for image in names if not rule.allows_image(image)]
        if refused or (not names and name not in _MAKING_IMAGES):
            return f"{name} of {refused[0] if refused else 'images without a name'}"
        if name == "images.push" and not request.query.get("tag") and ":" not in named.rpartition("/")[2]:
            return "images.push of all tags"
        if name == "images.create" and request.query.get("fromImage") and pulls.wanted(request.query)[1]:
            return "images.create of all tags"
    if rule.privileged:
        return ""
    if kind == "networks" and named and not rule.allows_network(named):
        return f"{name} of {named}"
    if kind == "volumes" and named and not rule.allows_volume(named):
        return f"{name} of {named}"
    if name == "networks.create":
        return _refusal_of_network(rule, body)
    if name == "volumes.create":
        if body.get("driveropts"):
            return "options of a volume"
        return "" if rule.allows_volume(str(body.get("name") or "")) else f"the volume {body['name']}"
    if name == "images.create" and request.query.get("fromSrc", "-") not in ("", "-"):
        return "images from an address, which this host fetches"
    if name == "build":
        beyond = sorted(key for key, value in request.query.items() if key not in _OF_BUILDS and value not in _NOTHING)
        if beyond:
            return f"the parameter {beyond[0]} of a build"
    if name == "containers.update":
        beyond = sorted(key for key, value in body.items() if key not in _OF_UPDATES and value)
        if beyond:
            return f"an update of {beyond[0]}"
    if name == "build.prune" or (name == "volumes.prune" and not rule.allows_volume("*")):
        return name
    if name == "networks.prune" and not rule.allows_network("*"):
        return name
    if name == "build" and request.query.get("networkmode", "") not in ("", "default", "none", "bridge"):
        return f"builds with the network {request.query['networkmode']}"
    return ""


def _images(request: web.Request, kind: str, action: str, named: str) -> list[str]:
    """Return the names of images that a request is about."""
    asked = request.query
    if kind == "build":
        caches = query.parsed(asked["cachefrom"].encode(), "cachefrom") if asked.get("cachefrom") else []
        return [*filter(None, asked.getall("t", [])), *(map(str, caches) if isinstance(caches, list) else ())]
    if kind == "commit":
        repository = asked.get("repo", "")
        return [f"{repository}:{asked.get('tag') or 'latest'}"] if repository else []
    if action == "create":
        return [pulls.wanted(asked)[0]] if asked.get("fromImage") else []
    names = [named] if named else []
    if action == "push" and asked.get("tag"):
        names = [f"{named}:{asked['tag']}"]
    if action == "tag":
        names.append(f"{asked.get('repo', '')}:{asked.get('tag') or 'latest'}")
    return [*names, *asked.getall("names", [])]


def _refusal_of_network(rule: Rule, body: Mapping[str, object]) -> str:
    name = str(body.get("name") or "")
    if not rule.allows_network(name):
        return f"the network {name}"
    if body.get("driver") not in (None, "", "bridge", "default"):
        return f"networks of the driver {body['driver']}"
    if body.get("options"):
        return "options of a network"
    return _refusal_of_addresses(body.get("ipam"))


def _refusal_of_addresses(ipam: object) -> str:
    """Return what is wrong with the addresses of a network: those of others would no longer be reached from this host."""
    members = {str(key).lower(): value for key, value in ipam.items()} if isinstance(ipam, dict) else {}
    pools = members.get("config") or []
    for pool in pools if isinstance(pools, list) else [pools]:
        given = {str(key).lower(): value for key, value in pool.items()} if isinstance(pool, dict) else {"subnet": pool}
        try:
            private = ip_network(str(given.get("subnet", "")), strict=False).is_private
        except ValueError:
            private = False
        if not private:
            return f"the addresses {str(given.get('subnet'))[:60]}"
    return ""


def _written(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def _shared_labels(rules: Sequence[Rule]) -> dict[str, str]:
    """Return the labels that lists are restricted to: those of the first rule, none if one of several rules has none."""
    return dict(rules[0].labels) if all(rule.labels for rule in rules) else {}
