"""Fields of tar headers: numbers, times, pax records, extended attributes. ValueError says what is wrong."""

from __future__ import annotations


def text(field: bytes) -> bytes:
    """Return a header's text up to its NUL."""
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def number(field: bytes, what: str) -> int:
    """Return the number in a header field: octal text, or base 256 when the first bit is set (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big")
        bits = 8 * len(field)
        # The first bit marks the form, the second is the sign.
        value &= (1 << (bits - 1)) - 1
        if value >> (bits - 2):
            value -= 1 << (bits - 1)
        if not -(1 << 63) <= value < 1 << 63:
            raise ValueError(f"{what} is out of range")
        return value
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit():
        digits = digits.partition(b"\0")[0]
    try:
        # int() alone would take more: underscores, signs, prefixes.
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise ValueError(f"{what} is not a number")


def decimal(value: bytes, what: str) -> int:
    """Return the number in a pax value."""
    if not value.isdigit() or len(value) > 20:
        raise ValueError(f"{what} is not a number")
    return int(value)


def time(value: bytes) -> tuple[int, int]:
    """Return (seconds, nanoseconds) of a pax time such as `-1.5`, which is (-2, 500000000)."""
    whole, _, fraction = value.removeprefix(b"-").partition(b".")
    if len(whole) > 20 or not (whole or b"0").isdigit() or not (fraction or b"0").isdigit():
        raise ValueError("mtime is not a time")
    seconds = int(whole or b"0")
    nsec = int(fraction[:9].ljust(9, b"0"))
    if value.startswith(b"-"):
        seconds = -seconds
        if nsec:
            seconds -= 1
            nsec = 1_000_000_000 - nsec
    return seconds, nsec


def records(data: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]] | None]:
    """Return the records of a pax header, and the map of a sparse 0.0 member, whose keys repeat."""
    records_by_key: dict[bytes, bytes] = {}
    pieces: list[tuple[int, int]] | None = None
    offset: int | None = None
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        equals = data.find(b"=", space + 1, max(end - 1, 0))
        if end > len(data) or equals < 0 or data[end - 1] != 10:
            raise ValueError("a malformed pax record")
        key = data[space + 1 : equals]
        value = data[equals + 1 : end - 1]
        position = end
        if key == b"GNU.sparse.offset":
            offset = decimal(value, "sparse offset")
        elif key == b"GNU.sparse.numbytes":
            if offset is None:
                raise ValueError("a malformed sparse map")
            pieces = [] if pieces is None else pieces
            pieces.append((offset, decimal(value, "sparse length")))
            offset = None
        else:
            records_by_key[key] = value
    return records_by_key, pieces


def xattrs(pax: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the extended attributes among pax records, as star (SCHILY) and libarchive write them."""
    attributes: dict[bytes, bytes] = {}
    for key, value in pax.items():
        if key.startswith(b"SCHILY.xattr."):
            name = key[13:]
        elif key.startswith(b"LIBARCHIVE.xattr."):
            from base64 import b64decode
            from urllib.parse import unquote_to_bytes

            name = unquote_to_bytes(key[17:])
            try:
                value = b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except ValueError:
                raise ValueError("an extended attribute that is not base64") from None
        else:
            continue
        if not name or len(name) > 255 or b"\0" in name:
            raise ValueError("an extended attribute with an impossible name")
        attributes[name] = value
    return attributes
