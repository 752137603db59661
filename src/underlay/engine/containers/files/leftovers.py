"""Mount points that were made for a container and are still empty: they belong to no image, and count as no change."""

from __future__ import annotations

import os
import stat

from ....builder.run import stubs
from ....errors import KernelError
from ....linux.files import beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ....store.rows.intent import Intent

_READ = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def destinations(intent: Intent) -> list[str]:
    """Return the paths at which something is mounted in a container."""
    mounted = [mount["destination"] for mount in intent["spec"]["mounts"]]
    return mounted + [secret["target"] for secret in intent.get("secrets") or []]


def find(upper: int, lower: int, destinations: Iterable[str]) -> frozenset[bytes]:
    """Return the paths, relative to the directory `upper`, of mount points at `destinations` that the root `lower` lacks
    and in which nothing is; and of directories that are in `upper` only because of those."""
    found: set[bytes] = set()
    missing = stubs.find(lower, destinations)
    for stub in sorted(missing, key=lambda stub: -len(stub.missing)):
        parts = [*stub.existing, *stub.missing]
        while len(parts) > len(stub.existing) and _is_empty(upper, parts, found):
            found.add(os.fsencode("/".join(parts)))
            parts.pop()
    for stub in missing:
        for depth in range(len(stub.existing), 0, -1):
            parts = stub.existing[:depth]
            if not _is_empty(upper, parts, found) or not _is_like(upper, lower, parts):
                break
            found.add(os.fsencode("/".join(parts)))
    return frozenset(found)


def _open(root: int, parts: Iterable[str], flags: int) -> int:
    try:
        return beneath.open_in_root(root, "/".join(parts), flags, resolve=beneath.RESOLVE_NO_SYMLINKS)
    except KernelError:
        return -1


def _is_empty(upper: int, parts: list[str], skipped: set[bytes]) -> bool:
    """Return whether a file has no content, or a directory none but what is left out anyway."""
    fd = _open(upper, parts, os.O_PATH | os.O_NOFOLLOW)
    if fd < 0:
        return False
    try:
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISREG(facts.st_mode):
        return not facts.st_size
    if not stat.S_ISDIR(facts.st_mode):
        return False
    fd = _open(upper, parts, _READ)
    try:
        return all(os.fsencode("/".join((*parts, name))) in skipped for name in os.listdir(fd))
    finally:
        os.close(fd)


def _is_like(upper: int, lower: int, parts: list[str]) -> bool:
    """Return whether a directory of the writable layer has the attributes of the image's."""
    above, below = _open(upper, parts, _READ), _open(lower, parts, _READ)
    try:
        if above < 0 or below < 0:
            return False
        first, second = os.fstat(above), os.fstat(below)
        if (first.st_mode, first.st_uid, first.st_gid) != (second.st_mode, second.st_uid, second.st_gid):
            return False
        return not any(
            name.endswith("overlay.opaque") and os.getxattr(above, name) == b"y" for name in os.listxattr(above)
        )
    finally:
        for fd in (above, below):
            if fd >= 0:
                os.close(fd)
