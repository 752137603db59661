"""What `image inspect` shows: docker's members and names (Engine API, ImageInspect)."""

from __future__ import annotations

from ...human import rfc3339
from ...lean.values import Sparse
from ...oci import reference as references
from ...store import blobs
from ...store.rows import images as image_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ...store.rows.images import ImageRow
    from ...store.store import Store

# Members that templates may rely on although a configuration may leave them out.
_EXECUTION: dict[str, object] = {
    "User": "",
    "Env": None,
    "Cmd": None,
    "Entrypoint": None,
    "WorkingDir": "",
    "Labels": None,
    "Volumes": None,
    "ExposedPorts": None,
    "OnBuild": None,
}


def image(store: Store, row: ImageRow) -> dict[str, Any]:
    """Return everything known of an image; the configuration is as the image has it, with usual members filled
    in."""
    meta, paths = store.meta, store.paths
    config = image_rows.config(paths, row.id)
    names = image_rows.names(meta, row.id)
    updated = image_rows.last_named(meta, row.id)
    history = config.get("history") or []
    manifest_type = _media_type(store, row.manifest)
    answer: dict[str, Any] = {
        "Id": row.id,
        "RepoTags": [references.familiar(name) for name, _, _ in names],
        "RepoDigests": [
            f"{references.familiar(repository)}@{digest}"
            for repository, digest, _ in image_rows.repository_digests(meta, row.id, remote=True)
        ],
        "Parent": "",
        "Comment": (history[-1].get("comment") or "") if history else "",
        "Created": config.get("created") or "",
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": Sparse(
            _EXECUTION | {k: v for k, v in (config.get("config") or {}).items() if v is not None},
            Healthcheck=None,
            Shell=None,
            StopSignal="",
            ArgsEscaped=False,
        ),
        "Architecture": row.architecture,
        "Os": row.os,
        "Size": row.size,
        "GraphDriver": {"Name": store.form, "Data": None},
        "RootFS": {"Type": "layers", "Layers": list(row.diff_ids)},
        "Metadata": {"LastTagTime": rfc3339(updated) if updated else "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": manifest_type,
            "digest": row.manifest,
            "size": blobs.size(paths, row.manifest),
        },
    }
    if row.variant:
        answer["Variant"] = row.variant
    return Sparse(answer, Variant="", OsVersion="")


def _media_type(store: Store, digest: str) -> str:
    from ...lean import jsontext
    from ...oci import mediatype

    try:
        value = jsontext.loads(blobs.read(store.paths, digest))
    except (ValueError, RecursionError):
        return mediatype.OCI_MANIFEST
    stated = value.get("mediaType") if isinstance(value, dict) else None
    return stated if isinstance(stated, str) else mediatype.OCI_MANIFEST
