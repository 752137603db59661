"""Removing tags and manifests from a registry (OCI distribution specification, "Content Management")."""

from __future__ import annotations

from ...errors import Conflict, NotFound, Unsupported
from ...registry.upload import Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...oci.reference import Reference
    from ...registry.registries import Registries


class Deleted:
    """The result of a deletion: `digest` of the manifest, removed `tags`; `manifest` is false if only tags were removed."""

    __slots__ = ("digest", "manifest", "tags")

    def __init__(self, digest: str, tags: list[str], manifest: bool) -> None:
        self.digest = digest
        self.tags = tags
        self.manifest = manifest


# Tags that are asked whether they stand for the same manifest.
_TAGS = 1000


def delete(registries: Registries, reference: Reference, force: bool = False) -> Deleted:
    """Remove a tag, or with a digest a manifest and all its tags.

    Some registries cannot remove a tag alone. There the manifest is removed, if no other tag refers to it, or with
    `force`. Raises NotFound, Conflict, Unsupported, AccessDenied, RegistryError.
    """
    target = Target(registries, reference.domain, reference.path)
    head = target.head(reference.digest or reference.tag)
    if head is None:
        raise NotFound(f"{reference.familiar} does not exist in its registry")
    digest = reference.digest or head[0] or target.manifest(reference.tag).digest
    if not reference.digest:
        if target.delete_manifest(reference.tag):
            return Deleted(digest, [reference.tag], manifest=False)
        others = _others(target, reference, digest)
        if others and not force:
            raise Conflict(
                f"{reference.domain} cannot remove a tag alone, and the image has other tags: {', '.join(others[:5])}",
                "remove the manifest with all its tags with --force",
            )
    if not target.delete_manifest(digest):
        raise Unsupported(f"{reference.domain} does not allow to remove manifests", "its administrator can enable that")
    return Deleted(digest, [reference.tag] if not reference.digest else [], manifest=True)


def _others(target: Target, reference: Reference, digest: str) -> list[str]:
    """Return the other tags that refer to `digest`."""
    tags = [tag for tag in target.tags() if tag != reference.tag]
    if len(tags) > _TAGS:
        raise Conflict(
            f"{reference.familiar_repository} has {len(tags)} more tags, too many to ask whether they are the same image",
            "remove the manifest with all its tags with --force",
        )
    return [tag for tag in tags if (head := target.head(tag)) is not None and head[0] == digest]
