"""docker-compose, unchanged, on our server as on a docker daemon: networks, ports, volumes, limits, and namespaces."""

from __future__ import annotations

import pytest

from composing import Project, box, host, project, shell
from networks import nothing_left, world

__all__ = ["host", "nothing_left", "project", "world"]  # fixtures
pytestmark = pytest.mark.root

PAGE = "echo hello-$(hostname) > /tmp/index.html; exec busybox httpd -f -p 80 -h /tmp"
GET = "busybox wget -q -T 2 -O - http://"


def test_networks(project: Project) -> None:
    """Aliases, addresses, an internal one, one of somebody else's, and who cannot reach whom."""
    project.host.docker("network", "create", "--subnet", "10.88.0.0/24", "outside")
    project.file(
        {
            "web": shell(PAGE, hostname="web", networks={"front": {"aliases": ["site"]}, "outside": None}),
            "app": box(networks={"front": {}, "back": {"ipv4_address": "10.87.0.77"}}),
            "db": shell(PAGE, hostname="db", networks={"back": {"aliases": ["database"]}}),
        },
        networks={
            "front": {},
            "back": {
                "internal": True,
                "ipam": {"config": [{"subnet": "10.87.0.0/24", "gateway": "10.87.0.1"}]},
                "labels": {"tier": "back"},
            },
            "outside": {"external": True},
        },
    )
    project("up", "-d")
    assert project.shell("app", f"{GET}site; {GET}database; {GET}p-web-1") == "hello-web\nhello-db\nhello-web"
    assert project.see("app")["NetworkSettings"]["Networks"]["p_back"]["IPAddress"] == "10.87.0.77"
    assert "10.87.0.77" in project.shell("app", "ip -4 addr")
    # Another's network is not seen by its names, nor by its addresses.
    address = project.see("db")["NetworkSettings"]["Networks"]["p_back"]["IPAddress"]
    for place in ("database", address):
        project.shell("web", f"busybox timeout 1 {GET}{place} || exit 9", code=9)
    assert "default" not in project.shell("db", "ip route") and "default" in project.shell("app", "ip route")
    settings = project.see("web")["NetworkSettings"]["Networks"]
    assert set(settings) == {"p_front", "outside"} and "site" in settings["p_front"]["Aliases"]
    shown = project.host.inspect("p_back")[0]
    assert shown["Internal"] and shown["Labels"]["tier"] == "back" and len(shown["Containers"]) == 2
    before = project.all_ids()
    project("up", "-d")
    assert project.all_ids() == before
    project("down")
    names = project.host.docker("network", "ls", "--format", "{{.Name}}").split()
    assert "outside" in names and not [name for name in names if name.startswith("p_")]
    project.host.docker("network", "rm", "outside")
    said = project.fails("up", "-d")
    assert said == "Error response from daemon: network outside not found"


def test_ports(project: Project) -> None:
    """A range, an address of the host, UDP, one that is chosen, and `port`."""
    server = "exec busybox nc -ll -p 80 -e echo tcp"
    ports = ["18080:80", "127.0.0.1:18081:80", "18053:53/udp", "18090-18092:90-92", "80"]
    project.file({"a": shell(server, ports=ports, expose=["99"])})
    project("up", "-d")
    assert project.ask(18080).strip() == project.ask(18081).strip() == "tcp"
    project.serve("a", 53, udp=True)
    assert project.ask(18053, udp=True).count(".") == 3
    outer = "192.0.2.1" if project.host.side == "" else "192.0.2.2"
    other = "neighbour" if project.host.side == "" else ""
    assert project.host.world.ask(other, outer, 18080).strip() == "tcp"
    assert project.host.world.ask(other, outer, 18081) == "ConnectionRefusedError"
    assert project.out("port", "a", "90") == "0.0.0.0:18090"
    assert project.out("port", "--protocol", "udp", "a", "53") == "0.0.0.0:18053"
    assert project.out("port", "a", "99") == ":0"  # exposed, not published
    assert project.fails("port", "a", "98").startswith("no port 98/tcp for container p-a-1: ")
    listed = project.listed()["p-a-1"]
    published = {(each["URL"], each["TargetPort"], each["Protocol"]) for each in listed["Publishers"]}
    assert published >= {("127.0.0.1", 80, "tcp"), ("0.0.0.0", 53, "udp"), ("0.0.0.0", 92, "tcp")}
    chosen = [each["PublishedPort"] for each in listed["Publishers"] if each["TargetPort"] == 80]
    assert len(set(chosen)) == 3 and project.ask(next(iter(set(chosen) - {18080, 18081}))).strip() == "tcp"
    bindings = project.see("a")["HostConfig"]["PortBindings"]
    assert bindings["91/tcp"] == [{"HostIp": "", "HostPort": "18091"}]


def test_volumes(project: Project) -> None:
    """Named, anonymous, of the host, in memory, read-only and somebody else's; `down` keeps them, `down -v` does not."""
    project.host.docker("volume", "create", "others")
    project.write("here/file", "bound")
    mounts = [
        "data:/data",
        "/anonymous",
        "./here:/here:ro",
        {"type": "tmpfs", "target": "/mem", "tmpfs": {"size": 65536, "mode": 0o700}},
        {"type": "bind", "source": "./made", "target": "/made", "bind": {"create_host_path": True}},
        {"type": "volume", "source": "data", "target": "/again", "read_only": True, "volume": {"nocopy": True}},
        "others:/others",
    ]
    project.file(
        {"a": box(volumes=mounts, tmpfs=["/run:size=1m", "/t2"])},
        volumes={"data": {"labels": {"a": "b"}}, "others": {"external": True}},
    )
    project("up", "-d")
    assert project.shell("a", "cat /data/seed /here/file") == "from the image\nbound"
    assert (
        project.shell(
            "a", "echo w > /data/new; cat /again/new; echo o > /others/o; echo m > /made/m; echo x > /anonymous/x"
        )
        == "w"
    )
    assert (project.place / "made" / "m").read_text() == "m\n"
    project.shell("a", "echo > /here/no", code=1)
    project.shell("a", "echo > /again/no", code=1)
    assert project.shell("a", "stat -c %a /mem; grep -c ' /mem tmpfs .*size=64k' /proc/mounts") == "700\n1"
    assert (
        project.shell("a", "grep -c ' /run tmpfs .*size=1024k' /proc/mounts; grep -c ' /t2 tmpfs ' /proc/mounts")
        == "1\n1"
    )
    found = {each["Destination"]: (each["Type"], each["RW"]) for each in project.see("a")["Mounts"]}
    assert found["/here"] == ("bind", False) and found["/again"] == ("volume", False)
    assert found["/data"] == ("volume", True) and found["/anonymous"][0] == "volume"
    volume = project.host.inspect("p_data")[0]
    assert volume["Labels"]["a"] == "b" and volume["Labels"]["com.docker.compose.project"] == "p"
    # What has changed is recreated; it keeps its volumes, the anonymous one too.
    project.file(
        {"a": box(volumes=mounts, environment={"NEW": "1"})},
        volumes={"data": {"labels": {"a": "b"}}, "others": {"external": True}},
    )
    project("up", "-d")
    assert project.shell("a", "cat /data/new /anonymous/x /others/o; echo $NEW") == "w\nx\no\n1"
    project("up", "-d", "--force-recreate", "-V")
    project.shell("a", "cat /anonymous/x", code=1)
    project("down")
    assert set(project.host.docker("volume", "ls", "-q").split()) >= {"p_data", "others"}
    project("up", "-d")
    assert project.shell("a", "cat /data/new") == "w"
    project("down", "-v")
    assert project.host.docker("volume", "ls", "-q", "--filter", "name=p_data") == ""
    assert "others" in project.host.docker("volume", "ls", "-q").split()
    project.host.docker("volume", "rm", "others")
    assert project.fails("up", "-d") == 'external volume "others" not found'


GROUPS = "/sys/fs/cgroup"
LIMITED = {
    "mem_limit": "64m",
    "memswap_limit": "96m",
    "mem_reservation": "32m",
    "cpus": 0.5,
    "cpu_shares": 512,
    "pids_limit": 50,
    "shm_size": "1m",
    "oom_score_adj": 100,
    "ulimits": {"nofile": {"soft": 100, "hard": 200}, "core": 0},
    "sysctls": {"net.ipv4.ip_local_port_range": "2000 3000"},
    "cap_drop": ["ALL"],
    "cap_add": ["NET_ADMIN"],
    "read_only": True,
    "user": "1000:1001",
    "working_dir": "/var",
    "entrypoint": ["sh", "-c"],
    "init": True,
    "stop_signal": "SIGUSR1",
    "extra_hosts": ["there:10.1.2.3", "back=10.1.2.4"],
    "dns": ["10.9.9.9"],
    "dns_search": ["some.where"],
    "dns_opt": ["ndots:3"],
    "hostname": "desk",
    "domainname": "some.place",
    "labels": {"a": "b"},
    "logging": {"driver": "json-file", "options": {"max-size": "1m", "max-file": "2"}},
    "security_opt": ["no-new-privileges:true"],
    "group_add": ["2000"],
    "devices": ["/dev/null:/dev/other:r"],
    "annotations": {"x": "y"},
    "tty": True,
    "stdin_open": True,
    "container_name": "named",
}


def test_limits_and_settings(project: Project) -> None:
    """As they are in the container, and as `inspect` shows them."""
    project.file({"a": {**box("exec sleep 1000"), **LIMITED, "command": ["exec sleep 1000"]}})
    project("up", "-d")
    inside = {
        f"cd {GROUPS}; cat memory.max 2> /dev/null || cat memory/memory.limit_in_bytes": "67108864",
        f"cd {GROUPS}; cat pids.max 2> /dev/null || cat pids/pids.max": "50",
        f"cd {GROUPS}; cut -d' ' -f1 cpu.max 2> /dev/null || cat cpu/cpu.cfs_quota_us": "50000",
        "ulimit -n; ulimit -Hn; ulimit -c": "100\n200\n0",
        "cat /proc/sys/net/ipv4/ip_local_port_range": "2000\t3000",
        "grep CapBnd /proc/self/status": "CapBnd:\t0000000000001000",
        "grep NoNewPrivs /proc/self/status": "NoNewPrivs:\t1",
        "touch /x 2> /dev/null || echo refused": "refused",
        "busybox id -u; busybox id -g; busybox id -G": "1000\n1001\n1001 2000",
        "pwd; hostname": "/var\ndesk",
        "grep ^10.1.2 /etc/hosts | sort": "10.1.2.3\tthere\n10.1.2.4\tback",
        "grep -E '^(search|options) ' /etc/resolv.conf": "search some.where\noptions ndots:3",
        "grep -c 'desk.some.place desk' /etc/hosts": "1",
        "grep -o init /proc/1/comm; cat /proc/1/oom_score_adj": "init\n100",
        "test -c /dev/other && echo there": "there",
        "grep -c '/dev/shm.*size=1024k' /proc/mounts": "1",
    }
    for words, said in inside.items():
        assert project.shell("a", words).replace("\r", "") == said, words
    facts = project.host.inspect("named")[0]
    limits, config = facts["HostConfig"], facts["Config"]
    assert limits["Memory"] == 64 << 20 and limits["MemorySwap"] == 96 << 20 and limits["MemoryReservation"] == 32 << 20
    assert limits["NanoCpus"] == 500000000 and limits["CpuShares"] == 512 and limits["PidsLimit"] == 50
    assert limits["ShmSize"] == 1 << 20 and limits["OomScoreAdj"] == 100 and limits["ReadonlyRootfs"] and limits["Init"]
    assert sorted(limits["Ulimits"], key=lambda each: each["Name"]) == [
        {"Name": "core", "Hard": 0, "Soft": 0},
        {"Name": "nofile", "Hard": 200, "Soft": 100},
    ]
    assert limits["CapAdd"] == ["NET_ADMIN"] and limits["CapDrop"] == ["ALL"]
    assert limits["Sysctls"] == {"net.ipv4.ip_local_port_range": "2000 3000"}
    assert limits["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    assert sorted(limits["ExtraHosts"]) == ["back:10.1.2.4", "there:10.1.2.3"] and limits["GroupAdd"] == ["2000"]
    assert (limits["Dns"], limits["DnsSearch"], limits["DnsOptions"]) == (["10.9.9.9"], ["some.where"], ["ndots:3"])
    assert limits["SecurityOpt"] == ["no-new-privileges:true"] and limits["Annotations"]["x"] == "y"
    device = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/other", "CgroupPermissions": "r"}
    assert limits["Devices"] == [device]
    assert (config["User"], config["WorkingDir"], config["Hostname"]) == ("1000:1001", "/var", "desk")
    assert (config["Entrypoint"], config["Cmd"]) == (["sh", "-c"], ["exec sleep 1000"])
    assert config["StopSignal"] == "SIGUSR1" and config["Labels"]["a"] == "b" and config["Domainname"] == "some.place"
    assert config["Tty"] and config["OpenStdin"]
    before = project.host.ids()
    project("up", "-d")
    assert project.host.ids() == before


def test_namespaces_of_other_services(project: Project) -> None:
    """`network_mode`, `pid` and `ipc` of another service, its volumes, and links."""
    project.file(
        {
            "a": shell(
                f"echo shm > /dev/shm/x; {PAGE}", hostname="first", ipc="shareable", volumes=["data:/data", "/more"]
            ),
            "net": box(network_mode="service:a"),
            "pid": box(pid="service:a"),
            "ipc": box(ipc="service:a"),
            "from": box(volumes_from=["a"]),
            "linked": box(links=["a:other"]),
            "host": box(network_mode="none"),
        },
        volumes={"data": {}},
    )
    project("up", "-d")
    assert project.shell("net", f"{GET}127.0.0.1") == "hello-first"
    assert "httpd" in project.shell("pid", "ps")
    assert project.shell("ipc", "cat /dev/shm/x") == "shm"
    assert project.shell("from", "cat /data/seed; ls -d /more") == "from the image\n/more"
    assert project.shell("linked", f"{GET}other; {GET}a") == "hello-first\nhello-first"
    assert project.shell("host", "ls /sys/class/net") == "lo"
    first = project.see("a")["Id"]
    assert project.see("net")["HostConfig"]["NetworkMode"] == f"container:{first}"
    assert project.see("pid")["HostConfig"]["PidMode"] == f"container:{first}"
    assert project.see("ipc")["HostConfig"]["IpcMode"] == f"container:{first}"
    before = project.all_ids()
    project("up", "-d")
    assert project.all_ids() == before
