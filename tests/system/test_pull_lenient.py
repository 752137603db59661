"""Images and registries that are not quite as the specifications have them, and which docker takes all the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from faults import status
from remoteimages import CONFIG, INDEX, LAYER, Image, Index, encoded, image, index, sha, small_tar
from underlay.oci import platform as platforms
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"
EMPTY = "application/vnd.oci.empty.v1+json"
FOREIGN = {
    False: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    True: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
}


# HEAD
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 403, 404, 405, 501])
def test_a_registry_without_head(visitor: Visitor, registry: FakeRegistry, made: Image, code: int) -> None:
    """The second pull asks by GET then, and so does a push."""
    registry.rule("HEAD", "/manifests/", status(code))
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", name)
    assert f"Image is up to date for {name}" in visitor.out("pull", name)
    moved = image([small_tar({"moved": b"1"})])
    registry.add(moved, TEAM, "1.0")
    assert f"Downloaded newer image for {name}" in visitor.out("pull", name)
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == moved.id
    registry.rule("HEAD", "/blobs/", status(405))
    visitor("tag", name, f"{registry.host}/other/app:1.0")
    visitor("push", f"{registry.host}/other/app:1.0")
    assert registry.manifest("other/app", "1.0")["config"]["digest"] == moved.id


def test_a_registry_that_refuses_head_and_get(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """What is said is the reason in the answer to GET; that to HEAD has none."""
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", name)
    for method in ("HEAD", "GET"):
        registry.rule(method, "/manifests/", status(403, body=b'{"errors":[{"code":"DENIED","message":"over quota"}]}'))
    assert "over quota" in visitor.fails("pull", name)


# Foreign layers
# ---------------------------------------------------------------------------------------------------------


def foreign(made: Image, docker: bool, urls: list[str]) -> Image:
    """The image with its first layer declared to lie elsewhere."""
    value = json.loads(made.manifest)
    value["layers"][0].update({"mediaType": FOREIGN[docker], "urls": urls})
    return Image(encoded(value), made.media_type, made.config, made.blobs, made.diff_ids, made.platform)


@pytest.mark.parametrize("docker", [False, True])
def test_foreign_layers(visitor: Visitor, registry: FakeRegistry, docker: bool) -> None:
    """They are asked of the registry itself, and nowhere else; what it has is pulled, and pushed as well."""
    plain = image([small_tar(), small_tar({"more": b"1"})], docker=docker)
    with FakeRegistry() as other:
        other.add(plain, TEAM)
        odd = foreign(plain, docker, [f"{other.url}/v2/{TEAM}/blobs/{plain.layers[0]}"])
        name = registry.add(odd, TEAM, "1.0")
        del registry.repositories[TEAM].blobs[odd.layers[0]]
        said = visitor.fails("pull", name)
        assert f"layer {odd.layers[0]} is a foreign layer, which its registry does not hold" in said
        assert visitor.out("images", "-q") == ""
        assert registry.asked("GET", odd.layers[0])
        registry.add(odd, TEAM, "1.0")
        visitor("pull", "--keep-compressed", name)
        assert visitor.out("inspect", "-f", "{{.Id}}", name) == odd.id
        with FakeRegistry() as target:
            visitor("tag", name, f"{target.host}/{TEAM}:2.0")
            visitor("push", f"{target.host}/{TEAM}:2.0")
            assert target.manifest(TEAM, "2.0") == json.loads(odd.manifest)
            assert set(odd.layers) <= set(target.repositories[TEAM].blobs)
        assert other.requests == []


# Configurations
# ---------------------------------------------------------------------------------------------------------


def without_platform(made: Image, how: str) -> Image:
    config = json.loads(made.config)
    for member in ("os", "architecture"):
        if how == "absent":
            del config[member]
        else:
            config[member] = "" if how == "empty" else None
    data = encoded(config)
    manifest = json.loads(made.manifest)
    manifest["config"].update({"digest": sha(data), "size": len(data)})
    blobs = {**made.blobs, sha(data): data}
    return Image(encoded(manifest), made.media_type, data, blobs, made.diff_ids, made.platform)


@pytest.mark.parametrize("how", ["absent", "empty", "null"])
def test_a_configuration_without_a_platform(visitor: Visitor, registry: FakeRegistry, how: str) -> None:
    """It is this host's then, as docker and podman have it, or what its index says."""
    here = platforms.host()
    name = registry.add(without_platform(image(), how), TEAM, "1.0")
    visitor("pull", name)
    assert visitor.out("inspect", "-f", "{{.Os}} {{.Architecture}}", name) == f"linux {here.architecture}"
    other = "s390x"
    odd = without_platform(image([small_tar({"other": b"1"})]), how)
    odd.platform["architecture"] = other
    whole = index([odd, image()])
    name = registry.add(whole, TEAM, "2.0")
    visitor("pull", "--platform", f"linux/{other}", name)
    assert visitor.out("inspect", "-f", "{{.Os}} {{.Architecture}}", name) == f"linux {other}"
    said = json.loads(visitor.out("image", "inspect", "--remote", "--platform", f"linux/{other}", name))[0]
    assert (said["Os"], said["Architecture"]) == ("linux", other)
    visitor("save", "-o", str(visitor.home / "it.tar"), name)
    visitor("rmi", name)
    visitor("load", "-i", str(visitor.home / "it.tar"))
    visitor("system", "check")


# What is no image
# ---------------------------------------------------------------------------------------------------------

HELM = "application/vnd.cncf.helm.config.v1+json"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.mark.parametrize(
    ("config", "layer", "artefact", "said"),
    [
        (HELM, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "", f"is a Helm chart ({HELM})"),
        (EMPTY, "text/plain", "application/vnd.example+type", "is an artefact (application/vnd.example+type)"),
        (EMPTY, "text/plain", "", "is an artefact (text/plain)"),
        ("application/vnd.wasm.config.v0+json", "application/wasm", "", "is a WebAssembly module ("),
        (CONFIG[False], COSIGN, "", f"is a signature ({COSIGN})"),
        (CONFIG[False], LAYER[False], "", ""),
    ],
)
def test_an_artefact_is_named(
    visitor: Visitor, registry: FakeRegistry, made: Image, config: str, layer: str, artefact: str, said: str
) -> None:
    value = json.loads(made.manifest)
    value["config"]["mediaType"] = config
    for each in value["layers"]:
        each["mediaType"] = layer + ("+gzip" if layer == LAYER[False] else "")
    if artefact:
        value["artifactType"] = artefact
    name = registry.add(replace(made, manifest=encoded(value)), TEAM, "1.0")
    if not said:
        visitor("pull", name)
        return
    told = visitor.fails("pull", name)
    assert f"{name} {said}" in told and "not a container image" in told
    assert f"{'helm pull oci://' if config == HELM else 'oras pull '}{name}" in told
    visitor.is_empty()
    assert said in visitor.fails("image", "inspect", "--remote", name)
    # In an index it does not keep an image from being found.
    chart = replace(made, manifest=encoded(value))
    mine = image([small_tar({"mine": b"1"})])
    name = registry.add(index([chart, mine]), TEAM, "2.0")
    visitor("pull", name)
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == mine.id
    name = registry.add(index([chart]), TEAM, "3.0")
    visitor.fails("pull", name)


def test_an_index_without_an_image(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(index([]), TEAM, "1.0")
    assert f"{name} is not a container image: its index is empty" in visitor.fails("pull", name)
    value = json.loads(index([made]).manifest)
    value["manifests"][0]["artifactType"] = "application/vnd.example"
    name = registry.add(Index(encoded(value), INDEX[False], [], []), TEAM, "2.0")
    assert "none of the 1 manifests in its index" in visitor.fails("pull", name)
