"""Which stages a target needs, and what each of them begins with and reads from: the graph of a build."""

from __future__ import annotations

from ..dockerfile import instructions as it
from ..dockerfile.stages import expand_from
from ..human import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..dockerfile.stages import Recipe, Stage

SCRATCH = "scratch"


class Planned:
    """A stage with its FROM resolved: `base` is what it names, `below` the number of the stage that is, or None.

    `needs` are the numbers of all stages that it waits for.
    """

    __slots__ = ("base", "below", "needs", "platform", "stage")

    def __init__(self, stage: Stage, base: str, platform: str, below: int | None, needs: set[int]) -> None:
        self.stage = stage
        self.base = base
        self.platform = platform
        self.below = below
        self.needs = needs

    @property
    def steps(self) -> int:
        """How many vertices of the stage there are for people: its base and what makes layers."""
        kinds = (it.Run, it.Transfer, it.Workdir)
        return (self.base != SCRATCH) + sum(isinstance(instruction, kinds) for instruction in self.stage.instructions)


def plan(recipe: Recipe, get: Callable[[str], str | None], contexts: Iterable[str]) -> list[Planned]:
    """Return all stages planned; `get` gives global arguments. Named contexts go before stages of the same name.

    Raises DockerfileError.
    """
    named = {name.lower() for name in contexts}
    planned: list[Planned] = []
    for stage in recipe.stages:
        base, platform = expand_from(stage, get)
        below = None
        if base.lower() not in named:
            other = recipe.named(base, before=stage.index)
            below = other.index if other is not None else None
        needs = {below} if below is not None else set()
        for instruction in stage.instructions:
            needs |= {
                n for origin in origins(instruction) if (n := number_of(recipe, origin, stage.index, named)) is not None
            }
        planned.append(Planned(stage, base, platform, below, needs))
    return planned


def origins(instruction: it.Instruction) -> list[str]:
    """Return what an instruction reads from beside its own stage: names and numbers of stages, contexts, images."""
    if isinstance(instruction, it.Copy):
        return [instruction.from_] if instruction.from_ else []
    if isinstance(instruction, it.Run):
        return [mount.from_ for mount in instruction.mounts if mount.from_]
    return []


def number_of(recipe: Recipe, name: str, before: int, contexts: set[str] | None = None) -> int | None:
    """Return the number of the earlier stage that `name` means; None for a context or an image."""
    if contexts and name.lower() in contexts:
        return None
    stage = recipe.named(name, before=before)
    if stage is not None:
        return stage.index
    if 0 <= whole(name) < before:
        return whole(name)
    return None


def needed(planned: list[Planned], target: int) -> list[int]:
    """Return the numbers of the stages that `target` needs, itself the last."""
    numbers: set[int] = set()
    waiting = [target]
    while waiting:
        number = waiting.pop()
        if number not in numbers:
            numbers.add(number)
            waiting += planned[number].needs
    return sorted(numbers - {target}) + [target]
