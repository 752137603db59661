"""Cache mounts: directories that outlive builds, found by the digest of their ids, used together or one at a time."""

from __future__ import annotations

import os
import posixpath

from ...errors import InvalidInput
from ...files import Lock
from ...lean.hashing import sha256
from ...store.scratch import ensure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...dockerfile.mounts import Mount
    from ...paths import Paths
    from ..work import Work

_PRIVATE = 1000  # directories that builds beside each other may have of one private cache


def root_directory(paths: Paths) -> str:
    """Return the directory that holds all cache mounts."""
    return f"{paths.root}/cache/mounts"


def _identity(work: Work, mount: Mount) -> str:
    """Return what a cache mount is known by.

    Owner and mode are those with which it begins: other ones make it another cache, as with BuildKit. An id that is a path,
    as that of a mount without one is its target's, is the project's: two projects with their objects in /src/target do not
    get each other's. Any other id is a name for all, and so are paths of builds with the same BUILDKIT_CACHE_MOUNT_NS.
    """
    namespace = work.request.arguments.get("BUILDKIT_CACHE_MOUNT_NS", "")
    own = mount.id.startswith("/") or mount.id == posixpath.normpath(mount.target)
    project = work.context.project if own and not namespace else ""
    return ascii((namespace, project, mount.id, mount.uid, mount.gid, mount.mode))


class Held:
    """The cache mounts of one step, locked until it ends."""

    def __init__(self) -> None:
        self._locks: list[Lock] = []

    def directory(self, work: Work, mount: Mount, seed: list[str]) -> str:
        """Return the directory of a cache mount, made when it is new: from the file system of `seed`, if there is one."""
        paths = work.views.paths
        digits = sha256(_identity(work, mount).encode("utf-8", "surrogateescape")).hexdigest()
        base = ensure(root_directory(paths))
        name = f"{base}/{digits}"
        if mount.sharing == "private":
            for number in range(_PRIVATE):
                name = f"{base}/{digits}-{number}"
                lock = Lock(f"{name}.lock")
                if lock.acquire(wait=False):
                    break
            else:
                raise InvalidInput(f"cache mount {mount.id}: more than {_PRIVATE} builds use it at once")
        else:
            lock = Lock(f"{name}.lock", shared=mount.sharing == "shared")
            lock.acquire()
        self._locks.append(lock)
        data = f"{name}.d"
        if not os.path.isdir(data):
            work.foreman.call(
                "cache_directory",
                {
                    "path": data,
                    "seed": seed,
                    "source": mount.source or "/",
                    "mode": 0o755 if mount.mode is None else mount.mode,
                    "uid": mount.uid or 0,
                    "gid": mount.gid or 0,
                    "userxattr": work.views.userxattr,
                },
            )
            with open(f"{name}.id", "wb") as file:
                file.write(mount.id.encode("utf-8", "surrogateescape"))
        else:
            os.utime(data)
        return data

    def release(self) -> None:
        """Let others have them."""
        for lock in self._locks:
            lock.release()
        self._locks = []
