"""Public keys that signatures are verified with: ECDSA, Ed25519 and RSA, by the package `cryptography`."""

from __future__ import annotations

import hashlib

from ...errors import HelperMissing, InvalidInput, NotFound, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIMIT = 1 << 20
_RSA_BITS = 2048


class PublicKey:
    """A public key: `name` says where it is from, `fingerprint` is the SHA-256 of its SubjectPublicKeyInfo (hex)."""

    __slots__ = ("_key", "fingerprint", "name")

    def __init__(self, key: Any, name: str) -> None:
        self._key = key
        self.name = name
        self.fingerprint = hashlib.sha256(der(key)).hexdigest()

    def __str__(self) -> str:
        return f"the key {self.name} ({self.fingerprint[:12]})"

    def der(self) -> bytes:
        """Return its SubjectPublicKeyInfo."""
        return der(self._key)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` was made over `data` with the private half of this key."""
        return verifies(self._key, signature, data)


def require_cryptography() -> None:
    """Raise HelperMissing unless the package that verifies signatures is installed."""
    try:
        import cryptography.exceptions
    except ImportError:
        raise HelperMissing(
            "signatures cannot be verified: the Python package cryptography is not installed",
            "pip install 'underlay[signatures]'",
        ) from None
    assert cryptography.exceptions


def read(path: str) -> PublicKey:
    """Return the key in a file (PEM). Raises NotFound, InvalidInput, Unsupported, HelperMissing."""
    return load(read_file(path), path)


def read_file(path: str) -> bytes:
    """Return the bytes of a file with keys or certificates. Raises NotFound, InvalidInput."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path} has more than {_LIMIT} bytes")
    return data


def load(data: bytes, name: str) -> PublicKey:
    """Return a key (PEM); `name` is for people. Raises InvalidInput, Unsupported, HelperMissing."""
    require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(data)
    except UnsupportedAlgorithm as error:
        raise Unsupported(f"{name}: {error}") from None
    except ValueError:
        raise InvalidInput(f"{name} is no public key in PEM form", "`cosign public-key` prints that of a key") from None
    check(key, name)
    return PublicKey(key, name)


def check(key: Any, name: str) -> None:
    """Raise Unsupported for a key of another kind, or one that is too short."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, rsa.RSAPublicKey) and key.key_size < _RSA_BITS:
        raise Unsupported(f"{name}: an RSA key of {key.key_size} bits, fewer than {_RSA_BITS}")
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey):
        raise Unsupported(f"{name}: a key of an unsupported kind", "ECDSA, Ed25519 and RSA keys are supported")


def der(key: Any) -> bytes:
    """Return the SubjectPublicKeyInfo of a key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def verifies(key: Any, signature: bytes, data: bytes) -> bool:
    """Tell whether `signature` was made over `data`: SHA-256, or for ECDSA over a larger curve the hash of its size."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    attempts: list[tuple[Any, ...]] = []
    if isinstance(key, ec.EllipticCurvePublicKey):
        attempts.append((ec.ECDSA(hashes.SHA256()),))
        if key.curve.key_size > 256:
            attempts.append((ec.ECDSA(hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA512()),))
    elif isinstance(key, rsa.RSAPublicKey):
        attempts.append((padding.PKCS1v15(), hashes.SHA256()))
    elif isinstance(key, ed25519.Ed25519PublicKey):
        attempts.append(())
    for algorithm in attempts:
        try:
            key.verify(signature, data, *algorithm)
        except InvalidSignature:
            continue
        return True
    return False
