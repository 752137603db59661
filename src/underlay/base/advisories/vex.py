"""OpenVEX documents: what somebody who has analysed a product says of vulnerabilities in it.

Source of the form: github.com/openvex/spec, OPENVEX-SPEC.md, version 0.2.0 (0.0.x wrote products as plain texts).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from ...errors import InvalidInput, NotFound

_LIMIT = 64 << 20
_CONTEXT = "https://openvex.dev/ns"
_STATEMENTS_LIMIT = 100_000
NOT_AFFECTED, FIXED = "not_affected", "fixed"
STATUSES = (NOT_AFFECTED, "affected", FIXED, "under_investigation")
JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)


class Product(msgspec.Struct, frozen=True):
    """A product as a statement names it: its identifiers, and those of the parts of it that are meant (none for all)."""

    names: tuple[str, ...]
    parts: tuple[str, ...] = ()


class Statement(msgspec.Struct, frozen=True):
    """A statement: `names` of the vulnerability, the `products`, its `status` and `justification` ("" for none), the
    `note` in words, and its `time` (RFC 3339)."""

    names: frozenset[str]
    products: tuple[Product, ...]
    status: str
    justification: str
    note: str
    time: str

    @property
    def clears(self) -> bool:
        """Whether products are free of the vulnerability by it."""
        return self.status in (NOT_AFFECTED, FIXED)

    @property
    def because(self) -> str:
        """What the statement says, as a reason."""
        words = f"{self.status} ({self.justification})" if self.justification else self.status
        return f"VEX: {words}" + (f": {self.note}" if self.note else "")


def read(path: str) -> list[Statement]:
    """Return the statements of a document, the oldest first. Raises NotFound, InvalidInput (what is wrong, and where)."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory") from None
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}") from None
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path} has more than {_LIMIT} bytes")
    try:
        document = msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: not an OpenVEX document: {error}") from None
    if not isinstance(document, dict) or not str(document.get("@context", "")).startswith(_CONTEXT):
        raise InvalidInput(
            f"{path}: not an OpenVEX document: its @context does not begin with {_CONTEXT}",
            "of the forms of VEX only OpenVEX is read",
        )
    listed = document.get("statements")
    if not isinstance(listed, list) or len(listed) > _STATEMENTS_LIMIT:
        raise InvalidInput(f"{path}: $.statements is not a list of at most {_STATEMENTS_LIMIT}")
    statements = []
    for number, raw in enumerate(listed):
        try:
            statements.append(_statement(raw, str(document.get("timestamp", ""))))
        except ValueError as error:
            raise InvalidInput(f"{path}: $.statements[{number}]: {error}") from None
    return sorted(statements, key=lambda statement: statement.time)


def _statement(raw: Any, time: str) -> Statement:
    if not isinstance(raw, dict):
        raise ValueError("not an object")
    named = raw.get("vulnerability")
    if isinstance(named, dict):
        aliases = named.get("aliases")
        names = [named.get("name"), named.get("@id"), *(aliases if isinstance(aliases, list) else [])]
    else:
        names = [named]
    known = frozenset(name for name in names if isinstance(name, str) and name)
    if not known:
        raise ValueError("no vulnerability is named")
    status = raw.get("status")
    if status not in STATUSES:
        raise ValueError(f"status is {status!r:.60}, not one of {', '.join(STATUSES)}")
    justification = raw.get("justification") or ""
    note = raw.get("impact_statement") or raw.get("status_notes") or ""
    if justification and justification not in JUSTIFICATIONS:
        raise ValueError(f"justification is {justification!r:.60}, not one of {', '.join(JUSTIFICATIONS)}")
    if status == NOT_AFFECTED and not justification and not raw.get("impact_statement"):
        raise ValueError("not_affected without a justification or an impact_statement")
    products = raw.get("products")
    return Statement(
        known,
        tuple(_product(product) for product in products) if isinstance(products, list) else (),
        status,
        justification,
        str(note)[:500],
        str(raw.get("timestamp") or time),
    )


def _product(raw: Any) -> Product:
    parts = raw.get("subcomponents") if isinstance(raw, dict) else None
    return Product(_identifiers(raw), tuple(name for part in parts or () for name in _identifiers(part)))


def _identifiers(raw: Any) -> tuple[str, ...]:
    if isinstance(raw, str):
        return (raw,)
    if not isinstance(raw, dict):
        raise ValueError("a product is neither a text nor an object")
    names = [raw.get("@id")]
    for key in ("identifiers", "hashes"):
        values = raw.get(key)
        names += values.values() if isinstance(values, dict) else []
    return tuple(name for name in names if isinstance(name, str) and name)


class Image:
    """The image that statements are asked about: its `names`, without and with a tag, and its `digests`."""

    __slots__ = ("digests", "names")

    def __init__(self, names: set[str], digests: set[str]) -> None:
        self.names = names
        self.digests = digests

    def named(self, identifier: str) -> bool:
        """Tell whether an identifier means the image: a package URL (pkg:oci, pkg:docker), a name, a digest."""
        if identifier in self.digests or f"sha256:{identifier}" in self.digests:
            return True
        if not identifier.startswith(("pkg:oci/", "pkg:docker/")):
            name, _, digest = identifier.partition("@")
            return digest in self.digests if digest else name in self.names
        path, version, words = _purl(identifier)
        if version.startswith("sha256:"):
            return version in self.digests
        name = words.get("repository_url") or path.partition("/")[2]
        tag = words.get("tag") or version
        wanted = f"{name}:{tag}" if tag else name
        return wanted in self.names


def applies(statement: Statement, image: Image, purls: tuple[str, ...]) -> bool:
    """Tell whether a statement is about all of the packages `purls` in an image."""
    for product in statement.products:
        if any(image.named(name) for name in product.names):
            if not product.parts or all(_one_of(purl, product.parts) for purl in purls):
                return True
        elif not product.parts and purls and all(_one_of(purl, product.names) for purl in purls):
            return True
    return False


def _one_of(purl: str, names: tuple[str, ...]) -> bool:
    return any(_same_package(purl, name) for name in names)


def _same_package(purl: str, wanted: str) -> bool:
    """Tell whether a package is meant: what a package URL leaves out (version, qualifiers) may be anything."""
    if not wanted.startswith("pkg:"):
        return False
    path, version, words = _purl(purl)
    wanted_path, wanted_version, wanted_words = _purl(wanted)
    return (
        path == wanted_path
        and wanted_version in ("", version)
        and all(words.get(key) == value for key, value in wanted_words.items())
    )


def _purl(purl: str) -> tuple[str, str, dict[str, str]]:
    """Return type and name, version, and the qualifiers of a package URL."""
    head, _, query = purl.partition("#")[0].partition("?")
    path, _, version = head.removeprefix("pkg:").rpartition("@") if "@" in head else (head.removeprefix("pkg:"), "", "")
    return unquote(path), unquote(version), dict(parse_qsl(query))
