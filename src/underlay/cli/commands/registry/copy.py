"""`underlay copy`."""

from __future__ import annotations

from ....errors import UsageError
from ...progress.transferprogress import FLAG, TransferProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Copy an image between registries, archives, directories and the store"
SYNOPSIS = "copy [OPTIONS] SOURCE DESTINATION"
FLAGS: tuple[Flag, ...] = (
    ("all", "a", "bool", "", "Copy all platforms, also into the store; fail if the destination cannot store them"),
    ("format", "f", "string", "string", 'Convert manifests to "oci" or "docker" media types (default: unchanged)'),
    ("platform", "", "string", "string", "Copy the image of one platform instead of the whole index"),
    FLAG,
    ("quiet", "q", "bool", "", "Print the digest only"),
    ("remove-signatures", "", "bool", "", "Do not copy the signatures and attestations of the image"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy what SOURCE stands for, all platforms and attestations, byte for byte wherever DESTINATION can hold it so."""
    if len(arguments) != 2:
        raise UsageError('"underlay copy" requires exactly 2 arguments', "see `underlay copy --help`")
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        copied = engine.registries.copy(
            arguments[0],
            arguments[1],
            options["platform"],
            options["all"],
            options["format"],
            options["remove-signatures"],
        )
        if progress.mode == "quiet":
            progress.say(copied.digest, quiet=True)
        else:
            progress.say(f"{arguments[1]}: digest: {copied.digest} size: {copied.size}")
    return 0
