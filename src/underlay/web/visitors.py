"""Access to the site: for the browser that has opened the printed address, and not for pages of other sites in it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..api.answers import Handler

# Browsers load scripts and styles from this site alone, run none that stand in a page, and show it in no frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'%s; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Not `no-referrer`: with that, browsers send forms of this site's own pages with `Origin: null` (Fetch, "append a
    # request `Origin` header").
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
NONCE = "nonce"  # of a request: with it a script of its page may make style sheets (Content Security Policy 3, 2.3.1)
_OPEN = "/static/"  # served without the cookie: styles and scripts are the same in every installation


class Visitors:
    """The one-time token of the address that is printed, and the cookie of the browser that has used it."""

    def __init__(self, hosts: Collection[str], port: int) -> None:
        """`hosts` are the valid values of the header `Host`; a request with another one is refused (DNS rebinding)."""
        self.token = secrets.token_urlsafe(24)
        self._hosts = frozenset(hosts)
        self._cookie = f"underlay-{port}"  # cookies do not tell ports apart
        self._session = ""

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Pass on a request that is allowed, and add the security headers to its response. Raises HTTPException."""
        response = await self._answered(request, handler)
        if not response.prepared:
            nonce = request.get(NONCE, "")
            response.headers["Content-Security-Policy"] = _POLICY % (f" 'nonce-{nonce}'" if nonce else "")
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.headers.get("Host", "") not in self._hosts:
            raise web.HTTPMisdirectedRequest(
                text="this site cannot be reached by that host name: open the address that `underlay web` has printed"
            )
        if not self._is_same_site(request):
            raise web.HTTPForbidden(text="requests from pages of other sites are refused")
        if request.path.startswith(_OPEN):
            return await handler(request)
        given = request.query.get("token", "")
        is_known = bool(self._session) and secrets.compare_digest(request.cookies.get(self._cookie, ""), self._session)
        if given and request.path == "/":
            return web.Response(status=303, headers={"Location": "/"}) if is_known else self._admit(given)
        if not is_known:
            raise web.HTTPUnauthorized(text="not logged in: open the address that `underlay web` has printed")
        return await handler(request)

    def _is_same_site(self, request: web.Request) -> bool:
        """Return whether a request comes from a page of this site or from the user, rather than from a page of another site
        (Fetch Metadata Request Headers; RFC 6454). A link on another site may lead here. What changes something must name
        this site: browsers send the header `Origin` with every such request."""
        origin = request.headers.get("Origin")
        if origin is not None:
            return origin.removeprefix("http://") in self._hosts
        if request.method not in ("GET", "HEAD") or "Upgrade" in request.headers:
            return False  # browsers send it with all that may change something, and with websockets
        if request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none"):
            return True
        return request.headers.get("Sec-Fetch-Mode") == "navigate"

    def _admit(self, given: str) -> web.StreamResponse:
        if not self.token or not secrets.compare_digest(given, self.token):
            raise web.HTTPUnauthorized(
                text="this address has been used: restart `underlay web`, which prints a new one"
            )
        self.token, self._session = "", secrets.token_urlsafe(24)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", path="/")
        return response
