"""Builds: images from Dockerfiles, and the cache of their steps."""

from __future__ import annotations

import threading

from ...events import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from ...builder.builder import Surroundings
    from ...builder.cache.prune import CacheEntry
    from ...builder.outline import Described, Outline
    from ...builder.request import BuildRequest, StepRequest
    from ...dockerfile.metadata import Execution
    from ...dockerfile.problems import DockerfileError
    from ...dockerfile.rules import Finding
    from ...runtime.monitor.records import StepRecord
    from ...store.pruned import Pruned
    from ...store.rows.images import ImageRow
    from ...store.store import Store
    from ..keywords import BuildKeywords
    from .result import BuildResult
    from .steps import Composer


class Builds:
    """What can be done with builds of an engine."""

    def __init__(self, store: Store, network: str = "", forks: bool = False) -> None:
        """`network` is the default network of steps, "" for the best that this host and user allow.

        `forks` says that this process exits after the build, so that helpers may be forked from it.
        """
        self._store = store
        self._network = network
        self._forks = forks

    def build(self, context: str | BuildRequest = ".", **options: Unpack[BuildKeywords]) -> BuildResult:
        """Build an image from a context; `options` are keywords with the names of BuildRequest, which may be given instead.

        Raises InvalidInput (DockerfileError with the place in the Dockerfile), StepFailed, NotFound, Unsupported,
        and what fetching bases raises.
        """
        from ...builder import builder
        from ...store.rows import images
        from ..given import build_request
        from ..images.handle import Image
        from ..space import Writing
        from .result import BuildResult

        request = build_request(context, {**options})
        with Writing(self._store, "build"):
            built = builder.build(request, self._around(request))
        row = images.get(self._store.meta, built.id) if built.id else None
        return BuildResult(built, Image(self._store, row) if row is not None else None)

    def check(
        self, context: str | BuildRequest = ".", **options: Unpack[BuildKeywords]
    ) -> tuple[list[Finding], DockerfileError | None]:
        """Return the findings of docker's build checks in the Dockerfile that `build` would use, and the error to raise if
        the Dockerfile itself asks for findings to be errors.

        Nothing is built. Raises InvalidInput for a Dockerfile that cannot be read.
        """
        from ...builder import builder
        from ..given import build_request

        request = build_request(context, {**options})
        return builder.check(request, self._around(request))

    def targets(self, context: str | BuildRequest = ".", **options: Unpack[BuildKeywords]) -> list[Described]:
        """Return the stages of a Dockerfile that can be built, with what comments say of them."""
        from ...builder import builder, outline
        from ..given import build_request

        request = build_request(context, {**options})
        return outline.targets(builder.read(request, self._around(request)))

    def outline(self, context: str | BuildRequest = ".", **options: Unpack[BuildKeywords]) -> Outline:
        """Return what the target of a build takes: arguments, secrets, agents."""
        from ...builder import builder, outline
        from ..given import build_request

        request = build_request(context, {**options})
        return outline.outline(request, builder.read(request, self._around(request)))

    def _around(self, request: BuildRequest) -> Surroundings:
        from ...builder import builder

        store = self._store
        return builder.Surroundings(
            store.paths,
            store.meta,
            store.form,
            lambda event: store.emit(event),
            lambda name, platform: self._find(name, platform, request.pull),
            self._look,
            _Steps(store, request, self._network),
            None if self._forks else _helper(),
            store.credentials,
        )

    def cached(self) -> list[CacheEntry]:
        """Return the entries of the build cache, least recently used first."""
        from ...builder.cache import prune

        return prune.entries(self._store.paths, self._store.meta)

    def prune(self, everything: bool = False, older: float = 0.0, keep: int = 0) -> Pruned:
        """Remove entries of the build cache not used for `older` seconds, until at most `keep` bytes are left.

        Without `everything`, results whose layers are also used by images are kept.
        """
        from ...builder.cache import prune

        pruned = prune.prune(self._store.paths, self._store.meta, everything, older, keep)
        self._store.emit(Event("builder.prune", "", reclaimed=pruned.reclaimed))
        return pruned

    def _look(self, name: str, platform: str) -> Execution:
        from ...oci import platform as platforms
        from ...oci import reference as references
        from ...registry.registries import Registries
        from ...transfer.registry import remote

        wanted = [platforms.parse(platform)] if platform else []
        with Registries(self._store.emit, credentials=self._store.credentials) as session:
            _, _, candidates = remote.look(session, references.parse(name), wanted)
        return dict(candidates[0].config.value.get("config") or {})

    def _find(self, name: str, platform: str, pull: bool) -> ImageRow:
        from ..images.find import find_image

        if name.startswith("oci-layout://"):
            from .layouts import find_layout

            return find_layout(self._store, name, platform)
        return find_image(self._store, name, platform, "always" if pull else "missing")


def _helper() -> tuple[str, list[str]]:
    """Return the interpreter for the process of a build's jobs: it imports from where this process does."""
    import sys

    from ...paths import interpreter

    python, own = interpreter()
    return python, [*own, *(path for path in sys.path if path.startswith("/") and path not in own)]


class _Steps:
    """Composes the steps of one build; what that takes is imported and looked up when the first one is carried out."""

    def __init__(self, store: Store, request: BuildRequest, network: str) -> None:
        self._store = store
        self._request = request
        self._network = network
        self._lock = threading.Lock()
        self._composer: Composer | None = None
        if request.network not in ("", "default", "none", "host") or request.isolation or request.kernel:
            self._begun()  # whether there is such a network, or kernel, is known before anything is built

    @property
    def network(self) -> str:
        """What network steps have that ask for the default one."""
        return self._begun().networks.mode

    def compose(self, step: StepRequest) -> StepRecord:
        """Return the launch record of a step."""
        return self._begun().compose(step)

    def done(self, step: StepRequest) -> None:
        """Let what was lent to a step go to another."""
        self._begun().done(step)

    def close(self) -> None:
        """Take down what was made for steps."""
        if self._composer is not None:
            self._composer.networks.close()

    def _begun(self) -> Composer:
        with self._lock:
            if self._composer is None:
                from .steps import Composer

                self._composer = Composer(self._store, self._request, self._network)
            return self._composer
