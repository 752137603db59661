"""Files of containers in machines: volumes, `cp`, `diff`, `commit`, `export`; the same as of containers without."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation
from machines import Driver

pytestmark = pytest.mark.root

# What a container does to its files: added, changed, removed, replaced, linked, with attributes.
CHANGES = """
    echo added > /root/a; ln -s /root/a /root/l; ln -s nowhere /root/dangling; ln /root/a /root/hard
    mkfifo /root/fifo; mknod /root/null c 1 3; echo more >> /data/seed; rm -rf /etc/group; chmod 700 /tmp
    rm -rf /home; mkdir /home; echo new > /home/only; echo shared > /vol/x 2>/dev/null; chown 12:34 /root/a
    echo done; sleep 900
"""


@pytest.fixture
def running(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, str, Path]]:
    """A container that has changed its files, with a directory of the host."""
    if driver.name == "machine" and not shutil.which("virtiofsd", path="/usr/libexec:/usr/lib/qemu:/usr/bin"):
        pytest.skip("there is no virtiofsd (package virtiofsd)")
    shared = tmp_path_factory.mktemp("shared")
    (shared / "file").write_text("of the host\n")
    (shared / "single").write_text("single\n")
    os.symlink("/etc/shadow", shared / "out")
    ul, name = driver.ul, f"files-{driver.name}"
    words = ["-v", f"{shared}:/vol", "-v", f"{shared}:/ro:ro", "-v", f"{shared}/single:/one", "-v", f"{name}:/data"]
    ul("run", "-d", "--name", name, "--network", "none", *driver.words, *words, "box", "sh", "-c", CHANGES)
    for _ in range(200):
        if ul.out("logs", name) == "done":
            break
    yield ul, name, shared
    ul("rm", "-f", "-v", name)
    ul("volume", "rm", name)


def test_files(running: tuple[Installation, str, Path], tmp_path: Path) -> None:
    # One test, since a machine takes seconds to start.
    ul, name, shared = running
    check_volumes(ul, name, shared)
    if name.endswith("machine"):
        check_server(ul, name)
    for part in ("running", "stopped"):
        (tmp_path / part).mkdir()
    check_files(ul, name, tmp_path / "running")
    check_commit(ul, name)
    check_copies(ul, name, tmp_path)
    ul("stop", "-t", "0", name)
    check_files(ul, name, tmp_path / "stopped")
    (tmp_path / "late").write_text("late\n")
    ul("cp", str(tmp_path / "late"), f"{name}:/root/late")
    ul("start", name)
    assert ul.out("exec", name, "cat", "/root/late") == "late"


def check_volumes(ul: Installation, name: str, shared: Path) -> None:
    script = """
        cat /vol/file /one; echo back > /vol/back; chown 1000:1001 /vol/back; mkdir /vol/deep; echo 1 >> /one
        cat /ro/back; echo x > /ro/x; cat /data/seed; stat -c '%u:%g %a' /vol/back; cat /vol/out
        rm /vol/x; ls /vol
    """
    done = ul("exec", name, "sh", "-c", script, code=0)
    said = done.stdout.decode().splitlines()
    assert said[:4] == ["of the host", "single", "back", "from the image"]
    assert said[4:6] == ["more", "1000:1001 644"] and "x" not in said
    # A link in what is shared leads to the container's own files, or nowhere.
    assert "Read-only file system" in done.stderr.decode() and "root:" not in done.stdout.decode()
    assert (shared / "back").read_text() == "back\n" and (shared / "deep").is_dir()
    assert (shared / "back").stat().st_uid == 1000 and (shared / "single").read_text() == "single\n1\n"
    assert not (shared / "x").exists()
    (shared / "later").write_text("later\n")
    assert ul.out("exec", name, "cat", "/ro/later") == "later"


def check_files(ul: Installation, name: str, place: Path) -> None:
    """See that all commands tell of the files what the container has made of them."""
    told = ul.out("diff", name).splitlines()
    assert {"D /etc/group", "A /root/a", "A /root/l", "A /root/dangling", "A /root/hard", "A /root/fifo"} <= set(told)
    assert {"C /tmp", "A /home/only"} <= set(told) and not {"A /vol", "A /ro", "A /one"} & set(told)
    ul("cp", f"{name}:/root/l", str(place / "link"))
    ul("cp", "-L", f"{name}:/root/l", str(place / "followed"))
    ul("cp", f"{name}:/root", str(place / "all"))
    assert os.readlink(place / "link") == "/root/a" and (place / "followed").read_text() == "added\n"
    assert sorted(os.listdir(place / "all")) == ["a", "dangling", "fifo", "hard", "l"]
    assert "Could not find the file /nowhere" in ul("cp", f"{name}:/nowhere", "-", code=1).stderr.decode()
    data = ul("cp", f"{name}:/root", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {member.name.strip("./"): member for member in archive}
    assert (found["root/a"].uid, found["root/a"].gid) == (12, 34)
    with tarfile.open(fileobj=io.BytesIO(ul("export", name).stdout)) as archive:
        names = {member.name.strip("./") for member in archive}
    assert {"root/a", "home/only", "data/seed", "bin/sh"} & names >= {"root/a", "home/only", "bin/sh"}
    assert "etc/group" not in names and "vol/file" not in names


def check_copies(ul: Installation, name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "given").write_text("given\n")
    ul("cp", str(tmp_path / "in"), f"{name}:/srv")
    ul("cp", str(tmp_path / "in" / "given"), f"{name}:/root/a")
    assert ul.out("exec", name, "cat", "/srv/given", "/root/a", code=None).splitlines()[-1] == "given"
    assert "not find" in ul("cp", str(tmp_path / "in"), f"{name}:/no/where", code=1).stderr.decode()
    ul("exec", name, "sh", "-c", "rm -rf /srv/given; echo added > /root/a; chown 12:34 /root/a")


def check_commit(ul: Installation, name: str) -> None:
    ul("commit", name, f"of-{name}")
    script = "cat /root/a /home/only; ls /etc/group /vol /one; stat -c '%u:%g %h %F' /root/a /root/null /root/fifo"
    done = ul("run", "--rm", "--network", "none", f"of-{name}", "sh", "-c", script)
    lines = done.stdout.decode().splitlines()
    assert lines[:2] == ["added", "new"] and "No such file" in done.stderr.decode()
    assert lines[-3:] == ["12:34 2 regular file", "0:0 1 character special file", "0:0 1 fifo"]
    ul("rmi", f"of-{name}")


def check_server(ul: Installation, name: str) -> None:
    """See that virtiofsd has nothing but what the machine shares."""
    first = int(ul.out("inspect", "-f", "{{.State.Pid}}", name))
    group = Path(f"/proc/{first}/cgroup").read_text()
    servers = [
        pid
        for pid in os.listdir("/proc")
        if pid.isdecimal() and _reads(f"/proc/{pid}/comm") == "virtiofsd\n" and _reads(f"/proc/{pid}/cgroup") == group
    ]
    serving = [pid for pid in servers if sorted(os.listdir(f"/proc/{pid}/root")) == ["0", "1", "2", "3"]]
    assert servers and serving
    for pid in serving:
        root = Path(f"/proc/{pid}/root")
        assert stat.S_ISREG((root / "2").stat().st_mode) and (root / "2").read_text().startswith("single")
        with pytest.raises(OSError, match="Read-only"):
            (root / "1" / "y").write_text("")


def _reads(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
