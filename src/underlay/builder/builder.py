"""One build: reads context and Dockerfile, solves the target for each platform, and writes the outputs."""

from __future__ import annotations

import os
from time import time_ns

from ..dockerfile import lint, scope, stages, syntax
from ..dockerfile.problems import DockerfileError
from ..errors import InvalidInput, UnderlayError
from ..human import whole
from ..oci import platform as platforms
from ..oci import reference as references
from ..store import leases
from ..store.scratch import Scratch
from . import checks, frontends, graph
from .bases import Bases
from .cache.cache import Cache
from .context import contexts
from .copy.remembered import Remembered
from .filesystem import Views
from .output import output
from .solver import Solver
from .vertices import Vertices
from .work import Work
from .workers.workers import Foreman

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..dockerfile.rules import Finding
    from ..dockerfile.stages import Recipe
    from ..dockerfile.syntax import Document
    from ..events import Emit
    from ..paths import Paths
    from ..registry.credentials import Store as Credentials
    from ..registry.registries import Registries
    from ..store.rows.meta import Meta
    from .bases import Find, Look
    from .context.contexts import Context
    from .image import State
    from .output.output import Built
    from .request import BuildRequest, CacheStore, Steps
    from .workers.workers import Jobs


class Surroundings:
    """What a build needs of the engine: its paths, `emit` for events, `find` for base images, `look` for what their
    registries say of them, `steps` to compose RUN steps, `credentials` of registries with caches (None: the user's).

    `helper` is the interpreter, with its import path, for the process of the build's jobs; None forks it.
    """

    __slots__ = ("credentials", "emit", "find", "form", "helper", "look", "meta", "paths", "steps")

    def __init__(
        self,
        paths: Paths,
        meta: Meta,
        form: str,
        emit: Emit,
        find: Find,
        look: Look,
        steps: Steps,
        helper: tuple[str, list[str]] | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self.credentials = credentials
        self.paths = paths
        self.meta = meta
        self.form = form
        self.emit = emit
        self.find = find
        self.look = look
        self.steps = steps
        self.helper = helper


def build(request: BuildRequest, around: Surroundings) -> Built:
    """Build what is asked for; returns what has been made.

    Raises DockerfileError, StepFailed, NotFound, Unsupported, Corrupt, and what pulls raise; layers of steps that were
    done are kept for the next build then, and nothing else.
    """
    request = request.changed(platforms=platforms.split(request.platforms))
    _check(request)
    begun = time_ns()
    paths = around.paths
    wanted = [platforms.parse(platform) for platform in request.platforms] or [platforms.host()]
    lease = leases.working(paths)
    registries = None
    with lease, Scratch(paths, "build") as scratch:
        foreman = Foreman(_jobs, scratch.path, (lease.fd, scratch.fd), around.helper)
        if request.cancellation is not None:
            request.cancellation.on_cancel(foreman.abandon)
        try:
            vertices = Vertices(around.emit)
            views = Views(paths, around.form, foreman, scratch.path)
            if _asks_registries(request):
                from ..registry.registries import Registries

                registries = Registries(around.emit, credentials=around.credentials)
            imports = None
            if request.cache_from:
                from .cache import outside

                imports = outside.Imports(paths, around.meta, request.cache_from, registries, vertices)
            buildkit = bool(request.cache_to) or (imports is not None and imports.buildkit)
            cache = Cache(paths, around.meta, request.epoch, imports, buildkit)
            with vertices("[internal] load build definition"):
                context = contexts.open_context(request, paths, views, foreman)
                document, recipe = _read(request, context, vertices)
                target = recipe.target(request.target)
            _lint(request, around, context, document, recipe, vertices)
            try:
                remembered = Remembered(paths)
                bases = Bases(paths, around.find, request.contexts, views, buildkit)
                works = [
                    Work(
                        request,
                        context,
                        recipe,
                        (platforms.host(), platform),
                        views,
                        foreman,
                        cache,
                        vertices,
                        bases,
                        around.steps,
                        remembered,
                        document.escape,
                    )
                    for platform in wanted
                ]
                states = [_solved(work, target.index) for work in works]
                remembered.save()
            finally:
                # What has been done stays done, also when something else has failed.
                cache.settle()
            built = output.deliver(works, states, around, begun)
            for store in request.cache_to:
                if store.kind != "inline":
                    _export(store, cache, states, registries, around, vertices)
            return built
        except BaseException:
            foreman.abandon()
            raise
        finally:
            foreman.close()
            around.steps.close()
            if registries is not None:
                registries.cancel()
                registries.transport.close()


def check(request: BuildRequest, around: Surroundings) -> tuple[list[Finding], DockerfileError | None]:
    """Return what docker's build checks find in the Dockerfile of a request, nothing being built; and the error that they
    make where the Dockerfile asks for that, or for which it cannot be read beyond them."""
    _check(request)
    with leases.working(around.paths) as lease, Scratch(around.paths, "build") as scratch:
        foreman = Foreman(_jobs, scratch.path, (lease.fd, scratch.fd), around.helper)
        try:
            views = Views(around.paths, around.form, foreman, scratch.path)
            context = contexts.open_context(request, around.paths, views, foreman)
            try:
                document = syntax.parse(context.data, context.name)
                frontends.check(document, request.arguments.get("BUILDKIT_SYNTAX", ""))
                recipe = stages.read(document)
            except DockerfileError as error:
                return checks.before(request, context, error), error
            recipe.target(request.target)
            findings, options = checks.findings(
                request, around.paths, around.meta, context, document, recipe, around.look
            )
            return findings, lint.failure(findings, options)
        finally:
            foreman.close()


def read(request: BuildRequest, around: Surroundings) -> Recipe:
    """Return what the Dockerfile of a request says, nothing being built. Raises DockerfileError, NotFound, InvalidInput."""
    _check(request)
    with leases.working(around.paths) as lease, Scratch(around.paths, "build") as scratch:
        foreman = Foreman(_jobs, scratch.path, (lease.fd, scratch.fd), around.helper)
        try:
            views = Views(around.paths, around.form, foreman, scratch.path)
            context = contexts.open_context(request, around.paths, views, foreman)
            document = syntax.parse(context.data, context.name)
            frontends.check(document, request.arguments.get("BUILDKIT_SYNTAX", ""))
            return stages.read(document)
        finally:
            foreman.close()


def _read(request: BuildRequest, context: Context, vertices: Vertices) -> tuple[Document, Recipe]:
    """Return the Dockerfile, read; tells what the build checks find above a place where it cannot be."""
    try:
        document = syntax.parse(context.data, context.name)
        frontends.check(document, request.arguments.get("BUILDKIT_SYNTAX", ""))
        return document, stages.read(document)
    except DockerfileError as error:
        _tell(checks.before(request, context, error), vertices)
        raise


def _lint(
    request: BuildRequest,
    around: Surroundings,
    context: Context,
    document: Document,
    recipe: Recipe,
    vertices: Vertices,
) -> None:
    """Tell what the build checks find; raises DockerfileError where the Dockerfile wants that."""
    findings, options = checks.findings(request, around.paths, around.meta, context, document, recipe)
    _tell(findings, vertices)
    failure = lint.failure(findings, options)
    if failure is not None:
        raise failure


def _tell(findings: list[Finding], vertices: Vertices) -> None:
    for finding in findings:
        vertices.warn(f"{finding.rule}: {finding.message} (line {finding.line})")


def _jobs() -> tuple[Jobs, Jobs]:
    """Return what workers can do, all that it needs imported once for all of them."""
    from .workers import jobs

    jobs.preload()
    return jobs.JOBS, jobs.INLINE


def _solved(work: Work, target: int) -> State:
    request = work.request
    predefined = scope.platform_arguments(
        str(work.build_platform.brief), str(work.target_platform.brief), request.target or "default"
    )
    work.globals = scope.global_arguments(work.recipe, request.arguments, predefined)
    work.planned = graph.plan(work.recipe, work.globals.get, request.contexts)
    return Solver(work).solve(target)


def _asks_registries(request: BuildRequest) -> bool:
    return any(store.kind == "registry" for store in (*request.cache_from, *request.cache_to))


def _export(
    store: CacheStore,
    cache: Cache,
    states: list[State],
    registries: Registries | None,
    around: Surroundings,
    vertices: Vertices,
) -> None:
    """Write results to an external cache: all of this build, or only those in the image (mode=min)."""
    from .cache import outside

    if store.kind not in outside.KINDS:
        vertices.warn(f"--cache-to type={store.kind} is not supported and was ignored")
        return
    records, noted = list(cache.records.values()), cache.noted
    if not store.everything:
        wanted = {made.layer().diff_id for state in states for made in state.filesystem.layers}
        records = [record for record in records if record.layer.diff_id in wanted]
        noted = [
            (filesystem, created)
            for filesystem, created in noted
            if any(filesystem.layers == state.filesystem.layers[: len(filesystem.layers)] for state in states)
        ]
    try:
        with vertices(f"exporting cache to {store.kind} {store.location}"):
            outside.export(around.paths, store, outside.Results(records, noted), registries, around.emit)
    except (UnderlayError, OSError) as error:
        if not store.ignore_error:
            raise
        vertices.warn(f"the cache could not be written to {store.location}: {error}")


def _check(request: BuildRequest) -> None:
    """Refuse what makes no sense before anything is done."""
    for store in (*request.cache_from, *request.cache_to):
        if store.kind == "registry":
            references.parse(store.location)
    for text in request.tags:
        if references.parse(text).digest:
            raise InvalidInput(f"invalid tag {text!r}: a tag cannot contain a digest")
    if request.epoch is None and (epoch := request.arguments.get("SOURCE_DATE_EPOCH")):
        if whole(epoch) < 0 or len(epoch) > 12:
            raise InvalidInput(f"invalid SOURCE_DATE_EPOCH: {epoch!r}", "it is a number of seconds since 1970")
        request.epoch = whole(epoch)
    if request.context == "-" and request.dockerfile == "-":
        raise InvalidInput("invalid argument: can't use stdin for both build context and dockerfile")
    for socket in request.ssh.values():
        if not os.path.exists(socket):
            raise InvalidInput(f"invalid empty ssh agent socket: {socket or 'SSH_AUTH_SOCK is not set'}")
