"""What `container inspect` shows, in docker's form, and how much disk a container uses."""

from __future__ import annotations

from ... import trees
from ...errors import UnderlayError
from ...human import rfc3339
from ...lean.values import Sparse
from ...runtime.monitor import state
from ...store.rows import images, layers
from .create import name_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ...linux.specification import Spec
    from ...oci.configuration import Execution
    from ...runtime.monitor.records import Health
    from ...runtime.monitor.state import Status
    from ...store.rows.containers import ContainerRow
    from ...store.rows.intent import HealthCheck, Intent, MountPoint, Options
    from ...store.store import Store

_NEVER = "0001-01-01T00:00:00Z"  # how docker writes a time that has not come


def inspect(store: Store, row: ContainerRow, intent: Intent, status: Status, size: bool = False) -> dict[str, Any]:
    """Return all that is known of a container (Engine API 1.45, ContainerInspect); with `size` what it takes of disk."""
    directory = store.paths.container(row.id)
    options, spec = intent["options"], intent["spec"]
    process = spec["process"]
    files = name_files(intent)
    running = status.status in (state.RUNNING, state.PAUSED)
    config = _config(store, row, intent)
    facts = {
        "Id": row.id,
        "Created": rfc3339(row.created),
        "Path": process["args"][0],
        "Args": process["args"][1:],
        "State": Sparse(
            {
                "Status": status.status,
                "Running": running,
                "Paused": status.status == state.PAUSED,
                "Restarting": status.status == state.RESTARTING,
                "OOMKilled": status.oom,
                "Dead": status.status == state.DEAD,
                "Pid": status.pid,
                "ExitCode": status.code,
                "Error": status.error,
                "StartedAt": rfc3339(status.started) if status.started else _NEVER,
                "FinishedAt": rfc3339(status.finished) if status.finished else _NEVER,
                **({"Health": _health(status.health)} if status.health else {}),
            },
            Health=None,
        ),
        "Image": row.image,
        "ResolvConfPath": files.get("/etc/resolv.conf", ""),
        "HostnamePath": files.get("/etc/hostname", ""),
        "HostsPath": files.get("/etc/hosts", ""),
        "LogPath": "" if intent["log"]["driver"] == "none" else directory + "/log",
        "Name": "/" + row.name,
        "RestartCount": status.restarts,
        "Driver": store.form,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": process.get("apparmorProfile") or "",
        "ExecIDs": None,
        "HostConfig": _host_config(row.name, intent, options, spec),
        "GraphDriver": {"Name": store.form, "Data": {"UpperDir": directory + "/upper"}},
        "Mounts": [{"Driver": "local", **m} if m["Type"] == "volume" else m for m in shown_mounts(intent)],
        "Config": config,
        "NetworkSettings": {
            **_NO_NETWORK,
            **_network_settings(store, row, intent, options, running, config["ExposedPorts"] or ()),
        },
    }
    if size:
        facts["SizeRw"], facts["SizeRootFs"] = sizes(store, row)
    return Sparse(facts, SizeRw=None, SizeRootFs=None)


def shown_mounts(intent: Intent) -> list[MountPoint]:
    """Return the mounts that docker lists: what --tmpfs asks for is no mount point there."""
    by_flag = {text.partition(":")[0] for text in intent["options"].get("tmpfs") or []}
    return [m for m in intent["mounts"] if m["Type"] != "tmpfs" or m["Destination"] not in by_flag]


def _config(store: Store, row: ContainerRow, intent: Intent) -> dict[str, Any]:
    """Return what was asked for, over what the image says: defaults of the engine are not in it."""
    options, spec = intent["options"], intent["spec"]
    try:
        image: Execution = images.config(store.paths, row.image).get("config") or {}
    except UnderlayError:
        image = {}  # forced away, or damaged
    overridden = options.get("entrypoint") is not None
    # Those without a name are listed as the image's own.
    unnamed = [mount for mount in intent["mounts"] if mount["Type"] == "volume" and len(mount["Name"]) == 64]
    volumes: dict[str, object] = {mount["Destination"]: {} for mount in unnamed}
    interactive = bool(options.get("interactive"))
    return Sparse(
        {
            "Hostname": spec.get("hostname", ""),
            "Domainname": spec.get("domainname", ""),
            "User": intent["extras"]["user"],
            "AttachStdin": interactive,
            "AttachStdout": True,
            "AttachStderr": True,
            "ExposedPorts": _exposed(intent, image) or None,
            "Tty": spec["process"]["terminal"],
            "OpenStdin": interactive,
            "StdinOnce": interactive,
            "Env": _environment(options, image) or None,
            "Cmd": options.get("command") or (None if overridden else image.get("Cmd")),
            "Image": intent["image"]["name"],
            "Volumes": {**(image.get("Volumes") or {}), **volumes} or None,
            "WorkingDir": options.get("working_directory") or image.get("WorkingDir") or "",
            "Entrypoint": (options["entrypoint"] or None) if overridden else image.get("Entrypoint"),
            "OnBuild": image.get("OnBuild"),
            "Labels": intent["labels"],
            **({"Healthcheck": _health_check(intent["health"])} if "health" in intent else {}),
            **({"Shell": image["Shell"]} if image.get("Shell") else {}),
            "StopSignal": intent["stop_signal"],
            "StopTimeout": intent["stop_timeout"],
        },
        Healthcheck=None,
        Shell=None,
    )


def _environment(options: Options, image: Execution) -> list[str]:
    values: dict[str, str] = {}
    for text in [*(image.get("Env") or []), *(options.get("environment") or [])]:
        name, equals, value = text.partition("=")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    return [f"{name}={value}" for name, value in values.items()]


def _exposed(intent: Intent, image: Execution) -> dict[str, dict[str, object]]:
    from ...network import ports

    exposed = dict(image.get("ExposedPorts") or {})
    for text in intent["options"].get("expose") or []:
        for published in ports.parse_exposed(text):
            exposed[f"{published.port}/{published.protocol}"] = {}
    for text in intent["options"].get("publish") or []:
        for published in ports.parse(text):
            exposed[f"{published.port}/{published.protocol}"] = {}
    return dict(sorted(exposed.items()))


def _health(health: Health) -> dict[str, object]:
    return {
        "Status": health["status"],
        "FailingStreak": health["streak"],
        "Log": [
            {
                "Start": rfc3339(probe["start"]),
                "End": rfc3339(probe["end"]),
                "ExitCode": probe["code"],
                "Output": probe["output"],
            }
            for probe in health["log"]
        ],
    }


def _health_check(check: HealthCheck) -> dict[str, object]:
    return {
        "Test": check["test"],
        "Interval": round(check["interval"] * 1e9),
        "Timeout": round(check["timeout"] * 1e9),
        "StartPeriod": round(check["start_period"] * 1e9),
        "StartInterval": round(check["start_interval"] * 1e9),
        "Retries": check["retries"],
    }


# What docker shows of an endpoint outside the list of networks, too.
_OF_THE_FIRST = (
    *("EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway"),
    "MacAddress",
)


# What docker shows of containers without a network, and what nobody sets any more.
_NO_NETWORK: dict[str, object] = {
    "Bridge": "",
    "SandboxID": "",
    "SandboxKey": "",
    "Ports": {},
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


def _network_settings(
    store: Store, row: ContainerRow, intent: Intent, options: Options, running: bool, exposed: Iterable[str]
) -> dict[str, object]:
    mode = options.get("network") or "none"
    from ..networks import inspect as network_inspection

    if "network" not in intent:
        return {"Networks": {mode: network_inspection.empty_endpoint()}, "Ports": {}}
    from ...store.rows import networks as rows
    from ..networks import ports as publishing
    from ..networks.records import namespace_file, paired

    endpoints = {
        network.name: network_inspection.endpoint(row, running, lease, network)
        for lease, network in paired(store, rows.leases(store.meta, container=row.id))
    }
    if intent.get("cni"):
        from ..networks import cni

        endpoints = cni.endpoints(store, row.id, intent, running)
    first = next(iter(endpoints.values()), None) or network_inspection.empty_endpoint()
    # Those that are exposed and not published have nothing.
    ports: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed) if running else {}
    held = publishing.held if intent.get("cni") else publishing.published
    for name, places in (held(store, row.id) if running else {}).items():
        pairs = [text.rpartition(":")[::2] for text in places]
        ports[name] = [{"HostIp": address.strip("[]"), "HostPort": port} for address, port in pairs]
    return {
        "SandboxID": row.id if running else "",  # a namespace belongs to one container
        "SandboxKey": namespace_file(store, row.id) if running else "",
        "Ports": ports,
        **{key: first[key] for key in _OF_THE_FIRST},
        "Networks": endpoints,
    }


def _host_config(name: str, intent: Intent, options: Options, spec: Spec) -> dict[str, object]:
    return Sparse(
        _host_members(name, intent, options, spec), Tmpfs=None, Mounts=None, StorageOpt=None, Annotations=None
    )


def _port_bindings(options: Options) -> dict[str, list[dict[str, str]]]:
    """Return the ports of -p as they were asked for."""
    from ...network import ports

    bindings: dict[str, list[dict[str, str]]] = {}
    for text in options.get("publish") or []:
        for published in ports.parse(text):
            host = "" if not published.first else str(published.first)
            if published.last != published.first:
                host += f"-{published.last}"
            place = {"HostIp": published.address, "HostPort": host}
            bindings.setdefault(f"{published.port}/{published.protocol}", []).append(place)
    return bindings


def _host_members(name: str, intent: Intent, options: Options, spec: Spec) -> dict[str, Any]:
    linux = spec["linux"]
    memory = linux["resources"].get("memory") or {}
    restart = intent["restart"]
    return {
        "Binds": options.get("volumes") or None,
        "ContainerIDFile": "",
        "NetworkMode": options.get("network") or "none",
        "PortBindings": _port_bindings(options),
        "RestartPolicy": {"Name": restart["name"], "MaximumRetryCount": restart["maximum"]},
        "AutoRemove": intent["remove"],
        "CapAdd": options.get("cap_add") or None,
        "CapDrop": options.get("cap_drop") or None,
        "Dns": options.get("dns") or [],
        "DnsOptions": options.get("dns_options") or [],
        "DnsSearch": options.get("dns_search") or [],
        "ExtraHosts": options.get("extra_hosts") or None,
        "GroupAdd": options.get("groups") or None,
        "IpcMode": options.get("ipc") or "private",
        "PidMode": options.get("pid") or "",
        "UTSMode": options.get("uts") or "",
        "Isolation": "machine" if "machine" in intent else "",
        "ConsoleSize": [0, 0],
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "Links": [f"/{link['name']}:/{name}/{link['alias']}" for link in intent.get("links") or []] or None,
        "VolumeDriver": options.get("volume_driver") or "",
        "VolumesFrom": options.get("volumes_from") or None,
        "PublishAllPorts": bool(options.get("publish_all")),
        "UsernsMode": options.get("userns") or "",
        "CgroupnsMode": options.get("cgroupns") or "private",
        "Cgroup": "",
        "CgroupParent": options.get("cgroup_parent") or "",
        "OomScoreAdj": options.get("oom_score_adj") or 0,
        "Privileged": bool(options.get("privileged")),
        "ReadonlyRootfs": spec["root"]["readonly"],
        "SecurityOpt": options.get("security") or None,
        "ShmSize": options.get("shm_size") or 64 << 20,
        "Init": bool(options.get("init")),
        "Runtime": options.get("runtime") or "underlay",
        "Memory": memory.get("limit", 0),
        "MemorySwap": memory.get("swap", 0),
        "MemoryReservation": memory.get("reservation", 0),
        "MemorySwappiness": memory.get("swappiness"),
        "OomKillDisable": bool(memory.get("disableOOMKiller")),
        "NanoCpus": int((options.get("cpus") or 0) * 1e9),
        "CpuShares": options.get("cpu_shares") or 0,
        "CpuPeriod": options.get("cpu_period") or 0,
        "CpuQuota": options.get("cpu_quota") or 0,
        "CpusetCpus": options.get("cpuset_cpus") or "",
        "CpusetMems": options.get("cpuset_mems") or "",
        "CpuRealtimePeriod": options.get("cpu_rt_period") or 0,
        "CpuRealtimeRuntime": options.get("cpu_rt_runtime") or 0,
        "BlkioWeight": options.get("blkio_weight") or 0,
        "BlkioWeightDevice": _devices(options, "blkio_weight_device", "Weight"),
        "BlkioDeviceReadBps": _devices(options, "device_read_bps", "Rate"),
        "BlkioDeviceWriteBps": _devices(options, "device_write_bps", "Rate"),
        "BlkioDeviceReadIOps": _devices(options, "device_read_iops", "Rate"),
        "BlkioDeviceWriteIOps": _devices(options, "device_write_iops", "Rate"),
        "PidsLimit": options.get("pids_limit") or None,
        "Ulimits": [_ulimit(text) for text in options.get("ulimits") or []],
        "Sysctls": options.get("sysctls") or {},
        "Devices": [_device(text) for text in options.get("devices") or [] if not _is_described(text)],
        "DeviceRequests": _device_requests(options),
        "DeviceCgroupRules": options.get("device_cgroup_rules") or None,
        "LogConfig": {
            "Type": intent["log"]["driver"],
            "Config": dict(sorted((options.get("log_options") or {}).items())),
        },
        "MaskedPaths": linux["maskedPaths"],
        "ReadonlyPaths": linux["readonlyPaths"],
        **({"StorageOpt": options["storage_options"]} if options.get("storage_options") else {}),
        **({"Annotations": options["annotations"]} if options.get("annotations") else {}),
        **({"Tmpfs": dict(text.partition(":")[::2] for text in options["tmpfs"])} if options.get("tmpfs") else {}),
    }


def _ulimit(text: str) -> dict[str, object]:
    from .specification import grammar

    limit = grammar.ulimit(text)
    return {"Hard": limit["hard"], "Name": text.partition("=")[0], "Soft": limit["soft"]}


def _device(text: str) -> dict[str, str]:
    from .specification import grammar

    device = grammar.device(text)
    return {"PathOnHost": device.path, "PathInContainer": device.target, "CgroupPermissions": device.access}


def _is_described(text: str) -> bool:
    from .specification import grammar

    return grammar.is_described(text)


def _device_requests(options: Options) -> list[dict[str, object]] | None:
    """Return the devices that descriptions of CDI name, and the GPUs, as docker shows them."""
    names = [text for text in options.get("devices") or [] if _is_described(text)]
    requests: list[dict[str, object]] = []
    if names:
        requests.append({"Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": None, "Options": None})
    if options.get("gpus"):
        gpus: dict[str, object] = {"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": [["gpu"]]}
        if options["gpus"] != "all":
            gpus["Count"], gpus["DeviceIDs"] = 0, [options["gpus"]]
        requests.append({**gpus, "Options": {}})
    return requests or None


def _devices(options: Options, option: str, key: str) -> list[dict[str, str | int]]:
    """Return the limits of devices as docker shows them: path and weight or rate, in plain numbers."""
    texts = options.get(option) or []
    if not texts:
        return []
    from .specification import grammar

    if key == "Weight":
        pairs = [grammar.weight_device(text) for text in texts]
    else:
        pairs = [grammar.throttle(text, option.endswith("iops")) for text in texts]
    return [{"Path": path, key: value} for path, value in pairs]


def written(store: Store, container_id: str, intent: Intent) -> int:
    """Return the bytes that a container has written above its image: its files, or its file system in a file."""
    directory = store.paths.container(container_id)
    upper = trees.size(directory + "/upper", files_only=True)
    disk = intent.get("disk")
    if disk is None:
        return upper
    from .specification import disk_limit

    return max(upper, disk_limit.occupied(directory, disk))


def sizes(store: Store, row: ContainerRow) -> tuple[int, int]:
    """Return what a container has written, and that with the files of its image, in bytes."""
    own = written(store, row.id, row.intent)
    layer_sizes = layers.sizes(store.meta)
    return own, own + sum(layer_sizes.get(diff_id, 0) for diff_id in row.intent["image"]["diff_ids"])
