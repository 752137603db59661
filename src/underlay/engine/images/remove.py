"""Removing images by docker's rules, and pruning those without a name or a container."""

from __future__ import annotations

from ...errors import Conflict, Corrupt
from ...events import Event
from ...human import parse_rfc3339, short_id
from ...oci import reference as references
from ...store import gc
from ...store.pruned import labelled
from ...store.rows import images as image_rows
from .. import presence
from .results import Removed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...store.rows.images import ImageRow
    from ...store.store import Store


def remove(store: Store, name: str, force: bool) -> Removed:
    """Remove the name, or the image when `name` is its id or its last name; see `Images.remove`."""
    meta = store.meta
    image = image_rows.resolve(meta, name)
    removed = Removed()
    names = image_rows.names(meta, image.id)
    by_id = image_rows.is_id(name, image) and not _is_name(store, name)
    if by_id:
        repositories = {references.parse_exact(text).repository for text, _, _ in names}
        repositories |= {repository for repository, _, _ in image_rows.repository_digests(meta, image.id)}
        if len(repositories) > 1 and not force:
            raise Conflict(
                f"conflict: unable to delete {short_id(image.id)} (must be forced) - "
                "image is referenced in multiple repositories",
                "remove its names one by one, or use --force",
            )
        _refuse_if_used(store, image, name, force, removing=True)
        _forget(store, image, removed)
    else:
        reference = references.parse(name) if not name.startswith(("sha256:", "sha512:")) else None
        last = reference is None or _is_last(store, image, reference)
        if last:
            _refuse_if_used(store, image, name, force, removing=reference is None)
        if reference is not None:
            removed.untagged += image_rows.untag(meta, reference)
            store.emit(Event("image.untag", image.id, name=reference.familiar))
        # By force a name goes from under a container that runs; the image stays, without one.
        if last and not any(presence.is_running(store, user) for user in image_rows.users(meta, image.id)):
            _forget(store, image, removed)
    _sweep(store, removed)
    return removed


def _is_name(store: Store, text: str) -> bool:
    """Return whether a word that could be a prefix of an id is a name: names take precedence."""
    if ":" in text and text.startswith(("sha256:", "sha512:")):
        return False
    try:
        reference = references.parse(text)
    except Exception:
        return False
    return bool(image_rows.named(store.meta, reference)[0])


def _is_last(store: Store, image: ImageRow, reference: references.Reference) -> bool:
    """Return whether `reference` is the last name of the image (a tag and its digest count as one)."""
    names = [text for text, _, _ in image_rows.names(store.meta, image.id)]
    digests = image_rows.repository_digests(store.meta, image.id)
    if reference.digest:
        others = [d for d in digests if (d[0], d[1]) != (reference.repository, reference.digest)]
        return not names and not others
    left = [text for text in names if text != reference.name]
    repositories = {references.parse_exact(text).repository for text in left}
    others = [d for d in digests if d[0] != reference.repository or d[0] in repositories]
    return not left and not others


def _refuse_if_used(store: Store, image: ImageRow, name: str, force: bool, removing: bool) -> None:
    """Raise Conflict when containers use an image of which the last name, or with `removing` the image itself, is to go."""
    users = image_rows.users(store.meta, image.id)
    running = next((user for user in users if presence.is_running(store, user)), "")
    if removing and running:
        raise Conflict(
            f"conflict: unable to delete {short_id(image.id)} (cannot be forced) - "
            f"image is being used by running container {running[:12]}",
            "stop the container first",
        )
    if not users or force:
        return
    user, hint = (running or users[0])[:12], "" if running else "remove the container first, or use --force"
    if removing:
        raise Conflict(
            f"conflict: unable to delete {short_id(image.id)} (must be forced) - "
            f"image is being used by stopped container {user}",
            hint,
        )
    raise Conflict(
        f'conflict: unable to remove repository reference "{name}" (must force) - '
        f"container {user} is using its referenced image {short_id(image.id)}",
        hint,
    )


def _forget(store: Store, image: ImageRow, removed: Removed) -> None:
    removed.untagged += image_rows.forget(store.meta, image.id)
    removed.deleted.append(image.id)
    store.emit(Event("image.delete", image.id, name=image.id))


def _sweep(store: Store, removed: Removed) -> None:
    if removed.deleted:
        swept = gc.sweep(store.paths, store.meta)
        removed.deleted += swept.layers
        removed.reclaimed += swept.bytes


def prune(store: Store, all: bool, until: float | None, labels: Sequence[str]) -> Removed:
    """Remove images as `Images.prune` documents, then sweep in any case, to remove leftovers of interrupted operations."""
    meta = store.meta
    removed = Removed()
    dangling = image_rows.dangling(meta)
    for image in image_rows.every(meta):
        if (not all and image.id not in dangling) or image_rows.users(meta, image.id):
            continue
        if until is not None and _created(image) >= until:
            continue
        if labels and not _labelled(store, image, labels):
            continue
        _forget(store, image, removed)
    swept = gc.sweep(store.paths, meta, thorough=True)
    removed.deleted += swept.layers
    removed.reclaimed = swept.bytes
    store.emit(Event("image.prune", "", reclaimed=removed.reclaimed))
    return removed


def _created(image: ImageRow) -> float:
    try:
        return parse_rfc3339(image.created)
    except ValueError:
        return image.added / 1e9


def _labelled(store: Store, image: ImageRow, wanted: Sequence[str]) -> bool:
    """Return whether the labels match: one of the `key` and `key=value`, and none of the `!key` and
    `!key=value`."""
    try:
        labels = (image_rows.config(store.paths, image.id).get("config") or {}).get("Labels") or {}
    except Corrupt:
        labels = {}

    return labelled(labels, wanted)
