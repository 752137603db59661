"""Which manifests of an index are meant: by platform, attestations left out, nested indexes opened."""

from __future__ import annotations

from ..errors import Corrupt, InvalidInput, NotFound, PlatformMissing
from ..oci import config as configs
from ..oci import digest as digests
from ..oci import manifest as manifests
from ..oci import mediatype, platform
from ..oci.descriptor import Descriptor, check_length
from ..oci.document import Document, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    from ..oci.platform import Platform
    from .archives.bag import Bag

    class Documents(Protocol):
        """Source of manifests and configurations, verified; None for missing ones.

        `location` names it in errors. A `remote` one has all that it names, and may name what is not an image.
        """

        location: str
        remote: bool

        def manifest(self, descriptor: Descriptor, /) -> bytes | None: ...
        def config(self, descriptor: Descriptor, /) -> bytes | None: ...


_NESTING_LIMIT = 4


class Candidate:
    """An image in an archive: its checked `manifest` and `config` documents, `platform`, and `above`: the
    documents of the indexes that led to it, outermost first."""

    __slots__ = ("above", "config", "manifest", "platform")

    def __init__(
        self, manifest: Document, config: Document, above: tuple[Document, ...], described: Platform | None = None
    ) -> None:
        self.manifest = manifest
        self.config = config
        self.above = above
        view: configs.Config = config.view
        self.platform = view.platform(described)


def blob_name(digest: str) -> str:
    """Return the name of a blob in a layout; raises InvalidInput for an invalid digest."""
    algorithm, _, digits = digests.check(digest).partition(":")
    return f"blobs/{algorithm}/{digits}"


class InArchive:
    """The documents of an archive, as `choose` asks for them."""

    def __init__(self, bag: Bag) -> None:
        self.location = bag.path
        self.remote = False
        self._bag = bag

    def manifest(self, descriptor: Descriptor) -> bytes | None:
        """Return a manifest or an index, None when the archive lacks it."""
        return self._blob(descriptor, "manifest")

    def config(self, descriptor: Descriptor) -> bytes | None:
        """Return a configuration, None when the archive lacks it."""
        return self._blob(descriptor, "configuration")

    def _blob(self, descriptor: Descriptor, what: str) -> bytes | None:
        data = self._bag.document(blob_name(descriptor.digest))
        if data is None:
            return None
        check_length(descriptor, len(data), what)
        digests.verify(data, descriptor.digest, what)
        return data


class _Offer:
    """A candidate image; the platform in its descriptor is used until the image is chosen."""

    __slots__ = ("above", "candidate", "descriptor", "platform")

    def __init__(
        self, descriptor: Descriptor, platform: Platform, above: tuple[Document, ...], candidate: Candidate | None
    ) -> None:
        self.descriptor = descriptor
        self.platform = platform
        self.above = above
        self.candidate = candidate


def choose(source: Documents, descriptors: Sequence[Descriptor], wanted: Sequence[Platform]) -> list[Candidate]:
    """Return the images that `descriptors` (alternatives of one target) offer for the platforms `wanted`.

    Without `wanted` it is the host's, or the only one there is; with `platform.ALL` every image that is there. Nothing
    is asked of `source` that does not decide. Raises NotFound when none fits or parts are missing.
    """
    offers = list(_offers(source, descriptors, (), 0, set()))
    candidates: list[Candidate] = []
    if platform.ALL in wanted:
        there = [one for one in offers if _opened(source, one) is not None]
        if not there:
            raise _no_image(source, descriptors)
        return list({one.descriptor.digest: one.candidate for one in there if one.candidate is not None}.values())
    for goal in wanted or [platform.host()]:
        candidate = _best(source, offers, goal)
        if candidate is None:
            there = [one for one in offers if source.remote or _opened(source, one)]
            if len(there) == 1 and not wanted and not (source.remote and there[0].above):
                candidate = _opened(source, there[0])
        if candidate is None:
            if not there:
                raise _no_image(source, descriptors)
            offered = sorted({str(one.platform) for one in there})
            raise PlatformMissing(
                f"requested platform ({goal}) not found in {source.location}",
                f"it has {', '.join(offered)}; choose with --platform",
                offered,
            )
        if all(candidate.manifest.digest != other.manifest.digest for other in candidates):
            candidates.append(candidate)
    return candidates


def _no_image(source: Documents, descriptors: Sequence[Descriptor]) -> NotFound:
    data = source.manifest(descriptors[0]) if source.remote else None
    if data is not None:
        from . import artefacts

        return artefacts.refusal(source.location, data)
    names = ", ".join(descriptor.digest for descriptor in descriptors[:3])
    return NotFound(f"{source.location} lacks the manifest {names}, or it is not an image's")


def _best(source: Documents, offers: list[_Offer], goal: Platform) -> Candidate | None:
    """Return the image that serves `goal` best among those that are there."""
    ranked = [(rank, n) for n, one in enumerate(offers) if (rank := platform.rank(goal, one.platform)) is not None]
    for _, number in sorted(ranked):
        candidate = _opened(source, offers[number])
        if candidate is not None:
            return candidate
    return None


def _opened(source: Documents, offer: _Offer) -> Candidate | None:
    """Return the image of an offer, None when it is not there or none."""
    if offer.candidate is None:
        data = source.manifest(offer.descriptor)
        if data is not None:
            offer.candidate = _candidate(source, data, offer.descriptor, offer.above)
    return offer.candidate


def _offers(
    source: Documents,
    descriptors: Sequence[Descriptor],
    above: tuple[Document, ...],
    depth: int,
    opened: set[str],
) -> Iterator[_Offer]:
    """Yield each image below `descriptors`; those whose platform is stated are not fetched for that.

    `opened` holds the indexes that have been looked into: once is enough, however often they are named.
    """
    if depth > _NESTING_LIMIT:
        raise InvalidInput(f"{source.location}: indexes are nested deeper than {_NESTING_LIMIT}")
    for descriptor in descriptors:
        if descriptor.is_attestation or descriptor.artifact_type or descriptor.digest in opened:
            continue
        known = not descriptor.media_type or descriptor.media_type in mediatype.MANIFESTS | mediatype.INDEXES
        if source.remote and above and not known:
            continue
        stated = descriptor.platform.normalised() if descriptor.platform else None
        if descriptor.media_type in mediatype.MANIFESTS and stated is not None and stated.architecture:
            yield _Offer(descriptor, stated, above, None)
            continue
        data = source.manifest(descriptor)
        if data is None:
            continue
        what = f"manifest {descriptor.digest}"
        value = decode(data, what)
        manifests.check_stated(value, descriptor.media_type or "", what)
        kind = manifests.kind(value, descriptor.media_type or "")
        if kind == "index":
            index = manifests.read_index(data, f"index {descriptor.digest}")
            opened.add(descriptor.digest)
            yield from _offers(source, index.view.manifests, (*above, index), depth + 1, opened)
        elif kind == "manifest":
            candidate = _candidate(source, data, descriptor, above)
            if candidate is not None:
                yield _Offer(
                    descriptor, stated if stated and stated.architecture else candidate.platform, above, candidate
                )
        elif not source.remote:
            raise InvalidInput(f"{what}: neither an image manifest nor an index")


def _candidate(source: Documents, data: bytes, descriptor: Descriptor, above: tuple[Document, ...]) -> Candidate | None:
    """Return the image of a manifest, None when it is something else than an image (a chart, a signature)."""
    what = f"manifest {descriptor.digest}"
    manifest = manifests.read_manifest(data, what)
    manifests.check_stated(manifest.value, descriptor.media_type or "", what)
    manifest.digest = descriptor.digest
    view: manifests.Manifest = manifest.view
    if view.config.media_type and view.config.media_type not in mediatype.CONFIGS:
        return None
    layers = view.layers or []
    for number, layer in enumerate(layers):
        if not mediatype.is_layer(layer.media_type or mediatype.OCI_LAYER):
            if source.remote:
                return None  # signatures and older artefacts have an image's configuration
            raise InvalidInput(
                f"{what}: $.layers[{number}].mediaType: {layer.media_type!r:.80} is not the media type of a layer"
            )
    config_data = source.config(view.config)
    if config_data is None:
        raise NotFound(f"{source.location} lacks the configuration {view.config.digest}")
    config = configs.read(config_data, f"configuration {view.config.digest}")
    if len(layers) != len(config.view.diff_ids):
        raise Corrupt(
            f"{what}: $.layers has {len(layers)} layers, the configuration's $.rootfs.diff_ids has "
            f"{len(config.view.diff_ids)}"
        )
    # sha512 configurations keep the name they came under.
    config.digest = view.config.digest
    return Candidate(manifest, config, above, descriptor.platform.normalised() if descriptor.platform else None)
