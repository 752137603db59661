"""What images say of their own bases, and whether their layers bear it out."""

from __future__ import annotations

from underlay.base import claims
from underlay.base.claims import CONFIRMED, REFUTED, UNCHECKED, Claim
from underlay.oci.annotations import BASE_DIGEST, BASE_NAME

DEBIAN = Claim("docker.io/library/debian:12", "sha256:aa", "annotation")


def test_annotations_labels_and_provenance() -> None:
    found = claims.read(
        {BASE_NAME: "debian:12", BASE_DIGEST: "sha256:aa"}, {BASE_NAME: "alpine:3"}, [("busybox:1", "sha256:bb")]
    )
    assert [(each.name, each.digest, each.source) for each in found] == [
        ("debian:12", "sha256:aa", "annotation"),
        ("alpine:3", "", "label"),
        ("busybox:1", "sha256:bb", "provenance"),
    ]
    # The same claim in two places is one.
    assert len(claims.read({BASE_NAME: "debian:12"}, {BASE_NAME: "debian:12"})) == 1
    assert claims.read({}, {}) == []


def test_layers_confirm_or_refute() -> None:
    layers = ["1", "2", "3"]
    assert claims.judged(DEBIAN, [], layers).verdict == UNCHECKED
    assert claims.judged(DEBIAN, [("debian", ["1", "2"])], layers).verdict == CONFIRMED
    assert claims.judged(DEBIAN, [("debian", ["2", "1"])], layers).verdict == REFUTED
    assert claims.judged(DEBIAN, [("longer", ["1", "2", "3", "4"])], layers).verdict == REFUTED
    # One of the builds that it may mean is enough.
    assert claims.judged(DEBIAN, [("old", ["9"]), ("new", ["1"])], layers).verdict == CONFIRMED


def test_materials_of_provenance() -> None:
    def entry(name: str, **more: object) -> dict[str, object]:
        return {"uri": f"pkg:docker/{name}", "digest": {"sha256": "aa"}, **more}

    marked = {"annotations": {"org.opencontainers.image.base": True}}
    listed = [entry("golang@1.22?platform=linux%2Famd64"), entry("r.example:5000/team/base@1", **marked)]
    statement = {"predicate": {"buildDefinition": {"resolvedDependencies": listed}}}
    assert claims.materials(statement) == [("r.example:5000/team/base:1", "sha256:aa")]
    assert claims.materials({"predicate": {"materials": listed[:1]}}) == [("golang:1.22", "sha256:aa")]
    assert claims.materials({"predicate": {"materials": [listed[0], entry("alpine@3")]}}) == []
    for broken in ({}, {"predicate": 1}, {"predicate": {"materials": [1, {"uri": 2}, {"uri": "git:x"}]}}):
        assert claims.materials(broken) == []
