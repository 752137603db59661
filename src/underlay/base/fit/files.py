"""What is asked of an image's files, wherever they lie, to tell whether it runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Protocol

    from ...packages.model import Files as NamedFiles

    class Files(NamedFiles, Protocol):
        """Files of an image, of which parts can be read."""

        def part(self, path: bytes, offset: int, size: int) -> bytes:
            """Return bytes of a regular file, as many as there are; b"" when there is none."""

        def real(self, path: bytes) -> bytes | None:
            """Return the path of the file that `path` and its links lead to, None when there is none."""

        def directory(self, path: bytes) -> bool:
            """Tell whether the path is a directory."""

        def executable(self, path: bytes) -> bool:
            """Tell whether the path is a regular file that has an execute bit."""

        def permits(self, path: bytes, uid: int, gids: Collection[int], wanted: int) -> bool:
            """Tell whether a user may use a file: read it (4), execute it (1)."""
