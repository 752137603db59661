"""What images say of their own bases, and whether their layers bear it out."""

from __future__ import annotations

from underlay.base.identify import claims
from underlay.base.identify.claims import CONFIRMED, REFUTED, UNCHECKED, Claim
from underlay.oci.annotations import BASE_DIGEST, BASE_NAME
from underlay.oci.config import Step

DEBIAN = Claim("docker.io/library/debian:12", "sha256:aa", "annotation")


def test_annotations_labels_and_provenance() -> None:
    found = claims.read(
        {BASE_NAME: "debian:12", BASE_DIGEST: "sha256:aa"},
        {BASE_NAME: "alpine:3"},
        [Claim("busybox:1", "sha256:bb", "provenance")],
    )
    assert [(each.name, each.digest, each.source) for each in found] == [
        ("debian:12", "sha256:aa", "annotation"),
        ("alpine:3", "", "label"),
        ("busybox:1", "sha256:bb", "provenance"),
    ]
    # The same claim in two places is one.
    assert len(claims.read({BASE_NAME: "debian:12"}, {BASE_NAME: "debian:12"})) == 1
    assert claims.read({}, {}) == []


def test_what_buildah_notes_in_the_history() -> None:
    """The first step above a base names it: so its steps are counted, and what is beneath it is named, too."""
    noted = (None, "FROM x:0", None, "FROM quay.io/team/base@sha256:aa", "fetched FROM there", "FROM scratch")
    # The first step of all stands on nothing.
    history = [Step(comment="FROM never:1"), *(Step(comment=comment) for comment in noted)]
    found = claims.in_history(history)
    assert [(each.name, each.digest, each.steps) for each in found] == [
        ("quay.io/team/base", "sha256:aa", 4),
        ("x:0", "", 2),
    ]
    # An image id says no name; a name may be no longer than that.
    assert claims.in_history([Step(), Step(comment="FROM " + "a" * 64), Step(comment="FROM " + "a" * 501)]) == []
    # What an annotation says, too, is one claim, which has the steps.
    said = claims.read({BASE_NAME: "x:1", BASE_DIGEST: "sha256:bb"}, {}, [], [Claim("x:1", "", "history", steps=3)])
    assert [(each.digest, each.source, each.steps) for each in said] == [("sha256:bb", "annotation", 3)]
    assert claims.read({}, {BASE_NAME: "y:1"}, [], found)[1] == found[0]


def test_what_buildpacks_note_in_a_label() -> None:
    def read(text: str) -> list[tuple[str, str]]:
        found = claims.read({}, {"io.buildpacks.lifecycle.metadata": text})
        return [(each.name, each.digest) for each in found]

    run = '{"runImage": {"topLayer": "sha256:cc", "reference": "index.docker.io/paketo/run@sha256:aa"%s}}'
    assert read(run % "") == [("index.docker.io/paketo/run", "sha256:aa")]
    assert read(run % ', "image": "paketo/run:base"') == [("paketo/run:base", "sha256:aa")]
    for broken in ("", "{", "[]", "{}", '{"runImage": 1}', '{"runImage": {}}', "[" * 100_000):
        assert read(broken) == []


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
    assert claims.in_provenance(statement) == [Claim("r.example:5000/team/base:1", "sha256:aa", "provenance")]
    # The only one may be what was copied from.
    only = claims.in_provenance({"predicate": {"materials": listed[:1]}})
    assert only == [Claim("golang:1.22", "sha256:aa", "provenance", vague=True)]
    assert claims.in_provenance({"predicate": {"materials": [listed[0], entry("alpine@3")]}}) == []
    for broken in ({}, {"predicate": 1}, {"predicate": {"materials": [1, {"uri": 2}, {"uri": "git:x"}]}}):
        assert claims.in_provenance(broken) == []
