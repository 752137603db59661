"""User namespaces: id maps, written directly or by newuidmap and newgidmap, and work done as root of one."""

from __future__ import annotations

import os

from ..errors import KernelError, UnderlayError, Unsupported
from ..human import whole
from . import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Maps = list[dict[str, int]]


def subordinate(path: str, name: str, number: int) -> list[tuple[int, int]]:
    """Return the (first, count) ranges that /etc/subuid or /etc/subgid gives to a user (subuid(5))."""
    ranges = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.strip().split(":")
                if len(fields) == 3 and fields[0] in (name, str(number)):
                    first, count = whole(fields[1]), whole(fields[2])
                    if first >= 0 and count > 0:
                        ranges.append((first, count))
    except OSError:
        return []
    return ranges


def default_maps() -> tuple[Maps, Maps]:
    """Return the maps of an unprivileged caller: itself as root, its subordinate ids from 1 on."""
    import pwd

    uid, gid = os.geteuid(), os.getegid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    maps: list[Maps] = []
    for own, path in ((uid, "/etc/subuid"), (gid, "/etc/subgid")):
        entries = [{"containerID": 0, "hostID": own, "size": 1}]
        following = 1
        for first, count in subordinate(path, name, uid) if helper("newuidmap") else []:
            entries.append({"containerID": following, "hostID": first, "size": count})
            following += count
        maps.append(entries)
    return maps[0], maps[1]


# Where containers of root get ids from when none are set aside: the upper half, which neither users nor their
# subordinate ids (login.defs(5), SUB_UID_MAX), nor systemd's containers reach; without the very last 65536.
POOL = (1 << 31, (1 << 31) - (1 << 16))


def pool(path: str) -> list[tuple[int, int]]:
    """Return the (first, count) ranges of ids for root's containers: those of `underlay` or `containers` in /etc/subuid
    or /etc/subgid (`path`), else `POOL`."""
    for name in ("underlay", "containers"):
        ranges = subordinate(path, name, -1)
        if ranges:
            return ranges
    return [POOL]


def keeping(own: int, maps: Maps) -> Maps:
    """Return `maps` (as `default_maps` gives them) changed so that the caller's own id is `own` inside, too.

    The subordinate ids lie around it.
    """
    kept = [{"containerID": own, "hostID": maps[0]["hostID"], "size": 1}]
    following = int(own == 0)
    for entry in maps[1:]:
        first, left = entry["hostID"], entry["size"]
        while left:
            size = min(left, own - following) if following < own else left
            kept.append({"containerID": following, "hostID": first, "size": size})
            first, left, following = first + size, left - size, following + size
            following += following == own
    return sorted(kept, key=lambda entry: entry["containerID"])


def outside(number: int, maps: Maps) -> int:
    """Return what id `number` of a user namespace is on the host; -1 when it is not mapped."""
    for entry in maps:
        if 0 <= number - entry["containerID"] < entry["size"]:
            return entry["hostID"] + number - entry["containerID"]
    return -1


def maps_of(pid: int) -> tuple[Maps, Maps]:
    """Return the maps of the user namespace of process `pid`, as seen from here (user_namespaces(7))."""
    maps: list[Maps] = []
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
            lines = [list(map(int, line.split())) for line in file]
        maps.append([{"containerID": inside, "hostID": host, "size": size} for inside, host, size in lines])
    return maps[0], maps[1]


def helper(name: str) -> str:
    """Return the path of a set-uid helper, "" when it is not installed."""
    for directory in ("/usr/bin", "/bin", "/usr/local/bin"):
        if os.access(f"{directory}/{name}", os.X_OK):
            return f"{directory}/{name}"
    return ""


def write(pid: int, uids: Maps, gids: Maps) -> None:
    """Write both maps of process `pid`. Raises KernelError, Unsupported."""
    simple = len(uids) == 1 and uids[0]["size"] == 1 and os.geteuid() != 0
    if simple or os.geteuid() == 0:
        if os.geteuid() != 0:
            # Without privilege a group map needs setgroups(2) to be given up first.
            _put(pid, "setgroups", "deny")
        _put(pid, "uid_map", _text(uids))
        _put(pid, "gid_map", _text(gids))
        return
    _run_helper("newuidmap", pid, uids)
    _run_helper("newgidmap", pid, gids)


def _text(maps: Maps) -> str:
    return "".join(f"{m['containerID']} {m['hostID']} {m['size']}\n" for m in maps)


def _put(pid: int, name: str, text: str) -> None:
    path = f"/proc/{pid}/{name}"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("write id map", path, error.errno or 5) from None


def _run_helper(name: str, pid: int, maps: Maps) -> None:
    path = helper(name)
    if not path:
        raise Unsupported(f"{name} is not installed", "install the package uidmap")
    words = [str(m[key]) for m in maps for key in ("containerID", "hostID", "size")]
    child = os.posix_spawn(path, [name, str(pid), *words], {"PATH": "/usr/bin:/bin"})
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise Unsupported(
            f"{name} refused the id map",
            "check /etc/subuid and /etc/subgid, and that the program is set-uid root",
        )


def as_root(work: Callable[[], None]) -> None:
    """Run `work` in a child that is root of a new user namespace with the caller's default maps.

    There it may give files to subordinate ids, and remove files that containers of such ids have left. Its exceptions
    come back as UnderlayError with the same message. The caller must have one thread.
    """
    uids, gids = default_maps()
    wait, go = os.pipe2(os.O_CLOEXEC)
    result, report = os.pipe2(os.O_CLOEXEC)
    pid = process.clone(process.CLONE_NEWUSER)
    if pid == 0:
        code = 1
        try:
            os.close(go)
            if os.read(wait, 1) == b"1":
                if len(gids) > 1:
                    os.setgroups([])
                os.setresgid(0, 0, 0)
                os.setresuid(0, 0, 0)
                work()
                code = 0
        except UnderlayError as error:
            os.write(report, error.message.encode()[:4000])
        except OSError as error:
            os.write(report, f"{error.strerror}: {error.filename or ''}".encode()[:4000])
        except BaseException as error:
            os.write(report, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(code)
    os.close(wait)
    os.close(report)
    try:
        write(pid, uids, gids)
        os.write(go, b"1")
    finally:
        os.close(go)
        message = b""
        while piece := os.read(result, 4096):
            message += piece
        os.close(result)
        _, status = os.waitpid(pid, 0)
    if status != 0:
        raise UnderlayError(message.decode(errors="replace") or f"the child ended with status {status}")


def namespace(uids: Maps, gids: Maps) -> int:
    """Return a descriptor of a new user namespace with these maps, held by no process. Raises KernelError, Unsupported."""
    wait, go = os.pipe2(os.O_CLOEXEC)
    pid = process.clone(process.CLONE_NEWUSER)
    if pid == 0:
        os.close(go)
        os.read(wait, 1)
        os._exit(0)
    os.close(wait)
    try:
        write(pid, uids, gids)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(go)
        os.waitpid(pid, 0)


def has_subordinate_ids() -> bool:
    """Return whether this unprivileged user can map more ids than its own."""
    uids, gids = default_maps()
    return len(uids) > 1 and len(gids) > 1


def remove_tree(path: str) -> None:
    """Remove `path` and all below it, as root of a user namespace where files of subordinate ids are in the way."""
    from ..files import remove_tree as remove

    try:
        remove(path)
    except PermissionError:
        if os.geteuid() == 0 or not has_subordinate_ids():
            raise
        as_root(lambda: remove(path))


def remove_tree_alone(path: str) -> None:
    """Remove directory `path` and all below it, one process at a time: who comes second waits, and finds it gone."""
    import fcntl

    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        remove_tree(path)
    finally:
        os.close(fd)
