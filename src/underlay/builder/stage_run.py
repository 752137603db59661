"""A stage while it is made, as its instructions see it: its state, the names of its steps, and how it grows by a layer."""

from __future__ import annotations

import posixpath

from ..dockerfile import instructions as it
from ..dockerfile.problems import DockerfileError
from ..dockerfile.words import process
from .cache import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ..oci.platform import Platform
    from .cache.buildkit.keys import Key
    from .cache.cache import Result
    from .context.contexts import Origin
    from .graph import Planned
    from .image import State
    from .vertices import Vertex
    from .work import Work

    class Stages(Protocol):
        """The other stages of the build, each made once, for the first that asks."""

        def stage(self, number: int) -> State:
            """Return the state at the end of a stage."""

        def origin(self, name: str, before: int, platform: Platform) -> Origin:
            """Return what COPY --from copies from: a stage before number `before`, a named context or an image."""


class StageRun:
    """What the instructions of a stage work on."""

    def __init__(self, work: Work, solver: Stages, planned: Planned) -> None:
        self.work = work
        self.solver = solver
        self.planned = planned
        self.state: State
        self._step = 0
        self._steps = planned.steps

    created = 0  # when the last layer was made, ns since the epoch

    @property
    def use_cache(self) -> bool:
        """Whether results of earlier builds may be taken."""
        request = self.work.request
        return not request.no_cache and self.planned.stage.name not in {
            name.lower() for name in request.no_cache_filter
        }

    def vertex(self, text: str) -> Vertex:
        """Return the vertex of the next step."""
        self._step += 1
        total = str(self._steps)
        position = f"{self._step:>{len(total)}}/{total}"
        words = [position]
        if len(self.work.planned) > 1:
            words.insert(0, self.planned.stage.label)
        if len(self.work.request.platforms) > 1:
            words.insert(0, str(self.work.target_platform.brief))
        return self.work.vertices(f"[{' '.join(words)}] {text}")

    def shown(self, instruction: it.Instruction) -> str:
        """Return an instruction as people see it: with the values of variables, but not those of secrets."""
        secrets: set[str] = set()
        if isinstance(instruction, it.Run):
            secrets = {mount.env for mount in instruction.mounts if mount.env is not None}

        def get(name: str) -> str | None:
            return "****" if name in secrets else self.state.variables.get(name)

        try:
            return process(instruction.text, get, self.work.escape, raw_quotes=True, keep_unset=True).text
        except DockerfileError:
            return instruction.text  # a quote that the shell will understand, or complain about

    def grow(
        self,
        vertex: Vertex,
        key: str,
        make: Callable[[], Result],
        linked: bool = False,
        buildkit: Callable[[Key], Key | None] | None = None,
    ) -> None:
        """Put the layer with the key `key` above the state, found or made by `make`.

        A `linked` layer does not depend on those below: its key is its own alone. `buildkit` returns BuildKit's key for
        it above another one of BuildKit's.
        """
        cache, below = self.work.cache, self.state.filesystem
        theirs = buildkit(below.buildkit) if buildkit is not None and below.buildkit is not None else None
        parent = "" if linked else below.key
        made, self.created = cache.made(key, parent, vertex, make, self.use_cache, theirs=theirs, below=below.layers)
        self.state.filesystem = below.above(keys.key("linked", below.key, key) if linked else key, made, theirs)
        cache.note(self.state.filesystem, self.created)

    def absolute(self, path: str) -> str:
        """Return `path` as seen from the working directory."""
        return posixpath.normpath(posixpath.join(self.state.execution.get("WorkingDir") or "/", path))
