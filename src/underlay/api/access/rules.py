"""A rule of --allow: what it allows clients to do with containers, images, volumes and networks."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...engine.containers.specification.request import Request
from ...errors import InvalidInput
from ...oci import reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...engine.containers.specification.mount_flags import Mount
    from ...engine.options import ContainerOptions

# Options of a container by which it gets nothing beyond itself; of all others a rule must be privileged.
_HARMLESS = frozenset(
    (
        *("image", "command", "entrypoint", "name", "platform", "pull", "environment", "working_directory", "user"),
        *("groups", "hostname", "domainname", "terminal", "interactive", "remove", "read_only", "init", "labels"),
        *(
            "tmpfs",
            "extra_hosts",
            "dns",
            "dns_search",
            "dns_options",
            "cap_drop",
            "ulimits",
            "shm_size",
        ),
        *("stop_signal", "stop_timeout", "restart", "ip", "ip6", "mac_address", "network_aliases", "publish"),
        *("publish_all", "expose", "memory", "memory_swap", "memory_reservation", "memory_swappiness", "cpus"),
        *("cpu_shares", "cpu_quota", "cpu_period", "cpuset_cpus", "cpuset_mems", "pids_limit", "blkio_weight"),
        *(
            "health_cmd",
            "health_test",
            "health_interval",
            "health_timeout",
            "health_start_period",
            "health_start_interval",
        ),
        *("health_retries", "no_healthcheck", "volume_driver", "storage_options", "log_options"),
        # Looked at one by one:
        *("volumes", "mounts", "network", "networks", "log_driver", "security", "pid", "ipc", "uts", "userns"),
        *("cgroupns", "oom_score_adj", "runtime", "links"),
    )
)
_OWN = frozenset(("", "private", "default", "none"))  # namespaces that are the container's own
_LOG_DRIVERS = frozenset(("", "local", "json-file", "none"))


class Rule:
    """What is allowed: `operations` are patterns, None for `images` is any; `mounts` are directories of the host, with
    `:ro` for reading only. Containers must have the `labels`, and those that are made get them."""

    def __init__(
        self,
        operations: Sequence[str],
        images: Sequence[str] | None = None,
        mounts: Sequence[str] = (),
        volumes: Sequence[str] = (),
        networks: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        privileged: bool = False,
    ) -> None:
        self.operations = operations
        self.images = images
        self.mounts = mounts
        self.volumes = volumes
        self.networks = networks
        self.labels = labels or {}
        self.privileged = privileged

    def allows_image(self, name: str) -> bool:
        """Return whether an image may be used: its familiar name, with its tag, must match a pattern."""
        if self.images is None:
            return True
        try:
            parsed = reference.parse(name)
        except InvalidInput:
            return False  # an id would hide the name
        return any(fnmatchcase(parsed.familiar, pattern) for pattern in self.images)

    def allows_network(self, name: str) -> bool:
        """Return whether a network may be used; what is not the container's own is not meant by patterns."""
        if name in ("", "default"):
            name = "bridge"
        if name == "host" or name.startswith(("container:", "ns:", "cni:")):
            return False
        return name == "none" or any(fnmatchcase(name, pattern) for pattern in self.networks)

    def allows_volume(self, name: str) -> bool:
        """Return whether a volume may be used; one without a name is the container's own."""
        return not name or any(fnmatchcase(name, pattern) for pattern in self.volumes)

    def allows_labels(self, labels: Mapping[str, str]) -> bool:
        """Return whether a container has the labels of the rule."""
        return all(labels.get(name) == value for name, value in self.labels.items())


def refusal_of_create(rule: Rule, options: ContainerOptions) -> str:
    """Return what of a container's options a rule does not allow, "" if it allows all. Raises InvalidInput."""
    if not rule.allows_image(options.image):
        return f"the image {options.image}"
    if rule.privileged:
        return ""
    beyond = sorted(set(options.given()) - _HARMLESS)
    if beyond:
        return f"the option {beyond[0]}"
    for name in ("pid", "ipc", "uts", "userns", "cgroupns"):
        if getattr(options, name) not in _OWN:
            return f"the {name} namespace {getattr(options, name)}"
    if options.oom_score_adj < 0:
        return "a negative oom_score_adj"
    if options.runtime not in ("", "underlay"):
        return f"the runtime {options.runtime}"
    if options.links:
        return "links"
    if options.log_driver not in _LOG_DRIVERS:
        return f"the log driver {options.log_driver}"
    unsafe = [text for text in options.security if not text.startswith("no-new-privileges")]
    if unsafe:
        return f"the security option {unsafe[0][:60]}"
    request = Request(options)
    for network in request.networks:
        if not rule.allows_network(network.name):
            return f"the network {network.name or 'bridge'}"
    for mount in request.mounts:
        refused = _refusal_of_mount(rule, mount)
        if refused:
            return refused
    return ""


def _refusal_of_mount(rule: Rule, mount: Mount) -> str:
    if mount.driver_options:
        return f"options of the volume {mount.source}"
    if mount.kind == "volume" and not rule.allows_volume(mount.source):
        return f"the volume {mount.source}"
    if mount.kind == "image" and not rule.allows_image(mount.source):
        return f"the image {mount.source}"
    if mount.kind != "bind":
        return ""
    # Exactly what is listed: a path below could be made a link, by a container that has the directory above it.
    path = os.path.normpath(mount.source)
    reading = "ro" in mount.options and "rw" not in mount.options
    if path in rule.mounts or (reading and f"{path}:ro" in rule.mounts):
        return ""
    return f"the mount {path}{'' if reading else ' for writing'}"
