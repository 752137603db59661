"""Reads the layers of an image where it lies, in an archive or a registry; none is taken into the store."""

from __future__ import annotations

from ..errors import LimitExceeded
from ..human import size
from ..store.layers import passing
from ..store.limits import Limits
from . import tocs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from ..oci import manifest as manifests
    from ..oci.platform import Platform
    from ..registry.repository import Repository
    from ..store.layers.passing import PassedLayer
    from ..store.layers.toc import Entry

    Keep = Callable[[Entry], bool]
    Source = Callable[[int], bytes]

# Bytes of an image's layers: uncompressed, compressed, and of the contents that are kept.
_PLAIN_LIMIT = 8 << 30
_FETCHED_LIMIT = 4 << 30
_KEPT_LIMIT = 256 << 20
_MEMBERS = 500_000  # of one layer
_METADATA = 256 << 20
_PIECE = 1 << 20


def in_archive(
    path: str, image_id: str, platforms: Sequence[Platform], here: Collection[str], keep: Keep
) -> dict[str, PassedLayer]:
    """Return the layers of an image of an archive or layout by diff id, but for those that are `here`.

    Raises as `archives.load.layers`, DigestMismatch, Corrupt, LimitExceeded.
    """
    from .archives import load

    layers = ((diff_id, content.read) for diff_id, content in load.layers(path, image_id, platforms))
    return _passed(layers, here, keep)


def in_registry(
    repository: Repository, manifest: manifests.Manifest, diff_ids: Sequence[str], here: Collection[str], keep: Keep
) -> dict[str, PassedLayer]:
    """Return the layers of an image of a registry by diff id, but for those that are `here`; by their tables of contents
    where they have some (`tocs`), else read as a whole.

    Raises what registries raise, DigestMismatch, Corrupt, LimitExceeded.
    """
    found: dict[str, PassedLayer] = {}
    wanted = []
    for diff_id, descriptor in zip(diff_ids, manifest.layers or [], strict=True):
        if diff_id in here or diff_id in found:
            continue
        layer = tocs.read(repository, descriptor, keep)
        if layer is not None:
            found[diff_id] = layer
        else:
            wanted.append((diff_id, descriptor))
    total = sum(descriptor.size for _, descriptor in wanted)
    if total > _FETCHED_LIMIT:
        raise LimitExceeded(
            f"its layers are {size(total)}, more than {size(_FETCHED_LIMIT)}", "`underlay pull` it first"
        )

    def layers() -> Iterator[tuple[str, Source]]:
        for diff_id, descriptor in wanted:
            download = repository.blob(descriptor)
            try:
                yield diff_id, download.read
            finally:
                download.close()

    return {**found, **_passed(layers(), here, keep)}


def _passed(layers: Iterable[tuple[str, Source]], here: Collection[str], keep: Keep) -> dict[str, PassedLayer]:
    """Read layers one after the other, within the limits of all together."""
    found: dict[str, PassedLayer] = {}
    plain, kept = _PLAIN_LIMIT, _KEPT_LIMIT

    def kept_too(entry: Entry) -> bool:
        nonlocal kept
        wanted = entry.size <= kept and keep(entry)
        kept -= entry.size if wanted else 0
        return wanted

    for diff_id, source in layers:
        if diff_id in here or diff_id in found:
            continue
        limits = Limits(total=plain, members=_MEMBERS, metadata=_METADATA)
        found[diff_id] = passing.read(_pieces(source), diff_id, kept_too, limits)
        plain -= found[diff_id].size
    return found


def _pieces(source: Source) -> Callable[[], bytes]:
    return lambda: source(_PIECE)
