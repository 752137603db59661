"""`build --isolation machine`: the steps of a build in virtual machines, each in one of its own."""

from __future__ import annotations

import os

from ...builder.request import ISOLATIONS
from ...errors import InvalidInput, Unsupported
from ...oci import platform as platforms
from ...paths import interpreter
from ...runtime.machine import inside, qemu, shares
from ..containers.specification import machine
from ..machines import kernels, starting, userlands

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

    def __init__(self, store: Store, request: BuildRequest) -> None:
        if os.geteuid() != 0:
            raise Unsupported("--isolation machine needs root", "run it as root, or leave out --isolation")
        shares.program()
        self._store = store
        self._kernel = request.kernel
        self._kernels: dict[str, str] = {}  # releases, by architecture
        given = [request.platforms] if isinstance(request.platforms, str) else request.platforms
        for wanted in [platforms.parse(text) for text in given if text] or [platforms.host()]:
            self._find(machine.require("to be built", wanted))

    def _find(self, architecture: str) -> str:
        """Return the release of the kernel for steps of an architecture."""
        if architecture not in self._kernels:
            qemu.program(architecture)
            self._kernels[architecture] = kernels.find(self._store.paths, self._kernel, architecture).release
            if architecture != qemu.architecture():
                userlands.find(self._store.paths, architecture)
        return self._kernels[architecture]

    def architecture(self, step: StepRequest) -> str:
        """Return the architecture of the machine that runs a step's programs. Raises Unsupported."""
        return machine.require("of this step", step.platform)

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
        architecture = self.architecture(step)
        record["machine"] = starting.record(self._store, self._find(architecture), limits, True, architecture)
        record["around"] = starting.around(self._store.paths, state_directory, *interpreter())
