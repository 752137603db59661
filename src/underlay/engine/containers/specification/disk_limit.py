"""--storage-opt size=: how much a container may write, by a project quota or by a file system of that size in a file."""

from __future__ import annotations

import os

from ....errors import InvalidInput, KernelError, Unsupported
from ....store.rows import id_ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired, TypedDict

    from ....paths import Paths
    from ....store.rows.intent import Disk, Intent
    from ....store.store import Store
    from ...options import ContainerOptions

    class Layer(TypedDict):
        """Where a writable layer lies: arguments of `plan.Root`."""

        upper: str
        work: str
        disk: NotRequired[str]


QUOTA, IMAGE, NONE = "quota", "image", "none"
MACHINE = "machine"  # a file system in a file, which no kernel but a machine's ever mounts
FILE = "disk"  # in a container's directory: the file system of its writable layer
# Ids of projects: far from those that people number by hand, and from docker's and podman's, which count from small ones.
POOL = [(1 << 30, 1 << 20)]


def size_of(options: ContainerOptions) -> int:
    """Return the bytes that the options allow, 0 for no limit; raises InvalidInput in docker's words."""
    size = 0
    for key, value in options.storage_options.items():
        if key.lower() != "size":
            raise InvalidInput(f"unknown option {key}", "--storage-opt knows size")
        from ....human import parse_size
        from ....store.rootfs import ext4

        try:
            size = parse_size(value)
        except ValueError:
            raise InvalidInput(f"invalid size: '{value}'") from None
        if not ext4.MINIMUM <= size <= ext4.MAXIMUM:
            raise InvalidInput(
                f"invalid size: '{value}': a writable layer has at least {ext4.MINIMUM >> 20}m "
                f"and less than {-(-ext4.MAXIMUM >> 40)}t"
            )
    return size


def way(paths: Paths) -> tuple[str, str]:
    """Return how a limit is kept here, `quota`, `image` or `none`, and in one line why not by what comes before."""
    from ....linux.files import loopdevice, projectquota

    directory = paths.root + "/containers"
    without = projectquota.why_not(directory if os.path.isdir(directory) else "/")
    if not without:
        return QUOTA, "the file system of the store enforces project quotas"
    reason = loopdevice.why_not()
    if not reason:
        return IMAGE, f"no quota: {without}"
    return NONE, f"no quota: {without}; no file system in a file: {reason}"


def choose(store: Store, options: ContainerOptions) -> tuple[Disk | None, list[id_ranges.Wanted]]:
    """Return what is recorded of the limit (None: there is none), and the numbers to claim.

    Raises InvalidInput, Unsupported.
    """
    size = size_of(options)
    if not size:
        return None, []
    kind, reason = way(store.paths)
    if kind == NONE:
        raise Unsupported(f"--storage-opt size is not supported here: {reason}")
    disk: Disk = {"size": size, "way": kind}
    if kind == IMAGE:
        return disk, []
    from ....linux.files import projectquota

    def settle(intent: Intent, first: int) -> None:
        intent["disk"] = {**disk, "project": first}

    def usable(project: int) -> bool:
        # Another installation on this file system has projects, too.
        return projectquota.usage(store.paths.root, project)[1] == 0

    return disk, [id_ranges.Wanted(id_ranges.PROJECT, 1, POOL, settle, usable)]


def make(directory: str, disk: Disk) -> None:
    """Make what the limit needs in a new container's directory."""
    if disk["way"] in (IMAGE, MACHINE):
        from ....store.rootfs import ext4

        ext4.write(f"{directory}/{FILE}", disk["size"])


def occupied(directory: str, disk: Disk) -> int:
    """Return the bytes on disk of the file system in a file; 0 where the layer lies in a directory."""
    if disk["way"] not in (IMAGE, MACHINE):
        return 0
    try:
        return os.stat(f"{directory}/{FILE}").st_blocks * 512
    except FileNotFoundError:
        return 0


def prepare(directory: str, state: str, disk: Disk, make: bool) -> Layer:
    """Return where the writable layer lies, as arguments of `plan.Root`: one in a file is mounted first.

    With `make` the container is about to start: what the limit needs is set, since a crash or a restored backup may have
    lost it. Raises Unsupported, KernelError.
    """
    if disk["way"] == MACHINE:
        return {"upper": directory + "/upper", "work": directory + "/work", "disk": f"{directory}/{FILE}"}
    if disk["way"] == IMAGE:
        mounted = f"{state}/{FILE}"
        if make:
            os.makedirs(mounted, mode=0o700, exist_ok=True)
        return {"upper": mounted + "/upper", "work": mounted + "/work", "disk": f"{directory}/{FILE}"}
    layer: Layer = {"upper": directory + "/upper", "work": directory + "/work"}
    if make:
        from ....linux.files import projectquota

        reason = projectquota.why_not(directory)
        if reason:
            raise Unsupported(f"the container's disk limit can no longer be enforced: {reason}")
        projectquota.set_limit(directory, disk["project"], disk["size"])
        for path in (layer["upper"], layer["work"]):
            projectquota.assign(path, disk["project"])
    return layer


def lift(store: Store, project: int) -> None:
    """After a container's files have gone: forget the quota of its project, so that it can be another's."""
    from ....linux.files import projectquota

    try:
        projectquota.set_limit(store.paths.root, project, 0)
    except KernelError:
        pass  # the file system is mounted without quotas now
