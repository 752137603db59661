"""File names as Dockerfiles write them: cleaned, distinguished from patterns, unquoted."""

from __future__ import annotations

_WILD = frozenset("*?[")


def clean(path: str) -> str:
    """Return the shortest name of the same path, as Go's filepath.Clean: "" becomes ".", leading `..` of "/" go."""
    rooted = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part == ".." and (rooted or (kept and kept[-1] != "..")):
            if kept:
                kept.pop()
        elif part and part != ".":
            kept.append(part)
    return ("/" if rooted else "") + "/".join(kept) or "."


def is_pattern(text: str) -> bool:
    """Tell whether `text` holds a wildcard that is not escaped."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in _WILD:
            return True
    return False


def unescape(text: str) -> str:
    """Return the name that a pattern without wildcards stands for."""
    if "\\" not in text:
        return text
    kept = []
    letters = iter(text)
    for letter in letters:
        kept.append(next(letters, letter) if letter == "\\" else letter)
    return "".join(kept)
