"""Limits of what a container may write, by both ways: exceeded for real, kept over restarts, given back at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root, until
from underlay.linux.files import loopdevice, projectquota

pytestmark = pytest.mark.root

MIB = 1 << 20


def file_system(place: Path, size: str, *options: str, mount: str = "") -> str:
    """Make and mount an ext4 file system at `place`; returns why it cannot be, "" when it is there."""
    mkfs = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    if not mkfs or loopdevice.why_not():
        return "no mkfs.ext4, or no loop devices"
    disk = place.parent / f"{place.name}.img"
    with disk.open("wb") as file:
        subprocess.run(["truncate", "-s", size, disk], check=True, stdout=file)
    subprocess.run([mkfs, "-q", *options, str(disk)], check=True)
    place.mkdir()
    done = subprocess.run(["mount", "-o", f"loop{mount}", str(disk), str(place)], capture_output=True, text=True)
    return done.stderr.strip() and f"this kernel cannot: {done.stderr.strip().splitlines()[0]}"


@pytest.fixture(scope="module", params=["image", "quota"])
def ul(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose store limits disks in one of both ways."""
    needs_root()
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    if request.param == "quota":
        reason = file_system(
            installation.root, "400M", "-O", "quota,project", "-E", "quotatype=prjquota", mount=",prjquota"
        )
        if reason:
            pytest.skip(reason)
        os.chmod(installation.root, 0o700)
    elif loopdevice.why_not():
        pytest.skip(loopdevice.why_not())
    try:
        (place / "box.tar").write_bytes(image_tar())
        installation("import", "--change", 'CMD ["sh"]', str(place / "box.tar"), "box")
        if request.param not in installation.out("info", "-f", "{{.DiskLimit}}"):
            pytest.skip(installation.out("info", "-f", "{{.DiskLimit}} {{.DiskLimitReason}}"))
        yield installation
        mounts = Path("/proc/self/mounts").read_text()
        ids = installation.out("ps", "-aq").split()
        if ids:
            installation("rm", "-f", *ids)
        assert devices(installation) == [] and str(installation.state) not in mounts
    finally:
        if request.param == "quota":
            subprocess.run(["umount", "-l", str(installation.root)], check=True)


def is_image(ul: Installation) -> bool:
    return ul.out("info", "-f", "{{.DiskLimit}}") == "image"


def devices(ul: Installation) -> list[str]:
    """The files of this installation that loop devices are made of."""
    found = []
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found += [text for text in [file.read_text()] if f"{ul.root}/containers" in text]
        except OSError:
            continue
    return found


FILL = "dd if=/dev/zero of=/big bs=64k; echo ended $?; stat -c %s /big"


def filled(out: str) -> int:
    lines = out.splitlines()
    assert lines[0] == "ended 1", out
    return int(lines[1])


def test_more_cannot_be_written(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "none", "--storage-opt", "size=32m", "box", "sh", "-c", FILL)
    assert b"No space left on device" in done.stderr or b"quota exceeded" in done.stderr
    assert 24 * MIB < filled(done.stdout.decode()) <= 32 * MIB
    # Nobody else is any the worse.
    assert ul.run("box", "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=40 2>/dev/null && stat -c %s /big") == str(
        40 * MIB
    )


def test_who_is_not_root_neither(ul: Installation) -> None:
    script = FILL.replace("/big", "/tmp/big")
    out = ul.run("--storage-opt", "size=32m", "-u", "alice", "box", "sh", "-c", script)
    assert 24 * MIB < filled(out) <= 32 * MIB


def test_even_the_privileged(ul: Installation) -> None:
    out = ul.run("--storage-opt", "size=32m", "--privileged", "box", "sh", "-c", FILL)
    assert 24 * MIB < filled(out) <= 32 * MIB


def test_each_has_its_own(ul: Installation) -> None:
    sizes = {"small": 32, "large": 64}
    for name, size in sizes.items():
        ul.start("--name", name, "--storage-opt", f"size={size}m", "box", "sh", "-c", f"{FILL}; sleep 60")
    for name, size in sizes.items():
        assert until(lambda name=name: len(ul.out("logs", name).splitlines()) >= 2)
        lines = [line for line in ul.out("logs", name).splitlines() if line.isdigit()]
        assert size * 0.75 * MIB < int(lines[-1]) <= size * MIB, name
        assert ul.out("inspect", "-f", "{{.HostConfig.StorageOpt.size}}", name) == f"{size}m"
    # What is removed can be written again.
    assert (
        ul.out(
            "exec", "small", "sh", "-c", "rm /big && sync && dd if=/dev/zero of=/b bs=1M count=20 2>/dev/null; echo $?"
        )
        == "0"
    )
    space = int(ul.out("exec", "large", "sh", "-c", "df -k / | tail -n 1").split()[1])
    assert space * 1024 <= 64 * MIB
    assert len(devices(ul)) == (2 if is_image(ul) else 0)
    ul("rm", "-f", *sizes)
    assert until(lambda: devices(ul) == [])


def test_data_stays_over_restarts(ul: Installation) -> None:
    script = "echo run >> /data/runs; wc -l < /data/runs; trap 'exit 0' TERM; while :; do sleep 0.1; done"
    name = ul.start("--storage-opt", "size=32m", "box", "sh", "-c", script)
    for expected in (["1"], ["1", "2"]):
        assert until(lambda expected=expected: ul.out("logs", name).split() == expected)
        ul("restart", "-t", "5", name)
    ul("stop", "-t", "5", name)
    assert until(lambda: devices(ul) == [])
    ul("start", name)
    assert until(lambda: ul.out("logs", name).split() == ["1", "2", "3", "4"])
    assert ul.out("exec", name, "cat", "/data/seed") == "from the image"
    done = ul("exec", name, "sh", "-c", "dd if=/dev/zero of=/big bs=64k", code=1)
    assert b"No space left" in done.stderr or b"quota exceeded" in done.stderr


def test_the_monitor_starts_it_again_with_it(ul: Installation) -> None:
    script = "echo run >> /data/runs; wc -l < /data/runs; sleep 0.4; exit 1"
    name = ul.start("--restart", "on-failure:2", "--storage-opt", "size=32m", "box", "sh", "-c", script)
    assert until(lambda: ul.out("inspect", "-f", "{{.State.Status}}", name) == "exited")
    assert ul.out("logs", name).split() == ["1", "2", "3"]


def test_a_killed_monitor(ul: Installation) -> None:
    name = ul.start("--storage-opt", "size=32m", "box", "sh", "-c", "echo kept > /data/x; sync; sleep 600")
    ul("exec", "-d", name, "sleep", "600")
    assert until(lambda: ul("exec", name, "cat", "/data/x", code=None).returncode == 0)
    pid = ul.pid(name)
    os.kill(ul.monitor(name), signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    # Nobody has to take anything down: the kernel has.
    assert until(lambda: devices(ul) == [])
    ul("start", name)
    assert ul.out("exec", name, "cat", "/data/x") == "kept"
    os.kill(ul.monitor(name), signal.SIGKILL)
    ul("rm", "-f", name)
    assert until(lambda: devices(ul) == []) and not (ul.root / "containers" / name).exists()


def test_with_a_user_namespace(ul: Installation) -> None:
    words = ("--userns", "auto", "--storage-opt", "size=32m", "box", "sh", "-c")
    done = ul(
        "run", "--rm", "--network", "none", *words, f"id -u; touch /data/x; stat -c %u /data/x; {FILL}", code=None
    )
    if b"to the ids of a user namespace" in done.stderr:
        pytest.skip(done.stderr.decode())
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == ["0", "0"] and 24 * MIB < filled("\n".join(lines[2:])) <= 32 * MIB


def test_sizes_are_told(ul: Installation) -> None:
    name = ul.start(
        "--storage-opt", "size=100m", "box", "sh", "-c", "dd if=/dev/urandom of=/big bs=1M count=20; sync; sleep 60"
    )
    assert until(lambda: b"20+0 records out" in ul("logs", name).stderr)
    ul("exec", name, "sh", "-c", "sync")
    size = ul.out("ps", "-s", "--no-trunc", "--format", "{{.Size}}").partition(" (virtual ")[0]
    assert size.endswith("MB") and 20 < float(size[:-2]) < 40
    row = next(line for line in ul.out("system", "df").splitlines() if line.startswith("Containers"))
    assert 20 < float(row.split()[3].removesuffix("MB")) < 40


def test_room_that_is_given_back(ul: Installation) -> None:
    if not is_image(ul):
        pytest.skip("there is no file")
    name = ul.start(
        "--storage-opt", "size=100m", "box", "sh", "-c", "dd if=/dev/urandom of=/big bs=1M count=60; sync; sleep 60"
    )
    assert until(lambda: b"60+0 records out" in ul("logs", name).stderr)
    disk = ul.root / "containers" / name / "disk"
    assert until(lambda: disk.stat().st_blocks * 512 > 60 * MIB) and disk.stat().st_size == 100 * MIB
    ul("exec", name, "sh", "-c", "rm /big && sync")
    assert until(lambda: disk.stat().st_blocks * 512 < 20 * MIB)
    assert disk.stat().st_mode & 0o777 == 0o600
    ul("stop", "-t", "0", name)
    check = shutil.which("e2fsck", path="/usr/sbin:/sbin")
    assert until(lambda: devices(ul) == [])
    if check:
        assert subprocess.run([check, "-fn", str(disk)], capture_output=True).returncode == 0


def test_projects_are_claimed_and_given_back(ul: Installation) -> None:
    if is_image(ul):
        pytest.skip("there is no quota")
    names = [ul.out("create", "--network", "none", "--storage-opt", "size=32m", "box", "true") for _ in range(2)]
    for name in names:
        ul("start", "-a", name)
    first = 1 << 30
    assert [projectquota.usage(str(ul.root), first + n)[1] >= 2 for n in range(3)] == [True, True, False]
    ul("rm", names[0])
    assert projectquota.usage(str(ul.root), first) == (0, 0)
    third = ul.out("create", "--network", "none", "--storage-opt", "size=48m", "box", "true")
    ul("start", "-a", third)
    assert projectquota.usage(str(ul.root), first)[1] >= 2
    ul("rm", names[1], third)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("size=1m", "at least 16m"),
        ("size=0", "at least 16m"),
        ("size=16385t", "less than 16t"),
        ("size=abc", "invalid size: 'abc'"),
        ("size=", "invalid size: ''"),
        ("size=-5m", "invalid size: '-5m'"),
        ("inodes=5", "unknown option inodes"),
        ("size", "invalid storage option"),
    ],
)
def test_refused(ul: Installation, word: str, message: str) -> None:
    done = ul("create", "--network", "none", "--storage-opt", word, "box", code=None)
    assert done.returncode in (1, 125) and message in done.stderr.decode(), done.stderr
    assert ul.out("ps", "-aq") == ""


def test_the_plan_shows_it(ul: Installation) -> None:
    lines = ul.out("run", "--plan", "--network", "none", "--storage-opt", "size=1g", "box").splitlines()
    assert any(line.startswith("disk ") for line in lines) is is_image(ul)


def test_a_full_disk_below(tmp_path: Path) -> None:
    """The file system is larger than what is left on the host: who writes is told, and nobody else falls over it."""
    needs_root()
    other = Installation(tmp_path)
    reason = file_system(other.root, "100M", "-m", "0")
    if reason:
        pytest.skip(reason)
    try:
        os.chmod(other.root, 0o700)
        (tmp_path / "box.tar").write_bytes(image_tar())
        other("import", "--change", 'CMD ["sh"]', str(tmp_path / "box.tar"), "box")
        script = "dd if=/dev/urandom of=/big bs=1M count=200 conv=fsync; echo ended $?; cat /data/seed; sleep 1"
        done = other("run", "--network", "none", "--name", "big", "--storage-opt", "size=1g", "box", "sh", "-c", script)
        assert done.stdout.decode() == "ended 1\nfrom the image\n"
        assert b"I/O error" in done.stderr or b"No space left" in done.stderr or b"Read-only" in done.stderr
        assert other.out("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("big Exited (0)")
        other("rm", "big")
        assert other.run("box", "echo", "on") == "on"
    finally:
        subprocess.run(["umount", "-l", str(other.root)], check=True)
