"""Patterns of names in filters, as docker has them: regular expressions that cost no more than the name is long.

Python's `re` goes back and tries again, for hours when a pattern repeats what repeats, and holds the interpreter
meanwhile. So a pattern is read here, and followed from all places of a name at once. That is linear as long as nothing
is repeated that consists of parts; such patterns are refused.
"""

from __future__ import annotations

import re
from functools import lru_cache

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    # Takes a text and places in it, and returns the places that lie behind what fits.
    Step = Callable[[str, set[int]], set[int]]

_LONGEST = 256  # characters of a pattern
_MOST = 1000  # repetitions that can be asked for, as in Go
_PLAIN = re.compile(r"(\^?)(/?[\w-]*)(\$?)", re.A)
_TOKEN = re.compile(
    r"(?P<atom>\\[dDwWsS]|\\[^\w\s]|\[\^?\]?(?:\\.|[^\\\]])*\]|[^\\\[\](){}*+?|^$])"
    r"|(?P<place>[\^$]|\\[AbBz])|(?P<opening>\((?:\?:|\?P?<[A-Za-z]\w*>|(?!\?)))|(?P<sign>[|)])"
    r"|(?P<often>[*+?]|\{\d{1,4}(?:,\d{0,4})?\})(?P<lazy>\??)",
    re.S,
)


class NoPattern(InvalidInput):
    """A pattern that is no regular expression."""


def fits(pattern: str, *names: str) -> bool:
    """Return whether a regular expression is found in one of some names.

    Raises InvalidInput for one that would take too long, NoPattern for what is none.
    """
    if len(pattern) > _LONGEST:
        raise _refused(pattern, f"longer than {_LONGEST} characters")
    plain = _PLAIN.fullmatch(pattern)
    if plain:
        start, part, end = plain[1], plain[2], plain[3]
        if start and end:
            return part in names
        if start or end:
            return any(name.startswith(part) if start else name.endswith(part) for name in names)
        return any(part in name for name in names)
    step = _step(pattern)
    return any(step(name, set(range(len(name) + 1))) for name in names)


@lru_cache(maxsize=64)
def _step(pattern: str) -> Step:
    flags, rest = (re.I, pattern[4:]) if pattern.startswith("(?i)") else (re.NOFLAG, pattern)
    tokens: list[re.Match[str]] = []
    position = 0
    while position < len(rest):
        token = _TOKEN.match(rest, position)
        if token is None:
            raise _wrong(pattern)
        tokens.append(token)
        position = token.end()
    return _Reader(pattern, tokens[::-1], flags).alternatives(0)


def _refused(pattern: str, reason: str) -> InvalidInput:
    return InvalidInput(f"invalid filter {pattern[:_LONGEST]!r}: {reason}")


def _wrong(pattern: str) -> NoPattern:
    return NoPattern(f"invalid filter {pattern[:_LONGEST]!r}: not a regular expression")


class _Reader:
    """What reads a pattern: its tokens, the first one last."""

    __slots__ = ("_flags", "_pattern", "_tokens")

    def __init__(self, pattern: str, tokens: list[re.Match[str]], flags: re.RegexFlag) -> None:
        self._pattern = pattern
        self._tokens = tokens
        self._flags = flags

    def alternatives(self, depth: int) -> Step:
        """Return the step for what is up to the end of a group, or of the pattern."""
        sequences: list[list[Step]] = [[]]
        while self._tokens:
            token = self._tokens.pop()
            if token["sign"] == ")":
                if not depth:
                    raise _wrong(self._pattern)
                break
            if token["sign"]:
                sequences.append([])
            elif token["opening"]:
                sequences[-1].append(self._group(depth))
            elif token["place"]:
                sequences[-1].append(_at(re.compile(token[0].replace(r"\z", r"\Z"), re.A)))
            elif token["atom"]:
                sequences[-1].append(self._repeated(self._one(token["atom"])))
            else:
                raise _wrong(self._pattern)  # nothing is there to be repeated
        else:
            if depth:
                raise _wrong(self._pattern)
        return _any([_all(steps) for steps in sequences])

    def _group(self, depth: int) -> Step:
        step = self.alternatives(depth + 1)
        if self._tokens and self._tokens[-1]["often"]:
            if self._tokens.pop()["often"] != "?":
                raise _refused(self._pattern, "a group cannot be repeated")
            self._once()
            return _any([step, _all([])])
        return step

    def _one(self, atom: str) -> Step:
        if atom[0] == "[":  # signs that Python means to give a meaning in a class, of which it warns
            atom = "[" + re.sub(r"(\\.)|([\[&~|])", lambda found: found[1] or "\\" + found[2], atom[1:], flags=re.S)
        try:
            found = re.compile(atom, self._flags | re.A).fullmatch
        except re.error:
            raise _wrong(self._pattern) from None
        return lambda text, places: {at + 1 for at in places if at < len(text) and found(text, at, at + 1)}

    def _repeated(self, step: Step) -> Step:
        if not self._tokens or not self._tokens[-1]["often"]:
            return step
        often = self._tokens.pop()["often"]
        self._once()
        if often in "*+?":
            return _often(step, int(often == "+"), 1 if often == "?" else None)
        least, comma, most = often[1:-1].partition(",")
        bounds = int(least), int(most) if most else None if comma else int(least)
        if max(bounds[0], bounds[1] or 0) > _MOST or (bounds[1] is not None and bounds[1] < bounds[0]):
            raise _wrong(self._pattern)
        return _often(step, *bounds)

    def _once(self) -> None:
        if self._tokens and self._tokens[-1]["often"]:
            raise _refused(self._pattern, "what is repeated cannot be repeated again")


def _at(pattern: re.Pattern[str]) -> Step:
    return lambda text, places: {at for at in places if pattern.match(text, at)}


def _all(steps: list[Step]) -> Step:
    def step(text: str, places: set[int]) -> set[int]:
        for one in steps:
            places = one(text, places)
            if not places:
                break
        return places

    return step


def _any(steps: list[Step]) -> Step:
    return steps[0] if len(steps) == 1 else lambda text, places: {at for one in steps for at in one(text, places)}


def _often(one: Step, least: int, most: int | None) -> Step:
    def step(text: str, places: set[int]) -> set[int]:
        for _ in range(least):
            places = one(text, places)
            if not places:
                return places
        found, fresh, count = set(places), places, least
        # What was reached by fewer repetitions leads nowhere else, unless their number is bounded.
        while fresh and (most is None or count < most):
            fresh = one(text, fresh) - (found if most is None else set())
            found |= fresh
            count += 1
        return found

    return step
