"""The part of Go's text/template that people use in `--format`, with docker's functions.

Fields `.A.B`, `$` and variables, pipes, parentheses, literals, `if`, `else`, `else if`, `with`, `range`,
comments and the trim markers `{{-` and `-}}`. Anything else is refused by name. Values are what JSON has:
dict, list, str, numbers, bool, None. Source of the rules: the package documentation of Go's text/template.
"""

from __future__ import annotations

from ..errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Node = tuple[Any, ...]

_SPACES = " \t\r\n"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_WORD = _LETTERS | frozenset("0123456789")
_UNSUPPORTED = frozenset(("define", "template", "block", "break", "continue"))
_DEPTH_LIMIT = 100
_ESCAPES = {
    "n": "\n",
    "t": "\t",
    "r": "\r",
    '"': '"',
    "'": "'",
    "\\": "\\",
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}


class _Missing:
    """The value of a key that a map lacks: false, printed as Go prints it."""

    def __bool__(self) -> bool:
        return False


MISSING = _Missing()


def _bad(text: str) -> InvalidInput:
    return InvalidInput(f"template parsing error: {text}", "see `underlay --help` and Go's text/template")


class Template:
    """A parsed template; raises InvalidInput when `source` is none that is understood here."""

    def __init__(self, source: str, functions: dict[str, Callable[..., Any]] | None = None) -> None:
        self._functions = {**FUNCTIONS, **(functions or {})}
        self._source = source
        pieces = _split(source)
        self._nodes, rest, _ = _block(pieces, 0, self._functions, 0)
        if rest != len(pieces):
            raise _bad(f"unexpected {{{{{pieces[rest][1]}}}}}")

    def render(self, value: object) -> str:
        """Return the text for `value`; raises InvalidInput when a field or a function does not fit it."""
        out: list[str] = []
        _Run(self._functions, value).nodes(self._nodes, value, out)
        return "".join(out)


# Splitting and parsing
# ----------------------------------------------------------------------------------------------


def _split(source: str) -> list[tuple[str, str]]:
    """Return ("text", …) and ("action", …) pieces, trim markers applied."""
    pieces: list[tuple[str, str]] = []
    position = 0
    trim = False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip(_SPACES)
        if start < 0:
            pieces.append(("text", text))
            return pieces
        inner = start + 2
        if source[inner : inner + 1] == "-" and source[inner + 1 : inner + 2] in (*_SPACES, "}"):
            text = text.rstrip(_SPACES)
            inner += 1
        pieces.append(("text", text))
        action: str | None
        if source[inner:].lstrip(_SPACES).startswith("/*"):
            closed = source.find("*/", inner)
            if closed < 0:
                raise _bad("unclosed comment")
            end = source.find("}}", closed)
            body = source[closed + 2 : end]
            action = None
        else:
            end = _action_end(source, inner)
            body = action = source[inner:end]
        if end < 0:
            raise _bad("unclosed action")
        trim = len(body) > 1 and body[-1] == "-" and body[-2] in _SPACES
        if action is not None:
            action = (action[:-1] if trim else action).strip(_SPACES)
            if not action:
                raise _bad("missing value for command")
            pieces.append(("action", action))
        position = end + 2


def _action_end(source: str, position: int) -> int:
    quote = ""
    while position < len(source):
        letter = source[position]
        if quote:
            if letter == "\\" and quote != "`":
                position += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'`":
            quote = letter
        elif source.startswith("}}", position):
            return position
        position += 1
    return -1


def _block(
    pieces: list[tuple[str, str]], position: int, functions: dict[str, Any], depth: int
) -> tuple[list[Node], int, str]:
    """Parse up to `else`, `end` or the end; return nodes, the position of what stopped it, and its action."""
    if depth > _DEPTH_LIMIT:
        raise _bad("nested too deep")
    nodes: list[Node] = []
    while position < len(pieces):
        kind, text = pieces[position]
        if kind == "text":
            if text:
                nodes.append(("text", text))
            position += 1
            continue
        word = text.split(None, 1)[0] if text else ""
        if word in ("end", "else"):
            if depth == 0:
                raise _bad(f"unexpected {{{{{word}}}}}")
            return nodes, position, text
        if word in _UNSUPPORTED:
            raise _bad(f"{{{{{word}}}}} is not supported")
        if word in ("if", "with", "range"):
            node, position = _control(word, text[len(word) :], pieces, position + 1, functions, depth)
            nodes.append(node)
            continue
        names, pipeline = _parse(text, functions)
        nodes.append(("assign", names, pipeline) if names else ("print", pipeline))
        position += 1
    if depth:
        raise _bad("unexpected EOF: {{end}} is missing")
    return nodes, position, ""


def _control(
    word: str, rest: str, pieces: list[tuple[str, str]], position: int, functions: dict[str, Any], depth: int
) -> tuple[Node, int]:
    names, pipeline = _parse(rest, functions)
    body, position, stopped = _block(pieces, position, functions, depth + 1)
    other: list[Node] = []
    if stopped.split()[0] == "else":
        after = stopped[4:].strip(_SPACES)
        if after:
            kind = after.split(None, 1)[0]
            if kind not in ("if", "with"):
                raise _bad(f"unexpected {after!r} in else")
            # The chained block takes the one {{end}} for both.
            node, position = _control(kind, after[len(kind) :], pieces, position + 1, functions, depth + 1)
            return (word, names, pipeline, body, [node]), position
        other, position, stopped = _block(pieces, position + 1, functions, depth + 1)
        if stopped.split()[0] == "else":
            raise _bad("unexpected {{else}}")
    return (word, names, pipeline, body, other), position + 1


def _tokens(text: str) -> list[tuple[str, Any]]:
    tokens: list[tuple[str, Any]] = []
    position = 0
    while position < len(text):
        letter = text[position]
        if letter in _SPACES:
            while position < len(text) and text[position] in _SPACES:
                position += 1
            tokens.append(("space", " "))
        elif letter in "\"'":
            value, position = _quoted(text, position)
            tokens.append(("literal", value if letter == '"' else ord(value) if len(value) == 1 else value))
        elif letter == "`":
            end = text.find("`", position + 1)
            if end < 0:
                raise _bad("unterminated raw quoted string")
            tokens.append(("literal", text[position + 1 : end]))
            position = end + 1
        elif text.startswith(":=", position):
            tokens.append((":=", ":="))
            position += 2
        elif letter in "()|,=":
            tokens.append((letter, letter))
            position += 1
        elif letter in ".$" or letter in _LETTERS:
            end = position + 1
            while end < len(text) and text[end] in _WORD:
                end += 1
            kind = {".": "field", "$": "variable"}.get(letter, "word")
            tokens.append((kind, text[position:end]))
            position = end
        elif letter.isdigit() or letter in "+-":
            end = position + 1
            while end < len(text) and (text[end] in _WORD or text[end] in ".+-"):
                end += 1
            tokens.append(("literal", _literal_number(text[position:end])))
            position = end
        else:
            raise _bad(f"unexpected {letter!r}")
    return tokens


def _quoted(text: str, position: int) -> tuple[str, int]:
    quote = text[position]
    out: list[str] = []
    position += 1
    while position < len(text):
        letter = text[position]
        if letter == quote:
            return "".join(out), position + 1
        if letter == "\\":
            position += 1
            escaped = text[position : position + 1]
            if escaped in ("x", "u") and escaped:
                width = 2 if escaped == "x" else 4
                try:
                    out.append(chr(int(text[position + 1 : position + 1 + width], 16)))
                except ValueError:
                    raise _bad("invalid syntax in a string") from None
                position += width
            elif escaped in _ESCAPES:
                out.append(_ESCAPES[escaped])
            else:
                raise _bad("invalid syntax in a string")
        else:
            out.append(letter)
        position += 1
    raise _bad("unterminated quoted string")


def _literal_number(text: str) -> int | float:
    try:
        return int(text, 0)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise _bad(f"bad number syntax: {text!r}") from None


def _parse(text: str, functions: dict[str, Any]) -> tuple[list[str], Node]:
    """Return the variables assigned and the pipeline of an action's text."""
    tokens = _tokens(text.strip(_SPACES))
    names: list[str] = []
    words = [token for token in tokens if token[0] != "space"]
    kinds = [kind for kind, _ in words[:4]]
    count = 0
    if kinds[:2] in (["variable", ":="], ["variable", "="]):
        names, count = [words[0][1]], 2
    elif kinds in (["variable", ",", "variable", ":="], ["variable", ",", "variable", "="]):
        names, count = [words[0][1], words[2][1]], 4
    if count:
        while count:
            if tokens.pop(0)[0] != "space":
                count -= 1
    pipeline, position = _pipeline(tokens, 0, functions, 0)
    if position != len(tokens):
        raise _bad(f"unexpected {tokens[position][1]!r} in operand")
    return names, pipeline


def _pipeline(
    tokens: list[tuple[str, Any]], position: int, functions: dict[str, Any], depth: int
) -> tuple[Node, int]:
    if depth > _DEPTH_LIMIT:
        raise _bad("nested too deep")
    commands: list[list[Node]] = [[]]
    while position < len(tokens):
        kind, value = tokens[position]
        if kind == ")":
            break
        position += 1
        if kind == "space":
            continue
        if kind == "|":
            if not commands[-1]:
                raise _bad("missing value for command")
            commands.append([])
            continue
        operand: Node
        if kind == "(":
            operand, position = _pipeline(tokens, position, functions, depth + 1)
            if position >= len(tokens):
                raise _bad("unclosed left paren")
            position += 1
        elif kind == "literal":
            operand = ("literal", value)
        elif kind == "field":
            operand = ("dot",) if value == "." else ("field", ("dot",), value[1:])
        elif kind == "variable":
            operand = ("variable", value)
        elif kind == "word":
            if value in ("true", "false"):
                operand = ("literal", value == "true")
            elif value == "nil":
                operand = ("literal", None)
            elif value in functions:
                operand = ("function", value)
            else:
                raise _bad(f'function "{value}" not defined')
        else:
            raise _bad(f"unexpected {value!r} in operand")
        while position < len(tokens) and tokens[position][0] == "field" and tokens[position][1] != ".":
            operand = ("field", operand, tokens[position][1][1:])
            position += 1
        commands[-1].append(operand)
    if not commands[-1]:
        raise _bad("missing value for command")
    for number, command in enumerate(commands):
        if command[0][0] != "function" and (len(command) > 1 or number):
            raise _bad("can't give argument to non-function")
    return ("pipeline", commands), position


# Running
# ------------------------------------------------------------------------------------------------------------


class _Run:
    def __init__(self, functions: dict[str, Any], root: object) -> None:
        self.functions = functions
        self.variables: dict[str, object] = {"$": root}

    def nodes(self, nodes: list[Node], dot: object, out: list[str]) -> None:
        for node in nodes:
            kind = node[0]
            if kind == "text":
                out.append(node[1])
            elif kind == "print":
                out.append(text_of(self.value(node[1], dot)))
            elif kind == "assign":
                self.variables[node[1][0]] = self.value(node[2], dot)
            elif kind == "range":
                self._range(node, dot, out)
            else:
                value = self.value(node[2], dot)
                for name in node[1]:
                    self.variables[name] = value
                if truth(value):
                    self.nodes(node[3], value if kind == "with" else dot, out)
                else:
                    self.nodes(node[4], dot, out)

    def _range(self, node: Node, dot: object, out: list[str]) -> None:
        value = self.value(node[2], dot)
        pairs: list[tuple[object, object]]
        if isinstance(value, dict):
            pairs = sorted(value.items())
        elif isinstance(value, list | tuple):
            pairs = list(enumerate(value))
        elif value is None or value is MISSING:
            pairs = []
        else:
            raise InvalidInput(f"template: range can't iterate over {text_of(value)}")
        for key, item in pairs:
            if len(node[1]) == 2:
                self.variables[node[1][0]] = key
            if node[1]:
                self.variables[node[1][-1]] = item
            self.nodes(node[3], item, out)
        if not pairs:
            self.nodes(node[4], dot, out)

    def value(self, node: Node, dot: object) -> Any:
        kind = node[0]
        if kind == "literal":
            return node[1]
        if kind == "dot":
            return dot
        if kind == "variable":
            if node[1] not in self.variables:
                raise InvalidInput(f'template: undefined variable "{node[1]}"')
            return self.variables[node[1]]
        if kind == "field":
            return _field(self.value(node[1], dot), node[2])
        if kind == "function":
            return self._call(node[1], [])
        result: Any = None
        for number, command in enumerate(node[1]):
            carried = [result] if number else []
            if command[0][0] == "function":
                if command[0][1] in ("and", "or"):
                    result = self._logic(command, carried, dot)
                else:
                    result = self._call(command[0][1], [self.value(c, dot) for c in command[1:]] + carried)
            else:
                result = self.value(command[0], dot)
        return result

    def _logic(self, command: list[Node], carried: list[Any], dot: object) -> Any:
        """Evaluate `and` or `or` no further than needed, as Go does."""
        stops_on = command[0][1] == "or"
        result: Any = None
        for argument in command[1:]:
            result = self.value(argument, dot)
            if truth(result) is stops_on:
                return result
        return carried[0] if carried else result

    def _call(self, name: str, arguments: list[Any]) -> Any:
        try:
            return self.functions[name](*arguments)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            raise InvalidInput(f"template: error calling {name}: {error}") from None


def _field(value: object, name: str) -> Any:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        # Records have fields in capitals, and lacking one is a mistake; maps of users' keys may lack any.
        if value and all(isinstance(key, str) and key[:1].isupper() for key in value):
            raise InvalidInput(f'template: map has no entry for key "{name}"')
        return MISSING
    if value is None or value is MISSING:
        raise InvalidInput(f"template: nil pointer evaluating .{name}")
    raise InvalidInput(f"template: can't evaluate field {name} in {text_of(value)[:40]!r}")


def truth(value: object) -> bool:
    """Tell whether Go's `if` takes the value as true: neither zero, empty nor nil."""
    return bool(value)


def text_of(value: object) -> str:
    """Return a value as Go's `%v` prints it."""
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<no value>"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{text_of(k)}:{_inner(v)}" for k, v in sorted(value.items())) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(_inner(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def _inner(value: object) -> str:
    return "<nil>" if value is None else text_of(value)


def to_json(value: object) -> str:
    """Return compact JSON with `<`, `>` and `&` escaped, as Go's encoder writes it."""
    from .. import jsontext

    text = jsontext.dumps(None if value is MISSING else value)
    for plain, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(plain, escaped)
    return text


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | tuple | str):
            if not isinstance(key, int) or isinstance(key, bool):
                raise ValueError(f"cannot index a list with {key!r}")
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        elif value is None or value is MISSING:
            raise ValueError("index of untyped nil")
        else:
            raise ValueError(f"can't index item of type {type(value).__name__}")
    return value


def _printf(pattern: str, *arguments: Any) -> str:
    out: list[str] = []
    rest = list(arguments)
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        if letter != "%":
            out.append(letter)
            continue
        flags = ""
        while position < len(pattern) and pattern[position] in "+-# 0123456789.":
            flags += pattern[position]
            position += 1
        verb = pattern[position : position + 1]
        position += 1
        if verb == "%":
            out.append("%")
            continue
        if not rest:
            out.append(f"%!{verb}(MISSING)")
            continue
        value = rest.pop(0)
        if sum(map(int, "".join(c if c.isdigit() else " " for c in flags).split())) > 10_000:
            raise ValueError("field too wide")
        if verb in ("s", "v"):
            out.append(f"%{flags}s" % text_of(value))
        elif verb == "q":
            out.append(to_json(text_of(value)))
        elif verb in "dxXofeg" and isinstance(value, int | float):
            out.append(f"%{flags}{verb}" % value)
        else:
            raise ValueError(f"unsupported verb %{verb}")
    return "".join(out)


def _compare(a: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    return any((isinstance(a, bool) == isinstance(b, bool)) and a == b for b in others)


def _truncate(text: str, width: int) -> str:
    return text[:width]


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    if not isinstance(value, list | str):
        raise ValueError("can't slice item")
    if not 0 <= start <= len(value) or (end is not None and not start <= end <= len(value)):
        raise ValueError("slice index out of range")
    return value[start:end]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *a: None,  # evaluated by the runner, which may stop early
    "or": lambda *a: None,
    "not": lambda value: not truth(value),
    "eq": _compare,
    "ne": lambda a, b: not _compare(a, b),
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "len": lambda value: len(value or ()),
    "index": _index,
    "slice": _slice,
    "print": lambda *values: "".join(map(text_of, values)),
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "printf": _printf,
    "json": to_json,
    "join": lambda values, separator="": separator.join(map(text_of, values or ())),
    "split": lambda text, separator: text.split(separator),
    "lower": lambda text: text.lower(),
    "upper": lambda text: text.upper(),
    "title": lambda text: text[:1].upper() + text[1:],
    "pad": lambda text, before, after: " " * before + text + " " * after if text else text,
    "truncate": _truncate,
}
