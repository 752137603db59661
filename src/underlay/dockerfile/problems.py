"""What is wrong with a Dockerfile, where, and how it looks there."""

from __future__ import annotations

from ..errors import DockerfileError as DockerfileError
from ..errors import printable as printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_AROUND = 2  # lines shown before and after the ones that are meant
_SHOWN_LINES = 20
_SHOWN_WIDTH = 160


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
