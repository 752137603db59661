"""Files of containers from outside: cp, diff, export, commit; of running containers and of stopped ones."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", params=["erofs", "tree"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the image `box`, with layers in each form."""
    needs_root()
    place = tmp_path_factory.mktemp("files")
    made = Installation(place, request.param)
    if request.param == "erofs" and "erofs" not in made.out("info"):
        pytest.skip("this host cannot mount indexes of layers")
    archive = place / "box.tar"
    archive.write_bytes(image_tar())
    made("import", "--change", 'CMD ["sh"]', str(archive), "box")
    (place / "two").mkdir()
    (place / "two" / "Dockerfile").write_text(
        "FROM box\nRUN mkdir /layer && echo low > /layer/low && echo x > /layer/x\n"
    )
    made("build", "-q", "-t", "two", str(place / "two"))
    yield made
    made.clean()


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, installation: Installation) -> Iterator[str]:
    """A container with some files of its own, a volume, and a directory of the host."""
    shared = installation.root.parent / "shared"
    shared.mkdir(exist_ok=True)
    (shared / "host").write_text("of the host\n")
    words = ["--name", "cc", "-v", "vol:/vol", "-v", f"{shared}:/shared", "--tmpfs", "/volatile"]
    installation("run", "-d", "--network", "none", *words, "two", "sleep", "600")
    script = (
        "mkdir -p /made/below; echo one > /made/a; ln /made/a /made/hard; ln -s a /made/soft; ln -s /etc/passwd /made/out;"
        "echo deep > /made/below/deep; chmod 4755 /made/a; chown 1000:1001 /made/below; echo v > /vol/v;"
        "rm /layer/low; echo changed > /layer/x; mkfifo /made/fifo"
    )
    installation("exec", "cc", "sh", "-c", script)
    if request.param == "stopped":
        installation("stop", "-t", "0", "cc")
    yield request.param
    installation("rm", "-f", "-v", "cc")
    installation("volume", "rm", "-f", "vol")


def names(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [member.name for member in tar]


def test_out_of_a_container(installation: Installation, container: str, tmp_path: Path) -> None:
    ul = installation
    ul("cp", "cc:/made/a", str(tmp_path / "renamed"))
    assert (tmp_path / "renamed").read_text() == "one\n"
    # What belongs to whoever copies must not run with the rights of somebody else.
    assert stat.S_IMODE((tmp_path / "renamed").stat().st_mode) == 0o755
    ul("cp", "cc:/made", str(tmp_path))
    made = tmp_path / "made"
    assert sorted(path.name for path in made.iterdir()) == ["a", "below", "fifo", "hard", "out", "soft"]
    assert (made / "below" / "deep").read_text() == "deep\n" and os.readlink(made / "out") == "/etc/passwd"
    assert (made / "a").stat().st_ino == (made / "hard").stat().st_ino
    assert (made / "below").stat().st_uid == os.geteuid()
    ul("cp", "cc:/made/.", str(tmp_path / "new"))
    assert (tmp_path / "new" / "a").exists()
    ul("cp", "cc:made/.", str(tmp_path / "new"))  # a relative path is one of the root; what is there is replaced
    ul("cp", "-a", "cc:/made", str(tmp_path / "kept"))
    assert ((tmp_path / "kept" / "below").stat().st_uid, (tmp_path / "kept" / "below").stat().st_gid) == (1000, 1001)
    assert stat.S_IMODE((tmp_path / "kept" / "a").stat().st_mode) == 0o4755
    # Volumes and directories of the host, and nothing of this host behind a link.
    for path, text in (("/vol/v", "v\n"), ("/shared/host", "of the host\n")):
        ul("cp", f"cc:{path}", str(tmp_path / "one"))
        assert (tmp_path / "one").read_text() == text
    ul("cp", "-L", "cc:/made/out", str(tmp_path / "passwd"))
    assert "alice" in (tmp_path / "passwd").read_text()
    ul("cp", "cc:/made/soft", str(tmp_path / "link"))
    assert os.readlink(tmp_path / "link") == "a"
    assert names(ul("cp", "cc:/made/below", "-").stdout) == ["below", "below/deep"]


def test_into_a_container(installation: Installation, container: str, tmp_path: Path) -> None:
    ul = installation
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "file").write_text("from outside\n")
    (tree / "sub" / "run").write_text("#!/bin/sh\n")
    (tree / "sub" / "run").chmod(0o755)
    os.chown(tree / "file", 1234, 1235)
    (tree / "link").symlink_to("file")
    ul("cp", str(tree / "file"), "cc:/made/a")
    ul("cp", str(tree), "cc:/made")
    ul("cp", f"{tree}/.", "cc:/vol")
    ul("cp", str(tree), "cc:/shared/")
    ul("cp", "-a", str(tree), "cc:/kept")
    ul("cp", "-", "cc:/made/below", input=ul("cp", "cc:/made/tree", "-").stdout)
    if container == "stopped":
        ul("start", "cc")
    listing = (
        "cat /made/a /made/tree/file /vol/file /shared/tree/file /made/below/tree/link;"
        "stat -c '%u:%g:%a' /made/tree/file /kept/file /vol/sub/run; readlink /made/tree/link"
    )
    lines = ul.out("exec", "cc", "sh", "-c", listing).splitlines()
    assert lines[:5] == ["from outside"] * 5
    assert lines[5:] == ["0:0:644", "1234:1235:644", "0:0:755", "file"]
    assert (ul.root.parent / "shared" / "tree" / "file").read_text() == "from outside\n"
    subprocess.run(["rm", "-r", ul.root.parent / "shared" / "tree"], check=True)


def test_what_the_destination_means(installation: Installation, container: str, tmp_path: Path) -> None:
    ul = installation
    (tmp_path / "file").write_text("f\n")
    (tmp_path / "tree").mkdir()

    def refused(*words: str) -> str:
        done = ul("cp", *words, code=1)
        lines = done.stderr.decode().splitlines()
        assert len(lines) <= 2 and lines[0].startswith("underlay: ")
        return lines[0].removeprefix("underlay: ")

    assert refused("cc:/nope", str(tmp_path)) == "Could not find the file /nope in container cc"
    assert refused(str(tmp_path / "file"), "cc:/nope/x") == "Could not find the file /nope/x in container cc"
    assert refused(str(tmp_path / "file"), "cc:/nope/") == "no such directory: /nope/"
    assert refused("/no/such", "cc:/") == "lstat /no/such: no such file or directory"
    assert refused(str(tmp_path / "tree"), "cc:/made/a") == "cannot copy directory"
    assert refused("cc:/made", str(tmp_path / "file")) == "cannot copy directory"
    assert refused("cc:/made", str(tmp_path / "no" / "where")).startswith("invalid output path: directory")
    assert refused("cc:/made/a/", str(tmp_path)) == "/made/a/: not a directory"
    assert refused("-", "cc:/made/a") == 'destination "cc:/made/a" must be a directory'
    assert refused("a", "b") == "must specify at least one container source"
    assert refused("cc:/a", "d:/b") == "copying between containers is not supported"
    assert refused("nobody:/a", "b") == "No such container: nobody"
    assert "no tar archive" in ul("cp", "-", "cc:/made", input=b"x" * 2000, code=1).stderr.decode()
    (tmp_path / "below").write_text("no directory\n")
    ul("cp", "cc:/made/.", str(tmp_path / "below"), code=1)
    assert (tmp_path / "below").read_text() == "no directory\n"


def test_what_a_container_has_changed(installation: Installation, container: str) -> None:
    expected = ["C /layer", "D /layer/low", "C /layer/x", "A /made"]
    expected += [f"A /made/{name}" for name in ("a", "below", "below/deep", "fifo", "hard", "out", "soft")]
    assert installation.out("diff", "cc").splitlines() == expected


def test_nothing_has_changed_before_a_program_did(installation: Installation) -> None:
    """Mount points that the image lacks are no change."""
    installation("run", "-d", "--network", "none", "--name", "plain", "-v", "/own/place", "two", "sleep", "600")
    try:
        assert installation.out("diff", "plain") == ""
        installation("exec", "plain", "sh", "-c", "rm -r /layer; mkdir /layer; echo z > /layer/z; chmod 700 /own")
        changes = installation.out("diff", "plain").splitlines()
        assert changes == ["C /layer", "D /layer/low", "D /layer/x", "A /layer/z"]
    finally:
        installation("rm", "-f", "-v", "plain")


def test_export(installation: Installation, container: str, tmp_path: Path) -> None:
    ul = installation
    data = ul("export", "cc").stdout
    ul("export", "-o", str(tmp_path / "out.tar"), "cc")
    assert names((tmp_path / "out.tar").read_bytes()) == names(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: member for member in tar}
        assert found["made/hard"].islnk() or found["made/a"].islnk()
        assert (found["made/below"].uid, found["made/below"].gid, found["made/a"].mode) == (1000, 1001, 0o4755)
        file = tar.extractfile("layer/x")
        assert file is not None and file.read() == b"changed\n"
    assert "layer/low" not in found and "made/fifo" in found
    # What is mounted is none of it; the mount points are.
    assert {"vol", "shared", "volatile", "proc", "etc/hosts"} <= set(found)
    assert not {"vol/v", "shared/host", "proc/1"} & set(found) and found["etc/hosts"].size == 0
    ul("import", str(tmp_path / "out.tar"), "again")
    assert ul.run("again", "cat", "/made/below/deep") == "deep"
    missing = ul("export", "-o", str(tmp_path / "no" / "where"), "cc", code=1).stderr
    assert len(missing.splitlines()) <= 2
    # A device or a pipe stays what it is.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with open(tmp_path / "read", "wb") as file, subprocess.Popen(["cat", pipe], stdout=file):
        ul("export", "-o", str(pipe), "cc")
    assert names((tmp_path / "read").read_bytes()) == names(data)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    ul("rmi", "again")


def test_commit(installation: Installation, container: str) -> None:
    ul = installation
    changes = ["-c", "ENV ADDED=yes", "-c", 'CMD ["cat", "/made/a"]', "--author", "me <me@example>", "-m", "why"]
    image = ul.out("commit", *changes, "cc", "made:1")
    assert image.startswith("sha256:")
    assert ul.run("made:1") == "one"
    assert ul.run("made:1", "sh", "-c", "cat /layer/x; echo $ADDED").splitlines() == ["changed", "yes"]
    # Directories that are there only as mount points may lack, and what was in the mounts belongs to no layer.
    assert ul.run("made:1", "sh", "-c", "cat /vol/* /shared/* /volatile/* 2>&1 | grep -v 'No such file' || true") == ""
    shown = json.loads(ul.out("image", "inspect", "made:1"))[0]
    base = json.loads(ul.out("image", "inspect", "two"))[0]
    assert shown["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    assert shown["Author"] == "me <me@example>" and shown["Comment"] == "why"
    assert "ADDED=yes" in shown["Config"]["Env"]
    assert not any(text.startswith(("HOSTNAME=", "HOME=")) for text in shown["Config"]["Env"])
    history = ul.out("history", "--format", "{{.CreatedBy}}|{{.Comment}}", "made:1").splitlines()
    assert history[0] == "sleep 600|why" and len(history) == len(ul.out("history", "-q", "two").splitlines()) + 1
    # It knows what it stands on, and goes on as before.
    assert "two" in ul.out("base", "identify", "made:1") or "box" in ul.out("base", "identify", "made:1")
    state = json.loads(ul.out("inspect", "cc"))[0]["State"]["Status"]
    assert state == ("running" if container == "running" else "exited")
    layer = names(ul("save", "made:1").stdout)
    assert layer
    ul("rmi", "made:1")


def test_what_is_committed_has_no_mount_points(installation: Installation) -> None:
    ul = installation
    ul(
        "run",
        "--network",
        "none",
        "--name",
        "once",
        "-v",
        "/own/place",
        "--tmpfs",
        "/volatile",
        "two",
        "sh",
        "-c",
        "echo 1 > /new",
    )
    try:
        ul("commit", "once", "made:2")
        seen = ul.run("made:2", "ls", "/").split()
        assert "new" in seen and not {"own", "volatile"} & set(seen)
    finally:
        ul("rm", "-v", "once")
        ul("rmi", "made:2")


def test_a_hostile_container_cannot_write_outside(installation: Installation, tmp_path: Path, canary: Path) -> None:
    """While it is copied a directory becomes a link to the host, again and again; and links in the destination count in the
    container's root only."""
    ul = installation
    ul("run", "-d", "--network", "none", "--name", "evil", "two", "sleep", "600")
    script = (
        f"mkdir -p /t/d /t/e; for n in $(seq 200); do echo x > /t/d/secret; echo x > /t/e/f$n; done; ln -s {canary} /l;"
        f"while true; do mv /t/d /t/x; ln -s {canary} /t/d; rm /t/d; mv /t/x /t/d; done"
    )
    ul("exec", "-d", "evil", "sh", "-c", script)
    try:
        for number in range(25):
            ul("cp", "evil:/t", str(tmp_path / f"o{number}"), code=None)
        # In the container's root there is no such directory behind the link.
        (tmp_path / "secret").write_text("overwritten")
        ul("cp", str(tmp_path / "secret"), "evil:/l/secret", code=1)
        ul("cp", str(tmp_path / "secret"), "evil:/l", code=None)
        evil = io.BytesIO()
        with tarfile.open(fileobj=evil, mode="w") as tar:
            for name, link in (("up", "../../../../../../../../" + str(canary)[1:]), ("abs", str(canary))):
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, link
                tar.addfile(member)
                member = tarfile.TarInfo(f"{name}/secret")
                member.size = 4
                tar.addfile(member, io.BytesIO(b"evil"))
        ul("cp", "-", "evil:/t/e", input=evil.getvalue(), code=None)
        escape = io.BytesIO()
        with tarfile.open(fileobj=escape, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("../../../etc/owned"))
        assert b"leads out" in ul("cp", "-", "evil:/t/e", input=escape.getvalue(), code=1).stderr
    finally:
        ul("rm", "-f", "evil")


def test_a_fifo_or_device_does_not_hold_it_up(installation: Installation, tmp_path: Path) -> None:
    ul = installation
    ul("run", "-d", "--network", "none", "--name", "odd", "--cap-add", "MKNOD", "two", "sleep", "600")
    try:
        ul("exec", "odd", "sh", "-c", "mkdir /odd; mkfifo /odd/fifo; mknod /odd/null c 1 3; echo r > /odd/regular")
        done = ul("cp", "odd:/odd", str(tmp_path))
        assert done.stderr == b"1 device(s) were left out: --archive copies them\n"
        assert sorted(path.name for path in (tmp_path / "odd").iterdir()) == ["fifo", "regular"]
        ul("cp", "-a", "odd:/odd", str(tmp_path / "all"))
        assert stat.S_ISCHR((tmp_path / "all" / "null").stat().st_mode)
    finally:
        ul("rm", "-f", "odd")


def test_ids_of_a_user_namespace(installation: Installation, tmp_path: Path) -> None:
    """Owners are those that the container sees, both ways and in a tar."""
    ul = installation
    ul("run", "-d", "--network", "none", "--name", "ids", "--userns", "auto", "two", "sleep", "600")
    try:
        ul("exec", "ids", "sh", "-c", "echo 1 > /mine; echo 2 > /theirs; chown 1000:1001 /theirs")
        (tmp_path / "new").write_text("n")
        for _ in range(2):
            ul("cp", str(tmp_path / "new"), "ids:/new")
            ul("cp", "-a", "ids:/theirs", str(tmp_path / "theirs"))
            assert ((tmp_path / "theirs").stat().st_uid, (tmp_path / "theirs").stat().st_gid) == (1000, 1001)
            with tarfile.open(fileobj=io.BytesIO(ul("export", "ids").stdout)) as tar:
                owners = {member.name: (member.uid, member.gid) for member in tar}
            assert (owners["mine"], owners["theirs"], owners["new"]) == ((0, 0), (1000, 1001), (0, 0))
            ul("stop", "-t", "0", "ids")
        ul("commit", "ids", "made:3")
        assert ul.run("made:3", "stat", "-c", "%u", "/mine", "/theirs").split() == ["0", "1000"]
        ul("rmi", "made:3")
    finally:
        ul("rm", "-f", "ids")


def test_a_read_only_root_stays_so(installation: Installation, tmp_path: Path) -> None:
    ul = installation
    (tmp_path / "f").write_text("f")
    ul("run", "-d", "--network", "none", "--name", "ro", "--read-only", "-v", "vol2:/vol", "two", "sleep", "600")
    try:
        for _ in range(2):
            assert "ead-only" in ul("cp", str(tmp_path / "f"), "ro:/f", code=1).stderr.decode()
            ul("cp", str(tmp_path / "f"), "ro:/vol/f")
            ul("stop", "-t", "0", "ro")
    finally:
        ul("rm", "-f", "ro")
        ul("volume", "rm", "vol2")


def test_a_limited_disk(installation: Installation) -> None:
    ul = installation
    done = ul(
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "small",
        "--storage-opt",
        "size=40m",
        "two",
        "sleep",
        "600",
        code=None,
    )
    if done.returncode:
        pytest.skip(done.stderr.decode().strip())
    try:
        ul("exec", "small", "sh", "-c", "echo s > /small")
        for _ in range(2):
            assert ul("cp", "small:/small", "-").stdout
            ul("stop", "-t", "0", "small")
        assert ul.out("diff", "small") == "A /small"
        ul("commit", "small", "made:4")
        assert ul.run("made:4", "cat", "/small") == "s"
        ul("rmi", "made:4")
    finally:
        ul("rm", "-f", "small")


def test_a_copy_that_is_killed_leaves_nothing(installation: Installation) -> None:
    ul = installation
    ul("run", "--network", "none", "--name", "big", "two", "sh", "-c", "head -c 200000000 /dev/zero > /big")
    try:
        command = [*ul.command, "export", "big"]
        for number in (signal.SIGKILL, signal.SIGINT):
            with subprocess.Popen(command, env=ul.environment, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.read(100000)
                process.send_signal(number)
                threading.Thread(target=process.stdout.read).start()
                process.wait(20)
        assert ul.out("start", "big") == "big"
    finally:
        ul("rm", "-f", "big")


def test_prunes_with_filters(installation: Installation) -> None:
    ul = installation
    for name, label in (("old", "keep=no"), ("new", "keep=yes")):
        ul("create", "--network", "none", "--name", name, "--label", label, "two", "true")
    ul("container", "prune", "-f", "--filter", "until=1h")
    assert len(ul.out("ps", "-aq").split()) == 2
    out = ul.out("container", "prune", "-f", "--filter", "label=keep=no")
    assert out.startswith("Deleted Containers:\n") and "Total reclaimed space:" in out
    assert ul.out("ps", "-a", "--format", "{{.Names}}") == "new"
    assert b"invalid filter" in ul("container", "prune", "-f", "--filter", "name=x", code=1).stderr
    ul("network", "create", "unused", code=None)
    asked = ul("system", "prune", input=b"n\n").stdout.decode()
    assert "  - all stopped containers\n" in asked and "  - unused build cache\n" in asked
    assert ul.out("ps", "-aq")
    assert (
        b'not supported with "--volumes"' in ul("system", "prune", "--volumes", "--filter", "until=1h", code=1).stderr
    )
    out = ul.out("system", "prune", "-f", "--volumes")
    assert "Deleted Containers:" in out and out.splitlines()[-1].startswith("Total reclaimed space: ")
    assert ul.out("ps", "-aq") == "" and "unused" not in ul.out("network", "ls")
    assert "two" in ul.out("images")
