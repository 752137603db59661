"""Digests of what stages and images hold, remembered from build to build: to know them again nothing is mounted or read."""

from __future__ import annotations

from struct import Struct

from ...files import read_bytes, write_atomic
from ...store.scratch import ensure
from ..cache import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...paths import Paths
    from ..filesystem import Filesystem

_MAGIC = b"underlay trees 1\n"
_ROW = Struct("32s32s")
_MOST = 20_000
_PREFIX = "sha256:"


class Remembered:
    """Digests by what they are of. Several threads of one build may use it. Like an index of files it is a memory only: one
    that is damaged or lost costs time."""

    def __init__(self, paths: Paths) -> None:
        self._directory = f"{paths.root}/cache/files"
        self._path = f"{self._directory}/trees"
        self._known: dict[bytes, bytes] | None = None
        self._new: dict[bytes, bytes] = {}

    @staticmethod
    def name(filesystem: Filesystem, parts: Sequence[object]) -> str:
        """Return what stands for a selection (`parts`) of a file system: by its layers, which do not change; "" while one
        of them is still on its way."""
        if not all(made.here for made in filesystem.layers):
            return ""
        return keys.key("tree", [made.layer().diff_id for made in filesystem.layers], *parts)

    def find(self, name: str) -> str:
        """Return the digest of a selection, "" when it is not known."""
        if self._known is None:
            self._known = self._read()
        query = bytes.fromhex(name.removeprefix(_PREFIX))
        value = self._new.get(query) or self._known.get(query)
        return _PREFIX + value.hex() if value else ""

    def put(self, name: str, digest: str) -> None:
        """Keep the digest of a selection."""
        self._new[bytes.fromhex(name.removeprefix(_PREFIX))] = bytes.fromhex(digest.removeprefix(_PREFIX))

    def save(self) -> None:
        """Write what is new, and of what was known before as much as there is room for."""
        if not self._new:
            return
        rows = {**self._read(), **self._new}
        data = b"".join(_ROW.pack(*row) for row in list(rows.items())[-_MOST:])
        ensure(self._directory)
        write_atomic(self._path, _MAGIC + data, durable=False)
        self._known, self._new = None, {}

    def _read(self) -> dict[bytes, bytes]:
        try:
            data = read_bytes(self._path, len(_MAGIC) + _MOST * _ROW.size)
        except OSError:
            return {}
        rows = memoryview(data)[len(_MAGIC) :]
        if not data.startswith(_MAGIC) or len(rows) % _ROW.size:
            return {}
        return dict(_ROW.iter_unpack(rows))
