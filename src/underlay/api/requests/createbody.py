"""The JSON bodies that create and update containers, as options in the grammar of docker's flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...engine.options import ContainerOptions
from ...errors import InvalidInput, Unsupported
from ...network.model import DEFAULT
from ...runtime.policy import profiles
from . import createmounts
from .fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS = ("", "underlay")  # names of the runtime that needs none
_ISOLATION = ("", "process", "machine", "auto")
_USUAL = ("", "default")  # modes of network that leave the choice to the engine
_LOOKS_LIKE_JSON = "{"
_KEPT = ("entrypoint", "memory_swappiness", "stop_timeout")  # options that mean something if they are empty or 0

# Members of HostConfig whose values are taken as they are, by how they are read.
_PLAIN: tuple[tuple[Callable[[Fields, str], Any], dict[str, str]], ...] = (
    (
        Fields.texts,
        {
            "CapAdd": "cap_add",
            "CapDrop": "cap_drop",
            "DeviceCgroupRules": "device_cgroup_rules",
            "Dns": "dns",
            "DnsOptions": "dns_options",
            "DnsSearch": "dns_search",
            "ExtraHosts": "extra_hosts",
            "GroupAdd": "groups",
        },
    ),
    (
        Fields.text,
        {
            "CgroupnsMode": "cgroupns",
            "IpcMode": "ipc",
            "PidMode": "pid",
            "UTSMode": "uts",
            "UsernsMode": "userns",
        },
    ),
    (
        Fields.flag,
        {"AutoRemove": "remove", "Init": "init", "Privileged": "privileged", "ReadonlyRootfs": "read_only"},
    ),
    (Fields.map, {"Annotations": "annotations", "StorageOpt": "storage_options", "Sysctls": "sysctls"}),
    (Fields.number, {"OomScoreAdj": "oom_score_adj"}),
)
_NUMBERS = {
    "BlkioWeight": "blkio_weight",
    "CpuPeriod": "cpu_period",
    "CpuQuota": "cpu_quota",
    "CpuRealtimePeriod": "cpu_rt_period",
    "CpuRealtimeRuntime": "cpu_rt_runtime",
    "CpuShares": "cpu_shares",
    "Memory": "memory",
    "MemoryReservation": "memory_reservation",
    "MemorySwap": "memory_swap",
}
_OF_DEVICES = {
    "BlkioWeightDevice": ("blkio_weight_device", "Weight"),
    "BlkioDeviceReadBps": ("device_read_bps", "Rate"),
    "BlkioDeviceWriteBps": ("device_write_bps", "Rate"),
    "BlkioDeviceReadIOps": ("device_read_iops", "Rate"),
    "BlkioDeviceWriteIOps": ("device_write_iops", "Rate"),
}
_HEALTH_TIMES = {
    "Interval": "health_interval",
    "Timeout": "health_timeout",
    "StartPeriod": "health_start_period",
    "StartInterval": "health_start_interval",
}


def container_options(body: dict[str, Any], name: str, platform: str) -> ContainerOptions:
    """Return the options of the container that a body of POST /containers/create describes.

    What is not said has its default; images are never pulled. Raises InvalidInput and Unsupported naming the member.
    """
    config = Fields(body)
    host = config.child("HostConfig")
    if not config.text("Image"):
        raise InvalidInput("invalid reference format: Image is empty")
    options: dict[str, Any] = {
        **_program(config),
        **_health(config),
        **_limits(host),
        **createmounts.mounts(config, host),
        **createmounts.devices(host),
        **createmounts.ports(config, host),
    }
    for read, members in _PLAIN:
        options |= {option: read(host, member) for member, option in members.items()}
    options |= {
        "cgroup_parent": host.text("CgroupParent"),
        "security": _security(host),
        "restart": _restart(host.child("RestartPolicy")),
        "isolation": "" if host.text("Isolation") in _USUAL else host.text("Isolation"),
        "runtime": "" if host.text("Runtime") in _OURS else host.text("Runtime"),
        "shm_size": host.number("ShmSize"),
        "log_driver": host.child("LogConfig").text("Type"),
        "log_options": host.child("LogConfig").map("Config"),
    }
    if options["isolation"] not in _ISOLATION:
        raise host.wrong("Isolation", f"{options['isolation']}: process, machine or auto")
    if options["shm_size"] < 0:
        raise host.wrong("ShmSize", "it cannot be negative")
    options |= _networks(config, host)
    kept = {option: value for option, value in options.items() if value or (option in _KEPT and value is not None)}
    return ContainerOptions(name=name.removeprefix("/"), platform=platform, pull="never", **kept)


def update_options(body: dict[str, Any]) -> ContainerOptions:
    """Return the changes that a client of POST /containers/{id}/update asks for, as options of `Containers.update`.

    Raises InvalidInput naming the member.
    """
    fields = Fields(body)
    options = _limits(fields)
    options["restart"] = _restart(fields.child("RestartPolicy"))
    options["cgroup_parent"] = fields.text("CgroupParent")
    return ContainerOptions(**{name: value for name, value in options.items() if value or name == "pids_limit"})


def keeps_command(body: dict[str, Any]) -> bool:
    """Return whether a container has the image's CMD without its ENTRYPOINT: an empty list stands for that, and it has no
    command of its own. (A list of one empty text, which docker's command line sends, takes both away.)"""
    config = Fields(body)
    return config.words("Entrypoint") == [] and not config.words("Cmd")


def _program(config: Fields) -> dict[str, Any]:
    """Return what runs in the container, and as whom."""
    entrypoint, environment = config.words("Entrypoint"), config.texts("Env")
    for at, text in enumerate(environment):
        if not text.partition("=")[0]:
            raise config.wrong(f"Env[{at}]", f"invalid environment variable: {text}")
    return {
        "image": config.text("Image"),
        "command": config.words("Cmd"),
        "entrypoint": [] if entrypoint == [""] else entrypoint,
        "environment": environment,
        "working_directory": config.text("WorkingDir"),
        "user": config.text("User"),
        "hostname": config.text("Hostname"),
        "domainname": config.text("Domainname"),
        "terminal": config.flag("Tty"),
        "interactive": config.flag("OpenStdin"),
        "labels": config.map("Labels"),
        "stop_signal": config.text("StopSignal"),
        "stop_timeout": config.count("StopTimeout"),
    }


def _health(config: Fields) -> dict[str, Any]:
    check = config.child("Healthcheck")
    kind, *words = check.texts("Test") or [""]
    if kind == "NONE":
        return {"no_healthcheck": True}
    if kind not in ("", "CMD", "CMD-SHELL"):
        raise check.wrong("Test", f"unknown type {kind!r}: NONE, CMD or CMD-SHELL is needed")
    options: dict[str, Any] = {"health_retries": check.number("Retries")}
    if options["health_retries"] < 0:
        raise check.wrong("Retries", "it cannot be negative")
    for member, option in _HEALTH_TIMES.items():
        nanoseconds = check.number(member)
        if nanoseconds and nanoseconds < 1_000_000:
            raise check.wrong(member, "it cannot be less than 1ms")
        options[option] = nanoseconds / 1e9
    if words:
        options |= {"health_cmd": words[0]} if kind == "CMD-SHELL" else {"health_test": words}
    return options


def _limits(host: Fields) -> dict[str, Any]:
    """Return what `update` can change, and the limits that it cannot."""
    host.refuse("KernelMemory", "KernelMemoryTCP")
    options: dict[str, Any] = {option: host.number(member) for member, option in _NUMBERS.items()}
    options |= {"cpuset_cpus": host.text("CpusetCpus"), "cpuset_mems": host.text("CpusetMems")}
    options["oom_kill_disable"] = host.flag("OomKillDisable")
    cpus = host.number("NanoCpus")
    if cpus < 0:
        raise host.wrong("NanoCpus", "it cannot be negative")
    options["cpus"] = cpus / 1e9
    pids, swappiness = host.count("PidsLimit"), host.count("MemorySwappiness")
    if pids is not None:
        options["pids_limit"] = pids
    if swappiness not in (None, -1):
        options["memory_swappiness"] = swappiness
    for member, (option, of) in _OF_DEVICES.items():
        options[option] = [f"{item.text('Path')}:{item.number(of)}" for item in host.children(member)]
    options["ulimits"] = [
        f"{item.text('Name').lower().removeprefix('rlimit_')}={item.number('Soft')}:{item.number('Hard')}"
        for item in host.children("Ulimits")
    ]
    return options


def _restart(policy: Fields) -> str:
    """Return a RestartPolicy as a --restart value, "" for none."""
    name, count = policy.text("Name"), policy.number("MaximumRetryCount")
    if ":" in name:
        raise policy.wrong("Name", f"unknown policy '{name}'")
    if count and name != "on-failure":
        raise policy.wrong("MaximumRetryCount", "it can only be used with 'on-failure'")
    if count < 0:
        raise policy.wrong("MaximumRetryCount", "it cannot be negative")
    return f"{name}:{count}" if count else name


def _security(host: Fields) -> list[str]:
    """Return --security-opt values. A profile of seccomp comes as text, not as the path of a file on this host."""
    texts = []
    for text in host.texts("SecurityOpt"):
        key, separator, value = text.partition("=")
        if key == "seccomp" and separator:
            if value == "builtin":
                text = "seccomp=default"
            elif value not in ("default", "unconfined") and not value.lstrip().startswith(_LOOKS_LIKE_JSON):
                raise host.wrong("SecurityOpt", f"Decoding seccomp profile failed: {value!r} is not a JSON object")
        texts.append(text)
    lists = {"MaskedPaths": profiles.MASKED_PATHS, "ReadonlyPaths": profiles.READONLY_PATHS}
    given = {member: host.texts(member) for member in lists if host.has(member)}
    if len(given) == len(lists) and not any(given.values()):
        # How docker's command line words systempaths=unconfined.
        return texts if "systempaths=unconfined" in texts else [*texts, "systempaths=unconfined"]
    for member, paths in given.items():
        if not paths or not set(paths) <= set(lists[member]):
            raise Unsupported(
                f"HostConfig.{member} is not supported", "give neither of the two members, or empty lists"
            )
    return texts


def _networks(config: Fields, host: Fields) -> dict[str, Any]:
    """Return the options of networks: HostConfig.NetworkMode is the first, NetworkingConfig has the others."""
    mode = host.text("NetworkMode")
    if config.flag("NetworkDisabled"):
        if mode not in (*_USUAL, DEFAULT, "none"):
            raise config.wrong("NetworkDisabled", f"it contradicts the network {mode}")
        mode = "none"
    endpoints = config.child("NetworkingConfig").by_name("EndpointsConfig")
    if mode in _USUAL:
        # Docker attaches a container to what is listed, and to its default network only if nothing is.
        mode = next((name for name in endpoints if name in (*_USUAL, DEFAULT)), next(iter(endpoints), ""))
        mode = "" if mode in _USUAL else mode
    elif mode == DEFAULT and endpoints and not {DEFAULT, *_USUAL} & endpoints.keys():
        mode = next(iter(endpoints))
    alone = mode in ("host", "none") or mode.startswith("container:")
    own = {mode} | ({DEFAULT, *_USUAL} if mode in (*_USUAL, DEFAULT) else set())
    first = next((endpoint for name, endpoint in endpoints.items() if name in own), Fields({}))
    others = {name: endpoint for name, endpoint in endpoints.items() if name not in own}
    if alone and others and not config.flag("NetworkDisabled"):
        raise InvalidInput(f"conflicting options: network {mode} cannot be combined with other networks")
    if "=" in mode or "," in mode:
        raise host.wrong("NetworkMode", f"'{mode}' is not the name of a network")
    made = endpoint_of(first)
    links = [_link(text) for text in host.texts("Links")]
    links += [_link(text) for endpoint in endpoints.values() for text in endpoint.texts("Links")]
    return {
        "network": mode,
        "ip": made["ip"],
        "ip6": made["ip6"],
        "mac_address": made["mac-address"] or config.text("MacAddress"),
        "network_aliases": made["alias"],
        "networks": [] if alone else [_written(name, endpoint) for name, endpoint in others.items()],
        "links": list(dict.fromkeys(links)),
    }


def endpoint_of(endpoint: Fields) -> dict[str, Any]:
    """Return what an endpoint asks for, by the keys of --network: ip, ip6, mac-address, and alias, which is a list.

    Raises InvalidInput, Unsupported.
    """
    endpoint.refuse("DriverOpts", "GwPriority")
    addresses = endpoint.child("IPAMConfig")
    addresses.refuse("LinkLocalIPs")
    return {
        "ip": addresses.text("IPv4Address"),
        "ip6": addresses.text("IPv6Address"),
        "mac-address": endpoint.text("MacAddress"),
        "alias": endpoint.texts("Aliases"),
    }


def _written(name: str, endpoint: Fields) -> str:
    """Return an endpoint as a --network value."""
    made = endpoint_of(endpoint)
    words = [f"name={name}", *(f"alias={alias}" for alias in made.pop("alias"))]
    words += [f"{key}={value}" for key, value in made.items() if value]
    if "=" in name or any("," in word or word.endswith("=") for word in words):
        raise InvalidInput(f"invalid {endpoint.path or 'NetworkingConfig'}: names and addresses hold no , and no =")
    return name if len(words) == 1 else ",".join(words)


def _link(text: str) -> str:
    """Return a --link value; `inspect` writes `/other:/container/alias`."""
    name, colon, alias = text.partition(":")
    return f"{name.removeprefix('/')}{colon}{alias.rpartition('/')[2]}"
