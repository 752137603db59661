"""Annotation keys that underlay reads or writes (OCI image specification, annotations.md; containerd's
own)."""

from __future__ import annotations

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"
# BuildKit marks manifests that hold an attestation about another one with this key.
ATTESTATION = "vnd.docker.reference.type"
