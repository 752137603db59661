"""Signatures without a key of one's own: sigstore bundles whose certificate names who signed, by the package `sigstore`."""

from __future__ import annotations

from ...errors import HelperMissing, InvalidInput, NotFound
from .certificates import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .requirements import Keyless
    from .signature_search import StoredSignature


def verified(candidate: StoredSignature, requirement: Keyless) -> str:
    """Return who has signed a bundle, verified without a network. Raises Refused, HelperMissing (the package is not
    installed), InvalidInput and NotFound (the file of roots)."""
    if not candidate.bundle:
        raise Refused("a signature is no sigstore bundle")
    try:
        from sigstore.errors import Error
        from sigstore.models import Bundle, TrustedRoot
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity
    except ImportError:
        raise HelperMissing(
            "signatures without a key cannot be verified: the Python package sigstore is not installed",
            "pip install 'underlay[keyless]'",
        ) from None
    try:
        verifier = Verifier(trusted_root=TrustedRoot.from_file(requirement.trusted_root))
    except FileNotFoundError:
        raise NotFound(f"open {requirement.trusted_root}: no such file or directory") from None
    except (OSError, ValueError, Error) as error:
        raise InvalidInput(f"{requirement.trusted_root} is no file of trusted roots: {error}"[:300]) from None
    who = Identity(identity=requirement.identity, issuer=requirement.issuer)
    try:
        _, payload = verifier.verify_dsse(Bundle.from_json(candidate.bundle), who)
    except (Error, ValueError) as error:
        raise Refused(f"a bundle does not verify: {error}"[:300]) from None
    if payload != candidate.payload:
        raise Refused("a bundle holds two statements")
    return f"{requirement.identity} ({requirement.issuer})"
