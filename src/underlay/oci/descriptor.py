"""Descriptors: type, digest and size of content elsewhere (OCI image specification, descriptor.md)."""

from __future__ import annotations

import msgspec

from ..errors import DigestMismatch, InvalidInput
from . import annotations as keys
from . import digest, platform

MAXIMUM_SIZE = (1 << 63) - 1


class PlatformField(msgspec.Struct, rename={"os_version": "os.version"}):
    """The `platform` member of a descriptor in an index."""

    architecture: str | None = None
    os: str | None = None
    os_version: str | None = None
    variant: str | None = None

    def normalised(self) -> platform.Platform:
        """Return it with synonyms settled."""
        return platform.normalise(self.os or "", self.architecture or "", self.variant or "")


class Descriptor(msgspec.Struct, rename="camel"):
    """A reference to content by digest and size."""

    digest: str
    size: int
    media_type: str | None = None
    annotations: dict[str, str | None] | None = None
    platform: PlatformField | None = None
    artifact_type: str | None = None

    def annotation(self, key: str) -> str:
        """Return an annotation, "" when it is absent."""
        return (self.annotations or {}).get(key) or ""

    @property
    def is_attestation(self) -> bool:
        """Whether it stands for a statement about another manifest rather than for an image."""
        if self.annotation(keys.ATTESTATION):
            return True
        field = self.platform
        return field is not None and field.os == "unknown" and field.architecture == "unknown"


def check(descriptor: Descriptor, what: str) -> None:
    """Raise InvalidInput unless digest and size of `found` are possible; `what` is its place in the
    document."""
    digest.check(descriptor.digest, f"{what}.digest")
    if not 0 <= descriptor.size <= MAXIMUM_SIZE:
        raise InvalidInput(f"{what}.size: {descriptor.size} is not a size in bytes")


def check_length(descriptor: Descriptor, length: int, what: str) -> None:
    """Raise DigestMismatch unless content of `length` bytes is as long as its descriptor says."""
    if length != descriptor.size:
        raise DigestMismatch(f"{what} {descriptor.digest}: wrong size", f"{descriptor.size} bytes", length)
