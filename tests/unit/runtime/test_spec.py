"""Composition: image and wishes become a specification by docker's rules."""

from __future__ import annotations

import json

import pytest

from underlay.engine.containers.specification import compose as spec
from underlay.engine.containers.specification import grammar, mount_flags
from underlay.engine.containers.specification.grammar import DeviceRequest
from underlay.engine.containers.specification.request import Request
from underlay.engine.options import ContainerOptions
from underlay.errors import InvalidInput, Unsupported
from underlay.linux.security import capabilities
from underlay.runtime.policy import profiles

ID = "0123456789abcdef" * 4
EVERY = ["CAP_" + name for name in capabilities.NAMES]


def host(**changes: object) -> spec.HostFacts:
    facts = spec.HostFacts()
    facts.capabilities = list(EVERY)
    for name, value in changes.items():
        setattr(facts, name, value)
    return facts


def compose(
    image: dict | None = None, facts: spec.HostFacts | None = None, mounts: list | None = None, **wish: object
) -> spec.Composed:
    given = ContainerOptions(**({"command": ["run"]} | wish))
    return spec.compose(ID, Request(given), image or {}, mounts or [], {"/etc/hosts": "/c/hosts"}, facts or host())


def refused(text: str, kind: type = InvalidInput, **more: object) -> str:
    with pytest.raises(kind) as caught:
        compose(**more)  # type: ignore[arg-type]
    assert text in caught.value.message, caught.value.message
    message: str = caught.value.message
    return message


@pytest.mark.parametrize(
    ("image", "wish", "expected"),
    [
        ({"Cmd": ["c"]}, {}, ["c"]),
        ({"Entrypoint": ["e"]}, {}, ["e"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {}, ["e", "c"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"command": ["x", "y"]}, ["e", "x", "y"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"entrypoint": ["f"]}, ["f"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"entrypoint": ["f"], "command": ["x"]}, ["f", "x"]),
        ({"Entrypoint": ["e"], "Cmd": ["c"]}, {"entrypoint": [], "command": ["x"]}, ["x"]),
        ({"Entrypoint": None, "Cmd": ["c"]}, {"command": []}, ["c"]),
    ],
)
def test_arguments(image: dict, wish: dict, expected: list[str]) -> None:
    assert compose(image, **({"command": None} | wish)).spec["process"]["args"] == expected


def test_no_command() -> None:
    assert refused("no command specified", image={}, command=None) == refused(
        "no command specified", image={"Entrypoint": ["e"], "Cmd": ["c"]}, command=None, entrypoint=[]
    )
    assert "\0" not in refused("NUL", command=["a\0b"])


def test_environment() -> None:
    image = {"Env": ["PATH=/image", "A=1", "B=2", "C=3"]}
    found = compose(image, environment=["B=x=y", "D=", "C", "A=1\n2"]).spec["process"]["env"]
    assert found == ["PATH=/image", f"HOSTNAME={ID[:12]}", "A=1\n2", "B=x=y", "D="]
    assert compose().spec["process"]["env"][0] == f"PATH={spec.PATH}"
    assert "TERM=xterm" in compose(terminal=True).spec["process"]["env"]
    assert "TERM=vt52" in compose(terminal=True, environment=["TERM=vt52"]).spec["process"]["env"]
    refused("invalid environment variable", environment=["=x"])
    refused("invalid environment variable", environment=["A=\0"])


def test_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "1")
    assert "SECRET_OF_THE_HOST" not in json.dumps(compose().spec)


def test_working_directory() -> None:
    assert compose().spec["process"]["cwd"] == "/"
    assert compose({"WorkingDir": "/a//b/../c"}).spec["process"]["cwd"] == "/a/c"
    assert compose({"WorkingDir": "/image"}, working_directory="/wish").spec["process"]["cwd"] == "/wish"
    refused("needs to be an absolute path", working_directory="x")


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ([], [], list(profiles.CAPABILITIES)),
        (["sys_ptrace"], [], [*profiles.CAPABILITIES, "CAP_SYS_PTRACE"]),
        ([], ["CAP_MKNOD", "kill"], [c for c in profiles.CAPABILITIES if c not in ("CAP_MKNOD", "CAP_KILL")]),
        ([], ["ALL"], []),
        (["CHOWN"], ["all"], ["CAP_CHOWN"]),
        (["ALL"], ["SYS_ADMIN"], [c for c in EVERY if c != "CAP_SYS_ADMIN"]),
        (["ALL"], [], EVERY),
    ],
)
def test_capabilities(add: list[str], drop: list[str], expected: list[str]) -> None:
    sets = compose(cap_add=add, cap_drop=drop).spec["process"]["capabilities"]
    assert sets["bounding"] == expected and sets["permitted"] == expected and sets["effective"] == expected
    assert not sets.get("inheritable") and not sets.get("ambient")


def test_capabilities_that_the_host_has_not() -> None:
    found = compose(cap_add=["ALL"], facts=host(capabilities=["CAP_CHOWN", "CAP_KILL"]))
    assert found.spec["process"]["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_KILL"]
    refused("invalid capability", cap_add=["FLY"])
    refused("invalid capability", cap_drop=["CAP_"])


def test_privileged_is_open_and_nothing_else_is() -> None:
    node = {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}
    open_one = compose(privileged=True, facts=host(devices=[node]))
    linux = open_one.spec["linux"]
    assert linux["maskedPaths"] == [] and linux["readonlyPaths"] == [] and linux["devices"] == [node]
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert open_one.seccomp == "unconfined" and open_one.spec["process"]["capabilities"]["bounding"] == EVERY
    assert compose(privileged=True, security=["seccomp=/p.json"]).seccomp == "/p.json"
    closed = compose()
    assert closed.seccomp == "default" and closed.spec["linux"]["resources"]["devices"][0] == {
        "allow": False,
        "access": "rwm",
    }
    assert closed.spec["linux"]["maskedPaths"] == list(profiles.MASKED_PATHS)
    assert closed.spec["linux"]["readonlyPaths"] == list(profiles.READONLY_PATHS)


def test_security_options() -> None:
    assert compose(security=["no-new-privileges"]).spec["process"]["noNewPrivileges"] is True
    assert compose(security=["no-new-privileges:false"]).spec["process"]["noNewPrivileges"] is False
    assert compose(security=["seccomp=unconfined"]).seccomp == "unconfined"
    assert compose(security=["systempaths=unconfined"]).spec["linux"]["maskedPaths"] == []
    assert compose(security=["apparmor=unconfined", "label=disable"]).seccomp == "default"
    for text in ("no-new-privileges=maybe", "magic", "systempaths=x"):
        refused("invalid --security-opt", security=[text])
    refused("AppArmor is not enabled", Unsupported, security=["apparmor=my-profile"])
    refused("invalid --security-opt", security=["apparmor="])
    assert compose(security=["landlock=ro:/a,bind:none", "landlock=rx:/b"]).landlock == [
        ["ro", "/a"],
        ["bind", "none"],
        ["rx", "/b"],
    ]
    refused("invalid landlock rule", security=["landlock=all"])


@pytest.mark.parametrize(
    ("facts", "wish", "label"),
    [
        ({}, {}, None),
        ({"apparmor": True, "apparmor_default": "d"}, {}, "d"),
        ({"apparmor": True, "apparmor_default": "d"}, {"privileged": True}, "unconfined"),
        ({"apparmor": True, "apparmor_default": "d"}, {"security": ["apparmor=unconfined"]}, "unconfined"),
        ({"apparmor": True, "apparmor_default": "d"}, {"security": ["apparmor=p"], "privileged": True}, "p"),
        # No parser and nothing kept: none, but what is named is named.
        ({"apparmor": True}, {}, None),
        ({"apparmor": True}, {"security": ["apparmor:p"]}, "p"),
        ({"apparmor": True, "rootless": True}, {}, None),
    ],
)
def test_apparmor(facts: dict, wish: dict, label: str | None) -> None:
    assert compose(facts=host(**facts), **wish).spec["process"].get("apparmorProfile") == label


def test_ulimits() -> None:
    found = compose(ulimits=["nofile=10:20", "core=-1", "nproc=unlimited", "cpu=5"]).spec["process"]["rlimits"]
    assert found == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20},
        {"type": "RLIMIT_CORE", "soft": -1, "hard": -1},
        {"type": "RLIMIT_NPROC", "soft": -1, "hard": -1},
        {"type": "RLIMIT_CPU", "soft": 5, "hard": 5},
    ]
    for text in ("shoes=1", "nofile", "nofile=a", "nofile=5:3", "nofile=-1:3", "=1"):
        refused("ulimit", ulimits=[text])


def test_sysctls() -> None:
    wanted = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "5", "fs.mqueue.msg_max": "9", "kernel.domainname": "x"}
    assert compose(sysctls=wanted).spec["linux"]["sysctl"] == wanted
    for name in ("kernel.panic", "vm.swappiness", "fs.file-max", "kernel.hostname", "net", "netx.y"):
        refused("is not allowed", sysctls={name: "1"})
    refused("is not a dotted name", sysctls={"net/../kernel/panic": "1"})
    refused("is not a dotted name", sysctls={"net.ipv4.ip_forward\n": "1"})
    refused("the value '1\n' contains control characters", sysctls={"net.ipv4.ip_forward": "1\n"})
    refused("contains control characters", sysctls={"net.ipv4.ip_forward": "\x1b[2J1"})
    assert compose(sysctls={"net.ipv4.tcp_rmem": "1\t2 3"})
    refused("namespace is not the container's own", sysctls={"net.ipv4.ip_forward": "1"}, network="host")
    refused("namespace is not the container's own", sysctls={"kernel.shmmax": "1"}, ipc="host")


def test_namespaces() -> None:
    def kinds(**wish: object) -> dict[str, str]:
        found = compose(facts=host(joined={"container:x": 77}), **wish).spec["linux"]["namespaces"]
        return {item["type"]: item.get("path", "") for item in found}

    assert kinds() == dict.fromkeys(("mount", "network", "pid", "ipc", "uts", "cgroup"), "")
    assert set(kinds(network="host", pid="host", ipc="host", uts="host", cgroupns="host")) == {"mount"}
    joined = kinds(network="container:x", pid="container:x")
    assert joined["network"] == "/proc/77/ns/net" and joined["pid"] == "/proc/77/ns/pid" and joined["uts"] == ""
    refused("invalid mode", pid="guest")
    refused("invalid mode", cgroupns="container:x", facts=host(joined={"container:x": 77}))
    refused("invalid mode", network="bridge")  # others are made beforehand:
    beforehand = compose(network="bridge", facts=host(network_namespace="/run/x/net")).spec["linux"]["namespaces"]
    assert {"type": "network", "path": "/run/x/net"} in beforehand


def test_hostname_only_where_it_is_the_containers() -> None:
    assert compose(hostname="abc", domainname="d").spec["hostname"] == "abc"
    assert compose().spec["hostname"] == ID[:12]
    assert "hostname" not in compose(uts="host").spec
    refused("conflicting options: hostname and the UTS mode", hostname="abc", uts="host")
    refused("conflicting options: domainname and the UTS mode", domainname="abc", uts="host")


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "a b", "a\tb", "a\u2028b", "a\u202eb", "a\r"])
def test_names_that_would_be_more_than_one_word_of_a_file(name: str) -> None:
    refused("invalid hostname format", hostname=name)
    refused("invalid domainname format", domainname=name)
    refused("is not a valid domain", dns_search=["x", name])
    refused('for "--dns-option" flag', dns_options=[name])


def test_resources() -> None:
    def found(**wish: object) -> dict:
        made = compose(**wish).spec["linux"]["resources"]  # type: ignore[arg-type]
        made.pop("devices")
        return made

    assert found() == {}
    assert found(memory=64 << 20) == {"memory": {"limit": 64 << 20, "swap": 128 << 20}}
    assert found(memory=64 << 20, memory_swap=-1)["memory"]["swap"] == -1
    assert found(cpus=1.5) == {"cpu": {"period": 100000, "quota": 150000}}
    assert found(pids_limit=5, cpu_shares=7, cpuset_cpus="0-1") == {
        "pids": {"limit": 5},
        "cpu": {"shares": 7, "cpus": "0-1"},
    }
    refused("minimum memory limit", memory=5 << 20)
    refused("larger than memory limit", memory=64 << 20, memory_swap=32 << 20)
    refused("always set the memory limit", memory_swap=64 << 20)
    refused("less than memory reservation", memory=64 << 20, memory_reservation=128 << 20)
    refused("cannot both be set", cpus=1.0, cpu_quota=5)
    refused("range of CPUs", cpus=0.001)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/dev/fuse", ("/dev/fuse", "/dev/fuse", "rwm")),
        ("/dev/fuse:/dev/x", ("/dev/fuse", "/dev/x", "rwm")),
        ("/dev/fuse:/dev/x:r", ("/dev/fuse", "/dev/x", "r")),
        ("/dev/fuse:rw", ("/dev/fuse", "/dev/fuse", "rw")),
    ],
)
def test_device_words(text: str, words: tuple) -> None:
    assert grammar.device(text) == DeviceRequest(*words)


@pytest.mark.parametrize(
    "text",
    ["fuse", "/dev/fuse:/etc/x", "/dev/a:/dev/b:/dev/c", "/dev/a:/dev/../etc/b", "/dev/a:/dev/b:q", "/dev/a:/dev/"],
)
def test_devices_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        grammar.device(text)


def test_devices() -> None:
    node = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666, "uid": 0, "gid": 0}
    facts = host(device={"/dev/fuse": [node], "/dev/none": []})
    made = compose(devices=["/dev/fuse:/dev/x:r"], facts=facts).spec["linux"]
    assert made["devices"] == [{**node, "path": "/dev/x"}]
    assert made["resources"]["devices"][-1] == {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}
    refused("no device at /dev/none", devices=["/dev/none"], facts=facts)


def test_mounts_of_the_user_come_last_and_by_depth() -> None:
    mounts = [mount_flags.parse_volume(text) for text in ("/h/2:/a/b/c", "/h/1:/a", "/h/3:/etc/hosts")]
    made = compose(mounts=mounts).spec["mounts"]
    targets = [mount["destination"] for mount in made]
    assert targets[-3:] == ["/a", "/etc/hosts", "/a/b/c"]
    assert targets.count("/etc/hosts") == 1  # the user's, not the engine's
    for needed in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"):
        assert needed in targets
    order = [targets.index(path) for path in ("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/a")]
    assert order == sorted(order)


@pytest.mark.parametrize("target", ["/proc", "/proc/sys", "/x/../proc", "//proc/1"])
def test_nothing_is_mounted_over_proc(target: str) -> None:
    with pytest.raises(InvalidInput, match="nothing can be mounted at or below /proc"):
        compose(mounts=[mount_flags.parse_volume(f"/h:{target}")])


def test_kernel_mounts_are_closed() -> None:
    made = {mount["destination"]: mount for mount in compose().spec["mounts"]}
    for path in ("/proc", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"):
        assert {"nosuid", "noexec", "nodev"} <= set(made[path]["options"]), path
    assert "ro" in made["/sys"]["options"] and "ro" in made["/sys/fs/cgroup"]["options"]
    assert "ro" in {m["destination"]: m for m in compose(read_only=True).spec["mounts"]}["/etc/hosts"]["options"]


def test_ipc() -> None:
    def targets(ipc: str) -> dict[str, str]:
        return {mount["destination"]: mount["type"] for mount in compose(ipc=ipc).spec["mounts"]}

    assert targets("")["/dev/shm"] == "tmpfs" and "/dev/shm" not in targets("none")
    assert targets("host")["/dev/shm"] == "bind"


def test_rootless() -> None:
    maps = ([{"containerID": 0, "hostID": 1000, "size": 1}],) * 2
    made = compose(facts=host(rootless=True, user_namespace=True, maps=maps)).spec
    assert made["linux"]["namespaces"][0] == {"type": "user"} and made["linux"]["uidMappings"] == maps[0]
    pts = next(m for m in made["mounts"] if m["destination"] == "/dev/pts")
    assert "gid=5" not in pts["options"]  # that group is not in the map
    sys = next(
        m
        for m in compose(facts=host(rootless=True, user_namespace=True, maps=maps), network="host").spec["mounts"]
        if m["destination"] == "/sys"
    )
    assert sys["type"] == "bind" and "ro" in sys["options"]


def test_a_user_namespace_of_roots_container() -> None:
    maps = ([{"containerID": 0, "hostID": 1 << 31, "size": 2000}],) * 2
    node = {"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232}
    facts = host(user_namespace=True, maps=maps, devices=[node, {**node, "path": "/dev/null"}])
    made = compose(facts=facts, privileged=True)
    linux, binds = made.spec["linux"], {m["destination"]: m for m in made.spec["mounts"] if m["type"] == "bind"}
    assert linux["namespaces"][0] == {"type": "user"} and linux["gidMappings"] == maps[1] and linux["devices"] == []
    assert "idmap" in binds["/etc/hosts"]["options"]  # they are root's inside
    assert binds["/dev/kvm"]["source"] == "/dev/kvm" and "/dev/null" not in binds  # the usual ones are there anyway
    assert made.soft_sysctls["net.ipv4.ping_group_range"] == "0 1999"
    joined = compose(facts=host(user_namespace=True, user_pid=7, maps=maps)).spec["linux"]
    assert joined["namespaces"][0] == {"type": "user", "path": "/proc/7/ns/user"} and joined["uidMappings"] == maps[0]
    assert compose(facts=host(user="5:6")).user == "5:6" and compose(facts=host(user="5:6"), user="x").user == "x"


def test_labels_of_the_image_reach_nothing() -> None:
    hostile = {
        "Labels": {"privileged": "true", "seccomp": "unconfined", "io.podman.annotations.privileged": "TRUE"},
        "OnBuild": ["x"],
        "Healthcheck": {"Test": ["CMD", "x"]},
        "HostConfig": {"Privileged": True},
    }
    plain, made = compose(), compose(hostile)
    assert made.spec == plain.spec
    assert {n: getattr(made, n) for n in made.__slots__} == {n: getattr(plain, n) for n in plain.__slots__}


def test_soft_sysctls_only_in_an_own_network() -> None:
    assert "net.ipv4.ip_unprivileged_port_start" in compose().soft_sysctls
    assert compose(network="host").soft_sysctls == {}


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("invalid capability", {"privileged": True, "cap_add": ["BOGUS"]}),
        ("invalid containerPort: bad", {"expose": ["bad"]}),
        ("invalid port format for --expose: 80:80", {"expose": ["80:80"]}),
        ("invalid proto: icmp", {"expose": ["80/icmp"]}),
        ("invalid containerPort: x", {"network": "host", "publish": ["80:x"]}),
    ],
)
def test_options_without_effect_are_parsed_too(text: str, option: dict) -> None:
    refused(text, **option)
