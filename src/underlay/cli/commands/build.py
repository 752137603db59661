"""`underlay build`."""

from __future__ import annotations

import os
import sys

from .. import buildflags
from ..buildprogress import BuildProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...engine.engine import Engine
    from ..flags import Flag, Options

SUMMARY = "Build an image from a Dockerfile"
SYNOPSIS = "build [OPTIONS] PATH | URL | -"
FLAGS: tuple[Flag, ...] = buildflags.FLAGS


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Build an image; progress goes to standard error, with -q its id to standard output."""
    from ...files import write_atomic

    request = buildflags.request_of(options, arguments)
    quiet = options["quiet"]
    mode = "quiet" if quiet else options["progress"] or os.environ.get("BUILDKIT_PROGRESS", "") or "auto"
    with BuildProgress(engine, mode):
        built = engine.builds.build(request)
    if options["iidfile"]:
        write_atomic(options["iidfile"], built.id.encode(), 0o644)
    if quiet:
        sys.stdout.write(built.id + "\n")
    return 0
