"""Probes whether this host can mount an EROFS index from a file with an overlay above it."""

from __future__ import annotations

import os

from ...errors import KernelError
from ...linux.files import mounts
from ...linux.files.sharedmount import mount_index
from ..layers import toc
from ..layers.merge import merge
from ..scratch import Scratch
from . import erofs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...paths import Paths

_CONTENT = b"underlay\n"


def why_not_erofs(paths: Paths) -> str:
    """Return in one line why EROFS indexes cannot be used, "" when they can: by mounting a tiny one.

    It lies where indexes lie, so that a root on a file system that cannot back one, or on an overlay too deep
    for one more, shows. Nothing stays mounted.
    """
    if os.geteuid() != 0:
        return "only root may mount EROFS"
    with Scratch(paths, "index") as scratch:
        base = scratch.path
        entry = toc.Entry(b"file", toc.REGULAR, 0o644, 0, 0, len(_CONTENT), 0, 0)
        with open(f"{base}/tar", "xb") as file:
            file.write(_CONTENT.ljust(512, b"\0"))
        erofs.write_index(f"{base}/index", merge([[entry]]), [erofs.Device(0, toc.TAR, 512, b"probe")])
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(f"{base}/{name}")
        try:
            mount_index(f"{base}/index", [f"{base}/tar"], f"{base}/lower")
        except KernelError as error:
            return f"mounting an index from a file: {error.message}"
        try:
            with open(f"{base}/lower/file", "rb") as file:
                if file.read() != _CONTENT:
                    return "the files of a mounted index have wrong content"
            options = f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work"
            try:
                mounts.mount("overlay", f"{base}/merged", "overlay", 0, options)
            except KernelError as error:
                return f"an overlay above an index: {error.message}"
            mounts.umount(f"{base}/merged")
        except OSError as error:
            return f"reading through an index: {error.strerror}"
        finally:
            mounts.umount(f"{base}/lower")
    return ""
