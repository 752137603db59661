"""The page of an image that is not here: the tabs of an image, as far as they need no layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...api.answers import work_of
from ...errors import PlatformMissing, UnderlayError
from .. import image
from ..registries import places, remote
from ..registries.remote import RemoteImage
from .parts import ASKING, LISTS, REMOTES, page, page_number

if TYPE_CHECKING:
    from ...registry.registries import Registries
    from .parts import Route

_LONGEST_PLATFORM = 100  # characters


async def overview(request: web.Request) -> web.StreamResponse:
    """GET /remote?name=…: the overview, with the base of an image."""
    return await _tab(request, "overview")


async def tab(request: web.Request) -> web.StreamResponse:
    """GET /remote/TAB?name=…: one of `image.TABS`."""
    word = request.match_info["tab"]
    if word not in image.TABS:
        raise web.HTTPNotFound
    return await _tab(request, word)


def _asked(request: web.Request) -> tuple[str, str]:
    """Return the name in normal form and the platform that are asked for. Raises InvalidInput."""
    name = remote.normal(request.query.get("name", "")[: places.LONGEST])
    return name, request.query.get("platform", "").strip()[:_LONGEST_PLATFORM]


async def _tab(request: web.Request, word: str) -> web.StreamResponse:
    name, platform = _asked(request)
    engine, remotes, lists = work_of(request).engine, request.app[REMOTES], request.app[LISTS]
    number, wanted = page_number(request), request.query.get("tag", "")[:128]

    def work(opened: list[Registries]) -> dict[str, Any]:
        found = remotes.get(engine, name, platform)
        facts: dict[str, Any] = {"image": found, "remote": found, "local": remote.local_id(engine, found)}
        facts |= {"tabs": image.TABS, "tab": word, "problem": None, "what": remote.NEEDS_FILES.get(word, "")}
        facts["addresses"] = {each: remote.address(each, name, platform) for each in (*image.TABS, "Dockerfile")}
        facts["addresses"]["download"] = facts["addresses"]["Dockerfile"]
        facts["offered"] = [(each, remote.address(word, name, each)) for each in found.offered]
        try:
            if word in image.ANYWHERE:
                facts |= image.ANYWHERE[word](engine, found)
            elif word == "tags" and not found.is_archive:
                place = places.parse(places.repository_of(name))
                facts |= places.tags_of(engine, lists, place, number, wanted, opened) | {"place": place}
        except UnderlayError as error:
            facts["problem"] = error  # in the place of the tab: the others can be used nevertheless
        return facts

    try:
        facts = await request.app[ASKING].ask(name, work)
    except UnderlayError as error:
        offered = error.platforms if isinstance(error, PlatformMissing) else ()
        missing = {"name": name, "problem": error, "is_archive": remote.is_archive(name)}
        missing["repository"] = "" if missing["is_archive"] else places.repository_of(name)
        missing["offered"] = [(each, remote.address(word, name, each)) for each in offered[: remote.PLATFORMS]]
        return await page(request, "remotefailed.html", missing, error.http_status)
    own = "needsfiles.html" if word in remote.NEEDS_FILES else "remotetags.html" if word == "tags" else f"{word}.html"
    return await page(request, "failed.html" if facts["problem"] else own, facts)


async def dockerfile(request: web.Request) -> web.StreamResponse:
    """GET /remote/Dockerfile?name=…: download the reconstructed Dockerfile."""
    name, platform = _asked(request)
    engine, remotes = work_of(request).engine, request.app[REMOTES]

    def work(_: list[Registries]) -> str:
        found: RemoteImage = remotes.get(engine, name, platform)
        return engine.bases.dockerfile(found.subject).text

    headers = {"Content-Disposition": "attachment; filename=Dockerfile"}
    text = await request.app[ASKING].ask(name, work)
    return web.Response(text=text, content_type="text/plain", headers=headers)


ROUTES: tuple[Route, ...] = (
    ("GET", "/remote", overview),
    ("GET", "/remote/Dockerfile", dockerfile),
    ("GET", "/remote/{tab}", tab),
)
