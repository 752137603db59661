"""What the routes of the site share: pages from templates, the numbers of pages of lists, and what is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from ...api.answers import work_of
from ...errors import UnderlayError
from ...human import whole
from .. import files, listing, rendering
from ..registries.asking import Asking
from ..registries.places import Lists
from ..registries.pulls import Pulls
from ..registries.remote import RemoteImages

if TYPE_CHECKING:
    from ...api.answers import Handler

    Route = tuple[str, str, Handler]  # method, path, handler

ROOTS: web.AppKey[files.MergedRoots] = web.AppKey("roots", files.MergedRoots)
READ_ONLY: web.AppKey[bool] = web.AppKey("read_only", bool)
LISTING: web.AppKey[listing.Listing] = web.AppKey("listing", listing.Listing)
ASKING: web.AppKey[Asking] = web.AppKey("asking", Asking)
LISTS: web.AppKey[Lists] = web.AppKey("lists", Lists)
REMOTES: web.AppKey[RemoteImages] = web.AppKey("remotes", RemoteImages)
PULLS: web.AppKey[Pulls] = web.AppKey("pulls", Pulls)


class ReadOnly(UnderlayError):
    """A request would change something, and the site is read-only."""

    http_status = 403

    def __init__(self) -> None:
        super().__init__("this site is read-only", "start `underlay web` without --read-only")


async def page(request: web.Request, template: str, facts: dict[str, Any], status: int = 200) -> web.Response:
    """Return a page made of a template and facts."""
    facts = {"read_only": request.app[READ_ONLY], **facts}
    text = await work_of(request).do(rendering.page, template, facts)
    return web.Response(text=text, status=status, content_type="text/html")


def see(address: str) -> web.Response:
    """Return a redirect to another page, the answer to a form that was submitted (status 303)."""
    return web.Response(status=303, headers={"Location": address})


def page_number(request: web.Request, name: str = "page") -> int:
    """Return the number of the page of a list that is asked for; the first one unless a number is given."""
    return max(1, whole(request.query.get(name, "")))
