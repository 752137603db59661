"""The shape of the code: what every module owes, where output may come from, and names that are promised."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import underlay
from underlay.runtime.plan import ops, processplan

SOURCE = Path(underlay.__file__).parent
MODULES = sorted(path for path in SOURCE.rglob("*.py"))
REPOSITORY = Path(__file__).resolve().parents[2]
# Data, generated or as long as it is by nature.
LONG = {"linux/security/tables.py"}
# Entry points of processes of their own, which end with a code.
ENDING = {"engine/monitor_entry.py"}


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_module(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring, "a module begins with what it is for"
    assert docstring.split("\n\n")[0][-1] in ".:", docstring
    assert len(text.splitlines()) <= (800 if name(path) in LONG else 600)
    if path.name != "__init__.py" or len(tree.body) > 1:
        assert "from __future__ import annotations" in text or path.name == "__main__.py"


def calls(tree: ast.AST) -> list[str]:
    return [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize(
    "path", [p for p in MODULES if not name(p).startswith("cli/") and p.name != "__main__.py"], ids=name
)
def test_only_the_command_line_talks(path: Path) -> None:
    tree = ast.parse(path.read_text())
    said = [call for call in calls(tree) if call == "print" or call.startswith(("sys.stdout", "sys.stderr"))]
    assert said == []
    if name(path) not in ENDING:
        assert "sys.exit" not in calls(tree)
    raised = [ast.unparse(n.exc) for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.exc is not None]
    assert not [text for text in raised if text.startswith("SystemExit")]


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_public_functions_say_what_they_do(path: Path) -> None:
    silent = []
    for node in ast.walk(ast.parse(path.read_text())):
        protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not protocol:
            for item in node.body:
                if not isinstance(item, ast.FunctionDef) or "overload" in map(ast.unparse, item.decorator_list):
                    continue
                if not item.name.startswith("_") and not ast.get_docstring(item):
                    silent.append(f"{node.name}.{item.name}")
    for node in ast.parse(path.read_text()).body:
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
        ):
            silent.append(node.name)
    assert silent == []


def test_only_rows_speak_sql() -> None:
    words = re.compile(r"(SELECT .* FROM|INSERT (OR \w+ )?INTO|DELETE FROM|UPDATE \w+ SET) ")
    found = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        if not name(path).startswith("store/rows/")
        and name(path) not in ("packages/sqlitefile.py", "base/scan/database.py", "base/scan/schema.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and words.search(node.value)
    ]
    assert found == []


def test_names_that_are_promised() -> None:
    namespace: dict[str, object] = {}
    exec("from underlay import *", namespace)
    promised = {word for word in namespace if word != "__builtins__"}
    assert promised == set(underlay.__all__) and "Engine" in promised
    with pytest.raises(AttributeError):
        getattr(underlay, "nothing_of_that_name")


def test_operations_are_those_that_plans_hold() -> None:
    """Each operation that the planning modules emit is known, and nothing is known that no plan can hold."""
    emitted = set()
    for name in ("__init__", "mountplan", "processplan"):
        for node in ast.walk(ast.parse((SOURCE / f"runtime/plan/{name}.py").read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("add", "plan.operations.append"):
                [argument] = node.args
                if isinstance(argument, ast.IfExp):
                    arguments = [argument.body, argument.orelse]
                else:
                    arguments = [argument]
                for each in arguments:
                    assert isinstance(each, ast.Tuple) and isinstance(each.elts[0], ast.Constant)
                    emitted.add(each.elts[0].value)
    assert emitted == set(ops.OPERATIONS)
    assert set(ops.OPERATIONS) == {key for key in ops.OPERATIONS if key == key.lower()}


def test_limits_have_the_kernels_numbers() -> None:
    import resource

    for word, number in processplan.RLIMITS.items():
        assert getattr(resource, word, number) == number, word


def test_every_command_has_its_module() -> None:
    from underlay.cli.index import ALIASES, COMMANDS, NOUNS

    place = SOURCE / "cli/commands"
    there = {".".join(p.relative_to(place).with_suffix("").parts) for p in place.rglob("*.py") if p.stem != "__init__"}
    assert {module for module, *_ in COMMANDS.values()} == there
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert {command.split()[0] for command in COMMANDS if " " in command} <= {*NOUNS, *COMMANDS}


def test_each_module_of_tests_has_a_name_of_its_own() -> None:
    """pytest imports them by their names alone: two of one name cannot be collected in one run."""
    names = [path.name for path in (REPOSITORY / "tests").rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
