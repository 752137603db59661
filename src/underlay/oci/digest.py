"""Digests as text, `sha256:<hex>`: checked strictly before they become part of a path, and compared while
copying."""

from __future__ import annotations

from ..errors import DigestMismatch, InvalidInput
from ..lean import hashing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Hash(Protocol):
        """What `hashlib` gives: bytes go in with `update`, `hexdigest` tells the sum."""

        def update(self, data: bytes | memoryview, /) -> None: ...

        def hexdigest(self) -> str: ...


# Registered algorithms whose strength is enough (OCI image specification, descriptor.md, "Registered
# Algorithms"), with the number of hexadecimal digits of each.
ALGORITHMS = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


def is_digest(text: str) -> bool:
    """Tell whether `text` is a digest in full, of a known algorithm, in lower case."""
    algorithm, _, digits = text.partition(":")
    return ALGORITHMS.get(algorithm) == len(digits) and _HEX.issuperset(digits)


def check(text: str, what: str = "digest") -> str:
    """Return `text` when it is a digest; raises InvalidInput naming `what` it was meant for otherwise.

    Only text that passed here may become part of a path: the grammar leaves no room for `/` or `..`.
    """
    if not is_digest(text):
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise InvalidInput(f"{what}: {shown!r} is not a digest", "digests look like sha256:<64 hexadecimal digits>")
    return text


def digits(digest: str) -> str:
    """Return the hexadecimal part of a digest."""
    return digest.partition(":")[2]


def hasher(algorithm: str = "sha256") -> Hash:
    """Return a new hash of `algorithm` (a name, or a digest that begins with one)."""
    import hashlib

    return hashlib.sha512() if algorithm.startswith("sha512") else hashlib.sha256()


def of(data: bytes) -> str:
    """Return the sha256 digest of `data`, which is a document rather than a layer."""
    return "sha256:" + hashing.sha256(data).hexdigest()


def verify(data: bytes, expected: str, what: str) -> None:
    """Raise DigestMismatch, naming both, unless `data` has the digest `expected`."""
    state = hasher(expected)
    state.update(data)
    actual = expected.partition(":")[0] + ":" + state.hexdigest()
    if actual != expected:
        raise DigestMismatch(f"{what}: wrong digest", expected, actual)
