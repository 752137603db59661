"""Artefacts in registries that are no images, by media type: names for error messages."""

from __future__ import annotations

from ..errors import NotFound
from ..oci import document, mediatype
from ..oci import manifest as manifests

_USUAL = "oras pull {name}"
# What a media type begins with, what that is, and what fetches it.
_KINDS = (
    ("application/vnd.cncf.helm.", "a Helm chart", "helm pull oci://{name}"),
    ("application/vnd.wasm.", "a WebAssembly module", _USUAL),
    ("application/vnd.module.wasm.", "a WebAssembly module", _USUAL),
    ("application/vnd.bytecodealliance.wasm.", "a WebAssembly module", _USUAL),
    ("application/wasm", "a WebAssembly module", _USUAL),
    ("application/vnd.cncf.notary.", "a signature", _USUAL),
    ("application/vnd.dev.cosign.", "a signature", _USUAL),
    ("application/vnd.dev.sigstore.", "a signature", _USUAL),
    ("application/vnd.in-toto", "an attestation", _USUAL),
    ("application/spdx+json", "a bill of materials", _USUAL),
    ("application/vnd.cyclonedx", "a bill of materials", _USUAL),
    ("application/vnd.cncf.openpolicyagent.", "a bundle of policies", _USUAL),
    ("application/vnd.docker.plugin.", "a Docker plugin", _USUAL),
    ("application/vnd.docker.ai.", "a model", _USUAL),
    ("application/vnd.cncf.model.", "a model", _USUAL),
    ("application/vnd.cncf.flux.", "a Flux artefact", _USUAL),
)


def refusal(name: str, data: bytes) -> NotFound:
    """Return the error for a manifest or an index in a registry that is no image, nor leads to one."""
    value = document.decode(data, f"manifest for {name}")
    if manifests.kind(value) == "index":
        count = len(value.get("manifests") or [])
        what = f"none of the {count} manifests in its index is an image's" if count else "its index is empty"
        return NotFound(f"{name} is not a container image: {what}", "see `underlay manifest inspect`")
    media_type = _type(value)
    kind, program = _known(media_type)
    return NotFound(
        f"{name} is {kind} ({media_type or 'of no stated type'}), not a container image",
        f"fetch it with `{program.format(name=name)}`, or look at it with `underlay manifest inspect`",
    )


def _type(value: object) -> str:
    """Return the most specific media type of an artefact: its own, its configuration's, or that of its first layer."""
    manifest = value if isinstance(value, dict) else {}
    config, layers = manifest.get("config"), manifest.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    types = [
        manifest.get("artifactType"),
        *(part.get("mediaType") for part in (config, first) if isinstance(part, dict)),
    ]
    stated = [media_type for media_type in types if isinstance(media_type, str) and media_type]
    telling = [
        media_type for media_type in stated if media_type not in mediatype.CONFIGS and media_type != mediatype.OCI_EMPTY
    ]
    return "".join(c for c in (*telling, *stated, "")[0][:100] if c.isprintable())


def _known(media_type: str) -> tuple[str, str]:
    matches = [(kind, program) for start, kind, program in _KINDS if media_type.startswith(start)]
    return matches[0] if matches else ("an artefact", _USUAL)
