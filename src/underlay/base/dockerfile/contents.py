"""What a layer contains, described for people, and the files that a Dockerfile's steps need to recreate it."""

from __future__ import annotations

import msgspec

from ...human import size
from ...store.kinds import OPAQUE, REGULAR, WHITEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...store.layers.toc import Entry

_SHOWN = 5


class Contents(msgspec.Struct, frozen=True):
    """What a layer holds: its regular files as (path, size in bytes), how many members it has in all, and the paths that it
    takes away from the layers below, each with all that is beneath."""

    files: tuple[tuple[str, int], ...]
    members: int
    removed: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The largest files with their sizes, in one line (which may hold any letters that names do)."""
        gone = ""
        if self.removed:
            more = f", and {len(self.removed) - _SHOWN} more" if len(self.removed) > _SHOWN else ""
            gone = f"; takes away {', '.join(self.removed[:_SHOWN])}{more}"
        if not self.files:
            count = "1 directory or link" if self.members == 1 else f"{self.members} directories or links"
            return f"{count if self.members else 'an empty layer'}{gone}"
        files = sorted(self.files, key=lambda file: -file[1])
        names = ", ".join(f"{path} ({size(count)})" for path, count in files[:_SHOWN])
        more = f", and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        count = "1 file" if len(files) == 1 else f"{len(files)} files"
        return f"{size(sum(file[1] for file in files))} in {count}: {names}{more}{gone}"


def contents(entries: Iterable[Entry]) -> Contents:
    """Return what a table of contents tells of a layer."""
    files = []
    removed = []
    members = 0
    for entry in entries:
        name, removes = path(entry)
        if removes:
            removed.append(_shown(name))
        else:
            members += name != b""
            if entry.kind == REGULAR:
                files.append((_shown(name), entry.size))
    return Contents(tuple(files), members, tuple(removed))


def path(entry: Entry) -> tuple[bytes, bool]:
    """Return the path that a member is about, without slashes around it, and whether it takes that path away; the path of
    a directory that is emptied, no more, ends in a slash."""
    name = b"/".join(part for part in entry.name.split(b"/") if part not in (b"", b"."))
    parent, slash, last = name.rpartition(b"/")
    if last == OPAQUE:
        return parent + b"/", True
    if last.startswith(WHITEOUT):
        return parent + slash + last.removeprefix(WHITEOUT), True
    return name, False


def is_removal(entry: Entry) -> bool:
    """Tell whether a member only takes away what is below."""
    return path(entry)[1]


def _shown(name: bytes) -> str:
    return "/" + name.strip(b"/").decode("utf-8", "replace")
