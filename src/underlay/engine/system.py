"""The noun `engine.system`: information about host and installation, disk usage, check and repair."""

from __future__ import annotations

import os
import time

from .. import trees
from ..builder.cache import prune
from ..errors import Corrupt, NotFound, UnderlayError
from ..human import rfc3339
from ..linux import abi, cgroup
from ..linux.facts import gather
from ..oci import platform
from ..runtime.monitor import logs
from ..store import layers, rootfs
from ..store.rows import containers as container_rows
from ..store.rows import images
from ..store.rows import layers as layer_rows
from ..store.rows import volumes as volume_rows
from ..version import __version__
from . import presence
from .containers.specification import disk_limit
from .networks import Networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from ..journal import Entry
    from ..store.check import CheckReport
    from ..store.store import Store
    from .doctor import Finding


class Usage:
    """Disk usage of one kind of object: `kind`, `total` and `active` (numbers), `size` and `reclaimable` (bytes on
    disk)."""

    __slots__ = ("active", "kind", "reclaimable", "size", "total")

    def __init__(self, kind: str, total: int, active: int, size: int, reclaimable: int) -> None:
        self.kind = kind
        self.total = total
        self.active = active
        self.size = size
        self.reclaimable = reclaimable


class ImageUsage:
    """Disk usage of one image in bytes of its layers: `size`, of these `shared` with other images and `unique`;
    and the number of `containers` made from it."""

    __slots__ = ("containers", "id", "shared", "size", "unique")

    def __init__(self, image_id: str, size: int, shared: int, containers: int) -> None:
        self.id = image_id
        self.size = size
        self.shared = shared
        self.unique = size - shared
        self.containers = containers


class System:
    """Information about an engine's installation, and its maintenance."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def events(
        self,
        since: float = 0.0,
        until: float = 0.0,
        filters: Mapping[str, Sequence[str]] | None = None,
        follow: bool = False,
        stopped: Callable[[], bool] = bool,
    ) -> Iterator[Entry]:
        """Yield what has happened to containers, images, networks and volumes, from the journal, oldest first.

        `since` and `until` are seconds since the epoch, 0 for no bound; with `follow` it goes on with what happens, until
        `until` has come or `stopped()` is true. `filters` are docker's: one of the values of each key must match. Raises
        InvalidInput.
        """
        from . import journaling

        chosen = filters or {}
        journaling.check(chosen)
        for entry in journaling.entries(self._store.paths, int(since * 1e9), int(until * 1e9), follow, stopped):
            if journaling.matches(entry, chosen):
                yield entry

    def info(self) -> dict[str, Any]:
        """Return the host's properties and capabilities and how underlay uses them, under the names of `info --format`."""
        store = self._store
        form, reason = rootfs.form_for(store.paths, store.form_setting)
        kernel = os.uname()
        containers = container_rows.ids(store.meta)
        words = [presence.status(store, container_id).status for container_id in containers]
        paused, running = words.count("paused"), words.count("running") + words.count("restarting")
        rootless = os.geteuid() != 0
        facts: dict[str, Any] = {
            "ServerVersion": __version__,
            "Driver": form,
            "DriverReason": reason,
            "RootDir": store.paths.root,
            "DockerRootDir": store.paths.root,
            "StateDir": store.paths.state,
            "Images": len(images.every(store.meta)),
            "Containers": len(containers),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(containers) - running - paused,
            "KernelVersion": kernel.release,
            "OperatingSystem": _os_value("PRETTY_NAME") or "Linux",
            "OSType": "linux",
            "Architecture": kernel.machine,
            "Platform": str(platform.host()),
            "NCPU": os.cpu_count() or 1,
            "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "Name": kernel.nodename,
            "Rootless": rootless,
            "ID": _machine_id(),
            "SystemTime": rfc3339(time.time_ns()),
            "OSVersion": _os_value("VERSION_ID"),
            "IndexServerAddress": "https://index.docker.io/v1/",
            "Plugins": {
                "Volume": ["local"],
                "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
                "Authorization": None,
                "Log": list(logs.DRIVERS),
            },
            "Labels": [],
            "Debug": False,
            "ExperimentalBuild": False,
            "InitBinary": "underlay",
            "HttpProxy": os.environ.get("HTTP_PROXY", ""),
            "HttpsProxy": os.environ.get("HTTPS_PROXY", ""),
            "NoProxy": os.environ.get("NO_PROXY", ""),
            "LoggingDriver": "local",
            "DefaultRuntime": "underlay",
            "Runtimes": {"underlay": {"path": "underlay-runtime"}},
            "LiveRestoreEnabled": True,  # no process of ours that a container would need can be missing
            "Swarm": {"LocalNodeState": "inactive"},
        }
        host = gather()
        # What is there and what we may use of it differ for the unprivileged.
        usable = cgroup.open_group("underlay", rootless).version
        facts["CgroupVersion"] = usable.removeprefix("v")
        facts["CgroupDriver"] = "none" if usable == "none" else "cgroupfs"
        facts["CgroupControllers"] = host["cgroup"]["controllers"] if usable == host["cgroup"]["version"] else []
        if usable == "none":
            host["security"].remove("devices") if "devices" in host["security"] else None
        if rootless and "apparmor" in host["security"]:
            host["security"].remove("apparmor")  # only root may load profiles
        controllers = facts["CgroupControllers"]
        facts["MemoryLimit"] = facts["OomKillDisable"] = "memory" in controllers
        facts["CpuCfsPeriod"] = facts["CpuCfsQuota"] = facts["CPUShares"] = "cpu" in controllers
        facts["CPUSet"], facts["PidsLimit"] = "cpuset" in controllers, "pids" in controllers
        facts["OomKillDisable"] = facts["OomKillDisable"] and usable == "v1"
        facts["DiskLimit"], facts["DiskLimitReason"] = disk_limit.way(store.paths)
        facts["SwapLimit"] = host["swap_accounting"]
        named = {"seccomp": "name=seccomp,profile=builtin"}
        facts["SecurityOptions"] = [named.get(word, f"name={word}") for word in host["security"]]
        facts["SecurityOptions"] += ["name=rootless"] if rootless else []
        facts["SecurityModules"] = host["lsm"]
        facts["Landlock"] = host["landlock"]
        facts["UserNamespaces"] = host["user_namespaces"]
        facts["Filesystems"] = host["filesystems"]
        facts["HostABI"] = abi.gather()
        facts["Warnings"] = [] if rootless else Networks(store).obstacles()
        return facts

    def doctor(self) -> list[Finding]:
        """Return what this host has and lacks for each feature, with what to install or set."""
        from .doctor import examine

        return examine(self._store)

    def disk_usage(self) -> list[Usage]:
        """Return the disk usage of images, containers, volumes, the build cache and the kernels of machines; unused data
        counts as reclaimable."""
        store = self._store
        meta, paths = store.meta, store.paths
        used = container_rows.counts(meta)
        all_images = images.every(meta)
        needed: set[str] = set()
        for image in all_images:
            if image.id in used:
                needed.update(image.diff_ids)
        total = unneeded = 0
        cached = prune.entries(paths, meta)
        # What only builds have kept is theirs.
        only = {entry.record.layer.diff_id for entry in cached if entry.record is not None and not entry.shared}
        for diff_id in layers.list_all(paths):
            if diff_id in only:
                continue
            try:
                size = layers.size_on_disk(paths, diff_id)
            except NotFound:
                continue  # removed since
            total += size
            unneeded += 0 if diff_id in needed else size
        indexes = sum(map(trees.size, (paths.indexes, paths.trees, paths.temporary)))
        documents = trees.size(paths.blobs)
        rows = [
            Usage(
                "Images",
                len(all_images),
                sum(i.id in used for i in all_images),
                total + indexes + documents,
                unneeded,
            )
        ]
        containers = container_rows.ids(meta)
        sizes = {container_id: trees.size(paths.container(container_id)) for container_id in containers}
        stopped = [container_id for container_id in containers if not presence.is_running(self._store, container_id)]
        rows.append(
            Usage(
                "Containers",
                len(containers),
                len(containers) - len(stopped),
                sum(sizes.values()),
                sum(sizes[container_id] for container_id in stopped),
            )
        )
        volumes = [volume.name for volume in volume_rows.every(meta)]
        in_use = volume_rows.used(meta)
        space = {name: trees.size(f"{paths.root}/volumes/{name}") for name in volumes}
        rows.append(
            Usage(
                "Local Volumes",
                len(volumes),
                len(in_use),
                sum(space.values()),
                sum(size for name, size in space.items() if name not in in_use),
            )
        )
        own = sum(entry.size for entry in cached if not entry.shared)
        rows.append(Usage("Build Cache", len(cached), 0, own, own))
        rows += _kernel_usage(store)
        return rows

    def image_usage(self) -> dict[str, ImageUsage]:
        """Return the disk usage of each image by its id, in bytes of layer tars."""
        meta = self._store.meta
        sizes = layer_rows.sizes(meta)
        all_images = images.every(meta)
        users: dict[str, int] = {}
        for image in all_images:
            for diff_id in set(image.diff_ids):
                users[diff_id] = users.get(diff_id, 0) + 1
        counts = container_rows.counts(meta)
        return {
            image.id: ImageUsage(
                image.id,
                image.size,
                sum(sizes.get(diff_id, 0) for diff_id in image.diff_ids if users[diff_id] > 1),
                counts.get(image.id, 0),
            )
            for image in all_images
        }

    def check(self, repair: bool = False) -> CheckReport:
        """Verify all stored data; with `repair` recreate what can be recreated, and remove what cannot.

        A damaged database is rebuilt from its readable rows and from the documents in the store.
        """
        from ..store import check
        from .machines import checking

        store = self._store
        try:
            meta = store.meta
            images.is_empty(meta)
            damaged = bool(_structure(store))
        except Corrupt as error:
            damaged = True
            if not repair:
                report = check.CheckReport()
                report.problems.append(check.Problem("database", store.paths.database, error.message))
                return report
        before: list[check.Problem] = []
        if damaged and repair:
            store.close()
            before = check.repair_database(store.paths).problems
        elif repair and (restored := check.rebuild_if_empty(store.paths, store.meta)):
            before = [restored]
        report = check.check(store.paths, store.meta, store.form, store.emit, repair)
        report.problems[:0] = before
        checking.check(store, report, repair)
        return report


def _kernel_usage(store: Store) -> list[Usage]:
    """Return the row of kernels with the userlands that came with them, none without any: it is no row of docker's."""
    from .machines import kernels, usage, userlands

    sizes = {name: trees.size(f"{kernels.directory_of(store.paths)}/{name}") for name in kernels.releases(store.paths)}
    if not sizes:
        return []
    used = sizes.keys() & usage.users(store).keys()
    unused = sum(size for name, size in sizes.items() if name not in used)
    size = sum(sizes.values()) + trees.size(userlands.directory_of(store.paths))
    return [Usage("Machine kernels", len(sizes), len(used), size, unused)]


def _structure(store: Store) -> list[str]:
    from ..store.rows.meta import integrity

    try:
        return [text for text in integrity(store.meta) if not text.startswith("a row of")]
    except UnderlayError as error:
        return [error.message]


def _os_value(wanted: str) -> str:
    try:
        with open("/etc/os-release", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.strip().partition("=")
                if key == wanted:
                    return value.strip("\"'")
    except OSError:
        pass
    return ""


def _machine_id() -> str:
    """Return what tells this installation's host from others (machine-id(5)), "" where it has no such id."""
    try:
        with open("/etc/machine-id", encoding="ascii", errors="replace") as file:
            return file.read(64).strip()
    except OSError:
        return ""
