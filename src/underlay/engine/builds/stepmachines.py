"""`build --isolation machine`: the steps of a build in virtual machines, each in one of its own."""

from __future__ import annotations

import os

from ...builder.request import ISOLATIONS
from ...errors import InvalidInput, Unsupported
from ...paths import interpreter
from ...runtime.machine import inside, qemu, shares
from ..machines import kernels, starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...builder.request import BuildRequest, StepRequest
    from ...runtime.monitor.records import StepRecord
    from ...store.store import Store


def wanted(request: BuildRequest) -> bool:
    """Return whether the steps of a build run in machines. Raises InvalidInput."""
    if request.isolation not in ISOLATIONS:
        raise InvalidInput(
            f"invalid isolation mode of a build: {request.isolation}",
            "process (this kernel), or machine (a kernel of their own for RUN instructions)",
        )
    if request.kernel and request.isolation != "machine":
        raise InvalidInput("--kernel needs --isolation machine: a process runs on the host's kernel")
    return request.isolation == "machine"


class Machines:
    """What the machines of one build's steps are made of; that it is there is checked before anything is built.

    Raises Unsupported, NotFound for a kernel that is not in the store.
    """

    def __init__(self, store: Store, kernel: str) -> None:
        if os.geteuid() != 0:
            raise Unsupported("--isolation machine needs root", "run it as root, or leave out --isolation")
        qemu.program(qemu.architecture())
        shares.program()
        self._store = store
        self._kernel = kernels.find(store.paths, kernel, qemu.architecture()).release

    def put(self, record: StepRecord, step: StepRequest, state_directory: str) -> None:
        """Add to the record of a step what it needs to run in a machine, with a new `state_directory` for that.

        Raises Unsupported for what a step in a machine cannot have.
        """
        if step.devices:
            raise Unsupported(
                "--isolation machine: devices of the host are not in the machine", "leave out one of the two"
            )
        inside.check(record["spec"], record["extras"], step.insecure)
        os.mkdir(state_directory, 0o700)
        limits = record["spec"]["linux"].get("resources") or {}
        record["machine"] = starting.record(self._store, self._kernel, limits, True)
        record["around"] = starting.around(self._store.paths, state_directory, *interpreter())
