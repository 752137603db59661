"""Options in the forms that callers know from docker's Python library, made into ContainerOptions and the like."""

from __future__ import annotations

from ..errors import InvalidInput
from .options import ContainerOptions, ExecOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from ..builder.request import BuildRequest
    from .images.handle import Image
    from .keywords import Command

    T = TypeVar("T")

_SIZES = frozenset(("memory", "memory_swap", "memory_reservation", "shm_size"))
_COMMANDS = frozenset(("command", "entrypoint"))
# Names of docker's Python library and flags of its command line → ours.
_ELSEWHERE = {
    "add_host": "extra_hosts",
    "auto_remove": "remove",
    "blkio_weight_devices": "blkio_weight_device",
    "buildargs": "arguments",
    "build_args": "arguments",
    "cpu_rt_period_us": "cpu_rt_period",
    "dns_opt": "dns_options",
    "dockerfile_path": "dockerfile",
    "domain_name": "domainname",
    "env": "environment",
    "env_vars": "environment",
    "group_add": "groups",
    "ipc_mode": "ipc",
    "log_config": "log_driver",
    "log_opts": "log_options",
    "mem_limit": "memory",
    "mem_reservation": "memory_reservation",
    "mem_swappiness": "memory_swappiness",
    "memswap_limit": "memory_swap",
    "nano_cpus": "cpus",
    "network_mode": "network",
    "nocache": "no_cache",
    "path": "context",
    "pid_mode": "pid",
    "ports": "publish",
    "publish_all_ports": "publish_all",
    "restart_policy": "restart",
    "rm": "remove",
    "security_opt": "security",
    "stdin_open": "interactive",
    "storage_opt": "storage_options",
    "tag": "tags",
    "tty": "terminal",
    "userns_mode": "userns",
    "uts_mode": "uts",
    "workdir": "working_directory",
    "working_dir": "working_directory",
}


def container_options(
    image: str | Image | ContainerOptions, command: Command | None, keywords: Mapping[str, object]
) -> ContainerOptions:
    """Return the options of a container. Raises TypeError for a keyword that does not exist, InvalidInput for a value
    that makes no sense."""
    if isinstance(image, ContainerOptions):
        values = image.given()
    elif isinstance(image, str):
        values = {"image": image} if image else {}
    else:
        values = {"image": image.id}
    if command is not None:
        values["command"] = command
    return ContainerOptions(**normal(ContainerOptions, {**values, **keywords}))


def exec_options(command: Command, keywords: Mapping[str, object]) -> ExecOptions:
    """Return the options of an execution; raises what `container_options` raises."""
    return ExecOptions(**normal(ExecOptions, {"command": command, **keywords}))


def build_request(context: str | BuildRequest, keywords: Mapping[str, object]) -> BuildRequest:
    """Return the request of a build; raises what `container_options` raises."""
    from ..builder.request import ENTITLEMENTS, BuildRequest
    from ..oci import reference as references

    values = {"context": context} if isinstance(context, str) else dict(vars(context))
    request = BuildRequest(**normal(BuildRequest, {**values, **keywords}))
    for entitlement in request.allow:
        if entitlement not in ENTITLEMENTS and not entitlement.startswith("device="):
            raise InvalidInput(f"unknown entitlement {entitlement}", f"--allow takes {', '.join(ENTITLEMENTS)}")
    for name in request.tags:
        references.check_new(references.parse(name))
    return request


def normal(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for the fields of `kind`, each in the form that the field has."""
    known: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    options: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise TypeError(f"there is no option {name!r}{_near(name, known)}")
        if kind.__annotations__[name] == "dict[str, Any]":
            options[name] = {**value}
        else:
            options[name] = _formed(name, value, getattr(kind, name))
    return options


def _near(name: str, known: tuple[str, ...]) -> str:
    if name in _ELSEWHERE and _ELSEWHERE[name] in known:
        return f": it is called {_ELSEWHERE[name]!r} here"
    from difflib import get_close_matches

    near = get_close_matches(name, known, 3, 0.35)
    return f": did you mean {' or '.join(map(repr, near))}?" if near else ""


def _formed(name: str, value: object, default: object) -> object:
    if name in _COMMANDS:
        return None if value is None else _words(name, value)
    if value is None and default is not None:
        return default.copy() if isinstance(default, list | dict) else default
    if isinstance(default, bool):
        return _checked(name, value, bool, "True or False")
    if name in _SIZES:
        return _size(name, value)
    if isinstance(default, float):
        return _number(name, value)
    if isinstance(default, int):
        return _checked(name, value, int, "a whole number")
    if isinstance(default, str):
        return _checked(name, value, str, "a text")
    if isinstance(default, list):
        return _texts(name, value)
    if isinstance(default, dict):
        return _pairs(name, value)
    return value


def _checked(name: str, value: object, kind: type[T], words: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} is {words}, not {value!r}")
    return value


def _words(name: str, value: object) -> list[str]:
    """Return the words of a command: a line is split as a shell would split it, nothing in it is replaced."""
    if not isinstance(value, str):
        return _texts(name, value)
    import shlex

    try:
        return shlex.split(value)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}: {value!r}", "give the words as a list") from None


def _size(name: str, value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    from ..human import parse_size

    try:
        text = _checked(name, value, str, 'a number of bytes or a text such as "64m"')
        return -1 if text == "-1" else parse_size(text)
    except ValueError:
        raise InvalidInput(f"{name}: invalid size: {value!r}", 'a number of bytes, or a text such as "64m"') from None


def _number(name: str, value: object) -> float:
    if isinstance(value, str):
        from ..human import decimal

        try:
            return decimal(value)
        except ValueError:
            raise InvalidInput(f"{name}: invalid number: {value!r}") from None
    return float(_checked(name, value, int if isinstance(value, int) else float, "a number"))


def _texts(name: str, value: Any) -> list[str]:
    """Return a list; a single string becomes a list of one, a dictionary the strings that docker's flag takes."""
    if isinstance(value, str):
        return [value]
    if hasattr(value, "items"):
        if name not in _LINES:
            raise TypeError(f"{name} is a list of texts, not {value!r}")
        return [line for key, item in value.items() for line in _LINES[name](key, item)]
    try:
        return list(value)
    except TypeError:
        raise TypeError(f"{name} is a list, not {value!r}") from None


def _variable(name: str, value: object) -> list[str]:
    # Without a value it takes the image's away, as with docker.
    return [name if value is None else f"{name}={value}"]


def _volume(source: str, where: str | Mapping[str, str]) -> list[str]:
    if isinstance(where, str):
        return [f"{source}:{where}"]
    if "bind" not in where or not where.keys() <= {"bind", "mode", "propagation"}:
        raise InvalidInput(f"volumes: {source}: {where!r}", "{'bind': '/path', 'mode': 'ro'} is needed")
    options = ",".join(word for word in (where.get("mode"), where.get("propagation")) if word)
    return [f"{source}:{where['bind']}" + (f":{options}" if options else "")]


def _port(inside: object, outside: object) -> list[str]:
    """A port of the host, (address, port), a list of these, or None for any port."""
    if isinstance(outside, list):
        return [line for port in outside for line in _port(inside, port)]
    if isinstance(outside, tuple):
        address, *ports = outside
        address = f"[{address}]" if ":" in address else address
        return [f"{address}:{ports[0] if ports and ports[0] is not None else ''}:{inside}"]
    return [str(inside) if outside is None else f"{outside}:{inside}"]


_LINES = {
    "environment": _variable,
    "extra_hosts": lambda name, address: [f"{name}:{address}"],
    "publish": _port,
    "tmpfs": lambda path, options: [f"{path}:{options}" if options else path],
    "ulimits": lambda name, limit: [f"{name}={limit}"],
    "volumes": _volume,
}


def _pairs(name: str, value: object) -> dict[str, str]:
    """Return a dictionary; a list holds `name=value`, or names alone whose value is empty."""
    if hasattr(value, "items"):
        return {key: str(item) if isinstance(item, int | float) else item for key, item in value.items()}
    return {key: item for key, _, item in (text.partition("=") for text in _texts(name, value))}
