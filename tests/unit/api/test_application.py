"""What the application answers to damaged requests, whatever their route."""

from __future__ import annotations

import asyncio
import json
from errno import EIO, ENAMETOOLONG
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from underlay.api import application
from underlay.api.requests import query
from underlay.api.routes import transfers
from underlay.api.work import Work
from underlay.engine.images import archives
from underlay.errors import Corrupt, InvalidInput, KernelError


async def fine(request: web.Request) -> web.StreamResponse:
    return web.Response(text="fine")


def failing(error: Exception) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    return handler


def status(handler: Any = fine, host: str = "127.0.0.1", more: str = "") -> int:
    """The status of the answer to a request over TCP."""

    async def ask() -> int:
        engine: Any = SimpleNamespace(_store=SimpleNamespace())
        made = application.make(Work(engine), tables=[[("GET", "/x", handler)]])
        async with TestServer(made) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode())
            answer = await reader.read()
            writer.close()
        assert b"internal error" not in answer
        return int(answer.split()[1])

    return asyncio.run(ask())


def test_places_that_are_none() -> None:
    assert status() == 200
    assert status(more="Origin: http://[\r\n") == 403
    assert status(more="Origin: http://127.0.0.1\r\n") == 200
    assert status(host="[") in (400, 403)
    assert status(host="[::1]") == 200


def test_names_that_are_too_long() -> None:
    assert status(failing(OSError(ENAMETOOLONG, "File name too long", "a" * 10_000))) == 400
    assert status(failing(KernelError("open", "a" * 10_000, ENAMETOOLONG))) == 400
    assert status(failing(OSError(EIO, "broken"))) == 500


def test_an_archive_that_is_damaged_is_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class File:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...
        def fileno(self) -> int:
            return -1

    async def spooled(request: web.Request) -> Any:
        return File()

    async def streamed(request: web.Request, call: Any, translate: Any) -> web.StreamResponse:
        call(SimpleNamespace(_store=None), print)
        return web.Response()

    def load(*_: object) -> Any:
        raise Corrupt("the archive is empty")

    monkeypatch.setattr(transfers, "spooled", spooled)
    monkeypatch.setattr(transfers, "streamed", streamed)
    monkeypatch.setattr(archives, "load", load)
    assert status(transfers.load) == 400


def test_brackets_in_strings_do_not_nest() -> None:
    for text in ("[" * 1000, '"' + "[" * 1000, "\\" + "{" * 1000):
        assert query.parsed(json.dumps({text: [text]}).encode(), "body") == {text: [text]}
    for damaged in (b"[" * 65 + b"]" * 65, b'{"a":"\\\\"' + b",[" * 70, b'"' + b"[" * 100):
        with pytest.raises(InvalidInput):
            query.parsed(damaged, "body")
