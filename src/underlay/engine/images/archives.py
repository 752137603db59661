"""Images between the store and files: load, save, import, as the engine's callers ask for them."""

from __future__ import annotations

import os
import stat

from ... import settings
from ...errors import InvalidInput
from ...oci import platform as platforms
from ...oci import reference as references
from ...store import gc, leases
from ...store.scratch import Scratch
from ..space import Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.store import Store
    from ...transfer.archives.load import Loaded


def load(
    store: Store, source: str | int, platform: str | Sequence[str] = (), keep_compressed: bool | None = None
) -> list[Loaded]:
    """See `Images.load`."""
    from ...transfer.archives import load as archive

    if keep_compressed is None:
        keep_compressed = settings.value("keep-compressed") not in ("", "0")
    wanted = platforms.several(platform)
    try:
        with Writing(store, "load" if isinstance(source, int) else f"load {source}", _size(source)):
            loaded = archive.load(store.paths, store.meta, source, store.emit, store.form, wanted, keep_compressed)
    except BaseException:
        gc.sweep(store.paths, store.meta)
        raise
    gc.sweep_if_asked(store.paths, store.meta)
    return loaded


def _size(source: str | int) -> int:
    """Return the bytes of an archive that is a regular file, 0 for all else."""
    try:
        facts = os.stat(source)
    except OSError:
        return 0  # who reads it says so
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0


def save(
    store: Store,
    names: Sequence[str],
    target: str | int,
    format: str = "docker-archive",
    platform: str | Sequence[str] = (),
) -> None:
    """See `Images.save`."""
    from ...transfer.archives import save as archive

    wanted = platforms.several(platform)
    try:
        with leases.working(store.paths):
            chosen = [chosen_image for name in names for chosen_image in archive.choose(store.meta, name, wanted)]
            archive.save(store.paths, store.meta, chosen, target, format, store.emit)
    finally:
        gc.sweep_if_asked(store.paths, store.meta)


def import_tar(store: Store, source: str | int, name: str, changes: Sequence[str], message: str, platform: str) -> str:
    """Import a root file system as an image and return its id; see `Images.import_`."""
    from ...transfer.archives import importer

    reference = references.parse(name) if name else None
    if reference is not None and reference.digest:
        raise InvalidInput("cannot import digest reference")
    if reference is not None:
        references.check_new(reference)
    goal = platforms.parse(platform) if platform else None
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        from ...builder.context.fetching import fetch

        with Scratch(store.paths, "import") as scratch, open(fetch(source, scratch.path).path, "rb") as file:
            note = message or f"Imported from {source}"
            return import_tar(store, file.fileno(), name, changes, note, platform)
    try:
        with Writing(store, "import" if isinstance(source, int) else f"import {source}", _size(source)):
            image_id = importer.import_tar(
                store.paths, store.meta, source, store.emit, store.form, reference, changes, message, goal
            )
    except BaseException:
        gc.sweep(store.paths, store.meta)
        raise
    gc.sweep_if_asked(store.paths, store.meta)
    return image_id
