"""What asking for an image's history and removing images return."""

from __future__ import annotations


class HistoryEntry:
    """An entry of an image's history: `id` ("" for all but the newest), `created` (RFC 3339 text),
    `created_by`, `size` (bytes of its layer), `comment`, `empty` (it has no layer)."""

    __slots__ = ("comment", "created", "created_by", "empty", "id", "size")

    def __init__(self, image_id: str, created: str, created_by: str, size: int, comment: str, empty: bool) -> None:
        self.id = image_id
        self.created = created
        self.created_by = created_by
        self.size = size
        self.comment = comment
        self.empty = empty


class Removed:
    """The result of a removal: names `untagged`, ids and diff ids `deleted`, and `reclaimed` bytes on disk."""

    __slots__ = ("deleted", "reclaimed", "untagged")

    def __init__(self) -> None:
        self.untagged: list[str] = []
        self.deleted: list[str] = []
        self.reclaimed = 0
