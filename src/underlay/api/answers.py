"""Parts of answers that all routes use: JSON, errors, versions, the engine of a request."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from .access.policy import Policy
from .execs import Execs
from .listings import Listings
from .runs import Runs
from .work import Work

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Route = tuple[str, str, Handler]

OLDEST, NEWEST = (1, 24), (1, 47)  # versions of the API
WORK: web.AppKey[Work] = web.AppKey("work", Work)
EXECS: web.AppKey[Execs] = web.AppKey("execs", Execs)
POLICY: web.AppKey[Policy] = web.AppKey("policy", Policy)
LISTINGS: web.AppKey[Listings] = web.AppKey("listings", Listings)
CONTAINER = "container"  # of a request: the id of the container that it names, which the rules have looked at
RULES = "rules"  # of a request: those that allow it, missing where all is allowed
RUNS: web.AppKey[Runs] = web.AppKey("runs", Runs)


def work_of(request: web.Request) -> Work:
    """Return the engine and its threads."""
    return request.app[WORK]


def version_of(request: web.Request) -> tuple[int, int]:
    """Return the version of the API that a request is written for: of its path, or the newest."""
    text = request.match_info.get("version")
    if not text:
        return NEWEST
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a response with a JSON value."""
    return web.Response(
        body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json", headers=headers
    )


def nothing(status: int = 204) -> web.Response:
    """Return a response without a body."""
    return web.Response(status=status)


def problem(message: str, status: int) -> web.Response:
    """Return an error as docker's clients read it."""
    return answer({"message": message}, status)


def file_mode(mode: int) -> int:
    """Return st_mode in the form of Go's os.FileMode, which docker's clients read."""
    kinds = {stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFIFO: 1 << 25}
    kinds |= {stat.S_IFSOCK: 1 << 24, stat.S_IFCHR: 1 << 26 | 1 << 21}
    bits = kinds.get(stat.S_IFMT(mode), 0) | mode & 0o777
    for bit, words in ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20)):
        bits |= words if mode & bit else 0
    return bits
