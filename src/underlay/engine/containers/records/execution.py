"""The record of another program in a running container: of an `exec`, and of the container's health check."""

from __future__ import annotations

import os

from ....errors import InvalidInput
from ....runtime.policy import profiles
from .confinement import group_path, processor_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....linux.specification import Process, State
    from ....runtime.monitor.records import ExecRecord
    from ....store.rows.intent import Intent
    from ...options import ExecOptions


def exec_record(
    container_id: str, state_directory: str, intent: Intent, options: ExecOptions, pid: int, when: int, group_base: str
) -> ExecRecord:
    """Return the record of a program in the container whose first process is `pid`, started at `when`.

    Raises InvalidInput.
    """
    spec = intent["spec"]
    base = spec["process"]
    environment = dict(pair.split("=", 1) for pair in base["env"] if "=" in pair)
    if options.terminal:
        environment.setdefault("TERM", "xterm")
    for text in options.environment:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidInput(f"invalid environment variable: {text}")
        if equals:
            environment[name] = value
    directory = options.working_directory or base["cwd"]
    if not directory.startswith("/"):
        raise InvalidInput(f"Cwd must be an absolute path: {directory}")
    capabilities = base["capabilities"]
    if options.privileged:
        from ....linux.security.capabilities import NAMES, last_known_cached

        every = ["CAP_" + name for name in NAMES[: last_known_cached() + 1]]
        capabilities = {"bounding": every, "permitted": every, "effective": every}
    body: Process = {
        **base,
        "terminal": options.terminal,
        "args": options.command,
        "cwd": directory,
        "capabilities": capabilities,
    }
    user = options.user or intent["extras"]["user"]
    landlock = intent["extras"].get("landlock") or []
    _unlabel(body)
    profile = spec["linux"].get("seccomp") if intent["seccomp"] == "custom" and not options.privileged else None
    record: ExecRecord = {
        "pid": pid,
        "when": when,
        "namespaces": [n["type"] for n in spec["linux"]["namespaces"]],
        "group": (group_path(container_id, intent), intent["rootless"], group_base),
        "operations": {"body": body, "size": options.size, "profile": profile},
        "extras": {"user": user, "groups": intent["extras"]["groups"], "landlock": landlock},
        "environment": environment,
        "filter": _filter(intent, capabilities["bounding"], options.privileged).hex(),
        "terminal": options.terminal,
        "interactive": options.interactive,
        "detach": options.detach,
        "state": _state(container_id, intent, pid) if profile else None,
    }
    if "machine" in intent:
        record["machine"] = state_directory
        body["apparmorProfile"] = ""
    return record


def _unlabel(body: Process) -> None:
    """Take our own AppArmor profile away where the container has had to start without it."""
    if body.get("apparmorProfile"):
        from ....linux.security import apparmor
        from ....runtime.policy import apparmor_profile

        if body["apparmorProfile"] == apparmor_profile.NAME and apparmor.loaded(apparmor_profile.NAME) is False:
            body["apparmorProfile"] = ""


def _state(container_id: str, intent: Intent, pid: int) -> State:
    """Return the container state that is sent to the seccomp agent of a filter with notifications."""
    from ....runtime.apply import seccomp_notify

    state = seccomp_notify.state_of(container_id, "running", "", intent["spec"])
    return {**state, "pid": pid}


def _filter(intent: Intent, bounding: list[str], privileged: bool) -> bytes:
    """Return the container's own filter; a privileged exec has none, as with docker."""
    if intent["seccomp"] == "unconfined" or privileged:
        return b""
    from ....linux.security import seccomp

    if intent["seccomp"] == "custom":
        return seccomp.compile_filter(intent["spec"]["linux"]["seccomp"], processor_of(intent))
    host = os.uname()
    machine = processor_of(intent) or host.machine
    return seccomp.compile_filter(
        profiles.seccomp_profile(bounding, machine, profiles.kernel_version(host.release)), machine
    )
