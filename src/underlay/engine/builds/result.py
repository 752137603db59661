"""What a build has made, with the image as an object."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...builder.output.output import Built
    from ..images.handle import Image


class BuildResult:
    """The result of a build: the `image` (None when no output stores one), its `id`, its `names`,
    `digest` (of its manifest, or of the index of several platforms) with `media_type` and `size` of that document, and the
    `provenance` if it was requested."""

    __slots__ = ("digest", "id", "image", "media_type", "names", "provenance", "size")

    def __init__(self, built: Built, image: Image | None) -> None:
        self.image = image
        self.id = built.id
        self.names = built.names
        self.digest = built.target
        self.media_type = built.media_type
        self.size = built.size
        self.provenance: dict[str, Any] | None = built.provenance

    def __repr__(self) -> str:
        return f"<BuildResult {', '.join(self.names) or self.id}>"
