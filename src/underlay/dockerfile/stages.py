"""A Dockerfile as its stages: what `FROM` begins, and the arguments before the first of them."""

from __future__ import annotations

from bisect import bisect_left

from ..human import whole
from ..lean.values import Value
from .instructions import Arg, From, Instruction
from .problems import DockerfileError, suggestion
from .reading import read_instruction
from .syntax import parse
from .words import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .syntax import Document
    from .words import Get


class Stage(Value):
    """A stage: its number from 0, its FROM, and the instructions up to the next."""

    index: int
    start: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name in lower case, "" when it has none."""
        return self.start.name

    @property
    def base(self) -> str:
        """The image or stage it builds on, before expansion."""
        return self.start.base

    @property
    def platform(self) -> str:
        """`--platform`, before expansion; "" when it is not given."""
        return self.start.platform

    @property
    def label(self) -> str:
        """How people call the stage."""
        return self.name or f"stage-{self.index}"


class Recipe(Value):
    """What a Dockerfile says: `arguments` are the ARGs before the first FROM; `numbers` are the stages of a name."""

    arguments: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    numbers: dict[str, list[int]]

    def named(self, name: str, before: int | None = None) -> Stage | None:
        """Return the last stage of this name, whatever its case; with `before` of those in front of that number."""
        numbers = self.numbers.get(name.lower(), [])
        count = len(numbers) if before is None else bisect_left(numbers, before)
        return self.stages[numbers[count - 1]] if count else None

    def target(self, name: str) -> Stage:
        """Return the stage that `--target` means, by name or number, "" the last; raises DockerfileError."""
        if not name:
            return self.stages[-1]
        stage = self.named(name)
        if stage is None and 0 <= whole(name) < len(self.stages):
            stage = self.stages[whole(name)]
        if stage is None:
            hint = suggestion(name, self.numbers)
            raise DockerfileError(f'target stage "{name}" could not be found', hint)
        return stage


def read(document: Document) -> Recipe:
    """Return the stages of a Dockerfile; raises DockerfileError."""
    arguments: list[Arg] = []
    starts: list[tuple[From, list[Instruction]]] = []
    for node in document.nodes:
        instruction = read_instruction(node)
        if isinstance(instruction, From):
            starts.append((instruction, []))
        elif starts:
            starts[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise node.problem("no build stage in current context", "a Dockerfile begins with FROM")
    if not starts:
        raise document.nodes[-1].problem("dockerfile contains no stages to build", "there is no FROM")
    stages = tuple(Stage(index, start, tuple(inside)) for index, (start, inside) in enumerate(starts))
    numbers: dict[str, list[int]] = {}
    for stage in stages:
        if stage.name:
            numbers.setdefault(stage.name, []).append(stage.index)
    return Recipe(tuple(arguments), stages, numbers)


def expand_from(stage: Stage, get: Get, unset: set[str] | None = None) -> tuple[str, str]:
    """Return base and platform of a stage, expanded with the global arguments; raises DockerfileError.

    BuildKit takes the backslash for the escape here, whatever the directive says.
    """
    expanded = []
    for text in (stage.base, stage.platform):
        try:
            expansion = process(text, get)
        except DockerfileError as error:
            raise stage.start.problem(f'failed to process "{text}": {error.problem}', "", text) from None
        if unset is not None:
            unset |= expansion.unset
        expanded.append(expansion.text)
    base, platform = expanded
    if not base:
        raise stage.start.problem(f"base name ({stage.base}) should not be blank", "", stage.base)
    if stage.platform and not platform:
        raise stage.start.problem(f"empty platform value from expression {stage.platform}", "", "--platform")
    return base, platform


def parse_triggers(triggers: Iterable[str], name: str = "ONBUILD") -> list[Instruction]:
    """Return the instructions that a base image's ONBUILD triggers are; raises DockerfileError."""
    instructions = []
    for trigger in triggers:
        nodes = parse(trigger.encode("utf-8", "surrogateescape"), name).nodes
        if len(nodes) != 1:
            raise nodes[-1].problem("onbuild trigger should be a single expression")
        instruction = read_instruction(nodes[0])
        if isinstance(instruction, From):
            raise nodes[0].problem("FROM isn't allowed as an ONBUILD trigger")
        instructions.append(instruction)
    return instructions
