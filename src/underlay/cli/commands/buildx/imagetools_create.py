"""`underlay buildx imagetools create`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, NotFound, UsageError
from ...flags.buildflags import BUILDER_FLAG, check_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Create an image in a registry from images that registries have"
SYNOPSIS = "buildx imagetools create [OPTIONS] [SOURCE...]"
FLAGS: tuple[Flag, ...] = (
    ("annotation", "", "list", "list", "Add annotation to the index"),
    ("append", "", "bool", "", "Append to the existing index of each name"),
    BUILDER_FLAG,
    ("dry-run", "", "bool", "", "Show the index instead of pushing it"),
    ("file", "f", "list", "list", "Read a source from a file: a name, or a descriptor in JSON"),
    ("tag", "t", "list", "list", "Name of the new image"),
)
_LIMIT = 1 << 20  # bytes of a file


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy one image, or put several into an index, under each of the names."""
    check_builder(options)
    names = options["tag"]
    if not names and (not options["dry-run"] or options["append"]):
        raise UsageError('"underlay buildx imagetools create" requires a --tag', "give the new image a name with -t")
    members = [*arguments, *(_source(path, names) for path in options["file"])]
    if not members:
        raise UsageError(
            '"underlay buildx imagetools create" requires a source', "see `underlay buildx imagetools create --help`"
        )
    annotations = dict(_annotation(text) for text in options["annotation"])
    for name in names or [""]:
        of_name = [*_existing(engine, name), *members] if options["append"] else members
        # One image alone is copied as it is.
        copies = len(of_name) == 1 and not annotations
        if options["dry-run"]:
            data = (
                engine.registries.manifest(of_name[0], False).data
                if copies
                else engine.registries.combined(of_name, annotations)
            )
            sys.stdout.write(data.decode(errors="replace") + "\n")
        elif copies:
            sys.stdout.write(f"{name}@{engine.registries.copy(of_name[0], name, '', True).digest}\n")
        else:
            sys.stdout.write(f"{name}@{engine.registries.combine(name, of_name, annotations)}\n")
    return 0


def _existing(engine: Engine, name: str) -> list[str]:
    """Return the name if its registry has an image of it."""
    try:
        engine.registries.manifest(name, False)
    except NotFound:
        return []
    return [name]


def _annotation(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    kind, colon, rest = name.partition(":")
    if colon and kind in ("index", "manifest", "index-descriptor", "manifest-descriptor"):
        if kind != "index":
            raise InvalidInput(
                f"--annotation {text}: what is made is an index, and {kind} is none", "as index:key=value"
            )
        name = rest
    if not equals or not name:
        raise InvalidInput(f"invalid --annotation {text!r}", "as key=value or index:key=value")
    return name, value


def _source(path: str, names: list[str]) -> str:
    """Return the source that a file names; a descriptor is one of the new image's own repository."""
    from ....lean.jsontext import loads
    from ....oci import reference as references

    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not text.startswith("{"):
        return text
    try:
        value = loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path}: {error}") from None
    digest = value.get("digest") if isinstance(value, dict) else None
    if not isinstance(digest, str) or not names:
        raise InvalidInput(f"{path}: not a name, and not a descriptor with a digest beside --tag")
    return f"{references.parse(names[0]).repository}@{digest}"
