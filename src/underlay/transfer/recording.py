"""Making chosen images part of the store: their layers, documents and names, visible in one step."""

from __future__ import annotations

from ..oci import document, mediatype, reference
from ..oci import platform as platforms
from ..store import blobs, layers, rootfs
from ..store.rows import images
from ..store.rows import layers as layer_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..oci.platform import Platform
    from ..oci.reference import Reference
    from ..paths import Paths
    from ..store.rows.meta import Meta
    from .arrivals import Arrivals, Wanted
    from .choose import Candidate


def record(
    paths: Paths,
    meta: Meta,
    arrivals: Arrivals,
    chosen: Sequence[tuple[Candidate, Sequence[Wanted]]],
    names: Sequence[Reference],
    form: str,
    target: str = "",
    remote: bool = False,
) -> tuple[str, str, list[tuple[str, str]]]:
    """Bring the layers of the images of one target, and record them under `names`.

    `target` is the digest that the names stand for, by default that of the first manifest; `remote` says that they came
    from a registry. Returns the id of the image
    for this host, the target, and (name, id of the image that lost it) for each name that moved. Raises what
    `Arrivals.bring` and `rootfs.prepare` raise; nothing is visible then.
    """
    new: list[images.NewImage] = []
    for candidate, wanted in chosen:
        brought = arrivals.bring(wanted)
        chain = rootfs.prepare(paths, form, [layer.diff_id for layer in brought])
        config = candidate.config
        blobs.put(paths, config.data, config.digest)
        data = candidate.manifest.data or made_manifest(
            config.digest, len(config.data), [(layer.diff_id, layer.size, "none") for layer in brought]
        )
        manifest = blobs.put(paths, data, candidate.manifest.digest if candidate.manifest.data else "")
        above = [blobs.put(paths, index.data, index.digest) for index in candidate.above]
        new.append(
            images.NewImage(
                config.digest,
                manifest,
                candidate.platform,
                config.view.created or "",
                brought,
                [config.digest, manifest, *above],
                chain,
            )
        )
        target = target or manifest
    main = new[platforms.for_host([one.platform for one in new])]
    given = [(name, target, main.id) for name in names]
    for other in new:
        if other is not main:
            # Images of the same target for other platforms are known by the digest only.
            given += [(reference.Reference(n.domain, n.path), target, other.id) for n in names]
    return main.id, target, images.record(meta, new, given, remote)


def record_stacked(
    paths: Paths,
    meta: Meta,
    form: str,
    config: bytes,
    manifest: bytes,
    diff_ids: Sequence[str],
    platform: Platform,
    created: str,
    names: Sequence[Reference],
) -> str:
    """Record an image whose layers are in the store under `names`; returns its id. Raises NotFound when a layer is not."""
    stored_layers = []
    for diff_id in diff_ids:
        known = layer_rows.facts(meta, diff_id)
        stored_layers.append(layer_rows.Layer(diff_id, *(known or layers.measure(paths, diff_id))))
    chain = rootfs.prepare(paths, form, list(diff_ids))
    image_id, digest = blobs.put(paths, config), blobs.put(paths, manifest)
    made = images.NewImage(image_id, digest, platform, created, stored_layers, [image_id, digest], chain)
    images.record(meta, [made], [(name, digest, image_id) for name in names])
    return image_id


def made_manifest(
    config_digest: str,
    config_size: int,
    layers: Sequence[tuple[str, int, str]],
    annotations: dict[str, str] | None = None,
) -> bytes:
    """Return an OCI manifest for an image that came without one; `layers` are (digest, size, compression).

    The same image gives the same bytes everywhere, so its digest is worth showing.
    """
    return document.encode(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": {"mediaType": mediatype.OCI_CONFIG, "digest": config_digest, "size": config_size},
            "layers": [
                {"mediaType": mediatype.layer_for(compression), "digest": layer, "size": size}
                for layer, size, compression in layers
            ],
            **({"annotations": annotations} if annotations else {}),
        }
    )
