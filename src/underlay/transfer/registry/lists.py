"""Manifest lists made by hand: drafts in the database, pushed or removed later."""

from __future__ import annotations

from typing import Any

import msgspec

from ...errors import Conflict, InvalidInput, NotFound
from ...oci import config as configs
from ...oci import digest as digests
from ...oci import document, mediatype
from ...oci import manifest as manifests
from ...oci.reference import Reference, parse
from ...registry.upload import Target
from ...store.rows import manifest_lists as drafts
from ..copy.opening import between_registries
from ..copy.walk import Request
from .remote import InRegistry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...events import Emit
    from ...oci.descriptor import Descriptor
    from ...registry.registries import Registries
    from ...store.rows.meta import Meta


class Entry(msgspec.Struct):
    """A manifest in a draft: the `reference` it comes from, its descriptor's members, and the platform."""

    reference: str
    digest: str
    size: int
    media_type: str
    platform: dict[str, Any]
    annotations: dict[str, str | None] = {}


def create(
    meta: Meta, registries: Registries, name: Reference, members: Sequence[Reference], amend: bool = False
) -> list[Entry]:
    """Begin a list of manifests that are in registries, or with `amend` add to it; returns its entries.

    Raises Conflict when there is such a draft, InvalidInput for an index as a member, NotFound, AccessDenied.
    """
    entries = _entries(meta, name)
    if entries and not amend:
        raise Conflict(f"refusing to amend an existing manifest list {name.familiar} with no --amend flag")
    for member in members:
        entry = _described(registries, member)
        entries = [other for other in entries if other.digest != entry.digest] + [entry]
    _write(meta, name, entries)
    return entries


def _described(registries: Registries, member: Reference) -> Entry:
    source, root, data, is_index = _looked_up(registries, member)
    if is_index:
        raise InvalidInput(
            f"{member.familiar} is itself a manifest list",
            "name its manifests by digest: `manifest inspect` shows them",
        )
    return _entry(source, root, data, member)


def _looked_up(registries: Registries, member: Reference) -> tuple[InRegistry, Descriptor, bytes, bool]:
    """Return where a member is, its descriptor and document, and whether that is an index."""
    source = InRegistry(registries.repository(member), member.familiar)
    root = source.root(member.digest or member.tag)
    data = source.documents[root.digest]
    return source, root, data, manifests.kind(document.decode(data, "manifest"), root.media_type or "") == "index"


def _entry(source: InRegistry, root: Descriptor, data: bytes, member: Reference) -> Entry:
    read = manifests.read_manifest(data, f"manifest {root.digest}")
    config_data = source.config(read.view.config)
    assert config_data is not None
    config: configs.Config = configs.read(config_data, f"configuration {read.view.config.digest}").view
    value = document.decode(config_data, "configuration")
    platform: dict[str, Any] = {"architecture": config.architecture, "os": config.os}
    for key in ("os.version", "os.features", "variant"):
        if value.get(key):
            platform[key] = value[key]
    media_type = manifests.media_type(read.value, root.media_type or "")
    return Entry(str(member), root.digest, root.size, media_type, platform)


def annotate(meta: Meta, name: Reference, member: Reference, changes: dict[str, Any]) -> None:
    """Change members of the platform of one entry: `architecture`, `os`, `os.features`, `os.version`, `variant`."""
    entries = _existing(meta, name)
    chosen = [
        entry
        for entry in entries
        if entry.reference == str(member) or (member.digest and entry.digest == member.digest)
    ]
    if not chosen:
        raise NotFound(f"manifest for image {member.familiar} does not exist in {name.familiar}")
    for entry in chosen:
        entry.platform.update(changes)
    _write(meta, name, entries)


def index(meta: Meta, name: Reference) -> bytes:
    """Return the document of a draft; an OCI index when all its manifests are the OCI's, else docker's list."""
    return _index(_existing(meta, name))


def _index(entries: Sequence[Entry], annotations: Mapping[str, str] | None = None) -> bytes:
    """Return the document of an index; one with annotations is the OCI's, for docker's has no place for them."""
    oci = bool(annotations) or all(entry.media_type == mediatype.OCI_MANIFEST for entry in entries)
    members = []
    for entry in entries:
        members.append({"mediaType": entry.media_type, "digest": entry.digest, "size": entry.size})
        if entry.platform:
            members[-1]["platform"] = entry.platform
        if entry.annotations:
            members[-1]["annotations"] = entry.annotations
    return document.encode(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_INDEX if oci else mediatype.DOCKER_INDEX,
            "manifests": members,
            **({"annotations": dict(annotations)} if annotations else {}),
        }
    )


def push(meta: Meta, registries: Registries, name: Reference, emit: Emit, purge: bool = False) -> str:
    """Push a draft, bringing its manifests into the repository where they are not; return the digest of the list."""
    digest = _sent(registries, name, _existing(meta, name), emit)
    if purge:
        remove(meta, [name])
    return digest


def combine(
    registries: Registries,
    name: Reference,
    members: Sequence[Reference],
    emit: Emit,
    annotations: Mapping[str, str] | None = None,
) -> str:
    """Push an index of manifests that are in registries, those of indexes one by one, without a draft; return its digest.

    Raises NotFound, AccessDenied, RegistryError.
    """
    return _sent(registries, name, _gathered(registries, members), emit, annotations)


def combined(registries: Registries, members: Sequence[Reference], annotations: Mapping[str, str] | None) -> bytes:
    """Return the document that `combine` would push; raises as it does."""
    return _index(_gathered(registries, members), annotations)


def _gathered(registries: Registries, members: Sequence[Reference]) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for member in members:
        source, root, data, is_index = _looked_up(registries, member)
        if not is_index:
            entries.setdefault(root.digest, _entry(source, root, data, member))
            continue
        read = manifests.read_index(data, member.familiar)
        for child, written in zip(read.view.manifests, read.value["manifests"], strict=True):
            of_child = str(Reference(member.domain, member.path, "", child.digest))
            media_type = child.media_type or mediatype.OCI_MANIFEST
            entry = Entry(of_child, child.digest, child.size, media_type, written.get("platform") or {})
            entry.annotations = written.get("annotations") or {}
            entries.setdefault(child.digest, entry)
    return list(entries.values())


def _sent(
    registries: Registries,
    name: Reference,
    entries: Sequence[Entry],
    emit: Emit,
    annotations: Mapping[str, str] | None = None,
) -> str:
    data = _index(entries, annotations)
    target = Target(registries, name.domain, name.path)
    for entry in entries:
        if target.head(entry.digest) is None:
            member = parse(entry.reference)
            origin = Reference(member.domain, member.path, "", entry.digest)
            between_registries(registries, origin, Reference(name.domain, name.path), Request(signatures=False), emit)
    stated = document.decode(data, "index")["mediaType"]
    target.put_manifest(data, stated, name.tag)
    return digests.of(data)


def remove(meta: Meta, names: Sequence[Reference]) -> list[Reference]:
    """Remove drafts; return those that were there."""
    return drafts.delete(meta, list(names))


def exists(meta: Meta, name: Reference) -> bool:
    """Return whether the draft exists."""
    return bool(drafts.find(meta, name))


def _existing(meta: Meta, name: Reference) -> list[Entry]:
    entries = _entries(meta, name)
    if not entries:
        raise NotFound(f"No such manifest: {name.familiar}", "create it with `underlay manifest create`")
    return entries


def _entries(meta: Meta, name: Reference) -> list[Entry]:
    text = drafts.find(meta, name)
    return msgspec.json.decode(text, type=list[Entry]) if text else []


def _write(meta: Meta, name: Reference, entries: Sequence[Entry]) -> None:
    drafts.put(meta, name, msgspec.json.encode(entries).decode())
