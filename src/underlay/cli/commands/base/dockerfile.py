"""`underlay base dockerfile`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Reconstruct the Dockerfile that would build an image"
SYNOPSIS = "base dockerfile [OPTIONS] IMAGE"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    ("base", "", "string", "string", "Use this image as the base instead of identifying it (scratch for none)"),
    (
        "extract",
        "",
        "string",
        "directory",
        "Write the Dockerfile to this directory, with the files that COPY and ADD added, ready to build",
    ),
    (
        "frozen",
        "",
        "bool",
        "",
        "With --extract: also write the files that RUN steps created, instead of running the steps again",
    ),
    ("format", "f", "string", "string", "Format output: 'json' or a Go template"),
    ("platform", "", "string", "string", "Platform of the image, if it is multi-platform"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the Dockerfile; what is in doubt stands in comments."""
    reconstruction = engine.bases.dockerfile(
        arguments[0], options["platform"], options["base"], options["extract"], options["frozen"]
    )
    if options["format"]:
        import msgspec

        from ...output import render

        value = {**msgspec.to_builtins(reconstruction), "text": reconstruction.text}
        sys.stdout.write(render(options["format"], value) + "\n")
        return 0
    text = reconstruction.text
    if sys.stdout.isatty():
        # In a file it stays as the image has it.
        from ...output import plain

        text = "\n".join(map(plain, text.split("\n")))
    sys.stdout.write(text)
    if reconstruction.doubts:
        count = "1 line is" if reconstruction.doubts == 1 else f"{reconstruction.doubts} lines are"
        sys.stderr.write(f"underlay: {count} in doubt: see the comments\n")
    return 0
