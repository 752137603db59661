"""Instructions written so that our own parser reads back what was meant; what it would not is not written at all.

Histories come from strangers. Nothing of them is put into a Dockerfile but through here: each function returns an
instruction that was parsed again and says what it should, or "". So no text can leave its instruction and become another.
"""

from __future__ import annotations

import re

from ...dockerfile import instructions as it
from ...dockerfile.problems import DockerfileError
from ...dockerfile.reading import read_instruction
from ...dockerfile.syntax import LINE_LIMIT, parse
from ...dockerfile.words import has_special
from ...lean.jsontext import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~^-]+")
# What terminals obey, and what turns the order of letters around: a Dockerfile that is shown shall be what it seems.
_UNSEEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
_COMMENT = 600  # characters of a comment
_NEXT = "USER whoever-comes-next"
_HEREDOC_LIMIT = 1 << 20  # characters of a command


def comment(text: str) -> str:
    """Return one line of a comment: what could end it, or is not seen, is written as an escape; long text is cut."""
    shown = text if len(text) <= _COMMENT else f"{text[:_COMMENT]}… ({len(text)} characters)"
    if not shown.isprintable():
        shown = "".join(
            letter if letter.isprintable() else " " if letter == "\t" else _escape(letter) for letter in shown
        )
    return f"# {shown}".rstrip()


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode()


def read_back(text: str) -> it.Instruction | None:
    """Return the one instruction that a text is, None when it is none or several, or would go on in the next line."""
    try:
        nodes = parse(f"FROM scratch\n{text}\n{_NEXT}\n".encode("utf-8", "surrogateescape")).nodes
        return read_instruction(nodes[1]) if len(nodes) == 3 and nodes[2].text == _NEXT else None
    except (DockerfileError, RecursionError, UnicodeEncodeError):
        return None


def as_it_is(text: str) -> it.Instruction | None:
    """Return the one instruction that a text is, None when it is none, or holds letters that are not seen."""
    return None if _UNSEEN.search(text) else read_back(text)


def quoted(text: str) -> str:
    """Return a word as instructions that expand variables take it, in quotes where it needs them."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'


def as_written(text: str, get: Callable[[str], str | None]) -> it.Instruction | None:
    """Return the instruction that a line of a Dockerfile is, expanded; None when it is none, or has unknown variables."""
    instruction = read_back(text) if "\n" not in text and not _UNSEEN.search(text) else None
    if instruction is None:
        return None
    unset: set[str] = set()
    try:
        expanded = it.expand(instruction, get, unset=unset)
    except DockerfileError:
        return None
    return None if unset else expanded


def _unset(name: str) -> None:
    return None


def _checked(text: str, means: Callable[[Any], bool]) -> str:
    """Return `text` when it is one instruction that means what it should."""
    if "\n" in text or len(text) > LINE_LIMIT or _UNSEEN.search(text):
        return ""
    instruction = as_written(text, _unset)
    return text if instruction is not None and means(instruction) else ""


def pairs(word: str, given: Sequence[tuple[str, str]]) -> str:
    """Return ENV or LABEL with these names and values, "" when that cannot be written."""
    text = f"{word} " + " ".join(f"{quoted(name)}={quoted(value)}" for name, value in given)
    member = "variables" if word == "ENV" else "labels"
    return _checked(text, lambda instruction: getattr(instruction, member, None) == tuple(given))


def argument(given: Sequence[tuple[str, str | None]]) -> str:
    """Return ARG with these names and defaults, "" when that cannot be written."""
    words = [name if value is None else f"{name}={quoted(value)}" for name, value in given]
    return _checked(
        f"ARG {' '.join(words)}",
        lambda instruction: isinstance(instruction, it.Arg) and instruction.arguments == tuple(given),
    )


def word(keyword: str, text: str) -> str:
    """Return USER, WORKDIR or STOPSIGNAL with this word, "" when that cannot be written."""
    member = {"USER": "user", "WORKDIR": "path", "STOPSIGNAL": "signal"}[keyword]
    written = text if text and not has_special(text) else quoted(text)
    return _checked(f"{keyword} {written}", lambda instruction: getattr(instruction, member, None) == text)


def ports(given: Sequence[str]) -> str:
    """Return EXPOSE, "" when that cannot be written."""
    return _checked(
        f"EXPOSE {' '.join(given)}",
        lambda instruction: isinstance(instruction, it.Expose) and set(instruction.ports) == set(given),
    )


def volumes(paths: Sequence[str]) -> str:
    """Return VOLUME, "" when that cannot be written."""
    # Words of the JSON form are expanded all the same.
    words = [re.sub(r"([\\$'\"])", r"\\\1", path) for path in paths]
    return _checked(
        f"VOLUME {dumps(words)}",
        lambda instruction: isinstance(instruction, it.Volume) and instruction.paths == tuple(paths),
    )


def author(name: str) -> str:
    """Return MAINTAINER, "" when that cannot be written."""
    return _checked(
        f"MAINTAINER {name}", lambda instruction: isinstance(instruction, it.Maintainer) and instruction.author == name
    )


def trigger(text: str) -> str:
    """Return ONBUILD with this instruction, "" when that cannot be written."""
    instruction = as_it_is(f"ONBUILD {text}")
    return f"ONBUILD {text}" if isinstance(instruction, it.Onbuild) and instruction.trigger == text else ""


def command(keyword: str, words: Sequence[str]) -> str:
    """Return CMD, ENTRYPOINT, SHELL or RUN in exec form, "" when that cannot be written."""

    def means(instruction: Any) -> bool:
        if keyword == "SHELL":
            return bool(instruction.words == tuple(words))
        return not instruction.command.shell and instruction.command.words == tuple(words)

    return _checked(f"{keyword} {dumps(list(words))}", means)


def command_line(keyword: str, text: str) -> str:
    """Return CMD or ENTRYPOINT in shell form, "" when that cannot be written."""
    return _checked(
        f"{keyword} {text}", lambda instruction: instruction.command.shell and instruction.command.words == (text,)
    )


def run(text: str, shell: Sequence[str]) -> str:
    """Return RUN of a command for the shell: as a line, as a here-document, or, when neither can say it, in exec form."""
    line = _checked(f"RUN {text}", lambda instruction: _runs(instruction, text, (text,)))
    if line or len(text) > _HEREDOC_LIMIT:
        return line
    lines = {line_text.rstrip("\r") for line_text in text.split("\n")}
    end = next(name for name in ("EOF", *(f"EOF{number}" for number in range(len(lines) + 1))) if name not in lines)
    written = f"RUN <<'{end}'\n{text}\n{end}"
    if _runs(as_it_is(written), text, (f"{text}\n",)):
        return written
    return command("RUN", [*shell, text])


def _runs(instruction: it.Instruction | None, text: str, words: tuple[str, ...]) -> bool:
    return (
        isinstance(instruction, it.Run)
        and instruction.command.shell
        and instruction.command.words == words
        and instruction.script is None
        and not instruction.mount_texts
        and not instruction.device_texts
        and (instruction.network, instruction.security) == ("default", "sandbox")
    )


def transfer(keyword: str, flags: Sequence[str], sources: Sequence[str], target: str) -> str:
    """Return COPY or ADD; sources and target are what they shall be after expansion. "" when that cannot be written."""
    words = [*sources, target]

    def means(instruction: Any) -> bool:
        return bool(
            instruction.sources == tuple(sources) and instruction.destination == target and not instruction.heredocs
        )

    head = " ".join((keyword, *flags))
    if all(_PLAIN.fullmatch(argument_text) and not argument_text.startswith(("-", "[")) for argument_text in words):
        return _checked(f"{head} {' '.join(words)}", means)
    escaped = [re.sub(r"([\\$'\"])", r"\\\1", argument_text) for argument_text in words]
    return _checked(f"{head} {dumps(escaped)}", means)


def health(test: Sequence[str], flags: Sequence[str]) -> str:
    """Return HEALTHCHECK with this test (`NONE`, `CMD`, `CMD-SHELL` first), "" when that cannot be written."""
    kind, *rest = test
    if kind == "NONE":
        return "HEALTHCHECK NONE"
    text = rest[0] if kind == "CMD-SHELL" and len(rest) == 1 else dumps(rest)
    return _checked(
        " ".join(("HEALTHCHECK", *flags, "CMD", text)),
        lambda instruction: isinstance(instruction, it.Healthcheck) and instruction.test == tuple(test),
    )
