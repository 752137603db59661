"""Where and how a program of a container is confined: its control group, AppArmor profile and system call filter."""

from __future__ import annotations

import os

from ....errors import StartFailed
from ....runtime.policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Spec
    from ....store.rows.intent import Intent
    from ....store.store import Store


def confined(store: Store, spec: Spec, make: bool) -> Spec:
    """Return the specification with its AppArmor profile loaded (`make`), or without it where ours cannot be had.

    Raises StartFailed for a profile that somebody has named and that is not loaded.
    """
    label = spec["process"].get("apparmorProfile") or "unconfined"
    if label == "unconfined" or not make:
        return spec
    from ....linux.security import apparmor
    from ....runtime.policy import apparmor_profile

    if label == apparmor_profile.NAME and os.geteuid() == 0:
        why = apparmor_profile.ensure(store.paths.root, store.paths.state)
        if not why:
            return spec
        apparmor_profile.warn_once(store.paths.state, why, store.emit)
        return {**spec, "process": {**spec["process"], "apparmorProfile": ""}}
    if apparmor.loaded(label) is False:
        raise StartFailed(
            f"AppArmor profile {label} is not loaded", 125, "apparmor_parser -r FILE loads one, aa-status lists them"
        )
    return spec


def system_call_filter(store: Store, kind: str, spec: Spec, machine: str = "") -> bytes:
    """Return the compiled filter of a container's system calls, empty for none; `kind` default, unconfined or custom.

    It is for the processor `machine` in the words of uname(2), by default the host's.
    """
    if kind == "unconfined":
        return b""
    if kind == "custom":
        from ....linux.security import seccomp

        return seccomp.compile_filter(spec["linux"]["seccomp"], machine)
    bounding = spec["process"]["capabilities"]["bounding"]
    return profiles.default_filter(bounding, store.paths.state + "/seccomp", machine)


def processor_of(intent: Intent) -> str:
    """Return the processor of a container's programs in the words of uname(2), "" for the host's."""
    from ....linux.security import seccomp

    return seccomp.machine(intent["machine"].get("architecture", "")) if "machine" in intent else ""


def group_path(container_id: str, intent: Intent) -> str:
    """Return the path of a container's cgroup below the hierarchies."""
    return group_below(intent["options"].get("cgroup_parent") or "", container_id)


def group_below(parent: str, container_id: str) -> str:
    """Return the path of a container's cgroup below `parent`, a value of --cgroup-parent ("" for the engine's own)."""
    from ..specification import grammar

    return f"{grammar.parent_group(parent) or 'underlay'}/{container_id}"
