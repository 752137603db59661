"""Which manifests of an index are meant: by platform, attestations left out, nested indexes opened."""

from __future__ import annotations

from ..errors import Corrupt, DigestMismatch, InvalidInput, NotFound
from ..oci import config as configs
from ..oci import digest as digests
from ..oci import manifest as manifests
from ..oci import mediatype, platform
from ..oci.descriptor import Descriptor
from ..oci.document import Document, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..oci.platform import Platform
    from .bag import Bag

_NESTING_LIMIT = 4


class Candidate:
    """An image in an archive: its checked `manifest` and `config` documents, `platform`, and `above`: the
    documents of the indexes that led to it, outermost first."""

    __slots__ = ("above", "config", "manifest", "platform")

    def __init__(self, manifest: Document, config: Document, above: tuple[Document, ...]) -> None:
        self.manifest = manifest
        self.config = config
        self.above = above
        view: configs.Config = config.view
        self.platform = platform.normalise(view.os, view.architecture, view.variant or "")


def blob_name(digest: str) -> str:
    """Return the name of a blob in a layout; raises InvalidInput for what is no digest."""
    algorithm, _, digits = digests.check(digest).partition(":")
    return f"blobs/{algorithm}/{digits}"


def blob(bag: Bag, found: Descriptor, what: str) -> bytes | None:
    """Return the verified bytes of the document that a descriptor names, None when the archive lacks it."""
    data = bag.document(blob_name(found.digest))
    if data is None:
        return None
    if len(data) != found.size:
        raise DigestMismatch(f"{what} {found.digest}: wrong size", f"{found.size} bytes", f"{len(data)}")
    digests.verify(data, found.digest, what)
    return data


def choose(bag: Bag, descriptors: Sequence[Descriptor], wanted: Sequence[Platform]) -> list[Candidate]:
    """Return the images that `descriptors` (alternatives of one target) offer for the platforms `wanted`.

    Without `wanted` it is the host's, or the only one there is. Raises NotFound when none fits or parts are
    missing.
    """
    offered = list(_flat(bag, descriptors, (), 0))
    if not offered:
        names = ", ".join(found.digest for found in descriptors[:3])
        raise NotFound(f"{bag.path}: the archive lacks the manifest {names}, or it is of no image")
    candidates: list[Candidate] = []
    for goal in wanted or [platform.host()]:
        best = min(
            ((place, n) for n, one in enumerate(offered) if (place := platform.rank(goal, one[1])) is not None),
            default=None,
        )
        if best is None:
            if not wanted and len(offered) == 1:
                best = (0, 0)
            else:
                there = ", ".join(sorted({str(one[1]) for one in offered}))
                raise NotFound(
                    f"requested platform ({goal}) not found in {bag.path}",
                    f"it has {there}; choose with --platform",
                )
        candidate = offered[best[1]][0]
        if all(candidate.manifest.digest != other.manifest.digest for other in candidates):
            candidates.append(candidate)
    return candidates


def _flat(
    bag: Bag, descriptors: Sequence[Descriptor], above: tuple[Document, ...], depth: int
) -> Iterator[tuple[Candidate, Platform]]:
    """Yield each image below `descriptors` whose manifest is in the archive, with the platform it is offered
    for."""
    if depth > _NESTING_LIMIT:
        raise InvalidInput(f"{bag.path}: indexes are nested deeper than {_NESTING_LIMIT}")
    for found in descriptors:
        if found.is_attestation:
            continue
        data = blob(bag, found, "manifest")
        if data is None:
            continue
        what = f"manifest {found.digest}"
        kind = manifests.kind(decode(data, what), found.media_type or "")
        if kind == "index":
            index = manifests.read_index(data, f"index {found.digest}")
            yield from _flat(bag, index.view.manifests, (*above, index), depth + 1)
        elif kind == "manifest":
            candidate = _candidate(bag, data, what, above)
            if candidate is not None:
                stated = found.platform.normalised() if found.platform else candidate.platform
                yield candidate, stated if stated.architecture else candidate.platform
        else:
            raise InvalidInput(f"{what}: neither an image manifest nor an index")


def _candidate(bag: Bag, data: bytes, what: str, above: tuple[Document, ...]) -> Candidate | None:
    """Return the image of a manifest, None when it is something else than an image (a chart, a signature)."""
    manifest = manifests.read_manifest(data, what)
    view: manifests.Manifest = manifest.view
    if view.config.media_type and view.config.media_type not in mediatype.CONFIGS:
        return None
    layers = view.layers or []
    for number, layer in enumerate(layers):
        if not mediatype.is_layer(layer.media_type or mediatype.OCI_LAYER):
            raise InvalidInput(f"{what}: $.layers[{number}].mediaType: {layer.media_type!r:.80} is not a layer's")
    config_data = blob(bag, view.config, "configuration")
    if config_data is None:
        raise NotFound(f"{bag.path}: the archive lacks the configuration {view.config.digest}")
    config = configs.read(config_data, f"configuration {view.config.digest}")
    if len(layers) != len(config.view.diff_ids):
        raise Corrupt(
            f"{what}: $.layers has {len(layers)} layers, the configuration's $.rootfs.diff_ids has "
            f"{len(config.view.diff_ids)}"
        )
    # sha512 configurations keep the name they came under.
    config.digest = view.config.digest
    return Candidate(manifest, config, above)
