"""The page of a container while it runs: its log as it grows, what it uses, a terminal, and what it is told to do."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engines import Installation, until
from visits import Site, running, site

__all__ = ["site"]  # a fixture
aiohttp = pytest.importorskip("aiohttp")
pytestmark = pytest.mark.root

SPEAKING = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.1; done"


def over(site: Site, path: str, work: Callable[[Any], Awaitable[None]], **headers: str) -> None:
    """Do `work` with a websocket of the site."""

    async def connected() -> None:
        given = {"Cookie": site.cookie, "Origin": f"http://{site.host}", **headers}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://{site.host}{path}", headers=given) as socket,
        ):
            await asyncio.wait_for(work(socket), 60)

    asyncio.run(connected())


async def messages(socket: Any, enough: Callable[[dict[str, Any], str], bool]) -> tuple[dict[str, Any], str]:
    """Read until the last message and the whole log are enough; returns both."""
    log = ""
    async for message in socket:
        given = json.loads(message.data)
        log += given.get("log", "")
        if enough(given, log):
            return given, log
    raise AssertionError(f"the connection has ended: {log}")


def test_the_log_and_what_is_used(site: Site, ul: Installation) -> None:
    name = ul.start("box", "sh", "-c", SPEAKING)
    assert f'data-live="/container/{name}/live"' in site.page(f"/container/{name}")

    async def follows(socket: Any) -> None:
        _, log = await messages(socket, lambda _, log: "line 9\n" in log)
        assert log.startswith("line 0\nline 1\n")
        given, _ = await messages(socket, lambda given, _: "usage" in given)
        assert given["usage"].keys() == {"processor", "memory", "network", "disk"}
        memory, text = given["usage"]["memory"]
        assert 0 < memory < 64 << 20 and " of " in text

    over(site, f"/container/{name}/live", follows)


def test_a_change_is_told(site: Site, ul: Installation) -> None:
    """Each change ends the connection; the browser asks for the page's state and connects again."""
    name = ul.start("box", "sh", "-c", SPEAKING)
    path = f"/container/{name}"

    def changes(what: str, *words: str) -> None:
        async def changed(socket: Any) -> None:
            await messages(socket, lambda _, log: "line 0" in log)
            await asyncio.to_thread(ul, *words)
            given, _ = await messages(socket, lambda given, _: bool(given.keys() & {"changed", "gone"}))
            assert given.get(what) is True
            assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE

        over(site, f"{path}/live", changed)

    changes("changed", "pause", name)
    changes("changed", "unpause", name)
    changes("changed", "restart", "-t", "0", name)
    changes("changed", "kill", name)
    changes("gone", "rm", name)


def test_what_is_written_is_text(site: Site, ul: Installation) -> None:
    script = "printf '\\033[31m<script>\\033[0m \\033]0;t\\007 \\xff \\xe2\\x80\\xae\\n'; exec sleep 600"
    name = ul.start("box", "sh", "-c", script)

    async def reads(socket: Any) -> None:
        _, log = await messages(socket, lambda _, log: "\n" in log)
        assert log == "<script> \\x1b]0;t\\x07 \ufffd \\u202e\n"

    over(site, f"/container/{name}/live", reads)


def test_a_terminal(site: Site, ul: Installation) -> None:
    name = ul.start("box", "sleep", "600")
    path = f"/container/{name}/terminal"

    async def typed(socket: Any) -> None:
        shown = b""

        async def until_shown(what: bytes) -> None:
            nonlocal shown
            while what not in shown:
                message = await socket.receive()
                assert message.type == aiohttp.WSMsgType.BINARY, (message, shown)
                shown += message.data

        await socket.send_bytes(b"stty size; echo $TERM\n")
        await until_shown(b"24 81")
        await until_shown(b"xterm-256color")
        await socket.send_str(json.dumps({"rows": 30, "columns": 100}))
        for wrong in ("", "[]", "{", '{"rows": -1, "columns": 1}', '{"rows": "x", "columns": null}'):
            await socket.send_str(wrong)
        await socket.send_bytes(b"stty size\n")
        await until_shown(b"30 100")
        await socket.send_bytes(b"exit 3\n")
        while (message := await socket.receive()).type == aiohttp.WSMsgType.BINARY:
            pass
        assert json.loads(message.data) == {"code": 3}

    over(site, f"{path}?rows=24&columns=81", typed)

    async def refused(socket: Any) -> None:
        problem = json.loads((await socket.receive()).data)["problem"]
        assert "no-such" in problem

    over(site, f"{path}?command=no-such", refused)

    async def unreadable(socket: Any) -> None:
        assert "into words" in json.loads((await socket.receive()).data)["problem"]

    over(site, f"{path}?command=sh+%22", unreadable)

    async def leaves(socket: Any) -> None:
        await socket.send_bytes(b"sleep 1234\n")
        assert await asyncio.to_thread(until, lambda: "sleep 1234" in ul.out("top", name))

    over(site, path, leaves)
    # What ran in the terminal is hung up when the browser is gone, also when that is before it has begun.
    assert until(lambda: "sleep 1234" not in ul.out("top", name) and "sh" not in ul.out("top", name).split())

    async def leaves_at_once(socket: Any) -> None:
        socket.get_extra_info("socket").shutdown(2)  # without a word, as when a browser is killed

    for _ in range(5):
        over(site, f"{path}?command=sleep+4321", leaves_at_once)
    time.sleep(2)  # what nobody waits for any more has begun by then
    assert until(lambda: "4321" not in ul.out("top", name))


def test_pages_of_others_get_no_websocket(site: Site, ul: Installation) -> None:
    """Browsers send the cookie with a websocket of any page, so where it comes from must be looked at."""
    name = ul.start("box", "sleep", "600")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    upgrade["Sec_WebSocket_Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    for part in ("live", "terminal"):
        path = f"/container/{name}/{part}"
        for origin in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {}):
            assert site.ask(path, **upgrade, **origin).status == 403
        assert site.ask(path, **upgrade, Origin=f"http://{site.host}").status == 101


def test_what_a_container_is_told(site: Site, ul: Installation) -> None:
    name = ul.start("--stop-signal", "KILL", "--name", "told", "box", "sleep", "600")
    path = f"/container/{name}"

    def status() -> str:
        return ul.out("inspect", "-f", "{{.State.Status}}", name)

    for action, then in (
        ("pause", "paused"),
        ("unpause", "running"),
        ("restart", "running"),
        ("stop", "exited"),
        ("start", "running"),
        ("kill", "exited"),
    ):
        response = site.send(f"{path}/{action}")
        assert (response.status, response.headers["Location"]) == (303, path)
        assert until(lambda then=then: status() == then), action
        assert f'data-state="{then}"' in site.page(path)
    assert site.send(f"{path}/nosuch").status == 404
    assert site.send(f"{path}/pause").status == 409
    assert site.ask(f"{path}/start", "POST").status == 403  # no page of this site has sent it
    assert status() == "exited"
    response = site.send(f"{path}/remove")
    assert (response.status, response.headers["Location"]) == (303, "/containers")
    assert b"No such object" in ul("inspect", name, code=1).stderr


def test_a_site_that_is_only_read(ul: Installation) -> None:
    name = ul.start("box", "sleep", "600")
    path = f"/container/{name}"
    with running(ul, "--read-only") as site:
        site.enter()
        page = site.page(path)
        assert "<button" in page and f'action="{path}' not in page and 'id="shell"' not in page
        response = site.send(f"{path}/kill")
        assert response.status == 403 and "this site is read-only" in response.read().decode()
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            over(site, f"{path}/terminal", lambda _: asyncio.sleep(0))
    assert ul.out("inspect", "-f", "{{.State.Status}}", name) == "running"


def test_networks_and_volumes(site: Site, ul: Installation) -> None:
    assert "There is no volume yet" in site.page("/volumes")
    name = ul.start("--name", "user", "-v", "kept:/data", "box", "sleep", "600")
    member = f'<a href="/container/{name}">user</a>'
    page = site.page("/volumes")
    assert "kept" in page and member in page and str(ul.root) in page
    page = site.page("/networks")
    assert page.count(member) == 1 and page.index("none</th>") < page.index(member)
    ul("kill", "user")
    assert f'{member} <span class="also">stopped</span>' in site.page("/volumes")


def test_many_who_follow_a_log(site: Site, ul: Installation) -> None:
    """Fifty pages are open; each gets all of it, and the site still answers."""
    count = 50
    name = ul.start("box", "sh", "-c", "while [ ! -e /go ]; do sleep 0.1; done; seq 2000; echo end; exec sleep 600")

    async def all_of_them() -> None:
        headers = {"Cookie": site.cookie, "Origin": f"http://{site.host}"}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def one() -> str:
                async with session.ws_connect(f"http://{site.host}/container/{name}/live", headers=headers) as socket:
                    ready.release()
                    return (await messages(socket, lambda _, log: log.endswith("end\n")))[1]

            ready = asyncio.Semaphore(0)
            viewers = [asyncio.ensure_future(one()) for _ in range(count)]
            for _ in range(count):
                await ready.acquire()
            await asyncio.to_thread(ul, "exec", name, "touch", "/go")
            async with session.get(f"http://{site.host}/containers", headers=headers) as response:
                assert response.status == 200
            logs = await asyncio.wait_for(asyncio.gather(*viewers), 60)
        expected = "".join(f"{number}\n" for number in range(1, 2001)) + "end\n"
        # A follower begins with the last lines that are there when it comes.
        assert all(expected.endswith(log) and log.count("\n") >= 500 for log in logs)

    asyncio.run(all_of_them())
    # They are gone, and so are the threads that read for them.
    assert until(lambda: site.page("/containers") != "")
