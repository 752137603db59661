"""Scans whose work the workers of a Dask cluster do: the same is found, workers and the scheduler may die."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_base_scan import app, scanner, summary  # noqa: F401 - a fixture

import faults
from engines import REPOSITORY, Installation, until
from fakeregistry import FakeRegistry

distributed = pytest.importorskip("distributed", reason="distributed (Dask) is not installed")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with twelve repositories of one image each, on the same base."""
    with FakeRegistry() as made:
        for number in range(12):
            made.add(app(number), f"team/app{number}", "1")
        made.forget()
        yield made


class Cluster:
    """A scheduler and workers of Dask, as processes of this machine with their own installation."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.processes: list[subprocess.Popen[bytes]] = []
        self.file = place / "scheduler.json"
        self.installation = Installation(place / "workers", "tree")
        self.installation.environment |= {"DASK_LOGGING__DISTRIBUTED": "error", "HOME": str(place)}
        self.scheduler = self.begin("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        assert until(lambda: self.file.exists() and bool(self.file.read_text()), 60), self.told()
        self.address = json.loads(self.file.read_text())["address"]

    def begin(self, role: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        with open(self.place / "log", "ab") as log:
            started = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{role}", "--scheduler-file", str(self.file), *words],
                env={**self.installation.environment, **environment},
                cwd=self.place,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(started)
        return started

    def worker(self, **environment: str) -> subprocess.Popen[bytes]:
        return self.begin(
            "worker",
            *("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"),
            *("--local-directory", str(self.place / "spill")),
            **environment,
        )

    def told(self) -> str:
        return (self.place / "log").read_text()[-2000:]

    def end(self) -> None:
        for each in self.processes:
            each.kill()
            each.wait(30)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster with so many workers."""
    with contextlib.ExitStack() as stack:

        def start(workers: int = 2, **environment: str) -> Cluster:
            place = tmp_path / "cluster"
            place.mkdir()
            made = Cluster(place)
            stack.callback(made.end)
            for _ in range(workers):
                made.worker(**environment)
            return made

        yield start


def report(scanner: Installation, scan: str) -> object:  # noqa: F811
    return json.loads(scanner.out("base", "report", scan, "--format", "json"))["images"]


def test_as_a_scan_without(
    scanner: Installation,  # noqa: F811
    registry: FakeRegistry,
    cluster: Callable[..., Cluster],
    tmp_path: Path,
) -> None:
    alone, there, local = (str(tmp_path / f"{name}.db") for name in ("alone", "there", "local"))
    at = cluster(2).address
    expected = "12 names, 0 of them unchanged; 12 images judged; 13 layers read"
    for words in ([alone], [there, "--cluster", at], [local, "--cluster", "local:2"]):
        registry.forget()
        assert summary(scanner("base", "scan", f"{registry.host}/", "-o", *words)) == expected
        # Each layer once, whoever works.
        assert len(registry.asked("GET", "/blobs/")) == 13 + 12
    assert report(scanner, alone) == report(scanner, there) == report(scanner, local)
    again = scanner("base", "scan", f"{registry.host}/", "-o", there, "--cluster", at)
    assert summary(again) == "12 names, 12 of them unchanged; 0 images judged; 0 layers read"


def scanning(scanner: Installation, *words: str) -> subprocess.Popen[bytes]:  # noqa: F811
    return subprocess.Popen(
        [*scanner.command, "base", "scan", *words],
        env=scanner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("whom", ["a worker", "the scheduler", "the scan"])
def test_killed(
    scanner: Installation,  # noqa: F811
    registry: FakeRegistry,
    cluster: Callable[..., Cluster],
    tmp_path: Path,
    whom: str,
) -> None:
    scan = str(tmp_path / "scan.db")
    layers = "/blobs/({})$".format("|".join(app(number).layers[1] for number in range(12)))
    registry.rule("GET", layers, faults.drip(1.5), times=6)
    made = cluster(2)
    going = scanning(scanner, f"{registry.host}/", "-o", scan, "--cluster", made.address)
    assert until(lambda: len(registry.asked("GET", layers)) >= 2, 60), made.told()
    if whom == "a worker":
        made.processes[1].kill()
        out, error = going.communicate(timeout=180)
        assert going.returncode == 0, error.decode()
        assert out.startswith(b"12 names, ") and b"12 images judged; 13 layers read" in out, out
        return
    if whom == "the scan":
        going.kill()
        going.communicate(timeout=60)
    else:
        made.scheduler.kill()
        out, error = going.communicate(timeout=180)
        assert going.returncode == 1 and b"Traceback" not in error, error.decode()
        assert b"12 names" in out and b"layers of " in error and b"the scheduler of the cluster has died" in error, (
            error
        )
    registry.rules.clear()
    # The next one does what is missing.
    scanner("base", "scan", "-q", "-o", scan, f"{registry.host}/")
    shown = report(scanner, scan)
    assert isinstance(shown, list) and len(shown) == 12


def test_ended_with_the_scan(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:  # noqa: F811
    registry.rule("GET", "/blobs/", faults.stall(20), times=4)
    going = scanning(scanner, f"{registry.host}/", "-o", str(tmp_path / "scan.db"), "--cluster", "local:2")
    assert until(lambda: len(registry.asked("GET", "/blobs/")) >= 2, 60)
    workers = children(going.pid)
    assert len(workers) >= 2
    going.kill()
    going.communicate(timeout=60)
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 30)
    registry.rules.clear()
    scanner("base", "scan", "-q", "-o", str(tmp_path / "scan.db"), f"{registry.host}/", "--cluster", "local:1")
    assert os.listdir(scanner.root / "tmp") == []


def children(parent: int) -> list[int]:
    """The processes that a process has begun, and those begun by these."""
    found = [int(pid) for each in Path(f"/proc/{parent}/task").glob("*/children") for pid in each.read_text().split()]
    return found + [below for pid in found for below in children(pid)]


def test_credentials_stay(
    scanner: Installation,  # noqa: F811
    cluster: Callable[..., Cluster],
    tmp_path: Path,
) -> None:
    with FakeRegistry(users={"bob": "hidden-w0rd"}) as registry:
        registry.add(app(1), "team/app", "1")
        made = cluster(1, DOCKER_CONFIG=str(tmp_path / "theirs"))
        words = ["base", "scan", "-o", str(tmp_path / "scan.db"), f"{registry.host}/", "--cluster", made.address]
        login = ("login", "-u", "bob", "--password-stdin", registry.host)
        scanner.environment["DOCKER_CONFIG"] = str(tmp_path / "ours")
        scanner(*login, input=b"hidden-w0rd")
        # This machine may list the repositories, the worker may not look at one.
        refused = scanner(*words, code=1)
        assert f"{registry.host}/team/app: " in refused.stderr.decode() and b"Traceback" not in refused.stderr
        registry.rule("GET", "/blobs/", faults.stall(5), times=1)
        scanner.environment["DOCKER_CONFIG"] = str(tmp_path / "theirs")
        scanner(*login, input=b"hidden-w0rd")
        registry.forget()
        going = scanning(scanner, *words[2:])
        assert until(lambda: bool(registry.asked("GET", "/blobs/")), 60), made.told()
        with distributed.Client(made.address, set_as_default=False) as client:
            # A lambda goes there by value; the scheduler has no module of the tests.
            shown = client.run_on_scheduler(
                lambda dask_scheduler: pickle.dumps([task.run_spec for task in dask_scheduler.tasks.values()])
            )
        out, error = going.communicate(timeout=60)
        assert going.returncode == 0 and b"1 images judged" in out, error
        secrets = (b"hidden-w0rd", base64.b64encode(b"bob:hidden-w0rd"))
        assert b"team/app" in shown and not any(each in shown for each in secrets)


@pytest.mark.parametrize(
    ("made_of", "told"),
    [
        ("", "have no underlay, or an older one"),
        ("__version__ = '0.0.1'", "have underlay 0.0.1, this is "),
    ],
)
def test_other_workers(
    scanner: Installation,  # noqa: F811
    registry: FakeRegistry,
    cluster: Callable[..., Cluster],
    tmp_path: Path,
    made_of: str,
    told: str,
) -> None:
    other = tmp_path / "other"
    if made_of:
        shutil.copytree(REPOSITORY / "src", other)
        (other / "underlay" / "version.py").write_text(made_of)
    else:
        other.mkdir()
        (other / "underlay.py").touch()
    address = cluster(1, PYTHONPATH=str(other)).address
    done = scanner("base", "scan", "-o", str(tmp_path / "s.db"), f"{registry.host}/", "--cluster", address, code=1)
    assert told in done.stderr.decode() and len(done.stderr.splitlines()) <= 2, done.stderr.decode()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("tcp://127.0.0.1:1", "no scheduler of Dask answers at tcp://127.0.0.1:1"),
        ("nonsense://x", "nonsense://x is not the address of a scheduler"),
        ("local:0", "invalid number of workers in local:0"),
        ("local:x", "invalid number of workers in local:x"),
    ],
)
def test_no_such_cluster(
    scanner: Installation,  # noqa: F811
    registry: FakeRegistry,
    tmp_path: Path,
    address: str,
    told: str,
) -> None:
    scan = tmp_path / "scan.db"
    done = scanner("base", "scan", "-o", str(scan), f"{registry.host}/", "--cluster", address, code=1)
    assert told in done.stderr.decode() and b"Traceback" not in done.stderr, done.stderr.decode()
    assert not scan.exists()


def test_without_dask(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "distributed.py").write_text("raise ImportError('No module named distributed')")
    scanner.environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    words = ["base", "scan", "-o", str(tmp_path / "scan.db"), f"{registry.host}/"]
    done = scanner(*words, "--cluster", "local:2", code=1)
    assert "pip install 'underlay[dask]'" in done.stderr.decode()
    scanner(*words)
