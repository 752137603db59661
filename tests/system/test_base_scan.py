"""Scans of a registry: each thing is asked once, what fails is told and mended by the next scan, and workers may die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_base_rebase import RELEASE, packages
from test_base_vulns import RECORDS

import faults
from engines import Installation, until
from fakeregistry import FakeRegistry
from remoteimages import Image, image, index, small_tar

BASE = small_tar(
    {"etc/os-release": RELEASE.format("12", 12).encode(), "var/lib/dpkg/status": packages(zlib="1.2").encode()}
)
MORE = small_tar({"var/lib/dpkg/status": packages(zlib="1.2", curl="8").encode()})


def app(number: int, *tars: bytes) -> Image:
    """An image of its own on the same base."""
    return image([BASE, *tars, small_tar({f"app{number}": b"x" * number})])


@pytest.fixture
def scanner(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "ul", "tree")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with eight repositories of one image each, and one of three tags."""
    with FakeRegistry() as made:
        for number in range(8):
            made.add(app(number), f"team/app{number}", "1")
        for tag in ("1.9", "1.10", "latest"):
            made.add(app(100, MORE), "other/tool", tag)
        made.forget()
        yield made


def blobs(registry: FakeRegistry, image_: Image, layer: int) -> int:
    """How often a layer has been fetched."""
    return len(registry.asked("GET", f"/blobs/{image_.layers[layer]}"))


def summary(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stdout.decode().partition(" fetched")[0].rpartition(",")[0]


def test_each_thing_once(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan = str(tmp_path / "scan.db")
    words = ["base", "scan", "-o", scan, f"{registry.host}/"]
    done = scanner(*words, "--workers", "2")
    # The base, its change, nine layers of their own; two tags more of one image are none.
    assert summary(done) == "11 names, 0 of them unchanged; 9 images judged; 11 layers read"
    assert blobs(registry, app(0), 0) == 1 and blobs(registry, app(100, MORE), 1) == 1
    assert len(registry.asked("GET", "/blobs/")) == 11 + 9  # and the configurations
    registry.forget()
    assert summary(scanner(*words)) == "11 names, 11 of them unchanged; 0 images judged; 0 layers read"
    assert {(each.method, each.path.rpartition("/")[0].rpartition("/")[2]) for each in registry.requests} <= {
        ("GET", "v2"),
        ("GET", ""),
        ("GET", "tags"),
        ("HEAD", "manifests"),
    }
    # One is built anew, a tag goes, a repository comes.
    registry.add(app(50), "team/app0", "1")
    registry.add(app(51), "team/new", "1")
    del registry.repository("other/tool").tags["1.9"]
    registry.forget()
    assert summary(scanner(*words)) == "11 names, 9 of them unchanged; 2 images judged; 2 layers read"
    assert blobs(registry, app(50), 0) == 0 and blobs(registry, app(50), 1) == 1
    assert scanner.out("base", "who", "-q", scan, "curl").splitlines() == [
        f"{registry.host}/other/tool:1.10",
        f"{registry.host}/other/tool:latest",
    ]


def test_answers_without_a_registry(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan = str(tmp_path / "scan.db")
    scanner(
        "base", "scan", "-o", scan, "-q", f"{registry.host}/team/", f"{registry.host}/other/tool:*", "--newest", "1"
    )
    registry.close()
    (tmp_path / "osv.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    scanner("base", "advisories", "import", str(tmp_path / "osv.jsonl"))
    found = json.loads(scanner.out("base", "report", scan, "--format", "json"))
    counted = {each["image"].partition("/")[2]: each["vulnerabilities"]["found"] for each in found["images"]}
    assert len(counted) == 9 and counted["team/app0:1"] == {"critical": 1}
    assert sum(counted["other/tool:latest"].values()) == 2
    assert found["distributions"] == ["debian 12"]
    text = scanner.out("base", "report", scan)
    assert "9 images" in text
    assert "<html" in scanner.out("base", "report", scan, "--format", "html")
    rows = json.loads(scanner.out("base", "who", scan, "curl@8", "--format", "json"))
    assert [(row["name"], row["version"]) for row in rows] == [(f"{registry.host}/other/tool:latest", "8")]
    assert scanner.out("base", "who", scan, "nothing", code=1) == ""
    refused = scanner("base", "who", scan, "CVE-2026-0001", code=1)
    assert b"who has an advisory is not answered yet" in refused.stderr


def test_judged_anew_by_other_indexes(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan = str(tmp_path / "scan.db")
    words = ["base", "scan", "-o", scan, f"{registry.host}/"]
    registry.add(image([BASE]), "team/os", "1")
    scanner(*words)
    # What the index of bases learns counts for images that have not changed; nothing is read again.
    scanner("base", "index", "add", f"{registry.host}/team/os:1")
    registry.forget()
    assert summary(scanner(*words)) == "12 names, 12 of them unchanged; 10 images judged; 0 layers read"
    assert registry.asked("GET", "/(manifests|blobs)/") == []
    assert len(scanner.out("base", "who", "-q", scan, f"{registry.host}/team/os:1").splitlines()) == 11
    assert summary(scanner(*words)) == "12 names, 12 of them unchanged; 0 images judged; 0 layers read"


def test_learning_from_a_scan(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan, host = str(tmp_path / "scan.db"), registry.host
    registry.add(image([BASE]), "team/os", "1")
    registry.add(image([BASE, MORE]), "own/base", "1")
    words = ["base", "scan", "-q", "-o", scan, f"{host}/"]
    scanner(*words)
    registry.close()
    told = scanner.out("base", "index", "add", "--scan", scan).splitlines()
    # The eight and `own/base` stand on the one, three tags of a tool on the other.
    assert [line.split() for line in told[1:3]] == [[f"{host}/team/os:1", "9"], [f"{host}/own/base:1", "3"]]
    assert told[3] == "2 tags: 2 new builds, 0 tags have moved; 2 builds under 2 names"
    again = scanner.out("base", "index", "add", "--scan", scan).splitlines()
    assert again[3] == "2 tags: 0 new builds, 0 tags have moved; 2 builds under 2 names"
    # The next scan of any of it judges with them; who stands on the lower one does so by way of the other, too.
    scanner("base", "scan", "-q", "-o", scan, "-", input=b"", code=0)
    rows = json.loads(scanner.out("base", "who", scan, f"{host}/team/os:1", "--format", "json"))
    assert len(rows) == 12 and {row["base"].partition("/")[2] for row in rows} == {"team/os:1", "own/base:1"}
    assert len(json.loads(scanner.out("base", "who", scan, f"{host}/own/base:1", "--format", "json"))) == 3
    # One rebuild of the lower one is what to do first for all.
    (tmp_path / "osv.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    scanner("base", "advisories", "import", str(tmp_path / "osv.jsonl"))
    first = json.loads(scanner.out("base", "report", scan, "--format", "json"))["steps"][0]
    assert first["text"].startswith(f"rebuild {host}/team/os:1 with updated packages") and first["mends"] == 13


def test_another_platform(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.add(index([image([BASE], architecture=each) for each in ("amd64", "arm64")]), "multi", "1")
    words = ["base", "scan", "-o", str(tmp_path / "scan.db"), f"{registry.host}/multi:1", "--platform"]
    for platform in ("linux/amd64", "linux/arm64", "linux/amd64"):
        assert summary(scanner(*words, platform)).startswith("1 names, 0 of them unchanged"), platform
        assert summary(scanner(*words, platform)).startswith("1 names, 1 of them unchanged"), platform


def test_two_scans_beside_each_other(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    before, after = str(tmp_path / "before.db"), str(tmp_path / "after.db")
    words = ["base", "scan", "-q", "-o", before, f"{registry.host}/"]
    scanner(*words)
    assert scanner.out("base", "diff", before, before) == ""
    shutil.copy(before, after)
    (tmp_path / "osv.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    scanner("base", "advisories", "import", str(tmp_path / "osv.jsonl"))
    del registry.repository("team/app1").tags["1"]
    registry.add(app(60), "team/app60", "1")
    registry.add(app(100, MORE), "team/app2", "1")
    words[words.index(before)] = after
    scanner(*words)
    found = json.loads(scanner.out("base", "diff", before, after, "--format", "json", code=1))
    assert [(each["image"].partition("/")[2], each["kind"], each["before"], each["after"]) for each in found] == [
        ("team/app1:1", "gone", "scratch", ""),
        ("team/app2:1", "worse", "1 vulnerability", "2 vulnerabilities"),
        ("team/app60:1", "new", "", "scratch"),
    ]
    assert "team/app2:1" in scanner.out("base", "diff", before, after, code=1)
    figures = scanner.out("base", "metrics", after).splitlines()
    assert 'underlay_images{base="scratch",distribution="debian 12"} 11' in figures
    assert 'underlay_vulnerabilities{severity="critical",fixable="true"} 11' in figures
    (tmp_path / "rules.toml").write_text('[bases]\nfixable = "high"\n')
    broken = scanner.out("base", "check", "--policy", str(tmp_path / "rules.toml"), after, code=1)
    assert len(broken.splitlines()) == 11 and "it has 1 critical with a fix (fixable)" in broken


def test_parts_of_a_scan(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    parts = [str(tmp_path / f"part{number}.db") for number in (1, 2, 3)]
    for number, part in enumerate(parts, 1):
        scanner("base", "scan", "-q", "-o", part, "--shard", f"{number}/3", f"{registry.host}/")
    whole, merged = str(tmp_path / "whole.db"), str(tmp_path / "merged.db")
    scanner("base", "scan", "-q", "-o", whole, f"{registry.host}/")
    scanner("base", "scan", "merge", "-o", merged, *parts)
    images = [json.loads(scanner.out("base", "report", each, "--format", "json"))["images"] for each in (whole, merged)]
    assert images[0] == images[1] and len(images[0]) == 11
    asked = [scanner.out("base", "who", each, what) for each in (whole, merged) for what in ("zlib", "curl")]
    assert asked[:2] == asked[2:]
    registry.forget()
    assert "11 of them unchanged" in summary(scanner("base", "scan", "-o", merged, f"{registry.host}/"))
    assert registry.asked("GET", "/blobs/") == []
    # Once more is no harm.
    scanner("base", "scan", "merge", "-o", merged, *parts)
    assert scanner.out("base", "diff", whole, merged) == ""
    for words, told in (
        (["merge", "-o", merged, "/nowhere"], "/nowhere: no such scan"),
        (["merge", whole], "--output is missing"),
        (["-o", merged, "--shard", "4/3", "x"], "invalid value for --shard: 4/3"),
    ):
        assert told in scanner("base", "scan", *words, code=None).stderr.decode()


def test_what_fails_is_told_and_done_later(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan = str(tmp_path / "scan.db")
    words = ["base", "scan", "-o", scan, f"{registry.host}/"]
    broken = app(3)
    registry.rule("GET", f"/blobs/{broken.layers[1]}", faults.flipped(20), times=1)
    registry.rule("HEAD|GET", "/team/app4/manifests/", faults.status(403))
    registry.rule("GET", "/team/app5/tags/list", faults.status(429, {"Retry-After": "0"}), times=1)
    done = scanner(*words, code=1)
    told = done.stderr.decode()
    assert f"layer {broken.diff_ids[1]}: " in told and f"{registry.host}/team/app4:1: " in told
    assert len(told.splitlines()) == 2, told
    assert summary(done) == "11 names, 0 of them unchanged; 7 images judged; 9 layers read"
    shown = json.loads(scanner.out("base", "report", scan, "--format", "json", code=1))
    problems = {each["image"].partition("/")[2]: each["problems"] for each in shown["images"] if each["problems"]}
    assert set(problems) == {"team/app3:1", "team/app4:1"}
    assert problems["team/app3:1"][0].startswith(f"layer {broken.diff_ids[1]}: ")
    registry.rules.clear()
    registry.forget()
    assert summary(scanner(*words)) == "11 names, 10 of them unchanged; 2 images judged; 2 layers read"
    assert len(registry.asked("GET", "/blobs/")) == 3
    assert scanner("base", "report", scan).returncode == 0


def _workers(parent: int) -> list[int]:
    """The workers of a scan."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(words[1]) == parent and b"spawn_main" in command:
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("whom", ["a worker", "the scan"])
def test_killed(scanner: Installation, registry: FakeRegistry, tmp_path: Path, whom: str) -> None:
    scan = str(tmp_path / "scan.db")
    words = ["base", "scan", "-o", scan, "--workers", "2", f"{registry.host}/"]
    registry.rule("GET", "/blobs/", faults.drip(1.5), times=4)
    going = subprocess.Popen(
        [*scanner.command, *words],
        env=scanner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    )
    assert until(lambda: len(_workers(going.pid)) >= 2, 30)
    assert until(lambda: len(registry.asked("GET", "/blobs/")) >= 2, 30)
    workers = _workers(going.pid)
    if whom == "a worker":
        os.kill(workers[0], signal.SIGKILL)
        out, error = going.communicate(timeout=120)
        assert going.returncode == 0, error.decode()
        assert out.startswith(b"11 names, ") and b"9 images judged; 11 layers read" in out, out
        return
    going.kill()
    going.communicate(timeout=60)
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 20)
    registry.rules.clear()
    scanner(*words)
    scanner("base", "report", scan)
    assert len(json.loads(scanner.out("base", "report", scan, "--format", "json"))["images"]) == 11


def test_interrupted(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    registry.rule("GET", "/blobs/", faults.stall(20), times=4)
    words = ["base", "scan", "-o", str(tmp_path / "scan.db"), "--workers", "2", f"{registry.host}/"]
    going = subprocess.Popen(
        [*scanner.command, *words],
        env=scanner.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert until(lambda: len(registry.asked("GET", "/blobs/")) >= 2, 30)
    began = time.monotonic()
    os.killpg(going.pid, signal.SIGINT)  # as a terminal does
    _, error = going.communicate(timeout=60)
    assert going.returncode == 130 and b"Traceback" not in error, error.decode()
    assert time.monotonic() - began < 15


def test_other_targets(scanner: Installation, registry: FakeRegistry, tmp_path: Path) -> None:
    scan, host = str(tmp_path / "scan.db"), registry.host
    both = index([image([BASE], architecture=each) for each in ("amd64", "arm64")])
    registry.add(both, "multi", "1")
    listed = f"{host}/team/app1:1\n# a remark\n{host}/team/app2:1\n".encode()
    done = scanner(
        "base", "scan", "-o", scan, "-", f"{host}/multi:1", "--platform", "linux/arm64", input=listed, code=1
    )
    # Two of the three are not for that platform.
    assert len(done.stderr.splitlines()) in (0, 2), done.stderr
    pod = {"spec": {"containers": [{"name": "a", "image": f"{host}/team/app7:1"}]}}
    pods = json.dumps({"items": [{**pod, "kind": "Pod"}]}).encode()
    other = str(tmp_path / "other.db")
    assert summary(scanner("base", "scan", "-o", other, "--pods", "-", input=pods)).startswith(
        "1 names, 0 of them unchanged"
    )
    digest = app(7).digest
    pinned = f"{host}/team/app7@{digest}"
    scanner("base", "scan", "-o", other, "-q", pinned)
    registry.forget()
    # A digest stands for the same for ever: nothing is asked.
    assert summary(scanner("base", "scan", "-o", other, pinned)).startswith("1 names, 1 of them unchanged")
    assert registry.requests == []
    only = str(tmp_path / "only.db")
    scanner("base", "scan", "-o", only, "-q", f"{host}/other/", "--tags", "1.*,x", "--newest", "1")
    assert scanner.out("base", "who", "-q", only, "curl") == f"{host}/other/tool:1.10"


def test_with_a_login(scanner: Installation, tmp_path: Path) -> None:
    with FakeRegistry(users={"bob": "hidden-w0rd"}) as registry:
        registry.add(app(1), "team/app", "1")
        words = ["base", "scan", "-o", str(tmp_path / "scan.db"), f"{registry.host}/"]
        scanner.environment["DOCKER_CONFIG"] = scanner.environment["HOME"] = str(tmp_path)
        refused = scanner(*words, code=1)
        assert b"Traceback" not in refused.stderr
        scanner("login", "-u", "bob", "--password-stdin", registry.host, input=b"hidden-w0rd")
        assert summary(scanner(*words)).startswith("1 names, 0 of them unchanged; 1 images judged")
        assert b"hidden-w0rd" not in (tmp_path / "scan.db").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--output is missing"),
        (["-o", "x.db"], "there is nothing to scan"),
        (["-o", "x.db", "--newest", "0", "a"], "invalid value for --newest: 0"),
        (["-o", "x.db", "-", "-"], "the standard input can be read only once"),
        (["-o", "x.db", "docker.io/"], "Docker Hub has no list of all repositories"),
        (["-o", "x.db", "--pods", "/nowhere"], "/nowhere: No such file or directory"),
        (["-o", "/nowhere/x.db", "a"], "/nowhere/x.db: No such file or directory"),
    ],
)
def test_refused(scanner: Installation, tmp_path: Path, words: list[str], told: str) -> None:
    scanner.environment["PYTHONPATH"] = os.path.abspath(scanner.environment["PYTHONPATH"].partition(os.pathsep)[0])
    done = subprocess.run(
        [*scanner.command, "base", "scan", *words],
        env=scanner.environment,
        capture_output=True,
        cwd=tmp_path,
        input=b"",
    )
    assert done.returncode and told in done.stderr.decode(), done.stderr.decode()
    assert not (tmp_path / "x.db").exists()
