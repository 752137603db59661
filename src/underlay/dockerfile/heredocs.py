"""Heredocs: `<<NAME` behind RUN, COPY and ADD, and the lines that belong to it."""

from __future__ import annotations

import re

from ..lean.values import Value
from .words import process

_HEREDOC = re.compile(r"([0-9]*)<<(-?)([^<]+)")
_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


class Heredoc(Value):
    """A heredoc: `expand` is false when its name was quoted, `chomp` true for `<<-`; `content` is as written."""

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    fd: int = 0

    @property
    def data(self) -> str:
        """The content, without the tabs that `<<-` takes off."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content

    @property
    def summary(self) -> str:
        """The first line, for progress."""
        first, *others = self.content.strip().replace("\r\n", "\n").split("\n")
        return first + ("..." if others else "")


def heredoc_of(word: str) -> Heredoc | None:
    """Return the heredoc that `word` announces, None when it is another word; raises DockerfileError."""
    match = _HEREDOC.fullmatch(word)
    if match is None:
        return None
    plain = process(match[3], _unset, keep_unset=True).words
    if len(plain) != 1:
        return None
    quoted = process(match[3], _unset, keep_unset=True, raw_quotes=True).words
    expand = _quotes(plain) == _quotes(quoted)
    return Heredoc(plain[0], "", expand, match[2] == "-", int(match[1][:9] or 0))


def heredocs_of(line: str) -> list[Heredoc]:
    """Return the heredocs that an instruction announces, still without content."""
    from .problems import DockerfileError

    try:
        words = process(line, _unset, keep_unset=True, raw_quotes=True, raw_escapes=True).words
    except DockerfileError:
        return []  # a quote that the shell will understand, or complain about
    return [heredoc for word in words if (heredoc := heredoc_of(word))]


def _unset(name: str) -> None:
    return None


def _quotes(words: list[str]) -> int:
    return sum(word.count("'") + word.count('"') for word in words)
