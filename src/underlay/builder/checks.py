"""Docker's build checks of a request's Dockerfile: its arguments, the context's ignore file, what its bases set."""

from __future__ import annotations

from ..dockerfile import lint, scope, spelling, stages, syntax
from ..dockerfile.problems import DockerfileError
from ..errors import InvalidInput, NotFound, UnderlayError
from ..oci import platform as platforms
from ..store.rows import images
from . import graph

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..dockerfile.metadata import Execution
    from ..dockerfile.rules import Finding
    from ..dockerfile.stages import Recipe
    from ..dockerfile.syntax import Document
    from ..paths import Paths
    from ..store.rows.meta import Meta
    from .bases import Look
    from .context.contexts import Context
    from .request import BuildRequest


def findings(
    request: BuildRequest,
    paths: Paths,
    meta: Meta,
    context: Context,
    document: Document,
    recipe: Recipe,
    look: Look | None = None,
) -> tuple[list[Finding], lint.Options]:
    """Return the findings, and the options that they were selected by; bases that are not here are asked of `look`."""
    options = _options(request, document)
    here = str(platforms.host().brief)
    predefined = scope.platform_arguments(here, here, request.target or "default")
    found = lint.check(
        document,
        recipe,
        options=options,
        given=request.arguments,
        predefined=predefined,
        bases=_configurations(request, (paths, meta), recipe, predefined, look),
        ignored=context.origin.ignored.ignored if context.origin.ignored is not None else None,
    )
    return found, options


def before(request: BuildRequest, context: Context, error: DockerfileError) -> list[Finding]:
    """Return what is found of how a Dockerfile is written above the line of `error`, which is why the rest is not read."""
    above = b"".join(context.data.splitlines(True)[: max(0, error.line - 1)])
    try:
        document = syntax.parse(above, context.name)
        recipe = stages.read(document)
        options = _options(request, document)
    except DockerfileError:
        return []
    found = [finding for finding in spelling.spelled(document, recipe) if options.wants(finding.rule)]
    return sorted(found, key=lambda finding: finding.line)


def _options(request: BuildRequest, document: Document) -> lint.Options:
    text = request.arguments.get("BUILDKIT_DOCKERFILE_CHECK")
    return lint.options_of(document) if text is None else lint.read_options(text)


def _configurations(
    request: BuildRequest, store: tuple[Paths, Meta], recipe: Recipe, predefined: dict[str, str], look: Look | None
) -> dict[int, Execution]:
    """Return the `config` of those bases that can be had, by the number of the stage; no layer is fetched."""
    executions: dict[int, Execution] = {}
    try:
        given = scope.global_arguments(recipe, request.arguments, predefined)
        planned = graph.plan(recipe, given.get, request.contexts)
    except InvalidInput:
        return {}  # the build will complain
    contexts = {name.lower() for name in request.contexts}
    for plan in planned:
        if plan.below is None and plan.base != graph.SCRATCH and plan.base.lower() not in contexts:
            try:
                image = images.resolve(store[1], plan.base)
            except (NotFound, InvalidInput):
                found = _asked(look, plan.base, plan.platform) if look is not None else None
                if found is not None:
                    executions[plan.stage.index] = found
                continue
            executions[plan.stage.index] = {**(images.config(store[0], image.id).get("config") or {})}
    return executions


def _asked(look: Look, name: str, platform: str) -> Execution | None:
    """Return what the base's registry says; a base that cannot be had is not what the checks are about."""
    try:
        return look(name, platform)
    except UnderlayError:
        return None
