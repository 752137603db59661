"""The server over TCP with TLS: who has no certificate is nobody, and streams are as whole as on a socket of the host."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import apiserver
from apiserver import place
from engines import Installation, needs_root, until

__all__ = ["place"]  # a fixture
pytestmark = pytest.mark.root


@pytest.fixture
def port(ul: Installation, place: Path) -> Iterator[int]:
    """The port of a server; beside it are the certificates `authority`, `server`, `client` and `stranger`."""
    pytest.importorskip("aiohttp")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for name in ("authority", "stranger"):
        openssl(
            "req", "-x509", *kind, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"
        )
    (place / "ext").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *kind, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", "authority.pem", "-CAkey", "authority.key", "-days", "2"]
        openssl(*sign, "-CAcreateserial", "-extfile", "ext", "-out", f"{name}.pem")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    files = [f"--tlscacert={place}/authority.pem", f"--tlscert={place}/server.pem", f"--tlskey={place}/server.key"]
    with apiserver.serving(ul, place / "sock", "-H", f"tcp://127.0.0.1:{number}", *files):
        yield number


def connected(place: Path, port: int, name: str = "client") -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=str(place / "authority.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # what `openssl req` makes by itself does not say all that it wants
    if name:
        context.load_cert_chain(place / f"{name}.pem", place / f"{name}.key")
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname="127.0.0.1")


def answer(connection: ssl.SSLSocket) -> bytes:
    made = b""
    while data := connection.recv(65536):
        made += data
    return made


PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_who_has_no_certificate_is_nobody(place: Path, port: int) -> None:
    with connected(place, port) as good:
        good.sendall(PING)
        assert answer(good).endswith(b"\r\n\r\nOK")
    for name in ("", "stranger"):
        with pytest.raises(OSError), connected(place, port, name) as bad:
            bad.sendall(PING)
            assert answer(bad)
            raise AssertionError("it was answered")
    # Nor is one who speaks no TLS, or goes away in the handshake.
    with socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.sendall(PING)
        assert b"HTTP" not in plain.recv(1000)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        silent.sendall(b"\x16\x03\x01")
    with connected(place, port) as again:
        again.sendall(PING)
        assert answer(again).endswith(b"OK")


def test_large_bodies_go_both_ways(ul: Installation, place: Path, port: int) -> None:
    """More than any buffer holds, to a reader who takes his time."""
    ul("create", "--name", "large", "--network", "none", "box", "true")
    content = os.urandom(1 << 20) * 24
    (place / "file").write_bytes(content)
    subprocess.run(["tar", "-cf", place / "tar", "-C", place, "file"], check=True)
    archive = (place / "tar").read_bytes()
    with connected(place, port) as sending:
        head = f"PUT /containers/large/archive?path=/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(archive)}\r\n"
        sending.sendall(head.encode() + b"Connection: close\r\n\r\n" + archive)
        assert answer(sending).startswith(b"HTTP/1.1 200")
    with connected(place, port) as reading:
        # To a client of HTTP/1.0 the end of the connection is the end of the answer.
        reading.sendall(b"GET /containers/large/archive?path=/file HTTP/1.0\r\nHost: x\r\n\r\n")
        time.sleep(0.5)
        assert content in answer(reading)
    with connected(place, port) as leaving:
        leaving.sendall(b"GET /containers/large/archive?path=/file HTTP/1.1\r\nHost: x\r\n\r\n")
        assert leaving.recv(1000)
    # What has been reading the files for a client that goes away ends, too: the container can be removed.
    assert until(lambda: ul("rm", "large", code=None).returncode == 0)


@pytest.fixture
def docker(ul: Installation, place: Path, port: int) -> Installation:
    needs_root()
    if shutil.which("docker") is None:
        pytest.skip("no docker")
    (place / "certificates").mkdir()
    for theirs, ours in (("ca", "authority.pem"), ("cert", "client.pem"), ("key", "client.key")):
        shutil.copy(place / ours, place / "certificates" / f"{theirs}.pem")
    made = Installation(place)
    made.command = ["docker"]
    made.environment = {
        **ul.environment,
        "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(place / "certificates"),
        "DOCKER_CONFIG": str(place / "config"),
    }
    return made


def test_output_after_the_end_of_the_input(docker: Installation) -> None:
    """Docker's client says that it sends no more, and waits for the output."""
    run = ("run", "--rm", "--network", "none", "-i", "box")
    assert docker.out(*run, "sh", "-c", "cat; sleep 0.5; echo late", input=b"said\n") == "said\nlate"
    assert docker.out(*run, "sh", "-c", "sleep 0.5; echo late") == "late"
    content = os.urandom(1 << 20) * 8
    assert docker(*run, "cat", input=content).stdout == content
    docker("run", "-d", "--name", "by-tls", "--network", "none", "box", "sleep", "600")
    try:
        assert (
            docker.out("exec", "-i", "by-tls", "sh", "-c", "cat; sleep 0.5; echo late", input=b"said\n") == "said\nlate"
        )
        assert docker("exec", "by-tls", "sh", "-c", "echo out; echo err >&2; exit 3", code=3).stderr == b"err\n"
    finally:
        docker("rm", "-f", "by-tls")
