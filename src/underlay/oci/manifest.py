"""Manifests and indexes, docker's and the OCI's (OCI image specification, manifest.md and image-index.md)."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import InvalidInput, LimitExceeded
from . import descriptor, document, mediatype
from .descriptor import Descriptor

LAYERS_LIMIT = 1000  # docker refuses more than 127 of its own making, overlayfs 500; indexes merge any number
MANIFESTS_LIMIT = 10_000


class Manifest(msgspec.Struct, rename="camel"):
    """One image: its configuration and its layers, lowest first."""

    config: Descriptor
    schema_version: int | None = None
    media_type: str | None = None
    layers: list[Descriptor] | None = None
    artifact_type: str | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str | None] | None = None


class Index(msgspec.Struct, rename="camel"):
    """Several manifests, usually one a platform."""

    schema_version: int | None = None
    media_type: str | None = None
    manifests: list[Descriptor] | None = None
    annotations: dict[str, str | None] | None = None


def read_manifest(data: bytes, what: str) -> document.Document:
    """Return the checked manifest in `data`; raises InvalidInput or LimitExceeded with its place named."""
    manifest = document.read(data, Manifest, what)
    view: Manifest = manifest.view
    _schema_two(view.schema_version, manifest, what)
    if view.media_type and view.media_type not in mediatype.MANIFESTS:
        raise InvalidInput(f"{what}: $.mediaType: {view.media_type!r:.80} is not a media type of manifests")
    layers = view.layers or []
    if len(layers) > LAYERS_LIMIT:
        raise LimitExceeded(f"{what}: more than {LAYERS_LIMIT} layers")
    descriptor.check(view.config, f"{what}: $.config")
    for number, layer in enumerate(layers):
        descriptor.check(layer, f"{what}: $.layers[{number}]")
    return manifest


def read_index(data: bytes, what: str) -> document.Document:
    """Return the checked index in `data`; raises InvalidInput or LimitExceeded with its place named."""
    index = document.read(data, Index, what)
    view: Index = index.view
    _schema_two(view.schema_version, index, what)
    if view.media_type and view.media_type not in mediatype.INDEXES:
        raise InvalidInput(f"{what}: $.mediaType: {view.media_type!r:.80} is not a media type of indexes")
    if view.manifests is None:
        raise InvalidInput(f"{what}: $.manifests is missing")
    if len(view.manifests) > MANIFESTS_LIMIT:
        raise LimitExceeded(f"{what}: more than {MANIFESTS_LIMIT} manifests")
    for number, entry in enumerate(view.manifests):
        descriptor.check(entry, f"{what}: $.manifests[{number}]")
    return index


def kind(value: object, media_type: str = "") -> str:
    """Tell what a decoded document is: `index`, `manifest`, `config`, or "" for anything else.

    The members decide; `media_type` (of the descriptor) is asked only when they allow several readings. A
    document with both `manifests` and `layers` is refused by the readers of either kind through its own media
    type.
    """
    if not isinstance(value, dict):
        return ""
    stated = value.get("mediaType")
    if not isinstance(stated, str) or not stated:
        stated = media_type
    if stated in mediatype.INDEXES:
        return "index"
    if stated in mediatype.MANIFESTS:
        return "manifest"
    if "manifests" in value:
        return "index"
    if "config" in value and "layers" in value:
        return "manifest"
    if "rootfs" in value or stated in mediatype.CONFIGS:
        return "config"
    return ""


def check_stated(value: object, stated: str, what: str) -> None:
    """Refuse a document whose own media type is another than the descriptor that leads to it has `stated`.

    Whoever judges by the one, a scanner or a signer, would have looked at something else. Raises InvalidInput.
    """
    own = value.get("mediaType") if isinstance(value, dict) else None
    if isinstance(own, str):
        check_same(own, stated, what, "mediaType")


def check_same(own: str, stated: str, what: str, member: str) -> None:
    """Refuse two media types of manifests or indexes that differ; `member` is where the first is from."""
    known = mediatype.INDEXES | mediatype.MANIFESTS
    if own in known and stated in known and own != stated:
        raise InvalidInput(f"{what}: its descriptor says that it is {stated}, but its {member} is {own}")


def media_type(value: dict[str, Any], stated: str = "") -> str:
    """Return the media type of a decoded manifest or index: its own word, else what was `stated`, else by its kind."""
    own = value.get("mediaType")
    if isinstance(own, str) and own:
        return own
    return stated or (mediatype.OCI_INDEX if kind(value) == "index" else mediatype.OCI_MANIFEST)


def _schema_two(version: int | None, parsed: document.Document, what: str) -> None:
    if version != 2:
        raise InvalidInput(f"{what}: $.schemaVersion: expected 2, found {version}")
    # One document must not be readable as two things (image specification, "unknown media type confusion"):
    # whoever checks a signature on one reading would run the other.
    if "manifests" in parsed.value and ("layers" in parsed.value or "config" in parsed.value):
        raise InvalidInput(f"{what}: it is both an index and a manifest")
