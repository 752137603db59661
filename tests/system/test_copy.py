"""Copies between registries, layouts, archives, directories and the store: what arrives, and what remains of failures."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from engines import image_tar, needs_root
from fakeregistry import FakeRegistry
from faults import cut_after
from registries import DockerRegistry
from remoteimages import CONFIG, Image, Index, blob, encoded, image, index, random_tar, sha, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.fixture(scope="module")
def several() -> Index:
    """Two platforms that share a layer, and an attestation of each."""
    common = small_tar({"common": b"1"})
    return index([image([common, small_tar({n: b"2"})], architecture=n) for n in ("amd64", "arm64")], attestations=True)


def digest_of(out: str) -> str:
    return out.splitlines()[-1]


def copied(visitor: Visitor, source: object, destination: object, *flags: str) -> str:
    """Copy, and return the digest that is told."""
    return digest_of(visitor.out("copy", "-q", *flags, str(source), str(destination)))


def whole(registry: FakeRegistry, repository: str, of: Image | Index) -> bool:
    """Whether a repository has all documents and blobs of an image."""
    there = registry.repository(repository)
    return {*of.documents} <= {*there.documents} and {*of.blobs} <= {*there.blobs}


@pytest.mark.parametrize("kind", ["oci:{}/layout:v1", "oci-archive:{}/archive.tar:v1", "dir:{}/directory"])
def test_there_and_back(visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path, kind: str) -> None:
    """An index with all that it names, byte for byte, by way of a file or a directory."""
    place = kind.format(tmp_path)
    assert copied(visitor, registry.add(several, "app", "1"), place) == several.digest
    assert copied(visitor, place, f"{registry.host}/again:1") == several.digest
    assert whole(registry, "again", several)
    # One platform of it, from there.
    [one, _] = several.images
    assert copied(visitor, place, f"{registry.host}/one:1", "--platform", "linux/amd64") == one.digest
    assert not whole(registry, "one", several)


def test_layout(visitor: Visitor, registry: FakeRegistry, made: Image, several: Index, tmp_path: Path) -> None:
    """Images are added to a layout, or take the place of one of their name."""
    place = tmp_path / "deep" / "layout"
    first, second = registry.add(made, "app", "1"), registry.add(several, "app", "2")
    copied(visitor, first, f"oci:{place}:a")
    copied(visitor, second, f"oci:{place}:b")
    copied(visitor, second, f"oci:{place}:a")
    entries = json.loads((place / "index.json").read_text())["manifests"]
    names = {each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"] for each in entries}
    assert names == {"a": several.digest, "b": several.digest}
    assert json.loads((place / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    files = list((place / "blobs" / "sha256").iterdir())
    assert all(sha(path.read_bytes()) == f"sha256:{path.name}" for path in files)
    error = visitor("copy", f"oci:{place}", f"{registry.host}/x:1", code=1).stderr.decode()
    assert "2 images, choose one" in error and "a, b" in error
    assert "no image c" in visitor("copy", f"oci:{place}:c", f"{registry.host}/x:1", code=1).stderr.decode()


def test_docker_archive(visitor: Visitor, registry: FakeRegistry, tmp_path: Path) -> None:
    """Its layers are plain tars under their diff ids; from there they go compressed into a registry."""
    made = image([small_tar(), random_tar(30_000, 7)], ["gzip", "zstd"])
    name = registry.add(made, "app", "1")
    archive = tmp_path / "app.tar"
    copied(visitor, name, f"docker-archive:{archive}:team/app:2")
    with tarfile.open(archive) as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    [item] = json.loads(members["manifest.json"])
    assert item["RepoTags"] == ["team/app:2"] and members[item["Config"]] == made.config
    assert [sha(members[layer]) for layer in item["Layers"]] == made.diff_ids
    assert visitor.out("load", "-i", str(archive)) == "Loaded image: team/app:2"
    copied(visitor, f"docker-archive:{archive}", f"{registry.host}/back:1")
    manifest = registry.manifest("back", "1")
    assert manifest["config"]["digest"] == made.id
    assert [each["mediaType"].rpartition("+")[2] for each in manifest["layers"]] == ["gzip", "gzip"]
    assert copied(visitor, f"{registry.host}/back:1", f"docker-archive:{tmp_path}/other.tar")
    assert "can hold the image of one platform" in failed(
        visitor, registry.add(index([made, made]), "two", "1"), archive, "--all"
    )


def failed(visitor: Visitor, source: object, archive: Path, *flags: str) -> str:
    return visitor("copy", *flags, str(source), f"docker-archive:{archive}", code=1).stderr.decode()


def test_docker_archive_without_a_layout(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    """As docker before version 25 and podman write it: manifest.json, a configuration and tars."""
    layers = [small_tar(), random_tar(300_000, 1)]
    assert [sha(tar) for tar in layers] == made.diff_ids
    archive = tmp_path / "old.tar"
    items = [
        {"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar", "1/layer.tar"]},
        {"Config": "config.json", "RepoTags": None, "Layers": ["0/layer.tar", "1/layer.tar"]},
    ]
    write_tar(
        archive,
        {
            "manifest.json": encoded(items),
            "config.json": made.config,
            "0/layer.tar": layers[0],
            "1/layer.tar": layers[1],
        },
    )
    copied(visitor, f"docker-archive:{archive}:a:1", f"{registry.host}/app:1")
    assert registry.manifest("app", "1")["config"]["digest"] == made.id
    copied(visitor, f"docker-archive:{archive}:a:1", "store:here:1")
    assert visitor.out("inspect", "-f", "{{.Id}}", "here:1") == made.id
    error = visitor("copy", f"docker-archive:{archive}", "store:here:2", code=1).stderr.decode()
    assert "2 images, choose one" in error and "a:1" in error


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_store(visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path) -> None:
    name = registry.add(several, "app", "1")
    [amd64, arm64] = several.images
    assert copied(visitor, name, "store:mine:1") == several.digest
    assert visitor.out("images", "--format", "{{.Repository}}:{{.Tag}}") == "mine:1"
    assert len(visitor.out("images", "-aq", "--no-trunc").splitlines()) == 1
    copied(visitor, name, "store:mine:all", "--all")
    ids = {
        visitor.out("image", "inspect", "--platform", f"linux/{each}", "-f", "{{.Id}}", "mine:all")
        for each in ("amd64", "arm64")
    }
    assert ids == {amd64.id, arm64.id}  # type: ignore[union-attr]
    copied(visitor, "store:mine:1", "store:other:2")
    assert visitor.out("inspect", "-f", "{{.Id}}", "other:2") in ids
    # An image that was made here: in each kind of place it has its id.
    visitor("import", "-", "box", input=image_tar())
    box = visitor.out("inspect", "-f", "{{.Id}}", "box")
    for place in (
        f"oci:{tmp_path}/l:x",
        f"oci-archive:{tmp_path}/o.tar",
        f"docker-archive:{tmp_path}/d.tar:b:1",
        f"dir:{tmp_path}/d",
    ):
        copied(visitor, "store:box", place)
        copied(visitor, place, "store:back:1")
        assert visitor.out("inspect", "-f", "{{.Id}}", "back:1") == box
        visitor("rmi", "back:1")
    copied(visitor, "store:box", f"{registry.host}/box:1")
    manifest = registry.manifest("box", "1")
    assert manifest["config"]["digest"] == box and manifest["layers"][0]["mediaType"].endswith("gzip")
    copied(visitor, "store:box", f"{registry.host}/box:2", "--format", "docker")
    assert "docker" in registry.manifest("box", "2")["layers"][0]["mediaType"]
    assert "drop --format" in visitor("copy", "-f", "oci", name, "store:x:1", code=1).stderr.decode()
    assert visitor.out("system", "check").endswith("0 lost, 0 to repair")


def test_format(visitor: Visitor, registry: FakeRegistry) -> None:
    """Manifests in docker's words and back: the same layers, and zstd, for which docker has no word, as gzip."""
    made = index(
        [
            image([small_tar(), random_tar(9000, n)], ["gzip", "zstd"], architecture=a)
            for n, a in enumerate(("amd64", "arm64"))
        ]
    )
    name = registry.add(made, "app", "1")
    there = f"{registry.host}/docker:1"
    copied(visitor, name, there, "--format", "docker")
    top = registry.manifest("docker", "1")
    assert top["mediaType"] == "application/vnd.docker.distribution.manifest.list.v2+json"
    for entry, one in zip(top["manifests"], made.images, strict=True):
        assert isinstance(one, Image)
        below = registry.manifest("docker", entry["digest"])
        assert entry["mediaType"] == below["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
        assert entry["platform"] == one.platform and below["config"]["digest"] == one.id
        assert below["config"]["mediaType"] == CONFIG[True]
        kinds = [each["mediaType"] for each in below["layers"]]
        assert kinds == ["application/vnd.docker.image.rootfs.diff.tar.gzip"] * 2
        assert below["layers"][0]["digest"] == one.layers[0] and below["layers"][1]["digest"] != one.layers[1]
    visitor("pull", "-q", there)
    copied(visitor, there, f"{registry.host}/oci:1", "-f", "oci")
    kinds = [
        each["mediaType"]
        for each in registry.manifest("oci", registry.manifest("oci", "1")["manifests"][0]["digest"])["layers"]
    ]
    assert kinds == ["application/vnd.oci.image.layer.v1.tar+gzip"] * 2
    # What is in the words asked for already stays as it is.
    assert copied(visitor, name, f"{registry.host}/same:1", "-f", "oci") == made.digest
    assert "choose one of oci, docker" in visitor("copy", "-f", "v1", name, there, code=1).stderr.decode()


# Signatures and the like
# ---------------------------------------------------------------------------------------------------------


def artefact(content: bytes, subject: Image | Index | None = None) -> Image:
    """A manifest of something that is no image: a signature, by cosign's tags or with a subject."""
    layer = blob(SIGNATURE, content)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/example.signature",
        "config": blob("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [layer],
    }
    if subject is not None:
        manifest["subject"] = {k: v for k, v in subject.descriptor().items() if k != "platform"}
    return Image(
        encoded(manifest), str(manifest["mediaType"]), b"{}", {sha(b"{}"): b"{}", sha(content): content}, [], {}
    )


def signed(registry: FakeRegistry, of: Image | Index) -> tuple[str, list[Image]]:
    """Put an image there with what is said of it: by cosign's tags, by a referrer, and by a referrer of that one."""
    name = registry.add(of, "signed", "1")
    tag = of.digest.replace(":", "-")
    tagged, bill = artefact(b"signature"), artefact(b"bill of materials", of)
    of_the_bill = artefact(b"signature of the bill", bill)
    registry.add(tagged, "signed", f"{tag}.sig")
    registry.add(bill, "signed")
    registry.add(of_the_bill, "signed")
    return name, [tagged, bill, of_the_bill]


@pytest.mark.parametrize("kind", ["registry", "without referrers", "layout"])
def test_signatures_go_along(
    visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path, kind: str
) -> None:
    name, beside = signed(registry, several)
    tag = several.digest.replace(":", "-")
    with FakeRegistry(referrers=kind != "without referrers") as other:
        if kind == "layout":
            copied(visitor, name, f"oci:{tmp_path}/layout:x")
            name = f"oci:{tmp_path}/layout:x"
        copied(visitor, name, f"{other.host}/app:1")
        assert whole(other, "app", several) and all(whole(other, "app", each) for each in beside)
        there = other.repository("app")
        assert there.tags["1"] == several.digest and there.tags[f"{tag}.sig"] == beside[0].digest
        if kind == "without referrers":
            assert [each["digest"] for each in other.manifest("app", tag)["manifests"]] == [beside[1].digest]
            # And they are found there again by whoever copies on.
            copied(visitor, f"{other.host}/app:1", f"{registry.host}/third:1")
            assert all(whole(registry, "third", each) for each in beside)


def test_signatures_that_would_not_hold(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    name, beside = signed(registry, made)
    for goal in (f"{registry.host}/docker:1", f"oci:{tmp_path}/layout"):
        error = visitor("copy", "--format", "docker", name, goal, code=1).stderr.decode()
        assert "is signed" in error and "--remove-signatures" in error
    assert not (tmp_path / "layout").exists() and not registry.repository("docker").tags
    copied(visitor, name, f"{registry.host}/docker:1", "--format", "docker", "--remove-signatures")
    copied(visitor, name, f"{registry.host}/bare:1", "--remove-signatures")
    assert not any(whole(registry, "bare", each) for each in beside)
    # Where there is no place for them they stay behind.
    copied(visitor, name, f"docker-archive:{tmp_path}/a.tar")
    copied(visitor, name, f"dir:{tmp_path}/d")


# What fails
# ---------------------------------------------------------------------------------------------------------


def test_a_broken_origin_leaves_nothing(visitor: Visitor, registry: FakeRegistry, tmp_path: Path) -> None:
    """A directory or file that was there stays as it was, a new one is not there."""
    good, bad = image([small_tar()]), image([small_tar(), random_tar(200_000, 3)])
    first, second = registry.add(good, "good", "1"), registry.add(bad, "bad", "1")
    visitor.settings("[network]\nretries = 1\n")
    places = [
        f"oci:{tmp_path}/p/layout:x",
        f"oci-archive:{tmp_path}/o.tar",
        f"docker-archive:{tmp_path}/d.tar",
        f"dir:{tmp_path}/p/d",
    ]
    (tmp_path / "p").mkdir()
    registry.rule("GET", f"/blobs/{bad.layers[1]}", cut_after(1000))
    for place in places:
        assert "underlay:" in visitor("copy", second, place, code=1).stderr.decode()
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("home", "root", "state")) == ["p"]
    assert list((tmp_path / "p").iterdir()) == []
    for place in places:
        copied(visitor, first, place)
    before = tree(tmp_path)
    for place in places:
        visitor("copy", second, place, code=1)
    assert tree(tmp_path) == before
    for place in places:
        assert copied(visitor, place, f"{registry.host}/again:1")


def tree(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and path.relative_to(place).parts[0] not in ("home", "root", "state")
    }


def test_bytes_that_are_not_those_named(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    """Of a layout that was changed behind its back no byte gets a name elsewhere."""
    layout = tmp_path / "layout"
    copied(visitor, registry.add(made, "app", "1"), f"oci:{layout}:x")
    place = layout / "blobs" / "sha256" / made.layers[1].partition(":")[2]
    whole_blob = place.read_bytes()
    changes = {
        "wrong": whole_blob[:-1] + bytes([whole_blob[-1] ^ 1]),
        "short": whole_blob[:-1],
        "long": whole_blob + b"x",
    }
    for kind, data in changes.items():
        place.write_bytes(data)
        for goal in (f"{registry.host}/x:{kind}", f"oci:{tmp_path}/y", f"docker-archive:{tmp_path}/y.tar", "store:x:1"):
            error = visitor("copy", f"oci:{layout}:x", goal, code=1).stderr.decode()
            assert made.layers[1] in error or "damaged" in error, error
    assert not registry.repository("x").tags and not (tmp_path / "y").exists() and not (tmp_path / "y.tar").exists()
    assert visitor.out("images", "-q") == ""
    place.unlink()
    place.symlink_to("/etc/passwd")
    assert (
        "must not contain symbolic links"
        in visitor("copy", f"oci:{layout}:x", f"{registry.host}/x:1", code=1).stderr.decode()
    )


@pytest.mark.parametrize(
    ("source", "destination", "said"),
    [
        ("oci:/no/such:x", "HOST/x:1", "/no/such: no such directory"),
        ("dir:/no/such", "HOST/x:1", "/no/such: no such directory"),
        ("docker-archive:/no/such", "HOST/x:1", "/no/such: no such file"),
        ("docker-archive:/dev/null", "HOST/x:1", "not a regular file"),
        ("oci:", "HOST/x:1", "no path"),
        ("store:missing", "HOST/x:1", "missing"),
        ("store:missing", "oci:PLACE/x", "missing"),
        ("HOST/missing:1", "oci:PLACE/x", "missing"),
        ("HOST/app:1", "oci:/etc", "neither empty nor an OCI layout"),
        ("HOST/app:1", "dir:/etc", "neither empty nor a copy of an image"),
        ("HOST/app:1", "oci:/etc/passwd", "not a directory"),
        ("HOST/app:1", "dir:/etc/passwd", "not a directory"),
        ("HOST/app:1", "oci-archive:/etc", "not a regular file"),
        ("HOST/app:1", "docker-archive:PLACE/a.tar:Bad Name", "invalid reference format"),
        ("HOST/app:1", "store:x@sha256:" + "0" * 64, "cannot have a digest"),
        ("containers-storage:x", "HOST/x:1", "podman save"),
        ("HOST/app:1", "docker-daemon:x:1", "docker save"),
    ],
)
def test_places_that_are_none(
    visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path, source: str, destination: str, said: str
) -> None:
    registry.add(made, "app", "1")
    words = [each.replace("HOST", registry.host).replace("PLACE", str(tmp_path)) for each in (source, destination)]
    error = visitor("copy", *words, code=1).stderr.decode()
    assert said in error and "Traceback" not in error
    assert sorted(os.listdir(tmp_path)) in (["home"], ["home", "root", "state"])


def test_usage(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, "app", "1")
    visitor("copy", name, code=125)
    assert (
        "cannot be requested together"
        in visitor("copy", "--all", "--platform", "linux/amd64", name, "dir:x", code=1).stderr.decode()
    )


# Debian's registry
# ---------------------------------------------------------------------------------------------------------


def test_a_real_registry_without_referrers(
    visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path
) -> None:
    name, beside = signed(registry, several)
    with DockerRegistry(tmp_path / "registry") as real:
        assert copied(visitor, name, f"{real.host}/app:1") == several.digest
        assert copied(visitor, f"{real.host}/app:1", f"{registry.host}/back:1") == several.digest
        assert whole(registry, "back", several) and all(whole(registry, "back", each) for each in beside)
