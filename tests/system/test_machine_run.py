"""`run` over both drivers: a container in a machine is given, and gives, what one without a machine does."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
import time

import pytest

from engines import Installation
from machines import Driver
from persons import Person

pytestmark = pytest.mark.root


def test_streams_user_and_places(driver: Driver) -> None:
    script = """
        read line; echo "$line"; cat; echo wrong >&2
        id; pwd; echo "$A $HOME"; hostname; cat /etc/hostname; cat /etc/hosts
        cat /data/seed; echo more >> /t/kept && cat /t/kept; touch /data/x; stat -c '%a %U' /t /dev/shm /proc/1
        stat -f -c %t /t /dev/shm; cat /proc/self/limits | grep -E 'open files|core'; ls /sys/class/net; ls -a /dev
        cat /proc/1/comm; exit 7
    """
    words = ["-i", "-e", "A=é b", "-u", "alice", "-w", "/home/alice", "--hostname", "inside", "--read-only", "--init"]
    words += ["--tmpfs", "/t:mode=1777,size=1m", "--ulimit", "nofile=100:200", "--ulimit", "core=0"]
    words += ["--add-host", "far:192.0.2.9", "--", "sh", "-c", script]
    done = driver.run(*words, input=b"one\ntwo\n", code=7)
    lines = done.stdout.decode().splitlines()
    assert lines[:6] == [
        "one",
        "two",
        "uid=1000(alice) gid=1001(alice) groups=1001(alice),2000(extra)",
        "/home/alice",
        "é b /home/alice",
        "inside",
    ]
    assert "192.0.2.9\tfar" in lines and "from the image" in lines and "more" in lines
    assert done.stderr.decode().splitlines() == ["wrong", "touch: /data/x: Read-only file system"]
    # Whatever else was asked, the answers are the same.
    plain = Driver(driver.ul, "process").run(*words, input=b"one\ntwo\n", code=7)
    ours, others = (re.sub(r"inside [0-9a-f]{12}", "", each.stdout.decode()).splitlines() for each in (done, plain))
    assert ours == others and done.stderr == plain.stderr


def test_rights_filters_and_settings_are_the_same(driver: Driver) -> None:
    script = """
        cat /proc/sys/kernel/osrelease
        cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max
        grep -E '^(Cap|NoNewPrivs|Seccomp|Groups|Uid|Gid)' /proc/self/status; cat /proc/self/oom_score_adj
        cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; ls /proc/self/ns; cat /proc/1/comm
        mknod /tmp/x b 8 0; mount -t tmpfs x /tmp; echo 1 > /proc/sys/vm/swappiness; cat /proc/kcore 2>/dev/null | wc -c
    """
    words = [
        "--cap-drop",
        "NET_RAW",
        "--cap-add",
        "SYS_NICE",
        "--security-opt",
        "no-new-privileges",
        "--pids-limit",
        "77",
    ]
    words += ["--sysctl", "net.ipv4.ip_unprivileged_port_start=5", "--sysctl", "kernel.msgmax=9000", "--group-add", "5"]
    words += ["--oom-score-adj", "200", "--", "sh", "-c", script]
    done, plain = driver.run(*words), Driver(driver.ul, "process").run(*words)
    release, *said = done.stdout.decode().splitlines()
    expected = plain.stdout.decode().splitlines()
    assert (release == os.uname().release) == (driver.name == "process")
    assert said == expected[1:] and done.stderr == plain.stderr
    assert "Seccomp:\t2" in said and "NoNewPrivs:\t1" in said and "77" in said and "9000" in said


def test_two_megabytes_through_a_pipe(driver: Driver) -> None:
    data = os.urandom(2 << 20)
    assert driver.run("-i", "--", "cat", input=data).stdout == data


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("nothing-of-that-name", 127, 'exec: "nothing-of-that-name": executable file not found in $PATH'),
        ("/data", 126, 'exec: "/data": permission denied'),
    ],
)
def test_what_cannot_be_run(driver: Driver, command: str, code: int, said: str) -> None:
    done = driver.run(command, code=code)
    plain = Driver(driver.ul, "process").run(command, code=code)
    assert done.stderr == plain.stderr and done.stdout == b""
    assert said in done.stderr.decode()


def test_a_user_that_the_image_does_not_have(driver: Driver) -> None:
    done = driver.run("-u", "nobody-there", "--", "true", code=125)
    assert done.stderr == Driver(driver.ul, "process").run("-u", "nobody-there", "--", "true", code=125).stderr


def test_a_terminal(driver: Driver) -> None:
    person = Person(driver.ul, "run", "--rm", "-it", "--network", "none", *driver.words, "box", "sh")
    person.wait_for(b"# ")
    person.type(b"tty; stty size; echo $TERM\n")
    assert b"/dev/pts/0\r\n40 123\r\n" in person.wait_for(b"xterm\r\n")
    fcntl.ioctl(person.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 11, 77, 0, 0))
    os.kill(person.pid, signal.SIGWINCH)
    person.type(b"until test \"$(stty size)\" = '11 77'; do sleep 0.05; done; echo resi''zed\n")
    person.wait_for(b"resized")
    person.type(b"sleep 100; echo interr''upted\n")
    person.wait_for(b"sleep 100")
    time.sleep(0.3)
    person.type(b"\x03")
    person.wait_for(b"# ")
    person.type(b"exit 7\n")
    assert person.end() == 7


def test_refusals(machine: Installation) -> None:
    """By the name of the option, before anything is made."""
    for words, said in (
        (["--network", "host"], "--network"),
        (["--pid", "host"], "--pid"),
        (["--ipc", "host"], "--ipc"),
        (["--uts", "host"], "--uts"),
        (["--userns", "auto"], "--userns"),
        (["--device", "/dev/null"], "--device"),
        (["--runtime", "runc"], "--runtime"),
        (["--kernel", "1.2.3"], "no such kernel for amd64: 1.2.3"),
        (["-v", "/tmp:/tmp:shared"], "/tmp: shared is not possible"),
    ):
        done = machine("run", "--rm", "--isolation", "machine", *words, "box", "true", code=125)
        assert said in done.stderr.decode() and "Traceback" not in done.stderr.decode(), words
    done = machine("run", "--rm", "--isolation", "hyperv", "box", "true", code=125)
    assert b"invalid isolation mode: hyperv" in done.stderr
    done = machine("run", "--rm", "--kernel", "6", "box", "true", code=125)
    assert b"--kernel needs --isolation machine" in done.stderr
    assert machine.out("ps", "-aq") == ""


def test_refusals_of_what_is_missing(machine: Installation) -> None:
    kernels = machine.root / "kernels"
    kernels.rename(machine.root / "away")
    try:
        done = machine("run", "--rm", "--isolation", "machine", "box", "true", code=125)
    finally:
        (machine.root / "away").rename(kernels)
    assert b"there is no kernel for amd64 in the store" in done.stderr and b"machine kernel fetch" in done.stderr
    # Its places are a table of the code's.
    code = "import sys; from underlay.cli import main; from underlay.runtime.machine import qemu; qemu._PLACES = (); "
    code += "sys.exit(main.main(sys.argv[1:]))"
    command, machine.command = machine.command, [machine.command[0], "-c", code]
    try:
        done = machine("run", "--rm", "--isolation", "machine", "box", "true", code=125)
    finally:
        machine.command = command
    assert b"there is no qemu-system-x86_64" in done.stderr and b"install the package qemu-system-x86" in done.stderr
