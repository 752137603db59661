"""The list of images, a row for each of their names."""

from __future__ import annotations

from ...oci import reference as references
from ...store.rows import images as image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...store.rows.images import ImageRow
    from ...store.store import Store


class ImageListing:
    """A name in the list of images: `repository`, `tag` and `digest` ("" for none), and `image`, whose `id`,
    `created` (RFC 3339 text), `size` (bytes) and platform it shows."""

    __slots__ = ("digest", "id", "image", "repository", "tag")

    def __init__(self, image: ImageRow, repository: str = "", tag: str = "", digest: str = "") -> None:
        self.image = image
        self.id = image.id
        self.repository = repository
        self.tag = tag
        self.digest = digest


def listed(store: Store) -> list[ImageListing]:
    """Return a row for each name of each image, the newest image first; dangling images without any name too.

    An image known only by a digest has its repository and no tag.
    """
    meta = store.meta
    names: dict[str, list[ImageListing]] = {}
    images = image_rows.every(meta)
    remote = set(image_rows.repository_digests(meta, remote=True))
    by_id = {image.id: image for image in images}
    tagged: set[tuple[str, str]] = set()
    for name, target, image_id in image_rows.names(meta):
        if image_id not in by_id:
            continue  # it has come since
        reference = references.parse_exact(name)
        digest = target if (reference.repository, target, image_id) in remote else ""
        row = ImageListing(by_id[image_id], reference.familiar_repository, reference.tag, digest)
        names.setdefault(image_id, []).append(row)
        tagged.add((image_id, reference.familiar_repository))
    for repository, digest, image_id in image_rows.repository_digests(meta):
        shown = references.familiar(repository)
        if (image_id, shown) not in tagged and image_id in by_id:
            names.setdefault(image_id, []).append(ImageListing(by_id[image_id], shown, "", digest))
    rows = [row for image in images for row in names.get(image.id) or [ImageListing(image)]]
    rows.sort(key=lambda row: row.image.created, reverse=True)
    return rows
