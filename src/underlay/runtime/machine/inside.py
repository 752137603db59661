"""What the agent is told of a container: its specification as it holds on the machine's kernel, and its small files.

What cannot be had in a machine is refused by the name of its option.
"""

from __future__ import annotations

import os

from ...errors import LimitExceeded, StartFailed, Unsupported
from . import shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...linux.specification import Beyond, Mount, Namespace, Resources, Spec

_FILES = "/run/files"  # of the agent
_SHOWN = ("/etc/resolv.conf", "/etc/hostname", "/etc/hosts")
_LARGEST = 1 << 20  # bytes of such a file
_PROPAGATED = ("shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
_OPTIONS = {"network": "--network", "pid": "--pid", "ipc": "--ipc", "uts": "--uts", "user": "--userns"}


def check(spec: Spec, extras: Beyond, privileged: bool = False) -> None:
    """Raise Unsupported for what a container in a machine cannot have.

    One that is `privileged` is so in its machine: the host's devices, which it would have, are not meant.
    """
    linux = spec["linux"]
    # Those of networks have been made for the container; that of another container is named by its process.
    own = {
        item["type"]
        for item in linux["namespaces"]
        if not item.get("path") or (item["type"] == "network" and "/ns/" not in item["path"])
    }
    for kind, option in _OPTIONS.items():
        there = [item for item in linux["namespaces"] if item["type"] == kind]
        if kind == "user":
            if there:
                raise _refused("--userns: a machine has ids of its own")
        elif kind not in own:
            raise _refused(f"{option}: a machine shares no namespace with the host or other containers")
    if linux.get("devices") and not privileged:
        raise _refused("--device: the host's devices are not in the machine")
    if extras.get("hooks"):
        raise _refused("hooks of devices (CDI) run on the host")
    for mount in shared(spec):
        foreign = [word for word in mount.get("options") or [] if word.startswith("idmap") or word in _PROPAGATED]
        if foreign:
            raise _refused(f"{mount['destination']}: {foreign[0]} is not possible for what is shared with a machine")


def shared(spec: Spec) -> list[Mount]:
    """Return the mounts of a specification whose files the machine shares with the host."""
    return [mount for mount in spec["mounts"] if mount["type"] == "bind" and mount["destination"] not in _SHOWN]


def _refused(what: str) -> Unsupported:
    return Unsupported(f"--isolation machine: {what}", "leave out --isolation, or the option")


def text_of(path: str) -> str:
    """Return what a small file holds. Raises StartFailed, LimitExceeded."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise StartFailed(f"{path}: {(error.strerror or '').lower()}", 125) from None
    if len(data) > _LARGEST:
        raise LimitExceeded(f"{path} has more than {_LARGEST} bytes")
    return data.decode("utf-8", "surrogateescape")


def specification(spec: Spec, networked: bool, read: Callable[[str], str] = text_of) -> tuple[Spec, dict[str, str]]:
    """Return the specification for the agent, and the texts of the files that it binds, by name in the agent's directory.

    `read` returns the text of a file. Raises StartFailed, LimitExceeded.
    """
    files: dict[str, str] = {}
    mounts: list[Mount] = []
    number = 0
    for mount in spec["mounts"]:
        if mount["type"] == "bind" and mount["destination"] not in _SHOWN:
            mount = {**mount, "source": f"{shares.INSIDE}/{number}"}
            number += 1
        elif mount["type"] == "bind":
            name = os.path.basename(mount["destination"])
            files[name] = read(mount["source"])
            mount = {**mount, "source": f"{_FILES}/{name}"}
        mounts.append(mount)
    linux = spec["linux"]
    namespaces: list[Namespace] = []
    for item in linux["namespaces"]:
        if item["type"] != "network":
            namespaces.append(item)
        elif not networked:
            namespaces.append({"type": "network"})
    process = {**spec["process"], "apparmorProfile": ""}
    made: Spec = {
        **spec,
        "process": process,  # type: ignore[typeddict-item]
        "mounts": mounts,
        "linux": {
            **linux,
            "devices": [],
            "namespaces": namespaces,
            "resources": resources(linux.get("resources") or {}),
        },
    }
    return made, files


def resources(given: Resources) -> Resources:
    """Return the limits that hold in the machine: those which are not of the host's processors and disks."""
    made: Resources = {**given}
    made.pop("blockIO", None)
    made.pop("cpu", None)
    return made
