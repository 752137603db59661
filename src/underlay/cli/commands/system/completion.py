"""`underlay completion`."""

from __future__ import annotations

import os
import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Complete command lines in bash, zsh or fish"
SYNOPSIS = "completion [OPTIONS] bash|zsh|fish"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("install", "", "bool", "", "Put the script where the shell looks for it, instead of printing it"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the script of a shell, or install it."""
    from ...completion import scripts

    shell = arguments[0]
    if shell not in scripts.SCRIPTS:
        raise InvalidInput(f"no completion for {shell}", f"shells: {', '.join(scripts.SCRIPTS)}")
    if not options["install"]:
        sys.stdout.write(scripts.SCRIPTS[shell])
        return 0
    path = scripts.place(shell)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(scripts.SCRIPTS[shell])
    sys.stdout.write(f"{path}\n")
    if shell == "zsh":
        sys.stderr.write(f"hint: zsh finds it when {os.path.dirname(path)} is in its fpath before compinit\n")
    return 0
