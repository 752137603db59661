"""Manual pages (man(7)) of all commands, made from the tables of commands and flags."""

from __future__ import annotations

import os

from ... import __version__
from ..flags.globalflags import GLOBAL_FLAGS
from ..index import COMMANDS
from .examples import EXAMPLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..flags import Flag


def page(command: str) -> str:
    """Return the page of a command in roff, that of the program for ""."""
    if not command:
        return "\n".join(_program())
    module = __import__(f"underlay.cli.commands.{COMMANDS[command][0]}", fromlist=["FLAGS"])
    synopsis = module.SYNOPSIS.split("\n")
    lines = [
        *_head(name_of(command)),
        ".SH NAME",
        f"{_text(name_of(command))} \\- {_text(module.SUMMARY)}",
        ".SH SYNOPSIS",
    ]
    for line in synopsis:
        lines += [f".B underlay {_text(line.strip().removeprefix('underlay '))}", ".br"]
    description = " ".join((module.run.__doc__ or module.SUMMARY).split())
    lines += [".SH DESCRIPTION", _text(description)]
    if module.FLAGS:
        lines += [".SH OPTIONS", *_flags(module.FLAGS)]
    lines += _examples(command)
    below = sorted(name for name in COMMANDS if name.startswith(command + " "))
    lines += [".SH SEE ALSO", ", ".join(_reference(name) for name in ("", *below))]
    return "\n".join(lines)


def name_of(command: str) -> str:
    """Return the name of a command's page."""
    return "-".join(("underlay", *command.split()))


def directory() -> str:
    """Return where man(1) finds pages by itself: root's for everybody, else the user's own."""
    if os.geteuid() == 0:
        return "/usr/local/share/man/man1"
    return (os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) + "/man/man1"


def _program() -> Iterator[str]:
    yield from _head("underlay")
    yield from (".SH NAME", "underlay \\- a container engine that knows what every image stands on")
    yield from (".SH SYNOPSIS", ".B underlay [OPTIONS] COMMAND", ".SH OPTIONS", *_flags(GLOBAL_FLAGS), ".SH COMMANDS")
    for name, (_, text) in sorted(COMMANDS.items()):
        yield from (".TP", _reference(name), _text(text))
    yield from (".SH FILES", ".TP", ".B /etc/underlay/config.toml, ~/.config/underlay/config.toml")
    yield _text("settings; `underlay config show` lists them")


def _head(name: str) -> tuple[str, str]:
    # Text stands ragged: lines of options are short.
    return f'.TH "{name.upper()}" "1" "" "underlay {__version__}" "underlay"', ".ad l"


def _flags(table: Sequence[Flag]) -> Iterator[str]:
    for name, short, kind, meta, text in sorted(table):
        shown = f"-{short}, --{name}" if short else f"--{name}"
        value = "" if kind == "bool" else f" \\fI{_text(meta or kind)}\\fR"
        yield from (".TP", f"\\fB{_text(shown)}\\fR{value}", _text(text))


def _examples(command: str) -> Iterator[str]:
    if command in EXAMPLES:
        yield ".SH EXAMPLES"
        for line, text in EXAMPLES[command]:
            yield from (".TP", f"\\fB{_text(line)}\\fR", _text(text))


def _reference(command: str) -> str:
    return f"\\fB{_text(name_of(command))}\\fR(1)"


def _text(text: str) -> str:
    """Return a text in which nothing is taken for a request or an escape."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq").replace("~", "\\(ti")
    )
    text = text.replace("^", "\\(ha")
    return "\\&" + text if text.startswith((".", "\\(aq")) else text
