"""What may be demanded of an image before it is taken: nothing, everything is refused, or a signature."""

from __future__ import annotations

from ...lean.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .identity import Identity
    from .keys import PublicKey


class Accept(Value):
    """Anything is taken (insecureAcceptAnything)."""


class Reject(Value):
    """Nothing is taken (reject)."""


class Fulcio(Value):
    """Certificates that an instance of Fulcio issued: its `roots` (PEM), and whom it must have seen: the `email` at the
    identity provider `issuer`."""

    roots: bytes
    issuer: str
    email: str


class Signed(Value, kw_only=True):
    """A signature by one of `keys`, or with a certificate of `fulcio`; with `log_keys` it must have been logged (Rekor).
    `identity` says which name of the image the signature must state, None for its repository."""

    keys: tuple[PublicKey, ...] = ()
    fulcio: Fulcio | None = None
    log_keys: tuple[PublicKey, ...] = ()
    identity: Identity | None = None


class Keyless(Value):
    """A sigstore bundle with a certificate for `identity` (a mail address or a URI) by the provider `issuer`; the roots of
    Fulcio, Rekor and the log of certificates are those of the file `trusted_root`."""

    identity: str
    issuer: str
    trusted_root: str


if TYPE_CHECKING:
    Requirement = Accept | Reject | Signed | Keyless
