"""The arguments of an instruction: its flags, and the rest split as the keyword asks."""

from __future__ import annotations

import re
from functools import cache

from ..lean import jsontext
from ..lean.values import Value
from .problems import DockerfileError
from .words import SPACE

Flags = tuple[tuple[str, str | None], ...]

_BLANK = re.compile("[\t\v\f\r ]+")
_WHITE = "\t\n\v\f\r "  # all that separates flags
_SPACES = re.compile(f"[{_WHITE}]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_FLAG_PIECE = re.compile(
    rf"""(?P<space>[{_WHITE}]+)
    |'(?P<single>(?:[^'\\]|\\.)*+)'?
    |"(?P<double>(?:[^"\\]|\\.)*+)"?
    |\\(?P<escaped>.?)
    |(?P<plain>[^{_WHITE}\\'"]+)""",
    re.DOTALL | re.VERBOSE,
)
_NOT_A_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class Arguments(Value):
    """What follows the flags: `words`; `json` when they came as a JSON array, `legacy` of `ENV name value`."""

    words: tuple[str, ...] = ()
    json: bool = False
    legacy: bool = False


def split_line(text: str) -> tuple[str, Flags, str]:
    """Return the keyword of an instruction as written, its flags, and the rest."""
    keyword, *rest = _BLANK.split(text.strip(SPACE), 1)
    if not rest:
        return keyword, (), ""
    flags, arguments = _split_flags(rest[0])
    return keyword, flags, arguments.strip(SPACE)


def _split_flags(text: str) -> tuple[Flags, str]:
    flags: list[tuple[str, str | None]] = []
    position = 0
    while True:
        spaces = _SPACES.match(text, position)
        start = spaces.end() if spaces else position
        if not text.startswith("--", start):
            return tuple(flags), text[start:]
        word: list[str] = []
        for piece in _FLAG_PIECE.finditer(text, start):
            position = piece.end()
            if piece["space"]:
                position = piece.start()
                break
            quoted = piece["single"] if piece["single"] is not None else piece["double"]
            word.append(_ESCAPED.sub(r"\1", quoted) if quoted is not None else piece["plain"] or piece["escaped"] or "")
        flag = "".join(word)
        if flag == "--":
            return tuple(flags), text[position:]
        name, equals, value = flag[2:].partition("=")
        flags.append((name, value if equals else None))


def read_arguments(keyword: str, rest: str, escape: str) -> Arguments:
    """Return what `rest` means behind `keyword`; raises DockerfileError without a place."""
    reader = _READERS.get(keyword)
    return reader(rest, escape) if reader else Arguments()


def _whole(rest: str, escape: str) -> Arguments:
    return Arguments((rest,) if rest else ())


def _blank_separated(rest: str, escape: str) -> Arguments:
    return Arguments(tuple(_BLANK.split(rest)) if rest else ())


def _json(rest: str) -> tuple[str, ...] | None:
    """Return the strings of a JSON array, None when `rest` is none."""
    text = rest.lstrip(SPACE)
    if not text.startswith("["):
        return None
    try:
        value = jsontext.loads(text)
    except RecursionError:
        value = [None]
    except ValueError:
        return None
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise DockerfileError("when using JSON array syntax, arrays must be comprised of strings only")
    return tuple(_NOT_A_BYTE.sub("�", word) for word in value)


def _json_or_whole(rest: str, escape: str) -> Arguments:
    words = _json(rest)
    return _whole(rest, escape) if words is None else Arguments(words, json=True)


def _json_or_list(rest: str, escape: str) -> Arguments:
    words = _json(rest)
    return _blank_separated(rest, escape) if words is None else Arguments(words, json=True)


def _health(rest: str, escape: str) -> Arguments:
    kind, command = (*_SPACES.split(rest, 1), "")[:2]
    if not kind:
        return Arguments()
    inner = _json_or_whole(command, escape)
    return Arguments((kind, *inner.words), inner.json)


@cache
def _word_piece(escape: str) -> re.Pattern[str]:
    escaped = re.escape(escape)
    return re.compile(
        rf"""(?P<space>[{SPACE}]+)
        |'[^']*'?
        |"(?:[^"{escaped}]|{escaped}.)*+"?
        |{escaped}.
        |(?P<dropped>{escaped})
        |[^{SPACE}'"{escaped}]+""",
        re.DOTALL | re.VERBOSE,
    )


def split_words(rest: str, escape: str) -> list[str]:
    """Return the words of `rest` with their quotes and escapes."""
    words: list[str] = []
    word: list[str] = []
    for piece in _word_piece(escape).finditer(rest):
        if piece["space"]:
            if word:
                words.append("".join(word))
            word = []
        elif not piece["dropped"]:
            word.append(piece[0])
    if word:
        words.append("".join(word))
    return words


def _words(rest: str, escape: str) -> Arguments:
    return Arguments(tuple(split_words(rest, escape)))


def _pairs(keyword: str, rest: str, escape: str) -> Arguments:
    words = split_words(rest, escape)
    if not words:
        return Arguments()
    if "=" not in words[0]:
        parts = _BLANK.split(rest, 1)
        if len(parts) < 2:
            raise DockerfileError(f"{keyword} must have two arguments")
        return Arguments(tuple(parts), legacy=True)
    values: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value')
        values += (name, value)
    return Arguments(tuple(values))


_READERS = {
    "add": _json_or_list,
    "arg": _words,
    "cmd": _json_or_whole,
    "copy": _json_or_list,
    "entrypoint": _json_or_whole,
    "env": lambda rest, escape: _pairs("ENV", rest, escape),
    "expose": _blank_separated,
    "from": _blank_separated,
    "healthcheck": _health,
    "label": lambda rest, escape: _pairs("LABEL", rest, escape),
    "maintainer": _whole,
    "run": _json_or_whole,
    "shell": _json_or_whole,
    "stopsignal": _whole,
    "user": _whole,
    "volume": _json_or_list,
    "workdir": _whole,
}
