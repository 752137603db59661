"""The `config.json` of a bundle: parsed, and every field either honoured later or refused here by its JSON path."""

from __future__ import annotations

import os

from ..errors import InvalidInput, Unsupported
from ..files import read_bytes
from ..human import whole
from ..lean.jsontext import known
from .apply import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..linux.specification import Linux, Process, Resources, Spec

    # A type, a list of one kind of item, or an object by its keys ("*" takes any); `object` takes everything.
    Schema = type | list["Schema"] | dict[str, "Schema"]

LIMIT = 16 << 20  # bytes of a configuration
SPECIFICATION = "1.2.0"

_ID_MAPS: Schema = [{"containerID": int, "hostID": int, "size": int}]
_RATES: Schema = [{"major": int, "minor": int, "rate": int}]
_HOOKS: Schema = [{"path": str, "args": [str], "env": [str], "timeout": int}]
_PROCESS: dict[str, Schema] = {
    "terminal": bool,
    "consoleSize": {"height": int, "width": int},
    "cwd": str,
    "env": [str],
    "args": [str],
    "commandLine": str,
    "rlimits": [{"type": str, "soft": int, "hard": int}],
    "apparmorProfile": str,
    "capabilities": {name: [str] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")},
    "noNewPrivileges": bool,
    "oomScoreAdj": int,
    "scheduler": {
        "policy": str,
        "nice": int,
        "priority": int,
        "flags": [str],
        "runtime": int,
        "deadline": int,
        "period": int,
    },
    "selinuxLabel": str,
    "ioPriority": {"class": str, "priority": int},
    "execCPUAffinity": {"initial": str, "final": str},
    "user": {"uid": int, "gid": int, "umask": int, "additionalGids": [int], "username": str},
}
_RESOURCES: dict[str, Schema] = {
    "devices": [{"allow": bool, "type": str, "major": int, "minor": int, "access": str}],
    "memory": {
        "limit": int,
        "reservation": int,
        "swap": int,
        "kernel": int,
        "kernelTCP": int,
        "swappiness": int,
        "disableOOMKiller": bool,
        "useHierarchy": bool,
        "checkBeforeUpdate": bool,
    },
    "cpu": {
        "shares": int,
        "quota": int,
        "burst": int,
        "period": int,
        "realtimeRuntime": int,
        "realtimePeriod": int,
        "cpus": str,
        "mems": str,
        "idle": int,
    },
    "blockIO": {
        "weight": int,
        "leafWeight": int,
        "weightDevice": [{"major": int, "minor": int, "weight": int, "leafWeight": int}],
        "throttleReadBpsDevice": _RATES,
        "throttleWriteBpsDevice": _RATES,
        "throttleReadIOPSDevice": _RATES,
        "throttleWriteIOPSDevice": _RATES,
    },
    "hugepageLimits": [{"pageSize": str, "limit": int}],
    "network": {"classID": int, "priorities": [{"name": str, "priority": int}]},
    "pids": {"limit": int},
    "rdma": {"*": {"hcaHandles": int, "hcaObjects": int}},
    "unified": {"*": str},
}
_SECCOMP: dict[str, Schema] = {
    "defaultAction": str,
    "defaultErrnoRet": int,
    "architectures": [str],
    "flags": [str],
    "listenerPath": str,
    "listenerMetadata": str,
    "syscalls": [
        {
            "names": [str],
            "action": str,
            "errnoRet": int,
            "args": [{"index": int, "value": int, "valueTwo": int, "op": str}],
        }
    ],
}
# Every field of the specification (version 1.2, and those of 1.3 that it adds for Linux) and its type. "*" takes any key.
_SCHEMA: dict[str, Schema] = {
    "ociVersion": str,
    "root": {"path": str, "readonly": bool},
    "mounts": [
        {
            "destination": str,
            "type": str,
            "source": str,
            "options": [str],
            "uidMappings": _ID_MAPS,
            "gidMappings": _ID_MAPS,
        }
    ],
    "process": _PROCESS,
    "hostname": str,
    "domainname": str,
    "hooks": dict.fromkeys(hooks.KINDS, _HOOKS),
    "annotations": {"*": str},
    "linux": {
        "namespaces": [{"type": str, "path": str}],
        "uidMappings": _ID_MAPS,
        "gidMappings": _ID_MAPS,
        "timeOffsets": {"*": {"secs": int, "nanosecs": int}},
        "devices": [{"type": str, "path": str, "major": int, "minor": int, "fileMode": int, "uid": int, "gid": int}],
        "netDevices": {"*": {"name": str}},
        "cgroupsPath": str,
        "resources": _RESOURCES,
        "intelRdt": {"*": object},
        "memoryPolicy": {"*": object},
        "sysctl": {"*": str},
        "seccomp": _SECCOMP,
        "rootfsPropagation": str,
        "maskedPaths": [str],
        "readonlyPaths": [str],
        "mountLabel": str,
        "personality": {"domain": str, "flags": [str]},
    },
    # Of other platforms: they mean nothing here (config, "Platform-specific configuration").
    "windows": object,
    "solaris": object,
    "vm": object,
    "zos": object,
}
_REFUSED = {
    ("linux", "intelRdt"): "linux.intelRdt: cache and bandwidth classes (resctrl) are not supported",
    ("linux", "memoryPolicy"): "linux.memoryPolicy: NUMA memory policies are not supported",
    ("linux", "netDevices"): "linux.netDevices: moving network devices is not supported",
    ("linux", "mountLabel"): "linux.mountLabel: SELinux labels are not supported",
    ("process", "selinuxLabel"): "process.selinuxLabel: SELinux labels are not supported",
    ("process", "commandLine"): "process.commandLine: it is for Windows, use process.args",
    ("vm",): "vm: virtual machines are not supported",
}
_NAMES: dict[type, str] = {bool: "a boolean", int: "an integer", str: "a string"}


def read(bundle: str) -> tuple[Spec, list[str]]:
    """Return the configuration of the bundle directory and warnings; raises InvalidInput, Unsupported, OSError."""
    path = bundle + "/config.json"
    try:
        value: Spec = known(read_bytes(path, LIMIT))
    except FileNotFoundError:
        raise InvalidInput(
            f"{path} does not exist", "the bundle directory needs one: see `underlay-runtime spec`"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} is not a JSON object")
    return value, check(value)


def check(spec: Spec) -> list[str]:
    """Check a whole configuration; nulls are dropped from it. Returns warnings: fields that no specification knows.

    Raises InvalidInput and Unsupported with the JSON path.
    """
    warnings: list[str] = []
    _walk(spec, _SCHEMA, "", warnings)
    _check_version(spec.get("ociVersion"))
    for path, words in _REFUSED.items():
        value: object = spec
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value:
            raise Unsupported(words)
    for name in ("windows", "solaris", "zos"):
        if spec.get(name):
            warnings.append(f"{name}: it is for another platform and is ignored")
    if not (spec.get("root") or {}).get("path"):
        raise InvalidInput("root.path: a root file system is needed")
    if not spec.get("process"):
        raise InvalidInput("process: a process is needed")
    warnings += check_process(spec["process"], "process")
    hooks.check(spec.get("hooks") or {})
    _check_sysctls(spec.get("linux") or {})
    _check_maps(spec.get("linux") or {}, "linux")
    return warnings


def check_process(body: Process, where: str, alone: bool = False) -> list[str]:
    """Check a `process` object (`alone` when it comes by itself, for exec). Returns warnings; unknown capabilities go."""
    warnings: list[str] = []
    if alone:
        _walk(body, _PROCESS, where, warnings)
        if body.get("selinuxLabel"):
            raise Unsupported(f"{where}.selinuxLabel: SELinux labels are not supported")
    if not body.get("args") or not body["args"][0]:
        raise InvalidInput(f"{where}.args: a program is needed")
    if not str(body.get("cwd") or "").startswith("/"):
        raise InvalidInput(f"{where}.cwd: {body.get('cwd')!r} is not an absolute path")
    for name, texts in (("args", body.get("args")), ("env", body.get("env"))):
        for position, text in enumerate(texts or []):
            if "\0" in text:
                raise InvalidInput(f"{where}.{name}[{position}]: it contains a NUL character")
    from ..linux.security.capabilities import NUMBERS

    for name, names in (body.get("capabilities") or {}).items():
        unknown = [capability for capability in names or [] if capability not in NUMBERS]
        if unknown:
            # What cannot be granted is to be warned of, not refused (config, "Linux Process").
            warnings.append(f"{where}.capabilities.{name}: unknown, and left out: {', '.join(unknown)}")
            body["capabilities"][name] = [capability for capability in names if capability in NUMBERS]
    return warnings


def check_resources(value: Resources) -> Resources:
    """Return a `resources` object that comes by itself, for update; raises InvalidInput with the JSON path."""
    _walk(value, _RESOURCES, "linux.resources", [])
    return value


def _walk(value: object, schema: Schema, path: str, warnings: list[str]) -> None:
    """Compare a value with its schema; null means absent and is dropped from objects."""
    if schema is object:
        return
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            raise InvalidInput(f"{path or 'config.json'}: an object is needed")
        for key in [key for key, item in value.items() if item is None]:
            del value[key]
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in schema or "*" in schema:
                _walk(item, schema[key if key in schema else "*"], below, warnings)
            else:
                warnings.append(f"{below}: unknown, and ignored")
    elif isinstance(schema, list):
        if not isinstance(value, list):
            raise InvalidInput(f"{path}: an array is needed")
        for position, item in enumerate(value):
            _walk(item, schema[0], f"{path}[{position}]", warnings)
    elif not isinstance(value, schema) or (schema is int and isinstance(value, bool)):
        raise InvalidInput(f"{path}: {_NAMES[schema]} is needed, not {value!r}"[:300])


def _check_version(version: object) -> None:
    parts = str(version or "").partition("-")[0].partition("+")[0].split(".")
    if len(parts) != 3 or min(map(whole, parts)) < 0:
        raise InvalidInput(f"ociVersion: {version!r} is not a version like {SPECIFICATION}")
    if parts[0] != "1":
        raise Unsupported(f"ociVersion: this runtime implements version 1, not {version}")


# Kernel parameters that belong to a namespace (namespaces(7)), by their beginning or whole.
_IPC = ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm", "fs.mqueue.")


def _check_sysctls(linux: Linux) -> None:
    own = {item.get("type") for item in linux.get("namespaces") or []}
    for name, value in (linux.get("sysctl") or {}).items():
        dotted = name.replace("/", ".") if "/" in name and "." not in name else name
        if ".." in name or name.startswith(("/", ".")) or not name.isprintable():
            raise InvalidInput(f"linux.sysctl: {name!r} is not the name of a kernel parameter")
        if "\n" in value.rstrip("\n") or "\0" in value:
            raise InvalidInput(f"linux.sysctl: {name!r}: the value {value!r} is not one line")
        if dotted.startswith("net."):
            needed = "network"
        elif dotted.startswith(_IPC):
            needed = "ipc"
        elif dotted in ("kernel.domainname", "kernel.hostname"):
            needed = "uts"
        else:
            raise InvalidInput(f"linux.sysctl: {name!r} belongs to the whole host, not to a namespace")
        if needed not in own:
            raise InvalidInput(f"linux.sysctl: {name!r} needs a {needed} namespace in linux.namespaces")


def _check_maps(linux: Linux, where: str) -> None:
    fresh = any(i.get("type") == "user" and not i.get("path") for i in linux.get("namespaces") or [])
    for name, maps in (("uidMappings", linux.get("uidMappings")), ("gidMappings", linux.get("gidMappings"))):
        if fresh and not maps:
            raise InvalidInput(f"{where}.{name}: a new user namespace needs a map")
        for position, item in enumerate(maps or []):
            for key in ("containerID", "hostID", "size"):
                if not 0 <= int(item.get(key, -1)) < 1 << 32:
                    raise InvalidInput(f"{where}.{name}[{position}].{key}: a number below 2^32 is needed")


def root_directory(spec: Spec, bundle: str) -> str:
    """Return the absolute path of the root file system; raises InvalidInput when it is no directory."""
    path = str(spec["root"]["path"])
    full = os.path.realpath(path if path.startswith("/") else f"{bundle}/{path}")
    if not os.path.isdir(full):
        raise InvalidInput(f"root.path: {full} is not a directory")
    return full
