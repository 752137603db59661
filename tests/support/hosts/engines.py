"""An installation of underlay in a temporary directory, and a static image to run, for system tests."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("UNDERLAY_SHARED", REPOSITORY.parent / "shared"))
BUSYBOX = Path("/bin/busybox")
APPLETS = (
    "sh cat echo ls id true false sleep head tail grep mount umount ps kill env pwd touch rm mkdir ln stty tty hostname wc "
    "sha256sum dd chmod chown nc ip mknod test cut sort printf od readlink stat seq tr unshare su nice ulimit find df uname"
).split()


def needs_root() -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root")


def _has_interpreter(elf: bytes) -> bool:
    """Return whether a 64-bit ELF file asks for a dynamic loader (elf(5), PT_INTERP)."""
    offset, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    return any(struct.unpack_from("<I", elf, offset + n * size)[0] == 3 for n in range(count))


def image_tar(busybox: bytes = b"") -> bytes:
    """Return a small root file system: a static busybox, by default this host's, users, a few directories."""
    if not busybox:
        if not BUSYBOX.exists() or _has_interpreter(BUSYBOX.read_bytes()):
            pytest.skip("no static /bin/busybox (package busybox-static)")
        busybox = BUSYBOX.read_bytes()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:

        def directory(name: str, mode: int = 0o755) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, mode
            tar.addfile(member)

        def file(name: str, data: bytes, mode: int = 0o644, uid: int = 0) -> None:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.uid = len(data), mode, uid
            tar.addfile(member, io.BytesIO(data))

        def link(name: str, target: str) -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)

        for name in ("bin", "etc", "proc", "sys", "dev", "root", "home", "home/alice", "var", "data"):
            directory(name)
        directory("tmp", 0o1777)
        file("bin/busybox", busybox, 0o755)
        for applet in APPLETS:
            link(f"bin/{applet}", "busybox")
        file("bin/broken", b"#!/no/such/interpreter\n", 0o755)
        file("bin/foreign", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44), 0o755)
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\n")
        file("etc/group", b"root:x:0:\nalice:x:1001:\nextra:x:2000:alice\nother:x:3000:\n")
        file("data/seed", b"from the image\n")
    return buffer.getvalue()


class Installation:
    """One installation: its directories, and its command line run as a program."""

    def __init__(self, place: Path, form: str = "auto") -> None:
        self.root = place / "root"
        self.state = place / "state"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("UNDERLAY")},
            "UNDERLAY_ROOT": str(self.root),
            "UNDERLAY_STATE": str(self.state),
            "UNDERLAY_FORM": form,
            # What is not about networks leaves none on the host.
            "UNDERLAY_NETWORK": "none",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])),
        }
        self.command = [sys.executable, "-m", "underlay"]

    def __call__(
        self, *words: str, input: bytes | None = None, code: int | None = 0, timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one command and return what came of it; fails the test when its exit code is not `code`."""
        done = subprocess.run(
            [*self.command, *words],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            env=self.environment,
            timeout=timeout,
        )
        if code is not None and done.returncode != code:
            pytest.fail(
                f"underlay {' '.join(words)}: exit {done.returncode}, not {code}\n"
                f"{done.stdout.decode(errors='replace')[-300:]}\n{done.stderr.decode(errors='replace')[-2000:]}"
            )
        return done

    def out(self, *words: str, input: bytes | None = None, code: int | None = 0) -> str:
        """Run one command and return its standard output as text, without the last newline."""
        return self(*words, input=input, code=code).stdout.decode().rstrip("\n")

    def run(self, *words: str, code: int = 0, input: bytes | None = None) -> str:
        """`run --rm --network none WORDS`; returns the standard output."""
        return self.out("run", "--rm", "--network", "none", *words, code=code, input=input)

    def start(self, *words: str) -> str:
        """`run -d --network none WORDS`; returns the id."""
        return self.out("run", "-d", "--network", "none", *words)

    def pid(self, name: str) -> int:
        """Return the pid of a container's first process."""
        return int(self.out("inspect", "-f", "{{.State.Pid}}", name))

    def monitor(self, name: str) -> int:
        """Return the pid of a container's monitor: the parent of its first process."""
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("PPid")))

    def clean(self) -> None:
        """Remove all containers, and fail when something of this installation is left on the host."""
        ids = self.out("ps", "-aq").split()
        if ids:
            self("rm", "-f", *ids)
        # A name server ends seconds after the last container.
        assert until(lambda: self.remains(ids) == [], 20), self.remains(ids)

    def remains(self, ids: list[str]) -> list[str]:
        """Return what this installation has on the host beyond its files: mounts, processes, cgroups of `ids`."""
        found = [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.root.parent) in line]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if str(self.root).encode() in command:
                    found.append(f"process {entry.name} {command!r}")
        for directory, names, _ in os.walk("/sys/fs/cgroup"):
            if directory.endswith("/underlay"):
                found += [f"{directory}/{name}" for name in names if any(name.startswith(i) for i in ids)]
                names.clear()
            if directory.count("/") > 5:
                names.clear()
        containers = self.state / "containers"
        if containers.exists():
            found += [str(path) for path in containers.iterdir()]
        return found


def until(condition: object, seconds: float = 30.0) -> bool:
    """Wait until `condition()` holds; returns whether it did in time."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
