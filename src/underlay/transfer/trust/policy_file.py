"""The trust policy: a file in the form of containers-policy.json(5), as podman and skopeo have it."""

from __future__ import annotations

import base64
import binascii
import os

from ... import settings
from ...errors import InvalidInput, NotFound, Unsupported
from ...lean import jsontext
from ...oci import reference as references
from . import identity as identities
from . import keys
from .identity import Identity
from .requirements import Accept, Fulcio, Reject, Signed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...oci.reference import Reference
    from .requirements import Requirement

_SYSTEM = "/etc/containers/policy.json"
_LIMIT = 8 << 20
_KEY_FIELDS = ("keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki")
_LOG_FIELDS = ("rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas")
_FULCIO_FIELDS = ("caPath", "caData", "oidcIssuer", "subjectEmail")
REGISTRY = "docker"


def place() -> str:
    """Return the path of the policy that applies, "" when there is none: that of the settings, else the user's, else the
    system's. Raises NotFound for a path in the settings where there is nothing."""
    given, source = settings.found("trust-policy")
    if given:
        if not os.path.exists(given):
            raise NotFound(f"open {given}: no such file or directory", f"{source} names it")
        return given
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    for path in (f"{home}/containers/policy.json", _SYSTEM):
        if os.path.exists(path):
            return path
    return ""


class PolicyFile:
    """A policy: what is demanded by `transports` and their scopes, else by `default`."""

    def __init__(self, path: str) -> None:
        """Read the file. Raises InvalidInput, which says where the file is wrong: what is not known is refused."""
        self.path = path
        try:
            with open(path, "rb") as file:
                data = file.read(_LIMIT + 1)
        except OSError as error:
            raise InvalidInput(f"{path}: {error.strerror}") from None
        try:
            value = jsontext.loads(data) if len(data) <= _LIMIT else None
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{path}: not JSON: {error}") from None
        top = self._object(value, "$", ("default", "transports"))
        self._default = self._list(top.get("default"), "$.default")
        self._transports: dict[str, dict[str, list[dict[str, Any]]]] = {}
        transports = top.get("transports") or {}
        for name, scopes in self._object(transports, "$.transports").items():
            where = f"$.transports.{name}"
            self._transports[name] = {
                scope: self._list(listed, f"{where}[{scope!r}]")
                for scope, listed in self._object(scopes, where).items()
            }

    def _wrong(self, where: str, what: str) -> InvalidInput:
        return InvalidInput(f"{self.path}: {where}: {what}", "containers-policy.json(5) describes the file")

    def _object(self, value: object, where: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self._wrong(where, "not an object")
        for name in value:
            if known and name not in known:
                raise self._wrong(where, f"unknown member {name!r:.60}")
        return value

    def _list(self, value: object, where: str) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not value:
            raise self._wrong(where, "not a list of requirements")
        for number, entry in enumerate(value):
            kind = self._object(entry, f"{where}[{number}]").get("type")
            if kind not in ("insecureAcceptAnything", "reject", "signedBy", "sigstoreSigned"):
                raise self._wrong(f"{where}[{number}].type", f"unknown type {kind!r:.60}")
        return value

    def of_registry(self, reference: Reference) -> list[Requirement]:
        """Return what is demanded of an image of a registry. Raises InvalidInput, Unsupported, NotFound (a key)."""
        return self._of(REGISTRY, _scopes(reference))

    def of_path(self, transport: str, path: str) -> list[Requirement]:
        """Return what is demanded of an image in a file or directory of the host; raises as `of_registry`."""
        absolute = os.path.realpath(path)
        parents = [absolute]
        while parents[-1] != "/":
            parents.append(os.path.dirname(parents[-1]))
        return self._of(transport, iter(parents[:-1]))

    def _of(self, transport: str, scopes: Iterator[str]) -> list[Requirement]:
        by_scope = self._transports.get(transport, {})
        for scope in (*scopes, ""):
            if scope in by_scope:
                where = f"$.transports.{transport}[{scope!r}]"
                return [self._requirement(entry, where) for entry in by_scope[scope]]
        return [self._requirement(entry, "$.default") for entry in self._default]

    def _requirement(self, entry: dict[str, Any], where: str) -> Requirement:
        kind = entry["type"]
        if kind == "signedBy":
            raise Unsupported(
                f"{self.path}: {where}: the policy demands a GPG signature (signedBy), which is not supported",
                "sigstoreSigned is; podman or skopeo verify GPG signatures",
            )
        if kind != "sigstoreSigned":
            self._object(entry, where, ("type",))
            return Accept() if kind == "insecureAcceptAnything" else Reject()
        self._object(entry, where, ("type", "signedIdentity", *_KEY_FIELDS, *_LOG_FIELDS))
        given = [name for name in _KEY_FIELDS if name in entry]
        if len(given) != 1:
            raise self._wrong(where, f"exactly one of {', '.join(_KEY_FIELDS)} must be given")
        if given[0] == "pki":
            raise Unsupported(f"{self.path}: {where}: pki is not supported", "name keys, or use fulcio")
        logs = [name for name in _LOG_FIELDS if name in entry]
        if len(logs) > 1:
            raise self._wrong(where, f"at most one of {', '.join(_LOG_FIELDS)} may be given")
        fulcio = None
        if given[0] == "fulcio":
            fulcio = self._fulcio(self._object(entry["fulcio"], f"{where}.fulcio", _FULCIO_FIELDS), f"{where}.fulcio")
            if not logs:
                raise self._wrong(where, "fulcio demands the key of a log (rekorPublicKeyPath)")
        identity = self._identity(entry.get("signedIdentity"), f"{where}.signedIdentity")
        log_keys = self._keys(entry, logs[0], where) if logs else ()
        return Signed(
            keys=() if fulcio else self._keys(entry, given[0], where),
            fulcio=fulcio,
            log_keys=log_keys,
            identity=identity,
        )

    def _keys(self, entry: dict[str, Any], field: str, where: str) -> tuple[keys.PublicKey, ...]:
        value = entry[field]
        values = value if field.endswith("s") else [value]
        if not isinstance(values, list) or not values or not all(isinstance(one, str) for one in values):
            raise self._wrong(f"{where}.{field}", "not a text, or a list of texts")
        if "Path" in field:
            return tuple(keys.read(path) for path in values)
        name = f"{self.path}: {field}"
        return tuple(keys.load(self._decoded(one, f"{where}.{field}"), name) for one in values)

    def _decoded(self, text: str, where: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise self._wrong(where, "not base64") from None

    def _fulcio(self, value: dict[str, Any], where: str) -> Fulcio:
        if ("caPath" in value) == ("caData" in value):
            raise self._wrong(where, "exactly one of caPath, caData must be given")
        for name in value:
            if not isinstance(value[name], str) or not value[name]:
                raise self._wrong(f"{where}.{name}", "not a text")
        if "oidcIssuer" not in value or "subjectEmail" not in value:
            raise self._wrong(where, "oidcIssuer and subjectEmail must be given")
        keys.require_cryptography()
        data = (
            keys.read_file(value["caPath"]) if "caPath" in value else self._decoded(value["caData"], f"{where}.caData")
        )
        from cryptography import x509

        try:
            x509.load_pem_x509_certificates(data)
        except ValueError:
            raise self._wrong(where, "the authority's certificates are not in PEM form") from None
        return Fulcio(data, value["oidcIssuer"], value["subjectEmail"])

    def _identity(self, value: object, where: str) -> Identity:
        if value is None:
            return identities.DEFAULT
        entry = self._object(value, where)
        kind = entry.get("type")
        fields: dict[str, tuple[str, ...]] = {
            identities.EXACT: (),
            identities.REPOSITORY_OR_EXACT: (),
            identities.REPOSITORY: (),
            identities.EXACT_REFERENCE: ("dockerReference",),
            identities.EXACT_REPOSITORY: ("dockerRepository",),
            identities.REMAP: ("prefix", "signedPrefix"),
        }
        if not isinstance(kind, str) or kind not in fields:
            raise self._wrong(f"{where}.type", f"unknown type {kind!r:.60}")
        self._object(value, where, ("type", *fields[kind]))
        for name in fields[kind]:
            if not isinstance(entry.get(name), str) or not entry[name]:
                raise self._wrong(f"{where}.{name}", "not a text")
        if kind == identities.REMAP:
            return Identity(kind=kind, prefix=entry["prefix"], signed_prefix=entry["signedPrefix"])
        name = entry[fields[kind][0]] if fields[kind] else ""
        if name:
            try:
                parsed = references.parse_exact(name)
            except InvalidInput as error:
                raise self._wrong(f"{where}.{fields[kind][0]}", error.message) from None
            if kind == identities.EXACT_REFERENCE and not parsed.tag and not parsed.digest:
                raise self._wrong(f"{where}.dockerReference", "a tag or a digest is missing")
        return Identity(kind=kind, name=name)


def _scopes(reference: Reference) -> Iterator[str]:
    """Yield the scopes of an image, the narrowest first: the name, its repository, namespaces, host, wildcards for that."""
    yield str(reference)
    scope = reference.repository
    while "/" in scope:
        yield scope
        scope = scope.rpartition("/")[0]
    yield scope
    host = scope.partition(":")[0]
    while "." in host:
        host = host.partition(".")[2]
        yield f"*.{host}"
