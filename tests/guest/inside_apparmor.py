"""AppArmor in a guest whose kernel has it: the default profile holds, named ones are applied, labels are everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import Bundle, bundle
from engines import Installation, image_tar, until

__all__ = ["bundle"]

LABEL = "underlay-default (enforce)"
READER = """
abi <abi/3.0>,
profile test-reader flags=(attach_disconnected) {
  file rix /**,
  deny /data/** r,
  signal (receive) peer=unconfined,
}
"""


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    place = tmp_path_factory.mktemp("ul")
    installation = Installation(place)
    installation("import", "--change", 'CMD ["sh"]', "-", "box", input=image_tar())
    yield installation
    installation.clean()


@pytest.fixture(scope="module")
def named() -> str:
    subprocess.run(["apparmor_parser", "-r", "-K"], input=READER, text=True, check=True)
    return "test-reader"


def test_the_profile_is_loaded_by_the_first_container_and_kept(ul: Installation) -> None:
    profiles = Path("/sys/kernel/security/apparmor/profiles")
    assert "underlay-default" not in profiles.read_text()
    assert ul.run("box", "cat", "/proc/self/attr/current") == LABEL
    assert "underlay-default (enforce)" in profiles.read_text()
    assert (ul.root / "apparmor" / "underlay-default").stat().st_size > 1000
    assert "name=apparmor" in json.loads(ul.out("info", "-f", "json"))["SecurityOptions"]


def test_labels_of_run_exec_and_init(ul: Installation) -> None:
    for flags in (
        (),
        ("-u", "alice"),
        ("--security-opt", "no-new-privileges"),
        ("--cap-drop", "ALL"),
        ("--read-only",),
    ):
        assert ul.run(*flags, "box", "cat", "/proc/self/attr/current") == LABEL, flags
    name = ul.start("--init", "box", "sleep", "60")
    for words in ((), ("-u", "alice"), ("--privileged",)):
        assert ul.out("exec", *words, name, "cat", "/proc/self/attr/current") == LABEL, words
    assert ul.out("exec", name, "sh", "-c", "cat /proc/[0-9]*/attr/current").splitlines() == [LABEL] * 3
    assert ul.out("inspect", "-f", "{{.AppArmorProfile}}", name) == "underlay-default"
    assert ul.out("exec", "-d", name, "sh", "-c", "cat /proc/self/attr/current >/tmp/label") == ""
    assert until(lambda: ul.out("exec", name, "cat", "/tmp/label") == LABEL)
    ul("stop", "-t", "5", name)
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", name) == "143"


def test_unconfined(ul: Installation) -> None:
    for flags in (("--privileged",), ("--security-opt", "apparmor=unconfined")):
        name = ul.start(*flags, "box", "sleep", "60")
        assert (
            ul.out("exec", name, "cat", "/proc/self/attr/current", "/proc/1/attr/current") == "unconfined\nunconfined"
        )
        assert ul.out("inspect", "-f", "{{.AppArmorProfile}}", name) == "unconfined"
        ul("rm", "-f", name)


def test_it_refuses_what_rights_and_masks_would_allow(ul: Installation) -> None:
    flags = ["--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "systempaths=unconfined"]
    flags += ["--security-opt", "seccomp=unconfined"]
    script = (
        "(echo h >/proc/sysrq-trigger) 2>&1; mount -t tmpfs x /tmp 2>&1; "
        "(echo 1 >/proc/sys/vm/drop_caches) 2>&1; (cat /proc/kcore | head -c 1) 2>&1; "
        "umount /dev/shm && echo unmounted; mount -o remount,rw /sys 2>&1; cat /proc/sys/kernel/ostype"
    )
    text = ul.run(*flags, "box", "sh", "-c", script)
    assert len(re.findall("ermission denied", text)) == 5, text
    assert text.endswith("Linux") and "unmounted" in text
    # Without it all of that is possible: the profile, and nothing else, has refused.
    script = "mount -t tmpfs x /tmp && mount -o remount,rw /sys && : >/proc/sysrq-trigger && echo done"
    assert ul.run(*flags, "--security-opt", "apparmor=unconfined", "box", "sh", "-c", script) == "done"


def test_processes_of_a_container_signal_and_trace_each_other(ul: Installation) -> None:
    name = ul.start(
        "--cap-add", "SYS_PTRACE", "box", "sh", "-c", "trap 'echo got; exit 9' USR1; while :; do sleep 0.1; done"
    )
    assert ul.out("exec", name, "readlink", "/proc/1/cwd") == "/"  # ptrace (read)
    ul("exec", name, "kill", "-USR1", "1")
    assert ul.out("wait", name) == "9" and "got" in ul.out("logs", name)


def test_the_engine_signals_pauses_and_kills(ul: Installation) -> None:
    name = ul.start("box", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
    ul("pause", name)
    ul("unpause", name)
    ul("stop", name)
    assert ul.out("inspect", "-f", "{{.State.ExitCode}}", name) == "4"
    for flags in ((), ("--init",)):
        name = ul.start(*flags, "box", "sleep", "60")
        pid = ul.pid(name)
        os.kill(ul.monitor(name), 9)
        assert until(lambda pid=pid: not Path(f"/proc/{pid}").exists()), flags


def test_named_profiles(ul: Installation, named: str) -> None:
    flags = ("--security-opt", f"apparmor={named}")
    # It has no capabilities at all: what we do before the program is not held against us.
    assert ul.run(*flags, "-u", "alice", "box", "cat", "/proc/self/attr/current") == "test-reader (enforce)"
    done = ul("run", "--rm", "--network", "none", *flags, "box", "cat", "/data/seed", code=1)
    assert b"ermission denied" in done.stderr
    name = ul.start(*flags, "box", "sleep", "60")
    assert ul.out("inspect", "-f", "{{.AppArmorProfile}}", name) == named
    assert ul.out("exec", "-t", name, "cat", "/proc/self/attr/current").strip() == "test-reader (enforce)"


def test_the_runtimes_program_applies_profiles(bundle: Bundle, named: str) -> None:
    body = bundle.spec["process"]
    body["apparmorProfile"] = named
    assert bundle.shell("cat /proc/self/attr/current; cat /data/seed 2>&1") == (
        f"{named} (enforce)\ncat: can't open '/data/seed': Permission denied"
    )
    bundle.start()
    assert bundle("exec", "box", "cat", "/proc/self/attr/current").stdout.decode().strip() == f"{named} (enforce)"
    body["apparmorProfile"] = "no-such-profile"
    bundle.spec["linux"]["cgroupsPath"] += "-second"
    bundle.write("true")
    bundle("create", "second")
    assert "no-such-profile is not loaded" in bundle.refused("start", "second")


def test_unknown_profiles(ul: Installation, named: str) -> None:
    done = ul("run", "--rm", "--network", "none", "--security-opt", "apparmor=no-such", "box", "true", code=125)
    assert b"AppArmor profile no-such is not loaded" in done.stderr
    name = ul.start("--security-opt", f"apparmor={named}", "box", "sleep", "60")
    subprocess.run(["apparmor_parser", "-R"], input=READER, text=True, check=True)
    done = ul("exec", name, "true", code=None)
    assert done.returncode == 126 and b"AppArmor profile test-reader is not loaded" in done.stderr
    subprocess.run(["apparmor_parser", "-r", "-K"], input=READER, text=True, check=True)


def test_a_mount_in_the_way_gets_no_write(ul: Installation) -> None:
    # The container lays its own files over its procfs; who joins asks the host's.
    name = ul.start("--privileged", "--security-opt", "apparmor=underlay-default", "box", "sleep", "60")
    assert ul.out("exec", name, "cat", "/proc/self/attr/current") == LABEL
    ul("rm", "-f", name)
    subprocess.run(
        ["apparmor_parser", "-r", "-K"],
        input="profile test-all { file, mount, umount, capability, signal, ptrace, }",
        text=True,
        check=True,
    )
    name = ul.start("--privileged", "--security-opt", "apparmor=test-all", "box", "sleep", "60")
    ul("exec", name, "sh", "-c", "mkdir /tmp/evil && mount -t tmpfs evil /proc")
    ul("exec", name, "sh", "-c", "mkdir -p /proc/thread-self/attr/apparmor && : >/proc/thread-self/attr/apparmor/exec")
    script = (
        "mount -t proc proc /tmp/evil; cat /tmp/evil/self/attr/current; wc -c </proc/thread-self/attr/apparmor/exec"
    )
    assert ul.out("exec", name, "sh", "-c", script).split() == ["test-all", "(enforce)", "0"]


def test_without_the_parser_the_kept_policy_is_loaded(ul: Installation, tmp_path: Path) -> None:
    parser = Path("/usr/sbin/apparmor_parser")
    text = "profile underlay-default { }"
    subprocess.run([parser, "-R"], input=text, text=True, check=True)
    hidden = parser.rename(tmp_path / "parser")
    try:
        assert ul.run("box", "cat", "/proc/self/attr/current") == LABEL
        subprocess.run([hidden, "-R"], input=text, text=True, check=True)
        # A container made before, and a damaged or missing policy: without a profile, and once with a warning.
        (ul.root / "apparmor" / "underlay-default").write_bytes(b"damaged")
        done = ul("run", "--rm", "--network", "none", "box", "cat", "/proc/self/attr/current")
        assert done.stdout == b"unconfined\n" and b"without an AppArmor profile" in done.stderr
        (ul.root / "apparmor" / "underlay-default").unlink()
        done = ul("run", "--rm", "--network", "none", "box", "cat", "/proc/self/attr/current")
        assert done.stdout == b"unconfined\n" and done.stderr == b""
        name = ul.start("box", "sleep", "60")
        assert ul.out("exec", name, "cat", "/proc/self/attr/current") == "unconfined"
    finally:
        hidden.rename(parser)
    assert ul.run("box", "cat", "/proc/self/attr/current") == LABEL
