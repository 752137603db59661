"""What stages start from: images of the store, pulled when absent, and named contexts."""

from __future__ import annotations

import os
import threading

from ..errors import InvalidInput, NotFound
from ..oci import reference as references
from ..store.rows import images
from . import image
from .cache import keys
from .context import git
from .context.contexts import Origin
from .filesystem import Filesystem, known
from .image import Base, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..oci.platform import Platform
    from ..paths import Paths
    from ..store.rows.images import ImageRow
    from .filesystem import Grounds

    Find = Callable[[str, str], ImageRow]  # name, platform → image


class Bases:
    """Finds bases, each once a build; several threads may ask. `find` returns an image by name, fetched if need be."""

    def __init__(self, paths: Paths, find: Find, contexts: dict[str, str], grounds: Grounds) -> None:
        self._paths = paths
        self._find = find
        self._contexts = {name.lower(): place for name, place in contexts.items()}
        self._grounds = grounds
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], ImageRow] = {}
        self._origins: dict[str, Origin] = {}

    def image(self, name: str, platform: Platform, materials: dict[str, str]) -> State:
        """Return the state in which a stage on the image `name` begins, and note its digest in `materials`.

        Raises NotFound, Unsupported, as pulls do.
        """
        place = self._contexts.get(name.lower(), "")
        wanted = name
        if place.startswith("docker-image://"):
            wanted = place.removeprefix("docker-image://")
        with self._lock:
            found = self._images.get((wanted, str(platform)))
            if found is None:
                found = self._images[wanted, str(platform)] = self._find(wanted, str(platform))
        state = State(platform, Filesystem(keys.key("base", found.chain), known(found.diff_ids, self._paths)))
        image.taken_over(state, images.config(self._paths, found.id))
        state.base = Base(_written(wanted), found)
        materials[f"pkg:docker/{_written(wanted)}"] = found.manifest
        return state

    def context(self, name: str) -> Origin | None:
        """Return the files of a named context that is not an image; None when there is none of this name."""
        place = self._contexts.get(name.lower())
        if place is None or place.startswith("docker-image://"):
            return None
        with self._lock:
            found = self._origins.get(name.lower())
            if found is None:
                found = self._origins[name.lower()] = self._opened(name, place)
            return found

    def is_image(self, name: str) -> bool:
        """Tell whether a named context is an image."""
        return self._contexts.get(name.lower(), "").startswith("docker-image://")

    def _opened(self, name: str, place: str) -> Origin:
        from .context.ignore import read

        if git.is_git(place):
            directory, _ = git.checkout(place, self._grounds.place("git"))
            return Origin(name, directory, plain=True)
        if "://" in place:
            raise InvalidInput(
                f"unsupported context {place!r} for {name}", "use a directory, a Git address or docker-image://NAME"
            )
        directory = os.path.abspath(place)
        if not os.path.isdir(directory):
            raise NotFound(f"failed to get build context {name}: {place} is no directory")
        root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return Origin(name, directory, ignored=read(root, ""), plain=True)
        finally:
            os.close(root)


def _written(name: str) -> str:
    """Return an image's name as base annotations have it: whole, with registry and tag."""
    try:
        return references.parse(name).name
    except InvalidInput:
        return name
