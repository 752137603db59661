"""Which variables there are: the predefined platforms, arguments before the first FROM, ARG inside a stage."""

from __future__ import annotations

from .problems import DockerfileError
from .words import expand, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .instructions import Arg
    from .stages import Recipe
    from .words import Get

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def platform_arguments(build: str, target: str, stage: str = "default") -> dict[str, str]:
    """Return BUILDPLATFORM, TARGETPLATFORM and their parts; `build` and `target` are like `linux/arm/v7`."""
    arguments: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        arguments.update(
            {
                f"{prefix}PLATFORM": platform,
                f"{prefix}OS": system,
                f"{prefix}ARCH": architecture,
                f"{prefix}VARIANT": variant,
            }
        )
    return {**arguments, "TARGETSTAGE": stage}


def global_arguments(recipe: Recipe, given: Mapping[str, str], predefined: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of FROM lines; `given` are `--build-arg`, which win over what is `predefined` too.

    Raises DockerfileError.
    """
    scope = {**predefined, **{name: value for name, value in given.items() if name in predefined}}
    for instruction in recipe.arguments:
        for name, default in instruction.arguments:
            value = given.get(name)
            if value is None and default is not None:
                try:
                    value = process(default, scope.get).text
                except DockerfileError as error:
                    problem = f'failed to process "{default}": {error.problem}'
                    raise instruction.problem(problem, error.hint, default) from None
            if value is not None:
                scope[name] = value
    return scope


def declared(
    instruction: Arg,
    given: Mapping[str, str],
    outer: Mapping[str, str],
    get: Get,
    escape: str = "\\",
    unset: set[str] | None = None,
) -> list[tuple[str, str | None]]:
    """Return what an ARG inside a stage declares, each name with its value or None.

    A build argument wins over the default, which is then not looked at; without a default the value comes from
    `outer`, the global arguments. Raises DockerfileError.
    """
    values: list[tuple[str, str | None]] = []
    known: dict[str, str] = {}
    for name, default in instruction.arguments:
        value = given.get(name)
        if value is None and default is None:
            value = outer.get(name)
        elif value is None and default is not None:
            try:
                value = expand(default, lambda word: known.get(word, get(word)), escape, unset)
            except DockerfileError as error:
                problem = f'failed to process "{default}": {error.problem}'
                raise instruction.problem(problem, error.hint, default) from None
        if value is not None:
            known[name] = value
        values.append((name, value))
    return values
