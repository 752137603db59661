"""Power cuts: what was acknowledged (exit 0) is on the disk, and no row is without its files.

A disk is copied at random moments while commands change objects of all kinds; each copy is mounted and looked at, as
after a boot. UNDERLAY_CRASH_IMAGES says how many copies (12 without it).
"""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crashdisks import CrashDisk
from engines import Installation, image_tar

COPIES = int(os.environ.get("UNDERLAY_CRASH_IMAGES", "12"))
KINDS = ("image", "tag", "volume", "network", "container", "running")


@pytest.fixture(params=["ext4", "xfs"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[CrashDisk]:
    made = CrashDisk(tmp_path, size=(320 << 20) if request.param == "xfs" else (256 << 20), kind=request.param)
    yield made
    made.close()


class Installed(Installation):
    """An installation whose store is on a disk, and whose state is elsewhere, as /run is."""

    def __init__(self, root: Path, state: Path) -> None:
        super().__init__(root)
        self.root, self.state = root, state
        self.environment |= {"UNDERLAY_ROOT": str(root), "UNDERLAY_STATE": str(state), "UNDERLAY_FORM": "tree"}

    def remains(self, ids: list[str]) -> list[str]:
        # The disk itself is mounted.
        return [line for line in super().remains(ids) if f" {self.root.parent} " not in line]


class Acknowledged:
    """What commands have promised: (kind, name) → (number of changes, whether it is there; None while that changes)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._facts: dict[tuple[str, str], tuple[int, bool | None]] = {}

    def note(self, key: tuple[str, str], there: bool | None) -> None:
        with self._lock:
            self._facts[key] = (self._facts.get(key, (0, None))[0] + 1, there)

    def now(self) -> dict[tuple[str, str], tuple[int, bool | None]]:
        with self._lock:
            return dict(self._facts)


def small_tar(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("text")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def work(ul: Installed, promised: Acknowledged, seed: int, over: threading.Event, trouble: list[str]) -> None:
    """Make and remove objects of all kinds until it is over."""
    chance = random.Random(seed)
    made: list[tuple[str, str]] = []
    number = 0

    def change(key: tuple[str, str], there: bool, *words: str, input: bytes | None = None) -> None:
        promised.note(key, None)
        ul(*words, input=input)
        promised.note(key, there)

    makers: dict[str, Callable[[str], None]] = {
        "image": lambda name: change(("image", name), True, "import", "-", name, input=small_tar(name * 50)),
        "tag": lambda name: change(("tag", name), True, "tag", "box", name),
        "volume": lambda name: change(("volume", name), True, "volume", "create", name),
        "network": lambda name: change(("network", name), True, "network", "create", name),
        "container": lambda name: change(("container", name), True, "create", "--name", name, "-v", "/data", "box"),
        "running": lambda name: change(("running", name), True, "run", "-d", "--name", name, "box", "sleep", "300"),
    }
    removers = {
        "image": ("rmi",),
        "tag": ("rmi",),
        "volume": ("volume", "rm"),
        "network": ("network", "rm"),
        "container": ("rm", "-v"),
        "running": ("rm", "-f"),
    }
    try:
        while not over.is_set():
            if made and (chance.random() < 0.4 or len(made) > 12):
                kind, name = made.pop(chance.randrange(len(made)))
                change((kind, name), False, *removers[kind], name)
                continue
            kind, name = chance.choice(KINDS), f"x{seed}y{number}"
            number += 1
            makers[kind](name)
            made.append((kind, name))
    except BaseException as error:
        trouble.append(str(error))
        raise


def there_now(ul: Installed) -> set[tuple[str, str]]:
    """Return all objects that an installation lists."""
    found = {("volume", name) for name in ul.out("volume", "ls", "-q").split()}
    found |= {("network", name) for name in ul.out("network", "ls", "--format", "{{.Name}}").split()}
    for name in ul.out("images", "--format", "{{.Repository}}").split():
        found |= {("image", name), ("tag", name)}
    for name in ul.out("ps", "-a", "--format", "{{.Names}}").split():
        found |= {("container", name), ("running", name)}
    return found


def rows_without_files(root: Path) -> list[str]:
    """Return the containers and volumes on record that have no directory; `system check` looks at the rest."""
    database = sqlite3.connect(root / "meta.db")
    try:
        rows = database.execute("SELECT id, intent FROM containers").fetchall()
        missing = [row[0] for row in rows if not (root / "containers" / row[0] / "hosts").stat().st_size]
        volumes = [row[0] for row in database.execute("SELECT name FROM volumes")]
        missing += [name for name in volumes if not (root / "volumes" / name / "_data").is_dir()]
        assert all(json.loads(row[1]) for row in rows)
    finally:
        database.close()
    return missing


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * COPIES)
def test_power_cuts_lose_nothing_acknowledged(disk: CrashDisk, tmp_path: Path) -> None:
    ul = Installed(disk.point / "root", tmp_path / "state")
    archive = tmp_path / "box.tar"
    archive.write_bytes(image_tar())
    ul("import", "--change", 'CMD ["sh"]', str(archive), "box")
    promised, over, trouble = Acknowledged(), threading.Event(), []
    workers = [threading.Thread(target=work, args=(ul, promised, seed, over, trouble)) for seed in range(2)]
    chance = random.Random(7)
    try:
        for worker in workers:
            worker.start()
        looked_at = 0
        for number in range(COPIES):
            time.sleep(chance.uniform(0.05, 1.0))
            before = promised.now()
            copy = disk.cut(f"{number}.img")
            after = promised.now()
            certain = {key: fact[1] for key, fact in before.items() if after[key] == fact and fact[1] is not None}
            with disk.after_boot(copy) as point:
                booted = Installed(point / "root", tmp_path / f"state{number}")
                assert rows_without_files(point / "root") == []
                found = there_now(booted)
                lost = [key for key, there in certain.items() if there and key not in found]
                back = [key for key, there in certain.items() if not there and key in found]
                assert (lost, back) == ([], []), f"copy {number}"
                assert "0 lost, 0 to repair" in booted.out("system", "check")
                looked_at += len(certain)
        assert not trouble and looked_at >= COPIES
    finally:
        over.set()
        for worker in workers:
            worker.join()
        ul.clean()
