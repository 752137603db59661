"""What a container's monitor needs to start a machine: its kernel, QEMU, memory, processors, and how it is accelerated."""

from __future__ import annotations

import os

from ...runtime.machine import accelerator, outside, qemu
from . import bootimages, kernels, userlands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Resources
    from ...paths import Paths
    from ...runtime.machine.records import Around, MachineRecord
    from ...store.store import Store


def record(store: Store, kernel_name: str, limits: Resources, make: bool, architecture: str = "") -> MachineRecord:
    """Return the record of the machine of a container with these limits; `kernel_name` as `kernels.find` takes it, for an
    `architecture` in the words of images, "" for the host's.

    With `make` it is about to start: its kernel is made ready to boot. Raises NotFound, Unsupported.
    """
    host = qemu.architecture()
    kernel = kernels.find(store.paths, kernel_name, architecture or host)
    limit = int((limits.get("memory") or {}).get("limit") or 0)
    program = qemu.program(kernel.architecture)
    made: MachineRecord = {
        "architecture": kernel.architecture,
        "program": program,
        "userland": "",
        "kernel": kernel.image,
        "initrd": "",
        "modules": list(kernel.modules),
        "parameters": list(kernel.parameters),
        "memory": outside.memory_of(limit, _memory()),
        "processors": outside.processors_of(limits.get("cpu") or {}, len(os.sched_getaffinity(0))),
        "accelerator": accelerator.TCG,
        "balloon": kernel.has("virtio_balloon"),
    }
    if make:
        made["kernel"] = bootimages.boot_image(store.paths, kernel)
    if make and kernel.architecture != host:
        made["userland"] = userlands.find(store.paths, kernel.architecture)
    elif make:
        made["accelerator"], reason = accelerator.choose(store.paths.state, program, made["kernel"])
        if reason:
            _warn_once(store, reason)
    return made


def around(paths: Paths, state_directory: str, python: str, import_path: list[str]) -> Around:
    """Return what a machine is started from."""
    return {"state": state_directory, "filters": f"{paths.state}/seccomp", "python": python, "import_path": import_path}


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _warn_once(store: Store, reason: str) -> None:
    """Say once a boot that machines are emulated, and why."""
    from ...events import Event

    note = store.paths.state + "/machine-emulated"
    if os.path.exists(note):
        return
    with open(note, "w", encoding="utf-8") as file:
        file.write(reason)
    message = f"WARNING: machines are emulated here, which is slow: {reason}"
    store.emit(Event("host.warning", "machine", message=message, hint="said once; `underlay doctor` says it again"))
