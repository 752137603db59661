"""`underlay pull`."""

from __future__ import annotations

from ....engine.images import wording
from ....errors import InvalidInput, UnderlayError
from ....oci import reference as references
from ...flags import trustflag
from ...progress.transferprogress import FLAG, TransferProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ....oci.reference import Reference
    from ....transfer.registry.pull import Pulled
    from ...flags import Flag, Options

SUMMARY = "Download images from registries"
SYNOPSIS = "pull [OPTIONS] NAME[:TAG|@DIGEST] [NAME...]"
FLAGS: tuple[Flag, ...] = (
    trustflag.FLAG,
    ("all-tags", "a", "bool", "", "Download all tagged images in the repository"),
    (
        "keep-compressed",
        "",
        "bool",
        "",
        "Keep the layers' original compressed bytes, so that save and push write identical layers",
    ),
    (
        "platform",
        "",
        "list",
        "stringSlice",
        "Pull these platforms, such as linux/arm64,linux/amd64, or all",
    ),
    FLAG,
    ("quiet", "q", "bool", "", "Suppress verbose output"),
    (
        "verify",
        "",
        "string",
        "string",
        "Demand a signature: by a public key (its file), by the trust policy (policy), or by"
        " identity=WHO,issuer=URL,trusted-root=FILE",
    ),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Pull images, or all tags of repositories; one that cannot be had does not keep the others."""
    from ....engine.images import transfer

    if not arguments:
        raise InvalidInput('"underlay pull" requires at least 1 argument', "see `underlay pull --help`")
    trustflag.check(options)
    keep = None  # the environment decides
    if "keep-compressed" in options:
        keep = options["keep-compressed"]
    pull_options = (options["platform"], options["all-tags"], keep, options["verify"])
    with TransferProgress(engine, "quiet" if options["quiet"] else options["progress"] or "auto") as progress:
        _begins(progress, arguments[0], options["all-tags"])
        if len(arguments) == 1:
            _ended(
                progress, arguments[0], transfer.pull(engine._store, arguments[0], *pull_options), options["all-tags"]
            )
            return 0
        failed = 0
        for number, (name, outcome) in enumerate(transfer.pull_each(engine._store, arguments, *pull_options), 1):
            if isinstance(outcome, UnderlayError):
                from ...each import print_error

                progress.failed(outcome)
                print_error(outcome)
                failed = 1
            else:
                _ended(progress, name, outcome, options["all-tags"])
            if number < len(arguments):
                _begins(progress, arguments[number], options["all-tags"])
    return failed


def _begins(progress: TransferProgress, name: str, all_tags: bool) -> None:
    try:
        exact = references.parse_exact(name)
    except InvalidInput:
        return  # the pull says so
    if not exact.tag and not exact.digest and not all_tags:
        progress.say(f"Using default tag: {references.DEFAULT_TAG}")


def _ended(
    progress: TransferProgress, name: str, pulled_images: list[tuple[Reference, Pulled]], all_tags: bool
) -> None:
    reference = references.parse_exact(name) if all_tags else pulled_images[0][0]
    progress.say(wording.pulled(reference, any(pulled.new for _, pulled in pulled_images)))
    progress.say(str(reference), quiet=True)
