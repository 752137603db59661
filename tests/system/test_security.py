"""Attacks on running and entering containers, each as its requirement words it (the RT, IM and BD rows).

A canary directory stands for the host: an absolute path that the attacker knows, with a token. Races are bounded by a count
and by seconds; programs that look for holes only record what they could have done.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import APPLETS, BUSYBOX, Installation, until

pytestmark = pytest.mark.root
TOKEN = "canary-token-7341"
Maker = Callable[..., str]


def layer(
    links: dict[str, str] | None = None,
    files: dict[str, tuple[bytes, int] | tuple[bytes, int, int, int]] | None = None,
    without: tuple[str, ...] = (),
    nodes: dict[str, tuple[int, int]] | None = None,
    fifos: tuple[str, ...] = (),
) -> bytes:
    """A root file system with a static busybox and whatever an attacker adds; `without` names directories left out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def add(
            name: str, kind: bytes, data: bytes = b"", mode: int = 0o755, uid: int = 0, gid: int = 0, link: str = ""
        ):
            member = tarfile.TarInfo(name)
            member.type, member.mode, member.size, member.linkname = kind, mode, len(data), link
            member.uid, member.gid = uid, gid
            if name in (nodes or {}):
                member.devmajor, member.devminor = (nodes or {})[name]
            tar.addfile(member, io.BytesIO(data) if data else None)

        for name in ("bin", "etc", "proc", "sys", "dev", "root", "tmp", "run"):
            if name not in without and name not in (links or {}):
                add(name, tarfile.DIRTYPE, mode=0o1777 if name == "tmp" else 0o755)
        add("bin/busybox", tarfile.REGTYPE, BUSYBOX.read_bytes())
        for applet in APPLETS:
            add(f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
        for name, target in (links or {}).items():
            add(name, tarfile.SYMTYPE, link=target)
        for name, (data, mode, *owner) in (files or {}).items():
            add(name, tarfile.REGTYPE, data, mode, *owner)
        for name in nodes or {}:
            add(name, tarfile.CHRTYPE)
        for name in fifos:
            add(name, tarfile.FIFOTYPE)
    return buffer.getvalue()


@pytest.fixture
def image(ul: Installation) -> Iterator[Maker]:
    """Makes images; all are removed afterwards."""
    made: list[str] = []

    def make(changes: tuple[str, ...] = (), **parts: object) -> str:
        name = f"attack-{len(made)}"
        words = [word for change in ('CMD ["sh"]', *changes) for word in ("--change", change)]
        ul("import", *words, "-", name, input=layer(**parts))  # type: ignore[arg-type]
        made.append(name)
        return name

    yield make
    for name in ul.out("ps", "-aq").split():
        ul("rm", "-f", name)
    for name in made:
        ul("rmi", "-f", name, code=None)


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A static program that tries what a shell cannot; its first argument says what."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (package gcc)")
    place = tmp_path_factory.mktemp("probe")
    (place / "probe.c").write_text(PROBE)
    done = subprocess.run(
        [compiler, "-static", "-O1", "-w", "-o", place / "probe", place / "probe.c"], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a static program cannot be made here: {done.stderr[-200:]}")
    return place / "probe"


# watch: for each process that appears, try to open what would be the host's for writing or to look outside; only
# successes are told. calls: the errno of system calls that a container must not have.
PROBE = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void look(int pid, const char *what, const char *name) {
    char path[300], target[300] = "";
    snprintf(path, sizeof path, "/proc/%d/%s%s%s", pid, what, *name ? "/" : "", name);
    int n = readlink(path, target, sizeof target - 1);
    if (n < 0) return;
    target[n] = 0;
    if (!strncmp(target, "/bin/", 5)) return; /* the container's own */
    if (strstr(target, "python") || strstr(target, "lib/") || strstr(target, "underlay"))
        printf("SEEN %s %s\n", path, target);
    int fd = open(path, O_WRONLY);
    if (fd >= 0) {
        struct stat s;
        fstat(fd, &s);
        /* F_GET_SEALS, F_SEAL_WRITE: sealed memory can be opened, but never written. */
        int seals = fcntl(fd, 1034);
        if (S_ISREG(s.st_mode) && !(seals > 0 && seals & 8)) printf("WRITABLE %s %s\n", path, target);
        close(fd);
    }
    fflush(stdout);
}

static void all(int pid, const char *what) {
    char path[100];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    DIR *d = opendir(path);
    if (!d) return;
    struct dirent *e;
    while ((e = readdir(d))) if (e->d_name[0] != '.') look(pid, what, e->d_name);
    closedir(d);
}

/* What a process that was seized may do: its permitted capabilities and whether it has a filter. */
static void rights(int pid, const char *name) {
    char path[64], text[4096] = "", *found;
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) return;
    read(fd, text, sizeof text - 1);
    close(fd);
    printf("SEIZED");
    if ((found = strstr(text, "CapPrm:"))) printf(" %.16s", found + 8);
    if ((found = strstr(text, "Seccomp:"))) printf(" %.1s", found + 9);
    printf(" %s", name);
    /* Let it go, or its parent waits for us. */
    syscall(SYS_ptrace, PTRACE_INTERRUPT, pid, 0, 0);
    waitpid(pid, 0, __WALL);
    syscall(SYS_ptrace, PTRACE_DETACH, pid, 0, 0);
}

static int watch(int seconds, int trace) {
    time_t end = time(0) + seconds;
    int seen = 0;
    char known[70000] = {0};
    while (time(0) < end && access("/stop", F_OK) != 0) {
        for (int pid = 2; pid < 3000; pid++) {
            char path[64], text[64] = "";
            snprintf(path, sizeof path, "/proc/%d/comm", pid);
            int fd = open(path, O_RDONLY);
            if (fd < 0) { if (pid > 300 && !known[pid - 100]) break; continue; }
            read(fd, text, sizeof text - 1);
            close(fd);
            if (pid == getpid() || !strncmp(text, "probe", 5)) continue;
            if (!known[pid]) { known[pid] = 1; seen++; }
            look(pid, "exe", ""); look(pid, "cwd", ""); look(pid, "root", "");
            all(pid, "fd"); all(pid, "map_files");
            if (trace && strncmp(text, "true", 4) && strncmp(text, "sh", 2) && strncmp(text, "busybox", 7)) {
                if (syscall(SYS_ptrace, PTRACE_SEIZE, pid, 0, 0) == 0) rights(pid, text);
            }
        }
    }
    printf("PROCESSES %d\n", seen);
    return 0;
}

static void told(const char *name, long answer) {
    printf("%s %d\n", name, answer < 0 ? errno : 0);
    if (answer > 2) close(answer);
}

static int calls(void) {
    told("alg", socket(38, SOCK_SEQPACKET, 0));
    told("alg-hidden", syscall(SYS_socket, 38L | 1L << 32, 5L, 0L));
    told("vsock", socket(40, SOCK_STREAM, 0));
    told("inet", socket(AF_INET, SOCK_STREAM, 0));
    told("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    told("io_uring_setup", syscall(SYS_io_uring_setup, 1, 0));
    told("userfaultfd", syscall(SYS_userfaultfd, 0));
    told("clone3", syscall(SYS_clone3, 0, 0));
    told("unshare-user", syscall(SYS_unshare, 0x10000000));
    told("unshare-cgroup", syscall(SYS_unshare, 0x02000000));
    told("clone-user", syscall(SYS_clone, 0x10000000 | 17, 0, 0, 0, 0));
    told("unknown", syscall(1999));
    told("bpf", syscall(SYS_bpf, 0, 0, 0));
    told("mount", syscall(SYS_mount, "x", "/tmp", "tmpfs", 0, 0));
#ifdef __x86_64__
    told("x32-keyctl", syscall(SYS_keyctl | 0x40000000, 0, -3, 0));
    long answer;
    /* The 32-bit entry: socketcall(SYS_SOCKET), then keyctl. */
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(102L), "b"(1L), "c"(0L) : "memory", "r8", "r9", "r10", "r11");
    printf("i386-socketcall %ld\n", answer < 0 ? -answer : 0);
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(288L), "b"(0L), "c"(-3L) : "memory", "r8", "r9", "r10", "r11");
    printf("i386-keyctl %ld\n", answer < 0 ? -answer : 0);
    __asm__ volatile("int $0x80" : "=a"(answer) : "a"(359L), "b"(38L), "c"(5L) : "memory", "r8", "r9", "r10", "r11");
    printf("i386-alg %ld\n", answer < 0 ? -answer : 0);
#endif
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    if (!strcmp(argv[1], "watch")) return watch(atoi(argv[2]), 0);
    if (!strcmp(argv[1], "trace")) return watch(atoi(argv[2]), 1);
    if (!strcmp(argv[1], "calls")) return calls();
    return 2;
}
"""


def interpreter_files() -> dict[str, str]:
    """What runs as us: the interpreter and its libraries, by path, with their digests."""
    found = {os.path.realpath(sys.executable)}
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[5] if len(line.split(maxsplit=5)) == 6 else ""
        if path.startswith("/") and os.path.isfile(path):
            found.add(path)
    return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in sorted(found)}


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
    for number in range(100):
        ul("exec", *((), ("-u", "alice"))[number % 2], name, "true", code=None)
    ul("exec", name, "touch", "/stop", code=None)  # it may end with the container
    ul.out("wait", name)
    text = ul.out("logs", name)
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
    for _ in range(100):
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


# RT-25, RT-27.

DEFAULTS = Path(os.environ.get("UNDERLAY_SHARED", "/nonexistent")) / "data/container-defaults.json"
MASKED = "acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats".split()


@pytest.mark.parametrize("flags", [(), ("--read-only",), ("-u", "alice"), ("exec",)])
def test_rt25_masks_hold(ul: Installation, flags: tuple[str, ...]) -> None:
    script = (
        "for p in " + " ".join(f"/proc/{name}" for name in MASKED) + " /sys/firmware /sys/devices/virtual/powercap "
        "/sys/fs/selinux /sys/devices/system/cpu/cpu*/thermal_throttle; do [ -e $p ] || continue;"
        "if [ -d $p ]; then ls -A $p; else cat $p; fi; done;"
        "for p in /proc/sys/kernel/hostname /proc/sys/vm/swappiness /proc/sysrq-trigger /proc/irq/default_smp_affinity "
        "/proc/bus/pci/devices; do (: > $p) 2>/dev/null && echo WRITABLE $p; done;"
        "touch /sys/x 2>/dev/null && echo BAD; echo end"
    )
    if flags == ("exec",):
        name = ul.start("box", "sleep", "60")
        assert ul.out("exec", name, "sh", "-c", script) == "end"
    else:
        assert ul.run(*flags, "box", "sh", "-c", script) == "end"


def test_rt25_masks_hold_with_a_mount_in_sys(ul: Installation, tmp_path: Path) -> None:
    script = "ls -A /sys/firmware; cat /proc/keys; ls /sys/fs/cgroup"
    (tmp_path / "mine").write_text("")
    assert ul.run("-v", f"{tmp_path}:/sys/fs/cgroup", "box", "sh", "-c", script) == "mine"


def test_rt27_nothing_of_an_image_steers_the_engine(ul: Installation, image: Maker) -> None:
    intent_words = (
        "spec options extras seccomp remove restart log mounts rootless stop_timeout cgroup hooks userns".split()
    )
    hostile = [f"LABEL {word}=unconfined" for word in intent_words]
    hostile += [f"LABEL io.underlay.{word}=true" for word in ("privileged", "hooks", "cgroup-parent", "seccomp")]
    hostile += ["LABEL io.kubernetes.cri-o.userns-mode=host", "LABEL run.oci.handler=evil", "LABEL log-driver=|/bin/sh"]
    plain, evil = image(), image(tuple(hostile))

    def facts(name: str) -> tuple:
        container = ul.out("create", "--hostname", "same", name)
        value = json.loads(ul.out("inspect", container))[0]
        plan = ul.out("run", "--plan", "--hostname", "same", name)
        ul("rm", container)
        plan = re.sub(r"[0-9a-f]{64}|[0-9a-f]{12}", "ID", plan)
        return value["HostConfig"], value["Config"]["Env"], plan

    assert facts(plain) == facts(evil)


# RT-29: who may come in.


def test_rt29_everything_is_its_owners(ul: Installation, probe: Path, tmp_path: Path) -> None:
    if os.access("/tmp", os.X_OK) is False:
        pytest.skip("other users cannot get anywhere here")
    place = tmp_path / "wide"
    place.mkdir()
    os.chmod(place, 0o755)
    (place / "root").mkdir(mode=0o755)  # made by an administrator, open to all
    (place / "state").mkdir(mode=0o755)
    wide = Installation(place)
    command = " ".join(wide.command)
    archive = place / "box.tar"
    archive.write_bytes(layer())
    script = f"umask 0; {command} import --change 'CMD [\"sh\"]' {archive} box >/dev/null;"
    script += f"{command} run -d --name open --network none -v vol-x:/v -e SECRET=1 box sh -c 'echo x; sleep 60'"
    subprocess.run(["sh", "-c", script], env=wide.environment, check=True, stdout=subprocess.DEVNULL)
    try:
        found = []
        for base in (wide.root, wide.state):
            for directory, names, files in os.walk(base):
                mode = os.lstat(directory).st_mode & 0o777
                if directory != str(base) and mode & 0o077:
                    found.append(f"{directory} {mode:o}")
                if directory.endswith("/mounts") or (directory != str(base) and not mode & 0o077):
                    names.clear()  # nobody else gets any further
                for file in files if directory == str(base) else []:
                    status = os.lstat(f"{directory}/{file}")
                    if status.st_mode & 0o077 and not os.path.islink(f"{directory}/{file}"):
                        found.append(f"{directory}/{file} {status.st_mode & 0o777:o}")
        assert found == []
        [control] = (wide.state / "containers").glob("*/control")
        assert control.stat().st_mode & 0o777 == 0o600
        state = control.parent
        assert all(p.stat().st_mode & 0o077 == 0 for p in state.iterdir() if p.is_file())
    finally:
        wide.clean()


# RT-31: system calls.

EXPECTED = {
    "alg": 1,
    "alg-hidden": 1,
    "vsock": 1,
    "inet": 0,
    "keyctl": 1,
    "io_uring_setup": 1,
    "userfaultfd": 1,
    "clone3": 38,
    "unshare-user": 1,
    "unshare-cgroup": 1,
    "clone-user": 1,
    "unknown": 38,
    "bpf": 1,
    "mount": 1,
}


@pytest.mark.parametrize("how", ["run", "exec", "no-new-privileges", "user"])
def test_rt31_calls_that_a_container_must_not_have(ul: Installation, probe: Path, how: str) -> None:
    bind = ["-v", f"{probe}:/probe:ro"]
    if how == "exec":
        name = ul.start(*bind, "box", "sleep", "60")
        text = ul.out("exec", name, "/probe", "calls")
        status = ul.out("exec", name, "grep", "Seccomp:", "/proc/self/status")
    else:
        flags = {"run": [], "no-new-privileges": ["--security-opt", "no-new-privileges"], "user": ["-u", "alice"]}[how]
        text = ul.run(*bind, *flags, "box", "/probe", "calls")
        status = ul.run(*flags, "box", "grep", "Seccomp:", "/proc/self/status")
    assert status.split() == ["Seccomp:", "2"]
    found = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}
    assert {name: found[name] for name in EXPECTED} == EXPECTED
    for name in ("x32-keyctl", "i386-keyctl", "i386-alg"):
        assert found.get(name, 1) in (1, 38)
    assert found.get("i386-socketcall", 38) == 38


def test_rt31_a_setuid_program_keeps_the_filter(ul: Installation, image: Maker, probe: Path) -> None:
    name = image(files={"suid": (probe.read_bytes(), 0o4755), "etc/passwd": (b"u:x:1000:1000::/:\n", 0o644)})
    text = ul.run("-u", "u", name, "/suid", "calls")
    found = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}
    assert found["mount"] == 1 and found["clone3"] == 38 and found["keyctl"] == 1


def test_profiles_that_forbid_by_name(ul: Installation, probe: Path, tmp_path: Path) -> None:
    forbidden = ["keyctl", "io_uring_setup", "userfaultfd", "socket"]
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"name": forbidden[0], "action": "SCMP_ACT_ERRNO"},  # the oldest form
            {"names": forbidden[1:3], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"} for family in (2, 10)],
            },
        ],
    }
    file = tmp_path / "profile.json"
    file.write_text(json.dumps(profile))
    text = ul.run("-v", f"{probe}:/probe:ro", "--security-opt", f"seccomp={file}", "box", "/probe", "calls")
    found = {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}
    assert (found["keyctl"], found["io_uring_setup"], found["userfaultfd"], found["inet"]) == (1, 5, 5, 1)
    for bad in ({"defaultAction": "SCMP_ACT_X"}, {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [1]}, [], "x"):
        file.write_text(json.dumps(bad))
        done = ul("create", "--security-opt", f"seccomp={file}", "box", code=None)
        assert done.returncode == 1 and b"Traceback" not in done.stderr and done.stderr.startswith(b"underlay: ")


# RT-33: programs of the container never run on the host.


def test_rt33_programs_of_the_image_run_only_when_they_are_asked_for(
    ul: Installation, image: Maker, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    mark.mkdir()
    recorder = f"#!/bin/busybox sh\necho ran > {mark}/ran-$0; echo ran > /ran\n".encode().replace(b"$0", b"x")
    names = "bin/ps bin/gzip bin/xz bin/tar usr/bin/unpigz bin/id bin/env bin/python3".split()
    version = f"usr/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    files = {name: (recorder, 0o755) for name in names if name.split("/")[-1] not in APPLETS}
    files[f"{version}/encodings/__init__.py"] = (b"raise SystemExit(99)\n", 0o644)
    files[f"{version}/os.py"] = (b"raise SystemExit(99)\n", 0o644)
    files["etc/ld.so.preload"] = (b"/evil.so\n", 0o644)
    files["evil.so"] = (b"not a library", 0o755)
    files["etc/nsswitch.conf"] = (b"passwd: evil\n", 0o644)
    name = image(files=files)
    container = ul.start(
        "-v", f"{mark}:{mark}", "-e", "PYTHONPATH=/evil", "-e", "LD_PRELOAD=/evil.so", name, "sleep", "60"
    )
    assert ul.out("exec", container, "echo", "fine") == "fine"
    assert ul.out("exec", "-u", "0", container, "echo", "fine") == "fine"
    for words in (("logs", container), ("inspect", container), ("ps", "-a"), ("stop", "-t", "0", container)):
        ul(*words)
    ul("start", container)
    ul("rm", "-f", container)
    assert list(mark.iterdir()) == []


# RT-35: limits.


def test_rt35_limits_hold_from_the_first_instruction(ul: Installation) -> None:
    flags = ["--memory", "24m", "--memory-swap", "24m", "--pids-limit", "16"]
    name = ul.start(*flags, "box", "sleep", "60")
    inside = ul.out("exec", name, "cat", "/proc/self/cgroup")
    assert inside == ul.out("exec", name, "cat", "/proc/1/cgroup")
    for pid in (ul.pid(name),):
        text = Path(f"/proc/{pid}/cgroup").read_text()
        assert text.count(f"/underlay/{name}") >= 1
        for controller in ("memory", "pids", "devices", "freezer"):
            line = next((row for row in text.splitlines() if controller in row.split(":")[1].split(",")), None)
            assert line is None or line.endswith(f"/underlay/{name}"), line
    fork = "for i in $(seq 40); do sleep 20 & done; wait"
    done = ul("exec", name, "sh", "-c", fork, code=None)
    assert b"can't fork" in done.stderr
    done = ul("exec", name, "sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=60", code=None)
    assert done.returncode != 0


def test_rt35_an_image_cannot_lift_them(ul: Installation, image: Maker) -> None:
    name = image(("LABEL memory=0", "LABEL io.underlay.cgroup=/", "ENV CGROUP_PARENT=/"))
    container = ul.start("--pids-limit", "8", name, "sleep", "60")
    assert json.loads(ul.out("inspect", container))[0]["HostConfig"]["PidsLimit"] == 8
    assert f"/underlay/{container}" in Path(f"/proc/{ul.pid(container)}/cgroup").read_text()


# IM-07, IM-09: what layers and configurations bring along.


def test_im07_nodes_and_set_id_files(ul: Installation, image: Maker) -> None:
    name = image(nodes={"mem": (1, 1), "disk": (8, 0)}, files={"su": (BUSYBOX.read_bytes(), 0o4755)})
    script = "for n in mem disk; do head -c 1 /$n >/dev/null 2>&1 && echo OPENED; done; ls -l /su | cut -c1-4"
    assert ul.run(name, "sh", "-c", script) == "-rws"
    # The host's users cannot reach such files.
    assert ul.root.stat().st_mode & 0o077 == 0 and ul.state.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("volume", ["/../../../../CANARY", "/l", "/l/deep", "rel/..", "/../..", "relative", ""])
def test_im09_volumes_of_an_image_read_nothing_of_the_host(
    ul: Installation, image: Maker, canary: Path, volume: str
) -> None:
    path = volume.replace("/CANARY", str(canary))
    words = (f"VOLUME {json.dumps([path])}",)
    try:
        name = image(words, links={"l": str(canary)})
    except BaseException as refused:  # pytest.fail is no Exception
        assert "import" in str(refused)
        return
    done = ul(
        "run", "--rm", "--network", "none", name, "sh", "-c", f"find / -xdev -name secret; ls {path} /l/", code=None
    )
    assert TOKEN.encode() not in done.stdout and b"secret" not in done.stdout
    assert done.returncode != 125 or done.stderr.startswith(b"underlay: ")


# What leaks in.


def test_no_descriptors_and_no_environment_leak_in(ul: Installation) -> None:
    environment = {**ul.environment, "SECRET_OF_THE_HOST": "x", "LD_LIBRARY_PATH": "/nowhere"}
    reader, writer = os.pipe()
    script = "ls /proc/self/fd; env"
    for words in (["run", "--rm", "--network", "none", "box"], ["run", "--rm", "--init", "--network", "none", "box"]):
        done = subprocess.run(
            [*ul.command, *words, "sh", "-c", script],
            env=environment,
            pass_fds=(reader, writer),
            capture_output=True,
            text=True,
        )
        numbers = [line for line in done.stdout.splitlines() if line.isdigit()]
        assert numbers == ["0", "1", "2", "3"], done  # 3 is ls reading the directory
        assert "SECRET_OF_THE_HOST" not in done.stdout and "LD_LIBRARY_PATH" not in done.stdout
    name = ul.start("box", "sleep", "60")
    done = subprocess.run(
        [*ul.command, "exec", name, "sh", "-c", script],
        env=environment,
        pass_fds=(reader, writer),
        capture_output=True,
        text=True,
    )
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["0", "1", "2", "3"]
    assert "SECRET_OF_THE_HOST" not in done.stdout
    os.close(reader)
    os.close(writer)


def test_ignored_and_blocked_signals_do_not_leak_in(ul: Installation) -> None:
    name = ul.start("box", "sleep", "60")
    for words in (["run", "--rm", "--network", "none", "box"], ["exec", name]):
        command = " ".join([*ul.command, *words, "grep", "-E", "'Sig(Ign|Blk)'", "/proc/self/status"])
        script = f"trap '' HUP INT TERM USR1 PIPE CHLD; exec {command}"
        done = subprocess.run(["sh", "-c", script], env=ul.environment, capture_output=True, text=True, check=True)
        assert [line.split()[1] for line in done.stdout.splitlines()] == ["0" * 16] * 2, done


def test_working_directory_is_no_way_out(ul: Installation) -> None:
    name = ul.start("box", "sleep", "60")
    for number in range(3, 12):
        for words in (("run", "--rm", "--network", "none", "-w", f"/proc/self/fd/{number}", "box"),):
            done = ul(*words, "ls", "..", code=None)
            assert done.returncode in (125, 126, 127), (number, done)
        done = ul(
            "exec", "-w", f"/proc/self/fd/{number}", name, "sh", "-c", "ls -a ../../../.. | grep -c seed", code=None
        )
        assert done.stdout.strip() in (b"", b"0")


def test_removing_leaves_nothing(ul: Installation) -> None:
    assert until(lambda: ul.remains([]) == [] or len(ul.remains([])) <= 1)
