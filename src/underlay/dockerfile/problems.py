"""What is wrong with a Dockerfile, where, and how it looks there."""

from __future__ import annotations

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_AROUND = 2  # lines shown before and after the ones that are meant
_SHOWN_LINES = 20
_SHOWN_WIDTH = 160
_PROBLEM_LIMIT = 500


class Source:
    """The lines of a Dockerfile under its `name`, shared by everything that was read from it."""

    __slots__ = ("lines", "name")

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.name = name
        self.lines = lines

    def __repr__(self) -> str:
        return f"Source({self.name!r})"

    def find(self, token: str, line: int, last_line: int) -> tuple[int, int]:
        """Return line and column of the first `token` in these lines, of the first letter there when it is absent."""
        lines = self.lines[line - 1 : last_line]
        if token:
            for number, text in enumerate(lines, line):
                column = text.find(token)
                if column >= 0:
                    return number, column + 1
        first = lines[0] if lines else ""
        return line, len(first) - len(first.lstrip()) + 1

    def excerpt(self, line: int, last_line: int = 0, column: int = 0) -> str:
        """Return the lines around, those from `line` to `last_line` marked, with a caret below the column of `line`."""
        last_line = max(line, last_line)
        first = max(1, line - _AROUND)
        end = min(len(self.lines), last_line + _AROUND, first + _SHOWN_LINES)
        width = max(3, len(str(end)))
        shown = []
        for number in range(first, end + 1):
            marker = ">>>" if line <= number <= last_line else "   "
            text, caret = _visible(self.lines[number - 1], column if number == line else 0)
            shown.append(f" {number:>{width}} | {marker} {text}".rstrip())
            if caret:
                shown.append(f" {'':>{width}} |     {' ' * (caret - 1)}^")
        return "\n".join(shown)


class DockerfileError(InvalidInput):
    """A Dockerfile, or an instruction of one, cannot be understood.

    `problem` is what is wrong without the place, `line` and `column` count from 1 and are 0 when no place is known;
    `excerpt` shows the lines around it.
    """

    def __init__(
        self,
        problem: str,
        hint: str = "",
        source: Source | None = None,
        line: int = 0,
        column: int = 0,
        last_line: int = 0,
    ) -> None:
        problem = printable(problem if len(problem) <= _PROBLEM_LIMIT else f"{problem[:_PROBLEM_LIMIT]}...")
        super().__init__(f"{printable(source.name)}:{line}:{column}: {problem}" if source else problem, hint)
        self.problem = problem
        self.name = source.name if source else ""
        self.line = line
        self.column = column
        self.excerpt = source.excerpt(line, last_line, column) if source else ""


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or could not show, replaced."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in text)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the hint that names the known word closest to `word`, "" when none is close."""
    near = closest(word, known)
    return f"did you mean {near}?" if near else ""


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that `word` is probably a slip of, "" when there is none."""
    from difflib import get_close_matches

    if len(word) > 100:
        return ""
    folded = {item.lower(): item for item in sorted(known)}
    near = get_close_matches(word.lower(), folded, 1, 0.6)
    return folded[near[0]] if near else ""


def _visible(text: str, column: int) -> tuple[str, int]:
    """Return the part of a line that is shown, and where in it the column is."""
    start = max(0, column - _SHOWN_WIDTH // 2) if len(text) > _SHOWN_WIDTH else 0
    before = text[start : max(start, column - 1)].expandtabs(4)
    shown = text[start : start + _SHOWN_WIDTH].rstrip("\r").expandtabs(4)
    return printable(shown), len(before) + 1 if column else 0
