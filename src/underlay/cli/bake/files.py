"""Which bake files there are, and what they say together."""

from __future__ import annotations

import os
import sys

from ...errors import InvalidInput, NotFound, Unsupported
from .definition import Definition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which they are read, the later ones changing what the earlier say (docker buildx bake, "--file").
_NAMES = (
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
)
_COMPOSE = _NAMES[:4]
_LIMIT = 8 << 20  # bytes of one file


def read(paths: Sequence[str]) -> Definition:
    """Return what files say, `-` being standard input; without any, those with the usual names that are here.

    Raises NotFound, InvalidInput, Unsupported.
    """
    if not paths:
        paths = [path for path in os.environ.get("BUILDX_BAKE_FILE", "").split(os.pathsep) if path] or _usual()
    definition = Definition()
    for path in paths:
        _add(definition, path, _content(path))
    return definition


def _usual() -> list[str]:
    found = [name for name in _NAMES if os.path.exists(name)]
    # Of compose files the first counts alone, as for compose itself.
    compose = [name for name in found if name in _COMPOSE][:1]
    found = compose + [name for name in found if name not in _COMPOSE]
    if not found:
        raise NotFound(
            "no bake file: neither docker-bake.hcl, docker-bake.json nor a compose file is here", "name one with -f"
        )
    return found


def _content(path: str) -> str:
    if "://" in path:
        raise Unsupported(f"bake file {path}: only files of this host are read", "clone the repository, and bake there")
    try:
        if path == "-":
            data = sys.stdin.buffer.read(_LIMIT + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    if len(data) > _LIMIT:
        raise InvalidInput(f"{path}: more than {_LIMIT >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: not UTF-8") from None


def _add(definition: Definition, path: str, text: str) -> None:
    """Add what a file says; its form is told by its name, or by its text where the name does not tell."""
    from . import composefile, hclfile, jsonfile

    if path.endswith(".hcl"):
        hclfile.add(definition, path, text)
    elif path.endswith(".json") or text.lstrip().startswith("{"):
        jsonfile.add(definition, path, text)
    elif path.endswith((".yaml", ".yml")) or composefile.is_one(text):
        composefile.add(definition, path, text)
    else:
        hclfile.add(definition, path, text)
