"""`underlay man`."""

from __future__ import annotations

import os
import sys

from ....errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Print or install the manual pages"
SYNOPSIS = "man [OPTIONS] [COMMAND...]"
FLAGS: tuple[Flag, ...] = (
    ("install", "", "bool", "", "Put all pages where man looks for them, instead of printing one"),
    ("directory", "", "string", "path", "Where to put them"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the manual page of a command, of underlay without one; or write all pages into a directory."""
    from ...index import ALIASES, COMMANDS
    from ...manual import pages

    if options["install"] or options["directory"]:
        if arguments:
            raise InvalidInput("all pages are installed: name no command")
        directory = options["directory"] or pages.directory()
        os.makedirs(directory, exist_ok=True)
        for command in ("", *COMMANDS):
            with open(f"{directory}/{pages.name_of(command)}.1", "w", encoding="utf-8") as file:
                file.write(pages.page(command) + "\n")
        sys.stdout.write(f"{directory}\n")
        return 0
    command = " ".join(arguments)
    command = ALIASES.get(command, command)
    if command and command not in COMMANDS:
        raise InvalidInput(f"no command {command}", "`underlay --help` lists them")
    sys.stdout.write(pages.page(command) + "\n")
    return 0
