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

    A pair that begins with no known name is recognised by the form of names. [] stands for text that cannot be read.
    """
    if not text:
        return []
    starts = _starts(text, known) or [(match[1], match.start()) for match in _NAME.finditer(text)][:_MOST]
    if not starts or starts[0][1] != 0:
        name, _, value = text.partition(" ")
        return [(name, value.strip())] if value and "=" not in name else []
    result = []
    for number, (name, begin) in enumerate(starts):
        end = starts[number + 1][1] - 1 if number + 1 < len(starts) else len(text)
        result.append((name, text[begin + len(name) + 1 : end]))
    return result


def _starts(text: str, known: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the places where pairs with known names begin, [] when the first one is not known."""
    names = sorted((name for name in known if name and f"{name}=" in text), key=len, reverse=True)
    starts: list[tuple[str, int]] = []
    position = 0
    while 0 <= position < len(text) and len(starts) < _MOST:
        name = next((candidate for candidate in names if text.startswith(f"{candidate}=", position)), None)
        if name is None and not starts:
            return []
        if name is not None:
            starts.append((name, position))
            position += len(name) + 1
            value = known[name]
            end = position + len(value)
            # A value that is known may hold what looks like another pair.
            if value and text.startswith(value, position) and (end == len(text) or _begins(text, end, names)):
                position = end + 1
                continue
        position = text.find(" ", position) + 1 or -1
    return starts


def _begins(text: str, position: int, names: Iterable[str]) -> bool:
    return text.startswith(" ", position) and any(text.startswith(f"{name}=", position + 1) for name in names)


def declared(text: str, names: Iterable[str]) -> list[tuple[str, str | None]]:
    """Return the names of an ARG step with their values, None for those without: `A=1 B=two words C`.

    `names` are those that later steps were run with: only such a name without `=` is taken for one.
    """
    known = set(names)
    arguments: list[tuple[str, str | None]] = []
    for word in text.split(" "):
        name, equals, value = word.partition("=")
        before = arguments[-1][1] if arguments else None
        plain = _NAME.match(f"{word}=") if not equals else _NAME.match(word)
        if plain and (equals or not arguments or before is None or name in known):
            arguments.append((name, value if equals else None))
        elif before is not None:
            arguments[-1] = (arguments[-1][0], f"{before} {word}")
        elif word:
            return []
    return arguments
