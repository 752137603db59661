"""Volumes: create, list, inspect, remove, prune. `run -v` creates them as well."""

from __future__ import annotations

import os

from ..errors import Conflict, NotFound
from ..events import Event
from ..store import volumeoptions
from ..store import volumes as directories
from ..store.pruned import Pruned, labelled
from ..store.rows import volumes as rows
from .space import Writing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..store.rows.volumes import Volume
    from ..store.store import Store


class Volumes:
    """The volumes of an engine: directories that outlive the containers they are mounted in."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self, name: str = "", labels: dict[str, str] | None = None, options: dict[str, str] | None = None
    ) -> str:
        """Create a volume and return its name; without `name` an anonymous one.

        `options` are type, device and o, as those of mount(8), or size. It is mounted while a container uses it. An
        existing volume stays unchanged, its labels and options too. Raises InvalidInput, Unsupported.
        """
        store = self._store
        anonymous = not name
        name = name or os.urandom(32).hex()
        rows.check_name(name)
        size = volumeoptions.check(options or {})
        with Writing(store, f"create volume {name}"), store.meta.write() as sql:
            made = rows.insert(sql, name, labels or {}, anonymous, options)
            if made:
                directories.make_directory(os.path.dirname(self.mountpoint(name)), size)
        if made:
            store.emit(Event("volume.create", name, driver="local"))
        return name

    def get(self, name: str) -> Volume:
        """Return the volume with exactly this name; raises NotFound."""
        return rows.find(self._store.meta, name)

    def list(self, dangling: bool | None = None) -> list[Volume]:
        """Return the volumes sorted by name: all, or only unused ones (`dangling` true), or only used ones (false)."""
        volumes = rows.every(self._store.meta)
        if dangling is None:
            return volumes
        used = rows.in_use(self._store.meta)
        return [volume for volume in volumes if (volume.name not in used) is dangling]

    def mountpoint(self, name: str) -> str:
        """Return the directory on the host that holds the files of a volume."""
        return f"{self._store.paths.root}/volumes/{name}/_data"

    def inspect(self, name: str) -> dict[str, Any]:
        """Return detailed information on a volume, in the format of `docker volume inspect`."""
        from ..human import rfc3339

        volume = self.get(name)
        return {
            "CreatedAt": rfc3339(volume.created)[:19] + "Z",
            "Driver": "local",
            "Labels": volume.labels,
            "Mountpoint": self.mountpoint(volume.name),
            "Name": volume.name,
            "Options": dict(sorted(volume.options.items())) or None,
            "Scope": "local",
        }

    def remove(self, name: str) -> None:
        """Remove a volume and all files in it; raises NotFound, and Conflict while a container uses it.

        The database row goes first, durably: files without a row are taken by the next sweep of containers.
        """
        store = self._store
        volume = self.get(name)
        with store.meta.write(frees=True) as sql:
            rows.refuse_if_used(sql, name)
            rows.delete(sql, name)
            if volume.options:
                # What a killed container has left mounted.
                volumeoptions.mount_of(store.paths, volume, resolve=False).release()
        directories.remove_directories(store.paths, store.meta, [name])
        store.emit(Event("volume.destroy", name, driver="local"))

    def prune(self, all: bool = False, labels: Sequence[str] = ()) -> Pruned:
        """Remove the anonymous volumes that no container uses, with `all` the named ones too; none that has options.

        `labels` are `key`, `key=value`, `!key` or `!key=value`: one of the first two must match, none of the others.
        """
        from .. import trees

        removed, space = [], 0
        for volume in self.list(dangling=True):
            # One with options of a mount may be somebody else's storage: docker keeps it, too.
            if volume.options or not (all or volume.anonymous) or not labelled(volume.labels, labels):
                continue
            size = trees.size(os.path.dirname(self.mountpoint(volume.name)))
            try:
                self.remove(volume.name)
            except (Conflict, NotFound):
                continue  # taken or removed by another since
            removed.append(volume.name)
            space += size
        self._store.emit(Event("volume.prune", "", reclaimed=space))
        return Pruned(removed, space)
