"""The journal: ordered, bounded, safe with many writers, and none the worse for what is not a line of it."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import time_ns

import pytest

from underlay import journal
from underlay.engine import journaling
from underlay.errors import InvalidInput


def actions(path: Path, **bounds: int) -> list[str]:
    return [entry["action"] for entry in journal.read(str(path), **bounds)]


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert actions(path) == []
    before = time_ns()
    journal.append(str(path), "container", "start", "1" * 64, {"name": "böse\n"})
    middle = time_ns()
    journal.append(str(path), "image", "pull", "x", {})
    first, second = journal.read(str(path))
    assert (first["type"], first["action"], first["id"], first["attributes"]) == (
        "container",
        "start",
        "1" * 64,
        {"name": "böse\n"},
    )
    assert before <= first["time"] <= middle <= second["time"]
    assert actions(path, since=middle) == ["pull"] and actions(path, until=middle) == ["start"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_many_writers_and_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LIMIT", 20_000)
    path = tmp_path / "journal"

    def write(writer: int) -> None:
        for number in range(100):
            journal.append(str(path), "container", f"{writer}-{number}", "i", {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    found = list(journal.read(str(path)))
    assert path.stat().st_size <= 20_200 and sorted(os.listdir(tmp_path)) == ["journal", "journal.1"]
    times = [entry["time"] for entry in found]
    assert times == sorted(times) and len(found) >= 200
    for writer in range(8):
        numbers = [
            int(text.partition("-")[2])
            for text in (entry["action"] for entry in found)
            if text.startswith(f"{writer}-")
        ]
        assert numbers == list(range(numbers[0], 100)) if numbers else True


def test_what_is_no_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal.append(str(path), "image", "one", "x", {})
    with path.open("ab") as file:
        file.write(b'nonsense\n[]\n{"time": "x", "attributes": 1}\n{"time": 5, "type": "im')  # a power cut
    journal.append(str(path), "image", "two", "x", {})
    assert actions(path) == ["one", "two"]


def test_what_cannot_be_written_keeps_nothing_from_its_work(tmp_path: Path) -> None:
    journal.append(str(tmp_path / "missing" / "journal"), "image", "pull", "x", {})
    (tmp_path / "elsewhere").touch()
    (tmp_path / "journal").symlink_to(tmp_path / "elsewhere")
    journal.append(str(tmp_path / "journal"), "image", "pull", "x", {})
    assert (tmp_path / "elsewhere").read_bytes() == b""
    path = tmp_path / "long"
    journal.append(str(path), "image", "pull", "x", {"label": "y" * 200_000})
    assert json.loads(path.read_text())["attributes"] == {}


def test_followers_see_what_comes_also_over_a_change_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LIMIT", 2_000)
    monkeypatch.setattr(journal, "_PAUSE", 0.005)
    path = tmp_path / "journal"
    seen: list[str] = []

    def follow() -> None:
        for entry in journal.read(str(path), until=time_ns() + 3_000_000_000, follow=True):
            seen.append(entry["action"])
            if entry["action"] == "59":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(60):
        journal.append(str(path), "image", str(number), "x", {})
        threading.Event().wait(0.01)
    thread.join()
    assert seen == [str(number) for number in range(60)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, True),
        ({"type": ["container"]}, True),
        ({"type": ["image", "container"], "event": ["die"]}, True),
        ({"event": ["start"]}, False),
        ({"container": ["web"]}, True),
        ({"container": ["1234"]}, True),
        ({"container": ["we"]}, False),
        ({"network": ["web"]}, False),
        ({"image": ["app"]}, True),
        ({"image": ["app:1"]}, True),
        ({"image": ["other"]}, False),
        ({"label": ["tier"]}, True),
        ({"label": ["tier=db"]}, False),
        ({"scope": ["local"]}, True),
    ],
)
def test_filters(filters: dict[str, list[str]], expected: bool) -> None:
    journaling.check(filters)
    attributes = {"name": "web", "image": "app:1", "tier": "front"}
    entry: journal.Entry = {
        "time": 1,
        "type": "container",
        "action": "die",
        "id": "1234" * 16,
        "attributes": attributes,
    }
    assert journaling.matches(entry, filters) is expected


def test_unknown_filters() -> None:
    with pytest.raises(InvalidInput, match="invalid filter 'nope'"):
        journaling.check({"nope": ["1"]})
