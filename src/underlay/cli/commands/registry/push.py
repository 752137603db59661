"""`underlay push`."""

from __future__ import annotations

from ...flags import trustflag
from ...progress.transferprogress import FLAG, TransferProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Upload an image to a registry"
SYNOPSIS = "push [OPTIONS] NAME[:TAG]"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    trustflag.FLAG,
    ("all-tags", "a", "bool", "", "Push all tags of an image to the repository"),
    ("platform", "", "string", "string", "Push the image of one platform instead of the whole index"),
    FLAG,
    ("quiet", "q", "bool", "", "Suppress verbose output"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Push an image, or all tags of a repository."""
    from ....engine.images.transfer import push
    from ....oci import reference as references

    trustflag.check(options)
    exact = references.parse_exact(arguments[0])
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        if not exact.tag and not exact.digest and not options["all-tags"]:
            progress.say(f"Using default tag: {references.DEFAULT_TAG}")
        for reference, pushed in push(engine._store, arguments[0], options["all-tags"], options["platform"]):
            progress.say(f"{reference.tag}: digest: {pushed.digest} size: {pushed.size}")
            if progress.mode == "quiet":
                progress.say(str(reference), quiet=True)
    return 0
