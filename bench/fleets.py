"""Scans of a registry that a generator makes: time, requests and memory of a first and of a second scan, by size.

    python bench/fleets.py --repositories 250,1250 --workers 1,2,4 --dask 1,2,4 --loop 20

Each repository has four tags, each tag an image of a base (of sixty) and a layer of its own, every second one more layer
with a package database: records of this host's own (dpkg's), in versions that vary. The registry is a process of its own
on loopback. `--dask` gives the work to so many workers of a Dask cluster instead, `--loop N` runs a scanner process for
each of N images beside it (`underlay base vulns`, since no other scanner of images is in Debian or on PyPI).
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
_ADVISORY = {
    "id": "BENCH-1",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": f"Debian:{10 + each}", "name": "bash"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.4-1"}]}],
        }
        for each in range(4)
    ],
}
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


@cache
def _records() -> list[str]:
    """The records of packages that this host has, without the lines of their versions."""
    records = Path("/var/lib/dpkg/status").read_text(encoding="utf-8").strip().split("\n\n")
    return [re.sub(r"^Version: .*\n", "", each, flags=re.MULTILINE) for each in records]


def _status(seed: int, more: int = 0) -> bytes:
    chance = random.Random(seed)
    records = _records()
    chosen = chance.sample(range(len(records)), min(PACKAGES + more, len(records)))
    return "\n\n".join(f"{records[place]}\nVersion: 1.{chance.randrange(5)}-1" for place in chosen).encode() + b"\n"


@cache
def base(number: int) -> tuple[bytes, bytes]:
    """The layer of a base: its tar, and that compressed."""
    release = f"ID=debian\nVERSION_ID={10 + number % 4}\n".encode()
    tar = _tar({"etc/os-release": release, "var/lib/dpkg/status": _status(number)})
    return tar, _packed(tar)


def _packed(tar: bytes) -> bytes:
    return gzip.compress(tar, 1, mtime=0)


class Image:
    """The image of a tag: its documents and layers."""

    def __init__(self, repository: int, tag: int) -> None:
        number = repository * TAGS + tag
        lowest, lowest_packed = base(repository % BASES)
        tars = [lowest]
        if number % 2:
            tars.append(_tar({"var/lib/dpkg/status": _status(repository % BASES, 1 + number % 7), f"n{number}": b""}))
        tars.append(_tar({f"srv/app{number}": random.Random(number).randbytes(OWN)}))
        packed = [lowest_packed, *map(_packed, tars[1:])]
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


def _underlay(place: Path, *words: str) -> tuple[float, str]:
    """Run a command with a store of its own; returns seconds, and what it printed."""
    environment = {**os.environ, "UNDERLAY_ROOT": f"{place}/root", "UNDERLAY_STATE": f"{place}/state"}
    environment["PYTHONPATH"] = f"{REPOSITORY}/src"
    began = time.monotonic()
    words = (sys.executable, "-m", "underlay", "base", *words)
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return time.monotonic() - began, done.stdout.strip()


def _scan(place: Path, port: int, workers: list[str]) -> tuple[float, int, int, float, str]:
    """Scan once; returns seconds, requests, bytes that were sent, MB of the largest process, and what it printed."""
    took, said = _underlay(place, "scan", "-o", f"{place}/scan.db", *workers, f"127.0.0.1:{port}/")
    requests, sent = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/count").read())
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return took, requests, sent, largest, said


def _measure(size: int, port: int, workers: str, words: list[str]) -> None:
    """Print a row for a first and one for a second scan."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for what in ("first", "second"):
            took, requests, sent, largest, said = _scan(place, port, words)
            megabytes = (place / "scan.db").stat().st_size / 1e6
            print(
                f"| {size * TAGS} | {workers} | {what} | {took:.1f} | {requests} | {sent / 1e6:.1f} | "
                f"{largest:.0f} | {megabytes:.1f} |",
                flush=True,
            )
            print(said, file=sys.stderr)


def _loop(size: int, port: int, count: int) -> None:
    """Print what a scanner process for each image costs, over `count` images that are spread over the registry."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        (place / "advisories.jsonl").write_text(json.dumps(_ADVISORY))  # without any, packages are not read
        _underlay(place, "advisories", "import", f"{place}/advisories.jsonl")
        urllib.request.urlopen(f"http://127.0.0.1:{port}/count").read()
        numbers = [each * size * TAGS // count for each in range(count)]
        seconds = sum(
            _underlay(place, "vulns", f"127.0.0.1:{port}/team/app{number // TAGS}:1.{number % TAGS}")[0]
            for number in numbers
        )
        requests, sent = json.loads(urllib.request.urlopen(f"http://127.0.0.1:{port}/count").read())
        print(f"\nA process for each of {count} images: {seconds:.1f} s, {requests} requests, {sent / 1e6:.1f} MB")


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=_numbers, default=[250, 1250])
    parser.add_argument("--workers", type=_numbers, default=[2])
    parser.add_argument("--dask", type=_numbers, default=[])
    parser.add_argument("--loop", type=int, default=0)
    options = parser.parse_args()
    print("| names | workers | scan | seconds | requests | sent (MB) | largest process (MB) | file (MB) |")
    print("| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for size in options.repositories:
        made: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=_serve, args=(size, made), daemon=True)
        server.start()
        port = made.get()
        try:
            for workers in options.workers:
                _measure(size, port, str(workers), ["--workers", str(workers)])
            for workers in options.dask:
                _measure(size, port, f"Dask {workers}", ["--cluster", f"local:{workers}"])
            if options.loop:
                _loop(size, port, options.loop)
        finally:
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
