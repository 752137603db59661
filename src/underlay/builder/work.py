"""State shared by all stages of a build: request, context, cache, workers, and the materials for provenance."""

from __future__ import annotations

import os

from ..dockerfile.problems import closest
from ..errors import NotFound, RegistryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..dockerfile.stages import Recipe
    from ..errors import UnderlayError
    from ..oci.platform import Platform
    from .bases import Bases
    from .cache.cache import Cache
    from .context.contexts import Context
    from .copy.remembered import Remembered
    from .filesystem import Views
    from .graph import Planned
    from .request import BuildRequest, Steps
    from .vertices import Vertices
    from .workers.workers import Foreman


class Work:
    """What all stages of one build share."""

    def __init__(
        self,
        request: BuildRequest,
        context: Context,
        recipe: Recipe,
        platforms: tuple[Platform, Platform],
        views: Views,
        foreman: Foreman,
        cache: Cache,
        vertices: Vertices,
        bases: Bases,
        steps: Steps,
        remembered: Remembered,
        escape: str,
    ) -> None:
        self.request = request
        self.context = context
        self.recipe = recipe
        self.build_platform, self.target_platform = platforms
        self.views = views
        self.foreman = foreman
        self.cache = cache
        self.vertices = vertices
        self.bases = bases
        self.steps = steps
        self.remembered = remembered
        self.escape = escape
        self.globals: dict[str, str] = {}
        self.planned: list[Planned] = []
        self.invocation = os.urandom(16).hex()
        self.materials: dict[str, str] = {}  # addresses and digests of what was read, for provenance

    def suggest_stage(self, error: UnderlayError, name: str, before: int) -> None:
        """Where an image cannot be had, name the stage that may have been meant instead."""
        names = [stage.name for stage in self.recipe.stages[:before] if stage.name]
        near = closest(name, names)
        if near and isinstance(error, NotFound | RegistryError):
            error.hint = f"did you mean the stage {near}?" + (f" {error.hint}" if error.hint else "")
