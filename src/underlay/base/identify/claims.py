"""What an image says of its own base, in annotations, labels, provenance and history: a claim, which its layers confirm or
refute."""

from __future__ import annotations

import re
from urllib.parse import unquote

import msgspec

from ...human import lowest_layers_are
from ...oci.annotations import BASE_DIGEST, BASE_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ...oci.config import Step

_IMAGE = "pkg:docker/"  # of package URLs
CONFIRMED, REFUTED, UNCHECKED = "confirmed", "refuted", "unchecked"
ANNOTATION, LABEL, PROVENANCE, HISTORY, BUILDPACKS = "annotation", "label", "provenance", "history", "buildpacks label"
# What buildah and podman note at the first step above a base.
_FROM = re.compile(r"FROM (?!scratch$)(?![0-9a-f]{64}$)(\S{1,500})$")
# Where the lifecycle of Cloud Native Buildpacks (platform specification, labels) notes the image that it stands on.
_LIFECYCLE = "io.buildpacks.lifecycle.metadata"


class Claim(msgspec.Struct, frozen=True):
    """A claim: the base's `name` and `digest` ("" where it does not say), `source` tells where it is made; the `verdict`
    and what it stands on; how many history `steps` are the base's (0 where it does not say); `vague` when it may speak of
    something else than the base, so that to refute it says nothing; who has `signed` it ("" for nobody that was asked
    for)."""

    name: str
    digest: str
    source: str
    verdict: str = UNCHECKED
    because: str = "nothing is known here of that base"
    steps: int = 0
    vague: bool = False
    signed: str = ""


def read(
    annotations: Mapping[str, str],
    labels: Mapping[str, str],
    materials: Sequence[Claim] = (),
    noted: Sequence[Claim] = (),
) -> list[Claim]:
    """Return the claims of an image; `materials` are those of provenance, `noted` those of its history."""
    steps = noted[0].steps if noted else 0
    claims = []
    for source, where in ((ANNOTATION, annotations), (LABEL, labels)):
        name, digest = where.get(BASE_NAME, ""), where.get(BASE_DIGEST, "")
        if name or digest:
            claims.append(Claim(name, digest, source))
    claims += materials
    claims += _of_buildpacks(labels.get(_LIFECYCLE, ""))
    claims = [
        msgspec.structs.replace(claim, steps=steps) if noted and claim.name == noted[0].name else claim
        for claim in claims
    ]
    if noted and all(claim.name != noted[0].name for claim in claims):
        claims.append(noted[0])
    return list({(claim.name, claim.digest): claim for claim in reversed(claims)}.values())[::-1]


def in_history(history: Sequence[Step]) -> list[Claim]:
    """Return the bases that comments of an image's history note, each with the steps beneath it, the topmost first."""
    claims = []
    for number, step in enumerate(history):
        match = _FROM.match(step.comment or "") if number else None
        if match is not None:
            name, _, digest = match[1].partition("@")
            claims.append(Claim(name, digest, HISTORY, steps=number))
    return claims[::-1]


def _of_buildpacks(label: str) -> list[Claim]:
    """Return what the lifecycle of Buildpacks notes of the run image."""
    if not label:
        return []
    try:
        run = msgspec.json.decode(label.encode())["runImage"]
        name, _, digest = str(run.get("reference", "")).partition("@")
        name = str(run.get("image") or name)
    except (msgspec.MsgspecError, RecursionError, ValueError, LookupError, TypeError, AttributeError):
        return []
    return [Claim(name, digest, BUILDPACKS)] if name or digest else []


def judged(claim: Claim, chains: Sequence[tuple[str, Sequence[str]]], diff_ids: Sequence[str]) -> Claim:
    """Return a claim with its verdict. `chains` are builds that it may mean: what each is, and its layers as the image's
    `diff_ids` (or compressed digests) are told."""
    if not chains:
        return claim
    for what, layers in chains:
        if layers and list(diff_ids[: len(layers)]) == list(layers) and len(layers) <= len(diff_ids):
            return msgspec.structs.replace(
                claim, verdict=CONFIRMED, because=f"{lowest_layers_are(len(layers))} of {what}"
            )
    what = chains[0][0]
    return msgspec.structs.replace(claim, verdict=REFUTED, because=f"the layers of {what} are not beneath it")


def in_provenance(statement: Mapping[str, Any], signed: str = "") -> list[Claim]:
    """Return the bases that a provenance statement (SLSA 0.2 or 1) names, and who has `signed` it.

    Those that are marked as such; where none is, the only image that was read, which may have been copied from.
    """
    predicate = statement.get("predicate")
    if not isinstance(predicate, dict):
        return []
    definition = predicate.get("buildDefinition")
    listed = definition.get("resolvedDependencies") if isinstance(definition, dict) else predicate.get("materials")
    named_images = []
    for material in listed if isinstance(listed, list) else []:
        if not isinstance(material, dict) or not str(material.get("uri", "")).startswith(_IMAGE):
            continue
        named = unquote(str(material["uri"]).removeprefix(_IMAGE).partition("?")[0])
        name, _, tag = named.rpartition("@")
        digests = material.get("digest")
        digest = f"sha256:{digests['sha256']}" if isinstance(digests, dict) and digests.get("sha256") else ""
        noted = material.get("annotations")
        marked = isinstance(noted, dict) and noted.get("org.opencontainers.image.base") is True
        named_images.append((f"{name}:{tag}" if name else named, digest, marked))
    chosen = [image for image in named_images if image[2]] or (named_images if len(named_images) == 1 else [])
    return [Claim(name, digest, PROVENANCE, vague=not marked, signed=signed) for name, digest, marked in chosen]
