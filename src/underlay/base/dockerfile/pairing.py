"""Splits unquoted pairs in histories, as in `A=1 B=two words C=3`, by the names that are known."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"(?:^|(?<=\s))([A-Za-z_][A-Za-z0-9_.\-/]*)(?==)")
# A hostile text with very many pairs is not worth more than this.
_MOST = 10_000


def pairs(text: str, known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the pairs of `text`; `known` are the names that can be meant, with the values that they may have.

    What begins with no known name is told by what names look like. [] stands for what cannot be read.
    """
    if not text:
        return []
    starts = _starts(text, known) or [(found[1], found.start()) for found in _NAME.finditer(text)][:_MOST]
    if not starts or starts[0][1] != 0:
        name, _, value = text.partition(" ")
        return [(name, value.strip())] if value and "=" not in name else []
    made = []
    for number, (name, begin) in enumerate(starts):
        end = starts[number + 1][1] - 1 if number + 1 < len(starts) else len(text)
        made.append((name, text[begin + len(name) + 1 : end]))
    return made


def _starts(text: str, known: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the places where pairs with known names begin, [] when the first one is not known."""
    names = sorted((name for name in known if name and f"{name}=" in text), key=len, reverse=True)
    starts: list[tuple[str, int]] = []
    place = 0
    while 0 <= place < len(text) and len(starts) < _MOST:
        name = next((each for each in names if text.startswith(f"{each}=", place)), None)
        if name is None and not starts:
            return []
        if name is not None:
            starts.append((name, place))
            place += len(name) + 1
            value = known[name]
            end = place + len(value)
            # A value that is known may hold what looks like another pair.
            if value and text.startswith(value, place) and (end == len(text) or _begins(text, end, names)):
                place = end + 1
                continue
        place = text.find(" ", place) + 1 or -1
    return starts


def _begins(text: str, place: int, names: Iterable[str]) -> bool:
    return text.startswith(" ", place) and any(text.startswith(f"{each}=", place + 1) for each in names)


def declared(text: str, names: Iterable[str]) -> list[tuple[str, str | None]]:
    """Return the names of an ARG step with their values, None for those without: `A=1 B=two words C`.

    `names` are those that later steps were run with: only such a name without `=` is taken for one.
    """
    known = set(names)
    found: list[tuple[str, str | None]] = []
    for word in text.split(" "):
        name, equals, value = word.partition("=")
        before = found[-1][1] if found else None
        plain = _NAME.match(f"{word}=") if not equals else _NAME.match(word)
        if plain and (equals or not found or before is None or name in known):
            found.append((name, value if equals else None))
        elif before is not None:
            found[-1] = (found[-1][0], f"{before} {word}")
        elif word:
            return []
    return found
