"""Run inside a guest as an unprivileged user (collected only by name): containers without root."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar
from underlay.linux import userns


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of this user."""
    assert os.geteuid() != 0
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    archive = place / "box.tar"
    archive.write_bytes(image_tar())
    installation("import", "--change", 'CMD ["sh"]', str(archive), "box")
    yield installation
    installation.clean()


def test_root_inside_is_the_user_outside(ul: Installation) -> None:
    assert ul.run("box", "id", "-u") == "0"
    first = ul.run("box", "head", "-n", "1", "/proc/self/uid_map").split()
    assert first == ["0", str(os.geteuid()), "1"]


def test_own_namespaces_and_no_way_to_the_host(ul: Installation) -> None:
    for kind in ("user", "mnt", "pid", "net", "ipc", "uts"):
        assert ul.run("box", "readlink", f"/proc/self/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
    done = ul("run", "--rm", "--network", "none", "box", "sh", "-c", "mount -t tmpfs x /tmp", code=None)
    assert done.returncode != 0
    assert ul.run("box", "grep", "Seccomp:", "/proc/self/status").split()[1] == "2"


def test_owners(ul: Installation) -> None:
    if not userns.has_subordinate_ids():
        assert ul.run("box", "stat", "-c", "%u", "/home/alice") == "0"
        pytest.skip("this user has no subordinate ids: all files are its own")
    assert ul.run("-u", "alice", "box", "id") == "uid=1000(alice) gid=1001(alice) groups=1001(alice),2000(extra)"
    text = ul.run("box", "sh", "-c", "touch /x; chown 1000:1001 /x; stat -c %u:%g /x")
    assert text == "1000:1001"


def test_keeping_ones_own_id(ul: Installation, tmp_path: Path) -> None:
    own = (os.geteuid(), os.getegid())
    if not userns.has_subordinate_ids():
        done = ul("create", "--network", "none", "--userns", "keep-id", "box", code=1)
        assert b"needs subordinate ids" in done.stderr
        return
    script = "id -u; id -g; touch /host/new; stat -c %u:%g /host/new"
    out = ul.run("--userns", "keep-id", "-v", f"{tmp_path}:/host", "box", "sh", "-c", script).split()
    assert out == [str(own[0]), str(own[1]), f"{own[0]}:{own[1]}"]
    assert ((tmp_path / "new").stat().st_uid, (tmp_path / "new").stat().st_gid) == own
    script = "id -u; stat -c %u:%g /host/new; touch /root/x; su alice -c 'id -u'"
    out = ul.run("--userns", "keep-id:uid=7,gid=8", "-u", "root", "-v", f"{tmp_path}:/host", "box", "sh", "-c", script)
    assert out.split() == ["0", "7:8", "1000"]
    name = ul.start("--userns", "keep-id", "-t", "box", "sleep", "60")
    assert ul.out("exec", name, "id", "-u") == str(own[0])
    assert ul.out("exec", "-t", "-u", "root", name, "sh", "-c", "id -u; echo x >/dev/tty").split() == ["0", "x"]
    assert ul.out("inspect", "-f", "{{.HostConfig.UsernsMode}}", name) == "keep-id"
    ul("rm", "-f", name)


def test_other_user_namespaces_need_root(ul: Installation) -> None:
    assert ul.run("--userns", "host", "box", "id", "-u") == "0"
    done = ul("create", "--network", "none", "--userns", "auto", "box", code=1)
    assert b"--userns=auto needs root" in done.stderr


def test_life(ul: Installation) -> None:
    name = ul.start("--name", "own", "box", "sh", "-c", "touch /y; chown 1 /y; sleep 100")
    assert ul.out("exec", "own", "id", "-u") == "0"
    ul("stop", "-t", "0", "own")
    assert ul.out("ps", "-a", "--format", "{{.Names}} {{.State}}") == "own exited"
    ul("rm", "own")
    assert not (ul.root / "containers" / name).exists()


def test_limits_need_a_delegated_group(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "none", "--memory", "24m", "box", "sh", "-c", "tail /dev/zero", code=None)
    delegated = os.access(
        "/sys/fs/cgroup" + Path("/proc/self/cgroup").read_text()[3:].strip() + "/cgroup.procs", os.W_OK
    )
    if delegated:
        assert done.returncode == 137
    else:
        assert done.returncode == 125 and b"cannot be limited" in done.stderr


def test_network_host(ul: Installation) -> None:
    assert ul.out("run", "--rm", "--network", "host", "box", "readlink", "/proc/self/ns/net") == os.readlink(
        "/proc/self/ns/net"
    )


def test_everything_is_given_back(ul: Installation) -> None:
    ul("tag", "box", "copy")
    ul("rmi", "copy")
    text = ul.out("system", "check")
    assert text


def test_files_from_outside(ul: Installation, tmp_path: Path) -> None:
    """cp, diff, export and commit: files of subordinate ids can be read and written by their container's root only."""
    ids = userns.has_subordinate_ids()
    ul("run", "-d", "--network", "none", "--name", "files", "-v", "vol:/vol", "box", "sleep", "600")
    owner = "chown 1000:1001 /made/theirs;" if ids else ""
    ul(
        "exec",
        "files",
        "sh",
        "-c",
        f"mkdir /made; echo 1 > /made/theirs; chmod 600 /made/theirs; echo v > /vol/v; {owner}",
    )
    (tmp_path / "new").write_text("new\n")
    try:
        for turn in range(2):
            ul("cp", "files:/made/.", str(tmp_path / f"out{turn}"))
            assert (tmp_path / f"out{turn}" / "theirs").read_text() == "1\n"
            assert (tmp_path / f"out{turn}" / "theirs").stat().st_uid == os.geteuid()
            ul("cp", str(tmp_path / "new"), "files:/made/new")
            ul("cp", "files:/vol/v", str(tmp_path / "v"))
            assert ul.out("diff", "files").splitlines() == ["A /made", "A /made/new", "A /made/theirs"]
            with tarfile.open(fileobj=io.BytesIO(ul("export", "files").stdout)) as tar:
                owners = {member.name: member.uid for member in tar}
            assert (owners["made/theirs"], owners["made/new"]) == (1000 if ids else 0, 0)
            image = ul.out("commit", "files", f"made:{turn}")
            assert image.startswith("sha256:")
            # That it could not be paused, where it could not, is a warning and no comment of the image.
            assert json.loads(ul.out("image", "inspect", image))[0].get("Comment", "") == ""
            assert ul.run(f"made:{turn}", "stat", "-c", "%u", "/made/theirs") == ("1000" if ids else "0")
            ul("stop", "-t", "0", "files")
    finally:
        ul("rm", "-f", "-v", "files")
        ul("volume", "rm", "-f", "vol")


def test_health_secrets_and_volumes_of_others(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("word\n")
    assert ul.run("--secret", f"id=token,src={tmp_path / 'token'}", "box", "cat", "/run/secrets/token") == "word"
    name = ul.start("--health-cmd", "true", "--health-interval", "200ms", "-v", "things:/things", "box", "sleep", "60")
    ul("wait", "--condition", "healthy", name)
    ul("exec", name, "touch", "/things/file")
    assert ul.run("--volumes-from", name, "box", "ls", "/things") == "file"
    assert b"cannot share their /dev/shm" in ul("run", "--rm", "--ipc", "shareable", "box", "true", code=125).stderr
    ul("rm", "-f", name)
    ul("volume", "rm", "things")
    assert ul.remains([name]) == []
