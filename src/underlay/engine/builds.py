"""Builds: images from Dockerfiles, and the cache of their steps."""

from __future__ import annotations

from ..build.request import BuildRequest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..build.output import Built
    from ..build.prune import CacheEntry, Pruned
    from ..store.images import Image
    from .engine import Engine


class Builds:
    """What can be done with builds of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, request: BuildRequest) -> Built:
        """Build an image as `request` says; returns its id, target and names.

        Raises InvalidInput (DockerfileError with the place in the Dockerfile), StepFailed, NotFound, Unsupported,
        and what fetching bases raises.
        """
        from ..build import builder
        from .build_steps import Composer

        engine = self._engine
        around = builder.Surroundings(
            engine.paths,
            engine.meta,
            engine.form,
            lambda event: engine.emit(event),
            lambda name, platform: self._find(name, platform, request.pull),
            Composer(engine, request),
        )
        return builder.build(request, around)

    def cached(self) -> list[CacheEntry]:
        """Return what the build cache holds, the longest unused first."""
        from ..build import prune

        return prune.entries(self._engine.paths, self._engine.meta)

    def prune(self, everything: bool = False, older: float = 0.0, keep: int = 0) -> Pruned:
        """Remove from the build cache what was not used for `older` seconds, until at most `keep` bytes are left.

        Without `everything` results stay whose layers images have, too.
        """
        from ..build import prune

        return prune.prune(self._engine.paths, self._engine.meta, everything, older, keep)

    def _find(self, name: str, platform: str, pull: bool) -> Image:
        from .creating import find_image
        from .options import ContainerOptions

        wish = ContainerOptions(image=name, platform=platform, pull="always" if pull else "missing")
        return find_image(self._engine, wish, pull=True)
