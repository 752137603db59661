"""Media types of image documents and layers, docker's and the OCI's, and what each says about its content."""

from __future__ import annotations

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"

DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"

INDEXES = frozenset((OCI_INDEX, DOCKER_INDEX))
MANIFESTS = frozenset((OCI_MANIFEST, DOCKER_MANIFEST))
CONFIGS = frozenset((OCI_CONFIG, DOCKER_CONFIG))


def is_layer(media_type: str) -> bool:
    """Tell whether a descriptor of this type stands for a file system layer (foreign and non-distributable
    too)."""
    return media_type.startswith(
        (
            OCI_LAYER,
            DOCKER_LAYER,
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
        )
    )


def is_foreign(media_type: str) -> bool:
    """Tell whether a layer of this type may lie outside its registry, and may not be handed on by everyone."""
    return "nondistributable" in media_type or ".foreign." in media_type


def layer_for(compression: str) -> str:
    """Return the OCI media type of a layer under `compression` (none, gzip, zstd); raises KeyError for
    others.

    The OCI registers no type for xz and bzip2.
    """
    return {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}[compression]


def docker_layer_for(compression: str) -> str:
    """Return docker's media type of a layer under `compression` (none, gzip); the OCI's for what docker has none for."""
    return {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP}.get(compression) or layer_for(compression)
