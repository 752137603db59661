"""Provenance says what an image stands on, in a registry, in the store and in an archive; what is none says nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import signing
from engines import needs_root
from fakeregistry import FakeRegistry
from remoteimages import BENEATH, Image, Index, encoded, index
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


SLSA = "https://slsa.dev/provenance/v1"
MATERIALS = {"buildDefinition": {"resolvedDependencies": [{"uri": f"pkg:docker/{BENEATH.replace(':', '@')}"}]}}


def identified(visitor: Visitor, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(visitor.out("base", "identify", "--format", "json", *words))
    return found


def test_it_is_believed_only_when_signed(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    key = signing.private()
    path = signing.public(key, tmp_path / "key.pub")
    place = registry.repository(TEAM)
    whole = index([made], attestations=True)
    name = f"docker://{registry.add(whole, TEAM, '1.0')}"
    # Nobody is asked for signatures unless it is said whose count.
    before = len(registry.requests)
    unasked = identified(visitor, name)
    assert unasked["signed_by"] == [] and unasked["unsigned"] == ""
    assert not [each for each in registry.requests[before:] if ".sig" in each.path or "referrers" in each.path]
    unsigned = identified(visitor, "--verify", path, name)
    assert unsigned["signed_by"] == [] and "there is no signature" in unsigned["unsigned"]
    assert "not signed: " in visitor.out("base", "identify", "--verify", path, name)
    assert [claim["signed"] for claim in unsigned["claims"]] == [""]
    # Signed by somebody else it is a claim as before.
    signing.sign(registry, TEAM, whole.digest, signing.private())
    other = identified(visitor, "--verify", path, name)
    assert other["signed_by"] == [] and "another key" in other["unsigned"]
    # Signed is the index, with all that hangs on its images.
    place.tags.pop(signing.tag_of(whole.digest))
    signing.sign(registry, TEAM, whole.digest, key)
    signed = identified(visitor, "--verify", path, name)
    assert signed["signed_by"] == [f"the key {path} ({signing.fingerprint(key)[:12]})"] and signed["unsigned"] == ""
    assert [claim["signed"] for claim in signed["claims"]] == signed["signed_by"]
    text = visitor.out("base", "identify", "--verify", path, name)
    assert f"signed by the key {path}" in text
    # Of an image that is here its registry is asked.
    visitor("pull", "-q", name.removeprefix("docker://"))
    assert identified(visitor, "--verify", path, name.removeprefix("docker://"))["signed_by"] == signed["signed_by"]


def test_one_index_does_not_vouch_for_another(
    visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path
) -> None:
    """An index that is signed stands in a stranger's, who hangs provenance of his own on the image."""
    key = signing.private()
    path = signing.public(key, tmp_path / "key.pub")
    plain, forged = index([made]), index([made], attestations=True)
    entries = [plain.descriptor(), *_attestations(forged)]
    data = encoded({**json.loads(forged.manifest), "manifests": entries})
    outer = Index(data, forged.media_type, [plain], [plain, *forged.parts[1:]])
    name = f"docker://{registry.add(outer, TEAM, 'outer')}"
    signing.sign(registry, TEAM, plain.digest, key)
    found = identified(visitor, "--verify", path, name)
    assert found["signed_by"] and [claim["signed"] for claim in found["claims"]] == [""]
    signing.sign(registry, TEAM, outer.digest, key)
    found = identified(visitor, "--verify", path, name)
    assert [claim["signed"] for claim in found["claims"]] == found["signed_by"]


def _attestations(whole: Index) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(whole.manifest)["manifests"]
    return listed[len(whole.images) :]


@pytest.mark.parametrize("form", ["bundle", "attestation"])
def test_a_signed_statement(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path, form: str) -> None:
    key = signing.private()
    path = signing.public(key, tmp_path / "key.pub")
    name = f"docker://{registry.add(made, TEAM, '1.0')}"
    place = registry.repository(TEAM)

    def attach(body: bytes, by: Any) -> str:
        if form == "bundle":
            return signing.bundle(registry, TEAM, made.digest, body, by)
        return signing.attest(registry, TEAM, made.digest, body, by)

    good = signing.statement(made.digest, SLSA, MATERIALS)
    for body, by in (
        (good, signing.private()),
        (signing.statement("sha256:" + "0" * 64, SLSA, MATERIALS), key),
    ):
        stored = attach(body, by)
        assert identified(visitor, "--verify", path, name)["claims"] == []
        del place.documents[stored]
        place.tags.pop(signing.tag_of(made.digest, ".att"), None)
    attach(good, key)
    assert identified(visitor, name)["claims"] == []
    found = identified(visitor, "--verify", path, name)
    (claim,) = found["claims"]
    assert (claim["name"], claim["source"]) == (BENEATH, "provenance")
    assert claim["signed"] == f"the key {path} ({signing.fingerprint(key)[:12]})"
    # A statement of provenance is no signature of the image.
    assert found["signed_by"] == []
    assert "is not signed by" in visitor("pull", "--verify", path, name[9:], code=1).stderr.decode()


def test_what_a_signed_statement_marks_as_the_base_is_a_candidate(
    visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path
) -> None:
    key = signing.private()
    path = signing.public(key, tmp_path / "key.pub")
    name = f"docker://{registry.add(made, TEAM, '1.0')}"
    material = {**MATERIALS["buildDefinition"]["resolvedDependencies"][0]}
    material["annotations"] = {"org.opencontainers.image.base": True}
    predicate = {"buildDefinition": {"resolvedDependencies": [material]}}
    signing.attest(registry, TEAM, made.digest, signing.statement(made.digest, SLSA, predicate), key)
    first = identified(visitor, "--verify", path, name)["candidates"][0]
    assert (first["name"], first["confidence"]) == (BENEATH, 0.97)
    assert "its provenance says so, signed by the key" in first["evidence"][0]


def test_a_policy_says_whose_signatures_count(
    visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path
) -> None:
    key = signing.private()
    path = signing.public(key, tmp_path / "key.pub")
    name = f"docker://{registry.add(made, TEAM, '1.0')}"
    signing.sign(registry, TEAM, made.digest, key)
    demand = {"type": "sigstoreSigned", "keyPath": path, "signedIdentity": {"type": "matchRepository"}}
    policy = {"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {registry.host: [demand]}}}
    (tmp_path / "policy.json").write_text(json.dumps(policy))
    visitor.environment["UNDERLAY_TRUST_POLICY"] = str(tmp_path / "policy.json")
    assert identified(visitor, name)["signed_by"] == [f"the key {path} ({signing.fingerprint(key)[:12]})"]


@pytest.mark.oracle
@pytest.mark.parametrize("form", ["bundle", "attestation"])
def test_what_cosign_attests(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path, form: str) -> None:
    if shutil.which("cosign") is None:
        pytest.skip("cosign is not installed")
    registry.add(made, TEAM, "1.0")
    environment = {**os.environ, "COSIGN_PASSWORD": ""}
    subprocess.run(["cosign", "generate-key-pair"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    (tmp_path / "predicate.json").write_text(json.dumps(MATERIALS))
    words = ["cosign", "attest", "--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry", "-y"]
    words += ["--type", SLSA, "--predicate", "predicate.json", *(["--new-bundle-format"] if form == "bundle" else [])]
    where = f"{registry.host}/{TEAM}@{made.digest}"
    done = subprocess.run([*words, where], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = identified(visitor, "--verify", str(tmp_path / "cosign.pub"), f"docker://{registry.host}/{TEAM}:1.0")
    assert [(claim["name"], bool(claim["signed"])) for claim in found["claims"]] == [(BENEATH, True)]
