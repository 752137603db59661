"""`underlay copy`."""

from __future__ import annotations

from ...errors import UsageError
from ..transferprogress import FLAG, TransferProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ..flags import Flag, Options

SUMMARY = "Copy an image from one registry or repository to another, without pulling it"
SYNOPSIS = "copy [OPTIONS] SOURCE DESTINATION"
FLAGS: tuple[Flag, ...] = (
    ("platform", "", "string", "string", "Copy the image of one platform instead of the whole index"),
    FLAG,
    ("quiet", "q", "bool", "", "Print the digest only"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy what SOURCE stands for, all platforms and attestations, byte for byte."""
    if len(arguments) != 2:
        raise UsageError('"underlay copy" requires exactly 2 arguments', "see `underlay copy --help`")
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        copied = engine.registries.copy(arguments[0], arguments[1], options["platform"])
        if progress.mode == "quiet":
            progress.say(copied.digest, quiet=True)
        else:
            progress.say(f"{arguments[1]}: digest: {copied.digest} size: {copied.size}")
    return 0
