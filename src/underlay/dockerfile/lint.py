"""Docker's build checks: what works in a Dockerfile and still should be written in another way."""

from __future__ import annotations

from ..lean.values import Value
from .evaluation import evaluated
from .problems import DockerfileError
from .rules import EXPERIMENTAL, Finding
from .spelling import spelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .stages import Recipe
    from .syntax import Document

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Options(Value):
    """Which rules are looked at: `skip` leaves out, `experimental` adds, each with `all`; `error` fails a build."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False

    def wants(self, rule: str) -> bool:
        """Tell whether findings of this rule are reported."""
        if rule in EXPERIMENTAL:
            return "all" in self.experimental or rule in self.experimental
        return "all" not in self.skip and rule not in self.skip


def read_options(text: str) -> Options:
    """Return what `# check=` or the build argument BUILDKIT_DOCKERFILE_CHECK says; raises DockerfileError."""
    values: dict[str, Any] = {}
    for part in text.split(";", 2) if text.strip() else ():
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals or name not in ("skip", "experimental", "error"):
            raise DockerfileError(
                f'invalid check option "{name if equals else part}"', "skip=…, experimental=…, error=…"
            )
        if name != "error":
            # Only alone does the word mean all rules.
            rules = [rule.strip() for rule in value.split(",")]
            values[name] = frozenset(rule for rule in rules if rule != "all" or len(rules) == 1)
        elif value in _TRUE or value in _FALSE:
            values[name] = value in _TRUE
        else:
            raise DockerfileError(f'failed to parse check option "{part}"', "true or false")
    return Options(**values)


def options_of(document: Document) -> Options:
    """Return what the Dockerfile itself says; raises DockerfileError."""
    try:
        return read_options(document.directives.get("check", ""))
    except DockerfileError as error:
        raise DockerfileError(error.problem, error.hint, document.source, 1, 1) from None


def check(
    document: Document,
    recipe: Recipe,
    *,
    options: Options | None = None,
    given: Mapping[str, str] | None = None,
    predefined: Mapping[str, str] | None = None,
    bases: Mapping[int, Mapping[str, Any]] | None = None,
    ignored: Callable[[str], bool] | None = None,
) -> list[Finding]:
    """Return what the checks find, in the order of the lines; raises DockerfileError when `# check=` is wrong.

    `options` are the document's unless they are given. `given` are the build arguments, `predefined` the platform
    arguments (scope.platform_arguments), `bases` the `config` members of base images by the number of the stage:
    a stage whose base image is not among them is not searched for undefined variables. `ignored` tells whether
    .dockerignore leaves a path out.
    """
    options = options_of(document) if options is None else options
    findings = [
        *spelled(document, recipe),
        *evaluated(recipe, document.escape, given or {}, predefined or {}, bases or {}, ignored),
    ]
    return sorted((finding for finding in findings if options.wants(finding.rule)), key=lambda item: item.line)


def failure(findings: Sequence[Finding], options: Options) -> DockerfileError | None:
    """Return the error that `error=true` makes of findings."""
    if not options.error or not findings:
        return None
    rules = ", ".join(sorted({finding.rule for finding in findings}))
    return DockerfileError(f"lint violation found for rules: {rules}")
