"""Build checks that need the values of variables: stage by stage, as a build would see them."""

from __future__ import annotations

import posixpath
import re

from .instructions import Add, Arg, Cmd, Copy, Entrypoint, Env, Expose, Instruction, Shell, Workdir, expand
from .metadata import environment_of
from .ports import read_ports
from .problems import DockerfileError, closest
from .rules import Finding, finding
from .scope import DEFAULT_PATH, declared, global_arguments
from .words import Expansion, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from .stages import Recipe, Stage

_NOT_IN_ENVIRONMENT = frozenset(("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"))
_REMOTE = re.compile(r"https?://|git://|git@|ssh://")
_HOST = r"(?:[a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@[a-z0-9+._-]+:[0-9a-fA-F]{{32,}})?")


def evaluated(
    recipe: Recipe,
    escape: str,
    given: Mapping[str, str],
    predefined: Mapping[str, str],
    bases: Mapping[int, Mapping[str, Any]],
    ignored: Callable[[str], bool] | None,
) -> Iterator[Finding]:
    """Yield the findings; what cannot be expanded is passed over: the build will complain."""
    try:
        scope = global_arguments(recipe, given, predefined)
        defaults = global_arguments(recipe, {}, predefined)
    except DockerfileError:
        return
    names = {name for item in recipe.arguments for name, _ in item.arguments} | set(scope)
    states: dict[int, _State] = {}
    for stage in recipe.stages:
        yield from _platform(stage, scope, names)
        yield from _default_base(stage, defaults)
        base = _expansion(stage.base, scope)
        if base:
            yield from _undeclared(stage, base, names)
        image = base.text if base else ""
        parent = recipe.named(image, stage.index)
        state = _State.after(states[parent.index]) if parent else _State.of(image, bases.get(stage.index))
        states[stage.index] = state
        for item in stage.instructions:
            yield from _Walk(state, escape, given, scope, ignored).step(item)


def _expansion(text: str, scope: Mapping[str, str]) -> Expansion | None:
    try:
        return process(text, scope.get)
    except DockerfileError:
        return None


def _undeclared(stage: Stage, expansion: Expansion, names: set[str]) -> Iterator[Finding]:
    # An argument without a value is declared all the same.
    for name in sorted(expansion.unset - names):
        message = f"FROM argument '{name}' is not declared{_meant(name, names)}"
        yield finding("UndefinedArgInFrom", stage.start, message)


def _platform(stage: Stage, scope: Mapping[str, str], names: set[str]) -> Iterator[Finding]:
    expansion = _expansion(stage.platform, scope) if stage.platform else None
    if expansion is None:
        return
    yield from _undeclared(stage, expansion, names)
    if expansion.used == {"TARGETPLATFORM"} and not expansion.unset and expansion.text == scope["TARGETPLATFORM"]:
        message = (
            f"Setting platform to predefined {stage.platform} in FROM is redundant as this is the default behavior"
        )
        yield finding("RedundantTargetPlatform", stage.start, message)
    if expansion.used or expansion.unset:
        return
    # A stage may be for one platform when its name says so.
    system, _, architecture = expansion.text.partition("/")
    if not stage.name or not any(part and part in stage.name for part in (system, architecture.partition("/")[0])):
        message = f'FROM --platform flag should not use constant value "{expansion.text}"'
        yield finding("FromPlatformFlagConstDisallowed", stage.start, message)


def _default_base(stage: Stage, defaults: Mapping[str, str]) -> Iterator[Finding]:
    expansion = _expansion(stage.base, defaults)
    if expansion and (expansion.used or expansion.unset) and not _IMAGE.fullmatch(expansion.text):
        message = f"Default value for ARG {stage.base} results in empty or invalid base image name"
        yield finding("InvalidDefaultArgInFrom", stage.start, message)


def _meant(name: str, names: set[str], sign: str = "") -> str:
    near = closest(name, names)
    return f" (did you mean {sign}{near}?)" if near else ""


class _State:
    """What a stage knows: `known` is false when its base image's environment is not."""

    def __init__(
        self, environment: dict[str, str], arguments: set[str], known: bool, shell: bool, workdir: bool
    ) -> None:
        self.environment = environment
        self.arguments = arguments
        self.known = known
        self.shell = shell
        self.workdir = workdir

    @classmethod
    def of(cls, base: str, execution: Mapping[str, Any] | None) -> _State:
        known = base == "scratch" or execution is not None
        execution = dict(execution or {})
        return cls(
            {"PATH": DEFAULT_PATH, **environment_of(execution)}, set(), known, bool(execution.get("Shell")), False
        )

    @classmethod
    def after(cls, base: _State) -> _State:
        return cls(dict(base.environment), set(base.arguments), base.known, base.shell, base.workdir)


class _Walk:
    """One step after the other through a stage."""

    def __init__(
        self,
        state: _State,
        escape: str,
        given: Mapping[str, str],
        scope: Mapping[str, str],
        ignored: Callable[[str], bool] | None,
    ) -> None:
        self._state = state
        self._escape = escape
        self._given = given
        self._scope = scope
        self._ignored = ignored

    def step(self, item: Instruction) -> Iterator[Finding]:
        state = self._state
        unset: set[str] = set()
        try:
            if isinstance(item, Arg):
                arguments = declared(item, self._given, self._scope, state.environment.get, self._escape, unset)
                yield from self._undefined(item, unset)
                state.arguments |= {name for name, _ in arguments}
                state.environment.update((name, value) for name, value in arguments if value is not None)
                return
            item = expand(item, state.environment.get, self._escape, unset)
        except DockerfileError:
            return
        yield from self._undefined(item, unset)
        if isinstance(item, Env):
            state.environment.update(item.variables)
        elif isinstance(item, Shell):
            state.shell = True
        elif isinstance(item, Cmd | Entrypoint) and item.command.shell and not state.shell:
            message = (
                f"JSON arguments recommended for {item.written} to prevent unintended behavior related to OS signals"
            )
            yield finding("JSONArgsRecommended", item, message)
        elif isinstance(item, Workdir):
            if not state.workdir and not item.path.startswith("/"):
                message = f'Relative workdir "{item.path}" can have unexpected results if the base image changes'
                yield finding("WorkdirRelativePath", item, message)
            state.workdir = True
        elif isinstance(item, Expose):
            yield from _ports(item)
        elif isinstance(item, Copy | Add):
            yield from self._copied(item)

    def _undefined(self, item: Instruction, unset: set[str]) -> Iterator[Finding]:
        if not self._state.known:
            return
        for name in sorted(unset - self._state.arguments - _NOT_IN_ENVIRONMENT):
            suggested = _meant(name, set(self._state.environment), "$")
            yield finding("UndefinedVar", item, f"Usage of undefined variable '${name}'{suggested}")

    def _copied(self, item: Copy | Add) -> Iterator[Finding]:
        if self._ignored is None or (isinstance(item, Copy) and item.from_):
            return
        for source in item.sources:
            path = posixpath.normpath(source)
            if (isinstance(item, Add) and _REMOTE.match(source)) or not self._ignored(path.lstrip("/")):
                continue
            verb = item.keyword.title()
            yield finding(
                "CopyIgnoredFile", item, f'Attempting to {verb} file "{path}" that is excluded by .dockerignore'
            )


def _ports(item: Expose) -> Iterator[Finding]:
    for text in item.ports:
        try:
            port = read_ports(text)
        except DockerfileError:
            continue
        if port.host:
            message = f"EXPOSE instruction should not define an IP address or host-port mapping, found '{text}'"
            yield finding("ExposeInvalidFormat", item, message)
        if port.protocol != port.protocol.lower():
            message = f"Defined protocol '{text}' in EXPOSE instruction should be lowercase"
            yield finding("ExposeProtoCasing", item, message)
