"""CDI: devices that their vendors describe in files, and what a step needs to have them (Container Device Interface 0.8).

Descriptions are JSON files in /etc/cdi and /var/run/cdi, or in the directories of UNDERLAY_CDI. Each has a `kind`
(vendor.com/class) and `devices` with names and `containerEdits`: variables, device nodes and mounts. The host's
administrator writes them; a Dockerfile only names devices.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ... import settings
from ...errors import Corrupt, InvalidInput, NotFound, Unsupported
from ..containers.specification.mount_flags import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_CLASS = "org.mobyproject.buildkit.device.class"
_LIMIT = 8 << 20


class _Node(msgspec.Struct, rename="camel"):
    path: str
    host_path: str = ""
    permissions: str = "rwm"


class _Mount(msgspec.Struct, rename="camel"):
    host_path: str
    container_path: str
    options: list[str] = []


class _Edits(msgspec.Struct, rename="camel"):
    env: list[str] = []
    device_nodes: list[_Node] = []
    mounts: list[_Mount] = []
    hooks: list[Any] = []


class _Device(msgspec.Struct, rename="camel"):
    name: str
    container_edits: _Edits = msgspec.field(default_factory=_Edits)
    annotations: dict[str, Any] = {}


class _Spec(msgspec.Struct, rename="camel"):
    kind: str
    devices: list[_Device] = []
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class Edits:
    """What a step gets for its devices: `environment`, device nodes as `--device` has them, and `mounts`."""

    __slots__ = ("devices", "environment", "mounts")

    def __init__(self) -> None:
        self.environment: list[str] = []
        self.devices: list[str] = []
        self.mounts: list[Mount] = []

    def add(self, edits: _Edits, what: str) -> None:
        """Add what a description says of a device, or of all of its kind."""
        if edits.hooks:
            raise Unsupported(f"device {what}: its description has hooks", "underlay runs no programs of devices")
        self.environment += edits.env
        for node in edits.device_nodes:
            self.devices.append(f"{node.host_path or node.path}:{node.path}:{node.permissions or 'rwm'}")
        for described in edits.mounts:
            mount = Mount("bind", described.host_path, described.container_path)
            mount.options = [option for option in described.options if option in ("ro", "nosuid", "nodev", "noexec")]
            self.mounts.append(mount)


def edits(devices: Sequence[tuple[str, bool]]) -> Edits:
    """Return what a step gets for the `devices` it names, each with whether it is required.

    A name is vendor.com/class=name, vendor.com/class (the first of them), vendor.com/class=* (all), or a class that
    annotations give. Raises NotFound for a required one that nobody describes, Corrupt, Unsupported.
    """
    found = Edits()
    specs = _specs()
    seen: set[str] = set()
    for name, required in devices:
        matching = _matching(specs, name)
        if not matching and required:
            raise NotFound(f"required device {name!r} is not registered", f"it is described in {_places()} (CDI)")
        for spec, device in matching:
            whole = f"{spec.kind}={device.name}"
            if whole in seen:
                continue
            if not any(other.startswith(f"{spec.kind}=") for other in seen):
                found.add(spec.container_edits, spec.kind)
            seen.add(whole)
            found.add(device.container_edits, whole)
    return found


def _matching(specs: list[_Spec], name: str) -> list[tuple[_Spec, _Device]]:
    kind, equals, device_name = name.partition("=")
    if "/" not in kind:
        return [
            (spec, device)
            for spec in specs
            for device in spec.devices
            if device.annotations.get(_CLASS) == name and not equals
        ]
    known = [(spec, device) for spec in specs if spec.kind == kind for device in spec.devices]
    if device_name == "*":
        return known
    return [pair for pair in known if pair[1].name == device_name] if equals else known[:1]


def _places() -> str:
    return settings.value("cdi")


def _specs() -> list[_Spec]:
    specs = []
    for directory in _places().split(":"):
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            path = f"{directory}/{name}"
            if name.endswith((".yaml", ".yml")):
                raise Unsupported(f"{path}: descriptions of devices are read as JSON only", "write it as a .json file")
            if name.endswith(".json"):
                specs.append(_spec(path))
    return specs


def _spec(path: str) -> _Spec:
    with open(path, "rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path}: more than {_LIMIT} bytes")
    try:
        return msgspec.json.decode(data, type=_Spec)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path}: {error}") from None
