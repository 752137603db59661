"""Attestations: in-toto statements about an image, in manifests beside it in an index, as BuildKit attaches them.

Formats: BuildKit's "Image attestation storage" and "SLSA definitions"; in-toto Statement v1, SLSA provenance v1.
"""

from __future__ import annotations

import sys

from ...human import rfc3339
from ...oci import document, mediatype
from ...store import blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...oci.platform import Platform
    from ...paths import Paths
    from ..image import State
    from ..work import Work

STATEMENT = "application/vnd.in-toto+json"
_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
PREDICATES = {"spdx": "https://spdx.dev/Document", "cyclonedx": "https://cyclonedx.org/bom"}
# BuildKit's definitions say what the members mean; what is done here beyond them stands under names of our own.
_BUILD_TYPE = "https://github.com/moby/buildkit/blob/master/" + "/".join(
    ("docs", "attestations", "slsa-definitions.md")
)


def statement(
    predicate_type: str, predicate: Mapping[str, object], names: list[str], manifest: str, platform: Platform
) -> bytes:
    """Return an in-toto statement about the image with the digest `manifest`, known by `names`."""
    algorithm, _, digits = manifest.partition(":")
    purls = [_purl(name, platform) for name in names] or [""]
    return document.encode(
        {
            "_type": _TYPE,
            "predicateType": predicate_type,
            "subject": [{"name": purl, "digest": {algorithm: digits}} for purl in purls],
            "predicate": predicate,
        }
    )


def _purl(name: str, platform: Platform) -> str:
    """Return an image's package URL; `name` is registry/repository:tag (package-url, type docker)."""
    from urllib.parse import quote

    repository, _, tag = name.rpartition(":")
    domain, _, path = repository.partition("/")
    short = path.removeprefix("library/") if domain == "docker.io" else repository
    return f"pkg:docker/{short}@{tag}?platform={quote(str(platform.brief), safe='')}"


def provenance(work: Work, state: State, times: tuple[int, int]) -> dict[str, object]:
    """Return the SLSA provenance of a result; `times` are when the build began and ended, in ns since the epoch.

    With mode min the values of build arguments and the names of secrets are left out (BuildKit's "mode").
    """
    request = work.request
    full = request.provenance == "max"
    arguments: dict[str, str] = {f"label:{name}": value for name, value in request.labels.items()}
    if request.target:
        arguments["target"] = request.target
    if full:
        arguments |= {f"build-arg:{name}": value for name, value in request.arguments.items()}
    request_facts: dict[str, object] = {"frontend": "dockerfile.v0", "args": arguments}
    if not work.context.uri:
        request_facts["locals"] = [{"name": "context"}, {"name": "dockerfile"}]
    if full:
        request_facts["secrets"] = [{"id": name, "optional": True} for name in request.secrets]
        request_facts["ssh"] = [{"id": name, "optional": True} for name in request.ssh]
    source: dict[str, object] = {"path": work.context.name}
    if work.context.uri:
        source |= {"uri": work.context.uri, "digest": {"sha1": work.context.commit} if work.context.commit else {}}
    metadata: dict[str, object] = {
        # It identifies a build; builds that are to have the same digest have none.
        **({"invocationID": work.invocation} if request.epoch is None else {}),
        "startedOn": rfc3339(times[0]),
        "finishedOn": rfc3339(times[1]),
        "buildkit_completeness": {"request": full, "resolvedDependencies": bool(work.context.uri)},
        "buildkit_reproducible": request.epoch is not None,
    }
    base: dict[str, object] | None = None
    if state.base is not None:
        base = {"uri": _purl(state.base.name, state.platform), "digest": _digest_set(state.base.image.manifest)}
    internal: dict[str, object] = {"builderPlatform": str(work.build_platform.brief)}
    definition: dict[str, object] = {
        "buildType": _BUILD_TYPE,
        "externalParameters": {"configSource": source, "request": request_facts},
        "internalParameters": internal,
        "resolvedDependencies": _dependencies(work, state, base),
    }
    if full:
        internal["buildConfig"] = {"steps": _steps(state)}
        text = work.context.data.decode("utf-8", "replace")
        metadata["buildkit_metadata"] = {"source": {"infos": [{"filename": work.context.name, "data": text}]}}
    return {
        "buildDefinition": definition,
        "runDetails": {
            "builder": {"id": "", "version": {"underlay": sys.modules["underlay"].__version__}},
            "metadata": metadata,
        },
    }


def _dependencies(work: Work, state: State, base: dict[str, object] | None) -> list[dict[str, object]]:
    """Return what the build has read, by address and digest; the base of the result is marked."""
    dependencies = []
    for address, digest in sorted(work.materials.items()):
        uri = address
        if address.startswith("pkg:docker/"):
            uri = _purl(address.removeprefix("pkg:docker/"), state.platform)
        entry: dict[str, object] = {"uri": uri, "digest": _digest_set(digest)}
        if base is not None and entry["uri"] == base["uri"]:
            entry["annotations"] = {"org.opencontainers.image.base": True}
        dependencies.append(entry)
    return dependencies


def _digest_set(digest: str) -> dict[str, str]:
    algorithm, colon, digits = digest.partition(":")
    return {algorithm: digits} if colon else {"sha1": digest}


def _steps(state: State) -> list[dict[str, object]]:
    """Return the instructions of the result's own stage with the layers that they made."""
    layers = iter(state.filesystem.layers)
    step_entries: list[dict[str, object]] = []
    for step in state.history:
        layer = None if step.empty else next(layers, None)
        if step.base_entry is None:
            step_entries.append(
                {"command": step.written, **({"layer": layer.layer().diff_id} if layer is not None else {})}
            )
    return step_entries


def attach(paths: Paths, manifest: str, statements: list[tuple[str, bytes]]) -> tuple[dict[str, object], list[str]]:
    """Store statements about an image: (predicate type, document) each.

    Returns the descriptor that an index holds, and the digests of the documents.
    """
    entries = []
    kept = []
    for predicate, data in statements:
        digest = blobs.put(paths, data)
        kept.append(digest)
        entries.append(
            {
                "mediaType": STATEMENT,
                "digest": digest,
                "size": len(data),
                "annotations": {"in-toto.io/predicate-type": predicate},
            }
        )
    config = document.encode(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [entry["digest"] for entry in entries]},
        }
    )
    config_digest = blobs.put(paths, config)
    data = document.encode(
        {
            "schemaVersion": 2,
            "mediaType": mediatype.OCI_MANIFEST,
            "config": {"mediaType": mediatype.OCI_CONFIG, "digest": config_digest, "size": len(config)},
            "layers": entries,
        }
    )
    digest = blobs.put(paths, data)
    descriptor: dict[str, object] = {
        "mediaType": mediatype.OCI_MANIFEST,
        "digest": digest,
        "size": len(data),
        "annotations": {
            "vnd.docker.reference.digest": manifest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    }
    return descriptor, [digest, config_digest, *kept]
