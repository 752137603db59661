"""One engine in a process with threads: images, builds and containers at once, and what they leave is right."""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import image_tar, needs_root
from fakeregistry import FakeRegistry
from remoteimages import image, small_tar
from underlay import Engine
from underlay.linux import process

pytestmark = pytest.mark.root
needs_root()

LAYERS = 11  # as many as an ordinary image has: each is a question of a thread of its own
THREADS = 8
TURNS = 63  # of each thread: a push and a pull, so a thousand in all


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("UNDERLAY_REGISTRIES", "/dev/null")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with Engine(str(tmp_path / "root"), str(tmp_path / "state")) as engine:
        yield engine


def at_once(work: Callable[[int], None], count: int = THREADS) -> None:
    """Run `work(number)` in threads that begin together; fail with what they raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(count)

    def one(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["".join(traceback.format_exception(each)) for each in errors] == []


@pytest.mark.slow
def test_a_thousand_pushes_and_pulls(engine: Engine, registry: FakeRegistry) -> None:
    """Each push mounts layers from repositories that other threads have just made; digests stay as they are."""
    made = image([small_tar({f"file-{n}": b"%d" % n}) for n in range(LAYERS)])
    first = registry.add(made, "team/first", "1")
    engine.images.pull(first)

    def work(number: int) -> None:
        for turn in range(TURNS):
            name = f"{registry.host}/team/of-{number}:{turn}"
            engine.images.tag(first, name)
            pushed = engine.images.push(name)
            assert pushed.digest == made.digest
            engine.images.remove(name)
            pulled = engine.images.pull(name)
            assert pulled.id == made.id and name in pulled.tags

    at_once(work)
    assert {place.tags["0"] for name, place in registry.repositories.items() if "/of-" in name} == {made.digest}
    names = {name for image in engine.images.list() for name in image.tags}
    assert names == {first, *(f"{registry.host}/team/of-{n}:{turn}" for n in range(THREADS) for turn in range(TURNS))}
    assert engine.system.check().problems == []


def test_first_use_by_many(engine: Engine, registry: FakeRegistry) -> None:
    """The database is opened once, and the same layers asked for at once are brought once."""
    names = [
        registry.add(image([small_tar({"common": b"1"}), small_tar({f"{n}": b"2"})]), f"app-{n}", "1") for n in range(8)
    ]
    at_once(lambda number: engine.images.pull(names[number]) and None)
    assert {name for image in engine.images.list() for name in image.tags} == set(names)
    assert engine.system.check().problems == []


def test_new_layers_pushed_by_many(engine: Engine, registry: FakeRegistry, tmp_path: Path) -> None:
    """Images made here are compressed as they go out, each to the same bytes in whichever thread."""
    from layers import make

    tar = tmp_path / "root.tar"
    tar.write_bytes(make(("etc", "dir"), ("etc/name", "file", b"x" * 100_000)))
    engine.images.import_(str(tar), f"{registry.host}/app:0")
    for number in range(1, THREADS):
        engine.images.tag(f"{registry.host}/app:0", f"{registry.host}/app:{number}")
    digests = [""] * THREADS

    def work(number: int) -> None:
        pushed = engine.images.push(f"{registry.host}/app:{number}")
        digests[number] = pushed.digest

    at_once(work)
    assert len(set(digests)) == 1
    [layer] = json.loads(registry.repository("app").documents[digests[0]][1])["layers"]
    assert layer["digest"] in registry.repository("app").blobs


@pytest.fixture
def box(engine: Engine, tmp_path: Path) -> Engine:
    """The engine with an image that has a shell."""
    (tmp_path / "root.tar").write_bytes(image_tar())
    engine.images.import_(str(tmp_path / "root.tar"), "box")
    return engine


def test_containers_by_many(box: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is forked off a process with threads: the child would have their locks, and nobody to release them."""

    def refused(*_: object) -> int:
        raise AssertionError("forked off a process with threads")

    monkeypatch.setattr(os, "fork", refused)
    monkeypatch.setattr(process, "clone", refused)
    engine = box

    def work(number: int) -> None:
        word = f"word-{number}"
        done = engine.containers.run("box", ["echo", word], remove=True)
        assert (done.code, done.stdout, done.stderr) == (0, f"{word}\n".encode(), b"")
        container = engine.containers.run(
            "box", ["sleep", "600"], name=f"c{number}", detach=True, stop_signal="KILL", environment={"WORD": word}
        )
        for _ in range(3):
            asked = container.exec(["sh", "-c", "cat; echo $WORD >&2; exit 7"], input=word.encode())
            assert (asked.code, asked.stdout, asked.stderr) == (7, word.encode(), f"{word}\n".encode())
        container.stop()
        assert (container.status, container.wait()) == ("exited", 137)
        container.start()
        assert container.exec("true").code == 0
        context = tmp_path / f"context-{number}"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM box\nCOPY file /\nRUN cat file > made; echo {word} >> made\n")
        (context / "file").write_text("from the context\n")
        built = engine.builds.build(str(context), tags=f"built-{number}", network="none")
        assert built.image is not None
        result = engine.containers.run(built.image, ["cat", "/made"], remove=True, network="none")
        assert result.text == f"from the context\n{word}\n"
        container.remove(force=True)

    at_once(work)
    assert engine.containers.list(all=True) == []
    assert {name for image in engine.images.list() for name in image.tags} == {
        "box:latest",
        *(f"built-{number}:latest" for number in range(THREADS)),
    }
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [each for each in children if "underlay" in Path(f"/proc/{each}/comm").read_text()] == []
