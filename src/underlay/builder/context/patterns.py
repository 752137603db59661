"""Patterns for file names as Go's filepath.Match has them, and those of ignore files, as moby's patternmatcher has them."""

from __future__ import annotations

import re

from ...errors import InvalidInput
from ..copy.names import clean, is_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# A pattern matches a path below PATH_MAX; a longer one can only be meant to be expensive.
_LONGEST = 4096
_MOST = 10_000


def compile_name(pattern: str) -> re.Pattern[str]:
    """Return what matches (`fullmatch`) the paths that filepath.Match accepts; raises InvalidInput for a bad pattern."""
    return re.compile(_expression(_tokens(pattern, double=False)), re.DOTALL)


def compile_path(pattern: str) -> re.Pattern[str]:
    """As `compile_name`, with `**` for any number of components."""
    return re.compile(_expression(_tokens(pattern, double=True)), re.DOTALL)


def _bad(pattern: str) -> InvalidInput:
    return InvalidInput(f"syntax error in pattern: {pattern!r:.200}")


def _tokens(pattern: str, *, double: bool) -> list[str]:
    """Return regular expressions for single characters, `*`, and with `double` `**/` and `**` at the end."""
    if len(pattern) > _LONGEST:
        raise InvalidInput(
            f"a pattern of {len(pattern)} characters: {pattern!r:.60}", f"a pattern has at most {_LONGEST}"
        )
    tokens: list[str] = []
    position = 0
    size = len(pattern)
    while position < size:
        character = pattern[position]
        position += 1
        if character == "*":
            start = position
            while position < size and pattern[position] == "*":
                position += 1
            if not double or position == start:
                tokens.append("*")
                continue
            if pattern.startswith("/", position):
                position += 1
            tokens.append("**/" if position < size else "**")
        elif character == "?":
            tokens.append("[^/]")
        elif character == "[":
            expression, position = _class(pattern, position)
            tokens.append(expression)
        elif character == "\\":
            if position == size:
                raise _bad(pattern)
            tokens.append(re.escape(pattern[position]))
            position += 1
        else:
            tokens.append(re.escape(character))
    return tokens


def _class(pattern: str, position: int) -> tuple[str, int]:
    """Return the expression of a class whose `[` ends at `position`, and where it ends itself."""

    def one() -> str:
        nonlocal position
        character = pattern[position : position + 1]
        if character in ("", "-", "]"):
            raise _bad(pattern)
        if character == "\\":
            position += 1
            character = pattern[position : position + 1]
        position += 1
        if not character or position >= len(pattern):
            raise _bad(pattern)
        return character

    negated = pattern.startswith("^", position)
    position += negated
    parts = []
    first = True
    while first or not pattern.startswith("]", position):
        first = False
        low = high = one()
        if pattern.startswith("-", position):
            position += 1
            high = one()
        if low <= high:
            parts.append(f"{re.escape(low)}-{re.escape(high)}")
    position += 1
    if not parts:  # such as [b-a]: nothing is in it
        return "[^/]" if negated else "(?!)", position
    # A class never matches a separator here; Go lets it, for no use.
    return f"(?!/)[{'^' if negated else ''}{''.join(parts)}]", position


def _expression(tokens: list[str]) -> str:
    """Return the regular expression for tokens, one that takes no more than quadratic time.

    What follows a wildcard is looked for from the left, and the first place where it is found up to the next wildcard is
    final, since a later one could match no more; `(?>…)` says so. Only what follows the last wildcard must end the path.
    """
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == "**/":
            parts.append([])
        else:
            parts[-1].append(token)
    result = _single(parts[0], last=len(parts) == 1)
    for number, part in enumerate(parts[1:], 2):
        if number == len(parts):
            result += f"(?:.*/)?{_single(part, last=True)}"
        else:
            result += f"(?>(?:.*?/)??{_single(part, last=False)})"
    return result


def _single(tokens: list[str], *, last: bool) -> str:
    """Do so for what stands between two `**/`, or behind the last one."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token == "*":
            parts.append([])
        else:
            parts[-1].append(".*" if token == "**" else token)
    result = "".join(parts[0])
    for number, part in enumerate(parts[1:], 2):
        text = "".join(part)
        if not part:
            # Two wildcards in a row, or one at the end.
            result += "[^/]*" if number == len(parts) else ""
        elif number == len(parts) and last:
            result += f"[^/]*{text}"
        else:
            result += f"(?>[^/]*?{text})"
    return result


class _Pattern:
    """One line of an ignore file."""

    __slots__ = ("_components", "exception", "literal", "match")

    def __init__(self, line: str) -> None:
        text = clean(line.strip())
        self.exception = text.startswith("!")
        if self.exception:
            text = text[1:]
            if not text:
                raise InvalidInput('illegal exclusion pattern: "!"')
        self._components = [_component(part) for part in text.split("/")] if self.exception else []
        self.literal = "" if is_pattern(text) or "\\" in text else text
        _tokens(text, double=False)  # for its complaints
        rest = text[2:]
        if text.startswith("**") and rest[:1] not in ("/", "") and not is_pattern(rest) and "\\" not in rest:
            self.match = re.compile(".*" + re.escape(rest), re.DOTALL)  # any path that ends so
        else:
            self.match = compile_path(text)

    def may_match_below(self, directory: list[str]) -> bool:
        """Tell whether the pattern could match something below a directory, given by its components."""
        for pattern, name in zip(self._components, directory, strict=False):
            if pattern is None:
                return True
            if not pattern.fullmatch(name):
                return False
        return len(self._components) > len(directory)


def _component(pattern: str) -> re.Pattern[str] | None:
    """Return what matches one component, None where the pattern goes beyond that."""
    try:
        return None if "**" in pattern else compile_name(pattern)
    except InvalidInput:  # a class with a slash in it
        return None


class Matcher:
    """Patterns of which the last one that matches a path, or a directory above it, decides; `!` in front means "not"."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Raises InvalidInput for a bad pattern, or too many."""
        self.lines = tuple(line for line in lines if line.strip())
        self._patterns = [_Pattern(line) for line in self.lines]
        if len(self._patterns) > _MOST:
            raise InvalidInput(f"too many patterns: {len(self._patterns)}, at most {_MOST} are allowed")
        # Names without wildcards are looked up; the others are tried together first, since most paths match none.
        self._literals: dict[str, int] = {}
        self._wild: list[tuple[int, re.Pattern[str]]] = []
        for number, pattern in enumerate(self._patterns):
            if pattern.literal:
                self._literals[pattern.literal] = self._literals.get(pattern.literal, 0) | 1 << number
            else:
                self._wild.append((1 << number, pattern.match))
        self._any = re.compile("|".join(f"(?:{p.pattern})" for _, p in self._wild) or "(?!)", re.DOTALL)
        self._exceptions = [pattern for pattern in self._patterns if pattern.exception]
        self._directory = ""
        self._above = 0

    def ignored(self, path: str, is_dir: bool = False) -> bool:
        """Tell whether `path`, relative and clean, is left out. Whether it is a directory makes no difference to moby."""
        matching = self._matches(path)
        if not matching:
            return False
        ignored = False
        for number, pattern in enumerate(self._patterns):
            if matching >> number & 1 and pattern.exception == ignored:
                ignored = not ignored
        return ignored

    def may_hold_exceptions(self, directory: str) -> bool:
        """Tell whether something below an ignored directory may be taken in again."""
        if not self._exceptions:
            return False
        components = directory.split("/")
        return any(pattern.may_match_below(components) for pattern in self._exceptions)

    def _matches(self, path: str) -> int:
        """Return a bit for each pattern that matches the path or a directory above it."""
        parent = path.rpartition("/")[0]
        if parent != self._directory:
            # Paths come directory by directory, and mostly a directory after the one above it.
            position = len(self._directory)
            if not position or not parent.startswith(self._directory + "/"):
                self._above = 0
                position = -1
            while 0 <= position < len(parent) or position < 0 < len(parent):
                following = parent.find("/", position + 1)
                position = following if following >= 0 else len(parent)
                self._above |= self._own(parent[:position])
            self._directory = parent
        return self._above | self._own(path)

    def _own(self, path: str) -> int:
        matching = self._literals.get(path, 0)
        if self._any.fullmatch(path):
            for bit, pattern in self._wild:
                if pattern.fullmatch(path):
                    matching |= bit
        return matching
