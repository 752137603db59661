"""`import`: a root file system's tar becomes an image of one layer, its configuration made here."""

from __future__ import annotations

import os
from time import time_ns

from ...errors import InvalidInput, NotFound
from ...human import rfc3339
from ...oci import document
from ...oci import platform as platforms
from ...store import blobs, leases, rootfs
from ...store.rows import images
from ..arrivals import Arrivals
from ..recording import made_manifest
from .changes import apply
from .outertar import PIECE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...events import Emit
    from ...oci.platform import Platform
    from ...oci.reference import Reference
    from ...paths import Paths
    from ...store.rows.meta import Meta


class _Descriptor:
    """Reads a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, count: int, /) -> bytes:
        return os.read(self._fd, min(count, PIECE))


def import_tar(
    paths: Paths,
    meta: Meta,
    source: str | int,
    emit: Emit,
    form: str,
    name: Reference | None = None,
    changes: Sequence[str] = (),
    message: str = "",
    platform: Platform | None = None,
) -> str:
    """Make an image of the tar at `source` (a path, or a descriptor to read from) and return its id.

    `changes` are Dockerfile instructions, `message` is the comment in its history. Raises InvalidInput (a
    change that is none, no tar), NotFound, Corrupt, LimitExceeded.
    """
    execution = apply(changes)
    platform = platform or platforms.host()
    with leases.working(paths):
        arrivals = Arrivals(paths, meta, emit)
        fd = source if isinstance(source, int) else _opened(source)
        try:
            layer = arrivals.taken(_Descriptor(fd))
        finally:
            if fd != source:
                os.close(fd)
        if layer.entries == 0:
            raise InvalidInput("the archive to import is empty")
        chain = rootfs.prepare(paths, form, [layer.diff_id])
        now = rfc3339(time_ns())
        where = "-" if isinstance(source, int) else os.path.basename(source)
        config: dict[str, object] = {"architecture": platform.architecture}
        if platform.variant:
            config["variant"] = platform.variant
        config |= {
            "os": platform.os,
            "created": now,
            "config": execution,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            "history": [{"created": now, "comment": message or f"Imported from {where}"}],
        }
        data = document.encode(config)
        image_id = blobs.put(paths, data)
        manifest = blobs.put(paths, made_manifest(image_id, len(data), [(layer.diff_id, layer.size, "none")]))
        new = images.NewImage(image_id, manifest, platform, now, [layer], [image_id, manifest], chain)
        images.record(meta, [new], [(name, manifest, image_id)] if name else [])
    return image_id


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
