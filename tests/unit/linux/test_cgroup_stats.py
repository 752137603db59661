"""Figures of a group: both versions' files in one shape."""

from __future__ import annotations

from pathlib import Path

from underlay.linux.cgroup import stats


def files(place: Path, **texts: str) -> str:
    place.mkdir(exist_ok=True)
    for name, text in texts.items():
        (place / name.replace("__", ".")).write_text(text)
    return str(place)


def test_version_1(tmp_path: Path) -> None:
    places = {
        "cpuacct": files(
            tmp_path / "cpuacct",
            cpuacct__usage="5000\n",
            cpuacct__stat="user 3\nsystem 2\n",
            cpuacct__usage_percpu="2000 3000 \n",
        ),
        "cpu": files(tmp_path / "cpu", cpu__stat="nr_periods 10\nnr_throttled 4\nthrottled_time 77\n"),
        "memory": files(
            tmp_path / "memory",
            memory__usage_in_bytes="100\n",
            memory__max_usage_in_bytes="200\n",
            memory__limit_in_bytes="300\n",
            memory__failcnt="5\n",
            memory__memsw__usage_in_bytes="150\n",
            memory__stat="cache 40\ntotal_inactive_file 30\n",
        ),
        "pids": files(tmp_path / "pids", pids__current="3\n", pids__max="max\n"),
        "blkio": files(
            tmp_path / "blkio",
            blkio__bfq__io_service_bytes_recursive="Total 0\n",
            blkio__throttle__io_service_bytes_recursive="8:0 Read 4096\n8:0 Write 512\nTotal 4608\n",
            blkio__throttle__io_serviced_recursive="8:0 Read 1\nTotal 1\n",
        ),
        "hugetlb": files(
            tmp_path / "hugetlb",
            hugetlb__2MB__usage_in_bytes="9\n",
            hugetlb__2MB__max_usage_in_bytes="10\n",
            hugetlb__2MB__failcnt="1\n",
        ),
    }
    found = stats.v1(places)
    tick = stats._TICK
    assert found["cpu"]["usage"] == {"total": 5000, "kernel": 2 * tick, "user": 3 * tick, "percpu": [2000, 3000]}
    assert found["cpu"]["throttling"] == {"periods": 10, "throttledPeriods": 4, "throttledTime": 77}
    assert found["memory"]["usage"] == {"limit": 300, "usage": 100, "max": 200, "failcnt": 5}
    assert found["memory"]["cache"] == 40 and found["memory"]["swap"]["usage"] == 150
    assert found["pids"] == {"current": 3, "limit": 0}
    assert found["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "minor": 0, "op": "Read", "value": 4096},
        {"major": 8, "minor": 0, "op": "Write", "value": 512},
    ]
    assert len(found["blkio"]["ioServicedRecursive"]) == 1
    assert found["hugetlb"] == {"2MB": {"usage": 9, "max": 10, "failcnt": 1}}
    empty = stats.v1({})
    assert empty["cpu"]["usage"]["total"] == 0 and empty["hugetlb"] == {}


def test_version_2(tmp_path: Path) -> None:
    place = files(
        tmp_path / "group",
        cpu__stat="usage_usec 5\nuser_usec 3\nsystem_usec 2\nnr_periods 9\nnr_throttled 1\nthrottled_usec 4\n",
        memory__current="100\n",
        memory__max="max\n",
        memory__peak="200\n",
        memory__swap__current="7\n",
        memory__swap__max="max\n",
        memory__stat="anon 60\nfile 40\nkernel 11\nsock 2\ninactive_file 30\n",
        memory__events="low 0\nhigh 0\nmax 6\noom 1\noom_kill 1\n",
        pids__current="3\n",
        pids__max="10\n",
        io__stat="8:0 rbytes=4096 wbytes=512 rios=1 wios=2 dbytes=0 dios=0\n9:0 \n",
        cgroup__controllers="cpu hugetlb\n",
        hugetlb__2MB__current="9\n",
        hugetlb__2MB__rsvd__current="9\n",
        hugetlb__2MB__events="max 3\n",
        memory__pressure="some avg10=1.50 avg60=0.00 avg300=0.00 total=12\nfull avg10=0.00 total=3\n",
    )
    found = stats.v2(place)
    assert found["cpu"]["usage"] == {"total": 5000, "kernel": 2000, "user": 3000, "percpu": []}
    assert found["cpu"]["throttling"] == {"periods": 9, "throttledPeriods": 1, "throttledTime": 4000}
    no_limit = (1 << 64) - 1
    assert found["memory"]["usage"] == {"limit": no_limit, "usage": 100, "max": 200, "failcnt": 6}
    assert found["memory"]["swap"]["usage"] == 107 and found["memory"]["swap"]["limit"] == no_limit
    assert found["memory"]["cache"] == 40 and found["memory"]["kernel"]["usage"] == 11
    assert found["pids"] == {"current": 3, "limit": 10}
    assert {entry["op"]: entry["value"] for entry in found["blkio"]["ioServiceBytesRecursive"]} == {
        "Read": 4096,
        "Write": 512,
        "Discard": 0,
    }
    assert found["hugetlb"] == {"2MB": {"usage": 9, "max": 0, "failcnt": 3}}
    assert found["memory"]["psi"]["some"] == {"avg10": 1.5, "avg60": 0.0, "avg300": 0.0, "total": 12}
    assert "psi" not in found["cpu"]
