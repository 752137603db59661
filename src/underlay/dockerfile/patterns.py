"""Patterns of `${NAME#…}`, `${NAME%…}` and `${NAME/…/…}`: `*` and `?`, matched in time linear to the text."""

from __future__ import annotations

import re

from .problems import DockerfileError


class Pattern:
    """A pattern of letters, `?` (any one) and `*` (any run); `\\*`, `\\?` and `\\\\` mean the letter itself."""

    def __init__(self, text: str) -> None:
        # Between two stars lies a piece of fixed width.
        self._pieces: list[list[str]] = [[]]
        letters = iter(enumerate(text))
        for position, letter in letters:
            if letter == "*":
                self._pieces.append([])
                continue
            if letter == "?":
                self._pieces[-1].append(".")
                continue
            if letter == "\\":
                following = text[position + 1 : position + 2]
                if following in ("}", "/"):
                    continue
                if not following or following not in "*?\\":
                    raise DockerfileError(f"invalid pattern ({text}) in substitution: invalid escape '\\{following}'")
                letter = following
                next(letters)
            self._pieces[-1].append(re.escape(letter))

    def without_prefix(self, value: str, longest: bool) -> str:
        """Return `value` without the start that matches."""
        end = _end(_compiled(self._pieces), value, 0, longest)
        return value if end is None else value[end:]

    def without_suffix(self, value: str, longest: bool) -> str:
        """Return `value` without the end that matches."""
        mirrored = _compiled([piece[::-1] for piece in self._pieces[::-1]])
        end = _end(mirrored, value[::-1], 0, longest)
        return value if end is None else value[: len(value) - end]

    def replace(self, value: str, replacement: str, everywhere: bool) -> str:
        """Return `value` with the first match, or all of them, replaced; of each the leftmost and longest is taken."""
        pieces = _compiled(self._pieces)
        result: list[str] = []
        position = copied = 0
        while position <= len(value):
            first = pieces[0].search(value, position)
            # What does not follow the first start does not follow a later one either.
            end = first and _end(pieces, value, first.start(), True)
            if first is None or end is None:
                break
            if first.start() == end and result and end == copied:
                position += 1
                continue
            result += (value[copied : first.start()], replacement)
            copied = end
            position = end if end > first.start() else end + 1
            if not everywhere:
                break
        return "".join(result) + value[copied:]


def _compiled(pieces: list[list[str]]) -> list[re.Pattern[str]]:
    return [re.compile("".join(piece), re.DOTALL) for piece in pieces]


def _end(pieces: list[re.Pattern[str]], value: str, start: int, longest: bool) -> int | None:
    """Return where the shortest or longest match that begins at `start` ends."""
    first, *others = pieces
    match = first.match(value, start)
    for number, piece in enumerate(others, 1):
        if match is None:
            return None
        if longest and number == len(others):
            match = _last(piece, value, match.end())
        else:
            match = piece.search(value, match.end())
    return match and match.end()


def _last(piece: re.Pattern[str], value: str, start: int) -> re.Match[str] | None:
    if not piece.pattern:
        return piece.match(value, len(value))
    # A piece has one width, so the last of its matches is the first of the mirrored text.
    for position in range(len(value), start - 1, -1):
        match = piece.match(value, position)
        if match:
            return match
    return None
