"""Provenance says what an image stands on, in a registry, in the store and in an archive; what is none says nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from remoteimages import BENEATH, Image, index
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


def claims(visitor: Visitor, name: str) -> list[tuple[str, str, str]]:
    found: dict[str, Any] = json.loads(visitor.out("base", "identify", "--format", "json", name))
    return [(each["name"], each["source"], each["verdict"]) for each in found["claims"]]


def test_wherever_the_image_is(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    whole = index([made], attestations=True)
    name = registry.add(whole, TEAM, "1.0")
    said = [(BENEATH, "provenance", "unchecked")]
    assert claims(visitor, f"docker://{name}") == said
    # It may have been copied from alone.
    found = json.loads(visitor.out("base", "identify", "--format", "json", f"docker://{name}"))
    assert BENEATH not in [each["name"] for each in found["candidates"]]
    asked = [each.path.rpartition("/")[2] for each in registry.requests]
    assert not set(asked) & set(made.layers)
    layout = tmp_path / "layout"
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in [*whole.blobs.items(), *((digest, data) for digest, (_, data) in whole.documents.items())]:
        (blobs / digest.partition(":")[2]).write_bytes(data)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    top = {**whole.descriptor(), "annotations": {"io.containerd.image.name": f"{TEAM}:1.0"}}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    assert claims(visitor, f"oci:{layout}") == said


def test_an_attestation_that_cannot_be_had(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """It is a claim less, and no reason to say nothing."""
    whole = index([made], attestations=True)
    name = registry.add(whole, TEAM, "1.0")
    attestation = whole.parts[-1]
    statement = json.loads(attestation.manifest)["layers"][0]["digest"]
    repository = registry.repository(TEAM)
    kept = repository.blobs[statement]
    for data in (b"{", b"[]", b"x" * len(kept), kept.replace(b"pkg:docker", b"pkg:stoker")):
        repository.blobs[statement] = data
        assert claims(visitor, f"docker://{name}") == []
    del repository.blobs[statement]
    assert claims(visitor, f"docker://{name}") == []
    repository.blobs[statement] = kept
    assert claims(visitor, f"docker://{name}") != []
    del repository.documents[attestation.digest]
    assert claims(visitor, f"docker://{name}") == []
