"""The plan: a pure function from a specification to operations, in an order that keeps its promises."""

from __future__ import annotations

import copy
import json

import pytest

from underlay.engine.containers.specification import compose
from underlay.errors import InvalidInput, Unsupported
from underlay.linux import process
from underlay.linux.files import mounts
from underlay.runtime import plan
from underlay.runtime.plan import mountplan, ops

KINDS = ("mount", "network", "pid", "ipc", "uts", "cgroup")


def specification(**changes: object) -> dict:
    """A specification like those that we compose, small."""
    made: dict = {
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "box",
        "domainname": "example",
        "process": {
            "terminal": False,
            "args": ["true", "x"],
            "env": ["PATH=/bin"],
            "cwd": "/work",
            "user": {"uid": 5, "gid": 6, "additionalGids": [7, 8], "umask": 0o27},
            "capabilities": {"bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 20}],
            "oomScoreAdj": 500,
            "noNewPrivileges": False,
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]},
            {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro", "rslave"]},
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in KINDS],
            "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 1}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
            "maskedPaths": ["/proc/keys"],
            "readonlyPaths": ["/proc/sys"],
        },
    }
    for path, value in changes.items():
        place = made
        *parents, last = path.split("__")
        for name in parents:
            place = place[name]
        place[last] = value
    return made


def make(made: dict, extras: plan.Extras | None = None, cgroup: str = "v2", **root: object) -> plan.Plan:
    where = plan.Root(target="/t", **({"lower": ["/l"], "upper": "/u", "work": "/w"} | root))  # type: ignore[arg-type]
    return plan.make(made, where, extras or plan.Extras(), cgroup)


def names(made: plan.Plan) -> list[str]:
    return [operation[0] for operation in made.operations]


def only(made: plan.Plan, name: str) -> tuple:
    found = [operation for operation in made.operations if operation[0] == name]
    assert len(found) == 1, found
    return found[0]


def test_order() -> None:
    made = make(specification(), plan.Extras(soft_sysctls={"net.x": "1"}, copy_up=["/data"]))
    order = names(made)
    assert order[0] == "propagation" and order[1] == "overlay" and order[-1] == "execute"
    before = [
        ("propagation", "overlay"),  # nothing that we mount may reach the host
        ("ids", "bind"),  # names are looked up before anything covers /etc
        ("enter-cgroup", "unshare"),  # the group of the maker becomes the namespace's root
        ("unshare", "mount"),
        ("copy-up", "bind"),
        ("sysctl", "readonly"),
        ("write-proc", "mask"),
        ("devices", "mask"),  # masks need our own /dev/null
        ("mask", "pivot"),
        ("directory", "readonly-root"),
        ("readonly-root", "pivot"),
        ("pivot", "session"),
        ("streams", "credentials"),
        ("rlimit", "credentials"),
        ("seccomp", "credentials"),  # without no_new_privs only a privileged process may load it
        ("credentials", "die-with-monitor"),
        ("credentials", "chdir"),
        ("chdir", "execute"),
    ]
    for first, second in before:
        if (first, second) == ("unshare", "mount"):
            assert order.index(first) < len(order) - 1 - order[::-1].index(second)
        else:
            assert order.index(first) < order.index(second), (first, second)


def test_seccomp_comes_last_with_no_new_privileges() -> None:
    order = names(make(specification(process__noNewPrivileges=True)))
    assert order.index("no-new-privs") < order.index("credentials") < order.index("seccomp") == len(order) - 2


def test_it_changes_nothing_and_can_be_written_down() -> None:
    given = specification()
    before = copy.deepcopy(given)
    made = make(given, plan.Extras(copy_up=["/data"], soft_sysctls={"net.x": "1"}))
    assert given == before
    assert json.loads(json.dumps(made.operations)) == [list_of(o) for o in made.operations]
    for operation in made.operations:
        text = ops.describe(operation)
        assert text.startswith(operation[0]) and "\n" not in text
    assert make(given, plan.Extras(copy_up=["/data"], soft_sysctls={"net.x": "1"})).operations == made.operations


def list_of(value: object) -> object:
    return [list_of(item) for item in value] if isinstance(value, list | tuple) else value


def test_namespaces_become_flags_and_joins() -> None:
    made = make(specification())
    expected = 0
    for kind in KINDS:
        if kind != "cgroup":
            expected |= process.NAMESPACES[kind][1]
    assert made.flags == expected and made.joins == [] and made.mappings is None
    joined = [
        {"type": "mount"},
        {"type": "pid", "path": "/proc/9/ns/pid"},
        {"type": "network", "path": "/proc/9/ns/net"},
    ]
    made = make(specification(linux__namespaces=joined))
    assert made.flags == process.CLONE_NEWNS and made.joins == [
        ("pid", "/proc/9/ns/pid"),
        ("network", "/proc/9/ns/net"),
    ]
    alone = make(specification(linux__namespaces=[joined[0], joined[2]]))
    assert alone.joins == [] and only(alone, "join") == ("join", "network", "/proc/9/ns/net")
    # What is not ours is not changed: no loopback, no host name.
    assert not {"loopback", "hostname", "domainname", "unshare"} & set(names(made))


def test_user_namespace() -> None:
    maps = [{"containerID": 0, "hostID": 1000, "size": 1}]
    kinds = [{"type": "user"}, *({"type": kind} for kind in KINDS)]
    made = make(specification(linux__namespaces=kinds, linux__uidMappings=maps, linux__gidMappings=maps))
    assert made.mappings == made.maps == (maps, maps)
    # The place of the root is the host's root's to reach, not that of whoever is root inside.
    assert names(made)[:4] == ["gate", "propagation", "overlay", "become-root"]
    assert made.operations[0] == ("gate", "mapped")
    assert only(made, "devices")[3] is True  # nodes are bound, they cannot be made


def test_a_joined_user_namespace() -> None:
    maps = [{"containerID": 0, "hostID": 1000, "size": 5}]
    kinds = [{"type": "user", "path": "/proc/7/ns/user"}, *({"type": kind} for kind in KINDS)]
    idmap = [{"destination": "/v", "type": "bind", "source": "/s", "options": ["bind", "idmap"]}]
    made = make(specification(linux__namespaces=kinds, linux__uidMappings=maps, linux__gidMappings=maps, mounts=idmap))
    assert made.mappings is None and made.maps == (maps, maps)
    assert made.joins == [("user", "/proc/7/ns/user")] and "gate" in names(made) and made.operations[0][0] != "gate"
    assert only(made, "bind")[4]["idmap"] == {"uids": maps, "gids": maps, "recursive": False}


def test_devices() -> None:
    nodes = {node[0]: node for node in only(make(specification()), "devices")[1]}
    assert nodes["/dev/fuse"] == ("/dev/fuse", "c", 10, 229, 0o600, 1, 0)
    assert set(nodes) == {f"/dev/{n}" for n in ("null", "zero", "full", "random", "urandom", "tty", "fuse")}


def test_no_devices_where_dev_is_not_ours() -> None:
    bind = [{"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}]
    made = make(specification(mounts=bind))
    assert only(made, "devices")[1] == []
    assert [node[0] for node in only(made, "devices-present")[1]] == ["/dev/fuse"]


def test_cgroup_versions() -> None:
    made = make(specification(), cgroup="v1:cpu,memory")
    assert only(made, "cgroup-v1")[1:3] == ("/sys/fs/cgroup", ["cpu", "memory"])
    mounted = [o for o in make(specification()).operations if o[0] == "mount" and o[1] == "cgroup2"]
    assert len(mounted) == 1 and mounted[0][4] == mounts.MOUNT_ATTR_RDONLY
    made = make(specification(), cgroup="none")
    assert "cgroup-v1" not in names(made) and not [o for o in made.operations if o[0] == "mount" and o[1] == "cgroup2"]
    # Entered in each case, mounted or not.
    for version in ("none", "v2", "v1:cpu"):
        assert names(make(specification(mounts=[]), cgroup=version)).count("enter-cgroup") == 1


def test_terminal() -> None:
    made = make(specification(process__terminal=True, process__consoleSize={"height": 3, "width": 4}))
    assert only(made, "console") == ("console", 3, 4, True)
    assert names(made).index("console") < names(made).index("pivot")


def test_user_by_name_or_number() -> None:
    assert only(make(specification()), "ids") == ("ids", 5, 6, [6, 7, 8])
    assert only(make(specification(), plan.Extras(user="alice", groups=["x"])), "user") == ("user", "alice", ["x"])
    assert "ids" not in names(make(specification(), plan.Extras(user="")))


def test_root_forms() -> None:
    assert only(make(specification()), "overlay") == ("overlay", ["/l"], "/u", "/w", "/t", {})
    assert only(make(specification(), path="/bundle/rootfs"), "bind-root") == ("bind-root", "/bundle/rootfs", "/t")


SUID_DEV_EXEC = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
PRIVATE = mounts.MS_PRIVATE | mounts.MS_REC


@pytest.mark.parametrize(
    ("options", "recursive", "settings"),
    [
        (["bind"], False, {"propagation": [PRIVATE]}),
        (["rbind", "ro"], True, {"on": 1, "propagation": [PRIVATE]}),
        (["rbind", "rro"], True, {"all-on": 1, "propagation": [PRIVATE]}),
        (["rbind", "ro", "rw"], True, {"off": 1, "propagation": [PRIVATE]}),
        (
            ["rbind", "nosuid", "nodev", "noexec", "rshared"],
            True,
            {"on": SUID_DEV_EXEC, "propagation": [mounts.MS_SHARED | mounts.MS_REC]},
        ),
        (["bind", "slave", "shared"], False, {"propagation": [mounts.MS_SLAVE, mounts.MS_SHARED]}),
        (["bind", "nosymfollow", "noatime"], False, {"on": 0x200010, "propagation": [PRIVATE]}),
        (["rbind", "rnoexec", "rsuid"], True, {"all-on": 8, "all-off": 2, "propagation": [PRIVATE]}),
    ],
)
def test_bind_options(options: list[str], recursive: bool, settings: dict) -> None:
    item = {"destination": "/x", "type": "bind", "source": "/y", "options": options}
    assert only(make(specification(mounts=[item])), "bind") == ("bind", "/y", "/x", recursive, settings)


def test_relative_sources_lie_in_the_bundle_and_destinations_in_the_root() -> None:
    item = {"destination": "x", "source": "data", "options": ["bind"]}
    made = make(specification(mounts=[item]), plan.Extras(base="/bundle"))
    assert only(made, "bind")[1:3] == ("/bundle/data", "/x")


def test_every_option_has_an_effect_that_can_be_undone() -> None:
    for word in mountplan.ATTRIBUTES:
        plain, below = mountplan.parse_options([word], "w"), mountplan.parse_options(["r" + word], "w")
        assert not plain.on & plain.off and not plain.bind and plain.data == {}
        assert (below.all_on, below.all_off) == (plain.on, plain.off) and not below.on | below.off and below.data == {}
    pairs = ("ro rw", "nosuid suid", "nodev dev", "noexec exec", "noatime atime", "nodiratime diratime")
    for pair in pairs:
        on, off = pair.split()
        assert mountplan.parse_options([on, off], "w").on == 0 and mountplan.parse_options([off, on], "w").on != 0


def test_options_of_file_systems_are_passed_on() -> None:
    item = {"destination": "/x", "type": "tmpfs", "source": "t", "options": ["size=1m", "mode=700", "sync", "rshared"]}
    made = only(make(specification(mounts=[item])), "mount")
    data = {"size": "1m", "mode": "700", "sync": None}
    assert made == ("mount", "tmpfs", "t", "/x", 0, data, [mounts.MS_SHARED | mounts.MS_REC], False)
    copied = {**item, "options": ["tmpcopyup", "ro"]}
    assert only(make(specification(mounts=[copied])), "tmpfs-copy-up") == ("tmpfs-copy-up", "/x", 1, {})
    again = {"destination": "/x", "type": "none", "options": ["remount", "bind", "ro"]}
    assert only(make(specification(mounts=[again])), "remount") == ("remount", "/x", 1, 0, {}, True)


def test_mapped_mounts() -> None:
    maps = [{"containerID": 0, "hostID": 1000, "size": 10}]
    item = {"destination": "/x", "source": "/y", "options": ["rbind", "ridmap"]}
    with pytest.raises(InvalidInput, match="needs uidMappings"):
        make(specification(mounts=[item]))
    made = make(specification(mounts=[{**item, "uidMappings": maps, "gidMappings": maps}]))
    assert only(made, "bind")[4]["idmap"] == {"uids": maps, "gids": maps, "recursive": True}
    with pytest.raises(InvalidInput, match="together"):
        make(specification(mounts=[{**item, "uidMappings": maps}]))
    kinds = [{"type": "user"}, {"type": "mount"}]
    made = make(
        specification(
            mounts=[{**item, "options": ["bind", "idmap"]}],
            linux__namespaces=kinds,
            linux__uidMappings=maps,
            linux__gidMappings=maps,
        )
    )
    assert only(made, "bind")[4]["idmap"] == {"uids": maps, "gids": maps, "recursive": False}


def test_time_namespace() -> None:
    kinds = [{"type": "mount"}, {"type": "time"}]
    offsets = {"monotonic": {"secs": 7, "nanosecs": 5}, "boottime": {"secs": -1}}
    made = make(specification(linux__namespaces=kinds, linux__timeOffsets=offsets))
    assert only(made, "time") == ("time", {"monotonic": [7, 5], "boottime": [-1, 0]})
    assert not made.flags & process.CLONE_NEWTIME
    with pytest.raises(InvalidInput, match=r"linux\.timeOffsets"):
        make(specification(linux__timeOffsets=offsets))


def test_scheduling() -> None:
    body = {
        **specification()["process"],
        "scheduler": {"policy": "SCHED_BATCH", "nice": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
    }
    made = make(specification(process=body, linux__personality={"domain": "LINUX32"}))
    assert only(made, "scheduler") == ("scheduler", [3, 1, 3, 0, 0, 0, 0])
    assert only(made, "io-priority") == ("io-priority", 3 << 13 | 4)
    assert only(made, "personality") == ("personality", 8)
    order = names(made)
    assert order.index("scheduler") < order.index("credentials")  # it may need privileges


def test_a_container_that_waits() -> None:
    hooks = ["createRuntime", "createContainer", "startContainer"]
    made = make(specification(), plan.Extras(waits=True, hooks=hooks, keyring=False, pivot=False))
    order = names(made)
    assert "die-with-monitor" not in order and "session-keyring" not in order and "pivot" not in order
    assert order.index("announce") < order.index("hooks") < order.index("move-root") < order.index("await-start")
    assert [o for o in made.operations if o[0] == "hooks"] == [
        ("hooks", "createContainer"),
        ("hooks", "startContainer"),
    ]
    assert order.index("await-start") < order.index("seccomp")  # it needs calls that a filter may refuse
    assert order[-2:] == ["hooks", "execute"]  # with all that confines the process


def test_the_word_bind_means_nothing_to_a_tmpfs() -> None:
    item = {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["bind", "size=1m"]}
    made = make(specification(mounts=[item]))
    assert "bind" not in names(made) and only(made, "mount")[1] == "tmpfs"


@pytest.mark.parametrize(
    ("changes", "kind", "where"),
    [
        ({"linux__namespaces": [{"type": "mount"}, {"type": "moon"}]}, InvalidInput, "linux.namespaces[1].type"),
        ({"linux__namespaces": [{"type": "mount"}, {"type": "mount"}]}, InvalidInput, "linux.namespaces[1]"),
        ({"linux__namespaces": [{"type": "pid"}]}, Unsupported, "linux.namespaces"),
        (
            {"linux__namespaces": [{"type": "uts", "path": "x"}]},
            InvalidInput,
            "linux.namespaces[0].path",
        ),
        ({"linux__uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}, InvalidInput, "linux.uidMappings"),
        ({"linux__personality": {"domain": "PLAN9"}}, InvalidInput, "linux.personality.domain"),
        ({"process__scheduler": {"policy": "SCHED_FAST"}}, InvalidInput, "process.scheduler.policy"),
        (
            {"process__ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 8}},
            InvalidInput,
            "process.ioPriority.priority",
        ),
        ({"process__selinuxLabel": "x"}, Unsupported, "process.selinuxLabel"),
        ({"linux__rootfsPropagation": "upwards"}, InvalidInput, "linux.rootfsPropagation"),
        ({"linux__devices": [{"path": "/proc/x"}]}, InvalidInput, "linux.devices[0].path"),
        ({"linux__devices": [{"path": "/etc/x", "type": "q"}]}, InvalidInput, "linux.devices[0].type"),
        ({"linux__devices": [{"path": "/etc/x", "type": "c"}]}, InvalidInput, "linux.devices[0]"),
        ({"linux__devices": [{"path": "/dev/../etc/x"}]}, InvalidInput, "linux.devices[0].path"),
        ({"mounts": [{"destination": "/x"}]}, InvalidInput, "mounts[0].type"),
        ({"mounts": [{"destination": "/x", "options": ["bind"]}]}, InvalidInput, "mounts[0].source"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}]}, Unsupported, "mounts[0]"),
        (
            {"mounts": [{"destination": "/x", "type": "bind", "source": "/", "options": ["bind", "size=1"]}]},
            InvalidInput,
            "mounts[0].options",
        ),
        (
            {"mounts": [{"destination": "/x", "type": "bind", "source": "/y", "options": ["idmap"]}]},
            InvalidInput,
            "mounts[0].options",
        ),
        ({"process__rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}, InvalidInput, "process.rlimits[0].type"),
        ({"process__capabilities": {"ambient": ["CAP_FLY"]}}, InvalidInput, "process.capabilities.ambient"),
    ],
)
def test_refusals_carry_the_json_path(changes: dict, kind: type, where: str) -> None:
    made = specification(**changes)
    with pytest.raises(kind) as caught:
        make(made)
    assert caught.value.message.startswith(where), caught.value.message


@pytest.mark.parametrize("hardened", [False, True])
def test_security_modules_come_before_rights_go(hardened: bool) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}
    profile |= {"listenerPath": "/a", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    made = specification(process__noNewPrivileges=hardened, process__apparmorProfile="p", linux__seccomp=profile)
    found = make(made, plan.Extras(landlock=[["ro", "/a"]]))
    order = names(found)
    for name in ("apparmor", "landlock"):
        assert order.index(name) < order.index("credentials") < order.index("execute")
    assert (order.index("seccomp") < order.index("credentials")) != hardened
    # A filter that asks is one only after what asks for the label.
    assert order.index("apparmor") < order.index("seccomp")
    assert only(found, "landlock") == ("landlock", [["ro", "/a"]])
    assert only(found, "apparmor") == ("apparmor", "p", False)
    assert only(found, "seccomp") == ("seccomp", 2, True)
    assert "apparmor" not in names(make(specification(process__apparmorProfile="unconfined")))
    assert only(make(specification(process__apparmorProfile="underlay-default")), "apparmor")[2] is True
    inside = plan.for_exec(made["process"], plan.Extras(landlock=[["ro", "/a"]]), (0, 0), profile)
    assert [o for o in inside if o[0] in ("apparmor", "landlock", "seccomp")] == [
        o for o in found.operations if o[0] in ("apparmor", "landlock", "seccomp")
    ]


@pytest.mark.parametrize("label", ["a\nb", " a", "a\0"])
def test_labels_that_are_none(label: str) -> None:
    with pytest.raises(InvalidInput, match=r"process\.apparmorProfile"):
        make(specification(process__apparmorProfile=label))


def test_exec_has_the_same_end() -> None:
    body = specification(process__noNewPrivileges=True)["process"]
    inside = [o[0] for o in plan.for_exec(body, plan.Extras(user="alice"), (0, 0))]
    whole = names(make(specification(process__noNewPrivileges=True)))
    assert inside[0] == "user" and inside[1:] == [n for n in whole[whole.index("session") :] if n != "die-with-monitor"]
    assert plan.for_exec({**body, "terminal": True}, plan.Extras(), (5, 6))[1] == ("console", 5, 6, False)


def test_all_operations_are_known() -> None:
    made = make(specification(process__terminal=True), plan.Extras(copy_up=["/data"], soft_sysctls={"a": "b"}))
    ops.check_known(made.operations)
    with pytest.raises(InvalidInput):
        ops.check_known([("fly",)])


def test_host_facts_are_a_value() -> None:
    assert compose.HostFacts().rootless is False and compose.HostFacts().capabilities == []
