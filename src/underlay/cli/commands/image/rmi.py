"""`underlay rmi`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, NotFound, UnderlayError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Remove one or more images"
SYNOPSIS = "rmi [OPTIONS] IMAGE [IMAGE...]"
ARGUMENTS = (1, None)
FLAGS: tuple[Flag, ...] = (
    ("force", "f", "bool", "", "Force removal of the image"),
    ("no-prune", "", "bool", "", "Accepted for compatibility with docker: there are no untagged parents"),
    (
        "remote",
        "",
        "bool",
        "",
        "Remove tags (NAME:TAG) or manifests (NAME@DIGEST) from their registry, not from the local store",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Remove each image, going on after a failure; 1 when any failed."""
    failed = False

    from ...each import print_error

    for name in arguments:
        try:
            if options["remote"]:
                _remove_remote(engine, name, options["force"])
                continue
            removed = engine.images.remove(name, options["force"])
        except UnderlayError as error:
            print_error(error)
            # docker: with --force an image that is not there is no failure.
            failed = failed or not (options["force"] and isinstance(error, NotFound))
            continue
        for text in removed.untagged:
            sys.stdout.write(f"Untagged: {text}\n")
        for text in removed.deleted:
            sys.stdout.write(f"Deleted: {text}\n")
    return int(failed)


def _remove_remote(engine: Engine, name: str, force: bool) -> None:
    from ....oci import reference as references

    exact = references.parse_exact(name)
    if not exact.tag and not exact.digest:
        raise InvalidInput(f"{name}: neither a tag nor a digest", "name what is removed: NAME:TAG or NAME@DIGEST")
    gone = engine.registries.delete(name, force)
    for tag in gone.tags:
        sys.stdout.write(f"Untagged: {exact.familiar_repository}:{tag}\n")
    if gone.manifest:
        sys.stdout.write(f"Deleted: {exact.familiar_repository}@{gone.digest}\n")
