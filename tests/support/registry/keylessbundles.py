"""Sigstore bundles without a key of one's own, made for tests: a whole Fulcio, Rekor and log of certificates, offline."""

from __future__ import annotations

import datetime
import hashlib
import json
import struct
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

import signing
from remoteimages import encoded
from signing import BUNDLE, EMAIL, ISSUER, Authority

_SCTS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


class Sigstore(Authority):
    """An authority with a log of the certificates that it issues, and what verifies both: `trusted_root`."""

    def __init__(self) -> None:
        super().__init__()
        self.certificate_log = signing.private()

    def trusted_root(self) -> bytes:
        start = {"start": "2020-01-01T00:00:00Z"}
        return encoded(
            {
                "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
                "tlogs": [_log(self.log, start)],
                "ctlogs": [_log(self.certificate_log, start)],
                "certificateAuthorities": [
                    {
                        "subject": {"organization": "test", "commonName": "test"},
                        "uri": "https://fulcio.example.org",
                        "certChain": {"certificates": [{"rawBytes": signing.text(_der(self.root))}]},
                        "validFor": start,
                    }
                ],
                "timestampAuthorities": [],
            }
        )

    def logged_certificate(self, key: Any, email: str = EMAIL, issuer: str = ISSUER) -> x509.Certificate:
        """A certificate with the word of the log of certificates (RFC 6962, precertificates) that it was logged."""
        begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(minutes=10))
            .add_extension(signing.key_usage(), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), True)
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), issuer.encode()), False
            )
        )
        before = builder.sign(self.key, hashes.SHA384()).tbs_certificate_bytes
        stamp = int(begin.timestamp() * 1000)
        entry = struct.pack("!32sBH", _spki_hash(self.key), len(before) >> 16, len(before) & 0xFFFF) + before
        over = struct.pack("!BBQH", 0, 0, stamp, 1) + entry + struct.pack("!H", 0)
        signature = signing.signed(self.certificate_log, over)
        word = (
            struct.pack("!B32sQHBBH", 0, _spki_hash(self.certificate_log), stamp, 0, 4, 3, len(signature)) + signature
        )
        listed = struct.pack("!HH", len(word) + 2, len(word)) + word
        octets = bytes([0x04, 0x81, len(listed)] if len(listed) > 127 else [0x04, len(listed)]) + listed
        return builder.add_extension(x509.UnrecognizedExtension(_SCTS, octets), False).sign(self.key, hashes.SHA384())

    def bundle(self, body: bytes, key: Any, certificate: x509.Certificate) -> bytes:
        """A bundle (0.3) with a statement, its certificate, and its entry as the only one of the log."""
        envelope = signing.envelope(body, key)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        noted = {
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(encoded(envelope)).hexdigest()},
                "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(body).hexdigest()},
                "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": signing.text(pem)}],
            },
        }
        canonical = encoded(noted)
        top = hashlib.sha256(b"\0" + canonical).digest()
        note = f"rekor.example.org - 1\n1\n{signing.text(top)}\n"
        hint = _spki_hash(self.log)
        mark = signing.text(hint[:4] + signing.signed(self.log, note.encode()))
        time = int(
            (
                datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1) + datetime.timedelta(minutes=5)
            ).timestamp()
        )
        promised = json.dumps(
            {"body": signing.text(canonical), "integratedTime": time, "logID": hint.hex(), "logIndex": 0},
            sort_keys=True,
            separators=(",", ":"),
        )
        entry = {
            "logIndex": "0",
            "logId": {"keyId": signing.text(hint)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(time),
            "inclusionPromise": {"signedEntryTimestamp": signing.text(signing.signed(self.log, promised.encode()))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": signing.text(top),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 rekor.example.org {mark}\n"},
            },
            "canonicalizedBody": signing.text(canonical),
        }
        material = {"certificate": {"rawBytes": signing.text(_der(certificate))}, "tlogEntries": [entry]}
        return encoded({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def _log(key: Any, start: dict[str, str]) -> dict[str, Any]:
    return {
        "baseUrl": "https://log.example.org",
        "hashAlgorithm": "SHA2_256",
        "publicKey": {
            "rawBytes": signing.text(_spki(key)),
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
            "validFor": start,
        },
        "logId": {"keyId": signing.text(_spki_hash(key))},
    }


def _spki(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data


def _spki_hash(key: Any) -> bytes:
    return hashlib.sha256(_spki(key)).digest()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
