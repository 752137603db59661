"""Pulling for one platform, several, or all: which image a name stands for afterwards."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from engines import REPOSITORY, image_tar, needs_root
from fakeregistry import FakeRegistry
from remoteimages import Image, Index, image, index, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


@pytest.fixture(scope="module")
def mine() -> Image:
    return image([image_tar()], cmd=["echo", "amd64"])


@pytest.fixture(scope="module")
def arm() -> Image:
    return image([small_tar({"arm64": b"1"})], architecture="arm64", variant="v8")


@pytest.fixture(scope="module")
def old() -> Image:
    return image([small_tar({"386": b"1"})], architecture="386")


@pytest.fixture(scope="module")
def whole(mine: Image, arm: Image, old: Image) -> Index:
    return index([old, arm, mine], attestations=True)


def stands_for(visitor: Visitor, name: str) -> str:
    return visitor.out("inspect", "-f", "{{.Id}}", name)


def test_a_tag_comes_back_from_another_platform(
    visitor: Visitor, registry: FakeRegistry, whole: Index, mine: Image, arm: Image
) -> None:
    """Two tags of one index: what one of them brought must not make the other one believe that it is up to date."""
    a = registry.add(whole, TEAM, "a", "b")
    b = a.removesuffix("a") + "b"
    visitor("pull", a)
    for words in ((), ("--platform", "linux/amd64")):
        visitor("pull", "--platform", "linux/arm64", b)
        assert stands_for(visitor, b) == arm.id
        registry.forget()
        assert f"Downloaded newer image for {b}" in visitor.out("pull", *words, b)
        assert [each.method for each in registry.requests] == ["HEAD"]
        assert stands_for(visitor, b) == mine.id
        assert f"Image is up to date for {b}" in visitor.out("pull", *words, b)
    visitor("pull", "--platform", "linux/arm64", b)
    assert visitor.out("run", "--rm", "--network", "none", "--pull", "always", b) == "amd64"
    # Back again without a byte: both are here.
    registry.forget()
    visitor("pull", "--platform", "linux/arm64", b)
    assert stands_for(visitor, b) == arm.id and stands_for(visitor, a) == mine.id
    assert [each.method for each in registry.requests] == ["HEAD"]
    visitor("rmi", a, b)
    visitor.clean()


def test_a_tag_comes_back_when_its_layers_are_kept(
    visitor: Visitor, registry: FakeRegistry, whole: Index, mine: Image
) -> None:
    a = registry.add(whole, TEAM, "a", "b")
    b = a.removesuffix("a") + "b"
    visitor("pull", a)
    visitor("pull", "--platform", "linux/arm64", b)
    assert "Downloaded newer image" in visitor.out("pull", "--keep-compressed", b)
    assert stands_for(visitor, b) == mine.id


def test_a_digest_means_the_image_for_this_host(
    visitor: Visitor, registry: FakeRegistry, whole: Index, mine: Image, arm: Image
) -> None:
    """Whichever image of an index came first, and whichever of them has a name."""
    name = registry.add(whole, TEAM, "a")
    by_digest = f"{name.removesuffix(':a')}@{whole.digest}"
    visitor("pull", "--platform", "linux/arm64", name)
    assert stands_for(visitor, by_digest) == arm.id
    visitor("pull", by_digest)
    assert stands_for(visitor, by_digest) == mine.id and stands_for(visitor, name) == arm.id
    assert stands_for(visitor, whole.digest) == mine.id
    assert visitor.out("run", "--rm", "--network", "none", "--pull", "always", by_digest) == "amd64"
    assert visitor.out("run", "--rm", "--network", "none", by_digest) == "amd64"
    visitor.clean()


@pytest.mark.parametrize(
    "words",
    [
        ("--platform", "linux/arm64", "--platform", "linux/amd64"),
        ("--platform=linux/arm64,linux/amd64",),
        ("--platform", "linux/arm64,linux/amd64", "--keep-compressed"),
        ("--platform", "all"),
    ],
    ids=" ".join,
)
def test_several_platforms(
    visitor: Visitor,
    registry: FakeRegistry,
    whole: Index,
    mine: Image,
    arm: Image,
    old: Image,
    words: tuple[str, ...],
) -> None:
    """Each is here afterwards; the tag stands for the host's."""
    name = registry.add(whole, TEAM, "a")
    visitor("pull", *words, name)
    assert stands_for(visitor, name) == mine.id
    wanted = [mine, arm, old] if "all" in words else [mine, arm]
    assert set(visitor.out("images", "-aq", "--no-trunc").split()) == {each.id for each in wanted}
    for each in wanted:
        there = visitor.out(
            "image", "inspect", "-f", "{{.Id}}", "--platform", f"linux/{each.platform['architecture']}", name
        )
        assert there == each.id
    registry.forget()
    assert "up to date" in visitor.out("pull", *words, name)
    if words[-1] != "--keep-compressed":
        assert {(each.method, each.path) for each in registry.requests} <= {
            ("HEAD", f"/v2/{TEAM}/manifests/a"),
            ("GET", f"/v2/{TEAM}/manifests/a"),
        }
    assert "linux/s390x" in visitor.fails("pull", "--platform", "linux/amd64,linux/s390x", name)
    assert "unknown operating system" in visitor.fails("push", "--platform", "all", name)
    assert "invalid platform" in visitor.fails("pull", "--platform", "linux/amd64,,", name)


def test_several_platforms_none_of_them_this_hosts(
    visitor: Visitor, registry: FakeRegistry, arm: Image, made: Image
) -> None:
    """The tag stands for the first then; what is no image is passed over by `all`."""
    far = image([small_tar({"s390x": b"1"})], architecture="s390x")
    chart = Image(
        made.manifest.replace(b"application/vnd.oci.image.config.v1+json", b"application/vnd.cncf.helm.config.v1+json"),
        made.media_type,
        made.config,
        made.blobs,
        made.diff_ids,
        {"os": "linux", "architecture": "riscv64"},
    )
    name = registry.add(index([chart, far, arm]), TEAM, "a")
    visitor("pull", "--platform", "linux/s390x,linux/arm64", name)
    assert stands_for(visitor, name) == far.id
    visitor("rmi", name)
    visitor("pull", "--platform", "all", name)
    assert set(visitor.out("images", "-aq", "--no-trunc").split()) == {far.id, arm.id}
    assert stands_for(visitor, name) == arm.id or stands_for(visitor, name) == far.id


def test_documents_that_have_suffered_on_disk(
    visitor: Visitor, registry: FakeRegistry, whole: Index, arm: Image
) -> None:
    """What is here need not be fetched again, unless it is no longer what it was."""
    name = registry.add(whole, TEAM, "a")
    visitor("pull", "--platform", "all", name)
    for digest in (arm.digest, arm.id):
        place = visitor.root / "blobs/sha256" / digest[7:]
        place.write_bytes(place.read_bytes().replace(b"{", b"[", 1))
    registry.forget()
    visitor("pull", "--platform", "all", name)
    fetched = {each.path.rpartition("/")[2] for each in registry.requests}
    assert fetched == {"a", arm.digest, arm.id}


PULLS = """
import sys, json
from underlay import Engine
with Engine() as engine:
    for platform in json.loads(sys.argv[2]):
        pulled = engine.images.pull(sys.argv[1], platform=platform)
        print(pulled.id)
"""


def test_a_platform_in_python(visitor: Visitor, registry: FakeRegistry, whole: Index, mine: Image, arm: Image) -> None:
    """One text means one platform, not as many as it has letters."""
    name = registry.add(whole, TEAM, "a")
    given = json.dumps(
        ["linux/arm64", ["linux/arm64"], ["linux/arm64", "linux/amd64"], "linux/arm64,linux/amd64", "all"]
    )
    done = subprocess.run(
        [sys.executable, "-c", PULLS, name, given],
        env={**visitor.environment, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [arm.id, arm.id, mine.id, mine.id, mine.id]


ELSEWHERE = """
import os, sys
from underlay import Engine
from underlay.builder.request import BuildRequest
from underlay.errors import NotFound
name, place = sys.argv[1:]
os.mkdir(place + "/context")
open(place + "/context/Dockerfile", "w").write(f"FROM {name}\\nLABEL a=b\\n")
with Engine() as engine:
    engine.images.pull(name, platform="all")
    engine.images.save([name], place + "/arm.tar", platform="linux/arm64")
    built = engine.builds.build(BuildRequest(context=place + "/context", platforms="linux/arm64", tags=["built"]))
    print(engine.images.get("built").architecture)
    print(engine.registries.inspect(name, platform="linux/arm64")["Architecture"])
    engine.images.remove(name, force=True)
    engine.images.remove("built")
    print([image.id for image in engine.images.load(place + "/arm.tar", platform="linux/arm64")])
    try:
        engine.images.load(place + "/arm.tar", platform="linux/s390x")
    except NotFound as error:
        print(error.message)
"""


def test_a_platform_in_python_elsewhere(visitor: Visitor, registry: FakeRegistry, whole: Index, arm: Image) -> None:
    name = registry.add(whole, TEAM, "a")
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, name, str(visitor.home)],
        env={**visitor.environment, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:3] == ["arm64", "arm64", str([arm.id])]
    assert "linux/s390x" in done.stdout.splitlines()[3]


def test_the_best_image_for_a_platform_is_taken(
    visitor: Visitor, registry: FakeRegistry, whole: Index, mine: Image
) -> None:
    """A name that stands for a lesser image, which would run as well, must not hide the one that was asked for."""
    a = registry.add(whole, TEAM, "a", "b")
    b = a.removesuffix("a") + "b"
    visitor("pull", a)
    visitor("pull", "--platform", "linux/386", b)
    assert visitor.out("run", "--rm", "--network", "none", "--platform", "linux/amd64", b) == "amd64"
    visitor.clean()
