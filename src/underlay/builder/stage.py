"""One stage: its instructions in order, each taking the state on to the next."""

from __future__ import annotations

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
from .stage_run import StageRun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cache.buildkit.keys import Key


class Stage(StageRun):
    """Carries one stage out, instruction by instruction."""

    def run(self) -> State:
        """Carry the stage out; returns the state at its end."""
        self.state = self._begin()
        for instruction in [*self._triggers(), *self.planned.stage.instructions]:
            try:
                self._do(instruction)
            except UnderlayError as error:
                _placed(error, instruction)
                raise
        return self.state

    def _begin(self) -> State:
        planned = self.planned
        if planned.below is not None:
            return self._on_stage(self.solver.stage(planned.below))
        platform = self._platform()
        if planned.base == graph.SCRATCH:
            return State(platform, Filesystem(keys.key("scratch"), (), self._scratch()))
        bases = self.work.bases
        origin = bases.context(planned.base)
        if origin is not None:
            raise InvalidInput(
                f"FROM {planned.base}: the build context of this name is not an image",
                "COPY --from reads files; FROM needs an image",
            )
        try:
            with self.vertex(f"FROM {planned.base}"):
                return bases.image(planned.base, platform, self.work.materials)
        except UnderlayError as error:
            self.work.suggest_stage(error, planned.base, planned.stage.index)
            _placed(error, planned.stage.start)
            raise

    def _scratch(self) -> Key | None:
        """Return BuildKit's key for nothing, if such keys are needed."""
        if not self.work.cache.buildkit:
            return None
        from .cache.buildkit.keys import SCRATCH

        return SCRATCH

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
        instructions = parse_triggers(texts)
        self._steps += sum(isinstance(instruction, (it.Run, it.Transfer, it.Workdir)) for instruction in instructions)
        return instructions

    def _do(self, written: it.Instruction) -> None:
        if isinstance(written, it.Arg):
            self._arg(written)
            return
        instruction = it.expand(written, self.state.variables.get, self.work.escape)
        for name in graph.origins(instruction):
            # Waited for here, so that a step that is reported as begun has begun.
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
            for name, value in instruction.variables:
                state.set_variable(name, value)
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
                state.set_variable(name, value)
            words.append(name if value is None else f"{name}={value}")
        state.record(f"ARG {' '.join(words)}")

    def _workdir(self, instruction: it.Workdir) -> None:
        self.state.execution = apply(instruction, self.state.execution)
        path = self.state.execution["WorkingDir"]
        if path == "/":
            self.state.record(f"WORKDIR {path}")
            return
        with self.vertex(self.shown(instruction)) as vertex:
            transferring.make_directory(self, vertex, path)
        self.state.record(f"WORKDIR {path}", self.created)


def _placed(error: UnderlayError, instruction: it.Instruction) -> None:
    """Say which instruction an error is about, unless that is known."""
    if not error.excerpt:
        problem = instruction.problem("")
        error.excerpt, error.place = problem.excerpt, problem.place
