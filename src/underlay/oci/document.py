"""Documents from outside: bytes kept as they came, bounded and checked against a type when they enter."""

from __future__ import annotations

from ..errors import InvalidInput, LimitExceeded
from ..lean import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MANIFEST_LIMIT = 4 << 20  # bytes; what registries accept (OCI distribution specification, "Pushing Manifests")
CONFIG_LIMIT = 8 << 20  # bytes
DEPTH_LIMIT = 100  # nested objects and arrays; a real configuration has 4
ITEMS_LIMIT = 1_000_000  # values in one document: bounds the memory that its decoding takes


class Document:
    """Original `data`, its `digest`, the untyped `value` (a dict) and the typed `view` of it."""

    __slots__ = ("data", "digest", "value", "view")

    def __init__(self, data: bytes, digest: str, value: dict[str, Any], view: Any) -> None:
        self.data = data
        self.digest = digest
        self.value = value
        self.view = view


def read(data: bytes, view: type[Any], what: str, limit: int = MANIFEST_LIMIT) -> Document:
    """Check `data` (JSON) against the msgspec type `view`; return it with its digest.

    `what` names the document in errors. Raises LimitExceeded when it is too long, deep or full, InvalidInput
    with the JSON path when it is malformed or of another shape.
    """
    import msgspec

    from . import digest

    value = decode(data, what, limit)
    try:
        typed = msgspec.convert(value, view)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{what}: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"{what}: expected an object")
    return Document(data, digest.of(data), value, typed)


def decode(data: bytes, what: str, limit: int = MANIFEST_LIMIT) -> Any:
    """Return the value of the JSON text `data` within the limits; raises InvalidInput or LimitExceeded."""
    import msgspec

    if len(data) > limit:
        raise LimitExceeded(f"{what}: longer than {limit} bytes")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > ITEMS_LIMIT:
        raise LimitExceeded(f"{what}: more than {ITEMS_LIMIT} values")
    try:
        value = msgspec.json.decode(data)
    except RecursionError:
        raise LimitExceeded(f"{what}: nested deeper than {DEPTH_LIMIT} levels") from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise InvalidInput(f"{what}: {error}") from None
    if _deeper(value, DEPTH_LIMIT):
        raise LimitExceeded(f"{what}: nested deeper than {DEPTH_LIMIT} levels")
    return value


def encode(value: object) -> bytes:
    """Return the bytes of a document that is made here: compact JSON, keys in the order given."""
    return jsontext.dumps(value).encode()


def edited(document: Document, changes: dict[str, object]) -> bytes:
    """Return the bytes of a copy of `document` with top-level members replaced; what is unknown stays as it
    is."""
    return encode({**document.value, **changes})


def _deeper(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(child for child in item.values() if isinstance(child, dict | list))
            elif isinstance(item, list):
                below.extend(child for child in item if isinstance(child, dict | list))
        if not below:
            return False
        level = below
    return True
