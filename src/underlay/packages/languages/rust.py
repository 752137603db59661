"""Rust crates linked into an executable: the list that `cargo auditable` leaves in the section `.dep-v0`.

It is JSON, compressed by zlib: github.com/rust-secure-code/cargo-auditable, "Format".
"""

from __future__ import annotations

import zlib

from ...lean import jsontext
from ..model import Package
from .values import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..model import DatabaseContents
    from .elf import Read, Sections

SECTION = b".dep-v0"
_COMPRESSED_LIMIT = 4 << 20
_LIMIT = 8 << 20  # as its readers have it
# What lies elsewhere than in a registry may share its name with a crate that is in one.
_SOURCES = ("crates.io", "registry")


def read(read_part: Read, found: Sections, path: str, contents: DatabaseContents) -> None:
    """Add the crates of an executable at `path` to `contents`, without those that only its build needed."""
    section = found.by_name[SECTION]
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(read_part(section.offset, min(section.size, _COMPRESSED_LIMIT)), _LIMIT)
        value = jsontext.loads(data) if inflate.eof else None
    except (zlib.error, ValueError, RecursionError):
        value = None
    listed = value.get("packages") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        contents.skipped += 1
        return
    for crate in listed:
        if not isinstance(crate, dict) or crate.get("kind") == "build" or crate.get("source") not in _SOURCES:
            continue
        name, version = text(crate, "name"), text(crate, "version")
        if name and version:
            contents.add(Package("cargo", name, version, path=path))
        else:
            contents.skipped += 1
