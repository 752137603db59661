"""Limits, update, stats and top beside docker's: the same words give the same control files and the same tables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dockerdaemon
from engines import Installation, image_tar, until
from underlay.linux import cgroup

pytestmark = [pytest.mark.oracle, pytest.mark.root]

LIMITS = (
    "-m 64m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 50"
).split()
CHANGES = "-m 100m --memory-swap 150m --cpus 0.7 --cpu-shares 700 --pids-limit 60 --memory-reservation 40m".split()
V1_FILES = (
    "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.swappiness memory.oom_control "
    "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpuset.cpus cpuset.mems pids.max devices.list"
).split()
V2_FILES = "memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus cpuset.mems pids.max".split()
SHOWN = (
    "Memory MemorySwap MemoryReservation NanoCpus CpuShares CpuPeriod CpuQuota CpusetCpus CpusetMems PidsLimit "
    "BlkioWeight CpuRealtimePeriod CpuRealtimeRuntime MemorySwappiness DeviceCgroupRules CgroupParent"
).split()


class Docker:
    """A private daemon, spoken to by docker's own client."""

    def __init__(self, address: str, cgroup: str) -> None:
        self.environment = {**os.environ, "DOCKER_HOST": address}
        self.cgroup = cgroup

    def __call__(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["docker", *words], capture_output=True, text=True, env=self.environment, timeout=60)
        assert code is None or done.returncode == code, done.stderr
        return done


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    # Paths of sockets are short.
    with (
        tempfile.TemporaryDirectory(prefix="ul-docker-") as name,
        dockerdaemon.running(Path(name), "--storage-driver=vfs") as address,
    ):
        client = Docker(address, dockerdaemon.cgroup_of(Path(name)))
        Path(name, "box.tar").write_bytes(image_tar())
        client("import", "--change", 'CMD ["sh"]', f"{name}/box.tar", "box")
        yield client
        ids = client("ps", "-aq").stdout.split()
        if ids:
            client("rm", "-f", *ids)


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    (place / "box.tar").write_bytes(image_tar())
    installation("import", "--change", 'CMD ["sh"]', str(place / "box.tar"), "box")
    yield installation
    installation.clean()


def files(parent: str, name: str) -> dict[str, str]:
    """The control files of a container by name."""
    places = cgroup.open_group(f"{parent}/{name}").locations()
    found = {}
    for file in V2_FILES if "" in places else V1_FILES:
        path = Path(places.get("") or places.get(file.partition(".")[0], "/none"), file)
        text = path.read_text() if path.exists() else ""
        found[file] = "\n".join(sorted(text.splitlines())) if file == "devices.list" else text
    return found


def host_config(text: str) -> dict[str, Any]:
    config = json.loads(text)[0]["HostConfig"]
    return {key: config[key] for key in SHOWN}


def test_the_same_flags_set_the_same_files(docker: Docker, ul: Installation) -> None:
    words = ["run", "-d", "--network", "none", "--device-cgroup-rule", "c 10:237 rw", *LIMITS, "box", "sleep", "300"]
    theirs, ours = docker(*words).stdout.strip(), ul.out(*words)
    one, two = files(docker.cgroup, theirs), files("underlay", ours)
    # Docker lets TUN devices be used, and everything else of the list is the same.
    assert {k: v for k, v in one.items() if k != "devices.list"} == {
        k: v for k, v in two.items() if k != "devices.list"
    }
    assert set(two.get("devices.list", "").splitlines()) <= set(one.get("devices.list", "").splitlines())
    assert host_config(docker("inspect", theirs).stdout) == host_config(ul.out("inspect", ours))

    # Docker adds a line where the host does not forward.
    assert docker("update", *CHANGES, theirs).stdout.split()[0] == theirs
    assert ul.out("update", *CHANGES, ours) == ours
    one, two = files(docker.cgroup, theirs), files("underlay", ours)
    assert {k: v for k, v in one.items() if k != "devices.list"} == {
        k: v for k, v in two.items() if k != "devices.list"
    }
    assert host_config(docker("inspect", theirs).stdout) == host_config(ul.out("inspect", ours))
    docker("rm", "-f", theirs)
    ul("rm", "-f", ours)


def test_stats_and_top_look_the_same(docker: Docker, ul: Installation) -> None:
    words = ["run", "-d", "--network", "none", "-m", "64m", "--name", "looked-at", "box", "sh", "-c"]
    words.append("sleep 300 & exec sleep 301")
    docker(*words)
    ul(*words)
    assert until(lambda: ul.out("top", "looked-at").count("sleep") == 2)
    for options in ([], ["-o", "pid,comm,args,ni,stat"], ["aux"]):
        theirs = docker("top", "looked-at", *options).stdout.splitlines()
        ours = ul.out("top", "looked-at", *options).splitlines()
        assert theirs[0].split() == ours[0].split() and len(theirs) == len(ours)
        # Columns are where they are in docker's table, as long as no cell is wider.
        assert [theirs[0].index(title) for title in theirs[0].split()] == [
            ours[0].index(title) for title in ours[0].split()
        ]
    theirs = docker("stats", "--no-stream").stdout.splitlines()
    ours = ul.out("stats", "--no-stream").splitlines()
    assert theirs[0].split() == ours[0].split()
    one = json.loads(docker("stats", "--no-stream", "--format", "json", "looked-at").stdout)
    two = json.loads(ul.out("stats", "--no-stream", "--format", "json", "looked-at"))
    assert list(one) == list(two)
    for key in ("Container", "Name", "PIDs", "NetIO"):
        assert one[key] == two[key]
    assert one["MemUsage"].split(" / ")[1] == two["MemUsage"].split(" / ")[1] == "64MiB"
    docker("rm", "-f", "looked-at")
    ul("rm", "-f", "looked-at")


@pytest.mark.parametrize(
    "words",
    [
        ["--device-read-bps", "foo"],
        ["--device-read-bps", "/dev/x:abc"],
        ["--device-read-bps", "/x:1"],
        ["--device-write-iops", "/dev/x:1m"],
        ["--blkio-weight-device", "/dev/x:5"],
        ["--blkio-weight-device", "/dev/x"],
        ["--blkio-weight", "70000"],
        ["--device-cgroup-rule", "zzz"],
        ["--memory-swappiness", "101"],
        ["--cpu-period", "5"],
        ["--cpu-quota", "5"],
        ["--cpu-shares", "1"],
        ["--cpus", "5000"],
        ["--cpuset-cpus", "4095"],
        ["-m", "1m"],
        ["-m", "64m", "--memory-reservation", "1m"],
        ["-m", "64m", "--memory-swap", "32m"],
        ["--memory-swap", "32m"],
    ],
    ids=" ".join,
)
def test_the_same_is_refused(docker: Docker, ul: Installation, words: list[str]) -> None:
    """With the same exit code, and docker's words where the flag itself is wrong."""
    line = ["run", "--rm", "--network", "none", *words, "box", "true"]
    theirs, ours = docker(*line, code=None), ul(*line, code=None)
    assert theirs.returncode == ours.returncode == 125
    if theirs.stderr.startswith("invalid argument"):
        assert theirs.stderr.splitlines()[0] in ours.stderr.decode()
