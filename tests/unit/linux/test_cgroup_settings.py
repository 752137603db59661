"""From OCI resources to control files: values, orders and refusals of both versions, over trees of plain files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from underlay.errors import InvalidInput, KernelError, UnderlayError, Unsupported
from underlay.linux.cgroup import settings, v1, v2, v2settings

V1_FILES = {
    "memory": "memory.limit_in_bytes memory.memsw.limit_in_bytes memory.soft_limit_in_bytes memory.swappiness "
    "memory.oom_control memory.use_hierarchy memory.kmem.limit_in_bytes memory.kmem.tcp.limit_in_bytes "
    "memory.usage_in_bytes",
    "cpu": "cpu.shares cpu.cfs_quota_us cpu.cfs_period_us cpu.cfs_burst_us cpu.idle cpu.rt_runtime_us cpu.rt_period_us",
    "cpuset": "cpuset.cpus cpuset.mems",
    "pids": "pids.max",
    "blkio": "blkio.bfq.weight blkio.bfq.weight_device blkio.throttle.read_bps_device blkio.throttle.write_bps_device "
    "blkio.throttle.read_iops_device blkio.throttle.write_iops_device",
    "hugetlb": "hugetlb.2MB.limit_in_bytes hugetlb.2MB.rsvd.limit_in_bytes",
    "net_cls": "net_cls.classid",
    "net_prio": "net_prio.ifpriomap",
    "rdma": "rdma.max",
}
V2_FILES = (
    "memory.max memory.swap.max memory.low cpu.max cpu.weight pids.max cpuset.cpus cpuset.mems io.weight cpu.max.burst "
    "cpu.idle io.max hugetlb.2MB.max hugetlb.2MB.rsvd.max rdma.max cgroup.max.depth misc.max"
)


class Tree:
    """A group over plain files: `update`, and what is in a file afterwards."""

    def __init__(self, group: Any, directories: dict[str, Path]) -> None:
        self.group = group
        self.directories = directories

    def update(self, resources: dict[str, Any]) -> None:
        self.group.update(resources)

    def path(self, name: str) -> Path:
        return self.directories.get(name.partition(".")[0], self.directories.get("", Path())) / name

    def __getitem__(self, name: str) -> str:
        return self.path(name).read_text()


def tree_v1(place: Path) -> Tree:
    directories = {}
    for controller, names in V1_FILES.items():
        directories[controller] = place / controller / "underlay" / "x"
        directories[controller].mkdir(parents=True)
        for name in names.split():
            (directories[controller] / name).write_text("")
    mounts = {controller: str(place / controller) for controller in V1_FILES}
    return Tree(v1.GroupV1(mounts, "underlay/x"), directories)


def tree_v2(place: Path) -> Tree:
    group = v2.GroupV2(str(place), "underlay/x")
    directory = Path(group.directory)
    directory.mkdir(parents=True)
    for name in V2_FILES.split():
        (directory / name).write_text("")
    (directory / "cgroup.controllers").write_text("cpu memory pids io cpuset hugetlb rdma misc\n")
    return Tree(group, {"": directory})


@pytest.fixture(params=["v1", "v2"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Tree:
    return {"v1": tree_v1, "v2": tree_v2}[request.param](tmp_path)


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262144, 10000), (1 << 30, 10000)])
def test_weight_of_shares(shares: int, weight: int) -> None:
    assert v2settings.weight_of_shares(shares) == weight


def test_weights_grow_with_shares() -> None:
    weights = [v2settings.weight_of_shares(shares) for shares in range(2, 262144, 97)]
    assert weights == sorted(weights) and weights[0] == 1
    assert (v2settings.weight_of_block(10), v2settings.weight_of_block(1000)) == (1, 10000)


# What the specification's objects become: (resources, {file: text} of version 1, the same of version 2).
TABLE: list[tuple[dict[str, Any], dict[str, str], dict[str, str]]] = [
    (
        {"memory": {"limit": 100, "swap": 250, "reservation": 50}},
        {
            "memory.limit_in_bytes": "100",
            "memory.memsw.limit_in_bytes": "250",
            "memory.soft_limit_in_bytes": "50",
        },
        # Version 1 counts memory and swap together, version 2 swap alone.
        {"memory.max": "100", "memory.swap.max": "150", "memory.low": "50"},
    ),
    (
        {"memory": {"limit": -1}},
        {"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1"},
        {"memory.max": "max", "memory.swap.max": "max"},
    ),
    (
        {"memory": {"limit": 0, "swap": 0, "reservation": 0, "swappiness": -1, "kernel": 0, "disableOOMKiller": False}},
        {"memory.limit_in_bytes": "", "memory.memsw.limit_in_bytes": "", "memory.oom_control": ""},
        {"memory.max": "", "memory.swap.max": "", "memory.low": ""},
    ),
    (
        {"cpu": {"shares": 1024, "quota": 50000, "period": 200000, "burst": 7, "cpus": "0-1", "mems": "0"}},
        {
            "cpu.shares": "1024",
            "cpu.cfs_quota_us": "50000",
            "cpu.cfs_period_us": "200000",
            "cpu.cfs_burst_us": "7",
            "cpuset.cpus": "0-1",
            "cpuset.mems": "0",
        },
        {
            "cpu.weight": "39",
            "cpu.max": "50000 200000",
            "cpu.max.burst": "7",
            "cpuset.cpus": "0-1",
            "cpuset.mems": "0",
        },
    ),
    ({"cpu": {"quota": -5}}, {"cpu.cfs_quota_us": "-1"}, {"cpu.max": "max 100000"}),
    ({"cpu": {"period": 5000}}, {"cpu.cfs_period_us": "5000"}, {"cpu.max": "max 5000"}),
    (
        {"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "realtimeRuntime": 0}},
        {"cpu.shares": ""},
        {"cpu.max": ""},
    ),
    ({"cpu": {"idle": 1}}, {"cpu.idle": "1"}, {"cpu.idle": "1"}),
    ({"pids": {"limit": 7}}, {"pids.max": "7"}, {"pids.max": "7"}),
    ({"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
    # "No limit" until specification 1.2, and what podman sends for it.
    ({"pids": {"limit": 0}}, {"pids.max": "max"}, {"pids.max": "max"}),
    ({"blockIO": {"weight": 10}}, {"blkio.bfq.weight": "10"}, {"io.weight": "default 1"}),
    ({"blockIO": {"weight": 1000}}, {"blkio.bfq.weight": "1000"}, {"io.weight": "default 10000"}),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 16, "weight": 1000}]}},
        {"blkio.bfq.weight_device": "8:16 1000"},
        {"io.weight": "8:16 10000"},
    ),
    (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]}},
        {"blkio.throttle.read_bps_device": "8:0 600"},
        {"io.max": "8:0 rbps=600"},
    ),
    (
        {"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]}},
        {"blkio.throttle.write_iops_device": "8:0 0"},
        {"io.max": "8:0 wiops=max"},
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 5}]},
        {"hugetlb.2MB.limit_in_bytes": "5", "hugetlb.2MB.rsvd.limit_in_bytes": "5"},
        {"hugetlb.2MB.max": "5", "hugetlb.2MB.rsvd.max": "5"},
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}}},
        {"rdma.max": "mlx5_1 hca_handle=3 hca_object=10"},
        {"rdma.max": "mlx5_1 hca_handle=3 hca_object=10"},
    ),
    ({"network": {}, "unified": {}, "rdma": None, "blockIO": {"weight": 0, "leafWeight": 0}}, {}, {}),
]


@pytest.mark.parametrize(("resources", "first", "second"), TABLE, ids=lambda value: "")
def test_values(tmp_path: Path, resources: dict[str, Any], first: dict[str, str], second: dict[str, str]) -> None:
    for tree, texts in ((tree_v1(tmp_path / "1"), first), (tree_v2(tmp_path / "2"), second)):
        tree.update(resources)
        assert {name: tree[name] for name in texts} == texts


def test_version_1_only(tmp_path: Path) -> None:
    tree = tree_v1(tmp_path)
    tree.path("memory.use_hierarchy").write_text("1")
    tree.update(
        {
            "memory": {
                "swappiness": 0,
                "disableOOMKiller": True,
                "useHierarchy": True,
                "kernel": 8192,
                "kernelTCP": -1,
            },
            "cpu": {"realtimeRuntime": 950, "realtimePeriod": 1000},
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
        }
    )
    names = "memory.swappiness memory.oom_control memory.kmem.limit_in_bytes memory.kmem.tcp.limit_in_bytes"
    assert [tree[name] for name in names.split()] == ["0", "1", "8192", "-1"]
    assert (tree["cpu.rt_runtime_us"], tree["cpu.rt_period_us"]) == ("950", "1000")
    assert (tree["net_cls.classid"], tree["net_prio.ifpriomap"]) == ("1048577", "eth0 500")


def test_unified(tmp_path: Path) -> None:
    tree = tree_v2(tmp_path)
    tree.update({"unified": {"memory.low": "5", "cgroup.max.depth": "3", "misc.max": "a 1\nb 2"}})
    assert (tree["memory.low"], tree["cgroup.max.depth"], tree["misc.max"]) == ("5", "3", "b 2")


# (resources, JSON path at the beginning of the refusal) for both versions.
REFUSED_BY_BOTH: list[tuple[dict[str, Any], str]] = [
    ({"colour": {"a": 1}}, "linux.resources.colour"),
    ({"memory": {"limit": 1, "colour": 2}}, "linux.resources.memory.colour"),
    ({"memory": {"limit": "64m"}}, "linux.resources.memory.limit"),
    ({"memory": {"limit": -2}}, "linux.resources.memory.limit"),
    ({"memory": {"swappiness": 101}}, "linux.resources.memory.swappiness"),
    ({"memory": []}, ""),
    ({"memory": [1]}, "linux.resources.memory is not an object"),
    ({"cpu": {"shares": 1}}, "linux.resources.cpu.shares"),
    ({"cpu": {"shares": 1 << 20}}, "linux.resources.cpu.shares"),
    ({"cpu": {"idle": 2}}, "linux.resources.cpu.idle"),
    ({"cpu": {"cpus": 3}}, "linux.resources.cpu.cpus"),
    ({"pids": {"limit": True}}, "linux.resources.pids.limit"),
    ({"blockIO": {"weight": 9}}, "linux.resources.blockIO.weight"),
    ({"blockIO": {"leafWeight": 10}}, "linux.resources.blockIO.leafWeight"),
    (
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "leafWeight": 10}]}},
        "linux.resources.blockIO.weightDevice[0].leafWeight",
    ),
    ({"blockIO": {"weightDevice": [{"minor": 0}]}}, "linux.resources.blockIO.weightDevice[0].major"),
    (
        {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}},
        "linux.resources.blockIO.throttleReadBpsDevice[0].rate",
    ),
    ({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}, "linux.resources.hugepageLimits[0].pageSize"),
    ({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}, "linux.resources.hugepageLimits[0].pageSize"),
    ({"rdma": {"mlx": {"colour": 1}}}, "linux.resources.rdma.mlx"),
    ({"unified": {"cgroup.procs": "1"}}, "linux.resources.unified['cgroup.procs']"),
    ({"unified": {"../../x": "1"}}, "linux.resources.unified['../../x']"),
    ({"unified": {"memory.colour": "1"}}, "linux.resources.unified['memory.colour']"),
    ({"devices": [{"allow": True, "type": "p"}]}, "linux.resources.devices[0].type"),
]


@pytest.mark.parametrize(("resources", "where"), REFUSED_BY_BOTH, ids=[str(n) for n, _ in enumerate(REFUSED_BY_BOTH)])
def test_refused_with_the_json_path(tree: Tree, resources: dict[str, Any], where: str) -> None:
    if not where:
        tree.update(resources)  # empty is nothing
        return
    (tree.path("devices.list").parent).mkdir(exist_ok=True, parents=True)
    with pytest.raises(UnderlayError) as caught:
        tree.update(resources)
    assert isinstance(caught.value, Unsupported | InvalidInput) and caught.value.message.startswith(where)


@pytest.mark.parametrize(
    ("resources", "where"),
    [
        ({"memory": {"swappiness": 0}}, "linux.resources.memory.swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "linux.resources.memory.disableOOMKiller"),
        ({"memory": {"useHierarchy": False}}, "linux.resources.memory.useHierarchy"),
        ({"memory": {"kernel": 5}}, "linux.resources.memory.kernel"),
        ({"memory": {"kernelTCP": 5}}, "linux.resources.memory.kernelTCP"),
        ({"memory": {"limit": 100, "swap": 50}}, "linux.resources.memory.swap"),
        ({"memory": {"swap": 50}}, "linux.resources.memory.swap"),
        ({"cpu": {"realtimeRuntime": 5}}, "linux.resources.cpu.realtimeRuntime"),
        ({"cpu": {"realtimePeriod": 5}}, "linux.resources.cpu.realtimePeriod"),
        ({"network": {"classID": 1}}, "linux.resources.network"),
        ({"network": {"priorities": [{"name": "a", "priority": 1}]}}, "linux.resources.network"),
    ],
)
def test_version_2_refuses(tmp_path: Path, resources: dict[str, Any], where: str) -> None:
    with pytest.raises(UnderlayError) as caught:
        tree_v2(tmp_path).update(resources)
    assert isinstance(caught.value, Unsupported | InvalidInput) and caught.value.message.startswith(where)


def test_missing_controllers_are_named(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"linux.resources.rdma.mlx cannot be set: .* no cgroup controller rdma"):
        v1.GroupV1({}, "underlay/x").update({"rdma": {"mlx": {"hcaHandles": 1}}})
    tree = tree_v2(tmp_path)
    tree.path("cgroup.controllers").write_text("cpu")
    with pytest.raises(Unsupported) as caught:
        tree.update({"pids": {"limit": 5}})
    assert "controller pids is not available" in caught.value.message and caught.value.hint


def test_kernels_that_ignore_a_value_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_v1(tmp_path)
    real = settings.common.integer
    kmem = str(tree.path("memory.kmem.limit_in_bytes"))
    monkeypatch.setattr(settings.common, "integer", lambda path: (1 << 63) - 4096 if path == kmem else real(path))
    with pytest.raises(Unsupported, match=r"linux.resources.memory.kernel .* ignores it"):
        tree.update({"pids": {"limit": 5}, "memory": {"kernel": 1 << 20}})
    assert tree["pids.max"].strip() == ""


def test_refused_for_the_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel whose limit of memory may never be above that of both: growing and shrinking need opposite orders."""
    tree = tree_v1(tmp_path)
    limit, both = tree.path("memory.limit_in_bytes"), tree.path("memory.memsw.limit_in_bytes")
    written: list[str] = []

    def write(path: str, value: str) -> None:
        if path == str(limit) and int(value) > int(both.read_text()):
            raise KernelError("write", path, 22)
        if path == str(both) and int(value) < int(limit.read_text()):
            raise KernelError("write", path, 22)
        Path(path).write_text(value)
        written.append(Path(path).name)

    monkeypatch.setattr(settings.common, "write", write)
    limit.write_text("100")
    both.write_text("200")
    tree.update({"memory": {"limit": 300, "swap": 600}})
    assert written == ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"]
    tree.update({"memory": {"limit": 50, "swap": 60}})
    assert (limit.read_text(), both.read_text()) == ("50", "60")
    with pytest.raises(KernelError):
        tree.update({"memory": {"limit": 100, "swap": 90}})
    assert (limit.read_text(), both.read_text()) == ("50", "60")


def test_put_back_knows_lines_by_key(tmp_path: Path) -> None:
    undo = settings.line_of("8:0", "8:0 0")
    assert undo("8:16 5\n8:0 600\n") == "8:0 600" and undo("8:16 5\n") == "8:0 0" and undo("") == "8:0 0"
    back = settings.put([settings.Setting(str(_file(tmp_path, "a", "old")), 5, "x")])
    settings.put_back(back)
    assert (tmp_path / "a").read_text() == "old"


def _file(place: Path, name: str, text: str) -> Path:
    (place / name).write_text(text)
    return place / name
