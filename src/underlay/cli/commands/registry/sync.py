"""`underlay sync`."""

from __future__ import annotations

import sys

from ....errors import InvalidInput, UsageError
from ...each import print_error
from ...progress.transferprogress import FLAG, TransferProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Copy whole repositories to another registry or a directory"
SYNOPSIS = "sync [OPTIONS] SOURCE [SOURCE...] DESTINATION"
FLAGS: tuple[Flag, ...] = (
    ("dry-run", "", "bool", "", "Show what would be copied, and copy nothing"),
    ("format", "f", "string", "string", 'Convert manifests to "oci" or "docker" media types (default: unchanged)'),
    ("list", "", "list", "stringArray", 'Read sources from a file ("-": standard input), one a line'),
    ("platform", "", "string", "string", "Copy the images of one platform instead of whole indexes"),
    FLAG,
    ("quiet", "q", "bool", "", "Print errors only"),
    ("remove-signatures", "", "bool", "", "Do not copy the signatures and attestations of the images"),
    ("scoped", "", "bool", "", "Prefix each repository with the name of the source registry"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Copy each name that the sources mean and that the destination lacks; 1 when any failed."""
    if not arguments or (len(arguments) < 2 and not options["list"]):
        raise UsageError('"underlay sync" requires a SOURCE and a DESTINATION', "see `underlay sync --help`")
    sources = [*arguments[:-1]]
    for path in options["list"]:
        sources += _listed(path)
    failed = False
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        for copied in engine.registries.sync(
            sources,
            arguments[-1],
            options["platform"],
            options["format"],
            options["remove-signatures"],
            options["scoped"],
            options["dry-run"],
        ):
            if copied.error is not None:
                failed = True
                progress.failed(copied.error)
                print_error(copied.error)
            elif not copied.new:
                progress.say(f"{copied.destination}: is up to date")
            elif options["dry-run"]:
                progress.say(f"{copied.source} -> {copied.destination}")
            else:
                progress.say(f"{copied.destination}: digest: {copied.digest}")
    return int(failed)


def _listed(path: str) -> list[str]:
    from ....files import read_bytes
    from ....transfer.copy.synced import read_list

    data = sys.stdin.buffer.read() if path == "-" else read_bytes(path, 16 << 20)
    try:
        return read_list(data.decode())
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: not a text file with a list of sources", "write one source a line") from None
