"""Build checks of what is written, whatever the variables are."""

from __future__ import annotations

import re

from .instructions import Arg, Cmd, Entrypoint, Env, From, Healthcheck, Label, Maintainer
from .rules import Finding, finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .instructions import Instruction
    from .stages import Recipe
    from .syntax import Document

_RESERVED = ("context", "scratch")
_SECRET = re.compile(
    "(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_PUBLIC = re.compile("(?:_|^)public(?:_|$)", re.IGNORECASE)


def spelled(document: Document, recipe: Recipe) -> Iterator[Finding]:
    """Yield the findings, rule by rule."""
    for node in document.nodes:
        if node.empty_continuation:
            last = node.empty_continuation
            yield Finding("NoEmptyContinuation", "Empty continuation line", document.source, last, last)
    yield from _casing(recipe)
    yield from _names(recipe)
    yield from _descriptions(recipe)
    for stage in recipe.stages:
        yield from _from(stage.start)
        yield from _only_last(stage.instructions)
        for instruction in stage.instructions:
            yield from _instruction(instruction)


def _casing(recipe: Recipe) -> Iterator[Finding]:
    all_ = [item for stage in recipe.stages for item in (stage.start, *stage.instructions)]
    lower = sum(item.written == item.written.lower() for item in all_)
    upper = sum(item.written == item.written.upper() for item in all_)
    correct, casing = (str.lower, "lowercase") if lower > upper else (str.upper, "uppercase")
    for item in all_:
        if item.written != correct(item.written):
            message = f"Command '{item.written}' should match the case of the command majority ({casing})"
            yield finding("ConsistentInstructionCasing", item, message)


def _names(recipe: Recipe) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in recipe.stages:
        name, start = stage.name, stage.start
        if name in _RESERVED:
            yield finding(
                "ReservedStageName", start, f'Stage name should not use the same name as reserved stage "{name}"'
            )
        if name and name in seen:
            yield finding("DuplicateStageName", start, f'Duplicate stage name "{name}", stage names should be unique')
        seen.add(name)


def _descriptions(recipe: Recipe) -> Iterator[Finding]:
    items: list[Arg | From] = [*recipe.arguments]
    for stage in recipe.stages:
        items += (stage.start, *(item for item in stage.instructions if isinstance(item, Arg)))
    for described in items:
        names = [described.name] if isinstance(described, From) else [name for name, _ in described.arguments]
        if not described.comments or not names[0] or described.comments[-1].split(" ", 1)[0] in names:
            continue
        example = names[0] if len(names) == 1 else "<arg_key>"
        message = f"Comment for {described.keyword.upper()} should follow the format: `# {example} <description>`"
        yield finding("InvalidDefinitionDescription", described, message)


def _from(start: From) -> Iterator[Finding]:
    if start.name_written != start.name:
        yield finding("StageNameCasing", start, f"Stage name '{start.name_written}' should be lowercase")
    if not start.as_ or start.written not in ("from", "FROM"):
        return
    if start.as_ != (start.as_.lower() if start.written == "from" else start.as_.upper()):
        message = f"'{start.as_}' and '{start.written}' keywords' casing do not match"
        yield finding("FromAsCasing", start, message)


def _only_last(instructions: tuple[Instruction, ...]) -> Iterator[Finding]:
    for kind in (Cmd, Entrypoint, Healthcheck):
        for item in [item for item in instructions if isinstance(item, kind)][:-1]:
            message = (
                f"Multiple {item.written} instructions should not be used in the same stage "
                "because only the last one will be used"
            )
            yield finding("MultipleInstructionsDisallowed", item, message)


def _instruction(item: Instruction) -> Iterator[Finding]:
    names: list[str] = []
    if isinstance(item, Maintainer):
        yield finding("MaintainerDeprecated", item, "Maintainer instruction is deprecated in favor of using label")
    elif isinstance(item, Env | Label) and item.legacy:
        word = item.keyword.upper()
        message = f'"{word} key=value" should be used instead of legacy "{word} key value" format'
        yield finding("LegacyKeyValueFormat", item, message)
    if isinstance(item, Env):
        names = [name for name, _ in item.variables]
    elif isinstance(item, Arg):
        names = [name for name, _ in item.arguments]
    for name in names:
        if _SECRET.search(name) and not _PUBLIC.search(name):
            word = item.keyword.upper()
            message = f'Do not use ARG or ENV instructions for sensitive data ({word} "{name}")'
            yield finding("SecretsUsedInArgOrEnv", item, message)
