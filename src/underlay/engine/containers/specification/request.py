"""The request for a container: its options, each text of docker's grammar parsed once, before anything is looked up."""

from __future__ import annotations

from .... import settings
from ....errors import InvalidInput, Unsupported
from ....network import ports
from . import grammar, log_options, mount_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from ...options import ContainerOptions

    Throttle = Literal[
        "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"
    ]

# The options that limit I/O to a device, and their fields in the specification (config-linux, "Block IO").
_THROTTLES: tuple[tuple[str, Throttle], ...] = (
    ("device_read_bps", "throttleReadBpsDevice"),
    ("device_write_bps", "throttleWriteBpsDevice"),
    ("device_read_iops", "throttleReadIOPSDevice"),
    ("device_write_iops", "throttleWriteIOPSDevice"),
)


class Request:
    """What a container is to be. `options` has the values that need no parsing: names, numbers, switches.

    Raises InvalidInput, Unsupported naming the option.
    """

    __slots__ = (
        "cap_add",
        "cap_drop",
        "cgroup_parent",
        "described_devices",
        "device_rules",
        "devices",
        "exposed",
        "log",
        "mounts",
        "mounts_of",
        "networks",
        "options",
        "ports",
        "restart",
        "security",
        "throttles",
        "ulimits",
        "weights",
    )

    def __init__(self, options: ContainerOptions) -> None:
        self.networks = [grammar.network(text) for text in (options.network, *options.networks)]
        if options.network != self.networks[0].name:
            options = options.changed(network=self.networks[0].name)
        # A privileged container, and one that shares namespaces of the host, cannot have one of its own.
        shared = any(value == "host" or value.startswith("container:") for value in (options.network, options.pid))
        if not options.userns and not options.privileged and not shared:
            options = options.changed(userns=settings.value("userns"))
        self.options = options
        grammar.check_names(options)
        self.restart = grammar.restart_policy(options.restart)
        self.log = log_options.parse(*_log(options))
        self.cgroup_parent = grammar.parent_group(options.cgroup_parent)
        self.mounts = [mount_flags.parse_volume(text) for text in options.volumes]
        self.mounts += [mount_flags.parse_mount(text) for text in options.mounts]
        self.mounts += [mount_flags.parse_tmpfs(text) for text in options.tmpfs]
        self.mounts_of = [mount_flags.parse_volumes_from(text) for text in options.volumes_from]
        mount_flags.check_driver(options.volume_driver)
        self.described_devices = [text for text in options.devices if grammar.is_described(text)]
        self.devices = [grammar.device(text) for text in options.devices if not grammar.is_described(text)]
        self.device_rules = [grammar.device_rule(text) for text in options.device_cgroup_rules]
        self.weights = [grammar.weight_device(text) for text in options.blkio_weight_device]
        self.throttles: dict[Throttle, list[tuple[str, int]]] = {}
        for name, field in _THROTTLES:
            texts = getattr(options, name)
            if texts:
                self.throttles[field] = [grammar.throttle(text, name.endswith("iops")) for text in texts]
        self.ulimits = [grammar.ulimit(text) for text in options.ulimits]
        self.cap_add = [grammar.capability(name) for name in options.cap_add]
        self.cap_drop = [grammar.capability(name) for name in options.cap_drop]
        self.security = _security(options.security)
        self.ports = [port for text in options.publish for port in ports.parse(text)]
        self.exposed = [port for text in options.expose for port in ports.parse_exposed(text)]


def _log(options: ContainerOptions) -> tuple[str, Mapping[str, str]]:
    """Return the log driver and its options; those of the settings are for their driver."""
    usual = settings.value("log-driver")
    driver = options.log_driver or usual
    if options.log_options or driver != usual:
        return driver, options.log_options
    pairs = [text.partition("=") for text in settings.value("log-opts").split(",") if text]
    return driver, {name: value for name, _, value in pairs}


class Security:
    """What --security-opt says: `seccomp` default, unconfined or a profile's path, `chosen` if it was given."""

    __slots__ = ("apparmor", "chosen", "landlock", "no_new_privileges", "open_paths", "seccomp")

    def __init__(self) -> None:
        self.seccomp = "default"
        self.chosen = False
        self.no_new_privileges = False
        self.open_paths = False  # systempaths=unconfined: nothing in /proc and /sys is masked
        self.apparmor = ""  # a profile's name, "unconfined", or "" for the default
        self.landlock: list[list[str]] = []


def _security(texts: Sequence[str]) -> Security:
    """Return what --security-opt values ask for; raises InvalidInput, Unsupported."""
    security = Security()
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator and ":" in text:
            key, _, value = text.partition(":")
        if key == "no-new-privileges":
            if value not in ("", "true", "false"):
                raise InvalidInput(f"invalid --security-opt: {text}")
            security.no_new_privileges = value != "false"
        elif key == "seccomp":
            security.seccomp, security.chosen = value, True
        elif key == "systempaths" and value == "unconfined":
            security.open_paths = True
        elif key == "apparmor" and value:
            security.apparmor = value
        elif key == "landlock":
            from ....linux.security import landlock

            security.landlock += landlock.parse(value)
        elif key == "label":
            if value != "disable":
                raise Unsupported(f"--security-opt {text} is not supported yet")
        else:
            raise InvalidInput(f"invalid --security-opt: {text}")
    return security
