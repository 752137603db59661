"""The layers of an image above its base: what they add and remove."""

from __future__ import annotations

from ...store.kinds import DIRECTORY, REGULAR
from ..dockerfile import contents

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...store.layers.toc import Entry

_FILES = 200_000  # that are looked at


class Upper:
    """The layers of an image above its base: names of what they add, and of what they remove."""

    __slots__ = ("added", "directories", "removed")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.added: dict[bytes, int] = {}  # regular files, with their modes
        self.directories: dict[bytes, None] = {}
        self.removed: list[bytes] = []  # paths; a directory that was emptied ends in a slash
        for entry in entries:
            name, removes = contents.path(entry)
            if removes:
                self.removed.append(name)
            elif entry.kind == REGULAR and len(self.added) < _FILES:
                self.added[name] = entry.mode
            elif entry.kind == DIRECTORY and len(self.directories) < _FILES:
                self.directories[name] = None
