"""The rules of the build checks: their names, what each says in general, and what a finding is."""

from __future__ import annotations

from ..lean.values import Value
from .problems import Source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .instructions import Instruction

RULES = {
    "ConsistentInstructionCasing": "Instructions are written all in capitals, or all in small letters",
    "CopyIgnoredFile": "What .dockerignore leaves out cannot be copied",
    "DuplicateStageName": "A name belongs to one stage",
    "ExposeInvalidFormat": "EXPOSE names ports of the container, without addresses and ports of the host",
    "ExposeProtoCasing": "Protocols of EXPOSE are in small letters",
    "FromAsCasing": "AS is written like FROM",
    "FromPlatformFlagConstDisallowed": "FROM --platform takes a variable, else the file builds for one platform only",
    "InvalidDefaultArgInFrom": "Without build arguments, defaults have to make a valid name of a base image",
    "InvalidDefinitionDescription": "A comment right above a stage or an argument begins with its name",
    "JSONArgsRecommended": "CMD and ENTRYPOINT in JSON form let the program receive signals",
    "LegacyKeyValueFormat": "ENV and LABEL take name=value",
    "MaintainerDeprecated": "A label names the author, MAINTAINER is deprecated",
    "MultipleInstructionsDisallowed": "Of several CMD, ENTRYPOINT or HEALTHCHECK only the last counts",
    "NoEmptyContinuation": "Empty lines inside an instruction will become errors",
    "RedundantTargetPlatform": "The target platform is the default of FROM --platform",
    "ReservedStageName": "scratch and context cannot be names of stages",
    "SecretsUsedInArgOrEnv": "ARG and ENV stay in the image: secrets come by mounts",
    "StageNameCasing": "Names of stages are in small letters",
    "UndefinedArgInFrom": "FROM uses arguments that are declared",
    "UndefinedVar": "Variables are defined before they are used",
    "WorkdirRelativePath": "A first WORKDIR that is relative depends on the base image",
}
EXPERIMENTAL = frozenset(("InvalidDefinitionDescription",))  # off unless asked for


class Finding(Value):
    """A violation found by a rule: `message` in docker's wording, and the lines concerned."""

    rule: str
    message: str
    source: Source
    line: int
    last_line: int

    @property
    def description(self) -> str:
        """The general description of the rule."""
        return RULES[self.rule]


def finding(rule: str, instruction: Instruction, message: str) -> Finding:
    """Return a finding about an instruction."""
    return Finding(rule, message, instruction.source, instruction.line, instruction.last_line)
