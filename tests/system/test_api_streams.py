"""The server: streams over websockets, work whose client has gone, images from addresses, requests of browsers."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import http.server
import io
import json
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import apiserver
from apiserver import place
from engines import Installation, image_tar, needs_root, until

__all__ = ["place"]  # a fixture
pytestmark = pytest.mark.root


@pytest.fixture
def path(ul: Installation, place: Path) -> Iterator[Path]:
    needs_root()
    with apiserver.serving(ul, place / "sock"):
        yield place / "sock"


def ask(path: Path, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(functools.partial(connection.recv, 65536), b""))
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    return int(head_bytes.split()[1]), rest


def talk(path: Path, target: str, said: list[bytes], closes: bool = False) -> bytes:
    """Speak over a websocket; returns all that came until the server closed it, or nothing after our own closing."""
    aiohttp = pytest.importorskip("aiohttp")

    async def run() -> bytes:
        came = b""
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.ws_connect(f"http://localhost{target}") as connection,
        ):
            for words in said:
                await connection.send_bytes(words)
            if closes:
                return came
            async for message in connection:
                came += message.data
        return came

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_attach_by_websocket(path: Path, ul: Installation) -> None:
    ul("create", "--name", "talks", "-i", "box", "sh", "-c", "echo ready; read a; echo got $a; echo bad >&2; exit 3")
    came: list[bytes] = []
    target = "/containers/talks/attach/ws?stream=1&stdin=1&stdout=1&stderr=1"
    talker = threading.Thread(target=lambda: came.append(talk(path, target, [b"hel", b"lo\n"])))
    talker.start()
    time.sleep(0.3)  # usually the client is there first, as it may be
    assert ask(path, "POST", "/containers/talks/start")[0] == 204
    talker.join(60)
    assert sorted(came[0].split()) == sorted(b"ready got hello bad".split())
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", "talks") == "3"
    # What was said before, and a container that does not run.
    assert b"got hello" in talk(path, "/containers/talks/attach/ws?logs=1&stdout=1", [])
    # Of a running one; who leaves ends nothing.
    data = os.urandom(300_000)
    ul("run", "-d", "--name", "cats", "-i", "box", "sh", "-c", "head -c 300000 | md5sum; exec sleep 600")
    pieces = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
    listener = threading.Thread(target=lambda: came.append(talk(path, target.replace("talks", "cats"), pieces)))
    listener.start()
    assert until(lambda: hashlib.md5(data).hexdigest() in ul.out("logs", "cats"))
    talk(path, target.replace("talks", "cats"), [], closes=True)
    assert ul.out("inspect", "-f", "{{.State.Running}}", "cats") == "true"
    ul("kill", "cats")
    listener.join(60)
    assert hashlib.md5(data).hexdigest().encode() in came[-1]


def test_a_build_whose_client_has_gone_ends(path: Path, ul: Installation) -> None:
    """Also while a step says nothing, and nothing of it stays."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        text = b"FROM box\nRUN echo begun && sleep 12345\n"
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    body = context.getvalue()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        head = f"POST /build?t=never HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        came = b""
        while b"begun" not in came:
            came += connection.recv(65536)
        assert until(sleeping)
    assert until(lambda: not sleeping(), 30)
    scratch = ul.root / "tmp"
    assert until(lambda: not any("build" in name.name for name in scratch.iterdir()), 30), list(scratch.iterdir())
    assert ul.out("images", "-q", "never") == ""
    assert ask(path, "GET", "/_ping") == (200, b"OK")


def sleeping() -> bool:
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"sleep\x0012345\x00" == (entry / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


@contextmanager
def site(content: bytes, pace: float = 0.0) -> Iterator[tuple[str, list[int]]]:
    """A web server with one file, which may come slowly; yields its address, and how many bytes each request was sent."""
    sent: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            sent.append(0)
            try:
                for at in range(0, len(content), 65536):
                    self.wfile.write(content[at : at + 65536])
                    sent[-1] += 65536
                    time.sleep(pace)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/root.tar", sent
    server.shutdown()
    server.server_close()
    thread.join()


def test_import_from_an_address(path: Path, ul: Installation) -> None:
    with site(image_tar()) as (address, _):
        status, answer = ask(path, "POST", f"/images/create?fromSrc={address}&repo=fetched&tag=1")
        assert status == 200, answer
        assert json.loads(answer.splitlines()[-1])["status"].startswith("sha256:")
        assert ul.out("import", address, "fetched:2")
    assert ul.run("fetched:1", "echo", "runs") == "runs"
    assert "Imported from http://127.0.0.1" in ul.out("history", "--format", "{{.Comment}}", "fetched:1")
    status, answer = ask(path, "POST", f"/images/create?fromSrc={address}&repo=x")
    assert status == 502 and b"127.0.0.1" in answer
    assert ask(path, "POST", "/images/create?fromSrc=file:///etc/passwd&repo=x")[0] == 400
    ul("import", address, "gone", code=1)
    assert [entry.name for entry in (ul.root / "tmp").iterdir() if "import" in entry.name] == []


def test_requests_of_browsers_are_refused(ul: Installation, path: Path) -> None:
    """A page of another place, and over TCP a name that somebody has made to mean this host."""
    assert ask(path, "GET", "/_ping", Origin="http://evil.example")[0] == 403
    assert ask(path, "GET", "/_ping", Origin="http://localhost")[0] == 200
    assert ask(path, "GET", "/containers/x/attach/ws?stream=1", Origin="http://evil.example")[0] == 403
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [*ul.command, "serve", "-H", f"tcp://127.0.0.1:{port}", "--insecure-tcp"]
    server = subprocess.Popen(words, env=ul.environment, stderr=subprocess.DEVNULL)
    try:

        def status(host: str) -> int:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                    connection.sendall(f"GET /_ping HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                    return int(connection.recv(1000).split()[1])
            except ConnectionRefusedError:
                return 0

        assert until(lambda: status(f"127.0.0.1:{port}") == 200)
        assert (status(f"localhost:{port}"), status(f"[::1]:{port}"), status("evil.example")) == (200, 200, 403)
    finally:
        server.terminate()
        server.wait(30)


def test_who_only_connects_is_dropped(ul: Installation, place: Path) -> None:
    """Nothing, and half a head; while who has asked may be silent for longer."""
    pytest.importorskip("aiohttp")
    code = (
        "import sys; from underlay.api import serving; serving._PATIENCE = 1.0; "
        "from underlay.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "serve", "-H", f"unix://{place}/sock"]
    server = subprocess.Popen(words, env=ul.environment, stderr=subprocess.DEVNULL)
    try:
        assert until((place / "sock").exists)
        connections = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        for connection in connections:
            connection.settimeout(30)
            connection.connect(str(place / "sock"))
        connections[1].sendall(b"GET /_ping HTTP/1.1\r\nX: y")
        connections[2].sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connections[2].recv(1000).startswith(b"HTTP/1.1 200")
        assert connections[0].recv(1) == connections[1].recv(1) == b""
        connections[2].sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connections[2].recv(1000).startswith(b"HTTP/1.1 200")
        for connection in connections:
            connection.close()
    finally:
        server.terminate()
        server.wait(30)


@contextmanager
def patched(ul: Installation, path: Path, code: str = "", **environment: str) -> Iterator[None]:
    """Run a server with a line of Python before it, and with other settings of its environment."""
    pytest.importorskip("aiohttp")
    program = f"import sys\n{code}\nfrom underlay.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", program, "serve", "-H", f"unix://{path}"]
    server = subprocess.Popen(words, env={**ul.environment, **environment}, stderr=subprocess.DEVNULL)
    try:
        assert until(path.exists)
        yield
    finally:
        server.terminate()
        server.wait(30)


def raw(path: Path, data: bytes, later: bytes = b"", closes: bool = False) -> bytes:
    """Send bytes in one write, and more a while later; returns all that comes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(data)
        if later:
            time.sleep(0.3)
            connection.sendall(later)
        if closes:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(functools.partial(connection.recv, 65536), b""))


@pytest.mark.parametrize("parser", ["C", "Python"])
@pytest.mark.parametrize("upgrade", ["", "Connection: Upgrade\r\nUpgrade: tcp\r\n"])
def test_input_that_comes_with_the_request(ul: Installation, place: Path, parser: str, upgrade: str) -> None:
    """Of an attach and of an exec, whole or in pieces, with the client's end, and when there is no stream after all."""
    path = place / "sock"
    ul("run", "-d", "--name", "reads", "-i", "box", "sh", "-c", "read a; read b; echo got $a $b; sleep 1")
    ul("run", "-d", "--name", "runs", "box", "sleep", "600")
    with patched(ul, path, **({"AIOHTTP_NO_EXTENSIONS": "1"} if parser == "Python" else {})):
        target = "/containers/reads/attach?stream=1&stdin=1&stdout=1"
        head = f"POST {target} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode()
        came = raw(path, head + b"early\n", b"late\n")
        assert came.startswith(b"HTTP/1.1 101" if upgrade else b"HTTP/1.1 200") and b"got early late\n" in came

        def started(command: str, sent: bytes, later: bytes = b"", at: int = 0) -> bytes:
            made = {"Cmd": ["sh", "-c", command], "AttachStdin": True, "AttachStdout": True}
            name = json.loads(ask(path, "POST", "/containers/runs/exec", json.dumps(made).encode())[1])["Id"]
            body = b'{"Detach":false,"Tty":false}'
            head = f"POST /v1.40/exec/{name}/start HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{upgrade}\r\n"
            data = head.encode() + body + sent
            at = at or len(data)
            return raw(path, data[:at], data[at:] + later, closes=True)

        data = os.urandom(400_000)
        digest = hashlib.md5(data).hexdigest().encode()
        assert digest in started("md5sum", data)
        for at in (3, 60, 150, -410):  # in its line, its headers, around its body's beginning and in its body
            assert digest in started("md5sum", data, at=at if at > 0 else len(data) - 399_990), at
        assert hashlib.md5(b"ab").hexdigest().encode() in started("md5sum", b"a", b"b", at=0)
        # A request behind one for a stream that there is not.
        nothing = f"POST /containers/none/attach?stream=1 HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode()
        came = raw(path, nothing + b"GET /_ping HTTP/1.0\r\n\r\n")
        assert came.startswith(b"HTTP/1.1 404") and came.endswith(b"OK"), came
        assert raw(path, nothing, closes=True).startswith(b"HTTP/1.1 404")


def test_bodies_and_heads_that_do_not_come(ul: Installation, place: Path) -> None:
    """Nothing of a body, one too slow, one that stops, and half a head behind a request that was answered."""
    code = (
        "from underlay.api import serving; from underlay.api.requests import query; "
        "from underlay.api.streaming import spooling, streams; "
        "serving._PATIENCE = query._PATIENCE = spooling._PATIENCE = streams._PATIENCE = 1.5; spooling._GRACE = 2.0"
    )
    path = place / "sock"
    ul("create", "--name", "box", "box")
    ping = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with patched(ul, path, code):

        def left(target: str, pace: float = 0.0) -> bytes:
            """Send a head, and then nothing or a byte now and then."""
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(str(path))
                connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
                if pace:
                    connection.settimeout(pace)
                    for _ in range(100):
                        try:
                            return connection.recv(65536)
                        except TimeoutError:
                            connection.sendall(b"x")
                return connection.recv(65536)

        for target in ("/containers/create", "/images/load", "/build", "/containers/box/attach?stream=1"):
            assert left(target).startswith(b"HTTP/1.1 408"), target
        for target in ("/containers/create", "/build"):
            assert left(target, 0.1).startswith(b"HTTP/1.1 408"), target
        for half in (b"GET /_ping HTTP/1.1\r\nHo", b"PO", b"POST /containers/box/attach HTTP/1.1\r\nHost: x"):
            before = time.monotonic()
            came = raw(path, ping, half)
            assert came.startswith(b"HTTP/1.1 200") and came.endswith(b"OK") and time.monotonic() - before < 10


def test_what_is_asked_of_execs_is_checked(path: Path, ul: Installation) -> None:
    ul("run", "-d", "--name", "runs", "box", "sleep", "600")

    def made(**members: object) -> tuple[int, bytes]:
        return ask(path, "POST", "/containers/runs/exec", json.dumps({"Cmd": ["true"], **members}).encode())

    status, said = made(cmd=["sh", "-c", "exit 7"], TTY=None, attachSTDOUT=True, consoleSize=[20, 70])
    name = json.loads(said)["Id"]
    assert status == 201
    assert ask(path, "POST", f"/exec/{name}/start", b'{"detach": true}')[0] == 200
    assert until(lambda: json.loads(ask(path, "GET", f"/exec/{name}/json")[1])["ExitCode"] == 7)
    wrong: list[dict[str, object]] = [
        {"Cmd": ["a\0b"]},
        {"Env": ["a=\0"]},
        {"Tty": 1},
        {"AttachStdin": "yes"},
        {"Privileged": "no"},
        {"WorkingDir": ["/"]},
        {"User": "x" * 5000},
        {"ConsoleSize": [-1, 5]},
        {"ConsoleSize": [1]},
        {"Cmd": ["x" * (128 << 10)]},
        {"Env": ["x=" + "y" * 100_000] * 21},
        {"Env": ["x"] * 300_000},
    ]
    for members in wrong:
        status, said = made(**members)
        assert status == 400, (str(members)[:100], said)
    assert made(Env=["x=" + "y" * 100_000] * 20)[0] == 201
    name = json.loads(made()[1])["Id"]
    for query in ("", "?h=5", "?w=5", "?h=-1&w=5", "?h=5&w=65536", "?h=5&w=x"):
        assert ask(path, "POST", f"/exec/{name}/resize{query}")[0] == 400, query
    assert ask(path, "POST", f"/exec/{name}/resize?h=5&w=6")[0] == 200


def test_execs_that_nobody_starts_are_forgotten(ul: Installation, place: Path) -> None:
    """After a while, or when all need too much memory; not because there are many of others."""
    path = place / "sock"
    ul("run", "-d", "--name", "runs", "box", "sleep", "600")
    code = "from underlay.api import execs; execs._UNSTARTED = 20.0; execs._KEPT = 2; execs._BYTES = 1 << 20"
    with patched(ul, path, code):

        def made(size: int = 1) -> str:
            body = json.dumps({"Cmd": ["true"], "Env": [f"x={'y' * (size // 10)}"] * 10}).encode()
            name: str = json.loads(ask(path, "POST", "/containers/runs/exec", body)[1])["Id"]
            return name

        def known(name: str) -> bool:
            return ask(path, "GET", f"/exec/{name}/json")[0] == 200

        first, *many = (made() for _ in range(10))
        assert all(known(name) for name in (first, *many))
        run = [made() for _ in range(3)]
        for name in run:
            assert ask(path, "POST", f"/exec/{name}/start", b'{"Detach":true}')[0] == 200
            ended = lambda name=name: json.loads(ask(path, "GET", f"/exec/{name}/json")[1])["ExitCode"] == 0  # noqa: E731
            assert until(ended)
        last = made()
        assert [known(name) for name in (first, run[0], run[1], run[2], last)] == [True, False, True, True, True]
        large = made(900_000), made(900_000)
        assert [known(name) for name in (first, run[2], *large)] == [False, False, False, True]
        assert until(lambda: not known(large[1]), 40)


def test_clients_that_wait_need_little(ul: Installation, place: Path) -> None:
    """Not too many wait for a start; and one looks for all that wait for a removal, while anybody does."""
    path, looks = place / "sock", place / "looks"
    ul("create", "--name", "waits", "-i", "box", "true")
    ul("run", "--name", "ended", "box", "sh", "-c", "exit 3", code=3)
    looks.touch()
    code = (
        "from underlay.api import runs; runs._WAITING = 3\n"
        "from underlay.engine.containers import Containers as C\n"
        "def counted(real):\n"
        f"    return lambda *a, **k: (open({str(looks)!r}, 'a').write('x'), real(*a, **k))[1]\n"
        "C.get, C.is_running = counted(C.get), counted(C.is_running)"
    )

    def connected(target: str) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(60)
        connection.connect(str(path))
        connection.sendall(f"POST {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return connection

    def status(connection: socket.socket) -> int:
        return int(connection.recv(1000).split()[1])

    target = "/containers/waits/attach?stream=1&stdin=1&stdout=1&stderr=1"
    with patched(ul, path, code):
        waiting = [connected(target) for _ in range(3)]
        assert [status(each) for each in waiting] == [200, 200, 200]
        for refused in (target, target.replace("&stdin=1", "")):
            with connected(refused) as connection:
                assert status(connection) == 503
        for each in waiting:
            each.close()

        def again() -> bool:
            with connected(target) as connection:
                return status(connection) == 200

        assert until(again)
        time.sleep(0.5)
        waiting = [connected("/containers/ended/wait?condition=removed") for _ in range(20)]
        time.sleep(2)
        before = looks.stat().st_size
        time.sleep(2)
        assert 0 < looks.stat().st_size - before <= 60
        for each in waiting[:10]:
            each.close()
        ul("rm", "ended")
        for each in waiting[10:]:
            came = b""
            while b"StatusCode" not in came:
                came += each.recv(1000)
            each.close()
        time.sleep(1)
        before = looks.stat().st_size
        time.sleep(1)
        assert looks.stat().st_size == before
