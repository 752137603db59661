"""Secrets of containers: where they show, where they must not, and what becomes of them at starts and ends."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from pathlib import Path

import pytest

from engines import Installation, until

pytestmark = pytest.mark.root
FILE, VARIABLE = "value-of-the-file", "value-of-the-variable"


@pytest.fixture
def secret(ul: Installation, tmp_path: Path) -> Path:
    """A file with a value, beside the variable TOKEN of the commands."""
    path = tmp_path / "secret"
    path.write_text(FILE)
    ul.environment["TOKEN"] = VARIABLE
    return path


def kept(ul: Installation) -> list[Path]:
    """Return the files of the installation in which a value stands."""
    words = [word.encode() for word in (FILE, VARIABLE, FILE.encode().hex(), VARIABLE.encode().hex())]
    files = [path for top in (ul.root, ul.state) for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def test_where_secrets_show(ul: Installation, secret: Path) -> None:
    words = [
        "--secret",
        f"id=one,src={secret}",
        "--secret",
        "id=two,env=TOKEN,target=/etc/app/key,mode=0400,uid=1000,gid=1001",
    ]
    words += ["--secret", "id=three,env=TOKEN,target=renamed,mode=440"]
    ul.start("--name", "user", *words, "box", "sh", "-c", "cat /run/secrets/one; sleep 99")
    assert (
        ul.out("exec", "user", "cat", "/run/secrets/one", "/etc/app/key", "/run/secrets/renamed") == FILE + VARIABLE * 2
    )
    stat = ["stat", "-c", "%a %u %g", "/run/secrets/one", "/etc/app/key", "/run/secrets/renamed"]
    assert ul.out("exec", "user", *stat) == "444 0 0\n400 1000 1001\n440 0 0"
    assert ul.out("exec", "-u", "1000", "user", "cat", "/etc/app/key") == VARIABLE
    ul("exec", "-u", "5", "user", "cat", "/etc/app/key", code=1)
    for command in (
        "echo x > /run/secrets/one",
        "rm /run/secrets/one",
        "umount /run/secrets/one",
        "mount -o remount,rw /run/secrets/one",
    ):
        ul("exec", "user", "sh", "-c", command, code=None)
    assert ul.out("exec", "user", "cat", "/run/secrets/one") == FILE
    mounted = [
        line for line in ul.out("exec", "user", "cat", "/proc/mounts").splitlines() if line.startswith("secrets ")
    ]
    assert len(mounted) == 3 and all(" tmpfs ro,nosuid,nodev,noexec" in line for line in mounted)
    assert VARIABLE not in ul.out("exec", "user", "env")
    # Nothing of it on the host, in any file of ours, or in what describes or copies the container.
    assert "value-of" not in Path("/proc/self/mounts").read_text() and kept(ul) == [Path(path) for path in logs(ul)]
    for command in (
        ("inspect", "user"),
        ("diff", "user"),
        ("events", "--since", "1h", "--until", "0s"),
        ("top", "user"),
    ):
        assert "value-of" not in ul.out(*command)
    assert ul.out("diff", "user") == ""
    with tarfile.open(fileobj=io.BytesIO(ul("export", "user").stdout)) as tar:
        assert not [m.name for m in tar if m.name.endswith(("secrets/one", "app/key")) and m.size]
    ul("commit", "user", "made")
    ul.run("made", "ls", "/run/secrets", code=1)
    ul("rmi", "made")
    # With the container's end it is gone, and a copy of the files has an empty one at most.
    ul("stop", "-t", "0", "user")
    assert ul("cp", "user:/run/secrets", "-", code=None).stdout.find(FILE.encode()) < 0
    assert ul.out("diff", "user") == ""


def logs(ul: Installation) -> list[str]:
    """Return the log of the container that has printed its own secret: that is up to it."""
    return [str(ul.root / "containers" / ul.out("inspect", "-f", "{{.Id}}", "user") / "log")]


def test_values_are_read_at_each_start(ul: Installation, secret: Path) -> None:
    ul.start("--name", "user", "--secret", f"id=one,src={secret}", "box", "sleep", "99")
    secret.write_text("another")
    assert ul.out("exec", "user", "cat", "/run/secrets/one") == FILE
    ul("restart", "-t", "0", "user")
    assert ul.out("exec", "user", "cat", "/run/secrets/one") == "another"
    ul("stop", "-t", "0", "user")
    secret.unlink()
    assert f"secret one: open {secret}: no such file" in ul("start", "user", code=1).stderr.decode()
    os.mkfifo(secret)
    assert f"secret one: {secret} is not a file" in ul("start", "user", code=1).stderr.decode()
    secret.unlink()
    secret.write_bytes(bytes(600 << 10))
    assert "more than 500 KiB" in ul("start", "user", code=1).stderr.decode()
    ul("rm", "user")
    ul.start("--name", "user", "--secret", "id=two,env=TOKEN", "--restart", "always", "box", "sleep", "99")
    # Restarts by the policy have what the first start had, whatever has changed meanwhile.
    ul("update", "--memory", "64m", "--memory-swap", "64m", "user")
    before = ul.pid("user")
    os.kill(before, signal.SIGKILL)
    assert until(lambda: ul.pid("user") not in (0, before))
    assert ul.out("exec", "user", "cat", "/run/secrets/two") == VARIABLE
    ul("stop", "-t", "0", "user")
    ul.environment["TOKEN"] = "changed"
    ul("start", "user")
    assert ul.out("exec", "user", "cat", "/run/secrets/two") == "changed"
    ul("stop", "-t", "0", "user")
    del ul.environment["TOKEN"]
    said = ul("start", "user", code=1).stderr.decode()
    assert "secret two: the variable TOKEN is not set" in said and "its value is not kept" in said


def test_a_killed_monitor_leaves_nothing(ul: Installation, secret: Path) -> None:
    ul.start("--name", "user", "--secret", f"id=one,src={secret}", "box", "sleep", "99")
    monitor, pid = ul.monitor("user"), ul.pid("user")
    for process in (monitor, pid):
        os.kill(process, signal.SIGKILL)
    ul("ps")
    assert kept(ul) == [] and "secrets" not in Path("/proc/self/mounts").read_text()


def test_targets_that_lead_elsewhere(ul: Installation, secret: Path, tmp_path: Path, canary: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM box\nRUN mkdir -p /run /a/dir; ln -s /vol /run/secrets; ln -s /etc/passwd /a/link; ln -s /proc/1 /a/proc"
        f" && ln -s ../../../../../../..{canary} /a/out && ln -s {canary}/secret /a/file\n"
    )
    ul("build", "-q", "-t", "links", str(tmp_path))
    one = f"id=one,src={secret}"
    # Into a volume: the volume gets an empty file at most.
    assert ul.run("-v", "vol:/vol", "--secret", one, "links", "cat", "/vol/one") == FILE
    place = Path(ul.out("volume", "inspect", "-f", "{{.Mountpoint}}", "vol"))
    assert [path.read_bytes() for path in place.iterdir()] == [b""]
    ul.run("-v", "vol:/vol:ro", "--secret", one.replace("one", "new", 1), "links", "true", code=125)
    assert ul.run("--secret", one + ",target=/a/link", "links", "cat", "/etc/passwd") == FILE
    for target in ("/a/out/secret", "/a/file", "/a/out/new"):
        # Where the link would lead on the host there is nothing in the image: it is made there, or refused.
        words = ["--network", "none", "--secret", f"{one},target={target}", "links", "cat", target]
        done = ul("run", "--rm", *words, code=None)
        assert (done.returncode, done.stdout.decode()) in ((0, FILE), (125, ""))
    for target, words in (("/a/dir", "there is a directory"), ("/a/proc/environ", "leads into /proc")):
        said = ul("run", "--rm", "--network", "none", "--secret", f"{one},target={target}", "links", "true", code=125)
        assert words in said.stderr.decode()
    assert kept(ul) == []
    ul("volume", "rm", "vol")
    ul("rmi", "links")


@pytest.mark.parametrize(
    "words", [("--userns", "auto"), ("--read-only",), ("--init",), ("--tmpfs", "/run"), ("-u", "7")]
)
def test_with_other_options(ul: Installation, secret: Path, words: tuple[str, ...]) -> None:
    command = ["sh", "-c", "cat /run/secrets/one; stat -c :%u:%a /run/secrets/one"]
    assert ul.run(*words, "--secret", f"id=one,src={secret}", "box", *command) == f"{FILE}:0:444"


def test_what_is_refused(ul: Installation, secret: Path) -> None:
    for text, message in (
        ("one", "invalid field 'one'"),
        ("src=/etc/passwd", "invalid id ''"),
        ("id=../x,src=/etc/passwd", "invalid id '../x'"),
        ("id=one", "one of src=FILE and env=NAME is needed"),
        ("id=one,src=/etc/passwd,env=TOKEN", "one of src=FILE and env=NAME is needed"),
        ("id=one,src=/nothere", "there is no file /nothere"),
        ("id=one,src=/dev/zero", "there is no file /dev/zero"),
        ("id=one,env=NOTHERE", "the variable NOTHERE is not set"),
        ("id=one,env=TOKEN,mode=9", "invalid mode '9'"),
        ("id=one,env=TOKEN,uid=x", "invalid uid 'x'"),
        ("id=one,env=TOKEN,colour=red", "unexpected key 'colour'"),
        ("id=one,env=TOKEN,target=/proc/1/environ", "belongs to the kernel"),
        ("id=one,env=TOKEN,target=/", "destination can't be '/'"),
        ("id=one,env=TOKEN,target=/v", "Duplicate mount point: /v"),
    ):
        said = ul("run", "--network", "none", "-v", "/v", "--secret", text, "box", "true", code=125).stderr.decode()
        assert message in said, text
    twice = ["--secret", "id=one,env=TOKEN", "--secret", f"id=one,src={secret}"]
    assert "Duplicate mount point" in ul("run", "--network", "none", *twice, "box", "true", code=125).stderr.decode()
    assert ul.out("ps", "-aq") == ""
    said = ul(
        "run",
        "--network",
        "none",
        "--userns",
        "auto",
        "--secret",
        "id=one,env=TOKEN,uid=99999",
        "box",
        "true",
        code=125,
    )
    assert "is not mapped in the container's user namespace" in said.stderr.decode()
