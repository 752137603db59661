"""Words of a Dockerfile: quotes, escapes, `$NAME` and `${NAME…}` as BuildKit's lexer has them."""

from __future__ import annotations

import re
from functools import cache

from .patterns import Pattern
from .problems import DockerfileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Get = Callable[[str], str | None]

# What Go's unicode.IsSpace holds for white.
_SPACE_RUN = "".join(map(chr, range(0x2000, 0x200B)))
SPACE = f"\t\n\v\f\r \x85\xa0\u1680{_SPACE_RUN}\u2028\u2029\u202f\u205f\u3000"
DEPTH_LIMIT = 100  # of ${a:-${b:-…}}

_SPACES = re.compile(f"[{SPACE}]+")
_DIGITS = re.compile(r"\d+")
_NAME = re.compile(r"[^\W\d]\w*")
_SPECIAL = frozenset("@*#?-$!0")


class Expansion:
    """A text after expansion: as `text`, split into `words`, with the names that were `used` and found `unset`."""

    __slots__ = ("text", "unset", "used", "words")

    def __init__(self, text: str, words: list[str], used: set[str], unset: set[str]) -> None:
        self.text = text
        self.words = words
        self.used = used
        self.unset = unset


def process(
    text: str,
    get: Get,
    escape: str = "\\",
    *,
    quotes: bool = True,
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    keep_unset: bool = False,
) -> Expansion:
    """Replace the variables of `text` by what `get` returns for their names (None: unset), take off quotes, escapes.

    Without `quotes` they are letters like others; `raw_quotes` and `raw_escapes` leave them in the result; with
    `keep_unset` a variable that is not set stays as it is written. Raises DockerfileError without a place.
    """
    lexer = _Lexer(text, get, escape, quotes, raw_quotes, raw_escapes, keep_unset)
    words = _Words()
    result = lexer.until("", raw_escapes, words, 0)
    return Expansion(result, words.finish(), lexer.used, lexer.unset)


def expand(text: str, get: Get, escape: str = "\\", unset: set[str] | None = None) -> str:
    """Return `text` expanded, as one word; names without a value are added to `unset`."""
    expansion = process(text, get, escape)
    if unset is not None:
        unset |= expansion.unset
    return expansion.text


def split(text: str, get: Get, escape: str = "\\", unset: set[str] | None = None) -> list[str]:
    """Return the words of `text`, expanded; names without a value are added to `unset`."""
    expansion = process(text, get, escape)
    if unset is not None:
        unset |= expansion.unset
    return expansion.words


def has_special(text: str, escape: str = "\\") -> bool:
    """Tell whether `text` holds anything that expansion would alter."""
    return bool(text) and not _plain(escape, "", True).fullmatch(text)


class _Words:
    """Words as they are gathered: white letters end one unless they are quoted or escaped."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._word: list[str] = []

    def add(self, text: str) -> None:
        first, *others = _SPACES.split(text)
        self._word.append(first)
        for part in others:
            self._end()
            self._word.append(part)

    def add_raw(self, text: str) -> None:
        self._word.append(text)

    def finish(self) -> list[str]:
        self._end()
        return self._done

    def _end(self) -> None:
        word = "".join(self._word)
        if word:
            self._done.append(word)
        self._word = []


@cache
def _plain(escape: str, stop: str, quotes: bool) -> re.Pattern[str]:
    special = escape + "$" + stop + ("'\"" if quotes else "")
    return re.compile(f"[^{re.escape(special)}]+")


@cache
def _quoted(escape: str) -> re.Pattern[str]:
    return re.compile(f'[^"${re.escape(escape)}]+')


class _Lexer:
    def __init__(
        self, text: str, get: Get, escape: str, quotes: bool, raw_quotes: bool, raw_escapes: bool, keep_unset: bool
    ) -> None:
        self.text = text
        self.position = 0
        self.get = get
        self.escape = escape
        self.quotes = quotes
        self.raw_quotes = raw_quotes
        self.raw_escapes = raw_escapes
        self.keep_unset = keep_unset
        self.used: set[str] = set()
        self.unset: set[str] = set()

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _next(self) -> str:
        letter = self.text[self.position : self.position + 1]
        self.position += 1
        return letter

    def _at_end(self) -> bool:
        return self.position >= len(self.text)

    def until(self, stop: str, raw_escapes: bool, words: _Words | None, depth: int) -> str:
        """Return what comes before `stop` ("": the end), which is passed over."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        try:
            return self._until(stop, words, depth)
        finally:
            self.raw_escapes = before

    def _until(self, stop: str, words: _Words | None, depth: int) -> str:
        plain = _plain(self.escape, stop, self.quotes)
        result: list[str] = []
        while not self._at_end():
            run = plain.match(self.text, self.position)
            if run:
                self.position = run.end()
                result.append(run[0])
                if words:
                    words.add(run[0])
                continue
            letter = self._peek()
            if letter == stop:
                self.position += 1
                return "".join(result)
            if letter == "$":
                value = self._dollar(depth)
                if words:
                    words.add(value)
            elif letter in "'\"":
                value = self._single() if letter == "'" else self._double(depth)
                if words:
                    words.add_raw(value)
            else:
                value = self._escaped()
                if words:
                    words.add_raw(value)
            result.append(value)
        if stop:
            raise DockerfileError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result)

    def _escaped(self) -> str:
        escape = self._next()
        following = self._next()
        return escape + following if self.raw_escapes else following

    def _single(self) -> str:
        start = self.position
        end = self.text.find("'", start + 1)
        if end < 0:
            self.position = len(self.text)
            raise DockerfileError("unexpected end of statement while looking for matching single-quote")
        self.position = end + 1
        return self.text[start : end + 1] if self.raw_quotes else self.text[start + 1 : end]

    def _double(self, depth: int) -> str:
        plain = _quoted(self.escape)
        self.position += 1
        result = ['"'] if self.raw_quotes else []
        while not self._at_end():
            run = plain.match(self.text, self.position)
            if run:
                self.position = run.end()
                result.append(run[0])
                continue
            letter = self._peek()
            if letter == "$":
                result.append(self._dollar(depth))
                continue
            self.position += 1
            if letter == '"':
                if self.raw_quotes:
                    result.append(letter)
                return "".join(result)
            if self.raw_escapes:
                result.append(letter)
            following = self._peek()
            if following and following in ('"', "$", self.escape):
                self.position += 1
                result.append(following)
            elif following:
                result.append(letter)
        raise DockerfileError("unexpected end of statement while looking for matching double-quote")

    def _name(self) -> str:
        match = _DIGITS.match(self.text, self.position) or _NAME.match(self.text, self.position)
        if match:
            self.position = match.end()
            return match[0]
        return self._next() if self._peek() in _SPECIAL else ""

    def _value(self, name: str) -> str | None:
        value = self.get(name)
        (self.unset if value is None else self.used).add(name)
        return value

    def _dollar(self, depth: int) -> str:
        self.position += 1
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._value(name)
            if value is None:
                return f"${name}" if self.keep_unset else ""
            return value
        if depth >= DEPTH_LIMIT:
            raise DockerfileError(f"substitutions nested more than {DEPTH_LIMIT} deep")
        self.position += 1
        if self._at_end():
            raise DockerfileError("syntax error: missing '}'")
        if self._peek() in "{}:":
            raise DockerfileError("syntax error: bad substitution")
        name = self._name()
        if self._at_end():
            raise DockerfileError("syntax error: missing '}'")
        modifier = self._next()
        if modifier == "}":
            value = self._value(name)
            if value is None:
                return f"${{{name}}}" if self.keep_unset else ""
            return value
        if modifier == "/":
            return self._replace(name, depth)
        if modifier == ":":
            modifier += self._next()
        if modifier[-1] not in "+-?#%":
            raise DockerfileError(f"unsupported modifier ({modifier}) in substitution")
        return self._modified(name, modifier, depth)

    def _operand(self, stop: str, raw_escapes: bool, depth: int, missing: str) -> str:
        try:
            return self.until(stop, raw_escapes, None, depth + 1)
        except DockerfileError:
            if self._at_end():
                raise DockerfileError(f"syntax error: missing {missing}") from None
            raise

    def _modified(self, name: str, modifier: str, depth: int) -> str:
        kind = modifier[-1]
        word = self._operand("}", kind in "#%", depth, "'}'")
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}{modifier}{word}}}"
        if kind in "#%":
            longest = word.startswith(kind)
            pattern = Pattern(word[1:] if longest else word)
            cut = pattern.without_prefix if kind == "#" else pattern.without_suffix
            return cut(value or "", longest)
        missing = value is None or (modifier[0] == ":" and not value)
        if kind == "+":
            return "" if missing else word
        if kind == "-":
            return word if missing else value or ""
        if missing:
            reason = word or f"is not allowed to be {'unset' if value is None else 'empty'}"
            raise DockerfileError(f"{name}: {reason}")
        return value or ""

    def _replace(self, name: str, depth: int) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self.position += 1
        pattern = self._operand("/", True, depth, "'/' in ${}")
        replacement = self._operand("}", True, depth, "'}'")
        value = self._value(name)
        if value is None and self.keep_unset:
            return f"${{{name}/{'/' if everywhere else ''}{pattern}/{replacement}}}"
        return Pattern(pattern).replace(value or "", replacement, everywhere)
