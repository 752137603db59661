"""An image of the store as a Python object."""

from __future__ import annotations

from ...errors import InvalidInput
from ...oci import reference as references
from ...store.rows import images as image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...oci.configuration import Configuration
    from ...store.rows.images import ImageRow
    from ...store.store import Store
    from ...transfer.registry.outgoing import Pushed
    from .results import HistoryEntry, Removed


class Image:
    """An image of an engine: what `engine.images` returns.

    `id` (digest of the configuration), `manifest` (digest of the manifest), `platform` (a string such as `linux/arm64`),
    `os`, `architecture`, `created` (RFC 3339, as in the configuration; may be ""), `size` (bytes of the layers'
    tars), `diff_ids` (lowest first) never change; `tags`, `digests`, `labels`, `config` and `attrs` are looked up when they
    are asked for. Two objects for the same image are equal.
    """

    __slots__ = ("_row", "_store", "architecture", "created", "diff_ids", "id", "manifest", "os", "platform", "size")

    def __init__(self, store: Store, row: ImageRow) -> None:
        self._store = store
        self._row = row
        self.id = row.id
        self.manifest = row.manifest
        self.platform = str(row.platform)
        self.os = row.os
        self.architecture = row.architecture
        self.created = row.created
        self.size = row.size
        self.diff_ids = row.diff_ids

    @property
    def short_id(self) -> str:
        """The first twelve hexadecimal digits of the id."""
        return self.id.partition(":")[2][:12]

    @property
    def tags(self) -> list[str]:
        """Its names in the store, with their tags: `["alpine:3.20"]`."""
        return [references.familiar(name) for name, _, _ in image_rows.names(self._store.meta, self.id)]

    @property
    def digests(self) -> list[str]:
        """Its names with digests in registries: `["alpine@sha256:…"]`."""
        rows = image_rows.repository_digests(self._store.meta, self.id, remote=True)
        return [f"{references.familiar(repository)}@{digest}" for repository, digest, _ in rows]

    @property
    def config(self) -> Configuration:
        """Its configuration document (OCI image configuration). Raises Corrupt when the document is missing."""
        return image_rows.config(self._store.paths, self.id)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its configuration."""
        return {**((self.config.get("config") or {}).get("Labels") or {})}

    @property
    def attrs(self) -> dict[str, Any]:
        """What `inspect` returns."""
        return self.inspect()

    def __repr__(self) -> str:
        return f"<Image {', '.join(self.tags) or '<none>'} {self.short_id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Image) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def inspect(self) -> dict[str, Any]:
        """Return detailed information on it, in the format of `docker image inspect`."""
        from .inspect import image

        return image(self._store, self._row)

    def history(self) -> list[HistoryEntry]:
        """Return its history, newest first."""
        from .history import history

        return history(self._store, self._row)

    def tag(self, name: str) -> None:
        """Give it a name; a name that is in use is moved to it. Raises InvalidInput."""
        target = image_rows.target_of(self._store.meta, self._row, self.id)
        image_rows.tag(self._store.meta, self._row, target, references.parse(name))

    def remove(self, force: bool = False) -> Removed:
        """Remove it with all its names; see `engine.images.remove`. Raises Conflict."""
        from .remove import remove

        return remove(self._store, self.id, force)

    def save(self, target: str | int, format: str = "docker-archive") -> None:
        """Write it with its names to `target`, a path or a descriptor; see `engine.images.save`."""
        from . import archives

        archives.save(self._store, self.tags or [self.id], target, format)

    def push(self, name: str = "") -> Pushed:
        """Push it to the registry in its name, or in `name`, one of its names.

        Raises NotFound, AccessDenied, RegistryError.
        """
        from . import transfer

        tags = self.tags
        if not name and len(tags) != 1:
            raise InvalidInput(
                f"{self!r} has several names, so that one has to be given"
                if tags
                else f"{self!r} has no name to push it by",
                "pass it to `push`" if tags else "`tag` gives it a name",
            )
        [(_, pushed)] = transfer.push(self._store, name or tags[0])
        return pushed
