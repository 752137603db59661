"""docker-compose, unchanged, on our server as on a docker daemon: what is done to services that run, and what is told."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from composing import Project, box, host, project, shell
from engines import until
from fakeregistry import FakeRegistry
from networks import nothing_left, world
from underlay.linux.network import netns

__all__ = ["host", "nothing_left", "project", "world"]  # fixtures
pytestmark = pytest.mark.root


def test_logs(project: Project) -> None:
    project.file(
        {"a": shell("for n in 1 2 3; do echo line $n; done; echo bad >&2; exec sleep 1000"), "b": shell("echo other")}
    )

    def logs(*words: str) -> list[str]:
        # Each line begins with the erasing of one, whether there is a terminal or not.
        return sorted(project.out("logs", "--no-log-prefix", *words).replace("\x1b[2K", "").splitlines())

    project("up", "-d")
    assert until(lambda: len(logs("a")) == 4, 5)
    assert logs("a") == ["bad", "line 1", "line 2", "line 3"]
    assert logs("--tail", "1", "b") == ["other"]
    assert len(project.out("logs", "--tail", "2").splitlines()) == 3
    assert "a-1  | line 2" in project.out("logs", "--no-color", "a")
    [stamped] = logs("-t", "b")
    assert stamped.endswith(" other") and stamped.startswith("20")
    assert project.out("logs", "--since", "1h", "--until", "30m", "a") == ""
    following = project.begin("logs", "-f", "--no-log-prefix", "a")
    assert following.stdout is not None
    assert {following.stdout.readline()[-7:-1] for _ in range(4)} == {"\x1b[2Kbad"[-6:], "line 1", "line 2", "line 3"}
    project.shell("a", "echo later > /proc/1/fd/1")
    assert following.stdout.readline().endswith("later\n")
    project("kill", "a")
    assert following.wait(10) == 0
    following.stdout.close()


def test_attached(project: Project) -> None:
    """`up` ends with a container and its code, or by a signal, after which all have stopped."""
    project.file(
        {
            "a": shell("echo ready; exec sleep 1000"),
            "b": shell("sleep 0.5; echo ending; exit 5", depends_on=["a"]),
        }
    )
    done = project("up", "--abort-on-container-exit", "--exit-code-from", "b", code=5)
    assert "a-1  | ready" in done.stdout and "b-1  | ending" in done.stdout and "b-1 exited with code 5" in done.stdout
    assert {each["State"] for each in project.listed("-a").values()} == {"exited"}
    project("rm", "-f")
    project.file({"a": shell("echo ready; exec sleep 1000")})
    running = project.begin("up", "--no-color")
    assert running.stdout is not None
    while "ready" not in (line := running.stdout.readline()):
        assert line
    running.send_signal(signal.SIGINT)
    rest = running.communicate(timeout=20)[0]
    assert "Gracefully stopping..." in rest and "Container p-a-1  Stopped" in rest
    assert project.see("a")["State"]["Status"] == "exited"


def test_exec_run_and_top(project: Project) -> None:
    project.file(
        {
            "a": box(ports=["18070:80"], environment={"A": "1"}, depends_on=["b"], volumes=["data:/data"]),
            "b": box(),
        },
        volumes={"data": {}},
    )
    project("up", "-d", "b")
    assert project.out("run", "--rm", "-T", "a", "sh", "-c", "echo $A; busybox nslookup b > /dev/null") == "1"
    project("run", "--rm", "-T", "a", "sh", "-c", "exit 9", code=9)
    assert project("run", "--rm", "-T", "a", "cat", input="given\n").stdout == "given\n"
    words = (
        "-e",
        "A=2",
        "-w",
        "/var",
        "-u",
        "1000",
        "-l",
        "x=y",
        "-v",
        f"{project.place}:/here:ro",
        "--entrypoint",
        "sh -c",
    )
    assert (
        project.out("run", "--rm", "-T", *words, "a", "echo $A; pwd; busybox id -u; ls -d /here")
        == "2\n/var\n1000\n/here"
    )
    assert set(project.all_ids()) == {"p-b-1"}
    name = project.out(
        "run", "-d", "--service-ports", "--name", "once", "a", "busybox", "nc", "-ll", "-p", "80", "-e", "echo", "hi"
    )
    assert name == project.host.inspect("once")[0]["Id"] and project.ask(18070).strip() == "hi"
    assert project.host.inspect("once")[0]["Config"]["Labels"]["com.docker.compose.oneoff"] == "True"
    project.host.docker("rm", "-f", "once")
    project("run", "-d", "--name", "without", "-p", "18071:80", "a", "sleep", "100")
    assert list(project.host.inspect("without")[0]["HostConfig"]["PortBindings"].values()) == [
        [{"HostIp": "", "HostPort": "18071"}]
    ]
    project.host.docker("rm", "-f", "without")
    project("up", "-d")
    done = project("exec", "-T", "a", "sh", "-c", "echo o; echo e >&2; exit 3", code=3)
    assert (done.stdout, done.stderr) == ("o\n", "e\n")
    assert project("exec", "-T", "a", "cat", input="in" * 50_000).stdout == "in" * 50_000
    assert (
        project.out(
            "exec", "-T", "-e", "B=3", "-u", "1000", "-w", "/var", "a", "sh", "-c", "echo $B; busybox id -u; pwd"
        )
        == "3\n1000\n/var"
    )
    project("exec", "-T", "-d", "a", "sh", "-c", "echo > /tmp/done")
    assert until(lambda: project.shell("a", "ls /tmp") == "done", 5)
    # 127 as docker itself with newer runtimes.
    project("exec", "-T", "a", "nothere", code=126 if project.host.name == "dockerd" else 127)
    assert project.fails("exec", "-T", "c", "true") == 'service "c" is not running'
    titles, processes, *_ = [line.split() for line in project.out("top", "a").splitlines()[1:]]
    assert titles[:4] == ["UID", "PID", "PPID", "C"] and titles[-1] == "CMD" and processes[-2:] == ["sleep", "1000"]


def test_copies(project: Project) -> None:
    project.file({"a": box(scale=2)})
    project("up", "-d")
    project.write("tree/sub/file", "one")
    (project.place / "tree" / "link").symlink_to("sub/file")
    project("cp", "tree", "a:/tmp/")
    assert project.shell("a", "cat /tmp/tree/link; readlink /tmp/tree/link") == "onesub/file"
    assert project.out("exec", "-T", "--index", "2", "a", "cat", "/tmp/tree/sub/file") == "one"
    project("cp", "--index", "2", "tree/sub/file", "a:/tmp/second")
    project("exec", "-T", "--index", "2", "a", "cat", "/tmp/second")
    project("cp", "a:/tmp/tree/sub", "back")
    assert (project.place / "back" / "file").read_text() == "one"
    project("cp", "-L", "a:/tmp/tree/link", "followed")
    assert (project.place / "followed").read_text() == "one"
    project("stop")
    project("cp", "compose.yaml", "a:/etc/c")
    project("cp", "a:/etc/c", "again")
    assert (project.place / "again").read_text() == (project.place / "compose.yaml").read_text()
    assert "nothere" in project("cp", "a:/nothere", "x", code=1).stderr


def test_lives(project: Project) -> None:
    """Policies of restart, and what stops, starts, pauses and kills."""
    project.file(
        {
            "a": shell(
                "trap 'echo got > /tmp/got' USR1; trap 'exit 7' TERM; while :; do sleep 0.05; done",
                stop_grace_period="5s",
            ),
            "again": shell("sleep 0.1; exit 1", restart="on-failure:2"),
            "always": box(restart="always"),
        }
    )
    project("up", "-d")
    project("kill", "-s", "USR1", "a")
    assert until(lambda: "got" in project.shell("a", "ls /tmp"), 5)
    project("pause", "a")
    assert project.listed()["p-a-1"]["State"] == project.see("a")["State"]["Status"] == "paused"
    project("unpause", "a")
    started = project.see("a")["State"]["StartedAt"]
    project("restart", "a")
    assert project.see("a")["State"]["StartedAt"] > started
    project("stop", "a")
    state = project.see("a")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    assert project.listed("-a")["p-a-1"]["Status"].startswith("Exited (7)")
    project("start", "a")
    assert project.see("a")["State"]["Running"]
    assert until(lambda: project.see("again")["State"]["Status"] == "exited", 8)
    assert project.see("again")["RestartCount"] == 2 and project.see("again")["State"]["ExitCode"] == 1
    project("kill")
    assert project.see("a")["State"]["ExitCode"] == 137
    policies = [project.see(name)["HostConfig"]["RestartPolicy"] for name in ("a", "again", "always")]
    assert [(each["Name"], each["MaximumRetryCount"]) for each in policies] == [
        ("no", 0),
        ("on-failure", 2),
        ("always", 0),
    ]
    project("start", "always")
    pid = project.see("always")["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: project.see("always")["State"]["Running"] and project.see("always")["State"]["Pid"] != pid, 8)
    project("rm", "-fs", "always")
    assert "p-always-1" not in project.all_ids()


def test_what_is_told(project: Project) -> None:
    """`create`, `ps`, `ls`, `images`, `events`, `config`."""
    project.file({"a": box(labels={"x": "y"}, ports=["18060:80"]), "b": box(depends_on=["a"])})
    project("create")
    assert {each["State"] for each in project.listed("-a").values()} == {"created"}
    events = project.begin("events", "--json", "a")
    assert events.stdout is not None
    project("start")
    listed = project.listed()
    one = listed["p-a-1"]
    assert (one["Service"], one["Project"], one["State"], one["ExitCode"], one["Image"]) == (
        "a",
        "p",
        "running",
        0,
        "box",
    )
    assert one["Command"] == '"sleep 1000"' and one["Status"].startswith("Up ") and "x=y" in one["Labels"]
    assert one["Ports"] == "0.0.0.0:18060->80/tcp, :::18060->80/tcp"
    assert project.out("ps", "-q").split() == [project.see(name)["Id"] for name in ("a", "b")]
    assert project.out("ps", "--services").split() == ["a", "b"]
    assert project.out("ps", "--status", "exited", "-q") == ""
    [found] = json.loads(project.out("ls", "--format", "json"))
    assert (found["Name"], found["Status"]) == ("p", "running(2)")
    assert Path(found["ConfigFiles"]).name == "compose.yaml"
    images = json.loads(project.out("images", "--format", "json"))
    assert [(each["ContainerName"], each["Repository"], each["Tag"]) for each in images] == [
        ("p-a-1", "box", "latest"),
        ("p-b-1", "box", "latest"),
    ]
    digests = dict(line.split() for line in project.out("config", "--hash", "*").splitlines())
    assert digests["a"] == project.see("a")["Config"]["Labels"]["com.docker.compose.config-hash"]
    assert project.out("config", "--images").split() == ["box", "box"] and project.out("config", "-q") == ""
    project("stop", "a")
    seen: list[str] = []
    while not {"die", "stop"} <= set(seen):
        told = json.loads(events.stdout.readline())
        assert told["service"] == "a" and told["type"] == "container" and told["attributes"]["name"] == "p-a-1"
        seen.append(told["action"])
    events.terminate()
    events.communicate(timeout=10)
    assert sorted(seen) == ["die", "kill", "kill", "start", "stop"]
    assert project.out("ls", "-q") == "p" and "exited(1)" in project.out("ls", "-a")
    project("rm", "-fsv")
    assert project.all_ids() == {}
    assert project.fails("start") == 'no container found for project "p": not found'


def test_pull_and_push(project: Project) -> None:
    namespace = project.host.world.neighbour if project.host.side else project.host.world.host
    with netns.inside(namespace, FakeRegistry) as registry:
        name = f"{registry.host}/made"
        project.write("Dockerfile", "FROM box\nRUN echo pushed > /pushed\n")
        project.file(
            {"a": {**box(), "image": name, "build": "."}, "none": box(profiles=["x"]) | {"image": f"{name}-not"}}
        )
        project("build")
        project("push")
        project.host.docker("rmi", name)
        project("pull")
        project("up", "-d", "--no-build")
        assert project.shell("a", "cat /pushed") == "pushed"
        assert "name unknown" in project("--profile", "x", "pull", "none", code=18).stderr
        project("--profile", "x", "pull", "--ignore-pull-failures")
        project("down")
        project.host.docker("rmi", name)


def test_watch(project: Project) -> None:
    """Files are copied into the container, or the image is built again, as they change."""
    project.write("app/Dockerfile", 'FROM box\nCOPY . /app\nCMD ["sleep", "1000"]\n')
    project.write("app/src/page", "one")
    project.write("app/deps", "one")
    project.write("conf/c", "one")
    develop = {
        "watch": [
            {"action": "sync", "path": "app/src", "target": "/app/src"},
            {"action": "rebuild", "path": "app/deps"},
            {"action": "sync+restart", "path": "conf", "target": "/etc/conf"},
        ]
    }
    project.file({"a": {"build": "app", "stop_grace_period": "0s", "develop": develop}})
    project("up", "-d", "--build")
    before = project.see("a")
    watching = project.begin("watch", "--no-up")
    assert watching.stdout is not None
    try:
        while "Watch enabled" not in (line := watching.stdout.readline()):
            assert line
        project.write("app/src/page", "two")
        assert until(lambda: project.shell("a", "cat /app/src/page") == "two", 15)
        assert project.see("a")["State"]["StartedAt"] == before["State"]["StartedAt"]
        project.write("conf/c", "two")
        assert until(lambda: project.see("a")["State"]["StartedAt"] != before["State"]["StartedAt"], 15)
        assert project.see("a")["Id"] == before["Id"] and project.shell("a", "cat /etc/conf/c") == "two"
        project.write("app/deps", "two")
        # While it is recreated there may be none of its name for a moment.
        assert until(lambda: project.all_ids().get("p-a-1", before["Id"]) != before["Id"], 15)
        assert until(lambda: project.see("a")["State"]["Running"], 5)
        assert project.shell("a", "cat /app/deps") == "two"
    finally:
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=20)
    project("down")
    project.host.docker("rmi", "p-a")
