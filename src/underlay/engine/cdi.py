"""CDI: devices that their vendors describe in files, and what a container needs for them (Container Device Interface 0.8).

Descriptions are JSON or YAML files in /etc/cdi and /var/run/cdi, or in the directories of UNDERLAY_CDI. Each has a `kind`
(vendor.com/class) and `devices` with names and `containerEdits`: variables, device nodes, mounts, hooks. The host's
administrator writes them; a Dockerfile or a command line only names devices.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from .. import settings
from ..errors import Corrupt, InvalidInput, NotFound, Unsupported
from .containers.specification.mount_flags import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..linux.specification import Hook, Hooks

_CLASS = "org.mobyproject.buildkit.device.class"
_LIMIT = 8 << 20
_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart")


class _Node(msgspec.Struct, rename="camel"):
    path: str
    host_path: str = ""
    permissions: str = "rwm"


class _Mount(msgspec.Struct, rename="camel"):
    host_path: str
    container_path: str
    options: list[str] = []


class _Hook(msgspec.Struct, rename="camel"):
    hook_name: str
    path: str
    args: list[str] = []
    env: list[str] = []
    timeout: int = 0


class _Edits(msgspec.Struct, rename="camel"):
    env: list[str] = []
    device_nodes: list[_Node] = []
    mounts: list[_Mount] = []
    hooks: list[_Hook] = []
    additional_gids: list[int] = msgspec.field(default_factory=list, name="additionalGids")


class _Device(msgspec.Struct, rename="camel"):
    name: str
    container_edits: _Edits = msgspec.field(default_factory=_Edits)
    annotations: dict[str, Any] = {}


class _Spec(msgspec.Struct, rename="camel"):
    kind: str
    devices: list[_Device] = []
    container_edits: _Edits = msgspec.field(default_factory=_Edits)


class Edits:
    """What a container gets for its devices: `environment`, device nodes as `--device` has them, `mounts`, `groups`.

    `hooks` are programs by kind; None refuses descriptions that have some.
    """

    __slots__ = ("devices", "environment", "groups", "hooks", "mounts")

    def __init__(self, hooks: Hooks | None = None) -> None:
        self.hooks = hooks
        self.groups: list[str] = []
        self.environment: list[str] = []
        self.devices: list[str] = []
        self.mounts: list[Mount] = []

    def add(self, edits: _Edits, what: str) -> None:
        """Add what a description says of a device, or of all of its kind."""
        for hook in edits.hooks:
            self._add_hook(hook, what)
        self.environment += edits.env
        self.groups += [str(gid) for gid in edits.additional_gids if gid]
        for node in edits.device_nodes:
            self.devices.append(f"{node.host_path or node.path}:{node.path}:{node.permissions or 'rwm'}")
        for described in edits.mounts:
            mount = Mount("bind", described.host_path, described.container_path)
            mount.options = [option for option in described.options if option in ("ro", "nosuid", "nodev", "noexec")]
            self.mounts.append(mount)

    def _add_hook(self, described: _Hook, what: str) -> None:
        if self.hooks is None:
            raise Unsupported(
                f"device {what}: its description has hooks", "they are run for containers of root only, not for builds"
            )
        if described.hook_name not in _HOOKS:
            raise Unsupported(f"device {what}: hooks {described.hook_name} are not run", f"known: {', '.join(_HOOKS)}")
        hook: Hook = {"path": described.path}
        if described.args:
            hook["args"] = described.args
        if described.env:
            hook["env"] = described.env
        if described.timeout > 0:
            hook["timeout"] = described.timeout
        self.hooks.setdefault(described.hook_name, []).append(hook)


def gpus(text: str) -> list[str]:
    """Return the names in CDI that a --gpus value asks for: `all`, a number, or `device=0,1`, `count=2`, `driver=nvidia`.

    Raises InvalidInput, Unsupported, NotFound when this host describes none.
    """
    wanted = {"count": text} if text == "all" or text.lstrip("-").isdigit() else _gpu_fields(text)
    driver = wanted.pop("driver", "")
    classes = {spec.kind for spec in _specs() if spec.kind.partition("/")[2] == "gpu"}
    vendors = sorted(kind for kind in classes if not driver or kind.split(".", 1)[0] == driver)
    kind = "nvidia.com/gpu" if "nvidia.com/gpu" in vendors else "".join(vendors[:1])
    if not kind:
        raise NotFound(
            f'could not select device driver "{driver}" with capabilities: [[gpu]]',
            f"no GPU is described in {_places()} (CDI)",
        )
    if "device" in wanted:
        return [f"{kind}={name}" for name in wanted["device"].split(",")]
    names = list(dict.fromkeys(device.name for spec in _specs() if spec.kind == kind for device in spec.devices))
    if wanted.get("count", "1") in ("all", "-1"):
        return [f"{kind}=all"] if "all" in names else [f"{kind}=*"]
    numbers = [name for name in names if name.isdigit()]
    count = int(wanted.get("count", "1"))
    if not 0 <= count <= len(numbers):
        raise InvalidInput(f"--gpus {text}: there are {len(numbers)} GPUs", f"they are described in {_places()} (CDI)")
    return [f"{kind}={name}" for name in numbers[:count]]


def _gpu_fields(text: str) -> dict[str, str]:
    """Return the fields of a --gpus value, a line of CSV in which `device` may be quoted."""
    import csv

    fields: dict[str, str] = {}
    for field in next(csv.reader([text]), []):
        key, equals, value = field.partition("=")
        if not equals or not value or key in fields:
            raise InvalidInput(f'invalid argument "{text}" for "--gpus" flag', "all, a number, or device=NAME")
        if key in ("capabilities", "options"):
            raise Unsupported(f"--gpus {key}: descriptions of CDI know none", "leave it out")
        if key not in ("device", "count", "driver") or (key == "count" and value != "all" and not value.isdigit()):
            raise InvalidInput(f'invalid argument "{text}" for "--gpus" flag: unexpected {field}')
        fields[key] = value
    if "count" in fields and "device" in fields:
        raise InvalidInput("cannot set both Count and DeviceIDs on device request")
    return fields


def edits(devices: Sequence[tuple[str, bool]], hooks: Hooks | None = None) -> Edits:
    """Return what a container gets for the `devices` it names, each with whether it is required; `hooks` as in `Edits`.

    A name is vendor.com/class=name, vendor.com/class (the first of them), vendor.com/class=* (all), or a class that
    annotations give. Raises NotFound for a required one that nobody describes, Corrupt, Unsupported.
    """
    found = Edits(hooks)
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
            if name.endswith((".json", ".yaml", ".yml")):
                specs.append(_spec(path))
    return specs


def _spec(path: str) -> _Spec:
    with open(path, "rb") as file:
        data = file.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path}: more than {_LIMIT} bytes")
    try:
        if path.endswith(".json"):
            return msgspec.json.decode(data, type=_Spec)
        return msgspec.yaml.decode(data, type=_Spec)
    except ImportError:
        raise Unsupported(
            f"{path}: reading YAML needs PyYAML", "`pip install 'underlay[cdi]'`, or write it as a .json file"
        ) from None
    except msgspec.MsgspecError as error:
        raise Corrupt(f"{path}: {error}") from None
