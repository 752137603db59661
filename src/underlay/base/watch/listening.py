"""Listens for the notifications of a registry, and has the bases looked at that have been pushed."""

from __future__ import annotations

import asyncio
import hmac
import signal

from aiohttp import web

from ...errors import InvalidInput, UnderlayError
from ...registry import hosts
from . import webhooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_ENDING = (signal.SIGINT, signal.SIGTERM)


def parse(address: str, token: str) -> tuple[str, int]:
    """Return host and port of ADDRESS:PORT. Raises InvalidInput, also for an address that others reach without a token."""
    try:
        host, port = hosts.split_host(address)
    except InvalidInput:
        host, port = "", 0
    if not host or not port:
        raise InvalidInput(f"invalid address {address!r} to listen at", "ADDRESS:PORT, as 127.0.0.1:8087")
    if not hosts.is_loopback(host) and not token:
        raise InvalidInput(
            f"{address} is reached from other machines",
            "use --token-file, or listen at an address such as 127.0.0.1:8087",
        )
    return host, port


def listen(
    address: str,
    token: str,
    bases: Callable[[], list[str]],
    look: Callable[[list[str]], None],
    ready: Callable[[str], None],
) -> None:
    """Answer notifications at ADDRESS:PORT until SIGINT or SIGTERM: those of `bases()` that were pushed are given to
    `look`, one look after the other. With a `token`, clients send it (`Authorization: Bearer`). `ready` is called with
    the address when it listens.

    Raises InvalidInput, and UnderlayError when nothing can listen there.
    """
    host, port = parse(address, token)
    try:
        asyncio.run(_serve(host, port, _Taking(token, bases, look), ready))
    except OSError as error:
        raise UnderlayError(f"nothing can listen at {address}: {error.strerror or error}") from None


class _Taking:
    """Takes notifications, and has the bases looked at that they name."""

    def __init__(self, token: str, bases: Callable[[], list[str]], look: Callable[[list[str]], None]) -> None:
        self._token = f"Bearer {token}".encode() if token else b""
        self._bases = bases
        self._look = look
        self._waiting: dict[str, None] = {}
        self._pushed = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        """Answer one notification, before anything is looked at."""
        given = request.headers.get("Authorization", "").encode(errors="replace")
        if self._token and not hmac.compare_digest(given, self._token):
            return web.Response(status=401)
        try:
            named = webhooks.concerned(await request.read(), self._bases())
        except UnderlayError as error:
            return web.Response(status=400, text=error.message + "\n")
        self._waiting.update(dict.fromkeys(named))
        if named:
            self._pushed.set()
        return web.Response(status=202)

    async def work(self) -> None:
        """Look at bases as they are pushed."""
        while True:
            await self._pushed.wait()
            self._pushed.clear()
            names = list(self._waiting)
            self._waiting.clear()
            await asyncio.to_thread(self._look, names)


async def _serve(host: str, port: int, taking: _Taking, ready: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    for number in _ENDING:
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    application = web.Application(client_max_size=webhooks.NOTIFICATION_LIMIT)
    application.router.add_post("/{path:.*}", taking.take)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        ready(f"{host}:{port}")
        working, ending = asyncio.create_task(taking.work()), asyncio.create_task(ended.wait())
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        working.cancel()
    finally:
        await runner.cleanup()
