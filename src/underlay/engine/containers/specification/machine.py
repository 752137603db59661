"""`--isolation machine`: a kernel of its own, and what a container on one cannot have."""

from __future__ import annotations

import os

from ....errors import InvalidInput, Unsupported
from ....oci import platform as platforms
from ....runtime.machine import inside, qemu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....oci.platform import Platform
    from ....store.rows.intent import Disk, Intent, MachineOptions
    from ....store.store import Store
    from ...options import ContainerOptions

DEFAULT = "default"  # kernel
MACHINE, PROCESS, AUTO = "machine", "process", "auto"
MODES = ("", "default", PROCESS, MACHINE, AUTO)
_DISK = 64 << 30  # bytes of a writable layer for which nothing was said; its file has only what was written


def wanted(store: Store, options: ContainerOptions) -> str:
    """Return the name of the kernel that a container is to have for its own, as `kernels.find` takes it; "" for none.

    With `auto` it has one if this host's kernel cannot run the image, and a kernel in the store can. Raises InvalidInput,
    and as `Bases.machine_for` does.
    """
    if options.isolation not in MODES:
        raise InvalidInput(
            f"invalid isolation mode: {options.isolation}", "process (this kernel), machine (one of its own), or auto"
        )
    if options.kernel and options.isolation not in (MACHINE, AUTO):
        raise InvalidInput("--kernel needs --isolation machine or auto: a process runs on the host's kernel")
    if options.isolation == MACHINE:
        return options.kernel or DEFAULT
    if options.isolation != AUTO:
        return ""
    from ...bases import Bases

    helps = Bases(store).machine_for(options.image, options.platform, options.command or (), options.entrypoint)
    return options.kernel or helps if helps else ""


def architecture_of(platform: Platform) -> str:
    """Return the architecture of machines that run programs of `platform`: this host's, if that does; "" for none."""
    for architecture in dict.fromkeys((qemu.architecture(), *qemu.BOARDS)):
        if platforms.rank(platforms.normalise("linux", architecture), platform) is not None:
            return architecture
    return ""


def require(name: str, platform: Platform) -> str:
    """Return `architecture_of` the platform of the image `name`; raises Unsupported for one that no machine runs."""
    architecture = architecture_of(platform)
    if not architecture:
        raise Unsupported(
            f"image {name} is for {platform}, there are no machines for that",
            f"there are some for {' and '.join(qemu.BOARDS)}",
        )
    return architecture


def choose(
    store: Store, intent: Intent, options: ContainerOptions, kernel: str, architecture: str
) -> tuple[MachineOptions, Disk]:
    """Return what is recorded of a container's machine and of its disk; `kernel` is a name as `kernels.find` takes it.

    Raises Unsupported for options that it cannot have, NotFound for a kernel that is not in the store.
    """
    from ...machines import kernels, userlands
    from . import disk_limit

    if os.geteuid() != 0:
        raise Unsupported("--isolation machine needs root", "run it as root, or leave out --isolation")
    if "runtime" in intent:
        raise InvalidInput("conflicting options: --isolation machine and --runtime")
    if options.devices or options.gpus:
        raise Unsupported("--isolation machine: --device and --gpus: the host's devices are not in the machine")
    inside.check(intent["spec"], intent["extras"], options.privileged)
    qemu.program(architecture)
    found = kernels.find(store.paths, kernel, architecture)
    if architecture != qemu.architecture():
        userlands.find(store.paths, architecture)
    size = disk_limit.size_of(options) or _DISK
    return {"kernel": found.release, "architecture": architecture}, {"size": size, "way": disk_limit.MACHINE}
