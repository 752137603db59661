"""The container, or step of a build, that runs in a machine, and what it is given of the host."""

from __future__ import annotations

from . import inside, shares

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...linux.specification import Beyond, Spec
    from .. import plan
    from ..monitor.records import LaunchRecord, StepRecord
    from .records import Around, MachineRecord


class Guest:
    """One container that runs in a machine, as its driver needs it.

    `shared` are unattached mounts (descriptors) in the order in which `inside.shared` returns their places, which whoever
    starts the machine closes. Its root is made of the image, `index` and `layers` (paths), with the `disk` above, or it is
    the last one of the shared mounts if there is no disk. `namespace` is the file of a network namespace, "" for none.
    """

    def __init__(self, record: StepRecord) -> None:
        self.id: str = record["id"]
        self.spec: Spec = record["spec"]
        self.extras: Beyond = record["extras"]
        self.seccomp: str = record["seccomp"]
        self.machine: MachineRecord = record["machine"]
        self.around: Around = record["around"]
        self.target: str = record["root"]["target"]
        self.shared: list[int] = []
        self.namespace = ""
        self.terminal = self.open_stdin = False
        self.volatile = True
        self.index = self.disk = ""
        self.layers: list[str] = []
        self.overlay: dict[str, str | None] = {}


def of_container(record: LaunchRecord, made: plan.Plan, idle: bool) -> Guest:
    """Return a container, whose plan is `made`; if it is `idle` it shares nothing. Raises StartFailed, KernelError."""
    guest = Guest(record)
    guest.terminal, guest.open_stdin = record["terminal"], record["open_stdin"]
    guest.volatile = record["remove"] and not idle
    network = record["network"]
    if isinstance(network, dict):
        guest.namespace = network["namespaces"][0]
    _, _, _, guest.index, guest.layers = record["shared_mount"]
    guest.disk, guest.overlay = record["root"]["disk"], record["root"]["options"]
    places = [mount["destination"] for mount in inside.shared(record["spec"])]
    if places and not idle:
        binds = {operation[2]: operation for operation in made.operations if operation[0] == "bind"}
        guest.shared = shares.opened([binds[place] for place in places])
    return guest


def of_step(record: StepRecord, sources: Mapping[str, int]) -> Guest:
    """Return a step of a build; `sources` are the unattached mounts by destination, "/" being the root's."""
    guest = Guest(record)
    for item in record["spec"]["linux"]["namespaces"]:
        if item["type"] == "network":
            guest.namespace = item.get("path") or ""
    places = [mount["destination"] for mount in inside.shared(record["spec"])]
    guest.shared = [sources[place] for place in (*places, "/")]
    return guest
