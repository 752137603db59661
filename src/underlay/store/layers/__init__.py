"""Layers of the store: each a directory with its tar, what was sparse in it, and its table of contents."""

from __future__ import annotations

import os

from ...errors import Corrupt, DigestMismatch, InvalidInput, NotFound, Unsupported
from ...files import read_bytes, sync_directory
from ...oci import digest as digests
from .. import kinds
from ..kinds import SPARSE, TAR, shown
from ..scratch import Scratch, remove_leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from ...paths import Paths
    from .toc import Entry

__all__ = [
    "check",
    "directory",
    "exists",
    "list_all",
    "open_part",
    "open_tar",
    "read_member",
    "read_toc",
    "remove",
    "remove_leftovers",
    "size",
    "size_on_disk",
]

_NAMES = {TAR: "tar", SPARSE: "sparse"}
_TOC_LIMIT = 1 << 30


def directory(paths: Paths, diff_id: str) -> str:
    """Return where the layer is kept; raises InvalidInput for no digest, Unsupported for no sha256."""
    algorithm, _, digits = digests.check(diff_id, "diff id").partition(":")
    if algorithm != "sha256":
        raise Unsupported(f"diff id {diff_id}: only sha256 is supported for layers")
    return f"{paths.layers}/{digits}"


def exists(paths: Paths, diff_id: str) -> bool:
    """Return whether the complete layer is in the store."""
    return os.path.isdir(directory(paths, diff_id))


def open_part(paths: Paths, diff_id: str, part: int = TAR) -> int:
    """Return a descriptor for reading a part of a layer (`TAR`, `SPARSE`); raises NotFound."""
    try:
        path = f"{directory(paths, diff_id)}/{_NAMES[part]}"
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFound(f"layer {diff_id} is not in the store") from None


def open_tar(paths: Paths, diff_id: str) -> BinaryIO:
    """Return the layer's uncompressed tar, opened for reading; raises NotFound."""
    return open(open_part(paths, diff_id), "rb")


def read_toc(paths: Paths, diff_id: str) -> list[Entry]:
    """Return a layer's table of contents; raises NotFound, Corrupt."""
    try:
        data = read_bytes(f"{directory(paths, diff_id)}/toc", _TOC_LIMIT)
    except FileNotFoundError:
        raise NotFound(f"layer {diff_id} is not in the store") from None
    from . import toc

    return toc.decode(data)


def read_member(paths: Paths, diff_id: str, entry: Entry, limit: int = 64 << 20) -> bytes:
    """Return the content of a layer's regular file, at most `limit` bytes; raises NotFound, InvalidInput."""
    if entry.kind != kinds.REGULAR or entry.size > limit:
        raise InvalidInput(f"{shown(entry.name)} is not a regular file of at most {limit} bytes")
    fd = open_part(paths, diff_id, entry.part)
    try:
        data = bytearray()
        while len(data) < entry.size:
            piece = os.pread(fd, entry.size - len(data), entry.offset + len(data))
            if not piece:
                raise Corrupt(f"layer {diff_id} is shorter than its table of contents says")
            data += piece
    finally:
        os.close(fd)
    return bytes(data)


def read_part(paths: Paths, diff_id: str, entry: Entry, offset: int, size: int) -> bytes:
    """Return bytes of a layer's regular file from `offset` on, at most `size`; raises NotFound."""
    fd = open_part(paths, diff_id, entry.part)
    try:
        return os.pread(fd, max(0, min(size, entry.size - offset)), entry.offset + offset)
    finally:
        os.close(fd)


def list_all(paths: Paths) -> list[str]:
    """Return the diff ids of all layers here, sorted."""
    try:
        names = os.listdir(paths.layers)
    except FileNotFoundError:
        return []
    return sorted(f"sha256:{name}" for name in names if digests.is_digest(f"sha256:{name}"))


def size_on_disk(paths: Paths, diff_id: str) -> int:
    """Return the bytes that a layer occupies, holes not counted; raises NotFound."""
    try:
        with os.scandir(directory(paths, diff_id)) as entries:
            return sum(item.stat(follow_symlinks=False).st_blocks * 512 for item in entries)
    except FileNotFoundError:
        raise NotFound(f"layer {diff_id} is not in the store") from None


def size(paths: Paths, diff_id: str) -> int:
    """Return the length of a layer's tar in bytes; raises NotFound."""
    try:
        return os.stat(f"{directory(paths, diff_id)}/tar").st_size
    except FileNotFoundError:
        raise NotFound(f"layer {diff_id} is not in the store") from None


def measure(paths: Paths, diff_id: str) -> tuple[int, int, int]:
    """Return bytes of a layer's tar, number of its entries, bytes of its files, as they are recorded; raises NotFound."""
    from .toc import content

    entries = read_toc(paths, diff_id)
    return size(paths, diff_id), len(entries), content(entries)


def remove(paths: Paths, diff_id: str) -> bool:
    """Remove a layer, in one step for others; return whether it was there. Mounted indexes keep its tar."""
    layer_directory = directory(paths, diff_id)
    with Scratch(paths, "gone") as scratch:
        try:
            os.rename(layer_directory, f"{scratch.path}/layer")
        except FileNotFoundError:
            return False
        sync_directory(paths.layers)
    return True


def check(paths: Paths, diff_id: str, full: bool = False) -> None:
    """Verify a layer: its table of contents fits its files and, with `full`, its tar still has its digest.

    Raises NotFound, Corrupt or DigestMismatch.
    """
    entries = read_toc(paths, diff_id)
    sizes = {}
    for part in (TAR, SPARSE):
        try:
            sizes[part] = os.stat(f"{directory(paths, diff_id)}/{_NAMES[part]}").st_size
        except FileNotFoundError:
            sizes[part] = -1
    if sizes[TAR] < 0:
        raise Corrupt(f"layer {diff_id}: its tar is missing")
    for entry in entries:
        if entry.size and (entry.offset % 512 or entry.offset + entry.size > sizes.get(entry.part, -1)):
            raise Corrupt(f"layer {diff_id}: {shown(entry.name)} lies outside of the layer's files")
    if full:
        import hashlib

        with open(open_part(paths, diff_id), "rb") as file:
            actual_diff_id = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        if actual_diff_id != diff_id:
            raise DigestMismatch("layer's tar", diff_id, actual_diff_id)
