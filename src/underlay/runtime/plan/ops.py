"""The operations that make a container's inside: each a plain tuple, described in words or applied to the kernel.

An operation is `(name, argument, …)` with values that JSON can hold. `describe` needs no privilege; `apply` runs in the
new process, in its new namespaces, before it becomes the container's program.
"""

from __future__ import annotations

from ...errors import InvalidInput
from ..apply import confinement, identity, mounts, process_ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .context import Context, Operation


def describe(operation: Operation) -> str:
    """Return one line saying what an operation does to the kernel."""
    name, *arguments = operation
    if name in _WORDS:
        arguments = _WORDS[name](*arguments)
    shown = []
    for argument in arguments:
        if argument in (None, "", [], {}, ()):
            continue
        if isinstance(argument, dict):
            shown.append(",".join(k if v is None else f"{k}={v}" for k, v in argument.items()))
        elif isinstance(argument, list | tuple):
            shown.append(",".join(str(a) for a in argument))
        else:
            shown.append(str(argument))
    return f"{name:<14} {' '.join(shown)}".rstrip()


def _flag_words(bits: int) -> list[str]:
    names = ((1, "ro"), (2, "nosuid"), (4, "nodev"), (8, "noexec"), (0x10, "noatime"), (0x20, "strictatime"))
    return [word for bit, word in names if bits & bit]


def _credential_words(*masks: int) -> list[Any]:
    names = ("bounding", "permitted", "inheritable", "ambient", "effective")
    return [f"{what} {bits:x}" for what, bits in zip(names, masks, strict=True)]


# How the arguments of an operation read in a plan, where they do not read by themselves.
_WORDS: dict[str, Any] = {
    "bind": lambda source, path, recursive, settings: [
        source,
        path,
        [*_flag_words(settings.get("on", 0) | settings.get("all-on", 0)), "rbind" if recursive else "bind"],
        "with other ids" if "idmap" in settings else "",
    ],
    "cgroup-v1": lambda path, controllers, bits, own: [path, controllers, _flag_words(bits), "" if own else "bound"],
    "credentials": _credential_words,
    "devices": lambda nodes, links, bind: [[node[0] for node in nodes], links, "bound from the host" if bind else ""],
    "execute": lambda arguments, init: [repr(arguments), "below an init" if init else ""],
    "devices-present": lambda nodes: [[node[0] for node in nodes]],
    "mount": lambda kind, source, path, bits, options, propagation, optional: [kind, path, _flag_words(bits), options],
    "secrets": lambda wanted: [[path for path, *_ in wanted]],
    "remount": lambda path, on, off, options, bind: [path, _flag_words(on), options],
    "time": lambda offsets: [f"{clock}+{seconds}s" for clock, (seconds, _) in offsets.items()],
    "tmpfs-copy-up": lambda path, bits, options: [path, _flag_words(bits), options],
    "propagation": lambda flags, word: [word],
    "root-propagation": lambda flags, word: [word],
    "apparmor": lambda name, early: [name],
    "landlock": lambda rules: [[":".join(rule) for rule in rules]],
    "seccomp": lambda flags, notify: [f"flags {flags:#x}" if flags else "", "with a listener" if notify else ""],
    "sysctl": lambda name, value, optional: [f"{name}={value}", "(if there is such a one)" if optional else ""],
    "umask": lambda value: [f"{value:04o}"],
    "unshare": lambda flags, names: [names],
    "user": lambda name, groups: [name or "root", groups],
}


def apply(operation: Operation, context: Context) -> None:
    """Carry out one operation; raises KernelError, InvalidInput, StartFailed."""
    OPERATIONS[operation[0]](context, *operation[1:])


def _secrets(context: Context, wanted: list[tuple[str, int, int, int]]) -> None:
    from ..apply import secretfiles

    secretfiles.secrets(context, wanted)


OPERATIONS: dict[str, Any] = {
    "time": process_ops.time_offsets,
    "locate": process_ops.locate,
    "hooks": process_ops.hooks,
    "await-start": process_ops.await_start,
    "announce": process_ops.announce,
    "personality": identity.personality,
    "io-priority": identity.io_priority,
    "scheduler": identity.scheduler,
    "move-root": mounts.move_root,
    "devices-present": mounts.devices_present,
    "tmpfs-copy-up": mounts.tmpfs_copy_up,
    "remount": mounts.remount,
    "propagation-around": mounts.propagation_around,
    "propagation": mounts.propagation,
    "disk": mounts.disk,
    "overlay": mounts.overlay,
    "bind-root": mounts.bind_root,
    "mount": mounts.mount,
    "bind": mounts.bind,
    "cgroup-v1": mounts.cgroup_v1,
    "devices": mounts.devices,
    "mask": mounts.mask,
    "readonly": mounts.readonly,
    "readonly-root": mounts.readonly_root,
    "copy-up": mounts.copy_up,
    "secrets": _secrets,
    "sysctl": process_ops.sysctl,
    "write-proc": process_ops.write_proc,
    "loopback": process_ops.loopback,
    "hostname": process_ops.hostname,
    "domainname": process_ops.domainname,
    "gate": process_ops.gate,
    "enter-cgroup": process_ops.enter_cgroup,
    "become-root": identity.become_root,
    "unshare": process_ops.unshare,
    "join": process_ops.join,
    "user": identity.user,
    "ids": identity.ids,
    "console": process_ops.console,
    "pivot": mounts.pivot,
    "root-propagation": mounts.root_propagation,
    "session": identity.session,
    "streams": identity.streams,
    "rlimit": identity.rlimit,
    "umask": identity.umask,
    "directory": process_ops.directory,
    "chdir": process_ops.chdir,
    "session-keyring": identity.session_keyring,
    "apparmor": confinement.apparmor,
    "landlock": confinement.landlock,
    "no-new-privs": identity.no_new_privileges,
    "seccomp": identity.seccomp,
    "credentials": identity.credentials,
    "die-with-monitor": identity.die_with_monitor,
    "execute": process_ops.execute,
}


def check_known(operations: list[Operation]) -> None:
    """Raise InvalidInput when a plan contains an unknown operation: a bug, or a plan of another version."""
    for operation in operations:
        if operation[0] not in OPERATIONS:
            raise InvalidInput(f"unknown operation {operation[0]!r} in the plan")
