"""The exam of bases: images as people change them, in archives, in a registry and in the store. An answer is right, or says
that it is not sure; none is wrong with 90 % or more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import variants
from archives import docker_archive, layer, sha, tar_of
from baseexam import CASES, KNOWN
from fakeregistry import FakeRegistry
from remoteimages import Image
from underlay import Engine
from underlay.base.identify.identify import Identified
from underlay.base.index import learn
from underlay.oci import config as configs
from underlay.oci import manifest as manifests
from variants import Made, app

SURE = 0.9


class World:
    """Installations: one knows nothing, one has the bases in its index, one in its store; and a registry."""

    def __init__(self, place: Path, registry: FakeRegistry) -> None:
        self.registry = registry
        self.engines = {
            name: Engine(str(place / name / "root"), str(place / name / "state"), form="tree")
            for name in ("fresh", "indexed", "stored")
        }
        with learn.Index(self.engines["indexed"]._store) as index:
            for name, image in KNOWN.items():
                manifest, document, _ = image.manifest()
                view = manifests.read_manifest(json.dumps(manifest).encode(), name).view
                record = learn.record_of(configs.read(document, name).view, view, sha(document), "")
                repository, _, tag = name.rpartition(":")
                index.point(repository, tag, record, "2026-06-01")
        for number, (name, image) in enumerate(KNOWN.items()):
            self.engines["stored"].images.load(str(image.layout(name).write(place / str(number))))

    def asked(self, world: str, form: str, made: Made, place: Path) -> Identified:
        """The answer for an image in one of the worlds."""
        engine = self.engines[world]
        path = place / "asked.tar"
        if form == "docker":
            path.write_bytes(tar_of(docker_archive(made.layers, ["asked:1"], **{"history": [], **made.document()})))
            return engine.bases.identify(str(path))
        if form == "archive":
            path.write_bytes(made.layout("asked:1").tar())
            return engine.bases.identify(str(path))
        if form == "registry":
            return engine.bases.identify("docker://" + self.registry.add(_remote(made), "asked", "1"), deep=True)
        engine.images.load(str(made.layout("asked:1").write(place / "layout")))
        try:
            return engine.bases.identify("asked:1")
        finally:
            engine.images.remove("asked:1", force=True)


def _remote(made: Made) -> Image:
    manifest, document, packed = made.manifest()
    blobs = {sha(each): each for each in (document, *packed)}
    platform = {"os": "linux", "architecture": made.architecture}
    return Image(json.dumps(manifest).encode(), manifest["mediaType"], document, blobs, [], platform)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with FakeRegistry() as registry:
        made = World(tmp_path_factory.mktemp("exam"), registry)
        yield made
        for engine in made.engines.values():
            engine.close()


def _told(answer: Identified) -> str:
    first = answer.candidates[0]
    chain = [link.name for link in answer.chain]
    return f"{first.name} {answer.certainty:.0%} {answer.standing} {list(first.evidence)} {chain}"


@pytest.mark.parametrize("form", ["archive", "docker", "registry", "store"])
@pytest.mark.parametrize("where", ["fresh", "indexed", "stored"])
@pytest.mark.parametrize("name", list(CASES))
def test_a_variant(world: World, name: str, where: str, form: str, tmp_path: Path) -> None:
    make, right, right_in = CASES[name]
    answer = world.asked(where, form, make(), tmp_path)
    first = answer.candidates[0]
    if not {first.name, *first.names}.intersection(right):
        assert max(first.confidence, answer.certainty) < SURE, _told(answer)
        assert where not in right_in.split(), _told(answer)


def test_the_exam_has_what_was_asked_for() -> None:
    assert len(CASES) >= 60 and sum(bool(right_in) for _, _, right_in in CASES.values()) >= 40


def test_neither_siblings_nor_descendants(tmp_path: Path) -> None:
    """Flattened images, whose layers say nothing: what is most alike is another version of the same, or made of it."""
    base, lower = KNOWN["hub.example/sprocket:3.4.1"], KNOWN["hub.example/debian:12-slim"]
    first, second, other = app(base), app(base).on(50), app(base, "till")
    second.add(layer({"srv/app/more": variants.noise("more", 3000)}), "RUN more").say('CMD ["./shop"]')
    made = {
        "shop:1": _flattened(first, 60),
        "shop:2": _flattened(second, 90),
        "renamed:2": _flattened(second, 91),
        "till:1": _flattened(other, 61),
        "slim/shop:2": _flattened(first, 95),  # made of shop:2 later: fewer files, all of them in it
        "base/sprocket:3": base,
        "base/debian:12": lower,
    }
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as engine:
        for number, (name, image) in enumerate(made.items()):
            engine.images.load(str(image.layout(name).write(tmp_path / str(number))))
        for name in ("shop:2", "renamed:2", "shop:1", "till:1"):
            answer = engine.bases.identify(name)
            assert answer.candidates[0].name == "base/sprocket:3", (name, _told(answer))
            assert [link.name for link in answer.chain][:2] == ["base/sprocket:3", "base/debian:12"]
        advice = [step.text for step in engine.bases.report(["shop:1", "shop:2", "till:1"]).steps]
        assert not any(name in text for text in advice for name in ("shop", "till", "renamed"))


def _flattened(made: Made, day: int) -> Made:
    whole = Made(day=day).add(variants.flat(made.layers), "", comment="Imported from -")
    whole.config = made.config
    return whole
