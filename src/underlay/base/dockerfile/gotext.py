"""Reads back what Go's fmt printed into histories: quoted lists, and health checks."""

from __future__ import annotations

import re

from ...lean.jsontext import loads

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|([0-7]{3})|(.))", re.S)
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_RUNE = re.compile(r"'((?:[^'\\]|\\.)[^']*)'|(?<=\s)([0-9]{1,9})\s*\}?$")
_TIMES = ("interval", "timeout", "start-period", "start-interval")
_LAST_LETTER = 0x10FFFF


def unquoted(text: str) -> str:
    """Return what the inside of a word that Go's %q has quoted stands for."""
    return _ESCAPE.sub(_letter, text) if "\\" in text else text


def _letter(match: re.Match[str]) -> str:
    number = match[1] or match[2] or match[3]
    if number or match[4]:
        value = int(number, 16) if number else int(match[4], 8)
        return chr(value) if value <= _LAST_LETTER and not 0xD800 <= value < 0xE000 else "\ufffd"
    return _LETTERS.get(match[5], match[5])


def listed(text: str) -> list[str] | None:
    """Return the words of a list as JSON or Go prints it (`["a","b"]`, `["a" "b"]`, `[a b]`, `&{["a"]}`), None for what is
    none. Where words have no quotes, white space is taken to part them."""
    inner = text.strip()
    if inner.startswith("&{") and inner.endswith("}"):
        inner = inner[2:-1].strip()
    if not inner.startswith("[") or not inner.endswith("]"):
        return None
    body = inner[1:-1].strip()
    try:
        value = loads(inner)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    if body.startswith('"'):
        return [unquoted(word) for word in _QUOTED.findall(body)]
    return body.split()


def health(text: str) -> tuple[list[str], list[str]] | None:
    """Return the test of `&{["CMD-SHELL" "…"] "30s" "3s" "0s" "0s" '\\x03'}` and the flags that say the rest; None for what
    cannot be read."""
    if not text.startswith("&{["):
        return None
    position = 3
    words: list[str] = []
    while match := _QUOTED.match(text, position):
        words.append(unquoted(match[1]))
        position = match.end()
        position += text.startswith(" ", position)
    if not words or not text.startswith("]", position):
        return None
    rest = text[position + 1 :]
    times = _QUOTED.findall(rest)
    flags = [f"--{name}={value}" for name, value in zip(_TIMES, times, strict=False) if value not in ("0s", "")]
    rune = _RUNE.search(rest[rest.rfind('"') + 1 :])
    if rune:
        count = int(rune[2]) if rune[2] else ord(unquoted(rune[1])[:1] or "\0")
        if count:
            flags.append(f"--retries={count}")
    return words, flags
