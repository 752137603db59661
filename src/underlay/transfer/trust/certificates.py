"""Certificates of Fulcio and entries of Rekor that come with a signature, as containers-policy.json(5) demands them.

Extensions of certificates: Fulcio's OID information. An entry's timestamp ("SET") is a signature over the
canonical JSON (RFC 8785) of what was logged, and when.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib

from ...errors import HelperMissing
from ...lean import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .keys import PublicKey
    from .requirements import Fulcio

_ISSUER = "1.3.6.1.4.1.57264.1.1"  # a plain text
_ISSUER_V2 = "1.3.6.1.4.1.57264.1.8"  # a text as ASN.1 has it
_CHAIN_LIMIT = 8
_SET = frozenset(("SignedEntryTimestamp", "Payload"))
_PAYLOAD = {"body": str, "integratedTime": int, "logIndex": int, "logID": str}


class Refused(Exception):
    """A signature that does not count; the text says why."""


def key_of(leaf: bytes, chain: bytes, fulcio: Fulcio, time: datetime.datetime) -> Any:
    """Return the key of a certificate (PEM) that Fulcio issued to whom it should, valid at `time`. Raises Refused and
    HelperMissing."""
    from cryptography import x509
    from cryptography.x509 import verification

    if not hasattr(verification, "ExtensionPolicy"):
        raise HelperMissing(
            "certificates need the Python package cryptography 45 or newer", "pip install -U cryptography"
        )
    try:
        [certificate] = x509.load_pem_x509_certificates(leaf)
        intermediates = x509.load_pem_x509_certificates(chain) if chain.strip() else []
        roots = x509.load_pem_x509_certificates(fulcio.roots)
    except ValueError:
        raise Refused("its certificate cannot be read") from None
    if len(intermediates) > _CHAIN_LIMIT:
        raise Refused("its chain of certificates is too long")
    policy = (
        verification.PolicyBuilder()
        .store(verification.Store(roots))
        .time(time)
        .max_chain_depth(_CHAIN_LIMIT)
        .extension_policies(
            ca_policy=verification.ExtensionPolicy.webpki_defaults_ca(),
            ee_policy=verification.ExtensionPolicy.permit_all()
            .require_present(x509.ExtendedKeyUsage, verification.Criticality.AGNOSTIC, _signs_code)
            .require_present(x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None),
        )
    )
    try:
        policy.build_client_verifier().verify(certificate, [one for one in intermediates if one not in roots])
    except (verification.VerificationError, ValueError) as error:
        raise Refused(f"its certificate was not issued by the given authority: {error}"[:300]) from None
    issuer = _issuer(certificate)
    if issuer != fulcio.issuer:
        raise Refused(f"its certificate names the issuer {issuer!r:.100}, not {fulcio.issuer!r}")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    emails = names.get_values_for_type(x509.RFC822Name)
    if fulcio.email not in emails:
        raise Refused(f"its certificate is for {', '.join(emails) or 'no mail address'}, not for {fulcio.email}"[:300])
    return certificate.public_key()


def _signs_code(policy: Any, certificate: Any, extension: Any) -> None:
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if ExtendedKeyUsageOID.CODE_SIGNING not in extension:
        raise ValueError("the certificate is not for signing code")


def _issuer(certificate: Any) -> str:
    from cryptography import x509

    texts = []
    for oid in (_ISSUER_V2, _ISSUER):
        try:
            value = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier(oid)).value.value
        except x509.ExtensionNotFound:
            continue
        if oid == _ISSUER_V2:
            if len(value) < 2 or value[0] != 0x0C or value[1] != len(value) - 2 or value[1] > 0x7F:
                raise Refused("the issuer in its certificate cannot be read")
            value = value[2:]
        texts.append(value.decode("utf-8", "replace"))
    if len(set(texts)) > 1:
        raise Refused("its certificate names two issuers")
    return texts[0] if texts else ""


def logged(
    entry: bytes, log_keys: Sequence[PublicKey], key_or_certificate: bytes, signature: bytes, payload: bytes
) -> datetime.datetime:
    """Return when a signature was logged, as one of `log_keys` confirms. `entry` is what cosign writes beside a signature;
    `key_or_certificate` (DER), `signature` and `payload` are what it must be about. Raises Refused."""
    try:
        value = jsontext.loads(entry)
        if not isinstance(value, dict) or set(value) != _SET:
            raise ValueError
        logged_payload = value["Payload"]
        if not isinstance(logged_payload, dict) or set(logged_payload) != set(_PAYLOAD):
            raise ValueError
        if not all(type(logged_payload[name]) is kind for name, kind in _PAYLOAD.items()):
            raise ValueError
        stamp = base64.b64decode(str(value["SignedEntryTimestamp"]), validate=True)
        body = jsontext.loads(base64.b64decode(logged_payload["body"], validate=True))
    except (ValueError, RecursionError, binascii.Error):
        raise Refused("the entry of the log that comes with it cannot be read") from None
    import json

    canonical = json.dumps(logged_payload, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    if not any(key.verifies(stamp, canonical) for key in log_keys):
        raise Refused("the entry of the log that comes with it is not signed by the given log")
    if not _is_about(body, key_or_certificate, signature, payload):
        raise Refused("the entry of the log that comes with it is about something else")
    try:
        return datetime.datetime.fromtimestamp(logged_payload["integratedTime"], datetime.UTC)
    except (ValueError, OverflowError, OSError):
        raise Refused("the entry of the log that comes with it has no time") from None


def _is_about(body: object, key_or_certificate: bytes, signature: bytes, payload: bytes) -> bool:
    """Tell whether an entry (hashedrekord 0.0.1) is about a signature, the key or certificate, and what was signed."""
    try:
        assert isinstance(body, dict)
        if (body["kind"], body["apiVersion"]) != ("hashedrekord", "0.0.1"):
            return False
        spec = body["spec"]
        digest = spec["data"]["hash"]
        noted_key = base64.b64decode(spec["signature"]["publicKey"]["content"], validate=True)
        noted_signature = base64.b64decode(spec["signature"]["content"], validate=True)
        return bool(
            digest["algorithm"] == "sha256"
            and digest["value"] == hashlib.sha256(payload).hexdigest()
            and noted_signature == signature
            and pem_body(noted_key) == key_or_certificate
        )
    except (LookupError, TypeError, ValueError, AssertionError):
        return False


def pem_body(data: bytes) -> bytes:
    """Return what a single PEM block holds. Raises ValueError for anything else."""
    lines = data.strip().splitlines()
    if len(lines) < 3 or not lines[0].startswith(b"-----BEGIN ") or not lines[-1].startswith(b"-----END "):
        raise ValueError("no PEM block")
    return base64.b64decode(b"".join(lines[1:-1]), validate=True)
