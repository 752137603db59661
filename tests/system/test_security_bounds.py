"""Attacks on the bounds of a container: what it must not see, have, do or bring along (rows RT-25 and up, IM)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from attacks import TOKEN, Maker, image, layer, probe
from engines import APPLETS, BUSYBOX, Installation, until

__all__ = ["image", "probe"]  # fixtures
pytestmark = pytest.mark.root

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


@pytest.mark.parametrize("which", ["root", "state"])
def test_rt29_directories_that_others_can_change_are_refused(tmp_path: Path, which: str) -> None:
    other = Installation(tmp_path)
    directory = other.root if which == "root" else other.state
    directory.mkdir()
    directory.chmod(0o777)
    said = other("ps", code=None).stderr.decode()
    assert f"{which} directory {directory}: other users may write to it (mode 0777)" in said
    assert f"chmod 700 {directory}" in said
    directory.chmod(0o700)
    os.chown(directory, 4711, -1)
    said = other("ps", code=None).stderr.decode()
    assert "it belongs to another user (uid 4711, not 0)" in said
    os.chown(directory, 0, -1)
    other("ps")


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


# Options that would say something else than they seem to.


def test_names_cannot_add_lines_to_the_files_of_a_container(ul: Installation) -> None:
    words = ("--hostname", "--domainname", "--dns-search", "--dns-option", "--add-host", "--network-alias")
    for flag in words:
        for name in ("x\n10.0.0.1 evil", "x\x1b]0;evil\x07"):
            value = f"{name}:10.0.0.1" if flag == "--add-host" else name
            network = ("--network", "front") if flag == "--network-alias" else ("--network", "none")
            if flag == "--network-alias":
                ul("network", "create", "front")
            done = ul("create", *network, flag, value, "box", "true", code=1)
            assert b"\x1b" not in done.stderr and b"invalid" in done.stderr, done.stderr
            if flag == "--network-alias":
                ul("network", "rm", "front")
    assert ul.out("ps", "-aq") == ""


def test_published_ports_of_the_hosts_network_are_told_to_be_discarded(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "host", "-p", "80:80", "box", "true")
    assert b"WARNING: Published ports are discarded when using host network mode" in done.stderr
    assert b"WARNING" not in ul("run", "--rm", "--network", "host", "box", "true").stderr


def test_an_entitlement_that_there_is_not(ul: Installation, tmp_path: Path) -> None:
    done = ul("build", "--allow", "everything", "-", input=b"FROM box\n", code=1)
    assert (
        b"unknown entitlement everything" in done.stderr and b"network.host, security.insecure, device" in done.stderr
    )


@pytest.mark.parametrize("words", [("-u", "4294967296"), ("-u", "0:4294967296"), ("--group-add", "4294967296")])
def test_an_id_that_is_none_is_not_a_name(ul: Installation, words: tuple[str, str]) -> None:
    said = ul("run", "--rm", *words, "box", "id", code=125).stderr.decode()
    assert "uids and gids must be in range 0-4294967294" in said
