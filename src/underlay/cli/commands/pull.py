"""`underlay pull`."""

from __future__ import annotations

from ...errors import UsageError
from ..transferprogress import FLAG, TransferProgress, status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ..flags import Flag, Options

SUMMARY = "Download an image from a registry"
SYNOPSIS = "pull [OPTIONS] NAME[:TAG|@DIGEST]"
FLAGS: tuple[Flag, ...] = (
    ("all-tags", "a", "bool", "", "Download all tagged images in the repository"),
    ("keep-compressed", "", "bool", "", "Keep the layers' compressed bytes, to save or push them again as they came"),
    (
        "platform",
        "",
        "list",
        "stringSlice",
        "Pull the images of these platforms, or of all, such as linux/arm64,linux/amd64",
    ),
    FLAG,
    ("quiet", "q", "bool", "", "Suppress verbose output"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Pull an image, or all tags of a repository."""
    from ...oci import reference as references

    if len(arguments) != 1:
        raise UsageError('"underlay pull" requires exactly 1 argument', "see `underlay pull --help`")
    name = arguments[0]
    exact = references.parse_exact(name)
    keep = None  # the environment decides
    if "keep-compressed" in options:
        keep = options["keep-compressed"]
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        if not exact.tag and not exact.digest and not options["all-tags"]:
            progress.say(f"Using default tag: {references.DEFAULT_TAG}")
        done = engine.images.pull(name, options["platform"], options["all-tags"], keep)
        newer = any(pulled.new for _, pulled in done)
        said = exact if options["all-tags"] else done[0][0]
        progress.say(status(said, newer))
        progress.say(str(said), quiet=True)
    return 0
