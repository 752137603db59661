"""What is typed of registries, lists that are kept, and questions that take too long or are too many."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from engines import until
from underlay.api.work import Work
from underlay.errors import Conflict, InvalidInput, RegistryError
from underlay.events import Event
from underlay.web.registries import places, pulls, remote
from underlay.web.registries.asking import Asking, Busy


@pytest.mark.parametrize(
    ("text", "domain", "path", "image"),
    [
        ("registry.example.com", "registry.example.com", "", ""),
        ("https://registry.example.com/", "registry.example.com", "", ""),
        ("registry:5000/", "registry:5000", "", ""),
        ("localhost:5000", "localhost:5000", "", ""),
        ("[::1]:5000", "[::1]:5000", "", ""),
        ("docker.io", "docker.io", "", ""),
        ("index.docker.io", "docker.io", "", ""),
        ("registry.example.com/team", "registry.example.com", "team", ""),
        ("registry.example.com/team/", "registry.example.com", "team", ""),
        ("docker.io/library/python", "docker.io", "library/python", ""),
        ("python", "docker.io", "library/python", ""),
        ("python:3.12", "docker.io", "library/python", "python:3.12"),
        ("python:3", "docker.io", "library/python", "python:3"),
        ("docker://example.com/a:1", "example.com", "a", "example.com/a:1"),
        ("example.com/a@sha256:" + "0" * 64, "example.com", "a", "example.com/a@sha256:" + "0" * 64),
    ],
)
def test_what_is_typed(text: str, domain: str, path: str, image: str) -> None:
    place = places.parse(text)
    assert (place.domain, place.path) == (domain, path)
    assert (place.reference.familiar if place.reference else "") == image


@pytest.mark.parametrize(
    ("text", "namespace", "shown"),
    [
        ("docker.io", "library", "docker.io"),
        ("docker.io/library", "library", "docker.io/library"),
        ("https://index.docker.io/team/", "team", "docker.io/team"),
        ("docker.io/team/app", "", "team/app"),
        ("python", "", "python"),
        ("registry.example.com/team", "", "registry.example.com/team"),
    ],
)
def test_namespaces_of_docker_hub(text: str, namespace: str, shown: str) -> None:
    place = places.parse(text)
    assert (place.namespace, str(place)) == (namespace, shown)


@pytest.mark.parametrize(
    "text", ["", "/", "registry/", "UPPER/Case", "a b", "<script>", "exa mple.com", "x" * 501, "-.-"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidInput):
        places.parse(text)


def test_long_lists_are_not_kept() -> None:
    lists = places.Lists()
    read: list[str] = []

    def names(key: str, count: int) -> int:
        def once() -> list[str]:
            read.append(key)
            return ["x"] * count

        return len(lists.of("tags", key, once))

    assert names("short", 3) == names("short", 3) == 3 and read == ["short"]
    assert names("long", 20_001) == names("long", 20_001) == 20_001 and read == ["short", "long", "long"]
    for number in range(16):
        names(str(number), 1)
    names("short", 3)
    assert read.count("short") == 2  # it was the oldest


class Connections:
    """Stands for the connections of a question: they wait until they are ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def cancel(self) -> None:
        self.ended.set()


def test_a_question_that_takes_too_long_is_ended() -> None:
    connections: Any = Connections()

    def question(opened: list[Any]) -> bool:
        opened.append(connections)
        return bool(connections.ended.wait(60))

    async def ask() -> None:
        work: Any = Work(None)  # type: ignore[arg-type]
        asking = Asking(work, patience=0.05, at_once=1)
        with pytest.raises(RegistryError, match="no whole answer"):
            await asking.ask("example.com", question)
        assert connections.ended.wait(60)
        for _ in range(1000):  # its place is free again as soon as its thread has ended
            try:
                assert await asking.ask("example.com", lambda _: 7) == 7
                return
            except Busy:
                await asyncio.sleep(0.01)
        pytest.fail("its thread does not end")

    asyncio.run(ask())


def test_too_many_questions() -> None:
    go_on = threading.Event()

    async def ask() -> None:
        asking = Asking(Work(None), at_once=2)  # type: ignore[arg-type]
        waiting = [asyncio.ensure_future(asking.ask("a", lambda _: go_on.wait(60))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await asking.ask("b", lambda _: 1)
        go_on.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await asking.ask("b", lambda _: 1) == 1

    asyncio.run(ask())


def test_progress_of_a_pull() -> None:
    pull = pulls.Pull(1, "app", "")
    for event in (
        Event("pull.start", "app"),
        Event("layer.wait", "sha256:a", total=10),
        Event("layer.wait", "sha256:b", total=20),
        Event("layer.progress", "sha256:a", done=4, total=10),
        Event("layer.exists", "sha256:b"),
        Event("registry.retry", "example.com", seconds=1, reason="busy"),
        Event("image.pull", "sha256:c"),
    ):
        pull(event)
    shown = [(layer.digest, layer.done, layer.total, layer.words) for layer in pull.layers]
    assert shown == [("sha256:a", 4, 10, "Downloading"), ("sha256:b", 20, 20, "Already exists")]
    assert pull.note == "example.com: busy" and pull.state == pulls.RUNNING


def test_pulls_are_bounded_and_the_old_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def run(self: pulls.Pull, _: object) -> None:
        go_on.wait(60)
        self.state = pulls.DONE

    monkeypatch.setattr(pulls.Pull, "run", run)
    known = pulls.Pulls(None, at_once=2)  # type: ignore[arg-type]
    first, second = known.begin("a"), known.begin("a", "linux/arm64")
    assert known.begin("a") is first and second is not first
    with pytest.raises(Conflict, match="2 other pulls"):
        known.begin("b")
    go_on.set()
    for number in range(150):
        assert until(lambda: all(pull.state == pulls.DONE for pull in known.all()))
        last = known.begin(f"c{number}")
    assert known.all()[0] is last and len(known.all()) <= 101 and first not in known.all()


def test_names_of_images_that_are_not_here() -> None:
    assert remote.normal(" docker://python ") == "python:latest"
    assert remote.normal("oci:/a/b") == "oci:/a/b" and remote.path_of("oci:/a/b") == "/a/b" == remote.path_of("/a/b")
    assert remote.is_archive("docker-archive:/x") and not remote.is_archive("oci/x")
    assert remote.address("overview", "a:1") == "/remote?name=a%3A1"
    assert remote.address("tags", "a&b", "linux/arm64") == "/remote/tags?name=a%26b&platform=linux%2Farm64"
