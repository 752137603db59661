"""Advisory records on this host: directories, zip archives as OSV exports them, files with one record a line."""

from __future__ import annotations

import os
import zipfile
import zlib

from ...errors import Corrupt, InvalidInput, LimitExceeded, Unsupported
from .osv import RECORD_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRIES_LIMIT = 2_000_000
_ARCHIVE_LIMIT = 64 << 30  # bytes of all records together; the whole of OSV has about 10 GB
_RATIO = 200  # records shrink to a tenth; what grows more than this is a bomb
_ENDINGS = (".json", ".jsonl", ".ndjson", ".zip")


def records(path: str) -> Iterator[bytes]:
    """Yield the records at `path`; raises InvalidInput for what is none of these forms, Corrupt, LimitExceeded."""
    if os.path.isdir(path):
        yield from _directory(path)
    elif path.endswith(".zip"):
        yield from archive(path)
    elif path.endswith((".jsonl", ".ndjson")):
        yield from _lines(path)
    elif path.endswith(".json"):
        yield _file(path)
    else:
        raise InvalidInput(
            f"{path}: advisories cannot be read from such a file",
            f"name a directory, or a file that ends in {', '.join(_ENDINGS)}",
        )


def _directory(path: str) -> Iterator[bytes]:
    count = 0
    for parent, directories, names in os.walk(path):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(_ENDINGS):
                count += 1
                if count > _ENTRIES_LIMIT:
                    raise LimitExceeded(f"{path} holds more than {_ENTRIES_LIMIT} files")
                full = os.path.join(parent, name)
                if os.path.isfile(full):
                    yield from records(full)


def _file(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(RECORD_LIMIT + 1)
    if len(data) > RECORD_LIMIT:
        raise LimitExceeded(f"{path}: an advisory is longer than {RECORD_LIMIT} bytes")
    return data


def _lines(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while line := file.readline(RECORD_LIMIT + 1):
            if len(line) > RECORD_LIMIT:
                raise LimitExceeded(f"{path}: an advisory is longer than {RECORD_LIMIT} bytes")
            if line.strip():
                yield line


def archive(path: str) -> Iterator[bytes]:
    """Yield the records in a zip archive; raises Corrupt (no archive, a wrong checksum), LimitExceeded (a bomb)."""
    try:
        with zipfile.ZipFile(path) as zipped:
            entries = zipped.infolist()
            if len(entries) > _ENTRIES_LIMIT:
                raise LimitExceeded(f"{path} holds more than {_ENTRIES_LIMIT} entries")
            # What the directory of the archive says is checked by the reader, which gives no more than that.
            total = sum(entry.file_size for entry in entries)
            if total > _ARCHIVE_LIMIT or total > _RATIO * max(os.path.getsize(path), 1 << 20):
                raise LimitExceeded(f"{path} holds {total} bytes of advisories when unpacked")
            for entry in entries:
                if entry.is_dir() or not entry.filename.endswith(".json"):
                    continue
                if entry.file_size > RECORD_LIMIT:
                    raise LimitExceeded(
                        f"{path}: {entry.filename} has {entry.file_size} bytes, more than {RECORD_LIMIT}"
                    )
                with zipped.open(entry) as file:
                    data = file.read(RECORD_LIMIT + 1)
                if len(data) > entry.file_size:
                    raise LimitExceeded(f"{path}: {entry.filename} is longer than the directory of the archive says")
                yield data
    except RuntimeError:  # what zipfile raises, or a kind of it, for encryption and for methods of compression
        hint = "pack it again without a password, by deflate"
        raise Unsupported(f"{path} is encrypted, or compressed by a method that is not supported", hint) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise Corrupt(f"{path} is not a complete zip archive: {error}") from None
