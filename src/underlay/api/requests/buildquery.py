"""What a request for a build asks for (Engine API, ImageBuild), as the engine's request."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ...builder.context import git
from ...builder.request import BuildRequest, CacheStore
from ...errors import InvalidInput, Unsupported
from ...oci import reference as references
from . import query

if TYPE_CHECKING:
    from aiohttp import web

# Numbers and words that limit what steps may use, by the options of a container.
_NUMBERS = {
    "memory": "memory",
    "memswap": "memory_swap",
    "cpushares": "cpu_shares",
    "cpuperiod": "cpu_period",
    "cpuquota": "cpu_quota",
}
_WORDS = {"cpusetcpus": "cpuset_cpus", "cpusetmems": "cpuset_mems", "cgroupparent": "cgroup_parent"}


def requested(request: web.Request) -> BuildRequest:
    """Return what a request asks for, without its context unless that is an address. Raises InvalidInput, Unsupported."""
    asked = request.query
    if asked.get("version", "1") not in ("", "1"):
        raise InvalidInput("BuildKit is not supported over the API", "set DOCKER_BUILDKIT=0, or run `underlay build`")
    if _json(request, "outputs", list):
        # Docker has them for its clients that speak BuildKit's protocol alone, which take them to the client's files.
        raise InvalidInput("outputs are not supported by the classic build", "run `docker buildx build --output`")
    tags = [name for name in asked.getall("t", []) if name]
    for name in tags:
        references.check_new(references.parse(name))
    arguments = {name: value for name, value in _json(request, "buildargs", dict).items() if value is not None}
    # Each build has its own directory, which would make its cache mounts nobody else's: images of one name share them.
    owner = references.parse(tags[0]).repository if tags else ""
    arguments.setdefault("BUILDKIT_CACHE_MOUNT_NS", f"api {owner}".rstrip())
    made = BuildRequest(
        context=_remote(request),
        dockerfile=_dockerfile(request),
        tags=tags,
        target=asked.get("target", ""),
        arguments=_texts(arguments, "buildargs"),
        labels=_texts(_json(request, "labels", dict), "labels"),
        platforms=asked.get("platform", ""),
        pull=query.flag(request, "pull"),
        squash=query.flag(request, "squash"),
        no_cache=query.flag(request, "nocache"),
        cache_from=[CacheStore("registry", str(name)) for name in _json(request, "cachefrom", list)],
        network=asked.get("networkmode", ""),
        security=asked.getall("securityopt", []),
        extra_hosts=[text for text in asked.getall("extrahosts", []) if text],
        shm_size=query.number(request, "shmsize"),
        ulimits=[_ulimit(value) for value in _json(request, "ulimits", list)],
    )
    for name, option in _NUMBERS.items():
        if number := query.number(request, name):
            made.limits[option] = number
    for name, option in _WORDS.items():
        if asked.get(name):
            made.limits[option] = asked[name]
    if made.network.startswith("container:"):
        raise Unsupported("networkmode container:… is not supported for builds")
    return made


def _remote(request: web.Request) -> str:
    """Return the address of the context, "" when the body is the context."""
    remote = request.query.get("remote", "")
    if not remote or remote.startswith(("http://", "https://")) or git.is_git(remote):
        return remote
    raise InvalidInput(f"remote: not the address of a context: {remote[:200]!r}", "git, http and https are known")


def _dockerfile(request: web.Request) -> str:
    """Return the path of the Dockerfile inside the context, "" for the usual ones: no path leads out of it."""
    name = request.query.get("dockerfile", "")
    if "\0" in name:
        raise InvalidInput("dockerfile: a path has no NUL")
    if not name or name == "Dockerfile":
        return ""
    inside = os.path.normpath("/" + name).lstrip("/")
    if inside in ("", "-"):
        raise InvalidInput(f"dockerfile: not a path: {name!r}")
    return inside


def _json(request: web.Request, name: str, kind: type[Any]) -> Any:
    """Return a list or an object that is in the query as JSON, an empty one without it."""
    text = request.query.get(name, "")
    value = query.parsed(text.encode(), name) if text else None
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InvalidInput(f"{name}: not a JSON {'list' if kind is list else 'object'}")
    return value


def _texts(values: dict[str, Any], name: str) -> dict[str, str]:
    if not all(isinstance(value, str) for value in values.values()):
        raise InvalidInput(f"{name}: a value is not a string")
    return values


def _ulimit(value: Any) -> str:
    if not isinstance(value, dict) or not isinstance(value.get("Name"), str):
        raise InvalidInput("ulimits: not a list of objects with Name, Soft and Hard")
    soft, hard = value.get("Soft", 0), value.get("Hard", 0)
    if not isinstance(soft, int) or not isinstance(hard, int):
        raise InvalidInput("ulimits: Soft and Hard are not numbers")
    return f"{value['Name']}={soft}:{hard}"
