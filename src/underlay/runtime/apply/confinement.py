"""Operations of the security modules: the AppArmor profile that the program gets, Landlock rules."""

from __future__ import annotations

import os
import stat

from ...errors import KernelError, StartFailed
from ...linux import libc
from ...linux.files import beneath, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..plan.context import Context

ENOENT, EINVAL = 2, 22


def apparmor(context: Context, name: str, early: bool) -> None:
    """Let the program run under AppArmor profile `name`, from its exec on, or (`early`) from just before it.

    The request is written by the process that executes, to a file of a procfs that no image can have touched: the
    container's own, a new one, or, when it joins, the host's, whose pid namespace it has not left yet (attacks RT-09).
    """
    from ...linux.security import apparmor

    procfs = context.host_proc if context.host_proc >= 0 else context.proc
    if procfs < 0:
        procfs = mounts.new_filesystem("proc", ())
    if mounts.magic(procfs) != mounts.PROC_SUPER_MAGIC:
        raise StartFailed("cannot apply the AppArmor profile: /proc of the container is not a procfs", 125)
    script = context.script
    script.inherit(procfs)
    own = 0 if _exists(procfs, apparmor.EXEC_FILES[0]) else 1
    failure = f"apply AppArmor profile {name}"
    missing = (f"AppArmor profile {name} is not loaded", "apparmor_parser -r FILE loads one, aa-status lists them", 125)
    cases = {str(ENOENT): missing, str(EINVAL): ("AppArmor is not enabled on this host", "", 125)}

    def ask(tag: str, file: str, request: bytes, parent: bool = False) -> None:
        # The file is opened at once and not by name later; only what has opened it may write.
        path, how = script.string(file), script.place(_how(os.O_WRONLY | os.O_CLOEXEC))
        fd = "answer", script.add("apparmor", "openat2", procfs, path, how, 24, failure=failure, keep=True)
        text = script.place(request)
        script.add(tag, "write", fd, text, len(request), failure=failure, cases=cases, parent=parent)
        script.add(tag, "close", fd, parent=parent)

    now = apparmor.request_now(name)
    if early:
        ask("apparmor-early", apparmor.CURRENT_FILES[own], now)
    else:
        ask("apparmor", apparmor.EXEC_FILES[own], apparmor.request(name))
        if context.sibling < 0:
            # Process 1 of --init executes nothing any more.
            ask("apparmor-init", apparmor.CURRENT_FILES[own], now, parent=True)
    script.add("apparmor", "close", procfs)


def _how(flags: int) -> bytes:
    resolve = beneath.RESOLVE_NO_XDEV | beneath.RESOLVE_NO_MAGICLINKS | beneath.RESOLVE_BENEATH
    return libc.words(8, flags, 0, resolve)


def _exists(procfs: int, name: str) -> bool:
    try:
        fd = beneath.open_in_root(procfs, name, os.O_PATH, resolve=beneath.RESOLVE_NO_XDEV)
    except KernelError:
        return False
    os.close(fd)
    return True


def landlock(context: Context, rules: list[list[str]]) -> None:
    """Refuse the program all files, or all TCP ports, but those of `rules`, whose paths are the container's own."""
    from ...linux.security import landlock

    files, network = landlock.handled(rules, landlock.version())
    ruleset = landlock.create(files, network)
    for word, value in rules:
        if word in landlock.PORTS:
            if value != "none":
                landlock.allow_port(ruleset, int(value), landlock.PORTS[word])
            continue
        try:
            fd = beneath.open_in_root(context.root, value, os.O_PATH)
        except KernelError as error:
            raise StartFailed(f"landlock rule {word}:{value}: {os.strerror(error.errno).lower()}", 125) from None
        directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        landlock.allow_path(ruleset, fd, landlock.PATHS[word] & files, directory, value)
        os.close(fd)
    context.script.add("landlock", "landlock_restrict_self", context.script.inherit(ruleset), 0, failure="landlock")
