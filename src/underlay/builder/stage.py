"""One stage: its instructions in order, each taking the state on to the next."""

from __future__ import annotations

import posixpath

from ..dockerfile import instructions as it
from ..dockerfile.metadata import apply
from ..dockerfile.scope import declared
from ..dockerfile.stages import parse_triggers
from ..errors import InvalidInput, UnderlayError
from ..oci import platform as platforms
from . import graph, history_text
from .cache import keys
from .copy import transferring
from .filesystem import Filesystem
from .image import State
from .run import running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .graph import Planned
    from .solver import Solver, Work
    from .vertices import Vertex


class StageRun:
    """The making of one stage."""

    def __init__(self, work: Work, solver: Solver, planned: Planned) -> None:
        self.work = work
        self.solver = solver
        self.planned = planned
        self.state: State
        self._step = 0
        self._steps = planned.steps

    @property
    def use_cache(self) -> bool:
        """Whether results of earlier builds may be taken."""
        request = self.work.request
        return not request.no_cache and self.planned.stage.name not in {
            each.lower() for each in request.no_cache_filter
        }

    def run(self) -> State:
        """Carry the stage out; returns the state at its end."""
        self.state = self._begin()
        for instruction in [*self._triggers(), *self.planned.stage.instructions]:
            try:
                self._do(instruction)
            except UnderlayError as error:
                if not error.excerpt:
                    error.excerpt = instruction.problem("").excerpt
                raise
        return self.state

    def vertex(self, text: str) -> Vertex:
        """Return the vertex of the next step."""
        self._step += 1
        total = str(self._steps)
        place = f"{self._step:>{len(total)}}/{total}"
        words = [place]
        if len(self.work.planned) > 1:
            words.insert(0, self.planned.stage.label)
        if len(self.work.request.platforms) > 1:
            words.insert(0, str(self.work.target_platform.brief))
        return self.work.vertices(f"[{' '.join(words)}] {text}")

    def _begin(self) -> State:
        planned = self.planned
        if planned.below is not None:
            return self._on_stage(self.solver.stage(planned.below))
        platform = self._platform()
        if planned.base == graph.SCRATCH:
            return State(platform, Filesystem(keys.key("scratch")))
        bases = self.work.bases
        origin = bases.context(planned.base)
        if origin is not None:
            raise InvalidInput(
                f"FROM {planned.base}: the context of this name is no image",
                "COPY --from reads files; FROM needs an image",
            )
        try:
            with self.vertex(f"FROM {planned.base}"):
                return bases.image(planned.base, platform, self.work)
        except UnderlayError as error:
            error.excerpt = error.excerpt or planned.stage.start.problem("").excerpt
            raise

    def _on_stage(self, below: State) -> State:
        self._step += 1
        return below.copy()

    def _platform(self) -> platforms.Platform:
        text = self.planned.platform
        if not text:
            return self.work.target_platform
        try:
            return platforms.parse(text)
        except InvalidInput as error:
            raise self.planned.stage.start.problem(error.message, error.hint, text) from None

    def _triggers(self) -> list[it.Instruction]:
        """Return the instructions that the base asks for (ONBUILD); they count as steps, and are not passed on."""
        texts = self.state.execution.pop("OnBuild", None) or []
        found = parse_triggers(texts)
        self._steps += sum(isinstance(each, (it.Run, it.Transfer, it.Workdir)) for each in found)
        return found

    def _do(self, written: it.Instruction) -> None:
        if isinstance(written, it.Arg):
            self._arg(written)
            return
        instruction = it.expand(written, self.state.variables.get, self.work.escape)
        for name in graph.origins(instruction):
            # Waited for here: a step that is told to have begun shall have begun.
            self.solver.origin(name, self.planned.stage.index, self.state.platform)
        if isinstance(instruction, it.Run):
            running.run(self, instruction)
        elif isinstance(instruction, it.Transfer):
            transferring.transfer(self, instruction)
        elif isinstance(instruction, it.Workdir):
            self._workdir(instruction)
        elif isinstance(instruction, it.Maintainer):
            self.state.author = instruction.author
            self.state.record(history_text.metadata(instruction, self.state))
        else:
            self._metadata(instruction)

    def _metadata(self, instruction: it.Instruction) -> None:
        state = self.state
        state.execution = apply(instruction, state.execution, state.command_set)
        if isinstance(instruction, it.Cmd):
            state.command_set = True
        if isinstance(instruction, it.Env):
            state.variables.update(instruction.variables)
        if written := history_text.metadata(instruction, state):
            state.record(written)

    def _arg(self, instruction: it.Arg) -> None:
        work, state = self.work, self.state
        words = []
        for name, value in declared(
            instruction, work.request.arguments, work.globals, state.variables.get, work.escape
        ):
            state.arguments[name] = value
            if value is not None:
                state.variables[name] = value
            words.append(name if value is None else f"{name}={value}")
        state.record(f"ARG {' '.join(words)}")

    def _workdir(self, instruction: it.Workdir) -> None:
        self.state.execution = apply(instruction, self.state.execution)
        path = self.state.execution["WorkingDir"]
        if path == "/":
            self.state.record(f"WORKDIR {path}")
            return
        with self.vertex(instruction.text) as vertex:
            transferring.make_directory(self, vertex, path)
        self.state.record(f"WORKDIR {path}", self.created)

    created = 0  # when the last layer was made, ns since the epoch

    def grow(
        self, vertex: Vertex, key: str, make: Callable[[], Any], kind: str = "regular", linked: bool = False
    ) -> None:
        """Put the layer with the key `key` above the state, found or made by `make` (a `cache.Result`).

        A `linked` layer does not depend on those below: its key is its own alone.
        """
        below = self.state.filesystem
        parent = "" if linked else below.key
        made, self.created = self.work.cache.made(key, parent, vertex, make, self.use_cache, kind)
        self.state.filesystem = below.above(keys.key("linked", below.key, key) if linked else key, made)

    def absolute(self, path: str) -> str:
        """Return `path` as seen from the working directory."""
        return posixpath.normpath(posixpath.join(self.state.execution.get("WorkingDir") or "/", path))
