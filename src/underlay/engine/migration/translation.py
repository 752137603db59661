"""A container of docker or podman, as its `inspect` shows it, in options of ours; and what of it has none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# Members of HostConfig whose values are taken as they are.
_PLAIN = {
    "CapAdd": "cap_add",
    "CapDrop": "cap_drop",
    "CgroupParent": "cgroup_parent",
    "CgroupnsMode": "cgroupns",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpuRealtimePeriod": "cpu_rt_period",
    "CpuRealtimeRuntime": "cpu_rt_runtime",
    "CpuShares": "cpu_shares",
    "CpusetCpus": "cpuset_cpus",
    "CpusetMems": "cpuset_mems",
    "DeviceCgroupRules": "device_cgroup_rules",
    "Dns": "dns",
    "DnsOptions": "dns_options",
    "DnsSearch": "dns_search",
    "ExtraHosts": "extra_hosts",
    "GroupAdd": "groups",
    "Init": "init",
    "Memory": "memory",
    "MemoryReservation": "memory_reservation",
    "MemorySwap": "memory_swap",
    "OomKillDisable": "oom_kill_disable",
    "OomScoreAdj": "oom_score_adj",
    "PidsLimit": "pids_limit",
    "Privileged": "privileged",
    "PublishAllPorts": "publish_all",
    "ReadonlyRootfs": "read_only",
    "SecurityOpt": "security",
    "ShmSize": "shm_size",
    "StorageOpt": "storage_options",
    "Sysctls": "sysctls",
    "UsernsMode": "userns",
    "UTSMode": "uts",
    "AutoRemove": "remove",
    "BlkioWeight": "blkio_weight",
    "Annotations": "annotations",
}
# Members that are not there, and matter when they are set.
_WITHOUT = ("DeviceRequests", "Links", "VolumesFrom", "VolumeDriver", "Isolation")
_LOG_DRIVERS = ("local", "json-file", "none", "k8s-file")  # podman's k8s-file is its json-file
_OF_PODMAN = ("rprivate", "private", "tmpcopyup", "notmpcopyup", "rw")  # words of its tmpfs mounts


class Translated:
    """`options` for `ContainerOptions`, `networks` that it is in, and `untaken`: what is not carried over, a line each."""

    __slots__ = ("networks", "options", "untaken")

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self.networks: list[str] = []
        self.untaken: list[str] = []


def translate(facts: Mapping[str, Any], image: Mapping[str, Any]) -> Translated:
    """Return a container in our options; `image` is the `Config` of its image, whose values are not repeated."""
    made = Translated()
    config, host = facts.get("Config") or {}, facts.get("HostConfig") or {}
    options = made.options
    options["image"] = str(config.get("Image") or facts.get("ImageName") or facts.get("Image") or "")
    options["name"] = str(facts.get("Name") or "").removeprefix("/")
    _command(config, image, options)
    _identity(facts, config, image, options)
    _host(host, made)
    _mounts(facts, host, made)
    _ports(host, config, image, options)
    _networks(facts, host, made)
    _health(config, image, options)
    made.options = {name: value for name, value in options.items() if value or name == "entrypoint"}
    return made


def _command(config: Mapping[str, Any], image: Mapping[str, Any], options: dict[str, Any]) -> None:
    command, entrypoint = config.get("Cmd") or [], config.get("Entrypoint") or []
    entrypoint = entrypoint.split() if isinstance(entrypoint, str) else entrypoint
    theirs = image.get("Entrypoint") or []
    if entrypoint != (theirs.split() if isinstance(theirs, str) else theirs):
        options["entrypoint"] = entrypoint[:1]
        options["command"] = [*entrypoint[1:], *command]
    elif command != (image.get("Cmd") or []):
        options["command"] = command


def _identity(
    facts: Mapping[str, Any], config: Mapping[str, Any], image: Mapping[str, Any], options: dict[str, Any]
) -> None:
    known = set(image.get("Env") or [])
    given = ("HOSTNAME=", "container=", "TERM=")  # what podman adds itself
    options["environment"] = [
        text for text in config.get("Env") or [] if text not in known and not text.startswith(given)
    ]
    labels = image.get("Labels") or {}
    options["labels"] = {name: text for name, text in (config.get("Labels") or {}).items() if labels.get(name) != text}
    for member, option in (("User", "user"), ("WorkingDir", "working_directory"), ("StopSignal", "stop_signal")):
        value = config.get(member)
        if value and str(value) != str(image.get(member) or "") and not (member == "WorkingDir" and value == "/"):
            options[option] = str(value)
    if isinstance(options.get("stop_signal"), str) and options["stop_signal"].isdecimal():
        options["stop_signal"] = options["stop_signal"].removeprefix("15")  # podman writes numbers; 15 is the default
    hostname = str(config.get("Hostname") or "")
    if hostname and not str(facts.get("Id") or "").startswith(hostname):
        options["hostname"] = hostname
    options["domainname"] = str(config.get("Domainname") or "")
    options["terminal"], options["interactive"] = bool(config.get("Tty")), bool(config.get("OpenStdin"))
    if config.get("StopTimeout") not in (None, 10):
        options["stop_timeout"] = config["StopTimeout"]


def _host(host: Mapping[str, Any], made: Translated) -> None:
    options = made.options
    for member, option in _PLAIN.items():
        if host.get(member):
            options[option] = host[member]
    for number in ("memory", "memory_swap", "memory_reservation", "pids_limit"):
        if isinstance(options.get(number), int) and options[number] < 0 and number != "memory_swap":
            del options[number]  # podman's -1 is none
    if options.get("memory_swap") and not options.get("memory"):
        del options["memory_swap"]
    if isinstance(host.get("MemorySwappiness"), int) and host["MemorySwappiness"] >= 0:
        options["memory_swappiness"] = host["MemorySwappiness"]
    if host.get("NanoCpus"):
        options["cpus"] = host["NanoCpus"] / 1e9
        options.pop("cpu_quota", None)
        options.pop("cpu_period", None)
    if options.get("cgroupns") in ("host", "private") and options["cgroupns"] == "private":
        del options["cgroupns"]
    if str(options.get("cgroup_parent") or "").endswith(".slice"):
        made.untaken.append(f"--cgroup-parent {options.pop('cgroup_parent')}")
    policy = host.get("RestartPolicy") or {}
    if policy.get("Name") not in (None, "", "no"):
        count = policy.get("MaximumRetryCount") or 0
        options["restart"] = f"{policy['Name']}:{count}" if count and policy["Name"] == "on-failure" else policy["Name"]
    for mode, option, usual in (
        ("PidMode", "pid", "private"),
        ("IpcMode", "ipc", "private"),
        ("UTSMode", "uts", "private"),
    ):
        value = str(host.get(mode) or "")
        options.pop(option, None)
        if value and value not in (usual, "shareable"):
            options[option] = value
    options["ulimits"] = [
        f"{str(each['Name']).lower().removeprefix('rlimit_')}={each['Soft']}:{each['Hard']}"
        for each in host.get("Ulimits") or []
    ]
    options["devices"] = [
        f"{each['PathOnHost']}:{each['PathInContainer']}:{each.get('CgroupPermissions') or 'rwm'}"
        for each in host.get("Devices") or []
    ]
    if options.get("shm_size") == 64 << 20 or str(options.get("ipc") or "") == "host":
        options.pop("shm_size", None)
    log = host.get("LogConfig") or {}
    driver = str(log.get("Type") or "")
    if driver in ("local", "json-file", "none", "journald", "syslog"):
        options["log_driver"] = driver
        options["log_options"] = {k: str(v) for k, v in (log.get("Config") or {}).items() if v}
    elif driver and driver not in _LOG_DRIVERS:
        made.untaken.append(f"--log-driver {driver}")
    made.untaken += [
        f"{member}: {host[member]}" for member in _WITHOUT if host.get(member) not in (None, "", [], "default")
    ]


def _mounts(facts: Mapping[str, Any], host: Mapping[str, Any], made: Translated) -> None:
    options = made.options
    tmpfs = host.get("Tmpfs") or {}
    options["tmpfs"] = []
    for path, words in tmpfs.items():
        kept = ",".join(word for word in words.split(",") if word not in _OF_PODMAN)
        options["tmpfs"].append(f"{path}:{kept}" if kept else path)
    volumes = []
    for mount in facts.get("Mounts") or []:
        target, kind = mount.get("Destination"), mount.get("Type")
        access = "" if mount.get("RW", True) else ":ro"
        if kind == "volume":
            name = str(mount.get("Name") or "")
            if mount.get("Driver") not in (None, "", "local"):
                made.untaken.append(f"volume {name} of driver {mount['Driver']}")
                continue
            volumes.append(f"{name}:{target}{access}")
        elif kind == "bind":
            volumes.append(f"{mount.get('Source')}:{target}{access}")
        elif kind == "tmpfs":
            if target not in tmpfs:
                options["tmpfs"].append(target)
        else:
            made.untaken.append(f"mount of type {kind} at {target}")
    options["volumes"] = volumes


def _ports(
    host: Mapping[str, Any], config: Mapping[str, Any], image: Mapping[str, Any], options: dict[str, Any]
) -> None:
    published = []
    for port, places in (host.get("PortBindings") or {}).items():
        for place in places or [{}]:
            address, number = place.get("HostIp") or "", place.get("HostPort") or ""
            if address in ("0.0.0.0", "::"):
                address = ""
            address = f"[{address}]" if ":" in address else address
            published.append(f"{address}:{number}:{port}" if address else f"{number}:{port}" if number else port)
    options["publish"] = published
    known = set(image.get("ExposedPorts") or {}) | set(host.get("PortBindings") or {})
    options["expose"] = [port for port in config.get("ExposedPorts") or {} if port not in known]


def _networks(facts: Mapping[str, Any], host: Mapping[str, Any], made: Translated) -> None:
    mode = str(host.get("NetworkMode") or "")
    attached = (facts.get("NetworkSettings") or {}).get("Networks") or {}
    if mode in ("host", "none") or mode.startswith("container:"):
        made.options["network"] = mode
        return
    own = [name for name in attached if name not in ("bridge", "podman", "default", "slirp4netns", "pasta")]
    if not own:
        return
    made.networks = own
    texts = []
    for name in own:
        endpoint = attached[name] or {}
        asked = endpoint.get("IPAMConfig") or {}
        identity = str(facts.get("Id") or "")
        aliases = [alias for alias in endpoint.get("Aliases") or [] if alias and not identity.startswith(alias)]
        words = [f"name={name}", *(f"alias={alias}" for alias in aliases if alias != made.options["name"])]
        words += [f"ip={asked['IPv4Address']}"] if asked.get("IPv4Address") else []
        words += [f"ip6={asked['IPv6Address']}"] if asked.get("IPv6Address") else []
        texts.append(",".join(words))
    made.options["network"], made.options["networks"] = texts[0], texts[1:]


def _health(config: Mapping[str, Any], image: Mapping[str, Any], options: dict[str, Any]) -> None:
    check = config.get("Healthcheck") or {}
    theirs = image.get("Healthcheck") or {}
    if check == theirs or not check:
        return
    kind, *words = check.get("Test") or [""]
    if kind == "NONE":
        options["no_healthcheck"] = bool(theirs)
        return
    if words and check.get("Test") != theirs.get("Test"):
        import shlex

        options["health_cmd"] = words[0] if kind == "CMD-SHELL" else shlex.join(words)
    for member, option in (
        ("Interval", "health_interval"),
        ("Timeout", "health_timeout"),
        ("StartPeriod", "health_start_period"),
        ("StartInterval", "health_start_interval"),
    ):
        if check.get(member):
            options[option] = check[member] / 1e9
    options["health_retries"] = check.get("Retries") or 0
