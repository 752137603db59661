"""Images: pull, push, load, save, import, list, tag, remove, inspect, history, prune."""

from __future__ import annotations

from ...events import Event
from ...lean.overload import overload
from ...oci import platform as platforms
from ...oci import reference as references
from ...store.rows import images as image_rows
from .handle import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from ...store.pruned import Pruned
    from ...store.store import Store
    from ...transfer.registry.outgoing import Pushed
    from .results import HistoryEntry, Removed


class Images:
    """The images of an engine. An image is named by its name, `name@digest`, id or a prefix of the id."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    # In and out

    @overload
    def pull(
        self,
        name: str,
        platform: str | Sequence[str] = (),
        *,
        all_tags: Literal[False] = False,
        keep_compressed: bool | None = None,
        verify: str = "",
    ) -> Image: ...

    @overload
    def pull(
        self,
        name: str,
        platform: str | Sequence[str] = (),
        *,
        all_tags: Literal[True],
        keep_compressed: bool | None = None,
        verify: str = "",
    ) -> list[Image]: ...

    def pull(
        self,
        name: str,
        platform: str | Sequence[str] = (),
        *,
        all_tags: bool = False,
        keep_compressed: bool | None = None,
        verify: str = "",
    ) -> Image | list[Image]:
        """Pull an image from its registry and return it, or with `all_tags` all images of a repository, in the tags' order.

        `platform` is one (`linux/arm64`), a list of them, or `all`, instead of the host's; the name then refers to the
        image that suits this host best. `keep_compressed` is as with `load`. `verify` demands a signature
        besides what the trust policy does: by the public key in a file, by the policy ("policy"), or by
        `identity=…,issuer=…,trusted-root=…`. Raises NotFound, AccessDenied, Conflict (a blocked registry), Untrusted,
        Unsupported, DigestMismatch, LimitExceeded, RegistryError.
        """
        from . import transfer

        done = transfer.pull(self._store, name, platform, all_tags, keep_compressed, verify)
        images = [self.get(pulled.id) for _, pulled in done]
        return images if all_tags else images[0]

    @overload
    def push(self, name: str, platform: str = "", *, all_tags: Literal[False] = False) -> Pushed: ...

    @overload
    def push(self, name: str, platform: str = "", *, all_tags: Literal[True]) -> dict[str, Pushed]: ...

    def push(self, name: str, platform: str = "", *, all_tags: bool = False) -> Pushed | dict[str, Pushed]:
        """Push an image to the registry in its name, or with `all_tags` all tags of a repository: one result for each tag.

        `platform` pushes one platform of a multi-platform image. Raises NotFound, AccessDenied, RegistryError.
        """
        from . import transfer

        done = transfer.push(self._store, name, all_tags, platform)
        return {reference.tag: pushed for reference, pushed in done} if all_tags else done[0][1]

    def load(
        self, source: str | int, platform: str | Sequence[str] = (), keep_compressed: bool | None = None
    ) -> list[Image]:
        """Load all images of an archive or layout and return them; see `underlay.transfer.archives.load.load`.

        `source` is a path or a descriptor. `platform` is one (`linux/arm64`), or a list of them, to take from an index
        instead of the host's. `keep_compressed` defaults to the environment's UNDERLAY_KEEP_COMPRESSED.
        """
        from . import archives

        return [self.get(row.id) for row in archives.load(self._store, source, platform, keep_compressed)]

    def save(
        self,
        names: str | Sequence[str],
        target: str | int,
        format: str = "docker-archive",
        platform: str | Sequence[str] = (),
    ) -> None:
        """Write images to `target`, a path or a descriptor; only those of `platform`, one or several, if it is given.

        `format` is `docker-archive` (an OCI layout in a tar that docker's and podman's own readers take as
        well), `oci-archive` (without docker's part) or `oci-dir`. Raises NotFound, InvalidInput, OSError.
        """
        from . import archives

        archives.save(self._store, [names] if isinstance(names, str) else names, target, format, platform)

    def import_(
        self,
        source: str | int,
        name: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: str = "",
    ) -> Image:
        """Create an image from a tar of a root file system (compressed or not) and return it.

        `source` is a path, a descriptor, or an address of HTTP; `changes` are Dockerfile instructions for the
        configuration.
        """
        from . import archives

        image = self.get(archives.import_tar(self._store, source, name, changes, message, platform))
        self._store.emit(Event("image.import", image.id, name=name or image.id))
        return image

    # Looking

    def get(self, name: str, platform: str = "") -> Image:
        """Return the image called `name`; raises NotFound, InvalidInput."""
        goal = platforms.parse(platform) if platform else None
        return Image(self._store, image_rows.resolve(self._store.meta, name, goal))

    def list(self, all: bool = False) -> list[Image]:
        """Return the images, the newest first. `all` changes nothing: there are no intermediate images."""
        rows = image_rows.every(self._store.meta)
        rows.sort(key=lambda row: row.created, reverse=True)
        return [Image(self._store, row) for row in rows]

    def dangling(self) -> set[str]:
        """Return the ids of images without a tag, neither directly nor through an index."""
        return image_rows.dangling(self._store.meta)

    def inspect(self, name: str, platform: str = "") -> dict[str, Any]:
        """Return detailed information on an image, in the format of `docker image inspect`."""
        return self.get(name, platform).inspect()

    def history(self, name: str, platform: str = "") -> Sequence[HistoryEntry]:
        """Return the history of an image, newest first."""
        return self.get(name, platform).history()

    # Changing

    def tag(self, name: str, new: str) -> None:
        """Give an image another name; a name that is in use is moved to it. Raises NotFound, InvalidInput."""
        meta = self._store.meta
        image = image_rows.resolve(meta, name)
        reference = references.parse(new)
        image_rows.tag(meta, image, image_rows.target_of(meta, image, name), reference)
        self._store.emit(Event("image.tag", image.id, name=reference.familiar))

    def remove(self, name: str, force: bool = False) -> Removed:
        """Remove a name, and with its last name the image, as `docker rmi` does.

        By id all names go, if they are of one repository or with `force`. Raises Conflict while a container
        uses the image (`force` overcomes stopped ones; their layers stay until the containers are gone),
        NotFound, InvalidInput.
        """
        from . import remove as image_removal

        return image_removal.remove(self._store, name, force)

    def prune(self, all: bool = False, until: float | None = None, labels: Sequence[str] = ()) -> Pruned:
        """Remove dangling images, or with `all` every image that no container uses, and the leftovers of
        interrupted operations.

        `until` (seconds since the epoch) keeps images created later; `labels` are `key`, `key=value`, `!key` or
        `!key=value`. The result has ids of images and digests of layers.
        """
        from ...store.pruned import Pruned
        from . import remove as image_removal

        removed = image_removal.prune(self._store, all, until, labels)
        return Pruned(removed.deleted, removed.reclaimed)
