"""A root for a container with a user namespace of its own: the layers shown with its ids, no file's owner changed.

The host's root clones the mounts below the layers, lets the clones show other ids (mount_setattr(2), MOUNT_ATTR_IDMAP),
and mounts the overlay above them. What the container's root writes is root's on disk.
"""

from __future__ import annotations

import os

from ...errors import UnderlayError, Unsupported
from ...linux import process
from ...linux.files import mounts
from ..monitor import control

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.userns import Maps

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def with_host_root(maps: Maps) -> Maps:
    """Return the map for the layers' mounts: the container's, and an id beyond its own for the host's root.

    Overlayfs makes its work directory and whiteouts as the user who mounts it: there they must have an owner on disk, or it
    can only be read from (EOVERFLOW). Inside the container such a file belongs to the overflow uid.
    """
    beyond = max(entry["containerID"] + entry["size"] for entry in maps)
    return [*maps, {"containerID": beyond, "hostID": 0, "size": 1}]


def overlay(
    lower: list[str],
    upper: str,
    work: str,
    target: str,
    options: dict[str, str | None],
    *,
    space: int,
    disk: int = -1,
) -> int:
    """Return an unattached overlay of the layers with the ids of user namespace `space`. Raises Unsupported, KernelError.

    `disk` is an unattached mount with the directories that `upper` and `work` name, or -1 where these lie on the host.
    Before Linux 6.15 the layers of an overlay must be attached somewhere: a helper does that in a mount namespace of its
    own, over the directory `target`, and takes it all with it. The overlay keeps what it needs (kernel, overlayfs.rst).
    """
    ours, theirs = control.pair()
    pid = process.clone(process.CLONE_NEWNS)
    if pid == 0:
        try:
            fd = _compose(lower, upper, work, target, options, space, disk)
            control.send(theirs, {}, (fd,))
        except UnderlayError as error:
            control.send(theirs, {"failed": {"message": error.message, "hint": error.hint, "code": 125}})
        except OSError as error:
            control.send(theirs, {"failed": {"message": f"{error.strerror} {error.filename or ''}", "code": 125}})
        finally:
            os._exit(0)
    theirs.close()
    answer, fds = control.receive(ours)
    ours.close()
    os.waitpid(pid, 0)
    if fds:
        return fds[0]
    failure = (answer or {}).get("failed") or {
        "message": "the helper process that mounts it has ended early",
        "code": 125,
    }
    raise Unsupported(
        f"cannot map the files of the image to the ids of a user namespace: {failure['message']}",
        failure.get("hint") or "--userns needs Linux 5.19, and a file system with idmapped mounts below the store",
    )


def _compose(
    lower: list[str], upper: str, work: str, target: str, options: dict[str, str | None], space: int, disk: int
) -> int:
    # Nothing that is attached here may reach the host's tree.
    mounts.propagate("/", mounts.MS_PRIVATE | mounts.MS_REC)
    layers = [_shown(path, space) for path in lower]
    top = disk if disk >= 0 else _clone(os.path.dirname(upper))
    mounts.map_ids(top, space, False, upper)
    target_fd = os.open(target, _DIRECTORY | os.O_NOFOLLOW)
    workspace = mounts.new_filesystem("tmpfs", (("mode", "0700"), ("size", "1m")), 0, "tmpfs")
    mounts.attach(workspace, target_fd, target)
    os.chdir(f"/proc/self/fd/{workspace}")
    # Short names, so that 127 layers fit in the page that mount(2) takes.
    names = [str(number) for number in range(len(layers))]
    for name, fd in [*zip(names, layers, strict=True), ("top", top)]:
        os.mkdir(name, 0o700)
        where = os.open(name, _DIRECTORY)
        mounts.attach(fd, where, name)
        os.close(where)
    os.mkdir("root", 0o700)
    words = ["lowerdir=" + ":".join(names)]
    words += [f"{key}dir=top/{os.path.basename(path)}" for key, path in (("upper", upper), ("work", work))]
    words += [key if value is None else f"{key}={value}" for key, value in options.items()]
    # The container's root owns the device nodes of the image, so none of them may open a device of the host.
    mounts.mount("overlay", "root", "overlay", mounts.MS_NODEV, ",".join(words))
    made = os.open("root", _DIRECTORY)
    return mounts.clone_tree(made, "", False)


def _shown(path: str, space: int) -> int:
    fd = _clone(path)
    mounts.map_ids(fd, space, False, path)
    return fd


def _clone(path: str) -> int:
    origin = os.open(path, _DIRECTORY)
    try:
        return mounts.clone_tree(origin, "", False)
    finally:
        os.close(origin)
