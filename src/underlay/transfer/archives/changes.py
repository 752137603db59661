"""`--change`: Dockerfile instructions that alter an image's configuration (Dockerfile reference, docker's CLI
pages)."""

from __future__ import annotations

from ...dockerfile import metadata
from ...dockerfile.instructions import Cmd, expand
from ...dockerfile.problems import DockerfileError
from ...dockerfile.reading import read_instruction
from ...dockerfile.syntax import parse
from ...errors import InvalidInput
from ...oci import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...dockerfile.instructions import Instruction
    from ...dockerfile.metadata import Execution

_ALLOWED = frozenset("cmd entrypoint env expose healthcheck label onbuild shell stopsignal user volume workdir".split())


def apply(changes: Sequence[str], start: Execution | None = None) -> Execution:
    """Return the `config` member of an image configuration after `changes`; raises InvalidInput, naming the
    change.

    `start` is the member before them; it is not altered.
    """
    execution = document.decode(document.encode(start or {}), "configuration")
    cmd_set = False
    for change in changes:
        try:
            instruction = _read(change)
            instruction = expand(instruction, metadata.environment_of(execution).get)
            execution = metadata.apply(instruction, execution, cmd_set)
        except DockerfileError as error:
            raise InvalidInput(f"--change {change!r}: {error.problem}", error.hint) from None
        cmd_set = cmd_set or isinstance(instruction, Cmd)
    if not (start or {}).get("ArgsEscaped"):
        execution.pop("ArgsEscaped", None)
    return {key: value for key, value in execution.items() if value is not None}


def _read(change: str) -> Instruction:
    word = change.strip().partition(" ")[0].lower()
    if word not in _ALLOWED:
        raise InvalidInput(f"{word or 'an empty line'} is not a valid change command: {change!r}")
    nodes = parse(change.encode("utf-8", "surrogateescape"), "--change").nodes
    if len(nodes) != 1:
        raise DockerfileError("more than one instruction")
    return read_instruction(nodes[0])
