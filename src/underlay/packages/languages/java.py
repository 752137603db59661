"""Java libraries: archives (jar, war, ear and their like), and those inside of them.

What an archive is, its `META-INF/maven/GROUP/ARTIFACT/pom.properties` says (one for each library that was merged into
it), else its manifest (JAR File Specification), else its own name.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib

from ...errors import LimitExceeded
from ..model import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

    from ..model import DatabaseContents, Files

ENDINGS = (b".jar", b".war", b".ear", b".jpi", b".hpi", b".par", b".kar")
_ARCHIVES = tuple(ending.decode() for ending in ENDINGS)
_LIMIT = 1 << 30  # bytes of an archive
_INNER_LIMIT = 128 << 20  # bytes of one inside of another
_UNPACKED_LIMIT = 4 << 30  # bytes that are unpacked of an image in all
_DIRECTORY_LIMIT = 16 << 20  # bytes of an archive's directory: some hundred thousand entries
_DEPTH = 3
_NOTE_LIMIT = 1 << 20  # bytes of a manifest or of properties
_NAME = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]*?)-(?P<version>[0-9][A-Za-z0-9_.+-]*)$")
_PROPERTIES = re.compile(r"META-INF/maven/[^/]+/[^/]+/pom\.properties$")
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError, OSError)


def read(files: Files, paths: list[bytes], contents: DatabaseContents) -> None:
    """Add the libraries in the archives at `paths` to `contents`; broken archives are skipped. Raises LimitExceeded."""
    reader = _Reader(contents)
    for path in paths:
        size = files.size(path)
        if size > _LIMIT:
            contents.skipped += 1
        else:
            reader.archive(_File(files, path, size), path.decode("utf-8", "replace"), 0)


class _File(io.RawIOBase):
    """A file of an image, as zipfile wants it: only the parts that it asks for are read."""

    def __init__(self, files: Files, path: bytes, size: int) -> None:
        self._files = files
        self._path = path
        self._size = size
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = start + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._at, 0)
        data = self._files.part(self._path, self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data


class _Directory:
    """A file whose archive's directory, which zipfile takes in one piece, may not be too long while it is `opening`."""

    def __init__(self, file: IO[bytes] | io.RawIOBase) -> None:
        self._file = file
        self.opening = True
        self.seek = file.seek
        self.tell = file.tell
        self.seekable = file.seekable

    def read(self, size: int = -1) -> bytes:
        if self.opening and size > _DIRECTORY_LIMIT:
            raise ValueError("too many entries")
        return self._file.read(size) or b""


class _Reader:
    """Reads the archives of an image and what is in them; `_left` is how many bytes may still be unpacked."""

    def __init__(self, contents: DatabaseContents) -> None:
        self._contents = contents
        self._left = _UNPACKED_LIMIT

    def archive(self, file: IO[bytes] | io.RawIOBase, path: str, depth: int) -> None:
        """Add what an archive at `path` says of itself, and the archives in it, `depth` archives deep. Raises
        LimitExceeded."""
        bounded = _Directory(file)
        try:
            with zipfile.ZipFile(bounded) as opened:
                bounded.opening = False
                self._entries(opened, path, depth)
        except _BROKEN:
            self._contents.skipped += 1

    def _entries(self, opened: zipfile.ZipFile, path: str, depth: int) -> None:
        found: list[tuple[str, str]] = []
        inner: list[zipfile.ZipInfo] = []
        manifest = b""
        for entry in opened.infolist():
            if _PROPERTIES.match(entry.filename):
                found += _of_properties(self._unpacked(opened, entry, _NOTE_LIMIT))
            elif entry.filename == "META-INF/MANIFEST.MF":
                manifest = self._unpacked(opened, entry, _NOTE_LIMIT)
            elif entry.filename.lower().endswith(_ARCHIVES) and not entry.is_dir():
                inner.append(entry)
        for name, version in found or _of_manifest(manifest, path):
            self._contents.add(Package("maven", name, version, path=path))
        for entry in inner:
            below = f"{path}!/{entry.filename}"
            if depth >= _DEPTH:
                self._contents.skipped += 1
                continue
            try:
                data = self._unpacked(opened, entry, _INNER_LIMIT)
            except _BROKEN:
                self._contents.skipped += 1
                continue
            self.archive(io.BytesIO(data), below, depth + 1)

    def _unpacked(self, opened: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
        if entry.file_size > limit:
            raise ValueError("too long")
        if entry.file_size > self._left:
            raise LimitExceeded(f"more than {_UNPACKED_LIMIT >> 20} MiB are packed in them")
        with opened.open(entry) as file:
            data = file.read(limit + 1)
        # The directory of the archive may lie; zipfile itself reads no more than that says.
        self._left -= len(data)
        return data


def _of_properties(data: bytes) -> list[tuple[str, str]]:
    fields = {}
    for line in data.decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", "!")):
            fields[name.strip()] = value.strip()
    group, artifact, version = (fields.get(word, "") for word in ("groupId", "artifactId", "version"))
    if not group or not artifact or not version or len(group) + len(artifact) + len(version) > 600:
        return []
    return [(f"{group}:{artifact}", version)]


def _of_manifest(data: bytes, path: str) -> list[tuple[str, str]]:
    """Return what the manifest or the name of an archive says; a group only where a bundle's name gives it."""
    fields: dict[str, str] = {}
    # A line goes on where the next begins with a blank.
    for line in data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\n ", "").split("\n"):
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    stem = re.split(r"[/!]", path)[-1].rpartition(".")[0]
    named = _NAME.match(stem)
    version = (
        fields.get("implementation-version") or fields.get("bundle-version") or (named["version"] if named else "")
    )
    version = named["version"] if named is not None else version
    name = named["name"] if named is not None else stem
    group = fields.get("implementation-vendor-id", "")
    symbolic = fields.get("bundle-symbolicname", "").partition(";")[0].strip()
    if not group and symbolic.endswith(f".{name}"):
        group = symbolic.removesuffix(f".{name}")
    if not name or not version or " " in version or len(group) + len(name) + len(version) > 600:
        return []
    return [(f"{group}:{name}" if group and " " not in group else name, version)]
