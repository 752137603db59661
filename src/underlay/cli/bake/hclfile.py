"""Bake files in HCL: their blocks. The grammar is that of the library python-hcl2; what it yields is evaluated by us."""

from __future__ import annotations

from ...errors import InvalidInput, Unsupported
from .definition import Definition, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .definition import Expression, Scope, Value

    Tree = Any  # lark's Tree

_BLOCKS = {"variable": 1, "function": 1, "group": 1, "target": 1}


def add(definition: Definition, path: str, text: str) -> None:
    """Add what a text in HCL says to `definition`. Raises InvalidInput, and Unsupported without the library."""
    for item in _parsed(path, text if text.endswith("\n") else text + "\n").children[0].children:
        if item.data == "attribute":
            name, expression = _attribute(path, item)
            definition.values[name] = expression
        elif item.data == "block":
            _add_block(definition, path, item)


def template(path: str, text: str) -> Expression:
    """Return the expression that a text with `${…}` and `%{…}` in it is. Raises as `add` does."""
    from .expressions import quoted

    tree = _parsed(path, f"x = {quoted(text)}\n")
    return _Evaluated(path, tree.children[0].children[0].children[2], False)


def _parsed(path: str, text: str) -> Tree:
    try:
        import hcl2
        from lark import UnexpectedInput
    except ImportError:
        raise Unsupported(f"{path}: reading HCL needs python-hcl2", "pip install 'underlay[bake]'") from None
    try:
        return hcl2.parses_to_tree(text)
    except UnexpectedInput as error:
        line = getattr(error, "line", 0)
        rows = text.splitlines()
        what = rows[line - 1].strip() if 0 < line <= len(rows) else "the end of the file"
        raise InvalidInput(f"{path}:{max(line, 1)}: this is not HCL: {what:.100}") from None


def _attribute(path: str, tree: Tree) -> tuple[str, Expression]:
    name, _, value = tree.children
    return _word(name), _Evaluated(path, value)


def _word(tree: Tree) -> str:
    """Return the text of an identifier, or of a string without templates."""
    if tree.data == "string":
        return "".join(str(token) for part in tree.children[1:-1] for token in part.children)
    return str(tree.children[0])


def _add_block(definition: Definition, path: str, tree: Tree) -> None:
    heads = [one for one in tree.children if hasattr(one, "data") and one.data in ("identifier", "string", "keyword")]
    kind, labels = _word(heads[0]), [_word(one) for one in heads[1:]]
    place = f"{path}:{tree.meta.line}"
    if kind not in _BLOCKS:
        raise InvalidInput(f"{place}: unexpected {kind!r}", "variable, function, group and target are known")
    if len(labels) != _BLOCKS[kind]:
        raise InvalidInput(f"{place}: a {kind} has one name, in quotes")
    (name,) = labels
    body = next(one for one in tree.children if hasattr(one, "data") and one.data == "body")
    attributes: dict[str, Expression] = {}
    for item in body.children:
        if item.data == "attribute":
            key, expression = _attribute(path, item)
            if key in attributes:
                raise InvalidInput(f"{path}:{item.meta.line}: {key} is given twice")
            attributes[key] = expression
        elif item.data == "block":
            inner = _word(item.children[0])
            if kind != "variable" or inner != "validation":
                raise InvalidInput(f"{path}:{item.meta.line}: unexpected block {inner!r} in {kind} {name!r}")
            checks = dict(_attributes_of(path, item))
            attributes[f"validation {item.meta.line}"] = _Together(checks)
    if kind == "variable":
        definition.variables[name] = attributes
    elif kind == "group":
        definition.groups.setdefault(name, []).append(attributes)
    elif kind == "target":
        definition.targets.setdefault(name, []).append(attributes)
    else:
        definition.functions[name] = _function(place, name, attributes)


def _attributes_of(path: str, block: Tree) -> list[tuple[str, Expression]]:
    body = next(one for one in block.children if hasattr(one, "data") and one.data == "body")
    return [_attribute(path, item) for item in body.children if item.data == "attribute"]


def _function(place: str, name: str, attributes: dict[str, Expression]) -> Function:
    unknown = sorted(set(attributes) - {"params", "variadic_params", "result"})
    if unknown or "result" not in attributes:
        what = f"unexpected {unknown[0]!r}" if unknown else "it has no result"
        raise InvalidInput(f"{place}: function {name!r}: {what}", "params, variadic_params and result are known")
    names: list[list[str]] = []
    for key in ("params", "variadic_params"):
        expression = attributes.get(key)
        words = expression.names() if isinstance(expression, _Evaluated) else []
        names.append(words)
    return Function(names[0], names[1][0] if names[1] else "", attributes["result"])


class _Together:
    """Several expressions as one dict."""

    __slots__ = ("parts",)

    def __init__(self, parts: dict[str, Expression]) -> None:
        self.parts = parts

    def value(self, scope: Scope) -> Value:
        return {name: part.value(scope) for name, part in self.parts.items()}


class _Evaluated:
    """An expression of a file: `lines` says whether the lines of its tree are those of the file."""

    __slots__ = ("_lines", "_path", "_tree")

    def __init__(self, path: str, tree: Tree, lines: bool = True) -> None:
        self._path = path
        self._tree = tree
        self._lines = lines

    def value(self, scope: Scope) -> Value:
        from .expressions import Evaluator

        return Evaluator(scope, self._path, self._lines).value(self._tree)

    def names(self) -> list[str]:
        """Return the identifiers in a list of names, or the one that stands alone."""
        return [str(one.children[0]) for one in self._tree.iter_subtrees_topdown() if one.data == "identifier"]
