"""`underlay manifest inspect`."""

from __future__ import annotations

import sys

from ....errors import NotFound
from ...output import pretty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ....engine.engine import Engine
    from ....registry.repository import FetchedManifest
    from ...flags import Flag, Options

SUMMARY = "Display an image manifest, or manifest list"
SYNOPSIS = "manifest inspect [OPTIONS] [MANIFEST_LIST] MANIFEST"
ARGUMENTS = (1, 2)
FLAGS: tuple[Flag, ...] = (
    ("insecure", "", "bool", "", "Allow communication with an insecure registry"),
    ("raw", "", "bool", "", "Print the manifest's original bytes"),
    ("verbose", "v", "bool", "", "Output additional info including layers and platform"),
)


def run(engine: Engine, options: Options, arguments: list[str]) -> int:
    """Print a manifest or list as the registry has it."""
    from ....oci import reference as references

    insecure = options["insecure"]
    name = arguments[-1]
    manifest = engine.registries.manifest(name, insecure)
    if len(arguments) == 2:
        entries = _decoded(engine.registries.manifest(arguments[0], insecure).data).get("manifests") or []
        if manifest.digest not in [entry.get("digest") for entry in entries]:
            raise NotFound(f"No such manifest: {name} in {arguments[0]}")
    if options["raw"]:
        sys.stdout.buffer.write(manifest.data)
        return 0
    value = _decoded(manifest.data)
    if not options["verbose"]:
        sys.stdout.write(pretty(value) + "\n")
        return 0
    reference = references.parse(name)
    if "manifests" not in value:
        sys.stdout.write(pretty(_described(str(reference), value, manifest, None)) + "\n")
        return 0
    every = []
    for entry in value["manifests"]:
        member = references.Reference(reference.domain, reference.path, "", entry["digest"])
        below = engine.registries.manifest(str(member), insecure)
        every.append(_described(str(member), _decoded(below.data), below, entry.get("platform")))
    sys.stdout.write(pretty(every) + "\n")
    return 0


def _decoded(data: bytes) -> dict[str, Any]:
    from ....oci import document

    value: dict[str, Any] = document.decode(data, "manifest")
    return value


def _described(reference: str, value: dict[str, Any], manifest: FetchedManifest, platform: object) -> dict[str, Any]:
    descriptor: dict[str, Any] = {
        "mediaType": value.get("mediaType") or manifest.media_type,
        "digest": manifest.digest,
        "size": len(manifest.data),
    }
    if platform:
        descriptor["platform"] = platform
    docker = "docker" in str(descriptor["mediaType"])
    return {"Ref": reference, "Descriptor": descriptor, ("SchemaV2Manifest" if docker else "OCIManifest"): value}
