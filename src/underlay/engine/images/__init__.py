"""Images: pull, push, load, save, import, list, tag, remove, inspect, history, prune."""

from __future__ import annotations

from ...errors import InvalidInput
from ...oci import platform as platforms
from ...oci import reference as references
from ...store.rows import images as image_rows
from ...store.rows import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ...errors import UnderlayError
    from ...oci.configuration import Configuration
    from ...oci.reference import Reference
    from ...store.rows.images import Image
    from ...store.store import Store
    from ...transfer.archives.load import Loaded
    from ...transfer.registry.outgoing import Pushed
    from ...transfer.registry.pull import Pulled


class Listed:
    """A row of the list of images: `repository`, `tag` and `digest` ("" for none), and `image`, whose `id`,
    `created` (RFC 3339 text), `size` (bytes) and platform it shows."""

    __slots__ = ("digest", "id", "image", "repository", "tag")

    def __init__(self, image: Image, repository: str = "", tag: str = "", digest: str = "") -> None:
        self.image = image
        self.id = image.id
        self.repository = repository
        self.tag = tag
        self.digest = digest


class Step:
    """An entry of an image's history: `id` ("" for all but the newest), `created` (RFC 3339 text),
    `created_by`, `size` (bytes of its layer), `comment`, `empty` (it has no layer)."""

    __slots__ = ("comment", "created", "created_by", "empty", "id", "size")

    def __init__(self, image_id: str, created: str, created_by: str, size: int, comment: str, empty: bool) -> None:
        self.id = image_id
        self.created = created
        self.created_by = created_by
        self.size = size
        self.comment = comment
        self.empty = empty


class Removed:
    """What a removal did: names `untagged`, ids and diff ids `deleted`, `reclaimed` bytes on disk."""

    __slots__ = ("deleted", "reclaimed", "untagged")

    def __init__(self) -> None:
        self.untagged: list[str] = []
        self.deleted: list[str] = []
        self.reclaimed = 0


class Images:
    """The images of an engine. An image is named by its name, `name@digest`, id or a prefix of the id."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    # In and out

    def pull(
        self,
        name: str,
        platform: str | Sequence[str] = (),
        all_tags: bool = False,
        keep_compressed: bool | None = None,
    ) -> list[tuple[Reference, Pulled]]:
        """Bring an image from its registry, or with `all_tags` all of a repository; return name and result of each.

        `platform` is one (`linux/arm64`), a list of them, or `all` that there are, instead of the host's; the name stands
        for the one that serves this host best. `keep_compressed` is as with `load`. Raises NotFound, AccessDenied,
        Conflict (a blocked registry), Unsupported, DigestMismatch, LimitExceeded, RegistryError.
        """
        from . import transfer

        return transfer.pull(self._store, name, platform, all_tags, keep_compressed)

    def pull_each(
        self,
        names: Sequence[str],
        platform: str | Sequence[str] = (),
        all_tags: bool = False,
        keep_compressed: bool | None = None,
    ) -> Iterator[tuple[str, list[tuple[Reference, Pulled]] | UnderlayError]]:
        """Pull several images over the same connections; yield each name with what `pull` returns, or its error.

        One that fails does not keep the others. The rest of the arguments are those of `pull`.
        """
        from . import transfer

        return transfer.pull_each(self._store, names, platform, all_tags, keep_compressed)

    def push(self, name: str, all_tags: bool = False, platform: str = "") -> list[tuple[Reference, Pushed]]:
        """Push an image to the registry in its name, or with `all_tags` all tags of a repository.

        `platform` pushes one image of a multi-platform one. Raises NotFound, AccessDenied, RegistryError.
        """
        from . import transfer

        return transfer.push(self._store, name, all_tags, platform)

    def load(
        self, source: str | int, platform: str | Sequence[str] = (), keep_compressed: bool | None = None
    ) -> list[Loaded]:
        """Load all images of an archive or layout and return them; see `underlay.transfer.archives.load.load`.

        `source` is a path or a descriptor. `platform` is one (`linux/arm64`), or a list of them, to take from an index
        instead of the host's. `keep_compressed` defaults to the environment's UNDERLAY_KEEP_COMPRESSED.
        """
        import os

        from ...store import gc
        from ...transfer.archives import load as archive

        store = self._store
        if keep_compressed is None:
            keep_compressed = os.environ.get("UNDERLAY_KEEP_COMPRESSED", "") not in ("", "0")
        wanted = platforms.several(platform)
        try:
            loaded = archive.load(store.paths, store.meta, source, store.emit, store.form, wanted, keep_compressed)
        except BaseException:
            gc.sweep(store.paths, store.meta)
            raise
        gc.sweep_if_asked(store.paths, store.meta)
        return loaded

    def save(
        self,
        names: Sequence[str],
        target: str | int,
        format: str = "docker-archive",
        platform: str | Sequence[str] = (),
    ) -> None:
        """Write images to `target`, a path or a descriptor, those of one `platform` or several if any is named.

        `format` is `docker-archive` (an OCI layout in a tar that docker's and podman's own readers take as
        well), `oci-archive` (without docker's part) or `oci-dir`. Raises NotFound, InvalidInput, OSError.
        """
        from ...store import gc, leases
        from ...transfer.archives import save

        store = self._store
        wanted = platforms.several(platform)
        meta = store.meta
        try:
            with leases.working(store.paths):
                chosen = [each for name in names for each in save.choose(meta, name, wanted)]
                save.save(store.paths, store.meta, chosen, target, format, store.emit)
        finally:
            gc.sweep_if_asked(store.paths, meta)

    def import_(
        self,
        source: str | int,
        name: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: str = "",
    ) -> str:
        """Make an image of a root file system's tar (compressed or not) and return its id.

        `source` is a path or a descriptor; `changes` are Dockerfile instructions for the configuration.
        """
        from ...store import gc
        from ...transfer.archives import importer

        store = self._store
        reference = references.parse(name) if name else None
        if reference is not None and reference.digest:
            raise InvalidInput("cannot import digest reference")
        try:
            image_id = importer.import_tar(
                store.paths,
                store.meta,
                source,
                store.emit,
                store.form,
                reference,
                changes,
                message,
                platforms.parse(platform) if platform else None,
            )
        except BaseException:
            gc.sweep(store.paths, store.meta)
            raise
        gc.sweep_if_asked(store.paths, store.meta)
        return image_id

    # Looking

    def get(self, name: str, platform: str = "") -> Image:
        """Return the image that `name` means; raises NotFound, InvalidInput."""
        return image_rows.resolve(self._store.meta, name, platforms.parse(platform) if platform else None)

    def config(self, image: Image) -> Configuration:
        """Return the image's configuration document."""
        return image_rows.config(self._store.paths, image.id)

    def list(self, all: bool = False) -> list[Listed]:
        """Return a row for each name of each image, the newest image first; dangling images without any name
        too.

        An image known only by a digest has its repository and no tag. `all` changes nothing: there are no
        intermediate images.
        """
        meta = self._store.meta
        names: dict[str, list[Listed]] = {}
        images = image_rows.every(meta)
        by_id = {image.id: image for image in images}
        tagged: set[tuple[str, str]] = set()
        for name, target, image_id in image_rows.names(meta):
            if image_id not in by_id:
                continue  # it has come since
            reference = references.parse_exact(name)
            row = Listed(by_id[image_id], reference.familiar_repository, reference.tag, target)
            names.setdefault(image_id, []).append(row)
            tagged.add((image_id, reference.familiar_repository))
        for repository, digest, image_id in image_rows.repository_digests(meta):
            shown = references.familiar(repository)
            if (image_id, shown) not in tagged and image_id in by_id:
                names.setdefault(image_id, []).append(Listed(by_id[image_id], shown, "", digest))
        rows = [row for image in images for row in names.get(image.id) or [Listed(image)]]
        rows.sort(key=lambda row: row.image.created, reverse=True)
        return rows

    def dangling(self) -> set[str]:
        """Return the ids of images that no tag stands for, neither directly nor through its index."""
        return image_rows.dangling(self._store.meta)

    def inspect(self, name: str, platform: str = "") -> dict[str, Any]:
        """Return what is known of an image, in the members and names of docker's `image inspect`."""
        from . import inspect as image_inspection

        return image_inspection.image(self._store, self.get(name, platform))

    def history(self, name: str, platform: str = "") -> Sequence[Step]:
        """Return the history of an image, newest first."""
        store = self._store
        image = self.get(name, platform)
        config = self.config(image)
        sizes = layer_rows.sizes(store.meta)
        entries = config.get("history") or []
        steps: list[Step] = []
        diff_ids = iter(image.diff_ids)
        for entry in entries:
            empty = bool(entry.get("empty_layer"))
            diff_id = "" if empty else next(diff_ids, "")
            steps.append(
                Step(
                    "",
                    entry.get("created") or "",
                    entry.get("created_by") or "",
                    sizes.get(diff_id, 0),
                    entry.get("comment") or "",
                    empty,
                )
            )
        # Layers that no entry speaks of.
        steps += [Step("", "", "", sizes.get(diff_id, 0), "", False) for diff_id in diff_ids]
        steps.reverse()
        if steps:
            steps[0].id = image.id
        return steps

    # Changing

    def tag(self, name: str, new: str) -> None:
        """Give an image another name; a name in use moves to it. Raises NotFound, InvalidInput."""
        meta = self._store.meta
        image = image_rows.resolve(meta, name)
        image_rows.tag(meta, image, image_rows.target_of(meta, image, name), references.parse(new))

    def remove(self, name: str, force: bool = False) -> Removed:
        """Remove a name, or with its last name the image: docker's rules of `rmi`.

        By id all names go, if they are of one repository or with `force`. Raises Conflict while a container
        uses the image (`force` overcomes stopped ones; their layers stay until the containers are gone),
        NotFound, InvalidInput.
        """
        from . import remove as image_removal

        return image_removal.remove(self._store, name, force)

    def prune(self, all: bool = False, until: float | None = None, labels: Sequence[str] = ()) -> Removed:
        """Remove dangling images, or with `all` every image that no container uses, and all leavings of work
        that died.

        `until` (seconds since the epoch) spares younger ones; `labels` are `key`, `key=value`, `!key` or
        `!key=value`.
        """
        from . import remove as image_removal

        return image_removal.prune(self._store, all, until, labels)
