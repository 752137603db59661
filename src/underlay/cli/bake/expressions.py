"""The values of HCL's expressions (HCL Native Syntax Specification), from the trees that python-hcl2's grammar yields."""

from __future__ import annotations

import re

from ...errors import InvalidInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from fractions import Fraction
    from typing import Any

    from .definition import Scope, Value

    Tree = Any  # lark's Tree or Token

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.S)


class Evaluator:
    """Evaluates the trees of one file, of which `path` is the name; names in them mean what `scope` says."""

    def __init__(self, scope: Scope, path: str, lines: bool = True) -> None:
        self._scope = scope
        self._path = path
        self._lines = lines

    def value(self, tree: Tree) -> Value:
        """Return the value of a tree. Raises InvalidInput, with the place."""
        try:
            return self._value(tree)
        except RecursionError:
            raise InvalidInput(f"{self._path}: an expression is nested too deep") from None

    def _value(self, tree: Tree) -> Value:
        method: Callable[[Tree, list[Tree]], Value] | None = getattr(self, f"_{tree.data}", None)
        if method is None:
            raise self._error(tree, f"{tree.data} is not supported in an expression")
        try:
            return method(tree, [one for one in tree.children if not _is(one, "new_line_or_comment")])
        except InvalidInput:
            raise
        except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, AttributeError) as error:
            raise self._error(tree, f"this cannot be evaluated: {error}") from None

    def _error(self, tree: Tree, message: str) -> InvalidInput:
        line = getattr(getattr(tree, "meta", None), "line", 0) if self._lines else 0
        return InvalidInput(f"{self._path}:{line}: {message}" if line else f"{self._path}: {message}")

    def _expr_term(self, tree: Tree, parts: list[Tree]) -> Value:
        return self._value(next(one for one in parts if hasattr(one, "data")))

    def _identifier(self, tree: Tree, parts: list[Tree]) -> Value:
        try:
            return self._scope.variable(str(parts[0]))
        except InvalidInput as error:
            raise self._placed(tree, error) from None

    def _placed(self, tree: Tree, error: InvalidInput) -> InvalidInput:
        """Return an error with the place of a tree, unless it has one."""
        return error if error.message.startswith(f"{self._path}:") else self._error(tree, error.message)

    def _literal_value(self, tree: Tree, parts: list[Tree]) -> Value:
        return {"true": True, "false": False, "null": None}[str(parts[0])]

    def _int_lit(self, tree: Tree, parts: list[Tree]) -> Value:
        return int(parts[0])

    def _float_lit(self, tree: Tree, parts: list[Tree]) -> Value:
        return number(float(parts[0]))

    def _tuple(self, tree: Tree, parts: list[Tree]) -> Value:
        return [self._value(one) for one in parts if hasattr(one, "data")]

    def _object(self, tree: Tree, parts: list[Tree]) -> Value:
        made: dict[str, Value] = {}
        for element in parts:
            if _is(element, "object_elem"):
                inner = [one for one in element.children if hasattr(one, "data")]
                made[self._key(inner[0])] = self._value(inner[1])
        return made

    def _key(self, tree: Tree) -> str:
        """Return a key of an object: a bare word stands for itself, in brackets for its value."""
        (term,) = tree.children
        if _is(term, "keyword"):
            return str(term.children[0])
        if _is(term, "expr_term") and len(term.children) == 1 and _is(term.children[0], "identifier"):
            return str(term.children[0].children[0])
        return text(self._value(term))

    def _conditional(self, tree: Tree, parts: list[Tree]) -> Value:
        condition, yes, no = (one for one in parts if hasattr(one, "data"))
        return self._value(yes if truth(self._value(condition)) else no)

    def _unary_op(self, tree: Tree, parts: list[Tree]) -> Value:
        value = self._value(parts[1])
        return not truth(value) if parts[0] == "!" else -as_number(value)

    def _binary_op(self, tree: Tree, parts: list[Tree]) -> Value:
        left, term = (one for one in parts if hasattr(one, "data"))
        operator, right = (one for one in term.children if not _is(one, "new_line_or_comment"))
        sign = str(operator.children[0])
        if sign in ("&&", "||"):
            # Both are evaluated, as HCL does: a mistake in the second is found whatever the first is.
            first, second = truth(self._value(left)), truth(self._value(right))
            return first and second if sign == "&&" else first or second
        return operate(sign, self._value(left), self._value(right))

    def _index_expr_term(self, tree: Tree, parts: list[Tree]) -> Value:
        return self._stepped(self._value(parts[0]), parts[1])

    _get_attr_expr_term = _index_expr_term

    def _stepped(self, value: Value, step: Tree) -> Value:
        """Return the member of a value that an index or the name of an attribute means."""
        inner = [one for one in step.children if hasattr(one, "data") and not _is(one, "new_line_or_comment")]
        if step.data == "get_attr":
            key: Value = str(inner[0].children[0])
        elif step.data == "short_index":
            key = int(step.children[1])
        else:
            key = self._value(inner[0])
        return member(value, key)

    def _full_splat_expr_term(self, tree: Tree, parts: list[Tree]) -> Value:
        value = self._value(parts[0])
        values: Sequence[Value] = [] if value is None else value if isinstance(value, list) else [value]
        made = []
        for one in values:
            for step in parts[1].children:
                if hasattr(step, "data"):
                    one = self._stepped(one, step)
            made.append(one)
        return made

    _attr_splat_expr_term = _full_splat_expr_term

    def _function_call(self, tree: Tree, parts: list[Tree]) -> Value:
        names = [str(one.children[0]) for one in parts if _is(one, "identifier")]
        values: list[Value] = []
        for arguments in (one for one in parts if _is(one, "arguments")):
            trees = [one for one in arguments.children if hasattr(one, "data") and not _is(one, "new_line_or_comment")]
            values = [self._value(one) for one in trees]
            if any(str(one) == "..." for one in arguments.children):
                values[-1:] = values[-1]
        try:
            return self._scope.call("::".join(names), values)
        except InvalidInput as error:
            raise self._placed(tree, error) from None

    def _for_tuple_expr(self, tree: Tree, parts: list[Tree]) -> Value:
        intro, result = parts[1], parts[2]
        condition = next((one for one in parts if _is(one, "for_cond")), None)
        return [inner._value(result) for inner in self._rounds(intro, condition)]

    def _for_object_expr(self, tree: Tree, parts: list[Tree]) -> Value:
        intro, (key, result) = parts[1], [one for one in parts[2:] if hasattr(one, "data") and one.data != "for_cond"]
        condition = next((one for one in parts if _is(one, "for_cond")), None)
        grouped = any(str(one) == "..." for one in parts)
        made: dict[str, Value] = {}
        for inner in self._rounds(intro, condition):
            name, value = text(inner._value(key)), inner._value(result)
            if grouped:
                made.setdefault(name, []).append(value)
            elif name in made:
                raise self._error(tree, f"key {name!r} comes twice")
            else:
                made[name] = value
        return made

    def _rounds(self, intro: Tree, condition: Tree | None) -> Iterator[Evaluator]:
        """Yield an evaluator for each round of a `for`, in which its variables have their values."""
        names = [str(one.children[0]) for one in intro.children if _is(one, "identifier")]
        trees = [one for one in intro.children if hasattr(one, "data")]
        source = next(one for one in trees if one.data not in ("identifier", "new_line_or_comment"))
        for inner in self._bound(names, self._value(source)):
            tests = [one for one in condition.children if hasattr(one, "data")] if condition is not None else []
            if all(truth(inner._value(one)) for one in tests if not _is(one, "new_line_or_comment")):
                yield inner

    def _bound(self, names: list[str], source: Value) -> Iterator[Evaluator]:
        pairs = source.items() if hasattr(source, "items") else enumerate(source)
        for key, value in pairs:
            bound = {names[0]: value} if len(names) == 1 else {names[0]: key, names[1]: value}
            yield Evaluator(Bound(self._scope, bound), self._path, self._lines)

    def _string(self, tree: Tree, parts: list[Tree]) -> Value:
        pieces = [piece for part in parts[1:-1] for piece in part.children]
        if len(pieces) == 1 and _is(pieces[0], "interpolation"):
            return self._interpolated(pieces[0])  # alone it keeps its type
        written, rest = self._written(pieces, 0, ())
        if rest != len(pieces):
            raise self._error(tree, "a %{ directive ends what was not begun")
        return written

    def _interpolated(self, tree: Tree) -> Value:
        return self._value(next(one for one in tree.children if hasattr(one, "data")))

    def _written(self, pieces: list[Tree], at: int, ends: tuple[str, ...]) -> tuple[str, int]:
        """Return the text of pieces from `at` on, up to a directive that is one of `ends`, and where that stands."""
        made = ""
        strips = at > 0 and _marked(pieces[at - 1], -1)  # whether blanks at the beginning of the next text are left out
        while at < len(pieces):
            piece = pieces[at]
            kind = piece.data if hasattr(piece, "data") else ""
            if kind in ends or kind in ("template_else", "template_endif", "template_endfor"):
                return made, at
            if not kind:
                plain = unescaped(str(piece))
                if strips:
                    plain = plain.lstrip()
                following = pieces[at + 1] if at + 1 < len(pieces) else None
                made += plain.rstrip() if following is not None and _marked(following, 0) else plain
                strips = False
            elif kind == "interpolation":
                made += text(self._interpolated(piece))
            else:
                shown, at = self._directive(pieces, at)
                made += shown
            if kind:
                strips = _marked(pieces[at], -1)
            at += 1
        return made, at

    def _directive(self, pieces: list[Tree], at: int) -> tuple[str, int]:
        """Return what an `if` or `for` that begins at `at` writes, and where its end stands."""
        head = pieces[at]
        trees = [one for one in head.children if hasattr(one, "data")]
        if head.data == "template_if_start":
            chosen = truth(self._value(trees[-1]))
            yes, end = self._part(chosen, pieces, at + 1)
            no = ""
            if end < len(pieces) and pieces[end].data == "template_else":
                no, end = self._part(not chosen, pieces, end + 1)
            self._expect(pieces, end, "template_endif", head)
            return yes + no, end
        names = [str(one.children[0]) for one in trees[:-1]]
        rounds = list(self._bound(names, self._value(trees[-1])))
        made = ""
        for inner in rounds:
            shown, end = inner._written(pieces, at + 1, ("template_endfor",))
            made += shown
        if not rounds:
            _, end = self._part(False, pieces, at + 1)
        self._expect(pieces, end, "template_endfor", head)
        return made, end

    def _part(self, wanted: bool, pieces: list[Tree], at: int) -> tuple[str, int]:
        """Return what stands between two directives, or nothing unless it is wanted, and where the second one stands."""
        if wanted:
            return self._written(pieces, at, ("template_else", "template_endif", "template_endfor"))
        depth = 0
        while at < len(pieces):
            kind = pieces[at].data if hasattr(pieces[at], "data") else ""
            if kind in ("template_if_start", "template_for_start"):
                depth += 1
            elif kind in ("template_endif", "template_endfor", "template_else"):
                if not depth:
                    return "", at
                depth -= kind != "template_else"
            at += 1
        return "", at

    def _expect(self, pieces: list[Tree], at: int, kind: str, head: Tree) -> None:
        if at >= len(pieces) or pieces[at].data != kind:
            raise self._error(head, f"a %{{ directive has no {kind.removeprefix('template_')}")

    def _heredoc_template(self, tree: Tree, parts: list[Tree]) -> Value:
        return self._heredoc(str(parts[0]), False)

    def _heredoc_template_trim(self, tree: Tree, parts: list[Tree]) -> Value:
        return self._heredoc(str(parts[0]), True)

    def _heredoc(self, whole: str, trims: bool) -> Value:
        from . import hclfile

        lines = whole.splitlines(keepends=True)[1:-1]
        if trims:
            indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
            lines = [line[min(indents, default=0) :] if line.strip() else line.lstrip(" \t") for line in lines]
        written = "".join(lines)
        if "${" not in written and "%{" not in written:
            return written
        return hclfile.template(self._path, written).value(self._scope)


class Bound:
    """A scope in which some names have values of their own."""

    __slots__ = ("_outer", "_values")

    def __init__(self, outer: Scope, values: dict[str, Value]) -> None:
        self._outer = outer
        self._values = values

    def variable(self, name: str) -> Value:
        """Return the value of a name, here or outside. Raises InvalidInput."""
        return self._values[name] if name in self._values else self._outer.variable(name)

    def call(self, name: str, arguments: list[Value]) -> Value:
        """Return what a function of the outer scope answers."""
        return self._outer.call(name, arguments)


def _is(tree: Tree, kind: str) -> bool:
    return hasattr(tree, "data") and tree.data == kind


def _marked(tree: Tree, end: int) -> bool:
    """Return whether a directive has the mark `~` at its beginning (0) or its end (-1)."""
    if not hasattr(tree, "children"):
        return False
    tokens = [str(one) for one in tree.children if not hasattr(one, "data")]
    return len(tokens) > 2 and (tokens[1] if end == 0 else tokens[-2]) == "~"


def unescaped(written: str) -> str:
    """Return what a part of a quoted string means (HCL, "Quoted Templates"). Raises ValueError."""
    if written.startswith(("$${", "%%{")):
        return written[1:]

    def replaced(match: re.Match[str]) -> str:
        sign = match[1]
        if sign[0] in "uU" and len(sign) > 1:
            return chr(int(sign[1:], 16))
        if sign not in _ESCAPES:
            raise ValueError(f"unknown escape \\{sign}")
        return _ESCAPES[sign]

    return _ESCAPE.sub(replaced, written)


def quoted(template: str) -> str:
    """Return a template as a quoted one of HCL: what stands between `${` or `%{` and the bracket that ends it stays."""
    made, at = ['"'], 0
    while at < len(template):
        if template[at : at + 3] in ("$${", "%%{"):
            made.append(template[at : at + 3])
            at += 3
        elif template[at : at + 2] in ("${", "%{"):
            end = _end_of(template, at + 2)
            made.append(template[at:end])
            at = end
        else:
            sign = template[at]
            made.append({"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}.get(sign, sign))
            at += 1
    return "".join(made) + '"'


def _end_of(template: str, at: int) -> int:
    """Return where the expression that begins at `at` ends, behind its bracket. Strings in it are passed over."""
    depth, quotes = 1, False
    while at < len(template) and depth:
        sign = template[at]
        if quotes:
            if sign == "\\":
                at += 1
            quotes = sign != '"'
        elif sign == '"':
            quotes = True
        else:
            depth += (sign == "{") - (sign == "}")
        at += 1
    return at


def text(value: Value) -> str:
    """Return a value as a template shows it. Raises TypeError for a list or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _digits(number(value))
    if isinstance(value, str):
        return value
    raise TypeError("a text is needed, not " + ("null" if value is None else "a list or an object"))


def number(value: float) -> int | float:
    """Return a number without a fraction as an int."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digits(value: float) -> str:
    """Return the decimal digits of a number, without an exponent, as HCL converts numbers to text."""
    from decimal import Decimal

    return format(Decimal(repr(value)), "f")


def _exact(value: float) -> Fraction | int:
    """Return a number as the fraction that its decimal digits stand for: HCL's 0.1 + 0.2 is 0.3."""
    from fractions import Fraction

    return Fraction(repr(value)) if isinstance(value, float) else value


def _rounded(value: Fraction | int) -> int | float:
    return int(value) if value == int(value) else float(value)


def as_number(value: Value) -> int | float:
    """Return a number, also of a text that is one. Raises TypeError, ValueError."""
    if isinstance(value, bool) or value is None:
        raise TypeError(f"a number is needed, not {value}")
    return number(value if isinstance(value, int | float) else float(value))


def truth(value: Value) -> bool:
    """Return a truth value, also of the texts `true` and `false`. Raises TypeError."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise TypeError("true or false is needed")


def operate(sign: str, left: Value, right: Value) -> Value:
    """Return what an operator makes of two values. Raises TypeError, ValueError, ZeroDivisionError."""
    if sign in ("==", "!="):
        return (left == right and isinstance(left, bool) == isinstance(right, bool)) == (sign == "==")
    from fractions import Fraction

    first, second = _exact(as_number(left)), _exact(as_number(right))
    answers: dict[str, Callable[[], Value]] = {
        "+": lambda: _rounded(first + second),
        "-": lambda: _rounded(first - second),
        "*": lambda: _rounded(first * second),
        "/": lambda: _rounded(Fraction(first) / second),
        "%": lambda: _rounded(first - second * int(Fraction(first) / second)),
        "<": lambda: first < second,
        ">": lambda: first > second,
        "<=": lambda: first <= second,
        ">=": lambda: first >= second,
    }
    return answers[sign]()


def member(value: Value, key: Value) -> Value:
    """Return the member of a list or an object. Raises TypeError, KeyError, IndexError."""
    if isinstance(value, list):
        place = as_number(key)
        if not isinstance(place, int) or not 0 <= place < len(value):
            raise IndexError(f"there is no element {key} in a list of {len(value)}")
        return value[place]
    if hasattr(value, "keys"):
        try:
            return value[text(key)]
        except KeyError:
            raise KeyError(f"there is no {text(key)!r} in this object") from None
    raise TypeError("only lists and objects have members")
