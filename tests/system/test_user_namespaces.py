"""User namespaces of root's containers: who is who on both sides, on disk and in volumes; no file changes its owner."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import archives
from engines import BUSYBOX, Installation, image_tar, needs_root, until
from underlay.linux import cgroup

pytestmark = pytest.mark.root

NET_RAW = 1 << 13
# struct vfs_cap_data of revision 2 with the effective bit (capabilities(7)): what `setcap cap_net_raw+ep` writes.
CAPABILITY = struct.pack("<5I", 0x02000001, NET_RAW, 0, 0, 0)


def image() -> bytes:
    """The image of the other tests, with a program that has a file capability, and a device node."""
    buffer = io.BytesIO(image_tar())
    with tarfile.open(fileobj=buffer, mode="a") as tar:
        # busybox takes its name for the applet's, unless it begins so.
        member = tarfile.TarInfo("bin/busybox-net")
        member.size, member.mode = BUSYBOX.stat().st_size, 0o755
        member.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
        tar.addfile(member, io.BytesIO(BUSYBOX.read_bytes()))
        node = tarfile.TarInfo("data/zero")
        node.type, node.devmajor, node.devminor, node.mode = tarfile.CHRTYPE, 1, 5, 0o666
        tar.addfile(node)
        member = tarfile.TarInfo("data/alices")
        member.uid, member.gid, member.mode = 1000, 1001, 0o600
        tar.addfile(member)
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["erofs", "tree"])
def ul(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the image `box` in either form of the store."""
    needs_root()
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place, request.param)
    if "cannot be used here" in installation("info", code=None).stderr.decode():
        pytest.skip("no EROFS indexes on this kernel")
    (place / "box.tar").write_bytes(image())
    installation("import", "--change", 'CMD ["sh"]', str(place / "box.tar"), "box")
    done = installation("run", "--rm", "--network", "none", "--userns", "auto", "box", "true", code=None)
    if b"to the ids of a user namespace" in done.stderr:
        pytest.skip(done.stderr.decode().splitlines()[0])
    yield installation
    installation.clean()


def first_id(ul: Installation, name: str) -> int:
    """The id on the host of a container's root."""
    [line] = Path(f"/proc/{ul.pid(name)}/uid_map").read_text().splitlines()
    inside, outside, size = map(int, line.split())
    assert (inside, size) == (0, 65536)
    return outside


def ids(pid: int | str, key: str = "Uid") -> list[int]:
    """Real, effective, saved and file system id of a process, as the host sees them."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [int(word) for word in next(line for line in lines if line.startswith(key)).split()[1:]]


def auto(ul: Installation, *words: str, code: int = 0) -> str:
    """`run --rm --network none --userns auto WORDS`; returns the standard output."""
    return ul.run("--userns", "auto", *words, code=code)


def test_root_inside_is_nobody_on_the_host(ul: Installation) -> None:
    ul.start("--name", "one", "--userns", "auto", "box", "sleep", "60")
    first = first_id(ul, "one")
    assert first >= 1 << 31
    assert ids(ul.pid("one")) == [first] * 4 and ids(ul.pid("one"), "Gid") == [first] * 4
    assert ul.out("exec", "one", "id") == "uid=0(root) gid=0(root) groups=0(root)"
    ul.start("--name", "two", "--userns", "auto", "-u", "alice", "box", "sleep", "60")
    second = first_id(ul, "two")
    assert second == first + 65536
    assert ids(ul.pid("two")) == [second + 1000] * 4 and ids(ul.pid("two"), "Gid") == [second + 1001] * 4
    for name in ("one", "two"):
        assert os.readlink(f"/proc/{ul.pid(name)}/ns/user") != os.readlink("/proc/self/ns/user")
    ul("rm", "-f", "one")
    # Given back, and had by the next.
    ul.start("--name", "three", "--userns", "auto", "box", "sleep", "60")
    assert first_id(ul, "three") == first


def test_the_hosts_root_has_what_it_had(ul: Installation) -> None:
    for words in ((), ("--userns", "host")):
        assert ul.run(*words, "box", "cat", "/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def test_owners_inside_and_on_disk(ul: Installation) -> None:
    script = (
        "stat -c %u:%g /bin/busybox /data/alices; echo r > /root/r; su alice -c 'touch /tmp/a'; chown 7:8 /data/seed"
    )
    name = ul.start(
        "--userns", "auto", "box", "sh", "-c", f"{script}; stat -c %u:%g /root/r /tmp/a /data/seed; sleep 60"
    )
    upper = ul.root / "containers" / name / "upper"
    assert until(lambda: len(ul.out("logs", name).splitlines()) == 5)
    assert ul.out("logs", name).splitlines() == ["0:0", "1000:1001", "0:0", "1000:1001", "7:8"]
    found = {
        path: (os.lstat(upper / path).st_uid, os.lstat(upper / path).st_gid)
        for path in ("root/r", "tmp/a", "data/seed")
    }
    assert found == {"root/r": (0, 0), "tmp/a": (1000, 1001), "data/seed": (7, 8)}


def test_removing_renaming_and_opaque_directories(ul: Installation) -> None:
    script = (
        "rm /data/seed && rm -r /home/alice && mkdir /home/alice && ls -a /home/alice /data && mv /bin/broken /tmp/b && "
        "ln /tmp/b /tmp/c && mkfifo /tmp/f 2>/dev/null; ls /tmp; mknod /tmp/n c 1 3 2>/dev/null || echo no node"
    )
    out = auto(ul, "box", "sh", "-c", script)
    assert "seed" not in out and out.split()[-5:] == ["b", "c", "f", "no", "node"] and "alices" in out


def test_no_file_of_the_layers_changes_its_owner(ul: Installation) -> None:
    def owners() -> list[tuple[str, int, int]]:
        found = []
        for kind in ("trees", "layers", "indexes"):
            for directory, names, files in os.walk(ul.root / kind):
                for path in (os.path.join(directory, each) for each in [*names, *files]):
                    status = os.lstat(path)
                    found.append((path, status.st_uid, status.st_gid))
        return sorted(found)

    before = owners()
    auto(ul, "box", "sh", "-c", "touch /bin/busybox; chown -R 5:5 /data; echo x >> /etc/passwd")
    assert owners() == before


def test_files_of_the_host_are_out_of_reach(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("token\n")
    os.chmod(tmp_path / "secret", 0o600)
    os.chmod(tmp_path, 0o755)
    script = "stat -c %u /host/secret; cat /host/secret; echo x > /host/secret; chown 0 /host/secret; rm /host/secret"
    words = ("--userns", "auto", "-v", f"{tmp_path}:/host", "box", "sh", "-c", script)
    done = ul("run", "--rm", "--network", "none", *words, code=None)
    assert done.returncode != 0 and done.stdout.split() == [b"65534"]
    assert done.stderr.count(b"ermission denied") + done.stderr.count(b"not permitted") == 4
    assert (tmp_path / "secret").read_text() == "token\n"


def test_a_bind_mount_with_ids(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("m\n")
    os.chmod(tmp_path / "mine", 0o600)
    os.chown(tmp_path / "mine", 0, 0)
    script = "cat /host/mine; stat -c %u /host/mine; echo y > /host/new; su alice -c 'touch /host/a' || chmod 777 /host"
    assert auto(ul, "-v", f"{tmp_path}:/host:idmap", "box", "sh", "-c", script) == "m\n0"
    assert (tmp_path / "new").stat().st_uid == 0
    assert (
        auto(ul, "--mount", f"type=bind,src={tmp_path},dst=/host,idmap", "-u", "alice", "box", "touch", "/host/a") == ""
    )
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (1000, 1001)
    assert auto(ul, "-v", f"{tmp_path}:/host:ro,idmap", "box", "sh", "-c", "touch /host/b || echo no") == "no"
    done = ul("run", "--rm", "--network", "none", "-v", f"{tmp_path}:/host:idmap", "box", "true", code=None)
    assert done.returncode == 125 and b"user namespace" in done.stderr
    done = ul("create", "--userns", "auto", "-v", f"{tmp_path}:/host:idmap=uids=0-1-10", "box", code=1)
    assert b"not supported" in done.stderr


def test_volumes_are_the_containers_and_everybodys(ul: Installation) -> None:
    volume = ul.root / "volumes" / "shared" / "_data"
    assert auto(
        ul, "-v", "shared:/data", "box", "sh", "-c", "cat /data/seed; stat -c %u /data/alices; echo w > /data/w"
    ) == ("from the image\n1000")
    assert [os.lstat(volume / each).st_uid for each in ("w", "seed", "alices")] == [0, 0, 1000]
    assert ul.run("-v", "shared:/data", "box", "stat", "-c", "%u", "/data/w", "/data/alices") == "0\n1000"
    assert auto(ul, "-v", "shared:/data", "box", "sh", "-c", "rm /data/w && stat -c %u /data/alices") == "1000"
    assert auto(ul, "-v", "/anonymous", "box", "sh", "-c", "touch /anonymous/x && stat -c %u /anonymous/x") == "0"
    ul("volume", "rm", "shared")


def test_file_capabilities(ul: Installation) -> None:
    effective = auto(ul, "-u", "alice", "box", "/bin/busybox-net", "grep", "CapEff", "/proc/self/status").split()[1]
    assert int(effective, 16) == NET_RAW
    assert int(auto(ul, "-u", "alice", "box", "grep", "CapEff", "/proc/self/status").split()[1], 16) == 0


def test_nodes_of_the_image_open_nothing(ul: Installation) -> None:
    assert (
        auto(ul, "box", "sh", "-c", "head -c 1 /data/zero >/dev/null 2>&1 || echo no; head -c 1 /dev/zero | wc -c")
        == "no\n1"
    )


def test_life_in_all_its_parts(ul: Installation) -> None:
    script = "trap 'exit 3' TERM; echo up >> /root/runs; cat /root/runs; while :; do sleep 0.1; done"
    ul.start("--name", "life", "--userns", "auto", "box", "sh", "-c", script)
    first = first_id(ul, "life")
    assert (
        ul.out("exec", "-u", "alice", "life", "sh", "-c", "id -u; echo out > /dev/stdout; echo err > /dev/stderr")
        == "1000\nout"
    )
    space = os.readlink(f"/proc/{ul.pid('life')}/ns/user")
    script = "touch /root/e && stat -c %u /root/e && readlink /proc/self/ns/user"
    assert ul.out("exec", "life", "sh", "-c", script).split() == ["0", space]
    effective = ul.out("exec", "--privileged", "life", "grep", "CapEff", "/proc/self/status").split()[1]
    assert int(effective, 16) >= (1 << 40) - 1
    assert ul.out("top", "life", "-o", "uid,comm").split()[-2:][0].isdigit()
    ul("pause", "life")
    ul("unpause", "life")
    ul("restart", "-t", "2", "life")
    assert first_id(ul, "life") == first
    assert until(lambda: ul.out("logs", "life").splitlines() == ["up", "up", "up"])
    ul("stop", "-t", "5", "life")
    assert ul.out("inspect", "-f", "{{.State.ExitCode}} {{.HostConfig.UsernsMode}}", "life") == "3 auto"
    ul("rm", "life")


def test_terminals(ul: Installation) -> None:
    script = "tty; echo to the tty > /dev/tty; echo out > /dev/stdout; stat -c %u $(tty)"
    for user, number in (("root", "0"), ("alice", "1000")):
        out = ul.run("-t", "--userns", "auto", "-u", user, "box", "sh", "-c", script).replace("\r", "")
        assert out == f"/dev/pts/0\nto the tty\nout\n{number}"
    ul.start("--name", "term", "--userns", "auto", "box", "sleep", "60")
    out = ul.out("exec", "-t", "-u", "alice", "term", "sh", "-c", script).replace("\r", "")
    assert out == "/dev/pts/0\nto the tty\nout\n1000"


@pytest.mark.parametrize("user", ["root", "alice"])
def test_streams_can_be_opened_again(ul: Installation, user: str) -> None:
    assert auto(ul, "-u", user, "box", "sh", "-c", "echo a > /dev/stdout; echo b > /proc/self/fd/1") == "a\nb"
    assert ul.run("-i", "--userns", "auto", "-u", user, "box", "cat", "/dev/stdin", input=b"c\n") == "c"


def test_files_of_the_engine_are_roots(ul: Installation) -> None:
    script = (
        "echo 192.0.2.1 x >> /etc/hosts && stat -c %u /etc/hosts /etc/hostname /etc/resolv.conf && cat /etc/hostname"
    )
    assert auto(ul, "--hostname", "h", "box", "sh", "-c", script) == "0\n0\n0\nh"


def test_kernel_file_systems(ul: Installation) -> None:
    script = "cat /proc/sys/net/ipv4/ping_group_range; ls /sys/class/net; ls /sys/fs/cgroup | wc -l; "
    script += "echo 1 > /proc/sys/vm/drop_caches"
    out = ul("run", "--rm", "--network", "none", "--userns", "auto", "box", "sh", "-c", script, code=None)
    assert out.stdout.split()[:3] == [b"0", b"65535", b"lo"] and int(out.stdout.split()[3]) > 0
    assert out.returncode != 0
    assert auto(ul, "--sysctl", "kernel.shmmax=1234", "box", "cat", "/proc/sys/kernel/shmmax") == "1234"
    done = ul("run", "--rm", "--userns", "auto", "--network", "host", "box", "sh", "-c", "ls /sys/class/net", code=0)
    assert sorted(done.stdout.decode().split()) == sorted(os.listdir("/sys/class/net"))


def test_limits_hold(ul: Installation) -> None:
    version, _ = cgroup.detect()
    if version == "none":
        pytest.skip("no control groups")
    words = ["--name", "big", "--userns", "auto", "--memory", "24m", "--memory-swap", "24m"]
    ul("run", "--network", "none", *words, "box", "sh", "-c", "tail /dev/zero", code=137)
    assert ul.out("inspect", "-f", "{{.State.OOMKilled}}", "big") == "true"
    ul.start("--name", "few", "--userns", "auto", "--pids-limit", "5", "box", "sleep", "60")
    done = ul("exec", "few", "sh", "-c", "for i in 1 2 3 4 5 6; do sleep 5 & done", code=None)
    assert b"can't fork" in done.stderr


def test_privileged_is_over_ones_own(ul: Installation) -> None:
    script = "mount -t tmpfs x /tmp && echo mounted; test -e /dev/loop-control && echo device; date -s 2001-01-01"
    done = ul(
        "run", "--rm", "--network", "none", "--privileged", "--userns", "auto", "box", "sh", "-c", script, code=None
    )
    wanted = [b"mounted", b"device"] if os.path.exists("/dev/loop-control") else [b"mounted"]
    assert done.stdout.split()[: len(wanted)] == wanted and b"can't set date" in done.stderr


def test_another_size(ul: Installation) -> None:
    assert ul.run("--userns", "auto:size=2000", "box", "cat", "/proc/self/uid_map").split()[2] == "2000"
    assert ul.run("--userns", "auto:size=1", "box", "stat", "-c", "%u", "/bin/busybox", "/data/alices") == "0\n65534"
    assert ul.run("--userns", "auto:size=200000", "-u", "150000", "box", "id", "-u") == "150000"


def test_another_containers_namespace(ul: Installation) -> None:
    ul.start("--name", "owner", "--userns", "auto", "box", "sleep", "60")
    space = os.readlink(f"/proc/{ul.pid('owner')}/ns/user")
    script = "readlink /proc/self/ns/user; stat -c %u /bin/busybox; touch /root/x; stat -c %u /root/x; hostname"
    name = ul.start("--hostname", "guest", "--userns", "container:owner", "box", "sh", "-c", f"{script}; sleep 60")
    assert until(lambda: ul.out("logs", name).endswith("guest"))
    assert ul.out("logs", name).splitlines() == [space, "0", "0", "guest"]
    assert first_id(ul, name) == first_id(ul, "owner")
    assert ul.out("exec", name, "id", "-u") == "0"
    # The ids stay taken as long as one of both is there.
    first = first_id(ul, "owner")
    ul("rm", "-f", "owner")
    ul.start("--name", "next", "--userns", "auto", "box", "sleep", "60")
    assert first_id(ul, "next") != first
    ul("rm", "-f", name)
    ul.start("--name", "last", "--userns", "auto", "box", "sleep", "60")
    assert first_id(ul, "last") == first


@pytest.mark.parametrize("kind", ["userns", "network", "pid", "uts"])
def test_joining_one_that_has_started_again(ul: Installation, kind: str) -> None:
    """The process whose namespace it was at `create` is gone, and its number may be anybody's."""
    file = {"userns": "user", "network": "net"}.get(kind, kind)
    words = ["--network", "none"] if kind != "network" else []
    ul.start("--name", "owner", "--userns", "auto" if kind == "userns" else "host", "box", "sleep", "60")
    ul("create", *words, "--name", "guest", f"--{kind}", "container:owner", "box", "sleep", "60")
    ul("restart", "-t", "0", "owner")
    ul("start", "guest")
    assert os.readlink(f"/proc/{ul.pid('guest')}/ns/{file}") == os.readlink(f"/proc/{ul.pid('owner')}/ns/{file}")
    ul("update", "--pids-limit", "100", "guest")
    ul("stop", "-t", "0", "guest", "owner")
    done = ul("start", "guest", code=1)
    assert b"non running container" in done.stderr


def test_a_monitor_joins_nobody_else(ul: Installation) -> None:
    ul.start("--name", "owner", "--userns", "auto", "box", "sleep", "60")
    script = "test -e /tmp/x || { touch /tmp/x; sleep 1; exit 1; }; sleep 60"
    words = ("--restart", "on-failure:3", "--userns", "container:owner", "box", "sh", "-c", script)
    name = ul.start(*words)
    ul("restart", "-t", "0", "owner")
    assert until(lambda: "has ended or started again" in ul.out("inspect", "-f", "{{.State.Error}}", name))
    assert ul.out("inspect", "-f", "{{.State.Status}}", name) == "exited"


def test_a_killed_monitor_leaves_nothing_that_rm_does_not_take(ul: Installation) -> None:
    name = ul.start("--name", "lost", "--userns", "auto", "-v", "v1:/v", "box", "sleep", "600")
    pid = ul.pid("lost")
    os.kill(ul.monitor("lost"), signal.SIGKILL)
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    ul("start", "lost")
    assert first_id(ul, "lost") >= 1 << 31
    ul("rm", "-f", "lost")
    ul("volume", "rm", "v1")
    assert ul.remains([name]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--userns", "nomap"], b"--userns: invalid USER mode"),
        (["--userns", "keep-id"], b"only for containers without root"),
        (["--userns", "auto:size=0"], b"invalid size"),
        (["--userns", "auto:size=x"], b"invalid size"),
        (["--userns", "auto:size=4000000000"], b"invalid size"),
        (["--userns", "auto:uidmapping=0:1:2"], b'unknown option specified: "uidmapping=0:1:2"'),
        (["--userns", "container:nobody"], b"No such container"),
        (["--userns", "host:x"], b"invalid USER mode"),
        (["--userns", "auto", "--pid", "host"], b"cannot share the host PID namespace"),
    ],
)
def test_refused(ul: Installation, words: list[str], message: bytes) -> None:
    done = ul("create", "--network", "none", *words, "box", code=None)
    assert done.returncode in (1, 125) and message in done.stderr, done.stderr
    assert ul.out("ps", "-aq") == ""


def test_many_layers(ul: Installation, tmp_path: Path) -> None:
    """Their names fit into what mount(2) takes, for every kind of container."""
    layers = [image_tar(), *(archives.layer({f"data/of-{n}": b"x"}) for n in range(99))]
    (tmp_path / "many.tar").write_bytes(archives.tar_of(archives.docker_archive(layers, ["many:latest"])))
    ul("load", "-i", str(tmp_path / "many.tar"))
    for words in ((), ("--userns", "auto")):
        assert ul.run(*words, "many", "sh", "-c", "ls -d /data/of-* | wc -l") == "99"
    ul("rmi", "many")


def test_the_plan_shows_it(ul: Installation) -> None:
    lines = ul.out("run", "--plan", "--network", "none", "--userns", "auto", "box").splitlines()
    assert any(line.split() == ["uid-map", "0:2147483648:65536"] for line in lines)
    assert any(line.startswith("idmap ") for line in lines)


def test_a_file_system_without_idmapped_mounts_is_an_error(ul: Installation, tmp_path: Path) -> None:
    """Nothing is given to other owners instead."""
    host = tmp_path / "overlay"
    for name in ("overlay", "lower", "upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", options, str(host)], check=True)
    try:
        words = ("run", "--rm", "--network", "none", "--userns", "auto")
        done = ul(*words, "-v", f"{host}:/h:idmap", "box", "true", code=125)
        assert b"has no idmapped mounts" in done.stderr
        other = Installation(host, "tree")
        other("import", str(ul.root.parent / "box.tar"), "box")
        done = other(*words, "box", "true", code=125)
        assert b"to the ids of a user namespace" in done.stderr
        assert b"no idmapped mounts" in done.stderr
    finally:
        subprocess.run(["umount", "-l", str(host)], check=True)
