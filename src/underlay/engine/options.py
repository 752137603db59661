"""What can be asked of a container, shared by the command line and the Python interface."""

from __future__ import annotations

from ..lean.values import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ContainerOptions(Record, kw_only=True):
    """Options of a container. Names and meanings follow `docker run`; sizes are bytes, times seconds.

    Pass options that differ from the defaults as keywords:
    `ContainerOptions(image="alpine", command=["id"], read_only=True)`.
    """

    image: str = ""
    command: list[str] | None = None  # instead of the image's CMD
    entrypoint: list[str] | None = None  # instead of the image's ENTRYPOINT; [] for none
    name: str = ""
    platform: str = ""
    pull: str = "missing"  # always, missing, never
    environment: list[str] = []  # "NAME=value"
    working_directory: str = ""
    user: str = ""
    groups: list[str] = []
    hostname: str = ""
    domainname: str = ""
    terminal: bool = False
    interactive: bool = False
    remove: bool = False
    read_only: bool = False
    privileged: bool = False
    init: bool = False
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    volumes: list[str] = []  # as for -v
    mounts: list[str] = []  # as for --mount
    tmpfs: list[str] = []  # "path[:options]"
    volumes_from: list[str] = []  # "container[:ro|rw]"
    volume_driver: str = ""  # local, the only one
    extra_hosts: list[str] = []  # "name:address"
    dns: list[str] = []
    dns_search: list[str] = []
    dns_options: list[str] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    security: list[str] = []  # as for --security-opt
    devices: list[str] = []  # "host[:container[:permissions]]"
    gpus: str = ""  # "all", a number, "device=0,1": those that descriptions of CDI name
    device_cgroup_rules: list[str] = []  # "c 10:229 rw"
    ulimits: list[str] = []  # "name=soft[:hard]"
    sysctls: dict[str, str] = {}
    shm_size: int = 64 << 20
    storage_options: dict[str, str] = {}  # {"size": "10g"}
    secrets: list[str] = []  # "id=…,src=FILE" or "id=…,env=NAME", with target, mode, uid, gid
    stop_signal: str = ""
    health_cmd: str = ""  # instead of the image's, run by a shell
    health_test: list[str] = []  # the same as a program and its arguments, run without a shell
    health_interval: float = 0.0  # seconds; 0 as the image says, here and below
    health_timeout: float = 0.0
    health_start_period: float = 0.0
    health_start_interval: float = 0.0
    health_retries: int = 0
    no_healthcheck: bool = False
    stop_timeout: int | None = None
    restart: str = "no"
    network: str = ""  # none, host, container:NAME, or the name of a network; "" is the default one
    networks: list[str] = []  # more of them
    ip: str = ""  # in the first network; "" for any that is free
    ip6: str = ""
    mac_address: str = ""
    network_aliases: list[str] = []
    links: list[str] = []  # "container[:alias]"
    publish: list[str] = []  # as for -p: "[[address:]port:]port[/protocol]"
    publish_all: bool = False
    expose: list[str] = []
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""  # auto[:size=N], host, keep-id[:uid=N,gid=N], container:NAME
    cgroupns: str = ""
    log_driver: str = ""  # "" is the one of the settings
    log_options: dict[str, str] = {}
    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int = -1  # 0 to 100; -1 as the host has it
    oom_kill_disable: bool = False
    cpus: float = 0.0
    cpu_shares: int = 0
    cpu_quota: int = 0
    cpu_period: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    blkio_weight: int = 0  # 10 to 1000
    blkio_weight_device: list[str] = []  # "/dev/sda:500"
    device_read_bps: list[str] = []  # "/dev/sda:10mb"
    device_write_bps: list[str] = []
    device_read_iops: list[str] = []  # "/dev/sda:100"
    device_write_iops: list[str] = []
    cgroup_parent: str = ""  # path of the group below which the container's lies
    oom_score_adj: int = 0
    runtime: str = ""  # name or path of an OCI runtime; "" and "underlay" are our own driver

    isolation: str = ""  # process (on this kernel), machine (on one of its own), auto; "" is process
    kernel: str = ""  # of a machine, as `kernels.find` takes it; "" is the newest in the store

    def given(self) -> dict[str, Any]:
        """Return the options that were given, as values that JSON can hold."""
        # Each request has lists and dictionaries of its own; as long as they are empty nobody has asked for anything.
        return {name: value for name, value in vars(self).items() if value or name not in self._copied}


class ExecOptions(Record, kw_only=True):
    """Options of a program to run in a container. Names and meanings follow `docker exec`."""

    command: list[str] = []
    environment: list[str] = []  # "NAME=value"
    working_directory: str = ""
    user: str = ""
    terminal: bool = False
    interactive: bool = False
    privileged: bool = False
    detach: bool = False
    size: tuple[int, int] = (0, 0)  # rows, columns of the terminal
