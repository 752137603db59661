"""Write docs/reference/commands.md and docs/reference/python.md from the code: flag tables and docstrings.

    python tools/make_reference.py [--check]

`--check` writes nothing and fails when a file is not what would be written. Run it after changing a flag or a docstring.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import underlay
from underlay import errors
from underlay.cli import index
from underlay.cli.flags import Flag, globalflags
from underlay.lean import values

_NOTE = "<!-- Written by tools/make_reference.py. Do not edit. -->\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _flag_table(flags: tuple[Flag, ...]) -> list[str]:
    lines = ["| flag | value | |", "| --- | --- | --- |"]
    for name, short, kind, meta, text in sorted(flags):
        shown = f"`-{short}`, `--{name}`" if short else f"`--{name}`"
        value = "" if kind == "bool" else f"{meta or kind}"
        if kind == "list":
            value += " …"
        lines.append(f"| {shown} | {_cell(value)} | {_cell(text)} |")
    return lines


def commands() -> str:
    """Return the page of all commands."""
    modules: dict[str, list[str]] = {}
    for words, (module, _) in index.COMMANDS.items():
        modules.setdefault(module, []).append(words)
    aliases: dict[str, list[str]] = {}
    for alias, words in index.ALIASES.items():
        module = index.COMMANDS[words][0]
        aliases.setdefault(module, []).append(alias)
    lines = [
        _NOTE,
        "# Commands",
        "",
        "`underlay [OPTIONS] COMMAND`. Flags follow docker's grammar: `--name value`, `--name=value`, `-n value`,",
        "`-nvalue`, `-itd`, `--bool=false`; `--` ends them. A flag whose value is marked with … may be repeated.",
        "Every command has `--help`. Exit codes, variables and files are in [settings](settings.md).",
        "",
        "## Before the command",
        "",
        *_flag_table(globalflags.GLOBAL_FLAGS),
        "",
        "## All",
        "",
        "| command | also | |",
        "| --- | --- | --- |",
    ]
    made: list[tuple[str, ModuleType, list[str]]] = []
    for module_name, names in modules.items():
        module = importlib.import_module(f"underlay.cli.commands.{module_name}")
        made.append((names[0], module, [*names[1:], *aliases.get(module_name, ())]))
    for name, module, others in made:
        anchor = name.replace(" ", "-")
        also = ", ".join(f"`{other}`" for other in others)
        lines.append(f"| [`{name}`](#{anchor}) | {also} | {_cell(module.SUMMARY)} |")
    for name, module, _ in made:
        lines += ["", f"## {name}", "", f"    underlay {module.SYNOPSIS}", "", f"{module.SUMMARY}."]
        if module.FLAGS:
            lines += ["", *_flag_table(module.FLAGS)]
    return "\n".join(lines) + "\n"


# The public interface, in reading order: the engine, what hangs on it, what is given to that; then all else, by name.
_FIRST = """
Engine Containers Images Builds Bases Scans Registries Networks Volumes Machines System
ContainerOptions ExecOptions BuildRequest Output Secret CacheStore
Container Image Result BuildResult Session Execution Attachment Event
""".split()
_PROPERTIES = {
    name.capitalize(): name
    for name, member in vars(underlay.Engine).items()
    if isinstance(member, property) and name.capitalize() in _FIRST
}


def _classes() -> list[tuple[str, type]]:
    """Return titles and classes of the public interface."""
    rest = sorted({*underlay.__all__} - {*_FIRST, "__version__"})
    found = []
    for name in [*_FIRST, *rest]:
        title = f"engine.{_PROPERTIES[name]}" if name in _PROPERTIES else name
        found.append((title, getattr(underlay, name)))
    return found


def _documentation(thing: object) -> str:
    return inspect.cleandoc(inspect.getdoc(thing) or "")


def _paragraphs(text: str) -> list[str]:
    """Return a docstring as Markdown; interpreter examples become code."""
    return ["    " + line if line.startswith((">>>", "...")) else line for line in text.splitlines()]


_KEYWORDS = {
    "BuildKeywords": "BuildRequest",
    "ContainerKeywords": "ContainerOptions",
    "ExecKeywords": "ExecOptions",
    "LimitKeywords": "ContainerOptions",
}


def _signature(node: ast.FunctionDef) -> str:
    """Return how a method is called; the keywords are those of the options that the type names."""
    node.args.args = [argument for argument in node.args.args if argument.arg != "self"]
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    arguments = ast.unparse(node.args)
    for keywords, kind in _KEYWORDS.items():
        arguments = arguments.replace(f"Unpack[{keywords}]", kind)
    return f"{node.name}({arguments}){returned}"


def _members(kind: type) -> list[str]:
    """Return the public methods and properties, those of classes of ours that it inherits from first."""
    lines: list[str] = []
    for each in reversed(kind.__mro__):
        if each.__module__.startswith("underlay.") and each not in (values.Record, values.Value):
            lines += _own_members(each)
    return lines


def _own_members(kind: type) -> list[str]:
    lines: list[str] = []
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__).body
    for node in body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
            continue
        if "overload" in map(ast.unparse, node.decorator_list):
            continue
        member = inspect.getattr_static(kind, node.name)
        if isinstance(member, property):
            returned = f" → {node.returns.id}" if isinstance(node.returns, ast.Name) else ""
            lines += ["", f"**`{node.name}`**{returned}", "", *_paragraphs(_documentation(member))]
        else:
            lines += ["", f"**`{_signature(node)}`**", "", *_paragraphs(_documentation(member))]
    return lines


def _option_table(kind: type) -> list[str]:
    """Return a table of the annotated class attributes: name, type, default, the comment beside it."""
    source = inspect.getsource(kind).splitlines()
    lines = ["", "| option | type | default | |", "| --- | --- | --- | --- |"]
    for node in ast.parse(inspect.getsource(kind)).body[0].body:  # type: ignore[attr-defined]
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.unparse(node.annotation)
        ):
            comment = source[node.lineno - 1].partition("  # ")[2]
            kind_text = ast.unparse(node.annotation)
            default = f"`{ast.unparse(node.value)}`" if node.value is not None else ""
            lines.append(f"| `{node.target.id}` | {_cell(kind_text)} | {default} | {_cell(comment)} |")
    return lines


def python() -> str:
    """Return the page of the public Python interface."""
    lines = [
        _NOTE,
        "# Python interface",
        "",
        "What the command line stands on. The [guide](../guides/python.md) shows it at work; this page lists it, from the",
        "docstrings. All is imported from `underlay`; `**options` are keywords, the fields of the class that is named.",
    ]
    for title, kind in _classes():
        lines += [
            "",
            f"## {title}",
            "",
            f"`underlay.{kind.__qualname__}`",
            "",
            *_paragraphs(_documentation(kind)),
        ]
        if issubclass(kind, values.Record | values.Value | msgspec.Struct):
            lines += _option_table(kind)
        lines += _members(kind)
    lines += [
        "",
        "## Errors",
        "",
        "`underlay.errors`. Indentation shows the tree: catch as much of it as you mean.",
        "",
        "| class | exit code | |",
        "| --- | --- | --- |",
    ]

    def tree(kind: type[errors.UnderlayError], depth: int) -> None:
        first = " ".join(_documentation(kind).partition("\n\n")[0].split())
        code = "125, 126, 127" if kind is errors.StartFailed else str(kind.exit_code)
        lines.append(f"| {'&emsp;' * depth}`{kind.__name__}` | {code} | {_cell(first)} |")
        for below in kind.__subclasses__():
            if below.__module__ == errors.__name__:  # others are caught where they are raised
                tree(below, depth + 1)

    tree(errors.UnderlayError, 0)
    return "\n".join(lines) + "\n"


PAGES = {"docs/reference/commands.md": commands, "docs/reference/python.md": python}


def outdated() -> list[str]:
    """Return the pages that are not what the code says."""
    found = []
    for name, make in PAGES.items():
        path = ROOT / name
        if not path.exists() or path.read_text(encoding="utf-8") != make():
            found.append(name)
    return found


def run(words: list[str]) -> int:
    """Write the pages, or with `--check` only tell which are out of date."""
    if words == ["--check"]:
        wrong = outdated()
        for name in wrong:
            print(f"{name} is out of date: run python tools/make_reference.py")
        return int(bool(wrong))
    for name, make in PAGES.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
