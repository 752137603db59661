"""Who may see the site: whoever opened it at the address that was printed. No page of another site asks in their name."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..api.answers import Handler

_HEADERS = {
    # Nothing comes from elsewhere, nothing is written into pages, and no other site shows them in a frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_OPEN = "/static/"  # what anybody on this host may have: it is the same in every installation


class Visitors:
    """The one-time token of the address that is printed, and the cookie of the browser that has used it."""

    def __init__(self, hosts: Collection[str], port: int) -> None:
        """`hosts` are the values of `Host` by which the site is reached: others are names that point here by a trick."""
        self.token = secrets.token_urlsafe(24)
        self._hosts = frozenset(hosts)
        self._cookie = f"underlay-{port}"  # cookies do not tell ports apart
        self._session = ""

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through, or refuse it; say to the browser what pages may do."""
        response = await self._answered(request, handler)
        if not response.prepared:
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "") not in self._hosts:
            raise web.HTTPMisdirectedRequest(
                text="this site is not reached by that name: use the address that was printed"
            )
        if not self._is_own(request):
            raise web.HTTPForbidden(text="a page of another site has asked for this")
        if request.path.startswith(_OPEN):
            return await handler(request)
        given = request.query.get("token", "")
        if given and request.path == "/":
            return self._admit(given)
        if not self._session or not secrets.compare_digest(request.cookies.get(self._cookie, ""), self._session):
            raise web.HTTPUnauthorized(text="open the address that `underlay web` has printed")
        return await handler(request)

    def _is_own(self, request: web.Request) -> bool:
        """Return whether a request is one of a page of this site, or of no page (Fetch Metadata, RFC 6454)."""
        origin = request.headers.get("Origin")
        if origin is not None:
            return origin.removeprefix("http://") in self._hosts
        changes = request.method not in ("GET", "HEAD")
        # A link on another page may lead here, and nothing more.
        site = request.headers.get("Sec-Fetch-Site", "none")
        return site in ("same-origin", "none") or (not changes and request.headers.get("Sec-Fetch-Mode") == "navigate")

    def _admit(self, given: str) -> web.StreamResponse:
        if not self.token or not secrets.compare_digest(given, self.token):
            raise web.HTTPUnauthorized(text="this address has been used: start `underlay web` again for another")
        self.token, self._session = "", secrets.token_urlsafe(24)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", path="/")
        return response
