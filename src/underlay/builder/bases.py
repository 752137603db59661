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

    from ..dockerfile.metadata import Execution
    from ..oci.platform import Platform
    from ..paths import Paths
    from ..store.rows.images import ImageRow
    from .filesystem import Views

    Find = Callable[[str, str], ImageRow]  # name, platform → image
    Look = Callable[[str, str], Execution]  # name, platform → the `config` of an image in a registry


_IMAGES = ("docker-image://", "oci-layout://")  # how contexts begin that are images


class Bases:
    """Finds bases, each once a build; several threads may ask. `find` returns an image by name, fetched if need be."""

    def __init__(
        self, paths: Paths, find: Find, contexts: dict[str, str], views: Views, buildkit: bool = False
    ) -> None:
        """With `buildkit` the file systems of images have BuildKit's keys, too."""
        self._paths = paths
        self._buildkit = buildkit
        self._find = find
        self._contexts = {name.lower(): context for name, context in contexts.items()}
        self._views = views
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], ImageRow] = {}
        self._origins: dict[str, Origin] = {}

    def image(self, name: str, platform: Platform, materials: dict[str, str]) -> State:
        """Return the state in which a stage on the image `name` begins, and note its digest in `materials`.

        Raises NotFound, Unsupported, as pulls do.
        """
        context = self._contexts.get(name.lower(), "")
        wanted = name
        if context.startswith(_IMAGES):
            wanted = context.removeprefix("docker-image://")
        with self._lock:
            base_image = self._images.get((wanted, str(platform)))
            if base_image is None:
                base_image = self._images[wanted, str(platform)] = self._find(wanted, str(platform))
        theirs = None
        if self._buildkit:
            from .cache.buildkit import keys as buildkit

            theirs = buildkit.image(base_image.diff_ids)
        layers = known(base_image.diff_ids, self._paths)
        state = State(platform, Filesystem(keys.key("base", base_image.chain), layers, theirs))
        image.taken_over(state, images.config(self._paths, base_image.id))
        state.base = Base(_written(wanted), base_image)
        materials[f"pkg:docker/{_written(wanted)}"] = base_image.manifest
        return state

    def context(self, name: str) -> Origin | None:
        """Return the files of a named context that is not an image; None when there is none of this name."""
        context = self._contexts.get(name.lower())
        if context is None or context.startswith(_IMAGES):
            return None
        with self._lock:
            origin = self._origins.get(name.lower())
            if origin is None:
                origin = self._origins[name.lower()] = self._opened(name, context)
            return origin

    def is_image(self, name: str) -> bool:
        """Tell whether a named context is an image."""
        return self._contexts.get(name.lower(), "").startswith(_IMAGES)

    def _opened(self, name: str, context: str) -> Origin:
        from .context.ignore import read

        if git.is_git(context):
            directory, _ = git.checkout(context, self._views.make_directory("git"))
            return Origin(name, directory, plain=True)
        if "://" in context:
            raise InvalidInput(
                f"unsupported context {context!r} for {name}",
                "use a directory, a Git address, docker-image://NAME or oci-layout://DIRECTORY",
            )
        directory = os.path.abspath(context)
        if not os.path.isdir(directory):
            raise NotFound(f"failed to get build context {name}: {context} is not a directory")
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
