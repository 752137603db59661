"""Starting to write a file out early: sync_file_range(2), so that a later fsync finds little to do."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_WRITE = 2  # SYNC_FILE_RANGE_WRITE (include/uapi/linux/fs.h)


@functools.cache
def _function() -> Callable[[int, int, int, int], int] | None:
    import ctypes

    try:
        # Not through libc.syscall, which keeps the interpreter lock: this may wait for the disk's queue.
        function = ctypes.CDLL(None).sync_file_range
    except AttributeError:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    call: Callable[[int, int, int, int], int] = function
    return call


def begin(fd: int, start: int, length: int) -> None:
    """Let the kernel write out a part of a file, and go on; the pages stay cached. What cannot be begun is let be."""
    function = _function()
    if function is not None:
        function(fd, start, length, _WRITE)
