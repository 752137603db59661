"""The image that a machine boots: the kernel as its build linked it, so that no machine has to decompress it.

A bzImage holds that, compressed (kernel documentation, arch/x86/boot); machines can enter it directly (PVH: a note in it
names its entry). It is made once, beside the image as it was given.
"""

from __future__ import annotations

import os

from ...errors import UnderlayError
from ...files import sync_directory
from ...store.layers import codec
from ...store.limits import Limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ...paths import Paths
    from .kernels import Kernel

_NAME = "vmlinux"
_MAGIC, _HEAD = b"HdrS", 0x250  # of a bzImage: where its fields end
_LIMITS = Limits(total=512 << 20)
_ELF = b"\x7fELF\x02\x01"
_PVH = b"\x12\0\0\0Xen\0"  # in the head of the note XEN_ELFNOTE_PHYS32_ENTRY
_PIECE = 1 << 20


def boot_image(paths: Paths, kernel: Kernel) -> str:
    """Return the path of the image to boot: the one that is decompressed, made now if need be, or the one that was given.

    Raises OSError.
    """
    from . import kernels

    path = f"{kernel.directory}/{_NAME}"
    if os.path.exists(path):
        return path if os.path.getsize(path) else kernel.image
    with kernels.lock(paths):
        if not os.path.exists(path):
            _make(kernel.image, path)
            sync_directory(kernel.directory)
    return boot_image(paths, kernel)


def is_intact(directory: str, scratch: str) -> bool:
    """Return whether the image to boot in a kernel's directory is not there yet, or is what is made in `scratch` now.

    Raises OSError.
    """
    import filecmp

    if not os.path.exists(f"{directory}/{_NAME}"):
        return True
    _make(f"{directory}/vmlinuz", f"{scratch}/{_NAME}")
    return filecmp.cmp(f"{directory}/{_NAME}", f"{scratch}/{_NAME}", shallow=False)


def remove(directory: str) -> None:
    """Remove the image to boot from a kernel's directory: it is made again when it is needed. Raises OSError."""
    os.unlink(f"{directory}/{_NAME}")


def _make(image: str, path: str) -> None:
    """Write what an image holds; an empty file says that it cannot be booted like that."""
    unfinished = f"{path}.unfinished"
    with open(image, "rb") as source, open(unfinished, "wb") as target:
        try:
            _decompress(source.read(), target.write)
        except UnderlayError:
            target.truncate(0)  # compressed in another way (lz4, lzo), or no bzImage
        target.flush()
        os.fsync(target.fileno())
        if target.tell() and not _enters(unfinished):
            target.truncate(0)
    os.chmod(unfinished, 0o644)
    os.rename(unfinished, path)


def _decompress(data: bytes, write: Callable[[bytes], object]) -> None:
    if len(data) < _HEAD or data[0x202:0x206] != _MAGIC:
        return
    start = ((data[0x1F1] or 4) + 1) * 512 + int.from_bytes(data[0x248:0x24C], "little")
    size = int.from_bytes(data[0x24C:0x250], "little")
    payload = memoryview(data)[start : start + size - 4]  # the last four bytes say how long the result is
    parts = (bytes(payload[at : at + _PIECE]) for at in range(0, len(payload), _PIECE))
    pieces = codec.decompress(lambda: next(parts, b""), _LIMITS)
    if next(pieces) == b"none":
        return
    for piece in pieces:
        write(piece)


def _enters(path: str) -> bool:
    """Return whether a file is a kernel that a machine can enter directly."""
    with open(path, "rb") as file:
        head = file.read(len(_ELF))
        if head != _ELF:
            return False
        before = b""
        while piece := file.read(_PIECE):
            if _PVH in before + piece:
                return True
            before = piece[-len(_PVH) :]
    return False
