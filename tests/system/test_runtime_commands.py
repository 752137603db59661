"""The runtime's commands as callers use them: a container's life, other programs in it, its limits, its log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agents import Agent
from bundles import Bundle, bundle
from engines import needs_root, until
from underlay.linux import cgroup

__all__ = ["bundle"]
pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]
needs_root()


def test_a_life(bundle: Bundle, tmp_path: Path) -> None:
    mark = bundle.root / "tmp/mark"
    bundle.write("sh", "-c", "echo ran >/tmp/mark; sleep 300")
    bundle("create", "--bundle", str(bundle.place), "--pid-file", str(tmp_path / "pid"), "box")
    told = bundle.told()
    assert told["status"] == "created" and told["pid"] == int((tmp_path / "pid").read_text())
    assert told["bundle"] == str(bundle.place) and told["ociVersion"] == "1.2.0" and told["id"] == "box"
    assert not mark.exists()
    (bundle.place / "config.json").write_text("{}")  # what is read once is read
    bundle("start", "box")
    assert bundle.told()["status"] == "running"
    assert until(mark.exists)
    assert "cannot start a container that is running" in bundle.refused("start", "box")
    assert "not stopped: running" in bundle.refused("delete", "box")
    bundle("kill", "box", "KILL")
    assert until(lambda: bundle.told()["status"] == "stopped")
    assert bundle.told()["pid"] == 0
    assert "cannot start a container that is stopped" in bundle.refused("start", "box")
    assert "container not running" in bundle.refused("kill", "box")
    bundle("kill", "--all", "box", "9")  # nobody is left, and that is fine
    bundle("delete", "box")
    for words in (("state", "box"), ("start", "box"), ("kill", "box"), ("delete", "box"), ("pause", "box")):
        assert 'container "box" does not exist' in bundle.refused(*words)
    bundle("delete", "--force", "box")


def test_one_name_one_container(bundle: Bundle) -> None:
    bundle.start()
    assert "container with given ID already exists: box" in bundle.refused("create", "box")
    for name in ("", ".", "..", "a/b", "a b", "ü"):
        assert "invalid container ID" in bundle.refused("create", name)
    assert bundle.told()["status"] == "running"


@pytest.mark.skipif(cgroup.detect()[0] == "none", reason="no control groups here")
def test_a_group_in_use_stays_untouched(bundle: Bundle) -> None:
    pid = bundle.start()
    assert bundle.told()["status"] == "running"
    bundle.write()
    assert "is not empty: 1 process(es) found" in bundle.refused("create", "second")
    assert bundle.told()["pid"] == pid and not (bundle.state / "second").exists()


def test_lists(bundle: Bundle) -> None:
    assert bundle("list").stdout.split() == [b"ID", b"PID", b"STATUS", b"BUNDLE", b"CREATED", b"OWNER"]
    pid = bundle.start()
    [header, line] = bundle("list").stdout.decode().splitlines()
    assert line.split()[:4] == ["box", str(pid), "running", str(bundle.place)]
    assert header.index("PID") == line.index(str(pid))
    assert bundle("list", "-q").stdout == b"box\n"
    [told] = json.loads(bundle("list", "--format", "json").stdout)
    assert told == bundle.told()


def test_the_exit_code_of_the_foreground(bundle: Bundle) -> None:
    assert bundle.shell("exit 7", code=7) == ""
    bundle.run("sh", "-c", "kill -TERM $$; sleep 5", code=0)  # process 1 has no handler: the kernel keeps it from dying
    bundle.write("true")
    bundle("run", "--keep", "kept")
    assert bundle.told("kept")["status"] == "stopped"


def test_signals_reach_the_foreground(bundle: Bundle) -> None:
    bundle.write("sh", "-c", "trap 'echo got; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
    with subprocess.Popen(
        [*bundle.command, "run", "box"], cwd=bundle.place, env=bundle.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == b"got\n"
        assert process.wait(timeout=20) == 9
    assert "does not exist" in bundle.refused("state", "box")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("nosuch", 'exec: "nosuch": executable file not found in $PATH'),
        ("/no/such", 'exec: "/no/such": stat /no/such: no such file or directory'),
        ("/data", 'exec: "/data": is a directory: permission denied'),
        ("/data/seed", 'exec: "/data/seed": permission denied'),
    ],
)
def test_a_program_that_cannot_be_is_told_by_create(bundle: Bundle, program: str, words: str) -> None:
    bundle.spec["process"]["args"] = [program]
    assert bundle.create_refused() == words


def test_a_program_of_another_kind_is_told_by_start(bundle: Bundle) -> None:
    (bundle.root / "bin/foreign").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44))
    (bundle.root / "bin/foreign").chmod(0o755)
    bundle.write("foreign")
    bundle("create", "box")
    assert 'exec: "foreign": exec format error' in bundle.refused("start", "box")
    assert bundle.told()["status"] == "stopped"


def test_exec(bundle: Bundle, tmp_path: Path) -> None:
    bundle.spec["process"]["env"].append("OWN=1")
    bundle.start()
    inside = bundle("exec", "-e", "A=b", "--cwd", "/data", "box", "sh", "-c", "echo $A $OWN; pwd; id -u; cat seed")
    assert inside.stdout.decode() == "b 1\n/data\n0\nfrom the image\n"
    assert bundle("exec", "box", "sh", "-c", "exit 5", code=5)
    assert bundle(
        "exec", "-u", "5:6", "-g", "7", "box", "sh", "-c", "id -u; grep Groups /proc/self/status"
    ).stdout.split() == [
        b"5",
        b"Groups:",
        b"6",
        b"7",
    ]
    sets = bundle("exec", "-c", "CAP_SYS_TIME", "--no-new-privs", "box", "cat", "/proc/self/status").stdout.decode()
    status = dict(line.split(":", 1) for line in sets.splitlines())
    assert int(status["CapEff"], 16) >> 25 & 1 and status["NoNewPrivs"].strip() == "1"
    namespaces = bundle("exec", "box", "sh", "-c", "for n in pid net mnt; do readlink /proc/self/ns/$n; done").stdout
    pid = bundle.told()["pid"]
    assert namespaces.decode().split() == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("pid", "net", "mnt")]
    assert 'exec: "nosuch": executable file not found in $PATH' in bundle.refused("exec", "box", "nosuch")
    bundle("exec", "-d", "--pid-file", str(tmp_path / "pid"), "box", "sleep", "300")
    other = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{other}/cgroup").read_text() == Path(f"/proc/{pid}/cgroup").read_text()
    assert set(json.loads(bundle("ps", "--format", "json", "box").stdout)) == {pid, other}


def test_exec_by_a_process_file(bundle: Bundle, tmp_path: Path) -> None:
    bundle.start()
    body = {
        "args": ["sh", "-c", "id -u; pwd; cat /proc/self/oom_score_adj; grep Cpus_allowed_list /proc/self/status"],
        "cwd": "/tmp",
        "env": ["PATH=/bin"],
        "user": {"uid": 3, "gid": 4},
        "oomScoreAdj": 99,
        "execCPUAffinity": {"initial": "0", "final": "0"},
    }
    file = tmp_path / "process.json"
    file.write_text(json.dumps(body))
    assert bundle("exec", "--process", str(file), "box").stdout.split() == [
        b"3",
        b"/tmp",
        b"99",
        b"Cpus_allowed_list:",
        b"0",
    ]
    file.write_text(json.dumps({**body, "execCPUAffinity": {"final": "none"}}))
    assert "process.execCPUAffinity.final" in bundle.refused("exec", "--process", str(file), "box")
    file.write_text(json.dumps({**body, "args": "sh"}))
    assert "process.args: an array is needed" in bundle.refused("exec", "--process", str(file), "box")
    assert "not both" in bundle.refused("exec", "--process", str(file), "box", "true")


def test_exec_needs_a_container_that_lives(bundle: Bundle) -> None:
    bundle.write("true")
    bundle("run", "--keep", "box")
    assert "cannot exec in a container that is stopped" in bundle.refused("exec", "box", "true")
    assert "does not exist" in bundle.refused("exec", "nobody", "true")


def test_exec_with_a_terminal(bundle: Bundle) -> None:
    bundle.start()
    command = " ".join([*bundle.command, "exec", "-t", "box", "tty"])
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        cwd=bundle.place,
        env=bundle.environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=30,
    )
    assert b"/dev/pts/0" in done.stdout and done.returncode == 0


needs_groups = pytest.mark.skipif(cgroup.detect()[0] == "none", reason="no control groups here")


@needs_groups
def test_pause(bundle: Bundle) -> None:
    pid = bundle.start("sh", "-c", "while :; do :; done")
    bundle("pause", "box")
    assert bundle.told()["status"] == "paused"
    assert "cannot exec in a paused container" in bundle.refused("exec", "box", "true")
    before = Path(f"/proc/{pid}/stat").read_text().split()[13]
    time.sleep(0.2)
    assert Path(f"/proc/{pid}/stat").read_text().split()[13] == before
    assert "container not running or created: paused" in bundle.refused("pause", "box")
    bundle("resume", "box")
    assert bundle.told()["status"] == "running" and "container not paused" in bundle.refused("resume", "box")
    bundle("pause", "box")
    bundle("delete", "--force", "box")


@needs_groups
def test_update_and_events(bundle: Bundle, tmp_path: Path) -> None:
    bundle.spec["linux"]["resources"]["memory"] = {"limit": 30 << 20, "swap": 30 << 20}
    bundle.start()
    stats = json.loads(bundle("events", "--stats", "box").stdout)
    assert stats["type"] == "stats" and stats["id"] == "box"
    assert stats["data"]["memory"]["usage"]["limit"] == 30 << 20 and stats["data"]["pids"]["current"] == 1
    bundle("update", "--memory", "40m", "--memory-swap", "40m", "--pids-limit", "9", "box")
    stats = json.loads(bundle("events", "--stats", "box").stdout)
    assert stats["data"]["memory"]["usage"]["limit"] == 40 << 20 and stats["data"]["pids"]["limit"] == 9
    text = json.dumps({"pids": {"limit": 8}, "cpu": {"shares": 0, "quota": 50000, "period": 100000}})
    bundle("update", "--resources", "-", "box", input=text.encode())
    assert json.loads(bundle("events", "--stats", "box").stdout)["data"]["pids"]["limit"] == 8
    assert (
        "linux.resources.pids.limit"
        in bundle("update", "--resources", "-", "box", input=b'{"pids": {"limit": "many"}}', code=1).stderr.decode()
    )
    assert "needs a limit" in bundle.refused("update", "box")
    assert "resctrl" in bundle.refused("update", "--l3-cache-schema", "L3:0=1", "box")


@needs_groups
def test_events_tell_of_memory_that_runs_out(bundle: Bundle) -> None:
    bundle.spec["linux"]["resources"]["memory"] = {"limit": 20 << 20, "swap": 20 << 20}
    bundle.start("sh", "-c", "while :; do sleep 0.05; [ -e /tmp/go ] && tail /dev/zero; done")
    with subprocess.Popen(
        [*bundle.command, "events", "--interval", "100ms", "box"],
        cwd=bundle.place,
        env=bundle.environment,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "stats"
        (bundle.root / "tmp/go").touch()
        seen = ""
        while seen != "oom":
            seen = json.loads(process.stdout.readline())["type"]
        bundle("delete", "--force", "box")
        process.stdout.read()
        assert process.wait(timeout=20) == 0


@needs_groups
def test_processes(bundle: Bundle) -> None:
    pid = bundle.start("sh", "-c", "sleep 301 & sleep 302; true")
    assert until(lambda: len(json.loads(bundle("ps", "-f", "json", "box").stdout)) == 3)
    text = bundle("ps", "box").stdout.decode()
    assert text.splitlines()[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert str(pid) in text and "sleep 301" in text and "sleep 302" in text
    assert bundle("ps", "box", "-o", "pid,args").stdout.decode().splitlines()[0].split() == ["PID", "COMMAND"]


def test_all_processes_get_a_signal_where_the_host_shares_its_ids(bundle: Bundle) -> None:
    bundle.spec["linux"]["namespaces"] = [n for n in bundle.spec["linux"]["namespaces"] if n["type"] != "pid"]
    bundle.start("sh", "-c", "sleep 4441 & sleep 4442")
    assert until(lambda: subprocess.run(["pgrep", "-fx", "sleep 4441"], capture_output=True).returncode == 0)
    bundle("kill", "box", "KILL")
    assert until(lambda: bundle.told()["status"] == "stopped")
    bundle("delete", "box")
    for number in (4441, 4442):
        assert subprocess.run(["pgrep", "-fx", f"sleep {number}"], capture_output=True).returncode == 1


def test_an_agent_of_the_filter(bundle: Bundle, tmp_path: Path) -> None:
    agent = Agent(tmp_path / "agent", (0, 0, 0))  # mkdir succeeds, and nothing is done
    try:
        bundle.spec["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": str(tmp_path / "agent"),
            "listenerMetadata": "as told",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
        }
        # With a descriptor that is passed on, the listener's number is another than it would be.
        bundle.write("sh", "-c", "mkdir /tmp/one; sleep 300")
        script = 'exec 3</dev/null; exec "$@" run -d --preserve-fds 1 box >/dev/null 2>&1'
        subprocess.run(
            ["sh", "-c", script, "sh", *bundle.command], cwd=bundle.place, env=bundle.environment, check=True
        )
        pid = bundle.told()["pid"]
        assert bundle("exec", "box", "sh", "-c", "mkdir /tmp/two; ls /tmp").stdout == b""
        first, second = agent.states
        assert first["metadata"] == "as told" and first["pid"] == pid and first["state"]["status"] == "created"
        assert second["pid"] != pid and second["state"]["pid"] == pid and second["state"]["status"] == "running"
        assert until(lambda: len(agent.asked) == 2)
        # Nobody is asked by a hook, which runs before the process that the agent is told of.
        script = "mkdir /tmp/three; echo $? >/tmp/code"
        bundle.spec["hooks"] = {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}
        bundle.spec["linux"]["cgroupsPath"] += "-third"
        bundle.write("true")
        bundle("create", "third")
        bundle("start", "third")
        assert until(lambda: bundle.told("third")["status"] == "stopped")
        assert (bundle.root / "tmp/code").read_text() == "1\n" and not (bundle.root / "tmp/three").exists()
        del bundle.spec["hooks"]
        bundle.spec["linux"]["seccomp"]["listenerPath"] = "/no/such/agent"
        bundle.spec["linux"]["cgroupsPath"] += "-second"
        bundle.write("true")
        bundle("create", "second")
        assert "cannot hand the seccomp listener" in bundle.refused("start", "second")
        assert until(lambda: bundle.told("second")["status"] == "stopped")
    finally:
        agent.close()


def test_the_log(bundle: Bundle, tmp_path: Path) -> None:
    log = tmp_path / "log"
    bundle("--log", str(log), "--log-format", "json", "state", "nobody", code=1)
    entry = json.loads(log.read_text())
    assert entry["level"] == "error" and entry["msg"] == 'container "nobody" does not exist'
    bundle("--log", str(log), "start", "nobody", code=1)
    assert log.read_text().splitlines()[1].startswith("time=") and "level=error" in log.read_text().splitlines()[1]
    assert "cannot write the log" in bundle("--log", "/no/such/place", "state", "x", code=1).stderr.decode()


def test_what_is_refused(bundle: Bundle) -> None:
    assert "asked of systemd" in bundle.refused("--systemd-cgroup", "list")
    assert "unknown command: checkpoint" in bundle.refused("checkpoint", "x")
    assert "unknown flag: --nothing" in bundle.refused("create", "--nothing", "x")
    assert "invalid --log-format" in bundle.refused("--log-format", "xml", "list")
    assert "unknown signal" in bundle.refused("kill", "x", "SIGNOTHING")
    assert "does not exist" in bundle.refused("create", "--bundle", "/no/such", "x")
    assert b"underlay-runtime version" in bundle("--version").stdout
    for name in ("create", "exec", "update", "events", "features"):
        assert b"Usage:" in bundle(name, "--help").stdout


def test_specifications_to_begin_with_run(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.place / "config.json").unlink(missing_ok=True)
    bundle("spec")
    assert "exists" in bundle.refused("spec")
    spec = json.loads((bundle.place / "config.json").read_text())
    spec["process"].update(terminal=False, args=["echo", "hello"])
    (bundle.place / "config.json").write_text(json.dumps(spec))
    assert bundle("run", "box").stdout == b"hello\n"


def test_features_are_what_the_schema_says(bundle: Bundle) -> None:
    told = json.loads(bundle("features").stdout)
    assert told["ociVersionMax"] == "1.2.0" and set(told["linux"]["namespaces"]) >= {"time", "user", "cgroup"}
    assert {"rro", "idmap", "tmpcopyup", "rbind", "rshared"} <= set(told["mountOptions"])
    assert len(told["linux"]["capabilities"]) == 41 and "CAP_CHECKPOINT_RESTORE" in told["linux"]["capabilities"]


def test_a_create_that_is_killed_leaves_what_delete_removes(bundle: Bundle) -> None:
    bundle.spec["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "20"]}]}
    bundle.write("sleep", "300")
    process = subprocess.Popen([*bundle.command, "create", "box"], cwd=bundle.place, env=bundle.environment)
    assert until(lambda: (bundle.state / "box/state.json").exists() and bundle.told()["pid"])
    pid = bundle.told()["pid"]
    process.kill()
    process.wait()
    assert until(lambda: not Path(f"/proc/{pid}").exists())
    subprocess.run(["pkill", "-fx", "sleep 20"])
    bundle("delete", "--force", "box")


def test_it_can_be_called_from_the_main_program(bundle: Bundle) -> None:
    bundle.write("echo", "hello")
    command = [bundle.command[0], "-m", "underlay", "runtime", "--root", str(bundle.state), "run", "box"]
    done = subprocess.run(command, cwd=bundle.place, env=bundle.environment, capture_output=True, timeout=30)
    assert done.stdout == b"hello\n", done.stderr
