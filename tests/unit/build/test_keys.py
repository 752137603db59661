"""Keys of steps: one thing is changed at a time, and a key has to change exactly when the step's result can."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from underlay import Engine
from underlay.builder.cache.cache import Cache
from underlay.builder.context import git
from underlay.builder.filesystem import Made
from underlay.builder.request import BuildRequest, CacheStore, Output, Secret
from underlay.dockerfile.mounts import FIELDS
from underlay.dockerfile.reading import FLAGS
from underlay.store.rows.layers import Layer

Files = Callable[[Path], object]


@dataclass(frozen=True)
class Change:
    """Something that is changed: how the last line of a Dockerfile, the context or the options of a build were and are.

    `covers` names the option that it is about (`copy --chown`, `mount id`, `build shm_size`).
    """

    covers: str
    before: str
    after: str
    matters: bool
    change: Files | None = None
    options: dict[str, Any] = field(default_factory=dict)
    then: dict[str, Any] = field(default_factory=dict)


def same(covers: str, before: str, after: str = "", **more: Any) -> Change:
    return Change(covers, before, after or before, False, **more)


def other(covers: str, before: str, after: str = "", **more: Any) -> Change:
    return Change(covers, before, after or before, True, **more)


def writing(name: str, text: str = "changed") -> Files:
    return lambda place: (place / name).write_text(text)


def moving(name: str, to: str) -> Files:
    return lambda place: (place / name).rename(place / to)


COPIES = (
    # The pivot decides which directories are kept.
    other("copy --parents", "COPY --parents a/b/f /x/", "COPY --parents a/./b/f /x/"),
    other("copy --parents", "COPY --parents a/./b/f /x/", "COPY --parents a/b/./f /x/"),
    other("copy --parents", "COPY --parents --from=other a/b/f /x/", "COPY --parents --from=other a/./b/f /x/"),
    other("copy --parents", "COPY a/b/f /x/", "COPY --parents a/b/f /x/"),
    other("copy --parents", "COPY --parents **/f /x/", change=writing("a/b/f")),
    other("copy --parents", "COPY --parents **/f /x/", change=lambda place: (place / "a/b").chmod(0o700)),
    same("copy --parents", "COPY --parents **/f /x/", change=writing("a/g")),
    other("copy --from", "COPY --from=other f /x/", "COPY f /x/", change=writing("f")),
    same("copy --from", "COPY --from=other f /x/", "COPY f /x/"),
    other("copy --chown", "COPY f /x/", "COPY --chown=1 f /x/"),
    other("copy --chown", "COPY --chown=1 f /x/", "COPY --chown=1:2 f /x/"),
    other("copy --chmod", "COPY f /x/", "COPY --chmod=700 f /x/"),
    other("copy --chmod", "COPY --chmod=u+x f /x/", "COPY --chmod=u+w f /x/"),
    other("copy --link", "COPY f /x/", "COPY --link f /x/"),
    other("copy --exclude", "COPY a /x/", "COPY --exclude=g a /x/"),
    same("copy --exclude", "COPY --exclude=g a /x/", change=writing("a/g")),
    same("copy --exclude", "COPY --exclude=none a /x/", "COPY a /x/"),
    other("copy --exclude", "COPY --exclude=f a /x/", change=writing("a/g")),
    # What is copied, and where to.
    other("copy", "COPY f /x/", "COPY f /y/"),
    other("copy", "COPY f /x", "COPY f /x/"),
    other("copy", "COPY f /x/", change=writing("f")),
    other("copy", "COPY f /x/", change=lambda place: (place / "f").chmod(0o700)),
    other("copy", "COPY a f /x/", "COPY f a /x/"),
    same("copy", "COPY f /x/", change=writing("g")),
    same("copy", "COPY f /x/", change=lambda place: os.utime(place / "f", (1, 1))),
    same("copy", "COPY f /x/", "COPY ./f   /x/"),
    same("copy", "COPY a /x/", "COPY b /x/", change=moving("a", "b")),
    other("copy", "COPY f /x/", "COPY h /x/", change=moving("f", "h")),
    other("copy", "WORKDIR /one\nCOPY f x/", "WORKDIR /two\nCOPY f x/"),
    same("copy", "WORKDIR /one\nCOPY --link f /x/", "WORKDIR /two\nCOPY --link f /x/"),
    other("copy", "WORKDIR /one\nCOPY --link f x/", "WORKDIR /two\nCOPY --link f x/"),
    same("copy", "ENV A=1\nCOPY f /x/", "ENV A=2\nCOPY f /x/"),
    other("copy", "COPY <<f /x/\n1\nf", "COPY <<f /x/\n2\nf"),
    other("copy", "COPY <<f /x/\n1\nf", "COPY <<g /x/\n1\ng"),
    same("copy", "COPY f /x/", "copy f /x/"),
    same("add --unpack", "COPY f /x/", "ADD --unpack=false f /x/"),
    other("add --unpack", "ADD f /x/", "ADD --unpack=false f /x/"),
    other("add --unpack", "ADD {url}/f /x/", "ADD --unpack {url}/f /x/"),
    same("add --checksum", "ADD {url}/f /x/", "ADD {url}/./f /x/"),
    other("add --checksum", "ADD --checksum={one} {url}/f /x/", "ADD --checksum={two} {url}/f /x/"),
    other("add", "ADD {url}/f /x/", change=writing("f")),
    # A fetched file keeps the time that its server tells.
    other("add", "ADD {url}/f /x/", change=lambda place: os.utime(place / "f", (1, 1))),
    other("add --keep-git-dir", "ADD {url}/r.git /x/", "ADD --keep-git-dir {url}/r.git /x/"),
    other("add --exclude", "ADD {url}/r.git /x/", "ADD --exclude=f {url}/r.git /x/"),
    other("add", "ADD {url}/r.git /x/", "ADD {url}/r.git#:a /x/"),
    other("add --chown", "ADD f /x/", "ADD --chown=1 f /x/"),
    other("add --chmod", "ADD f /x/", "ADD --chmod=700 f /x/"),
    other("add --link", "ADD f /x/", "ADD --link f /x/"),
    same("from --platform", "COPY f /x/", "COPY f /x/"),
    other("workdir", "WORKDIR /a", "WORKDIR /b"),
    same("workdir", "WORKDIR /a", "WORKDIR /a/."),
    other("workdir", "USER 1\nWORKDIR /a", "USER 2\nWORKDIR /a"),
    same("healthcheck", "HEALTHCHECK CMD true\nCOPY f /", "HEALTHCHECK --interval=5s CMD true\nCOPY f /"),
)

DEVICES = {"allow": ["device"]}
BIND, CACHE, SECRET = "RUN --mount=type=bind,", "RUN --mount=type=cache,target=/c,", "RUN --mount=type=secret,id=s,"
RUNS = (
    other("run", "RUN one", "RUN two"),
    other("run", "RUN one", 'RUN ["one"]'),
    other("run", "RUN <<f\n#!/bin/a\n1\nf", "RUN <<f\n#!/bin/a\n2\nf"),
    other("run", "ENV A=1\nRUN one", "ENV A=2\nRUN one"),
    other("run", "ARG A=1\nRUN one", "ARG A=2\nRUN one"),
    other("run", "USER 1\nRUN one", "USER 2\nRUN one"),
    other("run", 'SHELL ["a"]\nRUN one', 'SHELL ["b"]\nRUN one'),
    same("run", "LABEL a=1\nRUN one", "LABEL a=2\nRUN one"),
    same("run", "CMD one\nRUN one", "CMD two\nRUN one"),
    other("run", "COPY f /\nRUN one", change=writing("f")),
    other("run --network", "RUN one", "RUN --network=none one"),
    other("run --security", "RUN one", "RUN --security=insecure one", options={"allow": ["security.insecure"]}),
    other("run --device", "RUN one", "RUN --device=vendor.com/device=a one", options=DEVICES),
    other("run --device", "RUN --device=vendor.com/device=a one", "RUN --device=class one", options=DEVICES),
    other("run --device", "RUN --device=a.com/b=c one", "RUN --device=a.com/b=c,required one", options=DEVICES),
    same("run --device", "RUN --device=a.com/b=c one", "RUN --device=name=a.com/b=c one", options=DEVICES),
    other("run --mount", "RUN one", "RUN --mount=type=tmpfs,target=/t one"),
    other("mount type", "RUN --mount=type=tmpfs,target=/t one", "RUN --mount=type=cache,target=/t one"),
    other("mount from", BIND + "target=/t one", BIND + "from=other,target=/t one", change=writing("f")),
    other("mount from", CACHE + "from=other one", CACHE + "from=another one"),
    other("mount source", BIND + "source=a,target=/t one", BIND + "source=a/b,target=/t one"),
    same("mount source", BIND + "source=a,target=/t one", BIND + "source=b,target=/t one", change=moving("a", "b")),
    other("mount source", BIND + "source=a,target=/t one", change=writing("a/g")),
    same("mount source", BIND + "source=a,target=/t one", change=writing("f")),
    other("mount source", CACHE + "id=i one", CACHE + "id=i,source=a one"),
    other("mount source", SECRET + "target=/t one", "RUN --mount=type=secret,id=t,target=/t one"),
    other("mount target", BIND + "target=/t one", BIND + "target=/u one"),
    same("mount target", "WORKDIR /w\n" + BIND + "target=t one", "WORKDIR /w\n" + BIND + "target=/w/t one"),
    other("mount readonly", CACHE + "readonly=false one", CACHE + "readonly one"),
    other("mount readwrite", BIND + "target=/t one", BIND + "target=/t,rw one"),
    same("mount readwrite", CACHE + "rw one", CACHE + "readonly=false one"),
    other("mount id", CACHE + "id=a one", CACHE + "id=b one"),
    other("mount id", SECRET + "target=/t one", "RUN --mount=type=secret,id=u,target=/t one"),
    other("mount id", "RUN --mount=type=ssh,id=a one", "RUN --mount=type=ssh,id=b one"),
    other("mount sharing", CACHE + "sharing=shared one", CACHE + "sharing=private one"),
    same("mount sharing", CACHE + "sharing=shared one", "RUN --mount=type=cache,target=/c one"),
    other("mount required", SECRET + "target=/t one", SECRET + "target=/t,required one"),
    other("mount mode", CACHE + "mode=700 one", CACHE + "mode=755 one"),
    other("mount mode", SECRET + "mode=400 one", SECRET + "mode=440 one"),
    other("mount uid", CACHE + "uid=1 one", CACHE + "uid=2 one"),
    other("mount gid", SECRET + "gid=1 one", SECRET + "gid=2 one"),
    other("mount size", "RUN --mount=type=tmpfs,target=/t,size=1m one", "RUN --mount=type=tmpfs,target=/t,size=2m one"),
    other("mount env", SECRET + "env=A one", SECRET + "env=B one"),
    other("mount env", SECRET + "target=/t one", SECRET + "target=/t,env=A one"),
)

RUN = "RUN one"
OPTIONS = (
    other("build arguments", "ARG A\nRUN one", options={"arguments": {"A": "1"}}, then={"arguments": {"A": "2"}}),
    same("build arguments", RUN, options={"arguments": {"A": "1"}}, then={"arguments": {"A": "2"}}),
    same("build arguments", RUN, then={"arguments": {"HTTP_PROXY": "http://proxy:1"}}),
    other("build arguments", RUN, then={"arguments": {"BUILDKIT_SANDBOX_HOSTNAME": "other"}}),
    other("build contexts", BIND + "from=other,target=/t one", then={"contexts": {"other": "docs"}}),
    other("build network", RUN, then={"network": "none"}),
    other("build extra_hosts", RUN, then={"extra_hosts": ["a:1.2.3.4"]}),
    other("build shm_size", RUN, then={"shm_size": 1 << 20}),
    other("build ulimits", RUN, options={"ulimits": ["nofile=1"]}, then={"ulimits": ["nofile=2"]}),
    other("build security", RUN, then={"security": ["no-new-privileges"]}),
    other("build devices", RUN, then={"devices": ["a.com/b=c"]}),
    other("build epoch", RUN, options={"epoch": 1}, then={"epoch": 2}),
    other("build platforms", RUN, options={"platforms": ["linux/arm/v6"]}, then={"platforms": ["linux/arm/v7"]}),
    same("build platforms", "COPY f /", options={"platforms": ["linux/arm/v6"]}, then={"platforms": ["linux/arm/v7"]}),
    same("build tags", RUN, then={"tags": ["a"]}),
    same("build target", "RUN one\nFROM scratch AS last", options={"target": "0"}, then={"target": "0"}),
    same("build labels", RUN, then={"labels": {"a": "b"}}),
    same("build annotations", RUN, then={"annotations": ["a=b"]}),
    same("build squash", RUN, then={"squash": True}),
    same("build pull", RUN, then={"pull": True}),
    same("build no_cache", RUN, then={"no_cache": True}),
    same("build no_cache_filter", RUN, then={"no_cache_filter": ["0"]}),
    same("build secrets", SECRET + "target=/t one", then={"secrets": {"s": Secret("/etc/passwd")}}),
    same("build ssh", "RUN --mount=type=ssh one", then={"ssh": {"default": "/dev/null"}}),
    same("build allow", RUN, then={"allow": ["network.host"]}),
    same("build isolation", RUN, then={"isolation": "process"}),
    # They bound how fast a step is and whether it ends well, and what fails is not kept.
    same("build limits", RUN, then={"limits": {"memory": 1 << 30}}),
    same("build provenance", RUN, then={"provenance": "min"}),
    same("build sbom", RUN, then={"sbom": "spdx"}),
    same("build outputs", RUN, then={"outputs": [Output("cacheonly")]}),
)
# Where a build's files come from and go to, and what it runs on, which steps do not see.
NOT_OF_STEPS = {"context", "dockerfile", "cache_from", "cache_to", "cache_namespace", "cancellation", "kernel"}


def test_every_option_is_changed() -> None:
    """An option that nobody has thought of here fails the test."""
    covered = {change.covers for change in (*COPIES, *RUNS, *OPTIONS)}
    flags = {f"{word} --{flag}" for word, known in FLAGS.items() for flag in known if word != "healthcheck"}
    names = {f"mount {name}" for name in FIELDS}
    options = {f"build {name}" for name in set(BuildRequest._fields) - NOT_OF_STEPS}
    assert (flags | names | options) - covered == set()


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    place = tmp_path_factory.mktemp("keys")
    place.chmod(0o700)
    with Engine(str(place / "root"), str(place / "state")) as engine:
        yield engine


@pytest.fixture
def context(tmp_path: Path) -> Path:
    for name in ("context/a/b/f", "context/a/g", "context/f", "context/g", "other/a/b/f", "other/f", "another/h"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name.rpartition("/")[2])
    return tmp_path / "context"


@pytest.fixture
def key(
    engine: Engine, context: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, dict[str, Any]], str]]:
    """Return the key of the last step of a Dockerfile; nothing is carried out."""
    keys: list[str] = []

    def made(self: Cache, key: str, *_: object, **__: object) -> tuple[Made, int]:
        keys.append(key)
        return Made(Layer("sha256:" + "0" * 64, 0, 0, 0)), 0

    def checkout(text: str, *_: object, **__: object) -> tuple[str, str]:
        return str(context), "1" * 40

    monkeypatch.setattr(Cache, "made", made)
    monkeypatch.setattr(git, "checkout", checkout)
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(context)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    words = {
        "url": f"http://127.0.0.1:{server.server_port}",
        "one": "sha256:" + "1" * 64,
        "two": "sha256:" + "2" * 64,
    }

    def find(lines: str, options: dict[str, Any]) -> str:
        for name, value in words.items():
            lines = lines.replace("{" + name + "}", value)
        platform = " --platform=linux/arm64" if not options.get("platforms") else ""
        (tmp_path / "Dockerfile").write_text(f"FROM{platform} scratch\n{lines}\n")
        keys.clear()
        given: dict[str, Any] = {
            "contexts": {"other": str(tmp_path / "other"), "another": str(tmp_path / "another")},
            "outputs": [Output("cacheonly")],
            **options,
        }
        engine.builds.build(str(context), dockerfile=str(tmp_path / "Dockerfile"), **given)
        return keys[-1]

    yield find
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "change", (*COPIES, *RUNS, *OPTIONS), ids=lambda change: f"{change.covers}: {change.before} to {change.after}"
)
def test_a_key_changes_when_the_result_can(
    key: Callable[[str, dict[str, Any]], str], context: Path, change: Change
) -> None:
    before = key(change.before, change.options)
    assert key(change.before, change.options) == before
    if change.change is not None:
        change.change(context)
    after = key(change.after, {**change.options, **change.then})
    assert (after != before) is change.matters


def test_the_platform_of_a_run(key: Callable[[str, dict[str, Any]], str]) -> None:
    """Programs see which processor they are on; files are copied the same way everywhere."""

    def of(platform: str, line: str) -> str:
        return key(f"FROM --platform={platform} scratch\n{line}", {})

    assert of("linux/386", "RUN one") != of("linux/arm64", "RUN one")
    assert of("linux/386", "COPY f /") == of("linux/arm64", "COPY f /")


CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # linux/capability.h, struct vfs_cap_data


@pytest.mark.skipif(os.geteuid() != 0, reason="capabilities of files are set by root")
def test_attributes_of_users(key: Callable[[str, dict[str, Any]], str], context: Path) -> None:
    before = key("COPY f /x/", {})
    try:
        os.setxattr(context / "f", "user.one", b"1")
    except OSError:
        pytest.skip("the file system has no extended attributes")
    # They stay with the host, as with BuildKit.
    assert key("COPY f /x/", {}) == before
    os.setxattr(context / "f", "security.capability", CAPABILITY)
    assert key("COPY f /x/", {}) != before


def test_external_caches_are_not_in_keys(key: Callable[[str, dict[str, Any]], str], tmp_path: Path) -> None:
    store = CacheStore("local", str(tmp_path / "none"))
    assert key(RUN, {}) == key(RUN, {"cache_from": [store]})
