"""Bodies that create and update containers: what docker's clients send becomes options, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from underlay.api.requests.createbody import container_options, update_options
from underlay.engine.containers.specification import mount_flags
from underlay.engine.containers.specification.request import Request
from underlay.engine.options import ContainerOptions
from underlay.errors import InvalidInput, UnderlayError, Unsupported


def made(host: dict[str, Any] | None = None, **config: Any) -> ContainerOptions:
    options = container_options({"Image": "alpine", "HostConfig": host, **config}, "", "")
    Request(options)  # what is made fits the grammar
    return options


def asked(host: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """Return the options that differ from their defaults."""
    usual = made().given()
    return {name: value for name, value in made(host, **config).given().items() if usual.get(name, "-") != value}


def test_least() -> None:
    options = container_options({"Image": "alpine"}, "/web", "linux/arm64")
    assert options == ContainerOptions(image="alpine", name="web", platform="linux/arm64", pull="never")


def test_command_line_client() -> None:
    """What docker 26 sends for `docker run alpine id`, shortened by what is ignored: nothing is asked for."""
    host = {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": {},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "ConsoleSize": [24, 80],
        "IpcMode": "",
        "Isolation": "",
        "ShmSize": 0,
        "BlkioDeviceReadBps": [],
        "BlkioWeightDevice": [],
        "Devices": [],
        "DeviceRequests": None,
        "MemorySwappiness": -1,
        "OomKillDisable": False,
        "PidsLimit": None,
        "Ulimits": [],
        "MaskedPaths": None,
        "ReadonlyPaths": None,
        "Init": None,
        "Runtime": "underlay",
    }
    endpoint = {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": None,
        "MacAddress": "",
        "DriverOpts": None,
        "GwPriority": 0,
    }
    options = asked(
        host,
        Cmd=["id"],
        Entrypoint=None,
        Env=None,
        Volumes={},
        Labels={},
        OnBuild=None,
        StdinOnce=False,
        NetworkingConfig={"EndpointsConfig": {"default": endpoint}},
    )
    assert options == {"command": ["id"], "restart": "no"}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Hostname": "h", "Domainname": "d.example"}, {"hostname": "h", "domainname": "d.example"}),
        ({"User": "1:2", "WorkingDir": "/w"}, {"user": "1:2", "working_directory": "/w"}),
        ({"Env": ["A=1", "B"]}, {"environment": ["A=1", "B"]}),
        ({"Cmd": "echo a b"}, {"command": ["echo a b"]}),
        ({"Cmd": []}, {}),
        ({"Entrypoint": "/e"}, {"entrypoint": ["/e"]}),
        ({"Entrypoint": [""]}, {"entrypoint": []}),
        ({"Entrypoint": []}, {"entrypoint": []}),
        ({"Labels": {"a": "1", "b": None}}, {"labels": {"a": "1", "b": ""}}),
        ({"Tty": True, "OpenStdin": True}, {"terminal": True, "interactive": True}),
        ({"tty": True, "openstdin": True}, {"terminal": True, "interactive": True}),  # Go's decoder ignores the case
        ({"StopSignal": "SIGINT", "StopTimeout": 0}, {"stop_signal": "SIGINT", "stop_timeout": 0}),
        ({"ExposedPorts": {"80/tcp": {}, "53/udp": None}}, {"expose": ["80/tcp", "53/udp"]}),
        ({"Volumes": {"/data": {}}}, {"volumes": ["/data"]}),
        ({"MacAddress": "02:42:00:00:00:05"}, {"mac_address": "02:42:00:00:00:05"}),
        ({"NetworkDisabled": True}, {"network": "none"}),
        ({"Healthcheck": {"Test": ["NONE"], "Interval": 10**9}}, {"no_healthcheck": True}),
        ({"Healthcheck": {"Test": ["CMD", "sh", "a b"]}}, {"health_test": ["sh", "a b"]}),
        (
            {"Healthcheck": {"Test": ["CMD-SHELL", "a | b"], "Interval": 15 * 10**8, "Retries": 4}},
            {"health_cmd": "a | b", "health_interval": 1.5, "health_retries": 4},
        ),
        ({"Healthcheck": {"StartPeriod": 10**9}}, {"health_start_period": 1.0}),
    ],
)
def test_config(config: dict[str, Any], expected: dict[str, Any]) -> None:
    options = asked(None, **config)
    times = {name for name in options if name.startswith("health_") and not options[name]}
    assert {name: value for name, value in options.items() if name not in times} == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ({"Binds": ["/a:/b:ro", "v1:/c", "/d"]}, {"volumes": ["/a:/b:ro", "v1:/c", "/d"]}),
        ({"Tmpfs": {"/run": "size=64k", "/tmp": ""}}, {"tmpfs": ["/run:size=64k", "/tmp"]}),
        ({"VolumesFrom": ["c:ro"], "VolumeDriver": "local"}, {"volumes_from": ["c:ro"], "volume_driver": "local"}),
        ({"NetworkMode": "container:abc"}, {"network": "container:abc"}),
        ({"NetworkMode": "bridge"}, {"network": "bridge"}),
        ({"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}, {"publish": ["8080:80/tcp"]}),
        ({"PortBindings": {"80": [{"HostIp": "::1", "HostPort": ""}]}}, {"publish": ["[::1]::80"]}),
        ({"PortBindings": {"53/udp": [{"HostIp": "", "HostPort": ""}]}}, {"publish": ["53/udp"]}),
        ({"PortBindings": {"80/tcp": None}, "PublishAllPorts": True}, {"expose": ["80/tcp"], "publish_all": True}),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}, {"restart": "on-failure:3"}),
        ({"AutoRemove": True, "Init": True, "Privileged": True}, {"remove": True, "init": True, "privileged": True}),
        ({"CapAdd": ["NET_ADMIN"], "CapDrop": ["ALL"]}, {"cap_add": ["NET_ADMIN"], "cap_drop": ["ALL"]}),
        ({"SecurityOpt": ["seccomp=builtin", "label=disable"]}, {"security": ["seccomp=default", "label=disable"]}),
        ({"SecurityOpt": ['seccomp={"a":1}']}, {"security": ['seccomp={"a":1}']}),
        ({"MaskedPaths": [], "ReadonlyPaths": []}, {"security": ["systempaths=unconfined"]}),
        ({"Devices": [{"PathOnHost": "/dev/fuse"}]}, {"devices": ["/dev/fuse:/dev/fuse:rwm"]}),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["a.b/c=d"]}]}, {"devices": ["a.b/c=d"]}),
        ({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, {"gpus": "all"}),
        ({"DeviceRequests": [{"DeviceIDs": ["0", "1"], "Capabilities": [["gpu"]]}]}, {"gpus": '"device=0,1"'}),
        (
            {"DeviceRequests": [{"Driver": "nvidia", "Count": 2, "Capabilities": [["gpu"]]}]},
            {"gpus": "count=2,driver=nvidia"},
        ),
        ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}]}, {"ulimits": ["nofile=1:2"]}),
        ({"Sysctls": {"net.a": "1"}, "ShmSize": 1024}, {"sysctls": {"net.a": "1"}, "shm_size": 1024}),
        ({"LogConfig": {"Type": "none"}, "CgroupParent": "/x"}, {"log_driver": "none", "cgroup_parent": "/x"}),
        ({"Links": ["/db:/web/data", "q:r"]}, {"links": ["db:data", "q:r"]}),
        ({"Memory": 1 << 30, "MemorySwap": -1}, {"memory": 1 << 30, "memory_swap": -1}),
        ({"NanoCpus": 1_500_000_000, "MemorySwappiness": 0}, {"cpus": 1.5, "memory_swappiness": 0}),
        ({"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 500}]}, {"blkio_weight_device": ["/dev/sda:500"]}),
        ({"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1024}]}, {"device_read_bps": ["/dev/sda:1024"]}),
        ({"Runtime": "runc"}, {"runtime": "runc"}),
        ({"OomScoreAdj": -5, "OomKillDisable": True}, {"oom_score_adj": -5, "oom_kill_disable": True}),
    ],
)
def test_host(host: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked(host) == expected


@pytest.mark.parametrize(
    ("mount", "kind", "source", "words"),
    [
        ({"Type": "bind", "Source": "/a,b", "Target": "/t", "ReadOnly": True}, "bind", "/a,b", ["ro"]),
        (
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/t",
                "BindOptions": {"Propagation": "rslave", "NonRecursive": True},
            },
            "bind",
            "/a",
            ["rslave", "bind"],
        ),
        ({"Type": "volume", "Source": "vol", "Target": "/t", "VolumeOptions": {"NoCopy": True}}, "volume", "vol", []),
        (
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 65536, "Mode": 0o1777}},
            "tmpfs",
            "",
            ["noexec", "nosuid", "nodev", "size=65536", "mode=1777"],
        ),
        ({"Type": "image", "Source": "alpine:3", "Target": "/t"}, "image", "alpine:3", ["ro"]),
    ],
)
def test_mounts(mount: dict[str, Any], kind: str, source: str, words: list[str]) -> None:
    (text,) = made({"Mounts": [mount]}).mounts
    parsed = mount_flags.parse_mount(text)
    assert (parsed.kind, parsed.source, parsed.target, parsed.options) == (kind, source, "/t", words)


def test_volume_of_a_mount() -> None:
    options = {"Labels": {"a": "x,y"}, "DriverConfig": {"Name": "local", "Options": {"o": "size=1m,uid=5"}}}
    (text,) = made({"Mounts": [{"Target": "/t", "Source": "vol", "VolumeOptions": options}]}).mounts
    mount = mount_flags.parse_mount(text)
    assert (mount.labels, mount.driver_options) == ({"a": "x,y"}, {"o": "size=1m,uid=5"})
    assert mount.copy_up


def test_volume_that_is_mounted_already() -> None:
    assert made({"Binds": ["v1:/data/"]}, Volumes={"/data": {}, "/other": {}}).volumes == ["v1:/data/", "/other"]


@pytest.mark.parametrize(
    ("mode", "endpoints", "expected"),
    [
        ("default", {}, {}),
        ("net1", {"net1": {"Aliases": ["a"]}}, {"network": "net1", "network_aliases": ["a"]}),
        ("", {"net1": None}, {"network": "net1"}),  # docker-py with networking_config alone
        ("bridge", {"net1": {}}, {"network": "net1"}),
        (
            "bridge",
            {"bridge": {"MacAddress": "02:42:00:00:00:05"}},
            {"network": "bridge", "mac_address": "02:42:00:00:00:05"},
        ),
        ("host", {"host": {}}, {"network": "host"}),
        (
            "net1",
            {
                "net2": {"Aliases": ["b", "c"], "IPAMConfig": {"IPv4Address": "10.1.0.5", "IPv6Address": "fd00::5"}},
                "net1": {"IPAMConfig": {"IPv4Address": "10.2.0.5"}, "Links": ["db:data"]},
                "net3": {},
            },
            {
                "network": "net1",
                "ip": "10.2.0.5",
                "links": ["db:data"],
                "networks": ["name=net2,alias=b,alias=c,ip=10.1.0.5,ip6=fd00::5", "net3"],
            },
        ),
    ],
)
def test_networks(mode: str, endpoints: dict[str, Any], expected: dict[str, Any]) -> None:
    assert asked({"NetworkMode": mode}, NetworkingConfig={"EndpointsConfig": endpoints}) == expected


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"Image": 5}, "Image"),
        ({"Image": ""}, "Image"),
        ({"Image": "a", "Cmd": 5}, "Cmd"),
        ({"Image": "a", "Cmd": ["a", None]}, "Cmd[1]"),
        ({"Image": "a", "Cmd": ["a\0b"]}, "Cmd[0]"),
        ({"Image": "a", "Env": ["=x"]}, "Env[0]"),
        ({"Image": "a", "Tty": "yes"}, "Tty"),
        ({"Image": "a", "HostConfig": []}, "HostConfig"),
        ({"Image": "a", "HostConfig": {"Memory": "1g"}}, "HostConfig.Memory"),
        ({"Image": "a", "HostConfig": {"Memory": True}}, "HostConfig.Memory"),
        ({"Image": "a", "HostConfig": {"Memory": 1.5}}, "HostConfig.Memory"),
        ({"Image": "a", "HostConfig": {"Memory": 1 << 63}}, "HostConfig.Memory"),
        ({"Image": "a", "HostConfig": {"Binds": ["../x:/y"]}}, "HostConfig.Binds[0]"),
        ({"Image": "a", "HostConfig": {"Binds": ["~/x:/y"]}}, "HostConfig.Binds[0]"),
        (
            {"Image": "a", "HostConfig": {"Mounts": [{"Type": "bind", "Source": "x", "Target": "/t"}]}},
            "Mounts[0].Source",
        ),
        ({"Image": "a", "HostConfig": {"Mounts": [{"Source": 'x"y', "Target": "/t"}]}}, "Mounts[0]"),
        ({"Image": "a", "HostConfig": {"Mounts": [{"Target": "/t", "BindOptions": {}}]}}, "Mounts[0].BindOptions"),
        (
            {"Image": "a", "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": 80}]}}},
            "PortBindings.80/tcp[0].HostPort",
        ),
        ({"Image": "a", "HostConfig": {"PortBindings": {"1:80/tcp": []}}}, "PortBindings"),
        ({"Image": "a", "HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}}, "RestartPolicy"),
        ({"Image": "a", "HostConfig": {"SecurityOpt": ["seccomp=/etc/passwd"]}}, "SecurityOpt"),
        ({"Image": "a", "HostConfig": {"Isolation": "hyperv"}}, "Isolation"),
        ({"Image": "a", "HostConfig": {"ShmSize": -1}}, "ShmSize"),
        ({"Image": "a", "Healthcheck": {"Test": ["WHAT"]}}, "Healthcheck.Test"),
        ({"Image": "a", "Healthcheck": {"Test": ["CMD", "a"], "Interval": 5}}, "Healthcheck.Interval"),
        ({"Image": "a", "HostConfig": {"NetworkMode": "name=x,ip=10.0.0.1"}}, "NetworkMode"),
        (
            {
                "Image": "a",
                "HostConfig": {"NetworkMode": "x"},
                "NetworkingConfig": {"EndpointsConfig": {"y": {"Aliases": ["a,b"]}}},
            },
            "EndpointsConfig.y",
        ),
        (
            {"Image": "a", "HostConfig": {"NetworkMode": "host"}, "NetworkingConfig": {"EndpointsConfig": {"y": {}}}},
            "host",
        ),
    ],
)
def test_wrong(body: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        container_options(body, "", "")
    assert named in caught.value.message


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ({"KernelMemory": 5 << 20}, "HostConfig.KernelMemory"),
        ({"MaskedPaths": []}, "HostConfig.MaskedPaths"),
        ({"MaskedPaths": ["/proc/own"]}, "HostConfig.MaskedPaths"),
        ({"DeviceRequests": [{"Driver": "tpu"}]}, "tpu"),
        ({"Mounts": [{"Type": "npipe", "Source": "a", "Target": "/t"}]}, "npipe"),
        (
            {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Options": [["exec"]]}}]},
            "TmpfsOptions.Options",
        ),
    ],
)
def test_unsupported(host: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported) as caught:
        made(host)
    assert named in caught.value.message


def test_unsupported_endpoint() -> None:
    with pytest.raises(Unsupported, match=r"EndpointsConfig\.x\.DriverOpts"):
        made({}, NetworkingConfig={"EndpointsConfig": {"x": {"DriverOpts": {"a": "b"}}}})


def test_update() -> None:
    body = {"Memory": 1 << 30, "CpuShares": 0, "NanoCpus": 5 * 10**8, "RestartPolicy": {"Name": "always"}}
    assert update_options(body).given() == {"memory": 1 << 30, "cpus": 0.5, "restart": "always"}
    assert update_options({"PidsLimit": 0, "RestartPolicy": {"Name": ""}, "Devices": None}).given() == {"pids_limit": 0}
    assert update_options({}).given() == {}
    with pytest.raises(InvalidInput, match="CpuQuota"):
        update_options({"CpuQuota": "5"})


_NAMES = (
    *("Image", "Cmd", "Env", "Labels", "Tty", "Healthcheck", "Test", "ExposedPorts", "Volumes", "StopTimeout"),
    *(
        "HostConfig",
        "Binds",
        "Mounts",
        "Tmpfs",
        "PortBindings",
        "RestartPolicy",
        "Devices",
        "DeviceRequests",
        "Ulimits",
    ),
    *("NetworkingConfig", "EndpointsConfig", "IPAMConfig", "Aliases", "Links", "NetworkMode", "Memory", "LogConfig"),
    *("80/tcp", "HostPort", "Type", "Source", "Target", "VolumeOptions", "DriverConfig", "Capabilities", "SecurityOpt"),
)
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(("", "a", "/a:/b", "gpu", "volume"))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=8), st.dictionaries(st.sampled_from(_NAMES), _VALUES))
def test_no_traceback(config: dict[str, Any], host: dict[str, Any]) -> None:
    for body in (config, {**config, "Image": "a", "HostConfig": host}):
        for read in (lambda config: container_options(config, "", ""), update_options):
            try:
                read(body)
            except UnderlayError as error:
                assert error.http_status in (400, 501)
