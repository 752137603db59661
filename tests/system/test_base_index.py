"""Updates of the index of bases from registries: only what has changed, within limits, on from where one ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import faults
import signing
import underlay
from engines import Installation
from fakeregistry import FakeRegistry
from fakeserver import Handler
from registries import DockerRegistry
from remoteimages import Image, image, index, small_tar
from underlay import Engine
from underlay.base.identify.marks import spelling
from underlay.base.index import update
from underlay.errors import NotFound


def build(number: int, architecture: str = "amd64") -> Image:
    return image([small_tar({"n": f"{number} {architecture}".encode()})], architecture=architecture)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as made:
        for number in range(5):
            made.add(build(number), "team/base", str(number))
        yield made


def asked(registry: FakeRegistry) -> tuple[int, int, int]:
    """How many manifests were looked for and fetched, and blobs fetched, since this was last asked."""
    counts = (
        len(registry.asked("HEAD", "/manifests/")),
        len(registry.asked("GET", "/manifests/")),
        len(registry.asked("GET", "/blobs/")),
    )
    registry.forget()
    return counts


def test_only_what_has_changed(engine: Engine, registry: FakeRegistry) -> None:
    name = f"{registry.host}/team/base"
    done = engine.bases.update_index([name])
    assert (done.tags, done.new, done.moved, done.builds, done.problems) == (5, 5, 0, 5, ())
    assert asked(registry) == (5, 5, 5)
    again = engine.bases.update_index([name])
    assert (again.tags, again.new, again.moved) == (5, 0, 0)
    assert asked(registry) == (5, 0, 0)
    registry.add(build(9), "team/base", "4", "new")
    moved = engine.bases.update_index([name])
    assert (moved.tags, moved.new, moved.moved, moved.builds) == (6, 1, 1, 6)
    # One for each of the two tags; their build is fetched once.
    assert asked(registry) == (6, 2, 1)
    assert engine.bases.plan_index_update([name]).tags == 6


def test_one_platform_and_then_all(engine: Engine, registry: FakeRegistry) -> None:
    registry.add(index([build(1), build(1, "arm64")]), "team/many", "1")
    name = f"{registry.host}/team/many"
    assert engine.bases.update_index([name], "linux/amd64").new == 1
    asked(registry)
    assert engine.bases.update_index([name], "linux/amd64").new == 0 and asked(registry) == (1, 0, 0)
    # What was read for one platform says nothing of the others.
    assert engine.bases.update_index([name]).new == 1
    asked(registry)
    assert engine.bases.update_index([name], "linux/arm64").new == 0 and asked(registry) == (1, 0, 0)


def test_what_a_registry_allows(engine: Engine, registry: FakeRegistry) -> None:
    """At a tenth of its limit the rest is left for later, and the same command goes on with it."""
    left = 13

    def limited(handler: Handler, _: re.Match[str]) -> bool:
        nonlocal left
        left -= handler.command == "GET"
        handler.extra = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": f"{left};w=21600"}
        return False

    registry.rule("*", "/manifests/", limited)
    name = f"{registry.host}/team/base"
    first = engine.bases.update_index([name, f"{registry.host}/team/other"])
    assert first.new == 3 and left == 10
    [problem] = first.problems
    assert problem.startswith(f"{registry.host} allows no more for 6 hours: 2 of 2 repositories or tags are left")
    assert engine.bases.plan_index_update([name, f"{registry.host}/team/other"]).goes_on
    left = 100
    asked(registry)
    registry.add(build(8), "team/other", "1")
    second = engine.bases.update_index([name, f"{registry.host}/team/other"])
    assert (second.new, second.builds, second.problems) == (3, 6, ())
    # Tags that were done are not asked for again.
    assert asked(registry) == (3, 3, 3)


def test_too_many_requests(engine: Engine, registry: FakeRegistry) -> None:
    name = f"{registry.host}/team/base"
    registry.rule("HEAD", "/manifests/3", faults.status(429, {"Retry-After": "1800"}), times=1)
    done = engine.bases.update_index([name])
    assert done.new == 3 and "allows no more for 30 minutes" in done.problems[0]
    # A short wait is waited for.
    registry.rule("GET", "/manifests/3", faults.status(429, {"Retry-After": "1"}), times=1)
    started = time.monotonic()
    done = engine.bases.update_index([name])
    assert (done.new, done.problems) == (2, ()) and time.monotonic() - started >= 1


def test_on_after_a_kill(tmp_path: Path, registry: FakeRegistry) -> None:
    """What was saved before is not asked for again."""
    for number in range(200):
        registry.add(build(number), "team/large", str(number))
    name = f"{registry.host}/team/large"
    places = {"UNDERLAY_ROOT": str(tmp_path / "root"), "UNDERLAY_STATE": str(tmp_path / "state")}
    environment = {**os.environ, **places, "PYTHONPATH": str(Path(underlay.__file__).parent.parent)}
    script = (
        "import sys; from underlay.base.index import update; update._BETWEEN_SAVES = 0;"
        "from underlay import Engine; Engine().bases.update_index([sys.argv[1]])"
    )
    registry.rule("HEAD", "/manifests/", _slowly)
    running = subprocess.Popen([sys.executable, "-c", script, name], env=environment)
    deadline = time.monotonic() + 30
    while len(registry.asked("HEAD", "/manifests/")) < 140 and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    # Requests that it had sent may still come.
    before = -1
    while before != len(registry.requests):
        before = len(registry.requests)
        time.sleep(0.3)
    registry.forget()
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as engine:
        plan = engine.bases.plan_index_update([name])
        done = engine.bases.update_index([name])
        assert plan.goes_on and done.builds == 200 and done.tags == 200 and done.problems == ()
        heads, manifests, _ = asked(registry)
        assert heads <= 136 and manifests == heads
        assert not engine.bases.plan_index_update([name]).goes_on


def _slowly(handler: Handler, _: re.Match[str]) -> bool:
    time.sleep(0.02)
    return False


def test_what_is_asked_by_default(engine: Engine) -> None:
    plan = engine.bases.plan_index_update()
    assert plan.repositories == len(spelling.repositories()) == 144
    assert plan.tags > 5000 and plan.seconds > 60 and not plan.goes_on
    names = update._defaults(engine._store)
    assert "python" in names and len(names) == 144


def test_a_registry_that_is_not_there(engine: Engine, registry: FakeRegistry) -> None:
    with pytest.raises(NotFound):
        engine.bases.update_index([f"{registry.host}/no/such"])
    done = engine.bases.update_index(["127.0.0.1:1/a", "127.0.0.1:1/b", f"{registry.host}/team/base:1"])
    assert done.new == 1 and len(done.problems) == 1
    assert done.problems[0].startswith("127.0.0.1:1 cannot be reached") and "2 of 3" in done.problems[0]


def test_a_published_index_is_verified(tmp_path: Path, engine: Engine) -> None:
    """By digest, against Debian's registry."""
    with DockerRegistry(tmp_path / "registry") as registry, FakeRegistry() as images:
        images.add(build(1), "team/base", "1")
        engine.bases.update_index([f"{images.host}/team/base"])
        name = f"{registry.name}/indexes/bases"
        digest = engine.bases.push_index(f"{name}:1")
        other = Installation(tmp_path / "other")
        assert other.out("base", "index", "update", "--from", f"{name}@{digest}").splitlines()[-1] == digest
        wrong = other("base", "index", "update", "--from", f"{name}@sha256:{'0' * 64}", code=1).stderr
        assert b"not found" in wrong


def test_a_published_index_is_signed(tmp_path: Path, engine: Engine, registry: FakeRegistry) -> None:
    """By the key that is demanded, or by those of the trust policy; nothing is taken of one that is not."""
    engine.bases.update_index([f"{registry.host}/team/base"])
    name = f"{registry.host}/indexes/bases:1"
    digest = engine.bases.push_index(name)
    key = signing.private()
    keyfile = signing.public(key, tmp_path / "cosign.pub")
    other = Installation(tmp_path / "other")
    words = ("base", "index", "update", "--from", name)
    assert "there is no signature beside it" in other(*words, "--verify", keyfile, code=1).stderr.decode()
    policy = tmp_path / "policy.json"
    signed_by = {"type": "sigstoreSigned", "keyPath": keyfile, "signedIdentity": {"type": "matchRepository"}}
    scopes = {"docker": {f"{registry.host}/indexes": [signed_by]}}
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}], "transports": scopes}))
    other.environment["UNDERLAY_TRUST_POLICY"] = str(policy)
    assert "there is no signature" in other(*words, code=1).stderr.decode()
    assert "there is no signature" in other("base", "index", "pull", name, code=1).stderr.decode()
    assert other.out("base", "index", "ls", "--own", "--format", "{{.Name}}") == ""
    signing.sign(registry, "indexes/bases", digest, key)
    other.out(*words, "--verify", "policy")
    del other.environment["UNDERLAY_TRUST_POLICY"]
    assert other.out(*words, "--verify", keyfile).splitlines()[-1] == digest
    stranger = signing.public(signing.private(), tmp_path / "other.pub")
    assert "with another key" in other(*words, "--verify", stranger, code=1).stderr.decode()
    assert "--from" in other("base", "index", "update", "--verify", keyfile, code=1).stderr.decode()


def test_maintainers_publish(tmp_path: Path, registry: FakeRegistry) -> None:
    """The tool reads, publishes under two tags, and asks for changes only in the next run."""
    tool = Path(underlay.__file__).parents[2] / "tools" / "publish_index.py"
    target = f"{registry.host}/indexes/bases"
    words = [sys.executable, str(tool), target, f"{registry.host}/team/base", "--root", str(tmp_path / "kept")]
    first = subprocess.run(words, capture_output=True, check=True, text=True)
    assert "5 new builds of 5" in first.stderr
    asked(registry)
    second = subprocess.run([*words, "--tag", "again"], capture_output=True, check=True, text=True)
    assert second.stdout == first.stdout and len(registry.asked("GET", "/blobs/")) == 0
    taker = Installation(tmp_path / "taker")
    said = taker.out("base", "index", "update", "--from", f"{target}:latest").splitlines()
    assert said == ["5 builds under 5 names: 5 new", first.stdout.strip()]
    registry.rule("HEAD", "/manifests/", faults.status(429, {"Retry-After": "3600"}))
    assert subprocess.run(words, capture_output=True, check=False).returncode == 3
