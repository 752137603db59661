"""Images as a registry has them: manifests and blobs in memory, the same bytes each time."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from layers import make

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
MANIFEST = {False: OCI + "manifest.v1+json", True: DOCKER + "distribution.manifest.v2+json"}
INDEX = {False: OCI + "index.v1+json", True: DOCKER + "distribution.manifest.list.v2+json"}
CONFIG = {False: OCI + "config.v1+json", True: DOCKER + "container.image.v1+json"}
LAYER = {False: OCI + "layer.v1.tar", True: DOCKER + "image.rootfs.diff.tar"}
SUFFIX = {
    False: {"none": "", "gzip": "+gzip", "zstd": "+zstd"},
    True: {"none": "", "gzip": ".gzip", "zstd": ".zstd"},
}
PIECE = 1 << 24
BENEATH = "team/beneath:3"  # what images with an attestation stand on


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def zstd(data: bytes) -> bytes:
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    packed: bytes = zstd.compress(data, 3)
    return packed


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": zstd,
}


def small_tar(files: dict[str, bytes] | None = None, mode: int = 0o755) -> bytes:
    """The tar of a layer with these files; a name that ends with / is a directory."""
    named = files if files is not None else {"hello": b"world\n"}
    return make(
        *(
            (name.rstrip("/"), "dir") if name.endswith("/") else (name, "file", data, {"mode": mode})
            for name, data in named.items()
        )
    )


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress."""
    drawn = random.Random(seed)
    return b"".join(drawn.randbytes(min(PIECE, size - at)) for at in range(0, size, PIECE))


def random_tar(size: int, seed: int = 0) -> bytes:
    """The tar of a layer with one file of `size` bytes that do not compress."""
    return small_tar({f"random-{seed}": noise(size, seed)})


@dataclass(frozen=True)
class Image:
    """One image: what its repository holds. `documents` and `blobs` are by digest; a document is (media type, bytes)."""

    manifest: bytes
    media_type: str
    config: bytes
    blobs: dict[str, bytes] = field(repr=False)
    diff_ids: list[str]
    platform: dict[str, str]

    @property
    def digest(self) -> str:
        return sha(self.manifest)

    @property
    def id(self) -> str:
        """The digest of the configuration."""
        return sha(self.config)

    @property
    def documents(self) -> dict[str, tuple[str, bytes]]:
        return {self.digest: (self.media_type, self.manifest)}

    @property
    def layers(self) -> list[str]:
        """The digests of the layers as they are transferred."""
        return [each["digest"] for each in json.loads(self.manifest)["layers"]]

    def descriptor(self) -> dict[str, object]:
        """What an index says of it."""
        size = len(self.manifest)
        return {"mediaType": self.media_type, "digest": self.digest, "size": size, "platform": self.platform}


@dataclass(frozen=True)
class Index:
    """An index with its images; stored like an image. `images` are those asked for, `parts` attestations too."""

    manifest: bytes
    media_type: str
    images: list[Image | Index]
    parts: list[Image | Index]

    @property
    def digest(self) -> str:
        return sha(self.manifest)

    @property
    def documents(self) -> dict[str, tuple[str, bytes]]:
        """All documents below it and its own, which comes last."""
        below = {digest: document for part in self.parts for digest, document in part.documents.items()}
        return {**below, self.digest: (self.media_type, self.manifest)}

    @property
    def blobs(self) -> dict[str, bytes]:
        return {digest: blob for part in self.parts for digest, blob in part.blobs.items()}

    def descriptor(self) -> dict[str, object]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest)}


def image(
    layers: Sequence[bytes] | None = None,
    compression: str | Sequence[str] = "gzip",
    docker: bool = False,
    architecture: str = "amd64",
    os: str = "linux",
    variant: str = "",
    annotations: dict[str, str] | None = None,
    cmd: list[str] | None = None,
    subject: dict[str, object] | None = None,
    artifact_type: str = "",
    **changes: object,
) -> Image:
    """An image of these tars. A list of compressions has one for each layer; `changes` go into the configuration."""
    tars = list(layers) if layers is not None else [small_tar()]
    kinds = [compression] * len(tars) if isinstance(compression, str) else list(compression)
    packed = [COMPRESS[kind](tar) for kind, tar in zip(kinds, tars, strict=True)]
    platform = {"architecture": architecture, "os": os, **({"variant": variant} if variant else {})}
    diff_ids = [sha(tar) for tar in tars]
    config = encoded(
        {
            **platform,
            "created": "2024-02-03T04:05:06Z",
            "config": {"Cmd": cmd or ["/hello"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": "2024-02-03T04:05:06Z", "created_by": f"step {n}"} for n in range(len(tars))],
            **changes,
        }
    )
    media_types = [LAYER[docker] + SUFFIX[docker][kind] for kind in kinds]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[docker],
        **({"artifactType": artifact_type} if artifact_type else {}),
        "config": blob(CONFIG[docker], config),
        "layers": [blob(kind, data) for kind, data in zip(media_types, packed, strict=True)],
        **({"subject": subject} if subject else {}),
        **({"annotations": annotations} if annotations else {}),
    }
    blobs = {sha(data): data for data in [config, *packed]}
    return Image(encoded(manifest), MANIFEST[docker], config, blobs, diff_ids, platform)


def blob(media_type: str, data: bytes) -> dict[str, object]:
    """The descriptor of a blob."""
    return {"mediaType": media_type, "digest": sha(data), "size": len(data)}


def index(images: Sequence[Image | Index], docker: bool = False, attestations: bool = False) -> Index:
    """An index of these images, with an attestation for each when asked, as BuildKit writes them."""
    entries = [each.descriptor() for each in images]
    parts = list(images)
    if attestations:
        for each in images:
            if isinstance(each, Image):
                made = attestation(each)
                parts.append(made)
                kind = {
                    "vnd.docker.reference.digest": each.digest,
                    "vnd.docker.reference.type": "attestation-manifest",
                }
                entries.append({**made.descriptor(), "annotations": kind})
    value = {"schemaVersion": 2, "mediaType": INDEX[docker], "manifests": entries}
    return Index(encoded(value), INDEX[docker], list(images), parts)


def attestation(of: Image) -> Image:
    """The attestation that BuildKit writes for an image: an "image" of platform unknown whose layer is a statement."""
    predicate = "https://slsa.dev/provenance/v0.2"
    statement = encoded(
        {
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": predicate,
            "subject": [{"name": "_", "digest": {"sha256": of.digest[7:]}}],
            "predicate": {
                "buildType": "https://mobyproject.org/buildkit@v1",
                "materials": [{"uri": f"pkg:docker/{BENEATH.replace(':', '@')}", "digest": {"sha256": "b" * 64}}],
            },
        }
    )
    platform = {"architecture": "unknown", "os": "unknown"}
    rootfs = {"type": "layers", "diff_ids": [sha(statement)]}
    config = encoded({**platform, "config": {}, "rootfs": rootfs})
    layer = {
        **blob("application/vnd.in-toto+json", statement),
        "annotations": {"in-toto.io/predicate-type": predicate},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST[False],
        "config": blob(CONFIG[False], config),
        "layers": [layer],
    }
    blobs = {sha(data): data for data in (config, statement)}
    return Image(encoded(manifest), MANIFEST[False], config, blobs, [sha(statement)], platform)
