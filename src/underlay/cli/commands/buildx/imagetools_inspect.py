"""`underlay buildx imagetools inspect`."""

from __future__ import annotations

import sys

from ...flags.buildflags import BUILDER_FLAG, check_builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ...flags import Flag, Options

SUMMARY = "Show details of an image in a registry"
SYNOPSIS = "buildx imagetools inspect [OPTIONS] NAME"
ARGUMENTS = (1, 1)
FLAGS: tuple[Flag, ...] = (
    BUILDER_FLAG,
    ("format", "", "string", "string", "Format output: 'json' or a Go template over .Name and .Manifest"),
    ("raw", "", "bool", "", "Print the manifest's original bytes"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print the digest of an image, and what its index names."""
    from ....oci import document
    from ....oci import reference as references
    from ...output import render
    from ...problems import shown

    check_builder(options)
    manifest = engine.registries.manifest(arguments[0], False)
    if options["raw"]:
        sys.stdout.buffer.write(manifest.data)
        return 0
    value: dict[str, Any] = document.decode(manifest.data, "manifest")
    reference = references.parse(arguments[0])
    if options["format"]:
        described = {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(manifest.data), **value}
        sys.stdout.write(render(options["format"], {"Name": str(reference), "Manifest": described}) + "\n")
        return 0
    kind = value.get("mediaType") or manifest.media_type
    lines = [f"Name:      {reference}", f"MediaType: {kind}", f"Digest:    {manifest.digest}"]
    entries = value.get("manifests")
    if isinstance(entries, list):
        lines += ["", "Manifests:"]
        for entry in entries:
            platform = entry.get("platform") or {}
            parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
            lines += [
                f"  Name:      {reference.familiar_repository}@{entry.get('digest')}",
                f"  MediaType: {entry.get('mediaType')}",
                f"  Platform:  {'/'.join(str(part) for part in parts if part)}",
                "",
            ]
    sys.stdout.write("".join(shown(line) + "\n" for line in lines))
    return 0
