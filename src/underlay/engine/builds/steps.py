"""Build steps as containers: composes their launch records with the defaults that `run` has."""

from __future__ import annotations

import os
from copy import copy

from ...linux import cgroup, userns
from ...linux.security import seccomp
from ..containers import create
from ..containers.records import confinement
from ..containers.specification import compose as spec
from ..containers.specification import etc_texts, host_facts, mount_flags
from ..containers.specification.request import Request
from ..images import find
from ..options import ContainerOptions
from . import stepmachines
from .networks import StepNetworks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...builder.request import BuildRequest, StepRequest
    from ...linux.specification import Spec
    from ...runtime.monitor.records import StepRecord
    from ...store.store import Store


class Composer:
    """Composes the launch records of one build's steps (see `runtime.process.run_once`)."""

    def __init__(self, store: Store, request: BuildRequest, network: str) -> None:
        self._store = store
        self._request = request
        self._host: dict[bool, spec.HostFacts] = {}
        self.networks = StepNetworks(store, request.network, network)
        self._lent: dict[str, str] = {}  # networks, by the steps that have them
        self._machines: stepmachines.Machines | None = None
        if stepmachines.wanted(request):
            self._machines = stepmachines.Machines(store, request)
        _sweep_groups(os.geteuid() != 0)
        # Opened while there is one thread: the others only read what is found now.
        self._facts(False)

    def _facts(self, insecure: bool) -> spec.HostFacts:
        if insecure not in self._host:
            self._host[insecure] = self._gathered(insecure, [])
        return self._host[insecure]

    def _gathered(self, insecure: bool, devices: list[str]) -> spec.HostFacts:
        options = ContainerOptions(
            privileged=insecure, devices=devices, security=self._request.security, **self._request.limits
        )
        facts = host_facts.gather(self._store, Request(options))
        facts.rootless = False  # its process is root where the step's process is cloned
        return facts

    def done(self, step: StepRequest) -> None:
        """Let a step's network go to another."""
        lent = self._lent.pop(step.id, "")
        # In that of a machine bridges have taken over the addresses: it ends with the build.
        if lent and self._machines is None:
            self.networks.give_back(lent)

    def compose(self, step: StepRequest) -> StepRecord:
        """Return the record of a step, without its root; writes the files that are bound into it to `step.directory`."""
        request = self._request
        architecture = ""  # of its machine
        if self._machines is not None:
            architecture = self._machines.architecture(step)
        else:
            find.require_processor("of this step", step.platform)
        rootless = os.geteuid() != 0
        mode = step.network if step.network in ("none", "host") else self.networks.mode
        facts = self._facts(step.insecure)
        edits = None
        if step.devices:
            from .. import cdi

            edits = cdi.edits(step.devices)
            facts = self._gathered(step.insecure, edits.devices)
        if mode not in ("none", "host"):
            self._lent[step.id] = self.networks.take()
            facts = copy(facts)
            facts.network_namespace = self.networks.namespace_file(self._lent[step.id])
        options = ContainerOptions(
            **request.limits,
            environment=["HOSTNAME", *(edits.environment if edits is not None else ()), *step.environment],
            entrypoint=[],
            command=step.arguments,
            working_directory=step.working_directory,
            user=step.user,
            network=mode,
            hostname=step.hostname,
            privileged=step.insecure,
            ulimits=request.ulimits,
            extra_hosts=request.extra_hosts,
            security=request.security,
            devices=edits.devices if edits is not None else [],
        )
        if request.shm_size:
            options.shm_size = request.shm_size
        mounts = [mount_flags.Mount("bind", "/proc/self", target) for target in step.destinations]
        for target, size in step.tmpfs:
            mount = mount_flags.Mount("tmpfs", "", target)
            mount.options = ["nosuid", "nodev", "noexec", *([f"size={size}"] if size else [])]
            mounts.append(mount)
        mounts += edits.mounts if edits is not None else []
        # The host's own names are nobody's business, whatever the network.
        hosts = etc_texts.LOCAL_HOSTS.replace("localhost\n", f"localhost {step.hostname}\n", 1)
        resolver = self.networks.resolver() if facts.network_namespace else etc_texts.resolver(options)
        gateway = self.networks.gateway() if facts.network_namespace else etc_texts.LOOPBACK if mode == "host" else ""
        texts = {"resolv.conf": resolver, "hosts": hosts + etc_texts.extra_hosts(options, gateway)}
        create.write_texts(step.directory, texts)
        files = {f"/etc/{name}": f"{step.directory}/{name}" for name in ("resolv.conf", "hosts")}
        composed = spec.compose(step.id, Request(options), {}, mounts, files, facts)
        made = confinement.confined(self._store, composed.spec, True)
        if rootless:
            _for_user_namespace(made, mode)
        record: StepRecord = {
            "id": step.id,
            "spec": made,
            "extras": {"user": composed.user, "soft_sysctls": composed.soft_sysctls, "landlock": composed.landlock},
            "cgroup": confinement.group_below(request.limits.get("cgroup_parent") or "", step.id),
            "rootless": rootless,
            "nodes": not rootless,
            "seccomp": confinement.system_call_filter(
                self._store, composed.seccomp, made, seccomp.machine(architecture)
            ).hex(),
        }
        if self._machines is not None:
            self._machines.put(record, step, f"{os.path.dirname(step.directory)}/machine")
        return record


def _sweep_groups(rootless: bool) -> None:
    """Remove the control groups of steps whose build was killed with all its processes: empty, and of no living one."""
    for directory in set(cgroup.open_group("underlay", rootless).locations().values()):
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            kind, _, rest = name.partition("-")
            if kind == "build" and not os.path.exists(f"/proc/{rest.partition('-')[0]}"):
                try:
                    os.rmdir(f"{directory}/{name}")
                except OSError:
                    pass  # somebody is in it, or was faster


def _for_user_namespace(made: Spec, network: str) -> None:
    """Change what only the host's root can do: sysfs shows a network namespace, and only its owner may mount it."""
    for mount in made["mounts"]:
        if mount["destination"] == "/sys" and network == "host":
            words = ["rbind", "rslave", "rnosuid", "rnoexec", "rnodev", "rro"]
            mount.update({"type": "bind", "source": "/sys", "options": words})
        if mount["destination"] == "/dev/pts" and not userns.has_subordinate_ids():
            # A lone id has no group for terminals.
            mount["options"] = [option for option in mount["options"] if not option.startswith("gid=")]
