"""Pulls that break off: what came is not asked for again, what is whole stays, and what fails leaves nothing behind."""

from __future__ import annotations

import email.utils
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root, until
from fakeregistry import FakeRegistry
from fakeserver import Handler, Request, most_at_once
from faults import cut_after, drip, hang_up, no_range, stall, stall_after, status
from remoteimages import Image, image, random_tar, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"
BIG = 3_000_000


@pytest.fixture(scope="module")
def made() -> Image:
    """Small, big, small."""
    return image([small_tar({"first": b"1"}), random_tar(BIG, 1), small_tar({"last": b"2"})])


def ranges(requests: list[Request]) -> list[int]:
    """Where each request began."""
    return [int(re.sub("bytes=([0-9]+)-.*", r"\1", each.headers.get("range", "bytes=0-"))) for each in requests]


def whole(visitor: Visitor, made: Image, name: str) -> None:
    """The image is there, whole, and nothing of its way."""
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == made.id
    visitor("system", "check")
    assert visitor.partials() == {}
    assert [each for each in visitor.files() if each.startswith("tmp/")] == []


# Connections that end early
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
def test_a_cut_is_taken_up_where_it_was(visitor: Visitor, registry: FakeRegistry, made: Image, reset: bool) -> None:
    name = registry.add(made, TEAM, "1.0")
    big = made.layers[1]
    registry.rule("GET", big, cut_after(1_000_000, reset), times=3)
    visitor("pull", name)
    found = registry.asked("GET", big)
    assert ranges(found) == [0, 1_000_000, 2_000_000, 3_000_000][: len(found)] and len(found) in (3, 4)
    assert sum(each.sent for each in found) == len(made.blobs[big])
    assert all(len(registry.asked("GET", digest)) == 1 for digest in made.blobs if digest != big)
    whole(visitor, made, name)


@pytest.mark.parametrize("place", ["manifest", "config", "small layer"])
@pytest.mark.parametrize("how", ["reset", "end", "none", "stall"])
def test_small_answers_are_asked_for_again(
    visitor: Visitor, registry: FakeRegistry, made: Image, place: str, how: str
) -> None:
    visitor.settings("[network]\nstall_timeout = 0.5\n")
    name = registry.add(made, TEAM, "1.0")
    path = {"manifest": "/manifests/", "config": made.id, "small layer": made.layers[0]}[place]
    action = {"reset": cut_after(20), "end": cut_after(20, False), "none": hang_up(), "stall": stall_after(20)}[how]
    registry.rule("GET", path, action, times=1)
    done = visitor("pull", name)
    assert b"Retrying in" in done.stdout
    assert len(registry.asked("GET", path)) == 2
    whole(visitor, made, name)


def test_a_server_without_ranges(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """It sends everything again, of which the beginning is passed over."""
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[1], no_range)
    registry.rule("GET", made.layers[1], cut_after(2_000_000), times=1)
    visitor("pull", name)
    assert ranges(registry.asked("GET", made.layers[1])) == [0, 2_000_000]
    whole(visitor, made, name)


def test_one_that_always_breaks_ends(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    visitor.settings("[network]\nretries = 2\n")
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[1], cut_after(1000))
    said = visitor.fails("pull", name)
    assert "closed early" in said or "reset" in said
    assert len(registry.asked("GET", made.layers[1])) == 2
    assert visitor.out("images", "-q") == ""


# Those that ask to wait
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"), [(429, "seconds"), (503, "seconds"), (429, "date"), (503, "past"), (429, "nonsense")]
)
def test_retry_after(visitor: Visitor, registry: FakeRegistry, made: Image, code: int, kind: str) -> None:
    name = registry.add(made, TEAM, "1.0")

    def wait(handler: Handler, _: re.Match[str]) -> bool:
        moment = {"date": time.time() + 2, "past": time.time() - 1000}.get(kind, 0)
        text = {"seconds": "1", "nonsense": "soon"}.get(kind) or email.utils.formatdate(moment, usegmt=True)
        handler.answer(code, headers={"Retry-After": text})
        return True

    for path in ("/manifests/", made.layers[1]):
        registry.rule("GET", path, wait, times=1)
    visitor("pull", name)
    for path in ("/manifests/", made.layers[1]):
        first, second = registry.asked("GET", path)
        assert second.started - first.ended > (0.9 if kind in ("seconds", "date") else 0.1)
    whole(visitor, made, name)


@pytest.mark.parametrize("place", ["/manifests/", "/blobs/"])
def test_who_asks_to_wait_an_hour_is_told_of(visitor: Visitor, registry: FakeRegistry, made: Image, place: str) -> None:
    name = registry.add(made, TEAM, "1.0")
    headers = {
        "Retry-After": "3600",
        "RateLimit-Limit": "100;w=21600",
        "RateLimit-Remaining": "0;w=21600",
        "Docker-RateLimit-Source": "192.0.2.1",
    }
    problem = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
    registry.rule("GET", place, status(429, headers, problem))
    said = visitor.fails("pull", name, timeout=20)
    assert "too many requests" in said and "You have reached your pull rate limit." in said
    assert "3600 seconds" in said and "100 in 6 h" in said and "0 in 6 h left" in said
    assert len({each.path for each in registry.asked("GET", place)}) == len(registry.asked("GET", place))


def test_a_server_that_fails_for_a_while(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    for code in (500, 408):
        registry.rule("GET", "/manifests/", status(code), times=1)
    registry.rule("GET", made.layers[1], status(503), times=2)
    visitor("pull", name)
    assert [each.status for each in registry.asked("GET", "/manifests/")] == [500, 408, 200]
    registry.rule("HEAD", "/manifests/", status(500))
    visitor.settings("[network]\nretries = 2\n")
    visitor.fails("pull", name)
    # What does not change is not asked for again.
    registry.forget()
    visitor.fails("pull", f"{name}0")
    registry.rule("GET", "/manifests/", status(400))
    visitor.fails("pull", f"{name}1")
    assert [each.status for each in registry.requests] == [404, 400]


# Interruptions
# ---------------------------------------------------------------------------------------------------------


def interrupted(visitor: Visitor, registry: FakeRegistry, made: Image, name: str, number: int) -> None:
    """Pull until two thirds of the big layer have come and the others are whole, and end it with a signal."""
    registry.rule("GET", made.layers[1], drip(3), times=1)
    process = visitor.begin("pull", name)
    assert until(lambda: sum(each.sent for each in registry.asked("GET", made.layers[1])) > BIG // 3 * 2)
    assert len(list((visitor.root / "layers").glob("*"))) == 2
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    assert b"Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_the_next_pull_asks_for_the_rest(
    visitor: Visitor, registry: FakeRegistry, made: Image, number: signal.Signals
) -> None:
    name = registry.add(made, TEAM, "1.0")
    interrupted(visitor, registry, made, name, number)
    assert visitor.out("images", "-q") == ""
    registry.forget()
    done = visitor("pull", name)
    assert done.stdout.decode().count("Already exists") == 2
    assert [registry.asked("GET", made.layers[number]) for number in (0, 2)] == [[], []]
    [rest] = registry.asked("GET", made.layers[1])
    assert ranges([rest])[0] > BIG // 2
    visitor("image", "prune", "-f")  # sweeps away what the dead have left
    whole(visitor, made, name)


def test_prune_removes_what_was_left(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    interrupted(visitor, registry, made, name, signal.SIGKILL)
    assert list(visitor.partials()) == [made.layers[1]] and len(visitor.files()) > 2
    assert b"Total reclaimed space: 0B" not in visitor("image", "prune", "-f").stdout
    visitor.is_empty()
    registry.forget()
    visitor("pull", name)
    assert ranges(registry.asked("GET", made.layers[1])) == [0]
    whole(visitor, made, name)


def test_a_second_signal_and_one_at_any_time(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """Wherever a pull is interrupted: exit 130 soon, and the next one is whole."""
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[1], drip(1.0))
    for delay in (0.05, 0.15, 0.3, 0.6, 1.0):
        process = visitor.begin("pull", name)
        time.sleep(delay)
        for _ in range(2):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.02)
        _, err = process.communicate(timeout=30)
        assert process.returncode in (130, -2, 0), err
    visitor("pull", name)
    whole(visitor, made, name)


# Together
# ---------------------------------------------------------------------------------------------------------


def test_two_at_once_fetch_each_layer_once(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0", "2.0")
    registry.rule("GET", "/blobs/", drip(0.7))
    both = [visitor.begin("pull", each) for each in (name, f"{name.removesuffix('1.0')}2.0", name)]
    for process in both:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
    for layer in made.layers:
        assert len(registry.asked("GET", layer)) == 1
    whole(visitor, made, name)


def test_who_waits_says_so(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[1], stall_after(BIG // 2), times=1)
    first = visitor.begin("pull", name)
    assert until(lambda: registry.asked("GET", made.layers[1]) and registry.asked("GET", made.layers[1])[0].sent)
    second = visitor.begin("pull", name)
    assert second.stdout is not None
    told = []
    while b"Waiting for another pull" not in (told[-1:] or [b""])[0]:
        told.append(second.stdout.readline())
        assert told[-1], told
    assert told[-1] == f"{made.layers[1][7:19]}: Waiting for another pull\n".encode()
    first.kill()
    first.communicate()
    out, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert f"{made.layers[1][7:19]}: Downloading\n".encode() in out


def test_who_waits_goes_on_when_the_first_is_killed(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[1], stall_after(BIG // 2), times=1)
    first = visitor.begin("pull", name)
    assert until(lambda: registry.asked("GET", made.layers[1]) and registry.asked("GET", made.layers[1])[0].sent)
    second = visitor.begin("pull", name)
    time.sleep(1.5)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert len(registry.asked("GET", made.layers[1])) == 2
    visitor("image", "prune", "-f")
    whole(visitor, made, name)


def test_the_first_byte_may_come_late(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", "/blobs/", stall(1.3))
    done = visitor("pull", name)
    assert b"Retrying" not in done.stdout and len(registry.asked("GET", made.layers[1])) == 1
    whole(visitor, made, name)


@pytest.mark.parametrize("width", [None, 1, 8])
def test_layers_come_together(visitor: Visitor, registry: FakeRegistry, width: int | None) -> None:
    made = image([random_tar(50_000, n) for n in range(9)])
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", "|".join(made.layers), stall(0.3))
    if width:
        visitor.settings(f"[network]\nparallel_layers = {width}\n")
    visitor("pull", name)
    assert most_at_once(registry.asked("GET", "|".join(made.layers))) == (width or 4)
    whole(visitor, made, name)


# No space
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Visitor]:
    visitor = Visitor(tmp_path)
    visitor.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "small", str(visitor.root)], check=True)
    yield visitor
    subprocess.run(["umount", str(visitor.root)], check=True)


@pytest.mark.parametrize("keep", [False, True])
def test_a_full_disk(small_disk: Visitor, registry: FakeRegistry, keep: bool) -> None:
    words = ("pull", "--keep-compressed") if keep else ("pull",)
    fits = registry.add(image([random_tar(1_000_000, 1)]), TEAM, "1.0")
    small_disk(*words, fits)
    before = small_disk.files()
    large = image([small_tar(), random_tar(2_000_000, 2), random_tar(40_000_000, 3)])
    said = small_disk.fails(*words, registry.add(large, TEAM, "2.0"))
    assert "No space left on device" in said or "no space" in said.lower()
    small_disk("image", "prune", "-f")
    assert small_disk.files() == before
    small_disk("system", "check")
    small_disk(*words, registry.add(image([random_tar(1_500_000, 4)]), TEAM, "3.0"))
