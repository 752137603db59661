"""Contexts to build, and what builds say and make, for the system tests of `underlay build`."""

from __future__ import annotations

import http.server
import io
import json
import os
import re
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import pytest

from engines import Installation

Files = Mapping[str, str | bytes]
_OUTPUT = re.compile(r"^#\d+ \d+\.\d{3} ?(.*)$", re.MULTILINE)
_STEP = re.compile(r"^#(\d+) (\[.*)$", re.MULTILINE)
_MODERN = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


def write(place: Path, files: Files) -> Path:
    """Write files below a directory; names that end with / are directories."""
    place.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = place / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return place


def tar(files: Files, mode: str = "w") -> bytes:
    """Return an archive of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            content = data.encode() if isinstance(data, str) else data
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def outputs(said: str) -> list[str]:
    """Return the lines that steps have written, from a build's plain progress."""
    return _OUTPUT.findall(said)


def steps(said: str) -> dict[str, str]:
    """Return the steps of a build and how each has ended (DONE, CACHED, ERROR, ""), from its plain progress."""
    names = dict(_STEP.findall(said))
    ends = dict(re.findall(r"^#(\d+) (DONE|CACHED|ERROR)\b", said, re.MULTILINE))
    return {name: ends.get(number, "") for number, name in names.items()}


def cached(said: str) -> list[str]:
    """Return the instructions of a build that came from the cache."""
    return [name.partition("] ")[2] for name, end in steps(said).items() if end == "CACHED"]


class Builder:
    """Builds with one installation, each from a new context below a place."""

    def __init__(self, ul: Installation, place: Path) -> None:
        self.ul = ul
        self.place = place
        self._count = 0

    def context(self, dockerfile: str, files: Files | None = None) -> Path:
        """Return a new context."""
        self._count += 1
        given: Files = {"Dockerfile": dockerfile, **(files or {})}
        return write(self.place / f"context{self._count}", given)

    def at(self, context: Path | str, *words: str, code: int = 0, input: bytes | None = None) -> str:
        """Build a context; returns what is said on standard error."""
        done = self.ul("build", "--progress", "plain", *words, str(context), code=code, input=input)
        said = done.stderr.decode(errors="replace")
        assert "Traceback" not in said, said
        return said

    def __call__(self, dockerfile: str, *words: str, files: Files | None = None, code: int = 0) -> str:
        """Build a Dockerfile with these files beside it; returns what is said on standard error."""
        return self.at(self.context(dockerfile, files), *words, code=code)

    def said(self, dockerfile: str, *words: str, files: Files | None = None) -> list[str]:
        """Build without the cache; returns what the steps have written."""
        return outputs(self(dockerfile, "--no-cache", *words, files=files))

    def refused(self, context: Path | str, *words: str, code: int = 1, input: bytes | None = None) -> str:
        """Build what must fail with one clear line; returns that line and its hint."""
        said = self.at(context, *words, code=code, input=input)
        lines = [line for line in said.splitlines() if line.startswith("underlay: ")]
        assert len(lines) == 1, said
        return said[said.index(lines[0]) :]

    def fails(self, dockerfile: str, *words: str, files: Files | None = None, code: int = 1) -> str:
        """Build a Dockerfile that must fail with one clear line; returns that line and its hint."""
        return self.refused(self.context(dockerfile, files), *words, code=code)

    def tree(self, dockerfile: str, *words: str, files: Files | None = None) -> Path:
        """Build into a directory."""
        context = self.context(dockerfile, files)
        target = self.place / f"tree{self._count}"
        self.at(context, "--output", f"type=local,dest={target}", *words)
        return target

    def listed(self, dockerfile: str, *words: str, files: Files | None = None) -> list[str]:
        """Build into a directory; returns the files in it."""
        target = self.tree(dockerfile, *words, files=files)
        return sorted(str(each.relative_to(target)) for each in target.rglob("*") if not each.is_dir())

    def config(self, name: str) -> dict[str, Any]:
        """Return what `inspect` says about an image."""
        (found,) = json.loads(self.ul.out("inspect", name))
        assert isinstance(found, dict)
        return found


def blob(archive: Path, digest: str) -> Any:
    """Return a JSON document of an OCI archive."""
    with tarfile.open(archive) as opened:
        member = opened.extractfile("blobs/" + digest.replace(":", "/"))
        assert member is not None
        return json.load(member)


def index_of(archive: Path) -> Any:
    """Return the index.json of an OCI archive."""
    with tarfile.open(archive) as opened:
        member = opened.extractfile("index.json")
        assert member is not None
        return json.load(member)


# Git


def git(place: Path, *words: str) -> str:
    """Run git in a directory without anybody's settings."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    more = ("-c", "protocol.file.allow=always", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *identity, *more, *words], cwd=place, env={**os.environ, **_MODERN}, capture_output=True
    )
    if done.returncode:
        pytest.fail(f"git {' '.join(words)}: {done.stderr.decode()}")
    return done.stdout.decode().strip()


def repository(place: Path, files: Files, links: Mapping[str, str] | None = None) -> Path:
    """Return a Git repository with one commit on main."""
    write(place, files)
    for name, target in (links or {}).items():
        (place / name).symlink_to(target)
    git(place, "init", "-q")
    commit(place)
    return place


def commit(place: Path) -> str:
    """Commit all that is in a repository; returns the commit."""
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "of the tests")
    return git(place, "rev-parse", "HEAD")


class GitServer:
    """All repositories below a directory by HTTP on loopback, through git's own program for that."""

    def __init__(self, place: Path) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler(place))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @staticmethod
    def _handler(place: Path) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                environment = {
                    **os.environ,
                    **_MODERN,
                    "GIT_PROJECT_ROOT": str(place),
                    "GIT_HTTP_EXPORT_ALL": "1",
                    "PATH_INFO": path.replace(".git/", "/.git/", 1),
                    "QUERY_STRING": query,
                    "REQUEST_METHOD": self.command,
                    "REMOTE_ADDR": "127.0.0.1",
                    "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                    "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                    "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                }
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                environment["CONTENT_LENGTH"] = str(len(body))
                done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
                head, _, content = done.stdout.partition(b"\r\n\r\n")
                fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
                self.send_response(int(fields.pop("Status", "200").split()[0]))
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


TOKEN = "canary-token-7341"  # what the fixture `canary` has put into a file


def harmless(said: str, builder: Builder) -> None:
    """Fail when what stands for the host has been seen, in what is said or in the store."""
    assert TOKEN not in said
    for path in builder.ul.root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20:
            assert TOKEN.encode() not in path.read_bytes(), path
