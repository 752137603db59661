"""Signatures that are kept beside an image in its repository: under cosign's tags, and as referrers.

Forms: sigstore/cosign, specs/SIGNATURE_SPEC.md and BUNDLE_SPEC.md (tag `sha256-….sig`, simple signing); DSSE
(secure-systems-lab/dsse, protocol.md); sigstore bundles (sigstore/protobuf-specs), version 0.3 and before.
"""

from __future__ import annotations

import base64
import binascii

from ...errors import NotFound, UnderlayError
from ...lean import jsontext
from ...oci import document
from ...oci import manifest as manifests
from ...oci.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...registry.repository import Repository

SIMPLE, STATEMENT = "simple signing", "statement"
_SIMPLE_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
_DSSE_LAYER = "application/vnd.dsse.envelope.v1+json"
_ARTIFACT = "application/vnd.dev.cosign.artifact.sig.v1+json"
_BUNDLE = "application/vnd.dev.sigstore.bundle"
_IN_TOTO = "application/vnd.in-toto+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CERTIFICATE, _CHAIN, _LOG = (
    "dev.sigstore.cosign/certificate",
    "dev.sigstore.cosign/chain",
    "dev.sigstore.cosign/bundle",
)
_DOCUMENT_LIMIT = 8 << 20  # bytes of one payload or bundle
_MANIFESTS_LIMIT = 50  # that are looked at for one image
_LAYERS_LIMIT = 100  # of one of them
_DOCUMENTS_LIMIT = 200  # that are fetched in all
_BYTES_LIMIT = 64 << 20  # of all of them together


class StoredSignature:
    """A signature as it is stored, not verified: its `form` (SIMPLE, STATEMENT), what it is over (`signed`),
    the `payload` that it speaks of, the `signatures` (bytes) of which one is enough; the `certificate` and its
    `chain` (PEM), the `log` entry (JSON), b"" for none; and the sigstore `bundle` that it came in (JSON), b"" for none."""

    __slots__ = ("bundle", "certificate", "chain", "form", "log", "payload", "signatures", "signed")

    def __init__(self, form: str, signed: bytes, payload: bytes, signatures: list[bytes]) -> None:
        self.form = form
        self.signed = signed
        self.payload = payload
        self.signatures = signatures
        self.certificate = self.chain = self.log = self.bundle = b""


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """Return what a signature of DSSE is over ("PAE")."""
    name = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


class SignatureSearch:
    """The signatures in a repository. What is there and cannot be read is a sentence in `problems`."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._left = _BYTES_LIMIT
        self._documents = _DOCUMENTS_LIMIT
        self.problems: list[str] = []

    def of(self, digest: str, attestations: bool = False) -> list[StoredSignature]:
        """Return what stands beside the manifest or index `digest`, with `attestations` those of all kinds too. Raises what
        registries raise."""
        stem = digest.replace(":", "-", 1)
        signatures: list[StoredSignature] = []
        for suffix in (".sig", ".att") if attestations else (".sig",):
            signatures += self._in_manifest(stem + suffix, "")
        for descriptor in self._referrers(digest, stem):
            kind = descriptor.artifact_type or ""
            if kind == _ARTIFACT or kind.startswith(_BUNDLE):
                signatures += self._in_manifest(descriptor.digest, digest)
        return signatures

    def _referrers(self, digest: str, stem: str) -> list[Descriptor]:
        listed = self._repository.referrers(digest)
        if listed is None:
            # A registry without that interface has the list under a tag (OCI distribution, "Referrers Tag Schema").
            try:
                data = self._repository.manifest(stem).data
                listed = manifests.read_index(data, f"referrers of {digest}").view.manifests or []
            except NotFound:
                return []
        if len(listed) > _MANIFESTS_LIMIT:
            self.problems.append(f"{len(listed)} manifests refer to it; only {_MANIFESTS_LIMIT} are looked at")
        return listed[:_MANIFESTS_LIMIT]

    def _in_manifest(self, name: str, subject: str) -> Iterator[StoredSignature]:
        try:
            data = self._repository.manifest(name).data
            read = manifests.read_manifest(data, f"signature {name}")
            stated = read.value.get("subject")
            if subject and (not isinstance(stated, dict) or stated.get("digest") != subject):
                self.problems.append(f"{name} is listed as a signature of it, but has another subject")
                return
            view: manifests.Manifest = read.view
            layers = view.layers or []
        except NotFound:
            return
        except UnderlayError as error:
            self.problems.append(error.message)
            return
        if len(layers) > _LAYERS_LIMIT:
            self.problems.append(f"{name} holds {len(layers)} signatures; only {_LAYERS_LIMIT} are looked at")
        for layer in layers[:_LAYERS_LIMIT]:
            kind = layer.media_type or ""
            if kind not in (_SIMPLE_LAYER, _DSSE_LAYER) and not kind.startswith(_BUNDLE):
                continue
            try:
                if layer.size > self._left or not self._documents:
                    self.problems.append("there are too many signatures beside it")
                    return
                self._left -= layer.size
                self._documents -= 1
                payload = self._repository.document(layer, _DOCUMENT_LIMIT, "signature")
                yield _simple(layer, payload) if kind == _SIMPLE_LAYER else _enveloped(payload, layer)
            except (UnderlayError, ValueError, LookupError, TypeError, RecursionError) as error:
                reason = error.message if isinstance(error, UnderlayError) else "it cannot be read"
                self.problems.append(f"{name}: {reason}")


def _simple(layer: Descriptor, payload: bytes) -> StoredSignature:
    signature = _decoded(layer.annotation(_SIGNATURE))
    stored = StoredSignature(SIMPLE, payload, payload, [signature])
    _take_material(stored, layer)
    return stored


def _take_material(stored: StoredSignature, layer: Descriptor) -> None:
    stored.certificate = layer.annotation(_CERTIFICATE).encode()
    stored.chain = layer.annotation(_CHAIN).encode()
    stored.log = layer.annotation(_LOG).encode()


def _enveloped(data: bytes, layer: Descriptor) -> StoredSignature:
    """Return the statement in an envelope of DSSE, or in a bundle that holds one. Raises ValueError and its kind."""
    value: Any = document.decode(data, "signature", _DOCUMENT_LIMIT)
    bundled = "verificationMaterial" in value
    envelope = value["dsseEnvelope"] if bundled else value
    if envelope["payloadType"] != _IN_TOTO:
        raise ValueError("not a statement")
    payload = _decoded(envelope["payload"])
    signatures = [_decoded(one["sig"]) for one in envelope["signatures"][:10]]
    stored = StoredSignature(STATEMENT, pre_authentication(_IN_TOTO, payload), payload, signatures)
    if bundled:
        stored.bundle = data
    else:
        _take_material(stored, layer)
    return stored


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None


def statement(stored: StoredSignature) -> dict[str, Any] | None:
    """Return the in-toto statement of a signature that is verified, None when it is none."""
    try:
        value = jsontext.loads(stored.payload)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and stored.form == STATEMENT else None
