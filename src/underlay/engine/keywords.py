"""The keywords of `run`, `create`, `exec`, `update` and `build` for type checkers and editors. Nothing imports it to run.

The names are the fields of ContainerOptions, ExecOptions and BuildRequest; the values may have the forms that
`engine.given` understands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from ..builder.request import CacheStore, Output, Secret
from ..cancellation import Cancellation

Texts = str | list[str] | tuple[str, ...]
Command = str | list[str] | tuple[str, ...]  # a line is split into words
Size = int | str  # bytes, or "64m"
Port = int | str | tuple[str, int] | None  # of the host; with an address; None for any


class LimitKeywords(TypedDict, total=False):
    """What `update` can change: see ContainerOptions."""

    restart: str
    memory: Size
    memory_swap: Size
    memory_reservation: Size
    cpus: float | str
    cpu_shares: int
    cpu_quota: int
    cpu_period: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int
    blkio_weight: int


class ContainerKeywords(TypedDict, total=False):
    """What `run` and `create` take: see ContainerOptions."""

    entrypoint: Command | None
    name: str
    platform: str
    pull: Literal["always", "missing", "never"]
    environment: Mapping[str, str | None] | Texts
    working_directory: str
    user: str
    groups: Texts
    hostname: str
    domainname: str
    terminal: bool
    interactive: bool
    remove: bool
    read_only: bool
    privileged: bool
    init: bool
    labels: Mapping[str, str | int] | Texts
    annotations: Mapping[str, str | int] | Texts
    volumes: Mapping[str, Mapping[str, str] | str] | Texts
    mounts: Texts
    tmpfs: Mapping[str, str] | Texts
    volumes_from: Texts
    volume_driver: str
    extra_hosts: Mapping[str, str] | Texts
    dns: Texts
    dns_search: Texts
    dns_options: Texts
    cap_add: Texts
    cap_drop: Texts
    security: Texts
    devices: Texts
    gpus: str
    device_cgroup_rules: Texts
    ulimits: Mapping[str, str | int] | Texts
    sysctls: Mapping[str, str | int] | Texts
    shm_size: Size
    storage_options: Mapping[str, str | int] | Texts
    secrets: Texts
    stop_signal: str
    stop_timeout: int | None
    health_cmd: str
    health_test: Texts
    health_interval: float
    health_timeout: float
    health_start_period: float
    health_start_interval: float
    health_retries: int
    no_healthcheck: bool
    restart: str
    network: str
    networks: Texts
    ip: str
    ip6: str
    mac_address: str
    network_aliases: Texts
    links: Mapping[str, str] | Texts
    publish: Mapping[str, Port | list[Port]] | Texts
    publish_all: bool
    expose: Texts
    pid: str
    ipc: str
    uts: str
    userns: str
    cgroupns: str
    log_driver: str
    log_options: Mapping[str, str | int] | Texts
    memory: Size
    memory_swap: Size
    memory_reservation: Size
    memory_swappiness: int
    oom_kill_disable: bool
    cpus: float | str
    cpu_shares: int
    cpu_quota: int
    cpu_period: int
    cpu_rt_period: int
    cpu_rt_runtime: int
    cpuset_cpus: str
    cpuset_mems: str
    pids_limit: int
    blkio_weight: int
    blkio_weight_device: Texts
    device_read_bps: Texts
    device_write_bps: Texts
    device_read_iops: Texts
    device_write_iops: Texts
    cgroup_parent: str
    oom_score_adj: int
    runtime: str
    isolation: str
    kernel: str


class ExecKeywords(TypedDict, total=False):
    """What `exec` takes: see ExecOptions."""

    environment: Mapping[str, str | None] | Texts
    working_directory: str
    user: str
    terminal: bool
    interactive: bool
    privileged: bool
    size: tuple[int, int]


class BuildKeywords(TypedDict, total=False):
    """What `build` takes: see BuildRequest."""

    dockerfile: str
    tags: Texts
    target: str
    arguments: Mapping[str, str | int] | Texts
    labels: Mapping[str, str | int] | Texts
    annotations: Texts
    platforms: Texts
    contexts: Mapping[str, str | int] | Texts
    pull: bool
    no_cache: bool
    no_cache_filter: Texts
    cache_from: list[CacheStore]
    cache_to: list[CacheStore]
    outputs: list[Output]
    squash: bool
    secrets: dict[str, Secret]
    ssh: Mapping[str, str | int] | Texts
    network: str
    isolation: str
    kernel: str
    allow: Texts
    security: Texts
    devices: Texts
    extra_hosts: Mapping[str, str] | Texts
    shm_size: Size
    ulimits: Mapping[str, str | int] | Texts
    limits: Mapping[str, Any]
    provenance: str
    sbom: str
    epoch: int | None
    cancellation: Cancellation | None
