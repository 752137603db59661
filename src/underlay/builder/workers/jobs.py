"""What a build's workers do, each in a process with one thread: run a step, turn its files into a layer, mount, tidy."""

from __future__ import annotations

import _signal
import os
import stat

from ...errors import KernelError, NotFound
from ...files import remove_tree
from ...linux import process
from ...linux.files import beneath, mounts
from ..run import agent, stubs

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Mapping, Sequence

    from ...store.layers.intake import IngestedLayer
    from ..context.patterns import Matcher
    from ..copy.copying import CopySource
    from . import messages
    from .workers import Jobs

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def overlay(lower: Sequence[str], upper: str = "", work: str = "", userxattr: bool = False) -> int:
    """Return a descriptor of an unattached overlay of directories, topmost first; read-only, and of two at least,
    without `upper`."""
    opened: list[int] = []
    before = os.open(".", _DIRECTORY)
    try:
        # As names below /proc/self/fd they are short enough for one value of fsconfig(2), and hold no special character.
        for path in (*lower, *((upper, work) if upper else ())):
            opened.append(os.open(path, _DIRECTORY))
        names = [str(fd) for fd in opened]
        parameters: list[tuple[str, str | None]] = []
        if upper:
            parameters = [("upperdir", names[-2]), ("workdir", names[-1])]
            del names[-2:]
        os.chdir("/proc/self/fd")
        parameters = [("lowerdir", ":".join(names)), *parameters, *([("userxattr", None)] if userxattr else _TRUSTED)]
        return mounts.new_filesystem("overlay", tuple(parameters), 0 if upper else mounts.MOUNT_ATTR_RDONLY, "overlay")
    finally:
        os.fchdir(before)
        for fd in (before, *opened):
            os.close(fd)


# redirect_dir and metacopy would let attributes of an image's files name other files (attacks IM-07).
_TRUSTED: list[tuple[str, str | None]] = [("redirect_dir", "off"), ("metacopy", "off"), ("index", "off")]


def opened_root(lower: Sequence[str], userxattr: bool) -> int:
    """Return a descriptor of the root that `lower` directories, topmost first, make together."""
    fd = overlay(lower, userxattr=userxattr)
    try:
        return os.open(".", _READ, dir_fd=fd)
    finally:
        os.close(fd)


def mount(arguments: messages.MountJob, fds: list[int], lifeline: _socket.socket) -> Mapping[str, object]:
    """Mount an EROFS index at a new directory, for all workers to see (`index`, `files`, `point`)."""
    from ...linux.files.sharedmount import mount_index

    os.makedirs(arguments["point"], 0o700, exist_ok=True)
    mount_index(arguments["index"], arguments["files"], arguments["point"])
    return {}


def status(arguments: messages.PathJob, fds: list[int], lifeline: _socket.socket) -> messages.Status:
    """Return owner, mode and time of a directory that is mounted for the workers."""
    facts = os.stat(arguments["path"])
    mode = stat.S_IMODE(facts.st_mode)
    return {"mode": mode, "uid": facts.st_uid, "gid": facts.st_gid, "mtime": int(facts.st_mtime)}


def step(arguments: messages.StepJob, fds: list[int], lifeline: _socket.socket) -> messages.StepEnded:
    """Run a step's program (`record`, see `runtime.process.run_once`); `fds` are its output streams.

    Its root is made of `lower` and `upper`, with `mounts` in it (see `_source`). Returns its exit code and whether the
    memory was used up.
    """
    from ...runtime.process import run_once

    # The closing of its lifeline ends it, in order.
    _signal.signal(_signal.SIGTERM, _signal.SIG_IGN)
    process.unshare(process.CLONE_NEWNS)
    mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
    userxattr = arguments["userxattr"]
    upper, scratch = arguments["upper"], arguments["scratch"]
    before = opened_root(arguments["lower"], userxattr)
    _like(upper, before)
    record = arguments["record"]
    missing = stubs.find(before, [entry["destination"] for entry in record["spec"]["mounts"]])
    agents = []
    for number, step_mount in enumerate(arguments["mounts"]):
        if step_mount["kind"] == "agent":
            step_mount["socket"] = f"{scratch}/agent-{number}"
            agents.append(
                agent.serve(
                    step_mount["socket"], step_mount["path"], step_mount["mode"], step_mount["uid"], step_mount["gid"]
                )
            )
    sources = {"/": overlay(arguments["lower"], upper, arguments["work"], userxattr)}
    for number, step_mount in enumerate(arguments["mounts"]):
        sources[step_mount["destination"]] = _source(step_mount, f"{scratch}/mount-{number}", userxattr)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        ended = run_once.run(record, sources, (null, *fds), lifeline)
    finally:
        for pid in agents:
            os.kill(pid, 9)
    made = os.open(upper, _READ)
    stubs.remove(made, before, missing)
    return {
        "code": ended.code,
        "memory": ended.out_of_memory,
        "changed": bool(os.listdir(made)) or _touched(made, before),
    }


def _like(upper: str, before: int) -> None:
    """Give the upper directory the attributes of the root below it: it shows as the container's /."""
    status = os.fstat(before)
    os.chmod(upper, stat.S_IMODE(status.st_mode))
    if (status.st_uid, status.st_gid) != (0, 0):
        os.chown(upper, status.st_uid, status.st_gid)


def _touched(upper: int, before: int) -> bool:
    one, other = os.fstat(upper), os.fstat(before)
    return (one.st_mode, one.st_uid, one.st_gid) != (other.st_mode, other.st_uid, other.st_gid)


def _source(step_mount: messages.StepMount, directory: str, userxattr: bool) -> int:
    """Return the unattached mount for one --mount.

    `kind` tree: `path` in the root of `lower` directories, with `writable` above a layer that is thrown away; directory:
    the directory `path` of ours, or `inside` it; secret: `data` as a file with `mode`, `uid`, `gid`; agent: a `socket` of
    ours.
    """
    os.mkdir(directory, 0o700)
    if step_mount["kind"] == "directory":
        fd = os.open(step_mount["path"], _DIRECTORY)
        if step_mount.get("inside"):
            inner = beneath.open_in_root(fd, step_mount["inside"], os.O_PATH)
            os.close(fd)
            fd = inner
        return _clone(fd, "" if step_mount["writable"] else directory)
    if step_mount["kind"] == "secret":
        return _secret(step_mount, directory)
    if step_mount["kind"] == "agent":
        return _clone(os.open(step_mount["socket"], os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
    upper = work = ""
    if step_mount["writable"]:
        upper, work = f"{directory}/upper", f"{directory}/work"
        os.mkdir(upper, 0o755)
        os.mkdir(work, 0o755)
    root = overlay(step_mount["lower"], upper, work, userxattr)
    point = f"{directory}/root"
    os.mkdir(point, 0o700)
    where = os.open(point, _DIRECTORY)
    mounts.attach(root, where, point)
    os.close(where)
    try:
        return _clone(beneath.open_in_root(root, step_mount["path"], os.O_PATH))
    except KernelError as error:
        if error.errno in (2, 20):
            raise NotFound(
                f'"{step_mount["path"]}": not found', f"it is the source of the mount at {step_mount['destination']}"
            ) from None
        raise
    finally:
        os.close(root)


def _clone(fd: int, mount_point: str = "") -> int:
    """Return an unattached copy of the mount at `fd`, read-only if a `mount_point` to do so is given."""
    try:
        tree = mounts.clone_tree(fd, "", False)
    finally:
        os.close(fd)
    if not mount_point:
        return tree
    try:
        mounts.set_attributes(tree, mounts.MOUNT_ATTR_RDONLY)
    except KernelError as error:
        if error.errno != mounts.ENOSYS:
            raise
        # Before Linux 5.12 only an attached mount can be changed; a copy of it stays as it is.
        where = os.open(mount_point, _DIRECTORY)
        mounts.attach(tree, where, mount_point)
        os.close(where)
        mounts.remount_bind(tree, mounts.MOUNT_ATTR_RDONLY)
        copy = mounts.clone_tree(tree, "", False)
        os.close(tree)
        return copy
    return tree


def _secret(secret: messages.SecretMount, mount_point: str) -> int:
    fd = mounts.new_filesystem("tmpfs", (("mode", "0700"), ("size", str(len(secret["data"]) + 8192))), 0, "tmpfs")
    where = os.open(mount_point, _DIRECTORY)
    mounts.attach(fd, where, mount_point)
    os.close(where)
    os.close(fd)
    file = os.open(f"{mount_point}/secret", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.write(file, secret["data"])
    os.fchmod(file, secret["mode"])
    os.fchown(file, secret["uid"], secret["gid"])
    return _clone(file)


def pack(arguments: messages.PackJob, fds: list[int], lifeline: _socket.socket) -> messages.LayerMade:
    """Turn the directory `upper` that a step has written into a layer of the store."""
    from ...paths import Paths
    from ...store.layers import packing

    fd = os.open(arguments["upper"], _READ)
    layer = packing.pack(Paths(*arguments["paths"]), fd, userxattr=arguments["userxattr"], clamp=arguments["clamp"])
    return _made(layer)


def _made(layer: IngestedLayer) -> messages.LayerMade:
    return {"diff_id": layer.diff_id, "size": layer.size, "entries": layer.entries, "content": layer.content}


def remove(arguments: messages.PathJob, fds: list[int], lifeline: _socket.socket) -> Mapping[str, object]:
    """Remove a directory tree of the build, whatever ids own its files."""
    remove_tree(arguments["path"])
    return {}


def cache_directory(
    arguments: messages.CacheDirectoryJob, fds: list[int], lifeline: _socket.socket
) -> Mapping[str, object]:
    """Make the directory `path` of a cache mount unless it is there, filled from `source` in the root of `seed`."""
    from ...runtime.apply.copyup import copy_tree

    path = arguments["path"]
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return {}
    try:
        if arguments["seed"]:
            root = opened_root(arguments["seed"], arguments["userxattr"])
            source = beneath.open_in_root(root, arguments["source"], os.O_RDONLY | os.O_DIRECTORY)
            target = os.open(path, _READ)
            copy_tree(source, target)
        os.chown(path, arguments["uid"], arguments["gid"])
        os.chmod(path, arguments["mode"])
    except BaseException:
        remove_tree(path)
        raise
    return {}


def opened(origin: messages.Opening, userxattr: bool) -> int:
    """Return a descriptor of the root that `Origin.opening` describes."""
    if "directory" in origin:
        return os.open(origin["directory"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return opened_root(origin["lower"], userxattr)


def read(arguments: messages.ReadJob, fds: list[int], lifeline: _socket.socket) -> messages.DockerfileRead:
    """Read a Dockerfile `name` from a context, and the lines of its ignore file; None for what is not there."""
    from ..context import ignore

    root = opened(arguments["origin"], arguments["userxattr"])
    data = beneath.read_regular(root, arguments["name"], arguments["limit"])
    matcher = ignore.read(root, arguments["name"])
    return {"data": data, "patterns": None if matcher is None else list(matcher.lines)}


def copy_out(arguments: messages.CopyOutJob, fds: list[int], lifeline: _socket.socket) -> Mapping[str, object]:
    """Copy the files of a root (`lower`) to the host directory `target`."""
    from ..output import local

    source = opened_root(arguments["lower"], arguments["userxattr"])
    target = os.open(arguments["target"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return {"count": local.copy_out(source, target)}


def _matcher(patterns: list[str] | None) -> Matcher | None:
    from ..context.patterns import Matcher

    return None if patterns is None else Matcher(patterns)


def _sources(arguments: messages.CopyJob) -> list[CopySource]:
    from ..copy.copying import CopySource

    sources = []
    for source in arguments["sources"]:
        if "content" in source:
            sources.append(CopySource(name=source["name"], content=source["content"]))
            continue
        sources.append(
            CopySource(
                root=opened(source["origin"], arguments["userxattr"]),
                source=source["source"],
                ignore=_matcher(source["patterns"]),
                context=source["plain"],
                whole=source["whole"],
            )
        )
    return sources


def digest(arguments: messages.DigestJob, fds: list[int], lifeline: _socket.socket | None) -> messages.Digests:
    """Return the digest of what each of `sources` names."""
    from ...paths import Paths
    from ..copy import contents
    from ..copy.selecting import select

    paths = Paths(*arguments["paths"])
    digests = []
    for source in arguments["sources"]:
        index = None
        if "directory" in source["origin"]:
            index = contents.FileIndex(paths, source["origin"]["directory"]).load()
        root = opened(source["origin"], arguments["userxattr"])
        try:
            selected = select(
                root,
                source["source"],
                ignore=_matcher(source["patterns"]),
                exclude=arguments["exclude"],
                parents=arguments["parents"],
                instruction=arguments["instruction"],
            )
            digests.append(contents.digest([selected], owners=not source["plain"], index=index))
        finally:
            os.close(root)
        if index is not None:
            index.save()
    return {"digests": digests}


def copy(arguments: messages.CopyJob, fds: list[int], lifeline: _socket.socket) -> messages.LayerCopied:
    """Make the layer that a COPY or ADD adds to the root of `lower` (None: to an empty one), or WORKDIR's directory."""
    from ...paths import Paths
    from ..copy import copying

    paths = Paths(*arguments["paths"])
    root = None if arguments["lower"] is None else opened_root(arguments["lower"], arguments["userxattr"])
    request = arguments["request"]
    clamp = arguments["clamp"]
    unknown: list[str] = []
    if "directory" in request:
        layer = copying.directory(paths, request["directory"], root, request["chown"], clamp=clamp, unknown=unknown)
    else:
        copy_request = copying.CopyRequest(
            destination=request["destination"],
            workdir=request["workdir"],
            chown=request["chown"],
            chmod=request["chmod"],
            parents=request["parents"],
            exclude=tuple(request["exclude"]),
            unpack=request["unpack"],
            instruction=request["instruction"],
            several=request["several"],
        )
        layer = copying.copy(paths, _sources(arguments), root, copy_request, clamp=clamp, unknown=unknown)
    return {**_made(layer), "unknown": unknown}


def preload() -> None:
    """Import what the workers need, once for all of them.

    So no worker imports it for itself, and none meets what another thread was in the midst of importing.
    """
    import hashlib
    import queue

    from msgspec import msgpack

    from ... import paths
    from ...lean import jsontext
    from ...linux import cgroup, userns
    from ...linux.cgroup import devicerules, settings, v1settings, v2settings
    from ...linux.files import loopdevice, sharedmount
    from ...linux.security import apparmor, landlock, seccomp
    from ...runtime.apply import copyup, seccomp_notify, users
    from ...runtime.apply import mounts as mounting
    from ...runtime.process import run_once
    from ...store.layers import packing, toc
    from ..context import ignore, patterns
    from ..copy import contents, copying, selecting
    from ..output import local

    cgroup.open_group("/underlay", os.geteuid() != 0)  # imports what this host has
    kernel = (
        apparmor,
        devicerules,
        landlock,
        loopdevice,
        seccomp,
        settings,
        sharedmount,
        userns,
        v1settings,
        v2settings,
    )
    container = (copyup, mounting, seccomp_notify, run_once, users)
    files = (contents, copying, ignore, local, packing, paths, patterns, selecting, toc)
    assert all((hashlib, queue, msgpack, jsontext, *kernel, *container, *files))


JOBS: Jobs = {
    "step": step,
    "pack": pack,
    "remove": remove,
    "cache_directory": cache_directory,
    "read": read,
    "copy_out": copy_out,
    "copy": copy,
    "digest": digest,
}
INLINE: Jobs = {"mount": mount, "status": status}
