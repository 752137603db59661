"""Running containers: isolation, users, environment, mounts, limits, exit codes, as docker's users expect them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engines import Installation, until

pytestmark = pytest.mark.root


def test_process_sees_only_itself(ul: Installation) -> None:
    lines = ul.run("box", "ps").splitlines()
    assert len(lines) == 2 and " ps" in lines[1] and lines[1].split()[0] == "1"


def test_own_namespaces(ul: Installation) -> None:
    kinds = ("mnt", "pid", "uts", "ipc", "net", "cgroup")
    inside = ul.run("box", "sh", "-c", "for n in mnt pid uts ipc net cgroup; do readlink /proc/self/ns/$n; done")
    for kind, link in zip(kinds, inside.split(), strict=True):
        assert link != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_network_none_has_loopback_up_and_nothing_else(ul: Installation) -> None:
    assert ul.run("box", "ls", "/sys/class/net").split() == ["lo"]
    assert "127.0.0.1" in ul.run("box", "ip", "addr")


def test_what_docker_takes_and_what_it_means(ul: Installation) -> None:
    """Options that ask for nothing, and names that are none."""
    shm = ul.run("--shm-size", "0", "box", "df", "/dev/shm").splitlines()[-1].split()
    assert shm[1] == "65536"
    assert ul.run("-p", "80:80", "box", "echo", "not published") == "not published"
    assert ul.run("--ipc", "host", "box", "readlink", "/proc/self/ns/ipc") == os.readlink("/proc/self/ns/ipc")
    assert "mqueue" in ul.run("--ipc", "host", "box", "grep", "/dev/mqueue", "/proc/mounts")
    done = ul("run", "--rm", "--security-opt", "seccomp=/nofile.json", "box", "true", code=125)
    assert b"failed: no such file or directory\n" in done.stderr
    done = ul("run", "--rm", "--oom-score-adj", "5000", "box", "true", code=125)
    assert b"range for oom score adj is [-1000, 1000]" in done.stderr
    ul.start("--name", "same", "box", "sleep", "60")
    done = ul("rename", "same", "same", code=1)
    assert b"Renaming a container with the same name as its current name" in done.stderr
    done = ul("container")
    assert b"Commands:" in done.stderr and done.stdout == b""


def test_network_host_is_the_hosts(ul: Installation) -> None:
    inside = ul.out("run", "--rm", "--network", "host", "box", "readlink", "/proc/self/ns/net")
    assert inside == os.readlink("/proc/self/ns/net")


def test_network_host_has_the_hosts_name(ul: Installation) -> None:
    assert ul.out("run", "--rm", "--network", "host", "box", "hostname") == os.uname().nodename
    assert ul.out("run", "--rm", "--network", "host", "--hostname", "own", "box", "hostname") == "own"


def test_the_default_network_is_a_setting(ul: Installation) -> None:
    done = ul("run", "--rm", "box", "ls", "/sys/class/net")
    assert (done.stdout, done.stderr) == (b"lo\n", b"")


def test_a_network_that_is_not_there_is_refused_clearly(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "nowhere", "box", "true", code=125)
    assert b"network nowhere not found" in done.stderr


def test_capabilities_seccomp_and_groups(ul: Installation) -> None:
    status = ul.run("box", "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["CapEff"] == fields["CapPrm"] == fields["CapBnd"] == "00000000a80425fb"
    assert int(fields["CapInh"], 16) == int(fields["CapAmb"], 16) == 0
    assert fields["Seccomp"] == "2"
    assert fields["SigIgn"] == fields["SigBlk"] == "0000000000000000"


def test_cap_add_and_drop(ul: Installation) -> None:
    def bounding(*flags: str) -> int:
        text = ul.run(*flags, "box", "grep", "CapBnd", "/proc/self/status")
        return int(text.split()[1], 16)

    assert bounding("--cap-drop", "ALL") == 0
    assert bounding("--cap-drop", "ALL", "--cap-add", "chown") == 1
    assert bounding("--cap-add", "SYS_PTRACE") == 0xA80425FB | 1 << 19
    assert bounding("--cap-drop", "CAP_MKNOD") == 0xA80425FB & ~(1 << 27)
    assert b"invalid capability" in ul("run", "--cap-add", "FLY", "box", code=125).stderr


def test_masked_and_readonly_paths(ul: Installation) -> None:
    script = "cat /proc/keys /proc/timer_list /proc/interrupts; ls /sys/firmware; echo b > /proc/sys/kernel/hostname"
    done = ul("run", "--rm", "--network", "none", "box", "sh", "-c", script, code=None)
    assert done.stdout == b"" and b"Read-only file system" in done.stderr
    assert ul.run("box", "sh", "-c", "echo 1 > /proc/sys/kernel/domainname || echo refused").endswith("refused")


def test_devices(ul: Installation) -> None:
    names = ul.run("box", "ls", "/dev").split()
    assert names == sorted("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero".split())
    # A node may be made (CAP_MKNOD) but not opened: the cgroup's list of devices says which.
    text = ul.run("box", "sh", "-c", "mknod /k c 1 11 && head -c 1 /k", code=1)
    assert text == ""


def test_hostname_hosts_and_resolver(ul: Installation) -> None:
    assert ul.run("--hostname", "abc", "box", "hostname") == "abc"
    hosts = ul.run("--add-host", "db:10.1.2.3", "--add-host", "six:[fe80::1]", "box", "cat", "/etc/hosts")
    assert "10.1.2.3\tdb" in hosts and "fe80::1\tsix" in hosts and "127.0.0.1\tlocalhost" in hosts
    text = ul.run("--dns", "9.9.9.9", "--dns-search", "example.org", "box", "cat", "/etc/resolv.conf")
    assert text == "nameserver 9.9.9.9\nsearch example.org"
    assert b"is not an ip address" in ul("run", "--dns", "nine", "box", code=125).stderr


def test_users_by_name_and_number(ul: Installation) -> None:
    assert ul.run("-u", "alice", "box", "id") == "uid=1000(alice) gid=1001(alice) groups=1001(alice),2000(extra)"
    assert ul.run("-u", "1000", "box", "id", "-G") == "1001 2000"
    assert ul.run("-u", "1000:3000", "box", "id", "-G") == "3000"
    assert ul.run("-u", "4242", "box", "id", "-G") == "0"
    assert ul.run("-u", "alice:other", "--group-add", "extra", "box", "id", "-G") == "3000 2000"
    assert ul.run("-u", "alice", "box", "sh", "-c", "echo $HOME") == "/home/alice"
    done = ul("run", "--rm", "--network", "none", "-u", "bob", "box", "id", code=125)
    assert b"unable to find user bob" in done.stderr


def test_user_has_no_capabilities(ul: Installation) -> None:
    assert int(ul.run("-u", "alice", "box", "grep", "CapEff", "/proc/self/status").split()[1], 16) == 0


def test_environment(ul: Installation, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nFROM_FILE=yes\nFOO=file\n")
    text = ul.run("-e", "FOO=bar", "--env-file", str(file), "-e", "EMPTY=", "box", "env")
    values = dict(line.split("=", 1) for line in text.splitlines())
    assert values["FOO"] == "bar" and values["FROM_FILE"] == "yes" and values["EMPTY"] == ""
    assert values["PATH"] == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert values["HOSTNAME"] and values["HOME"] == "/root" and "TERM" not in values


def test_working_directory_is_made(ul: Installation) -> None:
    assert ul.run("-w", "/a/b/c", "box", "pwd") == "/a/b/c"
    assert b"needs to be an absolute path" in ul("run", "-w", "x", "box", code=125).stderr


def test_entrypoint(ul: Installation) -> None:
    assert ul.run("--entrypoint", "echo", "box", "a", "b") == "a b"
    assert b"no command specified" in ul("run", "--entrypoint", "", "box", code=125).stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["sh", "-c", "exit 42"], 42, ""),
        (["nosuch"], 127, "executable file not found in $PATH"),
        (["/no/such"], 127, "no such file or directory"),
        (["/etc/passwd"], 126, "permission denied"),
        (["/etc"], 126, "permission denied"),
        (["foreign"], 126, "exec format error"),
        (["broken"], 127, "interpreter"),
        (["sh", "-c", "kill -TERM $$ ; sleep 1"], 0, ""),
    ],
)
def test_exit_codes(ul: Installation, words: list[str], code: int, text: str) -> None:
    done = ul("run", "--rm", "--network", "none", "box", *words, code=code)
    assert text in done.stderr.decode()


def test_death_by_signal_is_128_plus_n(ul: Installation) -> None:
    name = ul.start("--name", "dying", "box", "sleep", "60")
    ul("kill", "-s", "TERM", "dying")  # process 1 has no handler: the kernel drops it
    ul("kill", "dying")
    assert ul.out("wait", name) == "137"
    ul("rm", "dying")


def test_foreign_program_is_explained(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "none", "box", "foreign", code=126)
    assert b"the program is for arm64" in done.stderr


def test_stdin_is_passed_and_closed(ul: Installation) -> None:
    data = os.urandom(3 << 20)
    assert ul("run", "--rm", "-i", "--network", "none", "box", "cat", input=data).stdout == data
    # Without -i there is nothing to read.
    assert ul.run("box", "cat", input=b"unread") == ""


def test_output_streams_are_kept_apart(ul: Installation) -> None:
    done = ul("run", "--rm", "--network", "none", "box", "sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")


def test_reader_that_goes_away_ends_nothing_else(ul: Installation) -> None:
    command = " ".join(ul.command)
    run = f"{command} run --name piped --network none box sh -c 'while echo y; do :; done'"
    script = f"({run}; echo $? >&2) | head -c 100000 | wc -c"
    done = subprocess.run(["sh", "-c", script], env=ul.environment, capture_output=True, timeout=30)
    # As with docker the client ends by the broken pipe, the container goes on.
    assert (done.stdout.strip(), done.stderr.strip()) == (b"100000", b"141")
    assert ul.out("ps", "--format", "{{.Names}}") == "piped"
    ul("rm", "-f", "piped")


def test_bind_mounts(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("host\n")
    bind = f"{tmp_path}:/m"
    assert ul.run("-v", bind, "box", "sh", "-c", "cat /m/f; echo new > /m/g") == "host"
    assert (tmp_path / "g").read_text() == "new\n"
    text = ul.run("-v", bind + ":ro", "box", "sh", "-c", "echo x > /m/h || echo refused")
    assert text.endswith("refused") and not (tmp_path / "h").exists()
    ul.run("-v", f"{tmp_path}/made/by/v:/m", "box", "true")
    assert (tmp_path / "made/by/v").is_dir()
    missing = f"type=bind,source={tmp_path}/nope,target=/m"
    assert b"bind source path does not exist" in ul("run", "--mount", missing, "box", code=125).stderr


def test_mount_point_through_a_link_stays_inside(ul: Installation, canary: Path) -> None:
    archive = canary.parent / "link.tar"
    work = canary.parent / "link"
    work.mkdir()
    (work / "out").symlink_to(canary)
    subprocess.run(["tar", "-cf", archive, "-C", work, "out"], check=True)
    ul("import", "--change", 'CMD ["x"]', str(archive), "linked")
    source = canary.parent / "source"
    source.mkdir()
    done = ul("run", "--rm", "--network", "none", "-v", f"{source}:/out/deep", "linked", "x", code=None)
    assert done.returncode != 0
    ul("rmi", "linked")


def test_volumes_are_filled_once_and_kept(ul: Installation) -> None:
    assert ul.run("-v", "vol-a:/data", "box", "sh", "-c", "cat /data/seed; echo more >> /data/seed") == "from the image"
    assert ul.run("-v", "vol-a:/data", "box", "cat", "/data/seed") == "from the image\nmore"
    assert ul.run("-v", "vol-b:/data:nocopy", "box", "ls", "/data") == ""
    volumes = ul.root / "volumes"
    before = set(os.listdir(volumes))
    ul.run("-v", "/anonymous", "box", "true")
    assert set(os.listdir(volumes)) == before


def test_tmpfs_and_readonly_root(ul: Installation) -> None:
    text = ul.run(
        "--read-only",
        "--tmpfs",
        "/t:size=1m",
        "box",
        "sh",
        "-c",
        "echo a > /t/x; cat /t/x; echo b > /x || echo ro",
    )
    assert text.splitlines() == ["a", "ro"]
    line = ul.run("--tmpfs", "/t:size=1m,exec", "box", "grep", " /t ", "/proc/mounts")
    assert "size=1024k" in line and "nosuid" in line and "noexec" not in line


def test_shm_size_sysctl_ulimit(ul: Installation) -> None:
    assert "size=1024k" in ul.run("--shm-size", "1m", "box", "grep", "/dev/shm", "/proc/mounts")
    assert ul.run("--sysctl", "net.ipv4.ip_forward=1", "box", "cat", "/proc/sys/net/ipv4/ip_forward") == "1"
    assert b"is not allowed" in ul("run", "--sysctl", "kernel.panic=1", "box", code=125).stderr
    assert ul.run("--ulimit", "nofile=77:99", "box", "sh", "-c", "ulimit -n; ulimit -Hn").split() == [
        "77",
        "99",
    ]


def test_init_is_nothing_of_the_host(ul: Installation) -> None:
    script = "cat /proc/1/cmdline | tr '\\0' ' '; readlink /proc/1/exe; grep -c . /proc/1/maps; cat /proc/1/environ"
    text = ul.run("--init", "--cap-add", "SYS_PTRACE", "box", "sh", "-c", script)
    lines = text.splitlines()
    assert lines[0].startswith("init ") and "memfd:init" in lines[0]
    assert int(lines[1]) < 10 and len(lines) == 2
    # It closes what it has when it has begun the program, which may be faster.
    assert ul.run("--init", "-w", "/data", "box", "sh", "-c", "sleep 0.3; ls /proc/1/fd") == ""
    refused = ul.run("--init", "--cap-add", "SYS_PTRACE", "box", "sh", "-c", "echo x > /proc/1/exe || echo sealed")
    assert refused.endswith("sealed")


def test_init_exit_codes(ul: Installation) -> None:
    for script, code in (("exit 0", 0), ("exit 77", 77), ("kill -9 $$", 137), ("kill -TERM $$; sleep 1", 143)):
        assert ul.run("--init", "box", "sh", "-c", script, code=code) == ""
    done = ul("run", "--rm", "--init", "--network", "none", "box", "nosuch", code=127)
    assert b"not found in $PATH" in done.stderr


def test_init_reaps_and_passes_signals(ul: Installation) -> None:
    text = ul.run("--init", "box", "sh", "-c", "(sleep 0.1 &) ; sleep 0.5; ps -o comm | grep -c sleep; echo $$", code=0)
    assert text.splitlines() == ["0", "2"]
    ul.start("--init", "--name", "with-init", "box", "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
    ul("stop", "-t", "5", "with-init")
    assert ul.out("wait", "with-init") == "9"
    ul("rm", "with-init")


def test_memory_limit(ul: Installation) -> None:
    name = ul.start("--memory", "24m", "box", "sh", "-c", "tail /dev/zero")
    assert ul.out("wait", name) == "137"
    assert ul.out("inspect", "-f", "{{.State.OOMKilled}}", name) == "true"
    ul("rm", name)
    assert b"minimum memory limit allowed is 6MB" in ul("run", "-m", "1m", "box", code=125).stderr


def test_shared_memory_counts_to_the_limit(ul: Installation) -> None:
    script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=60"
    done = ul(
        "run",
        "--rm",
        "--network",
        "none",
        "--memory",
        "24m",
        "--memory-swap",
        "24m",
        "box",
        "sh",
        "-c",
        script,
        code=None,
    )
    assert done.returncode != 0


def test_process_limit_holds_for_exec_too(ul: Installation) -> None:
    ul.start("--name", "few", "--pids-limit", "6", "box", "sleep", "60")
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo started"
    done = ul("exec", "few", "sh", "-c", script, code=None)
    assert b"can't fork" in done.stderr
    ul("rm", "-f", "few")


def test_cpu_limit_is_set(ul: Installation) -> None:
    name = ul.start("--cpus", "0.5", "box", "sleep", "60")
    cgroup = ul.run("box", "true")
    assert cgroup == ""
    v1 = Path(f"/sys/fs/cgroup/cpu/underlay/{name}/cpu.cfs_quota_us")
    v2 = Path(f"/sys/fs/cgroup/underlay/{name}/cpu.max")
    assert (v1.read_text() if v1.exists() else v2.read_text()).split()[0] == "50000"
    ul("rm", "-f", name)


def test_privileged(ul: Installation) -> None:
    status = ul.run("--privileged", "box", "grep", "-E", "CapEff|Seccomp:", "/proc/self/status")
    known = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    bounding = next(
        int(line.split()[1], 16)
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapBnd")
    )
    assert int(status.split()[1], 16) == bounding & ((1 << known + 1) - 1) and status.split()[3] == "0"
    assert ul.run("--privileged", "box", "sh", "-c", "mount -t tmpfs x /tmp && echo mounted") == "mounted"


def test_pid_and_uts_host(ul: Installation) -> None:
    own = ul.run("--pid", "host", "box", "readlink", "/proc/self/ns/pid")
    assert own == os.readlink("/proc/self/ns/pid")
    assert ul.run("--uts", "host", "box", "hostname") == os.uname().nodename


def test_background_children_die_with_pid_host(ul: Installation) -> None:
    ul.run("--pid", "host", "box", "sh", "-c", "sleep 4321 & true")
    done = subprocess.run(["pgrep", "-f", "sleep 4321"], capture_output=True)
    assert done.stdout == b""


def test_joining_another_containers_namespaces(ul: Installation) -> None:
    ul.start("--name", "first", "--hostname", "first", "box", "sleep", "60")
    text = ul.out("run", "--rm", "--network", "container:first", "--pid", "container:first", "box", "ps")
    assert "sleep 60" in text
    ul("rm", "-f", "first")


def test_a_joined_network_brings_its_names(ul: Installation) -> None:
    ul.start(
        "--name",
        "first",
        "--hostname",
        "first",
        "--dns",
        "192.0.2.9",
        "--add-host",
        "x:192.0.2.8",
        "box",
        "sleep",
        "60",
    )
    ul("run", "-d", "--name", "second", "--network", "container:first", "box", "sleep", "60")
    for name in ("first", "second"):
        joining = ("--network", f"container:{name}")
        for file in ("hosts", "resolv.conf", "hostname"):
            seen = ul.out("run", "--rm", *joining, "box", "cat", f"/etc/{file}")
            assert seen == ul.out("exec", "first", "cat", f"/etc/{file}") != ""
        assert ul.out("run", "--rm", *joining, "box", "hostname") == "first"
    assert len(set(ul.out("inspect", "-f", "{{.HostsPath}}", "first", "second").split())) == 1
    for words in (("--hostname", "x"), ("--dns", "192.0.2.9"), ("--add-host", "x:192.0.2.8")):
        done = ul("run", "--rm", "--network", "container:first", *words, "box", "true", code=125)
        assert b"conflicting options" in done.stderr and b"and the network mode" in done.stderr
    ul("rm", "-f", "first", "second")


def test_platform_and_missing_image(ul: Installation) -> None:
    done = ul("run", "--rm", "--pull", "never", "nosuch", code=125)
    assert b"No such image: nosuch" in done.stderr
    # Only what starts a container fetches; a plan does nothing.
    done = ul("run", "--plan", "--network", "none", "nosuch", code=125)
    assert b"No such image: nosuch" in done.stderr and b"underlay pull" in done.stderr


def test_names(ul: Installation) -> None:
    name = ul.start("--name", "named-one", "box", "sleep", "60")
    assert b"is already in use" in ul("create", "--name", "named-one", "box", code=1).stderr
    assert ul.out("inspect", "-f", "{{.Id}}", name[:6]) == name
    ul("rename", "named-one", "named-two")
    assert "named-two" in ul.out("ps")
    ul("rm", "-f", "named-two")


def test_cidfile(ul: Installation, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    name = ul.start("--cidfile", str(path), "box", "true")
    assert path.read_text() == name
    assert b"container ID file found" in ul("run", "--cidfile", str(path), "box", code=125).stderr
    ul.out("wait", name)
    ul("rm", name)


def test_plan_changes_nothing(ul: Installation) -> None:
    text = ul.out("run", "--plan", "--memory", "64m", "box", "true")
    words = [line.split()[0] for line in text.splitlines() if not line.startswith("#")]
    assert words.index("overlay") < words.index("pivot") < words.index("credentials") < words.index("execute")
    assert "limit" in words and ul.out("ps", "-aq") == ""


def test_labels_of_an_image_steer_nothing(ul: Installation) -> None:
    hostile = [
        "privileged=true",
        "underlay.privileged=true",
        "io.podman.annotations.privileged=TRUE",
        "seccomp=unconfined",
    ]
    changes = [word for label in hostile for word in ("--change", f"LABEL {label}")]
    archive = ul.root.parent / "box.tar"
    ul("import", *changes, "--change", 'CMD ["sh"]', str(archive), "hostile")

    def facts(image: str) -> dict[str, object]:
        name = ul.out("create", image)
        value = json.loads(ul.out("inspect", name))[0]
        ul("rm", name)
        return {**value["HostConfig"], "spec": value["Config"]["User"]}

    assert facts("hostile") == facts("box")
    ul("rmi", "hostile")


def test_client_killed_container_lives_on(ul: Installation) -> None:
    command = [*ul.command, "run", "--name", "survivor", "--network", "none", "box"]
    client = subprocess.Popen(
        [*command, "sh", "-c", "while :; do echo tick; sleep 0.05; done"],
        env=ul.environment,
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None and client.stdout.readline() == b"tick\n"
    client.send_signal(signal.SIGKILL)
    client.wait()
    time.sleep(0.3)
    assert ul.out("ps", "--format", "{{.Names}} {{.State}}") == "survivor running"
    assert ul.out("logs", "--tail", "1", "survivor") == "tick"
    ul("rm", "-f", "survivor")


def test_client_forwards_signals(ul: Installation) -> None:
    command = [*ul.command, "run", "--rm", "--network", "none", "box"]
    client = subprocess.Popen(
        [*command, "sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done"],
        env=ul.environment,
        stdout=subprocess.PIPE,
    )
    assert client.stdout is not None and client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGUSR1)
    assert client.stdout.readline() == b"got\n"
    assert client.wait(10) == 5


def test_detached_with_rm_removes_itself(ul: Installation) -> None:
    name = ul.start("--rm", "box", "sleep", "0.4")
    assert ul.out("ps", "-aq", "--no-trunc") == name
    assert until(lambda: ul.out("ps", "-aq") == "")
