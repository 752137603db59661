"""Go templates, from text to nodes: splitting at the braces, tokens, pipelines, blocks."""

from __future__ import annotations

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
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


def parse(source: str, functions: dict[str, Any]) -> list[Node]:
    """Return the nodes of a template; raises InvalidInput when it is none, or knows more than we do.

    `functions` holds the names that may be called.
    """
    pieces = _split(source)
    nodes, rest, _ = _block(pieces, 0, functions, 0)
    if rest != len(pieces):
        raise _bad(f"unexpected {{{{{pieces[rest][1]}}}}}")
    return nodes


def _bad(text: str) -> InvalidInput:
    return InvalidInput(f"template parsing error: {text}", "see `underlay --help` and Go's text/template")


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
        elif letter in "0123456789+-":
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
                digits = text[position + 1 : position + 1 + width]
                if len(digits) < width or digits.strip("0123456789abcdefABCDEF"):
                    raise _bad("invalid syntax in a string")
                out.append(chr(int(digits, 16)))
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
    if not text.isascii() or text.lstrip("+-")[:1] not in "0123456789.":
        raise _bad(f"bad number syntax: {text!r}")
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


def _pipeline(tokens: list[tuple[str, Any]], position: int, functions: dict[str, Any], depth: int) -> tuple[Node, int]:
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
        if command[0][0] == "field" and (len(command) > 1 or number):
            continue  # a method, such as `.Label "name"`
        if command[0][0] != "function" and (len(command) > 1 or number):
            raise _bad("can't give argument to non-function")
    return ("pipeline", commands), position
