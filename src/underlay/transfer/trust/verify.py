"""Verifying the signatures of a manifest against what is demanded of it."""

from __future__ import annotations

from ...errors import Untrusted
from ...lean import jsontext
from ...oci import digest as digests
from . import identity as identities
from . import keys, signature_search
from .certificates import Refused, key_of, logged, pem_body
from .requirements import Accept, Keyless, Reject, Signed
from .signature_search import SignatureSearch, StoredSignature

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Sequence
    from typing import Any

    from ...oci.reference import Reference
    from ...registry.repository import Repository
    from .requirements import Requirement

_COSIGN_TYPE = "cosign container image signature"
_REASONS = 3  # told of signatures that did not count


class Verified:
    """What was verified of a manifest: by whom (`signers`), and the in-toto `statements` about it, each with its signer."""

    __slots__ = ("signers", "statements")

    def __init__(self, signers: list[str], statements: list[tuple[str, dict[str, Any]]]) -> None:
        self.signers = signers
        self.statements = statements


def verify(
    repository: Repository,
    reference: Reference,
    digest: str,
    requirements: Sequence[Requirement],
    attestations: bool = False,
) -> Verified:
    """Verify a manifest or index of a repository: every one of `requirements` must be met.

    `reference` is the name that it is asked for by. With `attestations` signed statements of all kinds count as signatures
    and are returned. Raises Untrusted with the reasons, HelperMissing (a package is not installed), Unsupported, and what
    registries raise.
    """
    digests.check(digest)
    demanded = [one for one in requirements if not isinstance(one, Accept)]
    if any(isinstance(one, Reject) for one in demanded):
        raise Untrusted(f"{reference.familiar} is rejected by the trust policy", "the policy names what is accepted")
    verified = Verified([], [])
    if not demanded:
        return verified
    search = SignatureSearch(repository)
    candidates = search.of(digest, attestations)
    for requirement in demanded:
        assert isinstance(requirement, Signed | Keyless)
        reasons: list[str] = []
        signers: list[str] = []
        for candidate in candidates:
            try:
                signer = _checked(candidate, reference, digest, requirement, attestations)
            except Refused as error:
                reasons.append(str(error))
                continue
            signers.append(signer)
            statement = signature_search.statement(candidate)
            if statement is not None:
                verified.statements.append((signer, statement))
        if not signers:
            raise _untrusted(reference, digest, requirement, reasons or search.problems)
        verified.signers += signers
    verified.signers = list(dict.fromkeys(verified.signers))
    return verified


def _untrusted(reference: Reference, digest: str, requirement: Signed | Keyless, reasons: list[str]) -> Untrusted:
    who = " or ".join(map(str, requirement.keys)) if isinstance(requirement, Signed) else requirement.identity
    if isinstance(requirement, Signed) and requirement.fulcio is not None:
        who = requirement.fulcio.email
    different = list(dict.fromkeys(reasons))
    why = "; ".join(different[:_REASONS]) if different else "there is no signature beside it"
    return Untrusted(
        f"{reference.familiar} ({digest[:19]}) is not signed by {who}: {why}",
        "nothing was taken; ask whoever publishes the image for its key",
    )


def _checked(
    candidate: StoredSignature, reference: Reference, digest: str, requirement: Signed | Keyless, attestations: bool
) -> str:
    """Return who has signed. Raises Refused."""
    if isinstance(requirement, Keyless):
        from . import keyless

        signer = keyless.verified(candidate, requirement)
        wanted = identities.SAME_REPOSITORY
    else:
        signer = _signer(candidate, requirement)
        wanted = requirement.identity or identities.SAME_REPOSITORY
    # Only what is signed is read.
    explicit = isinstance(requirement, Signed) and requirement.identity is not None
    if candidate.form == signature_search.SIMPLE:
        _check_simple(candidate.payload, reference, digest, wanted)
    else:
        _check_statement(candidate.payload, reference, digest, wanted if explicit else None, attestations)
    return signer


def _signer(candidate: StoredSignature, requirement: Signed) -> str:
    if requirement.fulcio is not None:
        if candidate.bundle or not candidate.certificate:
            raise Refused("a signature has no certificate beside it")
        leaf = _der(candidate.certificate)
        time = _logged(candidate, requirement, leaf)
        key = key_of(candidate.certificate, candidate.chain, requirement.fulcio, time)
        if not any(keys.verifies(key, signature, candidate.signed) for signature in candidate.signatures):
            raise Refused("a signature is not that of its certificate")
        return f"{requirement.fulcio.email} ({requirement.fulcio.issuer})"
    for key in requirement.keys:
        if any(key.verifies(signature, candidate.signed) for signature in candidate.signatures):
            if requirement.log_keys:
                _logged(candidate, requirement, key.der())
            return str(key)
    raise Refused("a signature was made with another key")


def _logged(candidate: StoredSignature, requirement: Signed, key_or_certificate: bytes) -> datetime.datetime:
    if not candidate.log:
        raise Refused("a signature has no entry of a log beside it")
    return logged(candidate.log, requirement.log_keys, key_or_certificate, candidate.signatures[0], candidate.signed)


def _der(certificate: bytes) -> bytes:
    try:
        return pem_body(certificate)
    except ValueError:
        raise Refused("its certificate cannot be read") from None


def _check_simple(payload: bytes, reference: Reference, digest: str, wanted: identities.Identity) -> None:
    """Check that a payload of simple signing is about this image, under this name. Raises Refused."""
    try:
        value: Any = jsontext.loads(payload)
        critical = value["critical"]
        kind = critical["type"]
        signed_digest = critical["image"]["docker-manifest-digest"]
        stated = critical["identity"]["docker-reference"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise Refused("a signature is over something else than an image") from None
    if kind != _COSIGN_TYPE or not isinstance(stated, str):
        raise Refused(f"a signature is of the type {kind!r:.60}")
    if signed_digest != digest:
        raise Refused(f"a signature is that of another image ({str(signed_digest)[:19]})")
    if not identities.matches(wanted, reference, stated):
        raise Refused(f"a signature names {stated[:200]}")


def _check_statement(
    payload: bytes, reference: Reference, digest: str, wanted: identities.Identity | None, attestations: bool
) -> None:
    """Check that a statement (in-toto) is about this image; with `wanted`, that it names it so. Raises Refused."""
    try:
        value: Any = jsontext.loads(payload)
        subjects = value["subject"]
        kind = value["predicateType"]
        algorithm, _, digits = digest.partition(":")
        about = [subject for subject in subjects if subject["digest"].get(algorithm) == digits]
        names = [str(subject.get("name") or "") for subject in about]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Refused("a signature is over something else than a statement about an image") from None
    if not about:
        raise Refused("a signature is that of another image")
    if kind != "https://sigstore.dev/cosign/sign/v1" and not attestations:
        raise Refused(f"a signature is over a statement of the type {kind!r:.80}")
    if wanted is not None and not any(identities.matches(wanted, reference, name) for name in names):
        named = ", ".join(filter(None, names))[:200] or "no image"
        raise Refused(f"the signed statement is about {named}, and the policy demands the name of this image")
