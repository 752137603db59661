"""An open store: directories, database, form of layers, and the callback that receives events."""

from __future__ import annotations

import os
from _thread import allocate_lock

from .. import events
from .rows.meta import Meta

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..events import Emit
    from ..paths import Paths


class Store:
    """What nearly all work needs: `paths`, the database `meta`, the `form` of layers, and `emit`, which takes an
    `events.Event` for each step of longer work and each change of an object.
    `credentials`, a `registry.credentials.Store`, is what registries are asked with; None for the user's own.

    Database and form are found out at first use. Several threads may use one; `emit` is called from each of them.
    """

    __slots__ = ("_form", "_meta", "_opening", "credentials", "emit", "form_setting", "paths")

    def __init__(self, paths: Paths, emit: Emit = events.ignore, form_setting: str = "auto") -> None:
        self.paths = paths
        self.emit = emit
        self.credentials: Any = None
        self.form_setting = form_setting
        self._meta: Meta | None = None
        self._opening = allocate_lock()
        self._form = ""

    @property
    def meta(self) -> Meta:
        """The database, opened at first use."""
        if self._meta is None:
            with self._opening:
                if self._meta is None:
                    self._meta = _opened(self.paths)
        return self._meta

    @property
    def form(self) -> str:
        """The storage format of layers: `erofs` or `tree`."""
        if not self._form:
            from . import rootfs

            self._form, _ = rootfs.form_for(self.paths, self.form_setting)
        return self._form

    def close(self) -> None:
        """Close the database; it is opened again when it is needed."""
        if self._meta is not None:
            self._meta.close()
            self._meta = None


def _opened(paths: Paths) -> Meta:
    # Set-id files of images and volumes must be out of reach of the host's users (attacks IM-07).
    paths.make()
    # Each by itself: the mode holds for the last part of a path only, and the caller's umask may be 0.
    for directory in (paths.temporary, paths.layers, paths.indexes, paths.blobs, paths.blobs + "/sha256"):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    for directory in (paths.root + "/containers", paths.root + "/volumes", paths.state + "/containers"):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    os.makedirs(paths.locks, mode=0o700, exist_ok=True)
    try:
        # The environments of containers are in it. SQLite gives its other files the mode of this one.
        os.close(os.open(paths.database, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return Meta(paths.database)
    meta = Meta(paths.database)
    meta.keep_reserve()
    return meta
