"""The application: versions of the API, errors as docker words them, and the tables of all routes."""

from __future__ import annotations

from errno import ENAMETOOLONG
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from .. import __version__
from ..errors import StartFailed, UnderlayError
from . import work as working
from .access.enforcement import enforce
from .access.policy import Policy
from .answers import EXECS, LISTINGS, NEWEST, OLDEST, POLICY, RUNS, WORK, problem, version_of
from .execs import Execs
from .listings import Listings
from .routes import TABLES
from .runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .answers import Handler, Route

LONGEST_BODY = 8 << 20  # bytes of a JSON body; streams of tar have no such bound
HEADERS = {
    "Api-Version": f"{NEWEST[0]}.{NEWEST[1]}",
    "Ostype": "linux",
    "Docker-Experimental": "false",
    "Builder-Version": "1",
    "Swarm": "inactive",
    "Server": f"underlay/{__version__} (linux)",
}


def make(
    work: working.Work, policy: Policy | None = None, tables: Iterable[Iterable[Route]] = TABLES
) -> web.Application:
    """Return the application that answers by an engine what a policy allows, all if there is none."""
    application = web.Application(middlewares=[_errors, _no_browsers, _versions, enforce], client_max_size=LONGEST_BODY)
    application[POLICY] = policy or Policy()
    application[WORK] = work
    application[RUNS] = Runs(work)
    application[EXECS] = Execs()
    application[LISTINGS] = Listings(work.engine)
    for table in tables:
        for method, path, handler in table:
            for prefix in ("", r"/v{version:\d+\.\d+}"):
                application.router.add_route(method, prefix + path, handler)
    return application


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except UnderlayError as error:
        bad = isinstance(error, StartFailed) or getattr(error, "errno", 0) == ENAMETOOLONG
        status = 400 if bad else error.http_status
        response = problem(error.message, status)
    except working.TooMuch:
        response = problem("too many requests wait: try again later", 503)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        texts = {404: "page not found", 413: "request body too large"}
        response = problem(texts.get(error.status, error.reason.lower()), error.status)
    except OSError as error:
        status = 400 if error.errno == ENAMETOOLONG else 500  # names come from requests
        response = problem(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", status)
    except Exception as error:  # a fault of ours: the client must get an answer, and other clients go on
        response = problem(f"internal error: {type(error).__name__}: {error}", 500)
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


@web.middleware
async def _no_browsers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another place has a browser of this host ask."""
    origin, host = request.headers.get("Origin", ""), request.headers.get("Host", "")
    if origin and _place(origin) != host:
        return problem(f"requests of pages of {origin[:200]} are not answered", 403)
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    # Whoever owns a name may have it mean this host, and its pages then are of the same place.
    if isinstance(name, tuple) and request.scheme == "http" and not _is_address(host):
        return problem(f"this server has no name, and was asked as {host[:200]!r}: ask it by its address", 403)
    return await handler(request)


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None  # none of ours


def _is_address(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name in ("", "localhost") or bool(ip_address(name))
    except ValueError:
        return False


@web.middleware
async def _versions(request: web.Request, handler: Handler) -> web.StreamResponse:
    asked = version_of(request)
    text = f"{asked[0]}.{asked[1]}"
    if asked > NEWEST:
        most = f"{NEWEST[0]}.{NEWEST[1]}"
        return problem(f"client version {text} is too new. Maximum supported API version is {most}", 400)
    if asked < OLDEST:
        least = f"{OLDEST[0]}.{OLDEST[1]}"
        return problem(
            f"client version {text} is too old. Minimum supported API version is {least}, "
            "please upgrade your client to a newer version",
            400,
        )
    return await handler(request)
