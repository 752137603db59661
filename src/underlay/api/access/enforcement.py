"""Rules applied to requests: which objects a request names, and whether a rule that allows its operation allows these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from ...errors import InvalidInput
from ..answers import EXECS, POLICY, RULES, work_of
from ..requests import query
from .policy import Forbidden, operation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..answers import Handler
    from .rules import Rule

_OF_CONTAINERS = ("containers.list", "containers.prune", "events")  # lists that labels restrict
_PREFIX = "/v{version}"


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
        body = await _body(request) if name in ("networks.create", "volumes.create") else {}
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
            request[query.DEMANDED] = labels_of(fitting)
    return await handler(request)


async def _labels(request: web.Request, name: str) -> Mapping[str, str] | None:
    """Return the labels of the container that a request names, None if it names none. Raises NotFound."""
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
    return (await work_of(request).do(work_of(request).engine.containers.get, named)).labels


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
    if rule.labels and name in ("containers.prune", "events") and "label" in request.query.get("filters", ""):
        return f"filters by label of {name}"
    if rule.labels and name == "containers.prune" and len(rule.labels) > 1:
        return "containers.prune by more than one label"
    kind, _, action = name.partition(".")
    named = request.match_info.get("name", "")
    if kind == "images" and rule.images is not None and action != "list":
        names = _images(request, action, named)
        refused = [image for image in names if not rule.allows_image(image)]
        if not names or refused:
            return f"{name} of {refused[0] if refused else 'images without a name'}"
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
    if name == "build" and request.query.get("remote"):
        return "builds of an address, which this host fetches"
    if name == "build" and request.query.get("networkmode", "") not in ("", "default", "none", "bridge"):
        return f"builds with the network {request.query['networkmode']}"
    return ""


def _images(request: web.Request, action: str, named: str) -> list[str]:
    """Return the names of images that a request is about."""
    if action == "create":
        image, tag = request.query.get("fromImage", ""), request.query.get("tag", "")
        separator = "@" if tag.startswith("sha256:") else ":"
        return [f"{image}{separator}{tag}" if image and tag else image] if image else []
    names = [named] if named else []
    if action == "push" and request.query.get("tag"):
        names = [f"{named}:{request.query['tag']}"]
    if action == "tag":
        names.append(f"{request.query.get('repo', '')}:{request.query.get('tag') or 'latest'}")
    return [*names, *request.query.getall("names", [])]


def _refusal_of_network(rule: Rule, body: Mapping[str, object]) -> str:
    name = str(body.get("name") or "")
    if not rule.allows_network(name):
        return f"the network {name}"
    if body.get("driver") not in (None, "", "bridge", "default"):
        return f"networks of the driver {body['driver']}"
    return "options of a network" if body.get("options") else ""


def _written(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in labels.items())


def labels_of(rules: Sequence[Rule] | None) -> list[str]:
    """Return the labels that lists are restricted to: those of the rule, none if one of several rules has none."""
    if not rules or not all(rule.labels for rule in rules):
        return []
    return [f"{name}={value}" for name, value in rules[0].labels.items()]
