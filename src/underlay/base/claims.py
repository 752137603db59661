"""What an image says of its own base, in annotations and labels: a claim, which its layers confirm or refute."""

from __future__ import annotations

from urllib.parse import unquote

import msgspec

from ..oci.annotations import BASE_DIGEST, BASE_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_IMAGE = "pkg:docker/"  # of package URLs
CONFIRMED, REFUTED, UNCHECKED = "confirmed", "refuted", "unchecked"


class Claim(msgspec.Struct, frozen=True):
    """A claim: the base's `name` and `digest` ("" where it does not say), `source` tells where it is made; the `verdict`
    and what it stands on."""

    name: str
    digest: str
    source: str
    verdict: str = UNCHECKED
    because: str = "nothing is known here of that base"


def read(
    annotations: Mapping[str, str], labels: Mapping[str, str], materials: Sequence[tuple[str, str]] = ()
) -> list[Claim]:
    """Return the claims of an image; `materials` are (name, digest) of the bases that provenance names."""
    found = []
    for source, where in (("annotation", annotations), ("label", labels)):
        name, digest = where.get(BASE_NAME, ""), where.get(BASE_DIGEST, "")
        if name or digest:
            found.append(Claim(name, digest, source))
    found += [Claim(name, digest, "provenance") for name, digest in materials]
    return list({(each.name, each.digest): each for each in reversed(found)}.values())[::-1]


def judged(claim: Claim, chains: Sequence[tuple[str, Sequence[str]]], diff_ids: Sequence[str]) -> Claim:
    """Return a claim with its verdict. `chains` are builds that it may mean: what each is, and its layers as the image's
    `diff_ids` (or compressed digests) are told."""
    if not chains:
        return claim
    for what, layers in chains:
        if layers and list(diff_ids[: len(layers)]) == list(layers) and len(layers) <= len(diff_ids):
            return msgspec.structs.replace(
                claim, verdict=CONFIRMED, because=f"its {len(layers)} lowest layers are those of {what}"
            )
    what = chains[0][0]
    return msgspec.structs.replace(claim, verdict=REFUTED, because=f"the layers of {what} are not beneath it")


def materials(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (name, digest) of the bases that a provenance statement (SLSA 0.2 or 1) names.

    Those that are marked as such; where none is, the only image that was read. Others may have been copied from.
    """
    predicate = statement.get("predicate")
    if not isinstance(predicate, dict):
        return []
    definition = predicate.get("buildDefinition")
    listed = definition.get("resolvedDependencies") if isinstance(definition, dict) else predicate.get("materials")
    found = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or not str(each.get("uri", "")).startswith(_IMAGE):
            continue
        named = unquote(str(each["uri"]).removeprefix(_IMAGE).partition("?")[0])
        name, _, tag = named.rpartition("@")
        digests = each.get("digest")
        digest = f"sha256:{digests['sha256']}" if isinstance(digests, dict) and digests.get("sha256") else ""
        noted = each.get("annotations")
        marked = isinstance(noted, dict) and noted.get("org.opencontainers.image.base") is True
        found.append((f"{name}:{tag}" if name else named, digest, marked))
    chosen = [each for each in found if each[2]] or (found if len(found) == 1 else [])
    return [(name, digest) for name, digest, _ in chosen]
