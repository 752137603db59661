"""The process of a specification becomes operations: limits, scheduling, identity, and the last step."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from ...linux.security import capabilities
from ..policy import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import Process, Seccomp
    from .context import Add
    from .extras import Extras

RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
_SETS = ("bounding", "permitted", "inheritable", "ambient", "effective")


def add_user(add: Add, body: Process, user: str | None, groups: list[str]) -> None:
    """Emit who the process will be: `user` by name, or the numbers of `process.user` when it is None."""
    if user is not None:
        add(("user", user, list(groups)))
        return
    numbers = body.get("user") or {}
    more = [int(g) for g in numbers.get("additionalGids") or []]
    gid = int(numbers.get("gid") or 0)
    add(("ids", int(numbers.get("uid") or 0), gid, list(dict.fromkeys((gid, *more)))))


def capability_masks(body: Process) -> list[int]:
    """Return bounding, permitted, inheritable, ambient and effective sets as masks.

    Raises InvalidInput for an unknown name: callers that must only warn have dropped it before.
    """
    sets = body.get("capabilities") or {}
    masks = []
    for name in _SETS:
        try:
            masks.append(capabilities.mask(sets.get(name) or []))
        except KeyError as error:
            raise InvalidInput(f"process.capabilities.{name}: unknown capability {error.args[0]!r}") from None
    return masks


def add_scheduling(add: Add, body: Process) -> None:
    """Emit scheduler and I/O priority of the process (config, "Linux Process")."""
    if not body.get("scheduler") and not body.get("ioPriority"):
        return
    from ...linux import scheduling

    if body.get("scheduler"):
        add(("scheduler", scheduling.attributes(body["scheduler"], "process.scheduler")))
    if body.get("ioPriority"):
        add(("io-priority", scheduling.io_priority(body["ioPriority"], "process.ioPriority")))


def add_limits(add: Add, body: Process) -> None:
    """Emit resource limits; each at most once."""
    seen = set()
    for position, item in enumerate(body.get("rlimits") or []):
        kind = item.get("type")
        if kind not in RLIMITS:
            raise InvalidInput(f"process.rlimits[{position}].type: unknown limit {kind!r}")
        if kind in seen:
            raise InvalidInput(f"process.rlimits[{position}].type: {kind} is given twice")
        seen.add(kind)
        add(("rlimit", kind, RLIMITS[kind], int(item["soft"]), int(item["hard"])))


def add_process(
    add: Add,
    body: Process,
    extras: Extras,
    monitored: bool,
    personality: int = -1,
    profile: Seccomp | None = None,
) -> None:
    """Emit all from the new session to the program itself.

    `monitored` lets the process die with its monitor; `personality` is personality(2)'s
    word, -1 to leave it; `profile` is `linux.seccomp`.
    """
    masks = capability_masks(body)
    add(("session",))
    add(("streams",))
    add_limits(add, body)
    umask = (body.get("user") or {}).get("umask")
    add(("umask", 0o022 if umask is None else int(umask)))
    if extras.keyring:
        add(("session-keyring",))
    add_scheduling(add, body)
    if personality >= 0:
        add(("personality", personality))
    if body.get("selinuxLabel"):
        raise Unsupported("process.selinuxLabel: SELinux labels are not supported")
    if extras.waits:
        add(("locate", (body.get("args") or [""])[0], body.get("cwd") or "/"))
        add(("await-start",))
    hardened = bool(body.get("noNewPrivileges"))
    flags, notify = 0, False
    if profile:
        from ...linux.security import seccomp
        from ..apply import seccomp_notify

        flags, notify = seccomp.flags_of(profile), seccomp_notify.wanted(profile)
    label = body.get("apparmorProfile")
    if label and label != "unconfined":
        if not label.isprintable() or label != label.strip():
            raise InvalidInput(f"process.apparmorProfile: {label!r} is not the name of a profile")
        # A change of profile by exec lets the kernel forget with whom the process dies. Ours allows every exec, so it can
        # be changed to before; others may not.
        add(("apparmor", label, monitored and label == profiles.APPARMOR))
    if hardened:
        add(("no-new-privs",))
    if extras.landlock:
        add(("landlock", [list(rule) for rule in extras.landlock]))
    if not hardened:
        # Without no_new_privs only CAP_SYS_ADMIN may load a filter, so before capabilities go (seccomp(2)).
        add(("seccomp", flags, notify))
    add(("credentials", *masks))
    if monitored:
        add(("die-with-monitor",))
    add(("chdir", body.get("cwd") or "/"))
    if hardened:
        add(("seccomp", flags, notify))
    if "startContainer" in extras.hooks:
        # Of the container's own root: with all that confines the process, which is known only now.
        add(("hooks", "startContainer"))
    add(("execute", list(body.get("args") or []), extras.init))
