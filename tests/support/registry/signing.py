"""Signatures of images as cosign and skopeo write them, made for tests: keys, payloads, logs, certificates, bundles."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fakeregistry import FakeRegistry
from remoteimages import MANIFEST, encoded, sha
from visitors import Visitor

SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGN = "https://sigstore.dev/cosign/sign/v1"
ISSUER, EMAIL = "https://accounts.example.org", "dev@example.org"


def private(kind: str = "p256") -> Any:
    """A new private key: p256, p384, ed25519, rsa or rsa1024."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, 1024 if kind == "rsa1024" else 2048)
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}[kind])


def pem(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return data


def fingerprint(key: Any) -> str:
    """The SHA-256 of the public half, as keys are named by (hex)."""
    data = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(data).hexdigest()


def public(key: Any, path: Path) -> str:
    """Write the public half of a key, and return the path."""
    path.write_bytes(pem(key))
    return str(path)


def signed(key: Any, data: bytes) -> bytes:
    signature: bytes
    if isinstance(key, ed25519.Ed25519PrivateKey):
        signature = key.sign(data)
    elif isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    return signature


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def payload(digest: str, reference: str, kind: str = "cosign container image signature") -> bytes:
    """What cosign signs of an image."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return encoded({"critical": critical, "optional": None})


def store(
    registry: FakeRegistry, repository: str, layers: list[tuple[dict[str, Any], bytes]], tag: str = "", **more: Any
) -> str:
    """Put a manifest of these layers (descriptor, bytes) into a repository; return its digest."""
    place = registry.repository(repository)
    config = encoded({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}})
    described = []
    for descriptor, data in layers:
        place.blobs[sha(data)] = data
        described.append({**descriptor, "digest": sha(data), "size": len(data)})
    place.blobs[sha(config)] = config
    config_type = more.pop("config_type", "application/vnd.oci.image.config.v1+json")
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[False],
        "config": {"mediaType": config_type, "digest": sha(config), "size": len(config)},
        "layers": described,
        **more,
    }
    data = encoded(value)
    place.documents[sha(data)] = (MANIFEST[False], data)
    if tag:
        place.tags[tag] = sha(data)
    return sha(data)


def tag_of(digest: str, suffix: str = ".sig") -> str:
    return digest.replace(":", "-") + suffix


def subject(registry: FakeRegistry, repository: str, digest: str) -> dict[str, Any]:
    media_type, data = registry.repository(repository).documents[digest]
    return {"mediaType": media_type, "digest": digest, "size": len(data)}


def sign(
    registry: FakeRegistry,
    repository: str,
    digest: str,
    key: Any,
    reference: str = "",
    signature: bytes | None = None,
    body: bytes | None = None,
    referrer: bool = False,
    **annotations: str,
) -> str:
    """Sign a manifest as `cosign sign` does, under its tag or as a referrer; return the digest of what was stored."""
    body = body if body is not None else payload(digest, reference or f"{registry.host}/{repository}")
    noted = {"dev.cosignproject.cosign/signature": text(signature or signed(key, body))}
    noted |= {f"dev.sigstore.cosign/{name}": value for name, value in annotations.items()}
    layers = [({"mediaType": SIMPLE, "annotations": noted}, body)]
    if not referrer:
        return store(registry, repository, layers, tag_of(digest))
    return store(
        registry,
        repository,
        layers,
        config_type="application/vnd.dev.cosign.artifact.sig.v1+json",
        subject=subject(registry, repository, digest),
    )


def statement(digest: str, predicate_type: str = SIGN, predicate: object = None, name: str = "") -> bytes:
    """An in-toto statement about an image."""
    about = {**({"name": name} if name else {}), "digest": {"sha256": digest.partition(":")[2]}}
    return encoded(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [about],
            "predicateType": predicate_type,
            "predicate": predicate or {},
        }
    )


def envelope(body: bytes, key: Any) -> dict[str, Any]:
    kind = "application/vnd.in-toto+json"
    pae = f"DSSEv1 {len(kind)} {kind} {len(body)} ".encode() + body
    return {"payload": text(body), "payloadType": kind, "signatures": [{"sig": text(signed(key, pae))}]}


def bundle(registry: FakeRegistry, repository: str, digest: str, body: bytes, key: Any) -> str:
    """Attach a sigstore bundle (0.3) with a statement as a referrer of `digest`."""
    value = {
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
        "dsseEnvelope": envelope(body, key),
    }
    return attach_bundle(registry, repository, digest, encoded(value))


def attach_bundle(registry: FakeRegistry, repository: str, digest: str, data: bytes) -> str:
    """Put a bundle into a repository, as a referrer of `digest`."""
    return store(
        registry,
        repository,
        [({"mediaType": BUNDLE}, data)],
        artifactType=BUNDLE,
        subject=subject(registry, repository, digest),
    )


def attest(registry: FakeRegistry, repository: str, digest: str, body: bytes, key: Any) -> str:
    """Attach a statement as `cosign attest` does."""
    noted = {"dev.cosignproject.cosign/signature": "", "predicateType": json.loads(body)["predicateType"]}
    layer = {"mediaType": "application/vnd.dsse.envelope.v1+json", "annotations": noted}
    return store(registry, repository, [(layer, encoded(envelope(body, key)))], tag_of(digest, ".att"))


class Authority:
    """An authority that issues certificates as Fulcio does, and a log as Rekor is."""

    def __init__(self) -> None:
        self.key = private("p384")
        self.log = private()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fulcio of a test")])
        now = datetime.datetime.now(datetime.UTC)
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(True, 0), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(key_usage(signs_certificates=True), True)
            .sign(self.key, hashes.SHA384())
        )

    def pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)

    def certificate(
        self,
        key: Any,
        email: str = EMAIL,
        issuer: str = ISSUER,
        days: float = 1,
        usage: Any = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> bytes:
        """A certificate (PEM) that is valid for ten minutes, `days` ago."""
        begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(minutes=10))
            .add_extension(key_usage(), True)
            .add_extension(x509.ExtendedKeyUsage([usage]), False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False)
            .add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), True)
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1"), issuer.encode()), False
            )
            .sign(self.key, hashes.SHA384())
        )
        return made.public_bytes(serialization.Encoding.PEM)

    def entry(self, key_or_certificate: bytes, signature: bytes, body: bytes, days: float = 1) -> str:
        """The entry of the log that cosign keeps beside a signature, made five minutes after the certificate."""
        spec = {
            "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(body).hexdigest()}},
            "signature": {"content": text(signature), "publicKey": {"content": text(key_or_certificate)}},
        }
        noted = {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}
        time = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days) + datetime.timedelta(minutes=5)
        value = {
            "body": text(encoded(noted)),
            "integratedTime": int(time.timestamp()),
            "logIndex": 7,
            "logID": "c0" * 32,
        }
        canonical = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        return json.dumps({"SignedEntryTimestamp": text(signed(self.log, canonical)), "Payload": value})


def key_usage(signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def refused(visitor: Visitor, *words: str) -> str:
    """What a command says that must be refused: one line and a hint, and nothing is kept."""
    said = visitor(*words, code=1).stderr.decode()
    assert said.startswith("underlay: ") and "Traceback" not in said
    assert visitor.out("images", "-aq") == ""
    return said
