"""Hostile bundles for the runtime's program: roots whose links and mounts lead elsewhere (attacks RT-05 to RT-33)."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import Bundle, bundle
from engines import needs_root
from underlay.linux.security import capabilities
from underlay.runtime.policy import profiles

__all__ = ["bundle"]
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
needs_root()


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory that stands for the host; it must be left exactly as it was."""
    place = tmp_path / "canary"
    place.mkdir()
    (place / "secret").write_text("host")
    (place / "secret").chmod(0o640)
    before = state_of(place)
    yield place
    assert state_of(place) == before


def state_of(place: Path) -> list[tuple[object, ...]]:
    """Return names, modes, owners, times and contents below a directory."""
    found: list[tuple[object, ...]] = []
    for path in [place, *sorted(place.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((path.name, status.st_mode, status.st_uid, status.st_mtime_ns, content))
    return found


def outcome(bundle: Bundle, script: str) -> str:
    """Run a script in a container; returns what it says, or the runtime's message when it refuses."""
    bundle.write("sh", "-c", script)
    bundle.count += 1
    done = bundle("run", f"c{bundle.count}", code=None)
    return (done.stdout + done.stderr).decode(errors="replace")


CHECK = (
    "stat -f -c %t /proc; cat /proc/keys 2>/dev/null | wc -c; echo 1 2>/dev/null >/proc/sysrq-trigger || echo closed"
)


# RT-05, RT-23: /proc and /sys of the root are links or files.


@pytest.mark.parametrize("name", ["proc", "sys", "dev", "etc"])
@pytest.mark.parametrize("target", ["canary", "../../../../../../..CANARY", "loop", "file"])
def test_links_in_the_root_lead_nowhere(bundle: Bundle, canary: Path, name: str, target: str) -> None:
    place = bundle.root / name
    for below in sorted(place.iterdir()):
        below.unlink()
    place.rmdir()
    if target == "file":
        place.touch()
    elif target == "loop":
        place.symlink_to(name)
    else:
        place.symlink_to(str(canary) if target == "canary" else target.replace("CANARY", str(canary)))
    said = outcome(bundle, CHECK)
    if name in ("proc", "sys"):
        assert "nothing can be mounted there safely" in said or "not a directory" in said.lower(), said
    else:
        assert "host" not in said


# RT-07: what masks is the null device.


@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_null_device_that_is_none(bundle: Bundle, canary: Path, tmp_path: Path, kind: str) -> None:
    devices = tmp_path / "devices"
    devices.mkdir()
    if kind == "link":
        (devices / "null").symlink_to("/proc/sysrq-trigger")
    else:
        (devices / "null").write_text("not a device")
    mounts = [m for m in bundle.spec["mounts"] if not m["destination"].startswith("/dev")]
    bundle.spec["mounts"] = [*mounts, {"destination": "/dev", "source": str(devices), "options": ["bind"]}]
    message = bundle.create_refused()
    assert "/dev/null" in message, message
    assert sorted(p.name for p in devices.iterdir()) == ["null"]


# RT-09: writes to procfs cannot be redirected.


def test_mounts_over_procfs_are_refused(bundle: Bundle, canary: Path) -> None:
    own = bundle.spec["mounts"]
    bundle.spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    for item in (
        {"destination": "/proc/sys/net", "type": "tmpfs", "source": "t"},
        {"destination": "/proc/self/oom_score_adj", "source": str(canary / "secret"), "options": ["bind"]},
        {"destination": "/proc/self/attr", "source": str(canary), "options": ["bind"]},
    ):
        bundle.spec["mounts"] = [*own, item]
        assert "nothing can be mounted there safely" in bundle.create_refused()
    # By a detour through a link of the root, too.
    (bundle.root / "detour").symlink_to("/proc/sys/net")
    bundle.spec["mounts"] = [*own, {"destination": "/detour", "type": "tmpfs", "source": "t"}]
    assert "nothing can be mounted there safely" in bundle.create_refused()


def test_another_file_system_at_proc_is_not_written_to(bundle: Bundle, canary: Path) -> None:
    own = [m for m in bundle.spec["mounts"] if m["destination"] != "/proc"]
    fake = bundle.root / "fake"
    (fake / "sys/net/ipv4").mkdir(parents=True)
    (fake / "sys/net/ipv4/ip_forward").write_text("untouched")
    bundle.spec["mounts"] = [{"destination": "/proc", "source": str(fake), "options": ["bind"]}, *own]
    bundle.spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.write()
    bundle("create", "box", code=1)
    assert (fake / "sys/net/ipv4/ip_forward").read_text() == "untouched"


# RT-11: mount points are made below the root only.


def test_mount_points_are_not_made_on_the_host(bundle: Bundle, canary: Path) -> None:
    (bundle.root / "out").symlink_to(canary)
    (bundle.root / "up").symlink_to("../" * 20 + str(canary).lstrip("/"))
    (bundle.place / "source").mkdir()
    (bundle.place / "file").touch()
    for number, source in enumerate(("source", "file")):
        for name in ("out", "up"):
            item = {"destination": f"/{name}/made{number}", "source": source, "options": ["bind"]}
            bundle.spec["mounts"].append(item)
    before = state_of(canary)
    outcome(bundle, "true")
    assert state_of(canary) == before
    bundle.spec["linux"]["devices"] = [{"path": "/out/node", "type": "c", "major": 1, "minor": 3}]
    bundle.spec["process"]["cwd"] = "/up/work"
    outcome(bundle, "true")
    assert state_of(canary) == before


def test_a_mount_point_that_is_swapped_meanwhile(bundle: Bundle, canary: Path) -> None:
    """A process exchanges a directory and a link to the host, while containers start that mount below it."""
    (bundle.root / "shared/a").mkdir(parents=True)
    (bundle.root / "shared/b").symlink_to(canary)
    (bundle.place / "source").mkdir()
    bundle.spec["mounts"].append({"destination": "/shared/a/new", "source": "source", "options": ["bind"]})
    swap = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "a, b = (sys.argv[1] + n for n in ('/a', '/b'))\n"
        "while True: libc.renameat2(-100, a.encode(), -100, b.encode(), 2)\n"
    )
    before = state_of(canary)
    process = subprocess.Popen(["python3", "-c", swap, bundle.root / "shared"])
    try:
        said = [outcome(bundle, "echo started") for _ in range(30)]
    finally:
        process.kill()
        process.wait()
    assert state_of(canary) == before
    assert any("started" in each for each in said), said


# RT-13: nothing that is declared can be read as something else.


def test_a_source_that_holds_what_could_be_flags(bundle: Bundle) -> None:
    bundle.spec["mounts"].append({"destination": "/x", "source": "A" * 3000 + "\u0001\uffff", "options": ["bind"]})
    assert "File name too long" in bundle.create_refused()
    bundle.spec["mounts"].pop()
    text = bundle.shell("for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done")
    own = [os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "net", "ipc", "uts", "mnt", "cgroup")]
    assert not set(text.splitlines()) & set(own)


# RT-01, RT-33: the program is the container's, and nothing of the root is run on the host.


@pytest.mark.parametrize("path", ["/proc/self/exe", "/link", "/script"])
def test_the_runtime_is_not_the_program(bundle: Bundle, path: str) -> None:
    (bundle.root / "link").symlink_to("/proc/self/exe")
    (bundle.root / "script").write_text("#!/proc/self/exe\n")
    (bundle.root / "script").chmod(0o755)
    bundle.write(path)
    created = bundle("create", "box", code=None)
    said = created.stderr + (bundle("start", "box", code=None).stderr if created.returncode == 0 else b"")
    assert path.encode() in said, said


def test_programs_of_the_root_are_not_run_outside(bundle: Bundle, canary: Path) -> None:
    recorder = f"#!/bin/sh\necho ran >{canary}/ran\n"
    for name in ("usr/bin/ps", "usr/bin/newuidmap", "sbin/apparmor_parser", "bin/mount"):
        place = bundle.root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.write_text(recorder)
        place.chmod(0o755)
    library = bundle.root / "usr/lib/python3/encodings"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text(f"open('{canary}/ran', 'w')")
    (bundle.root / "etc/ld.so.preload").write_text("/evil.so")
    bundle.start()
    bundle("exec", "box", "true")
    bundle("ps", "box")
    bundle("events", "--stats", "box", code=None)
    assert not (canary / "ran").exists()
    assert "ran" in bundle("exec", "box", "sh", "-c", "echo ran").stdout.decode()  # the container itself lives


# RT-17, RT-35: rights and limits are those of the specification from the first instruction on.


def test_inheritable_and_ambient_sets_are_empty_unless_asked_for(bundle: Bundle) -> None:
    out = bundle.shell("grep -E 'CapInh|CapAmb' /proc/self/status")
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16] * 2
    bundle.start()
    out = bundle(
        "exec", "-c", "CAP_SYS_ADMIN", "box", "grep", "-E", "CapInh|CapAmb", "/proc/self/status"
    ).stdout.decode()
    assert [line.split()[1] for line in out.splitlines()] == ["0" * 16] * 2


def test_nothing_of_the_host_is_open(bundle: Bundle) -> None:
    script = "for f in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/root; do readlink $f; done"
    alone = bundle.shell(script)
    bundle.start()
    for out in (alone, bundle("exec", "box", "sh", "-c", script).stdout.decode()):
        foreign = [
            line for line in out.splitlines() if str(bundle.place) in line or "socket:" in line or "memfd" in line
        ]
        # The streams that the caller gave are the container's.
        assert [line for line in foreign if "/tmp/" not in line] == []
        assert str(bundle.state) not in out


@pytest.mark.parametrize("kind", ["hardened", "root", "user namespace"])
def test_hooks_from_the_image_have_the_rights_of_the_process(bundle: Bundle, kind: str) -> None:
    """As with runc: the program of a startContainer hook comes from the container's root."""
    names = "Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp"
    script = f"umask; pwd; ulimit -n; ls /proc/self/fd | wc -l; grep -E '^({names}):' /proc/self/status"
    bundle.spec["process"].update(
        cwd="/tmp",
        noNewPrivileges=kind == "hardened",
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 123, "hard": 456}],
        user={"uid": 1000, "gid": 1001, "additionalGids": [1001, 1002], "umask": 0o027},
    )
    if kind == "root":
        bundle.spec["process"]["user"] = {"uid": 0, "gid": 0, "additionalGids": [0]}
    if kind == "user namespace":
        maps = [{"containerID": 0, "hostID": 70000, "size": 5000}]
        bundle.spec["linux"].update(uidMappings=maps, gidMappings=maps)
        bundle.spec["linux"]["namespaces"].append({"type": "user"})
    bundle.spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}],
    }
    (bundle.root / "tmp").chmod(0o1777)
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{{ {script}; }} >/tmp/hook"], "env": ["PATH=/bin"]}
    bundle.spec["hooks"] = {"startContainer": [hook]}
    bundle.write("sh", "-c", f"{{ {script}; }} >/tmp/process")
    bundle("run", "box")
    seen = (bundle.root / "tmp/hook").read_text()
    assert seen == (bundle.root / "tmp/process").read_text()
    assert "Seccomp:\t2" in seen and f"NoNewPrivs:\t{int(kind == 'hardened')}" in seen
    assert ("Uid:\t0" if kind == "root" else "Uid:\t1000") in seen
    if shutil.which("runc") and kind != "user namespace":  # runc wants a bundle that the mapped root can reach
        (bundle.root / "tmp/hook").unlink()
        subprocess.run(["runc", "--root", str(bundle.place / "runc"), "run", "box"], cwd=bundle.place, check=True)
        assert (bundle.root / "tmp/hook").read_text() == seen


@pytest.mark.parametrize("hardened", [False, True])
def test_a_hook_from_the_image_cannot_take_over_who_waits_for_it(bundle: Bundle, hardened: bool) -> None:
    """That process has all rights until it becomes the container's."""
    given = [*profiles.CAPABILITIES, "CAP_SYS_PTRACE"]
    bundle.spec["process"].update(noNewPrivileges=hardened)
    bundle.spec["process"]["capabilities"] = dict.fromkeys(
        ("bounding", "permitted", "effective", "inheritable", "ambient"), given
    )
    script = "grep ^Cap /proc/self/status; ls -l /proc/1/exe /proc/1/fd; cat /proc/1/environ /proc/1/maps; true"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"{{ {script}; }} >/tmp/hook 2>/tmp/refused"], "env": ["PATH=/bin"]}
    bundle.spec["hooks"] = {"startContainer": [hook]}
    bundle.write("sh", "-c", "grep ^Cap /proc/self/status >/tmp/process")
    bundle("run", "box")
    tracing = 1 << capabilities.NUMBERS["CAP_SYS_PTRACE"]
    for name, has in (("hook", False), ("process", True)):
        lines = [line for line in (bundle.root / "tmp" / name).read_text().splitlines() if line.startswith("Cap")]
        assert len(lines) == 5, lines
        assert all(bool(int(line.split()[1], 16) & tracing) is has for line in lines), lines
    lines = (bundle.root / "tmp/refused").read_text().splitlines()
    for path in ("exe", "fd/3", "environ", "maps"):
        assert any(f"/proc/1/{path}" in line and line.endswith("Permission denied") for line in lines), lines
    assert " -> " not in (bundle.root / "tmp/hook").read_text()


def test_a_hook_from_the_image_reaches_no_program_of_the_host(bundle: Bundle) -> None:
    for path, reason in (("/proc/self/exe", "it leads through a link of procfs"), ("/no/such", "no such file")):
        bundle.spec["hooks"] = {"startContainer": [{"path": path}]}
        bundle.write("true")
        bundle("create", "box")
        assert "hooks.startContainer[0]: " in (message := bundle.refused("start", "box")) and reason in message
        bundle("delete", "-f", "box")


def test_records_that_others_can_have_written_are_not_believed(bundle: Bundle) -> None:
    """Hooks of the end are run as they say, on the host."""
    bundle.state.mkdir()
    bundle.state.chmod(0o777)
    for words in (("create", "box"), ("state", "box"), ("list",), ("delete", "box")):
        assert f"root directory {bundle.state}: other users may write to it (mode 0777)" in bundle.refused(*words)
    bundle.state.chmod(0o700)
    os.chown(bundle.state, 4711, -1)
    assert "it belongs to another user (uid 4711, not 0)" in bundle.refused("list")
    os.chown(bundle.state, 0, -1)
    bundle("list")
