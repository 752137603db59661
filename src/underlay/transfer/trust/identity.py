"""Which name a signature must state: the forms of `signedIdentity` in containers-policy.json(5)."""

from __future__ import annotations

from ...errors import InvalidInput
from ...lean.values import Value
from ...oci import reference as references
from ...oci.reference import Reference

EXACT, REPOSITORY_OR_EXACT, REPOSITORY = "matchExact", "matchRepoDigestOrExact", "matchRepository"
EXACT_REFERENCE, EXACT_REPOSITORY, REMAP = "exactReference", "exactRepository", "remapIdentity"


class Identity(Value, kw_only=True):
    """One of those forms: its `kind`, the name of the exact ones, the prefixes of remapIdentity."""

    kind: str
    name: str = ""
    prefix: str = ""
    signed_prefix: str = ""


DEFAULT = Identity(kind=REPOSITORY_OR_EXACT)
SAME_REPOSITORY = Identity(kind=REPOSITORY)


def matches(identity: Identity, image: Reference, stated: str) -> bool:
    """Tell whether a signature that states the name `stated` may stand for `image`."""
    try:
        signed = references.parse_exact(stated)
    except InvalidInput:
        return False
    kind = identity.kind
    if kind == EXACT_REFERENCE:
        return str(signed) == str(references.parse_exact(identity.name))
    if kind == EXACT_REPOSITORY:
        return signed.repository == references.parse_exact(identity.name).repository
    if kind == REMAP:
        image = _remapped(identity, image)
        kind = REPOSITORY_OR_EXACT
    if kind == REPOSITORY or (kind == REPOSITORY_OR_EXACT and image.digest):
        return signed.repository == image.repository
    named = bool(image.tag or image.digest) and bool(signed.tag or signed.digest)
    return named and str(signed) == str(image)


def _remapped(identity: Identity, image: Reference) -> Reference:
    """Return the name with the prefix that signatures have; a prefix ends where a part of the name does."""
    rest = image.repository.removeprefix(identity.prefix)
    if image.repository != identity.prefix and not (rest != image.repository and rest.startswith("/")):
        return image
    moved = references.parse_exact(identity.signed_prefix + rest)
    return Reference(moved.domain, moved.path, image.tag, image.digest)
