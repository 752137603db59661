"""`underlay build`."""

from __future__ import annotations

import os
import sys

from ....errors import UsageError
from ....files import write_output
from ....lean.jsontext import dumps
from ....oci import reference as references
from ...flags import buildflags
from ...progress.buildprogress import BuildProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.builds.result import BuildResult
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Build an image from a Dockerfile"
SYNOPSIS = "build [OPTIONS] PATH | URL | -"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = buildflags.FLAGS


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Build an image; progress goes to standard error, with -q its id to standard output."""
    request = buildflags.request_of(options, arguments)
    call = "check" if options["check"] and "call" not in options else options["call"] or "build"
    if call != "build":
        from ...calls import answer

        return answer(engine, request, call)
    quiet = options["quiet"]
    mode = "quiet" if quiet else options["progress"] or os.environ.get("BUILDKIT_PROGRESS", "") or "auto"
    try:
        with BuildProgress(engine, mode):
            built = engine.builds.build(request)
    except KeyboardInterrupt:
        sys.stderr.write("underlay: build canceled\n")
        raise
    for output in request.outputs:
        if output.push:
            _push(engine, built, mode)
    if options["iidfile"]:
        write_output(options["iidfile"], built.id.encode())
    if options["metadata-file"]:
        write_output(options["metadata-file"], _metadata(built))
    if quiet:
        sys.stdout.write(built.id + "\n")
    return 0


def _push(engine: Engine, built: BuildResult, mode: str) -> None:
    from ...progress.transferprogress import TransferProgress

    if not built.names:
        raise UsageError("tag is needed when pushing to registry", "give the image a name with -t")
    with TransferProgress(engine, "quiet" if mode == "quiet" else "plain", sys.stderr):
        for name in built.names:
            engine.images.push(name)


def _metadata(built: BuildResult) -> bytes:
    """Return what --metadata-file holds (docker buildx build, "--metadata-file")."""
    value: dict[str, Any] = {}
    if built.provenance is not None:
        value["buildx.build.provenance"] = built.provenance
    value["containerimage.config.digest"] = built.id
    value["containerimage.descriptor"] = {"mediaType": built.media_type, "digest": built.digest, "size": built.size}
    value["containerimage.digest"] = built.digest
    if built.names:
        value["image.name"] = ",".join(references.parse(name).name for name in built.names)
    return dumps(value).encode() + b"\n"
