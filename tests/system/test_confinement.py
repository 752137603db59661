"""What a program is confined by beyond namespaces and rights: Landlock rules, filters that ask an agent, their flags."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agents import Agent
from engines import Installation, until
from underlay.linux import libc
from underlay.linux.security import landlock

pytestmark = pytest.mark.root


# Landlock.


def needs_landlock(version: int) -> None:
    if landlock.version() < version:
        pytest.skip(f"the kernel's Landlock is version {landlock.version()}, {version} is needed")


def rules(text: str) -> tuple[str, str]:
    return "--security-opt", f"landlock={text}"


@pytest.mark.parametrize("user", [(), ("-u", "alice"), ("--security-opt", "no-new-privileges"), ("--cap-drop", "ALL")])
def test_landlock_paths(ul: Installation, user: tuple[str, ...]) -> None:
    needs_landlock(1)
    script = (
        "cat /etc/passwd | wc -l; echo x >/tmp/x && cat /tmp/x; mkdir /tmp/d && rmdir /tmp/d && mv /tmp/x /tmp/y "
        "&& echo all; "
        "ls /data; cat /data/seed; echo y >/etc/y; /tmp/program"
    )
    done = ul(
        "run",
        "--rm",
        "--network",
        "none",
        *user,
        *rules("rx:/bin,ro:/etc,rw:/tmp"),
        "box",
        "sh",
        "-c",
        script,
        code=None,
    )
    assert done.stdout.decode().split() == ["2", "x", "all"]
    assert done.stderr.count(b"ermission denied") >= 3, done.stderr


def test_landlock_holds_for_exec_and_children(ul: Installation) -> None:
    needs_landlock(1)
    name = ul.start(*rules("rwx:/"), *rules("ro:/data"), "box", "sleep", "60")
    assert ul.out("exec", name, "cat", "/data/seed") == "from the image"
    name = ul.start(*rules("rx:/bin,ro:/proc"), "box", "sleep", "60")
    for words in ((), ("-u", "alice"), ("--privileged",), ("-w", "/data")):
        done = ul("exec", *words, name, "sh", "-c", "sh -c 'cat /data/seed'", code=1)
        assert b"ermission denied" in done.stderr, words
    assert ul.out("exec", name, "grep", "-c", "Name", "/proc/self/status") == "1"


def test_landlock_governs_the_program_itself(ul: Installation) -> None:
    needs_landlock(1)
    done = ul("run", "--rm", "--network", "none", *rules("ro:/bin"), "box", "true", code=126)
    assert b"permission denied" in done.stderr
    assert ul.run(*rules("rx:/bin/busybox"), "box", "echo", "one file") == "one file"


def test_landlock_paths_are_the_containers(ul: Installation, tmp_path: Path) -> None:
    needs_landlock(1)
    (tmp_path / "f").write_text("host\n")
    bind = ("-v", f"{tmp_path}:/mnt")
    # A link of the container leads nowhere but into the container.
    assert ul.run(*bind, *rules("rx:/bin,ro:/mnt"), "box", "cat", "/mnt/f") == "host"
    done = ul(
        "run", "--rm", "--network", "none", *bind, *rules(f"rx:/bin,ro:{tmp_path}"), "box", "cat", "/mnt/f", code=125
    )
    assert f"landlock rule ro:{tmp_path}: no such file".encode() in done.stderr


def test_landlock_ports(ul: Installation) -> None:
    needs_landlock(4)
    script = "for p in 80 81; do nc -w 1 127.0.0.1 $p 2>&1; done; cat /data/seed; nc -l -p 8081 2>&1"
    text = ul("run", "--rm", "--network", "none", *rules("connect:80,bind:8080"), "box", "sh", "-c", script, code=None)
    lines = text.stdout.decode().splitlines()
    assert "refused" in lines[0] and "ermission denied" in lines[1] and lines[2] == "from the image"
    assert "ermission denied" in lines[-1]
    text = ul(
        "run", "--rm", "--network", "none", *rules("connect:none"), "box", "nc", "-w", "1", "127.0.0.1", "80", code=1
    )
    assert b"ermission denied" in text.stderr


@pytest.mark.parametrize(
    "text", ["", "ro", "ro:", "ro:relative", "xx:/a", "bind:70000", "connect:http", "ro:/a,,rw:/b"]
)
def test_landlock_rules_that_make_no_sense(ul: Installation, text: str) -> None:
    done = ul("run", "--rm", "--network", "none", *rules(text), "box", "true", code=125)
    assert b"invalid landlock rule" in done.stderr


# Filters that ask.


def profile(place: Path, names: list[str], **more: object) -> tuple[str, str]:
    """--security-opt with a filter that allows all but asks about `names`."""
    body = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}], **more}
    file = place / "profile.json"
    file.write_text(json.dumps(body))
    return "--security-opt", f"seccomp={file}"


@pytest.mark.parametrize("user", [(), ("-u", "alice"), ("--security-opt", "no-new-privileges"), ("--init",)])
def test_an_agent_answers(ul: Installation, tmp_path: Path, user: tuple[str, ...]) -> None:
    agent = Agent(tmp_path / "agent", (0, 0, 0))  # all succeed, and nothing is done
    path = str(tmp_path / "agent")
    option = profile(tmp_path, ["mkdir", "mkdirat"], listenerPath=path, listenerMetadata="told as it is")
    name = ul.start("--annotation", "a=b", *user, *option, "box", "sh", "-c", "mkdir /tmp/x && ls /tmp; sleep 60")
    assert ul.out("exec", *user[:2] if user[:1] == ("-u",) else (), name, "sh", "-c", "mkdir /tmp/y && ls /tmp") == ""
    first, second = agent.states
    pid = ul.pid(name)
    assert first["fds"] == ["seccompFd"] and first["metadata"] == "told as it is"
    assert first["pid"] == pid and first["state"]["pid"] == pid and first["state"]["id"] == name
    assert (first["state"]["status"], second["state"]["status"]) == ("creating", "running")
    assert second["pid"] != pid and second["state"]["pid"] == pid and first["state"]["annotations"] == {"a": "b"}
    assert until(lambda: len(agent.asked) == 2), (agent.asked, agent.trouble)
    # The listener is not the program's.
    assert ul.out("exec", name, "ls", "/proc/1/fd").split() == ([] if user == ("--init",) else ["0", "1", "2"])
    agent.close()


def test_an_agent_is_asked_about_the_last_steps_too(ul: Installation, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent", (0, 0, 1))  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
    names = ["setresuid", "setgroups", "capset", "chdir", "execve", "prctl"]
    option = profile(tmp_path, names, listenerPath=str(tmp_path / "agent"))
    name = ul.start("-u", "alice", *option, "box", "sleep", "60")
    assert ul.out("exec", name, "id", "-u") == "1000"
    assert libc.number("execve") in agent.asked and libc.number("setresuid") in agent.asked
    agent.close()


def test_no_agent_no_start(ul: Installation, tmp_path: Path) -> None:
    option = profile(tmp_path, ["mkdir"], listenerPath=str(tmp_path / "nobody"))
    done = ul("run", "--rm", "--network", "none", *option, "box", "true", code=125)
    assert b"cannot hand the seccomp listener to" in done.stderr
    assert ul.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({}, "linux.seccomp.listenerPath"),
        ({"listenerPath": "/a", "syscalls": [{"names": ["sendmsg"], "action": "SCMP_ACT_NOTIFY"}]}, "syscalls[0]"),
        ({"listenerPath": "/a", "defaultAction": "SCMP_ACT_NOTIFY"}, "linux.seccomp.defaultAction"),
        ({"listenerMetadata": "x", "syscalls": []}, "linux.seccomp.listenerMetadata"),
        ({"listenerPath": "/a", "flags": ["SECCOMP_FILTER_FLAG_LOG", "X"]}, "linux.seccomp.flags[1]"),
    ],
)
def test_filters_that_cannot_work(ul: Installation, tmp_path: Path, more: dict[str, object], where: str) -> None:
    done = ul("create", *profile(tmp_path, ["mkdir"], **more), "box", code=1)
    assert where.encode() in done.stderr


def test_flags_and_the_default_error(ul: Installation, tmp_path: Path) -> None:
    body = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
    }
    (tmp_path / "p").write_text(json.dumps(body))
    option = ("--security-opt", f"seccomp={tmp_path / 'p'}")
    assert "flags 0x6" in ul.out("run", "--plan", "--network", "none", *option, "box", "true")
    # SPEC_ALLOW leaves the processor's speculation alone, which a filter else turns off for its process.
    with_flag = ul.run(*option, "box", "cat", "/proc/self/status")
    assert re.search(r"Seccomp:\s2", with_flag)


def test_filters_that_forbid_forks_still_let_exec_in(ul: Installation, tmp_path: Path) -> None:
    names = ["clone", "clone3", "fork", "vfork", "setsid"]
    body = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}]}
    (tmp_path / "p").write_text(json.dumps(body))
    name = ul.start("--security-opt", f"seccomp={tmp_path / 'p'}", "box", "sleep", "60")
    assert ul.out("exec", "-t", name, "echo", "in").strip() == "in"
    assert b"can't fork" in ul("exec", name, "sh", "-c", "true | true", code=None).stderr


def test_the_number_of_processes_counts_the_program_alone(ul: Installation) -> None:
    name = ul.start("-u", "7341", "--ulimit", "nproc=2", "box", "sleep", "60")
    assert ul.out("exec", name, "grep", "Max processes", "/proc/self/limits").split()[2:4] == ["2", "2"]
    assert b"can't fork" in ul("exec", name, "sh", "-c", "true | true", code=None).stderr
