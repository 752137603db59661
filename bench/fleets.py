"""Scans of a registry that a generator makes: time, requests and memory of a first and of a second scan, by size.

    python bench/fleets.py --repositories 250,1250 --workers 1,2,4

Each repository has four tags, each tag an image of a base (of sixty) and a layer of its own, every second one more layer
with a package database. The registry is a process of its own on loopback.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import multiprocessing
import os
import random
import re
import resource
import socketserver
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BASES, TAGS, PACKAGES = 60, 4, 120
OWN = 20 << 10  # bytes of a layer of one's own
_PATH = re.compile(r"/v2/(?:_catalog|team/app(\d+)/(tags/list|manifests/(.+)|blobs/(.+)))")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _tar(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, io.BytesIO(content))
    return data.getvalue()


def _status(seed: int, more: int = 0) -> bytes:
    chance = random.Random(seed)
    rows = [(f"package{number}", chance.randrange(5)) for number in range(PACKAGES + more)]
    return "\n".join(
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.{version}-1\n"
        f"Maintainer: somebody <{name}@example.com>\nDescription: what {name} is for\n"
        for name, version in rows
    ).encode()


@cache
def base(number: int) -> bytes:
    """The tar of a base."""
    release = f"ID=debian\nVERSION_ID={10 + number % 4}\n".encode()
    return _tar({"etc/os-release": release, "var/lib/dpkg/status": _status(number)})


class Image:
    """The image of a tag: its documents and layers."""

    def __init__(self, repository: int, tag: int) -> None:
        number = repository * TAGS + tag
        tars = [base(repository % BASES)]
        if number % 2:
            tars.append(_tar({"var/lib/dpkg/status": _status(repository % BASES, 1 + number % 7), f"n{number}": b""}))
        tars.append(_tar({f"srv/app{number}": random.Random(number).randbytes(OWN)}))
        packed = [gzip.compress(each, 1, mtime=0) for each in tars]
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "rootfs": {"type": "layers", "diff_ids": [_digest(each) for each in tars]},
                "history": [{"created_by": f"step {place}"} for place in range(len(tars))],
            }
        ).encode()
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": _digest(config),
                "size": len(config),
            },
            "layers": [{"mediaType": kind, "digest": _digest(each), "size": len(each)} for each in packed],
        }
        self.manifest = json.dumps(manifest).encode()
        self.blobs = {_digest(each): each for each in [config, *packed]}


class Registry(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves images that are made when they are asked for; counts what it is asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, repositories: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories = repositories
        self.requests = self.sent = 0
        self.image = cache(Image)
        self.digests: dict[str, tuple[int, int]] = {}


class Handler(BaseHTTPRequestHandler):
    """Answers one client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Registry

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server = self.server
        path = self.path.partition("?")[0]
        if path == "/count":
            data = json.dumps([server.requests, server.sent]).encode()
            server.requests = server.sent = 0
            return self._answer(data, "application/json")
        server.requests += 1
        match = _PATH.fullmatch(path)
        if path == "/v2/":
            return self._answer(b"{}", "application/json")
        if match is None:
            return self._answer(b"{}", "application/json", status=404)
        if match[1] is None:
            names = [f"team/app{number}" for number in range(server.repositories)]
            return self._answer(json.dumps({"repositories": names}).encode(), "application/json")
        repository = int(match[1])
        if match[2] == "tags/list":
            tags = [f"1.{number}" for number in range(TAGS)]
            return self._answer(
                json.dumps({"name": f"team/app{repository}", "tags": tags}).encode(), "application/json"
            )
        if match[3]:
            if match[3].startswith("sha256:"):
                image = server.image(*server.digests[match[3]])
            else:
                tag = int(match[3].rpartition(".")[2])
                image = server.image(repository, tag)
                server.digests[_digest(image.manifest)] = (repository, tag)
            return self._answer(image.manifest, MANIFEST, _digest(image.manifest))
        for tag in range(TAGS):
            data = server.image(repository, tag).blobs.get(match[4])
            if data is not None:
                return self._answer(data, "application/octet-stream", match[4])
        return self._answer(b"{}", "application/json", status=404)

    def _answer(self, data: bytes, kind: str, digest: str = "", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
            self.server.sent += len(data)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _serve(repositories: int, made: multiprocessing.Queue[int]) -> None:
    server = Registry(repositories)
    for repository in range(repositories):  # so that making them is not measured
        for tag in range(TAGS):
            server.image(repository, tag)
    made.put(server.server_address[1])
    server.serve_forever()


def _scan(place: Path, port: int, workers: int, name: str) -> tuple[float, int, int, float, str]:
    """Scan once; returns seconds, requests, bytes that were sent, MB of the largest process, and what it printed."""
    environment = {**os.environ, "UNDERLAY_ROOT": f"{place}/root", "UNDERLAY_STATE": f"{place}/state"}
    environment["PYTHONPATH"] = f"{REPOSITORY}/src"
    words = [sys.executable, "-m", "underlay", "base", "scan", "-o", f"{place}/{name}.db", "--workers", str(workers)]
    began = time.monotonic()
    done = subprocess.run([*words, f"127.0.0.1:{port}/"], env=environment, capture_output=True, text=True, check=True)
    took = time.monotonic() - began
    requests, sent = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/count").read())
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return took, requests, sent, largest, done.stdout.strip()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", default="250,1250")
    parser.add_argument("--workers", default="2")
    options = parser.parse_args()
    print("| names | workers | scan | seconds | requests | sent (MB) | largest process (MB) | file (MB) |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for size in map(int, options.repositories.split(",")):
        made: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=_serve, args=(size, made), daemon=True)
        server.start()
        port = made.get()
        try:
            for workers in map(int, options.workers.split(",")):
                with tempfile.TemporaryDirectory() as directory:
                    place = Path(directory)
                    for what in ("first", "second"):
                        took, requests, sent, largest, said = _scan(place, port, workers, "scan")
                        megabytes = (place / "scan.db").stat().st_size / 1e6
                        print(
                            f"| {size * TAGS} | {workers} | {what} | {took:.1f} | {requests} | {sent / 1e6:.1f} | "
                            f"{largest:.0f} | {megabytes:.1f} |",
                            flush=True,
                        )
                        print(said, file=sys.stderr)
        finally:
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
