"""The rooms of the code: no folder that is too full to look over, no files that import each other in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from engines import REPOSITORY

SOURCE = REPOSITORY / "src" / "underlay"
FOLDERS = sorted(
    {path.parent for top in (SOURCE, REPOSITORY / "tests" / "support") for path in top.rglob("*.py")}, key=str
)
FULL = 17  # files beside each other, folders not counted
# Two files may need each other's types. More than that is a room without a door.
CIRCLE = 2
# Circles that are left, each by its first file: none may be added, and one that is gone must go from here.
LEFT: dict[str, int] = {}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_a_folder_can_be_looked_over(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= FULL


def modules() -> dict[str, Path]:
    """Every module by its dotted name below `underlay`."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = list(path.relative_to(SOURCE).with_suffix("").parts)
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


def imports(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules that a module imports, those for types too."""
    package = module.split(".") if module else []
    if path.name != "__init__.py":
        package = package[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                for target in (".".join([*base, alias.name]), ".".join(base)):
                    if target in known and target != module:
                        found.add(target)
                        break
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module (Tarjan's way, without recursion)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in graph:
        work = [(root, iter(sorted(graph[root])))] if root not in order else []
        while work:
            module, rest = work[-1]
            if module not in order:
                order[module] = low[module] = len(order)
                stack.append(module)
            for other in rest:
                if other not in order:
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in stack:
                    low[module] = min(low[module], order[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[module])
                if low[module] == order[module]:
                    part = stack[stack.index(module) :]
                    del stack[stack.index(module) :]
                    if len(part) > 1:
                        found.append(sorted(part))
    return sorted(found)


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]


def test_no_circles() -> None:
    known = modules()
    graph = {module: imports(module, path, known) for module, path in known.items()}
    assert sum(map(len, graph.values())) > 1000  # else nothing was looked at
    assert [part for part in circles(graph) if len(part) > CIRCLE] == []
