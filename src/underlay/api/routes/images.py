"""Images: list, inspect, tag, remove, prune, commit, and what registries say of them; `transfers` moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.filters import images as image_filters
from ...engine.images.distribution import distribution as described
from ...engine.images.listing import listed
from ...engine.images.remove import prune as prune_images
from ...errors import AccessDenied, InvalidInput
from ...human import parse_rfc3339, whole
from ...registry.credentials import Credential
from ..answers import CONTAINER, answer, nothing, problem, version_of, work_of
from ..requests import changes, logins, query
from ..streaming import progress
from . import transfers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from ...engine.engine import Engine
    from ...engine.images import Images
    from ...engine.images.listing import ImageListing
    from ..answers import Route

_NO_NAME = "<none>:<none>"


def images_of(request: web.Request) -> Images:
    """Return the images of the server's engine."""
    return work_of(request).engine.images


def summaries_of(engine: Engine, chosen: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
    """Return the images that pass filters, as `GET /images/json` lists them (Engine API, ImageSummary), the newest first.

    With a filter by reference an image has only those of its names that match. Raises InvalidInput, NotFound.
    """
    by_id: dict[str, dict[str, Any]] = {}
    for row in image_filters.filtered(engine, listed(engine._store), chosen):
        if row.id not in by_id:
            by_id[row.id] = _summary(engine, row)
        tags, digests = by_id[row.id]["RepoTags"], by_id[row.id]["RepoDigests"]
        if row.tag:
            tags.append(f"{row.repository}:{row.tag}")
        if row.digest and (name := f"{row.repository}@{row.digest}") not in digests:
            digests.append(name)
    for summary in by_id.values():
        summary["RepoTags"] = list(dict.fromkeys(summary["RepoTags"]))
    return list(by_id.values())


def _summary(engine: Engine, row: ImageListing) -> dict[str, Any]:
    config = engine.images.get(row.id).config
    return {
        "Id": row.id,
        "ParentId": "",
        "RepoTags": [],
        "RepoDigests": [],
        "Created": _seconds(row.image.created),
        "Size": row.image.size,
        "SharedSize": -1,
        "Labels": dict((config.get("config") or {}).get("Labels") or {}),
        "Containers": -1,
    }


def _seconds(created: str) -> int:
    """Return a time in seconds since the epoch, 0 for none."""
    try:
        return int(parse_rfc3339(created))
    except ValueError:
        return 0


async def list_(request: web.Request) -> web.StreamResponse:
    """GET /images/json."""
    chosen = query.pairs(query.filters(request, image_filters.KEYS))
    engine = work_of(request).engine

    def work() -> list[dict[str, Any]]:
        found = summaries_of(engine, chosen)
        if query.flag(request, "shared-size"):
            usage = engine.system.image_usage()
            for summary in found:
                if summary["Id"] in usage:
                    summary["SharedSize"] = usage[summary["Id"]].shared
        return found

    summaries = await work_of(request).do(work)
    version = version_of(request)
    for summary in summaries:
        if version < (1, 44):
            summary["VirtualSize"] = summary["Size"]
        if version < (1, 43) and not summary["RepoTags"] and not summary["RepoDigests"]:
            summary["RepoTags"], summary["RepoDigests"] = [_NO_NAME], ["<none>@<none>"]
    return answer(summaries)


async def inspect(request: web.Request) -> web.StreamResponse:
    """GET /images/{name}/json."""
    facts = await work_of(request).do(images_of(request).inspect, request.match_info["name"])
    if version_of(request) < (1, 44):
        facts["VirtualSize"] = facts["Size"]
    return answer(facts)


async def history(request: web.Request) -> web.StreamResponse:
    """GET /images/{name}/history."""
    images, name = images_of(request), request.match_info["name"]

    def work() -> list[dict[str, Any]]:
        image = images.get(name)
        return [
            {
                "Id": entry.id or "<missing>",
                "Created": _seconds(entry.created),
                "CreatedBy": entry.created_by,
                "Tags": (image.tags or None) if entry.id else None,
                "Size": entry.size,
                "Comment": entry.comment,
            }
            for entry in image.history()
        ]

    return answer(await work_of(request).do(work))


async def tag(request: web.Request) -> web.StreamResponse:
    """POST /images/{name}/tag."""
    repository, word = request.query.get("repo", ""), request.query.get("tag", "")
    new = f"{repository}:{word}" if word else repository
    await work_of(request).do(images_of(request).tag, request.match_info["name"], new)
    return nothing(201)


async def remove(request: web.Request) -> web.StreamResponse:
    """DELETE /images/{name}: noprune means nothing, there are no untagged parents."""
    name, force = request.match_info["name"], query.flag(request, "force")
    removed = await work_of(request).do(images_of(request).remove, name, force)
    return answer(_removed(removed.untagged, removed.deleted))


def _removed(untagged: list[str], deleted: list[str]) -> list[dict[str, str]]:
    return [*({"Untagged": name} for name in untagged), *({"Deleted": digest} for digest in deleted)]


async def prune(request: web.Request) -> web.StreamResponse:
    """POST /images/prune."""
    chosen = query.filters(request, ("dangling", "until", "label", "label!"))
    until, labels = query.pruned(chosen)
    every = False
    for value in chosen.get("dangling", []):
        if value not in ("true", "false", "1", "0"):
            raise InvalidInput(f"invalid filter 'dangling={value}'", "use true or false")
        every = value in ("false", "0")
    removed = await work_of(request).do(prune_images, work_of(request).engine._store, every, until, labels)
    gone = _removed(removed.untagged, removed.deleted)
    return answer({"ImagesDeleted": gone, "SpaceReclaimed": removed.reclaimed})


async def search(request: web.Request) -> web.StreamResponse:
    """GET /images/search."""
    term, limit = request.query.get("term", ""), query.number(request, "limit", 25)
    if not term:
        raise InvalidInput("no search term is given", "give it as the parameter term")
    chosen = query.filters(request, ("is-official", "is-automated", "stars"))
    least = 0
    for value in chosen.get("stars", []):
        least = max(least, whole(value))
        if whole(value) < 0:
            raise InvalidInput(f"invalid filter 'stars={value}'")
    wanted = {}
    for key in ("is-official", "is-automated"):
        if any(value not in ("true", "false", "1", "0") for value in chosen.get(key, [])):
            raise InvalidInput(f"invalid filter '{key}'", "use true or false")
        wanted[key] = {value in ("true", "1") for value in chosen.get(key, [])} or {True, False}
    credentials = logins.of_image(request, term) if "X-Registry-Auth" in request.headers else None
    shared = work_of(request).engine

    def work() -> list[dict[str, Any]]:
        with progress.own_engine(shared, lambda event: None, credentials) as engine:
            found = engine.registries.search(term, limit)
        return [
            {
                "name": repository.name,
                "description": repository.description,
                "star_count": repository.stars,
                "is_official": repository.official,
                "is_automated": False,
            }
            for repository in sorted(found, key=lambda each: -each.stars)
            if repository.stars >= least
            and repository.official in wanted["is-official"]
            and False in wanted["is-automated"]
        ]

    return answer(await work_of(request).wait(work))


async def distribution(request: web.Request) -> web.StreamResponse:
    """GET /distribution/{name}/json."""
    name, shared = request.match_info["name"], work_of(request).engine
    credentials = logins.of_image(request, name)

    def work() -> dict[str, Any]:
        with progress.own_engine(shared, lambda event: None, credentials) as engine:
            return described(engine._store, name)

    return answer(await work_of(request).wait(work))


async def login(request: web.Request) -> web.StreamResponse:
    """POST /auth: a credential is tried, and not kept."""
    body = await query.body(request)
    given = logins.credential(body)
    server = body.get("serveraddress") or ""
    if not isinstance(server, str):
        raise InvalidInput("serveraddress is not a string")
    registries = work_of(request).engine.registries
    try:
        await work_of(request).wait(lambda: registries.verify(server, given or Credential()))
    except AccessDenied as error:
        return problem(error.message, 401)
    return answer({"Status": "Login Succeeded", "IdentityToken": ""})


async def commit(request: web.Request) -> web.StreamResponse:
    """POST /commit: the body is a configuration that counts before the container's."""
    data = await query.bytes_of(request)
    config = {} if data.strip() == b"null" else query.object_of(data, "request body")
    texts = [*changes.of_config(config), *changes.of_query(request)]
    asked = request.query
    repository, word = asked.get("repo", ""), asked.get("tag", "")
    name = f"{repository}:{word}" if repository and word else repository
    containers = work_of(request).engine.containers
    pause = query.flag(request, "pause", default=True)
    source = request.get(CONTAINER) or asked.get("container", "")
    comment, author = asked.get("comment", ""), asked.get("author", "")
    image = await work_of(request).wait(lambda: containers.commit(source, name, texts, comment, author, pause))
    return answer({"Id": image}, 201)


ROUTES: tuple[Route, ...] = (
    # Those with a fixed name come first: a name may be anything.
    ("GET", "/images/json", list_),
    ("GET", "/images/search", search),
    ("POST", "/images/prune", prune),
    *transfers.ROUTES,
    ("GET", "/images/{name:.+}/json", inspect),
    ("GET", "/images/{name:.+}/history", history),
    ("POST", "/images/{name:.+}/tag", tag),
    ("DELETE", "/images/{name:.+}", remove),
    ("GET", "/distribution/{name:.+}/json", distribution),
    ("POST", "/auth", login),
    ("POST", "/commit", commit),
)
