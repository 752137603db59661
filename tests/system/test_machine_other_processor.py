"""Containers of arm64 on a host of amd64, in machines whose processor is emulated; nothing is registered in binfmt_misc."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, until
from machines import Other, give_kernels, needs_other_machines
from networks import World, nothing_left, world

__all__ = ["nothing_left", "world"]  # fixtures

SERVE = "while :; do echo served | nc -l -p 80; done"
PLATFORM = "linux/arm64"
WORDS = ["--isolation", "machine", "--platform", PLATFORM]


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Other:
    """Kernel, userland and the tar of an image for arm64."""
    return needs_other_machines(tmp_path_factory, "arm64")


@pytest.fixture(scope="module")
def arm(other: Other, ul: Installation) -> Installation:
    """The module's installation, with a kernel for machines of arm64 and the image `armbox`."""
    give(ul, other)
    return ul


def give(ul: Installation, other: Other) -> None:
    """Put into an installation's store what machines of arm64 need, and an image."""
    give_kernels(ul, other.kernels)
    give_kernels(ul, other.userlands)
    ul("import", "--platform", PLATFORM, "--change", 'CMD ["sh"]', str(other.image), "armbox")


@pytest.fixture(scope="module")
def running(arm: Installation) -> Iterator[str]:
    """The name of a container that runs."""
    script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"
    words = ["--memory", "256m", "--hostname", "inside", "-e", "A=é"]
    arm("run", "-d", "--name", "arm1", *WORDS, *words, "armbox", "sh", "-c", script)
    yield "arm1"
    arm("rm", "-f", "arm1", code=None)


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """One container runs for all tests of this module."""


def test_what_runs_in_it(arm: Installation) -> None:
    """Rights and filters are those of a container of this host's processor, but for the processor."""
    script = (
        "grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid)' /proc/self/status; id; pwd; cat /proc/sys/kernel/msgmax"
    )
    script += "; unshare true || echo refused; uname -m >&2; exit 7"
    words = [
        "--rm",
        "--network",
        "none",
        "--cap-drop",
        "NET_RAW",
        "--cap-add",
        "SYS_NICE",
        "-w",
        "/data",
        "--read-only",
    ]
    words += ["--security-opt", "no-new-privileges", "--sysctl", "kernel.msgmax=9000", "--group-add", "5"]
    done = arm("run", *words, *WORDS, "armbox", "sh", "-c", script, code=7)
    plain = arm("run", *words, "box", "sh", "-c", script, code=None)
    assert done.stdout == plain.stdout and b"Seccomp:\t2" in done.stdout and b"refused" in done.stdout
    assert done.stderr.split()[-1] == b"aarch64"


def test_a_running_one(arm: Installation, running: str) -> None:
    ul = arm
    assert ul.out("exec", running, "sh", "-c", "uname -m; hostname; echo $A").split() == ["aarch64", "inside", "é"]
    ul("exec", running, "sh", "-c", "exit 9", code=9)
    ul("exec", running, "nothing-there", code=127)
    assert b"two" in ul("exec", "-i", running, "cat", input=b"one\ntwo\n").stdout
    assert ul.out("logs", running) == "up" and "sleep 0.1" in ul.out("top", running)
    [found] = json.loads(ul.out("inspect", running))
    assert found["State"]["Status"] == "running" and found["State"]["Pid"]
    # Its program on this host is QEMU, which emulates.
    children = Path(f"/proc/{found['State']['Pid']}/task/{found['State']['Pid']}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children]
    [words] = [words for words in lines if words[0].endswith(b"qemu-system-aarch64")]
    assert words[words.index(b"-accel") + 1].startswith(b"tcg")


def test_among_containers_of_this_processor(other: Other, world: World) -> None:
    if not Path("/dev/net/tun").exists():
        pytest.skip("this host has no /dev/net/tun")
    ul = world.underlay
    give(ul, other)
    name = ul.out("run", "-d", "--network", "front", *WORDS, "--hostname", "web", "armbox", "sh", "-c", SERVE)
    world.run("--name", "p1", "--network", "front")
    world.serve("p1", 81)
    address = world.address(name, "front")
    shown = ul.out("exec", name, "sh", "-c", "ip addr; cat /etc/hosts; nc p1 81 < /dev/null")
    assert f"inet {address}/" in shown and f"{address}\tweb" in shown and shown.endswith(f"\n{address}")
    assert until(lambda: ul.out("exec", "p1", "sh", "-c", "nc web 80 < /dev/null", code=None) == "served")


def test_files(arm: Installation, running: str, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("from the host\n")
    arm("cp", str(tmp_path / "here"), f"{running}:/data/there")
    assert arm.out("exec", running, "cat", "/data/there") == "from the host"
    arm("cp", f"{running}:/data/seed", str(tmp_path / "seed"))
    assert (tmp_path / "seed").read_text() == "from the image\n"
    assert arm.out("diff", running).splitlines() == ["C /data", "A /data/there"]
    arm("commit", running, "armbox:2")
    assert arm.out("image", "inspect", "-f", "{{.Architecture}}", "armbox:2") == "arm64"


def test_a_filter_of_ones_own(arm: Installation, tmp_path: Path) -> None:
    """One for all processors is compiled for the machine's; chosen by --isolation auto, since this one cannot run it."""
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64"}, {"architecture": "SCMP_ARCH_AARCH64"}],
        "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    words = ["--rm", "--network", "none", "--security-opt", f"seccomp={tmp_path}/profile.json", "--platform", PLATFORM]
    script = "mkdir /data/x; touch /data/y && uname -m"
    done = arm("run", *words, "--isolation", "auto", "armbox", "sh", "-c", script)
    assert done.stdout == b"aarch64\n" and b"can't create directory '/data/x': Permission denied" in done.stderr
    said = arm.out("base", "fit", "armbox", code=1)
    assert re.search(r"\n  runs with --isolation machine \(Linux [^ ]+, arm64\)\n", said)


def test_builds(arm: Installation, tmp_path: Path) -> None:
    lines = [
        "FROM armbox",
        "RUN uname -m && echo built > /data/x && chown 7 /data/x",
        "USER 7",
        "RUN stat -c %u /data/x",
    ]
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    words = ["--isolation", "machine", "--platform", PLATFORM, "--progress", "plain"]
    built = arm("build", *words, "-t", "built", str(tmp_path))
    assert b" aarch64\n" in built.stderr and b" 7\n" in built.stderr
    assert arm.out("image", "inspect", "-f", "{{.Architecture}} {{len .RootFS.Layers}}", "built") == "arm64 3"
    # A stage for this processor has a machine of its own kernel, which is not there.
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN true\n")
    failed = arm("build", *words[:2], str(tmp_path), code=1)
    assert b"there is no kernel for amd64 in the store" in failed.stderr
    # Without machines it would have to be registered.
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    failed = arm("build", "--no-cache", *words[2:], str(tmp_path), code=1)
    assert b"this processor is" in failed.stderr


def test_its_end(arm: Installation, running: str) -> None:
    arm("stop", "-t", "50", running)
    # Not 137: it has ended by itself.
    assert arm.out("inspect", "-f", "{{.State.ExitCode}}", running) == "5"
    # Now a machine that only serves files.
    assert b"from the image" in arm("cp", f"{running}:/data/seed", "-").stdout
    arm("rm", running)


def test_refusals(arm: Installation) -> None:
    done = arm("run", "--rm", "--network", "none", "--platform", PLATFORM, "armbox", "true", code=125)
    assert b"is for linux/arm64/v8, this processor is" in done.stderr and b"--isolation machine" in done.stderr
    userlands = arm.root / "userlands"
    userlands.rename(arm.root / "away")
    try:
        done = arm("run", "--rm", "--network", "none", *WORDS, "armbox", "true", code=125)
    finally:
        (arm.root / "away").rename(userlands)
    assert b"no userland for machines of arm64" in done.stderr
    assert b"machine kernel fetch --platform linux/arm64" in done.stderr
    assert os.listdir(arm.root / "containers") == []
