"""What a Dockerfile offers those who build it: its targets, and what one of them takes: arguments, secrets, agents.

Comments right above a stage or an argument that begin with its name describe it (docker build, "--call").
"""

from __future__ import annotations

from ..dockerfile import instructions as it
from ..dockerfile import scope
from ..dockerfile.mounts import read_mount
from ..errors import InvalidInput
from ..lean.values import Value
from ..oci import platform as platforms
from . import graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..dockerfile.stages import Recipe, Stage
    from .request import BuildRequest


class Described(Value):
    """A target or an argument: its name, what is said of it, and the value that it has."""

    name: str
    description: str = ""
    value: str = ""


class Wanted(Value):
    """A secret or an agent that a step asks for."""

    name: str
    required: bool = False


class Outline(Value):
    """A target with all that it takes."""

    target: Described
    arguments: list[Described] = []
    secrets: list[Wanted] = []
    agents: list[Wanted] = []


def targets(recipe: Recipe) -> list[Described]:
    """Return the stages that can be built by their names, and the last, which is the default (its value is "default")."""
    found = []
    for stage in recipe.stages:
        last = stage is recipe.stages[-1]
        if stage.name or last:
            found.append(Described(stage.name or "", _description(stage), "default" if last else ""))
    return found


def outline(request: BuildRequest, recipe: Recipe) -> Outline:
    """Return what the target of a request takes. Raises DockerfileError, InvalidInput."""
    target = recipe.target(request.target)
    here = str(platforms.host().brief)
    predefined = scope.platform_arguments(here, here, request.target or "default")
    given = scope.global_arguments(recipe, request.arguments, predefined)
    planned = graph.plan(recipe, given.get, request.contexts)
    needed = graph.needed(planned, target.index)
    arguments: dict[str, Described] = {}
    secrets: dict[str, Wanted] = {}
    agents: dict[str, Wanted] = {}
    for instruction in recipe.arguments:
        for name, _ in instruction.arguments:
            arguments[name] = Described(name, _said(name, instruction.comments), given.get(name, ""))
    for number in needed:
        for item in recipe.stages[number].instructions:
            if isinstance(item, it.Arg):
                _take(item, request, given, arguments)
            elif isinstance(item, it.Run):
                _asked(item, secrets, agents)
    return Outline(
        Described(target.name, _description(target)),
        [argument for _, argument in sorted(arguments.items())],
        list(secrets.values()),
        list(agents.values()),
    )


def _take(item: it.Arg, request: BuildRequest, given: dict[str, str], arguments: dict[str, Described]) -> None:
    for name, default in item.arguments:
        known = arguments.get(name)
        value = request.arguments.get(name, default if default is not None else given.get(name, ""))
        description = _said(name, item.comments) or (known.description if known is not None else "")
        arguments[name] = Described(name, description, value)


def _asked(item: it.Run, secrets: dict[str, Wanted], agents: dict[str, Wanted]) -> None:
    for text in item.mount_texts:
        try:
            mount = read_mount(text, lambda word: word)
        except InvalidInput:
            continue  # a value that depends on variables
        if mount.kind in ("secret", "ssh"):
            wanted = secrets if mount.kind == "secret" else agents
            required = mount.required or (mount.id in wanted and wanted[mount.id].required)
            wanted[mount.id] = Wanted(mount.id, required)


def _description(stage: Stage) -> str:
    return _said(stage.start.name_written, stage.start.comments)


def _said(name: str, comments: Sequence[str]) -> str:
    """Return what the last of the comments above something says of it, if it is about it."""
    first, _, rest = (comments[-1] if comments else "").partition(" ")
    return rest.strip() if name and first.lower() == name.lower() else ""
