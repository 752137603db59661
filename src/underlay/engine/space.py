"""What is said when the disk is full: what was being written, what it takes, and what could be freed."""

from __future__ import annotations

import os

from ..errors import DiskFull, UnderlayError, is_disk_full

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from ..store.store import Store


# With less than this nothing can be made (bytes).
_NOTHING = 16 << 10


class Writing:
    """Explains an error that says that the disk is full, when one leaves the block: it becomes a DiskFull.

    `what` is what the block does, as in "cannot …". `needed` is how many bytes that takes at least, 0 if that is not known;
    an error that knows better comes before it. On a full disk the kernel makes overlays read-only, and other processes
    tell of errors in words alone: with `starts`, any error counts while there is nothing left.
    """

    __slots__ = ("_needed", "_starts", "_store", "_what")

    def __init__(self, store: Store, what: str, needed: int = 0, starts: bool = False) -> None:
        self._store = store
        self._what = what
        self._needed = needed
        self._starts = starts

    def __enter__(self) -> None:
        # Whoever fills the disk leaves room for the removal that mends it.
        self._store.meta.keep_reserve()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What has a block of its own inside this one is explained already.
        if error is None or (isinstance(error, DiskFull) and error.explained):
            return
        if not is_disk_full(error) and not (
            self._starts
            and isinstance(error, UnderlayError)
            and error.exit_code not in (126, 127)  # the program is not there, or none
            and _fullest(self._store)[0] < _NOTHING
        ):
            return
        needed = error.needed if isinstance(error, DiskFull) and error.needed else self._needed
        explained = _explained(self._store, self._what, needed)
        if self._starts and isinstance(error, UnderlayError):
            explained.message += f" ({error.message})"
            explained.exit_code = error.exit_code
        if isinstance(error, UnderlayError):
            explained.excerpt, explained.place = error.excerpt, error.place
        raise explained from error


def _explained(store: Store, what: str, needed: int) -> DiskFull:
    from ..human import size

    free, where = _fullest(store)
    message = f"cannot {what}: no space left on device: {where} has {size(free)} left"
    if needed:
        message += f", and it takes {size(needed)} or more"
    try:
        hint = _hint(store)
    except (OSError, UnderlayError):
        hint = "free some space and try again"  # the figures are of use, but not what was asked for
    error = DiskFull(message, hint, needed)
    error.explained = True
    return error


def _fullest(store: Store) -> tuple[int, str]:
    """Return which of the two directories has less left: how many bytes, and its path."""
    return min((_free(directory), directory) for directory in (store.paths.root, store.paths.state))


def _free(directory: str) -> int:
    """Return the bytes that this user can still write in a directory, or above where it will be."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    facts = os.statvfs(directory)
    # Without an inode nothing can be made; some file systems have no fixed number of them, and say 0.
    return 0 if facts.f_files and not facts.f_favail else facts.f_bavail * facts.f_frsize


def _hint(store: Store) -> str:
    """Return what could be freed by which command. If nothing but partial downloads can, these are removed."""
    from ..human import size
    from ..store import partials

    ways = [(command, count) for command, count in freeable(store) if count]
    if ways:
        figures = [f"`underlay {command}` would free {size(count)}" for command, count in ways]
        return ", ".join(figures)
    freed = partials.expire(store.paths, everything=True)
    if freed:
        return f"the beginnings of interrupted downloads have been removed, which frees {size(freed)}: try again"
    return "nothing in the store is unused: free space on the disk"


def freeable(store: Store) -> list[tuple[str, int]]:
    """Return commands that free space, and about how many bytes each would free, in the order in which less is lost.

    Partial downloads count with those of images, unless nothing else can be freed: they are given back then. Nothing is
    written.
    """
    from .. import trees
    from ..builder.cache import prune
    from ..store import gc, partials
    from ..store.rows import containers as container_rows
    from ..store.rows import images as image_rows
    from . import presence

    paths, meta = store.paths, store.meta
    cached = prune.entries(paths, meta)
    kept = {entry.record.layer.diff_id for entry in cached if entry.record is not None}
    used = container_rows.counts(meta)
    every = [image for image in image_rows.every(meta) if image.id not in used]
    dangling = image_rows.dangling(meta)
    nameless = [image for image in every if image.id in dangling]
    figures = [
        ("image prune", gc.freed_by(paths, meta, {image.id for image in nameless}, kept)),
        ("builder prune", sum(entry.size for entry in cached if not entry.shared)),
        (
            "container prune",
            sum(
                trees.size(paths.container(container_id))
                for container_id in container_rows.ids(meta)
                if not presence.is_running(store, container_id)
            ),
        ),
        ("image prune -a", gc.freed_by(paths, meta, {image.id for image in every}, kept)),
    ]
    partial = partials.size(paths)
    if any(count for _, count in figures):
        return [(command, count + (partial if command.startswith("image") else 0)) for command, count in figures]
    return figures
