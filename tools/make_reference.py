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

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from underlay import errors, events
from underlay.builder import request as build_request
from underlay.builder.cache import prune as build_prune
from underlay.builder.output import output as build_output
from underlay.cli import index, main
from underlay.cli.flags import Flag
from underlay.dockerfile import rules
from underlay.engine import builds, containers, engine, images, networks, options, registries, system, volumes
from underlay.engine.containers import exec, session
from underlay.lean import values
from underlay.network import model
from underlay.runtime.monitor import launch, state
from underlay.store import check
from underlay.store.rows import containers as container_rows
from underlay.store.rows import images as image_rows
from underlay.store.rows import volumes as volume_rows
from underlay.transfer.archives import load
from underlay.transfer.registry import outgoing, pull

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
        *_flag_table(main.GLOBAL_FLAGS),
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


# The public interface, in reading order: (title, class).
_CLASSES: tuple[tuple[str, type], ...] = (
    ("Engine", engine.Engine),
    ("engine.images", images.Images),
    ("engine.builds", builds.Builds),
    ("engine.registries", registries.Registries),
    ("engine.containers", containers.Containers),
    ("engine.networks", networks.Networks),
    ("engine.volumes", volumes.Volumes),
    ("engine.system", system.System),
    ("ContainerOptions", options.ContainerOptions),
    ("ExecOptions", exec.ExecOptions),
    ("BuildRequest", build_request.BuildRequest),
    ("Output", build_request.Output),
    ("Secret", build_request.Secret),
    ("CacheStore", build_request.CacheStore),
    ("Attachment", launch.Attachment),
    ("Session", session.Session),
    ("Execution", exec.Execution),
    ("Status", state.Status),
    ("Event", events.Event),
    ("Image", image_rows.Image),
    ("Container", container_rows.Container),
    ("Volume", volume_rows.Volume),
    ("Network", model.Network),
    ("Pool", model.Pool),
    ("Built", build_output.Built),
    ("Finding", rules.Finding),
    ("CacheEntry", build_prune.CacheEntry),
    ("Loaded", load.Loaded),
    ("Pulled", pull.Pulled),
    ("Pushed", outgoing.Pushed),
    ("Found", registries.Found),
    ("Listed (images)", images.Listed),
    ("Step", images.Step),
    ("Removed", images.Removed),
    ("Listed (containers)", containers.Listed),
    ("Pruned (containers)", containers.Pruned),
    ("Pruned (volumes)", volumes.Pruned),
    ("Usage", system.Usage),
    ("ImageUsage", system.ImageUsage),
    ("Report", check.Report),
    ("Problem", check.Problem),
)


def _documentation(thing: object) -> str:
    return inspect.cleandoc(inspect.getdoc(thing) or "")


def _paragraphs(text: str) -> list[str]:
    """Return a docstring as Markdown; interpreter examples become code."""
    return ["    " + line if line.startswith((">>>", "...")) else line for line in text.splitlines()]


def _signature(node: ast.FunctionDef) -> str:
    node.args.args = [argument for argument in node.args.args if argument.arg != "self"]
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    return f"{node.name}({ast.unparse(node.args)}){returned}"


def _members(kind: type) -> list[str]:
    lines: list[str] = []
    tree = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__).body
    for node in body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
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
        "docstrings.",
    ]
    for title, kind in _CLASSES:
        lines += [
            "",
            f"## {title}",
            "",
            f"`{kind.__module__}.{kind.__qualname__}`",
            "",
            *_paragraphs(_documentation(kind)),
        ]
        if kind in (options.ContainerOptions, exec.ExecOptions) or issubclass(kind, values.Record | values.Value):
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
