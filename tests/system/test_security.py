"""Attacks on running and entering containers, each as its requirement words it (rows RT-01 to RT-23, BD-17).

A canary directory stands for the host: an absolute path that the attacker knows, with a token. Races are bounded by a count
and by seconds; programs that look for holes only record what they could have done.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import pytest

from attacks import TOKEN, Maker, image, interpreter_files, probe
from engines import BUSYBOX, Installation

__all__ = ["image", "probe"]  # fixtures
pytestmark = pytest.mark.root

# RT-01, RT-03: the process that enters.


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--cap-drop", "ALL"),
        ("--cap-add", "SYS_PTRACE"),
        ("--cap-add", "SYS_PTRACE", "--cap-add", "SYS_ADMIN", "--cap-add", "CHECKPOINT_RESTORE"),
        ("--cap-add", "ALL", "--security-opt", "seccomp=unconfined"),
    ],
)
def test_rt01_nothing_of_the_host_is_writable_through_those_who_enter(
    ul: Installation, probe: Path, flags: tuple[str, ...]
) -> None:
    before = interpreter_files()
    name = ul.start("-v", f"{probe}:/probe:ro", *flags, "box", "/probe", "watch", "40")
    for number in range(50):
        ul("exec", *((), ("-t",), ("-d",), ("-u", "alice"))[number % 4], name, "true")
    ul("exec", "--privileged", name, "touch", "/stop", code=None)  # it may end with the container
    ul.out("wait", name)
    text = ul.out("logs", name)
    assert int(re.findall(r"PROCESSES (\d+)", text)[0]) >= 5, "the watcher has seen too few to mean anything"
    # Not even for a tracer there is anything to see but the container's own files and our sealed program.
    assert "WRITABLE" not in text and "SEEN" not in text, text[-2000:]
    assert interpreter_files() == before


@pytest.mark.slow
def test_rt03_a_tracer_gains_nothing(ul: Installation, probe: Path) -> None:
    name = ul.start("--cap-add", "SYS_PTRACE", "-v", f"{probe}:/probe:ro", "box", "/probe", "trace", "60")
    for number in range(60):
        ul("exec", *((), ("-u", "alice"))[number % 2], name, "true", code=None)
    ul("exec", name, "touch", "/stop", code=None)  # it may end with the container
    ul.out("wait", name)
    text = ul.out("logs", name)
    # What `touch` itself has opened is the container's.
    text = re.sub(r"WRITABLE /proc/\d+/fd/\d+ /stop\n", "", text)
    assert "WRITABLE" not in text and "SEEN" not in text, text[-2000:]
    own = int(ul.run("--cap-add", "SYS_PTRACE", "box", "grep", "CapPrm", "/proc/self/status").split()[1], 16)
    # Who is seized before its program runs has given up by then what the program shall not have.
    for rights, filtered in re.findall(r"SEIZED (\w+) (\d)", text):
        assert int(rights, 16) & ~own == 0 and filtered == "2", text[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("link", ["/proc/self/exe", "/proc/thread-self/exe", "/proc/1/exe"])
def test_rt01_a_program_that_is_swapped_for_ourselves(ul: Installation, image: Maker, link: str) -> None:
    before = interpreter_files()
    evil = image(files={"e": (b"#!/bin/sh\nexit 3\n", 0o755)})
    libraries = [f"{path}:{path}:ro" for path in ("/lib", "/lib64", "/usr/lib", sys.prefix) if os.path.isdir(path)]
    binds = [word for bind in libraries for word in ("-v", bind)]
    swap = f"while :; do ln -s {link} /n; mv /n /e; ln -s /bin/echo /n; mv /n /e; done"
    name = ul.start(*binds, evil, "sh", "-c", swap)
    codes = set()
    for _ in range(40):
        done = ul("exec", name, "/e", "-c", "print(7341)", code=None)
        # The interpreter would answer 7341 alone; echo repeats the words.
        assert done.stdout.strip() in (b"", b"-c print(7341)"), done
        codes.add(done.returncode)
    assert len(codes) > 1, f"the race was never lost or never won: {codes}"
    assert interpreter_files() == before


@pytest.mark.parametrize("how", ["link", "script", "script of a script"])
def test_rt01_entrypoint_that_is_ourselves(ul: Installation, image: Maker, how: str) -> None:
    evil = image(
        links={"e": "/proc/self/exe"},
        files={"s": (b"#!/proc/self/exe\n", 0o755), "s2": (b"#! /s x\n", 0o755)},
    )
    program = {"link": "/e", "script": "/s", "script of a script": "/s2"}[how]
    # With the host's own libraries in place the interpreter would really run.
    libraries = [f"{path}:{path}:ro" for path in ("/lib", "/lib64", "/usr/lib", sys.prefix) if os.path.isdir(path)]
    binds = [word for bind in libraries for word in ("-v", bind)]
    done = ul("run", "--rm", "--network", "none", *binds, evil, program, "-c", "print(7341)", code=126)
    assert b"7341" not in done.stdout and b"link of procfs" in done.stderr
    name = ul.start(*binds, evil, "sleep", "60")
    assert b"7341" not in ul("exec", name, program, "-c", "print(7341)", code=126).stdout


# RT-05, RT-07, RT-09: /proc, /sys and /dev are not what they seem.


@pytest.mark.parametrize(
    ("links", "files", "without"),
    [
        ({"proc": "/tmp/p"}, {}, ()),
        ({"proc": "tmp"}, {}, ()),
        ({"sys": "../x"}, {}, ()),
        ({"sys": "/proc"}, {}, ()),
        ({}, {"proc": (b"", 0o644)}, ("proc",)),
        ({}, {"sys": (b"", 0o644)}, ("sys",)),
        ({"dev": "/proc"}, {}, ()),
        ({"dev": "/tmp"}, {}, ()),
        ({}, {}, ("proc", "sys", "dev", "tmp", "run")),
    ],
)
def test_rt05_proc_and_sys_are_links(
    ul: Installation, image: Maker, links: dict, files: dict, without: tuple[str, ...]
) -> None:
    name = image(links=links, files=files, without=without)
    script = "stat -f -c %t /proc; cat /proc/keys /proc/timer_list; ls /sys/firmware; echo x > /proc/sysrq-trigger"
    done = ul("run", "--rm", "--network", "none", name, "sh", "-c", script, code=None)
    if done.returncode == 125:
        assert done.stderr.startswith(b"underlay: ") and done.stderr.count(b"\n") <= 2
    else:
        assert done.stdout == b"9fa0\n", done
        assert b"Read-only file system" in done.stderr or b"can't create" in done.stderr


@pytest.mark.parametrize("path", ["/proc", "/proc/sys", "/l", "/l/sys"])
def test_rt05_volume_of_the_image_over_proc(ul: Installation, image: Maker, path: str) -> None:
    name = image((f'VOLUME ["{path}"]',), links={"l": "/proc"})
    done = ul("run", "--rm", "--network", "none", name, "stat", "-f", "-c", "%t", "/proc", code=None)
    assert done.returncode == 125 and b"/proc" in done.stderr, done
    assert ul.out("ps", "-aq") == ""


@pytest.mark.parametrize("flag", ["-v", "--tmpfs", "nocopy"])
def test_rt05_mount_of_the_user_through_a_link_to_proc(
    ul: Installation, image: Maker, tmp_path: Path, flag: str
) -> None:
    name = image(links={"l": "/proc"})
    words = {"-v": ["-v", f"{tmp_path}:/l"], "--tmpfs": ["--tmpfs", "/l"], "nocopy": ["-v", "vol-p:/l:nocopy"]}[flag]
    done = ul("run", "--rm", "--network", "none", *words, name, "true", code=125)
    assert b"leads into /proc" in done.stderr


@pytest.mark.parametrize("null", ["link", "file", "missing", "device"])
def test_rt07_masks_need_the_real_null_device(ul: Installation, tmp_path: Path, null: str) -> None:
    dev = tmp_path / "dev"
    dev.mkdir()
    if null == "link":
        (dev / "null").symlink_to("/proc/sysrq-trigger")
    elif null == "file":
        (dev / "null").write_text("not null")
    elif null == "device":
        os.mknod(dev / "null", 0o666 | 0o020000, os.makedev(1, 5))
    done = ul("run", "--rm", "--network", "none", "-v", f"{dev}:/dev", "box", "true", code=125)
    assert b"/dev/null" in done.stderr


def test_rt07_masked_paths_are_empty_and_take_nothing(ul: Installation) -> None:
    script = "for p in /proc/keys /proc/kcore /proc/timer_list; do [ -e $p ] && { echo x > $p; wc -c < $p; }; done"
    assert set(ul.run("box", "sh", "-c", script).split()) <= {"0"}


def test_rt09_writes_to_procfs_stay_in_procfs(ul: Installation, canary: Path) -> None:
    for target in ("/proc/sys/net", "/proc/self/oom_score_adj", "/proc/sys/net/ipv4/ip_forward"):
        flags = ["--sysctl", "net.ipv4.ip_forward=1", "-v", f"{canary}/secret:{target}"]
        done = ul("run", "--rm", "--network", "none", *flags, "box", "true", code=125)
        assert b"nothing can be mounted at or below /proc" in done.stderr
    text = ul.run("--sysctl", "net.ipv4.ip_forward=1", "box", "cat", "/proc/sys/net/ipv4/ip_forward")
    assert text == "1"


# RT-11, RT-13: mount points.


@pytest.mark.slow
def test_rt11_mount_points_in_a_place_that_is_being_swapped(ul: Installation, canary: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "d").mkdir(parents=True)
    (shared / "l").symlink_to(canary)
    (tmp_path / "source").mkdir()
    (tmp_path / "file").write_text("f")
    swap = "i=0; while [ $i -lt 100000 ]; do mv -T d t; mv -T l d; mv -T t l; i=$((i+1)); done"
    name = ul.start("-v", f"{shared}:/s", "-w", "/s", "box", "busybox", "sh", "-c", swap)
    deadline = time.monotonic() + 15
    codes = set()
    for number in range(30):
        if time.monotonic() > deadline:
            break
        kind = ("source", "file")[number % 2]
        mounts = ["-v", f"{shared}:/s", "-v", f"{tmp_path}/{kind}:/s/d/new-{number}"]
        codes.add(ul("run", "--rm", "--network", "none", *mounts, "box", "true", code=None).returncode)
    ul("rm", "-f", name)
    assert codes <= {0, 125}
    # The canary's own fixture checks that its listing is what it was.


def test_rt13_long_sources(ul: Installation) -> None:
    for word in ("--mount", "-v"):
        source = "/" + "\x7f" * 70_000
        value = f"type=bind,source={source},target=/x" if word == "--mount" else f"{source}:/x"
        done = ul("run", "--rm", "--network", "none", word, value, "box", "true", code=125)
        assert len(done.stderr) < 80_000 and b"Traceback" not in done.stderr
    deep = "/" + "d" * 4000
    assert ul("run", "--rm", "--network", "none", "-v", f"{deep}:/x", "box", "true", code=125)


# RT-15, RT-17, RT-19: rights.


def test_rt15_cgroups_are_read_only(ul: Installation) -> None:
    script = (
        "unshare -Urm true && echo BAD; mount -t cgroup x /tmp && echo BAD; mount -t cgroup2 x /tmp && echo BAD;"
        "for f in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release -o -name cgroup.procs);"
        "do (echo 1 > $f) 2>/dev/null && echo BAD $f; done;"
        "mkdir /sys/fs/cgroup/x 2>/dev/null && echo BAD; echo done"
    )
    assert ul.run("box", "sh", "-c", script) == "done"
    script = script.partition("mount -t cgroup2")[2].partition(";")[2]
    assert ul.run("--cap-add", "SYS_ADMIN", "box", "sh", "-c", script) == "done"


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "--cap-add", "ALL"),
        ("run", "-u", "alice"),
        ("run", "--privileged"),
        ("exec",),
        ("exec", "-u", "alice"),
        ("exec", "--privileged"),
    ],
)
def test_rt17_inheritable_and_ambient_are_empty(ul: Installation, words: tuple[str, ...]) -> None:
    command = ("grep", "-E", "CapInh|CapAmb", "/proc/self/status")
    if words[0] == "run":
        text = ul.run(*words[1:], "box", *command)
    else:
        name = ul.start("--cap-add", "SYS_PTRACE", "box", "sleep", "60")
        text = ul.out("exec", *words[1:], name, *command)
    assert [line.split()[1] for line in text.splitlines()] == ["0" * 16] * 2


def test_rt19_groups(ul: Installation, image: Maker) -> None:
    name = image(
        files={
            "etc/passwd": (b"root:x:0:0::/:\nu1:x:1000:1001::/:\n", 0o644),
            "etc/group": (b"g1:x:1001:\ng2:x:1002:\ng3:x:1003:u1\n", 0o644),
            # The group has fewer rights than others: who is not in it may read.
            "for-others": (b"secret of others\n", 0o604, 0, 1001),
            "bin/sgid": (BUSYBOX.read_bytes(), 0o2755, 0, 1002),
        }
    )
    script = "id -G; cat /for-others || echo refused; exec -a cat /bin/sgid /for-others 2>&1 || echo refused too"
    running = ul.start(name, "sleep", "60")
    for prefix in (("run", "--rm", "--network", "none", "-u", "u1", name), ("exec", "-u", "u1", running)):
        lines = ul(*prefix, "sh", "-c", script, code=None).stdout.decode().splitlines()
        assert lines[0] == "1001 1003" and "secret of others" not in lines, lines
    for prefix in (("run", "--rm", "--network", "none", "-u", "1000:7", name), ("exec", "-u", "1000:7", running)):
        assert ul.out(*prefix, "id", "-G") == "7"  # nothing of the host's


# RT-21, RT-23: files of the image.


@pytest.mark.parametrize("kind", ["fifo", "link out", "zero", "sparse", "many groups", "device", "number"])
def test_rt21_hostile_users(ul: Installation, image: Maker, canary: Path, kind: str) -> None:
    group = b"".join(b"g%d:x:%d:u\n" % (n, n) for n in range(200_000)) if kind == "many groups" else b""
    parts: dict = {"files": {"etc/group": (group, 0o644)}}
    if kind == "fifo":
        parts["fifos"] = ("etc/passwd",)
    elif kind == "device":
        parts["nodes"] = {"etc/passwd": (1, 5)}
    elif kind == "link out":
        parts["links"] = {"etc/passwd": "../" * 12 + str(canary / "secret").lstrip("/")}
    elif kind == "zero":
        parts["links"] = {"etc/passwd": "/dev/zero"}
    elif kind == "sparse":
        parts["files"]["etc/passwd"] = (b"\0" * (8 << 20), 0o644)
    elif kind == "number":
        parts["files"]["etc/passwd"] = (b"1000:x:0:0::/:\n", 0o644)
    name = image(**parts)
    done = ul("run", "--rm", "--network", "none", "-u", "nobody", name, "id", code=125, timeout=20)
    assert TOKEN.encode() not in done.stdout + done.stderr
    # Not by id(1), which reads the file as the trap that it is.
    assert ul.run("-u", "1000", name, "grep", "Uid", "/proc/self/status").split()[1] == "1000"


@pytest.mark.parametrize(
    "links",
    [
        {"etc": "CANARY"},
        {"etc/resolv.conf": "../../../../../../CANARY/r"},
        {"etc/hosts": "CANARY/secret", "etc/hostname": "CANARY/h", "etc/mtab": "/proc/mounts"},
        {"dev/shm": "CANARY", "run/secrets": "/", "dev/mqueue": "CANARY", "dev/pts": "CANARY"},
        {"etc/hosts": "/proc/sys/kernel/core_pattern"},
        {"etc/hosts": "/dev/null"},
        {"etc/hostname": "hostname"},
    ],
)
def test_rt23_bd17_files_of_the_engine_follow_no_link_out(
    ul: Installation, image: Maker, canary: Path, links: dict[str, str]
) -> None:
    place = {name: target.replace("CANARY", str(canary)) for name, target in links.items()}
    name = image(links=place, without=("etc",) if "etc" in place else ())
    done = ul("run", "--rm", "--network", "none", "-w", "/w", name, "sh", "-c", "cat /etc/hosts", code=None)
    assert done.returncode in (0, 1, 125) and TOKEN.encode() not in done.stdout
    if done.returncode == 125:
        assert done.stderr.startswith(b"underlay: ")
