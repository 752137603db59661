"""What attackers of containers bring along: images, and a static program that tries what a shell cannot."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import APPLETS, BUSYBOX, Installation

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
        ) -> None:
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
            uid, gid = owner or (0, 0)
            add(name, tarfile.REGTYPE, data, mode, uid, gid)
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
