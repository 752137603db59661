"""Copies beside skopeo's: what one writes the other reads, digests are the same, and so is what becomes of formats."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from registries import need
from remoteimages import Image, Index, image, index, random_tar, small_tar
from visitors import Visitor

pytestmark = [pytest.mark.root, pytest.mark.oracle]
needs_root()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def visitor(tmp_path: Path) -> Visitor:
    return Visitor(tmp_path)


@pytest.fixture(scope="module")
def several() -> Index:
    return index([image([small_tar({n: b"2"}), random_tar(5000)], architecture=n) for n in ("amd64", "arm64")])


def skopeo(place: Path, *words: str) -> str:
    program = need("skopeo")
    home = place / "skopeo"
    home.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    command = [program, "--insecure-policy", "--tmpdir", str(home), *words]
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


PLACES = ["oci:{}/layout:v1", "oci-archive:{}/archive.tar:v1", "dir:{}/directory"]


@pytest.mark.parametrize("kind", PLACES)
def test_what_skopeo_writes(
    visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path, kind: str
) -> None:
    place = kind.format(tmp_path)
    name = registry.add(several, "app", "1")
    skopeo(tmp_path, "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}", place)
    assert visitor.out("copy", "-q", place, f"{registry.host}/back:1") == several.digest


@pytest.mark.parametrize("kind", PLACES)
def test_what_skopeo_reads(visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path, kind: str) -> None:
    place = kind.format(tmp_path)
    visitor("copy", registry.add(several, "app", "1"), place)
    skopeo(tmp_path, "copy", "-q", "--all", "--dest-tls-verify=false", place, f"docker://{registry.host}/back:1")
    assert registry.repository("back").tags == {"1": several.digest}


def test_docker_archives(visitor: Visitor, registry: FakeRegistry, made: Image, tmp_path: Path) -> None:
    """Each reads the other's, and the image has its id there."""
    name = registry.add(made, "app", "1")
    skopeo(
        tmp_path, "copy", "-q", "--src-tls-verify=false", f"docker://{name}", f"docker-archive:{tmp_path}/theirs:a:1"
    )
    visitor("copy", name, f"docker-archive:{tmp_path}/ours:a:1")
    visitor("copy", f"docker-archive:{tmp_path}/theirs:a:1", f"{registry.host}/theirs:1")
    visitor("copy", f"docker-archive:{tmp_path}/theirs", "store:theirs:1")
    back = f"docker://{registry.host}/ours:1"
    skopeo(tmp_path, "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{tmp_path}/ours:a:1", back)
    ids = [registry.manifest(each, "1")["config"]["digest"] for each in ("theirs", "ours")]
    assert ids == [made.id, made.id] == [visitor.out("inspect", "-f", "{{.Id}}", "theirs:1"), made.id]


@pytest.fixture(scope="module")
def made() -> Image:
    return image([small_tar(), random_tar(300_000, 1)])


@pytest.mark.parametrize(("ours", "theirs"), [("docker", "v2s2"), ("oci", "oci")])
def test_formats(
    visitor: Visitor, registry: FakeRegistry, several: Index, tmp_path: Path, ours: str, theirs: str
) -> None:
    """Both give each part the same media type, and leave layers as they are.

    Other than skopeo, which writes a configuration of docker's anew as an OCI one, ours keeps it, and so the image's id.
    """
    source = index(
        [
            image([small_tar(), random_tar(n)], docker=ours == "oci", architecture=a)
            for n, a in ((9, "amd64"), (8, "arm64"))
        ],
        docker=ours == "oci",
    )
    name = registry.add(source, "app", "1")
    visitor("copy", "-f", ours, name, f"{registry.host}/ours:1")
    flags = ("-q", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", theirs)
    skopeo(tmp_path, "copy", *flags, f"docker://{name}", f"docker://{registry.host}/theirs:1")
    assert shape(registry, "ours") == shape(registry, "theirs")
    entries = registry.manifest("ours", "1")["manifests"]
    ids = [json.loads(registry.repository("ours").documents[each["digest"]][1])["config"]["digest"] for each in entries]
    assert ids == [each.id for each in source.images if isinstance(each, Image)]


def shape(registry: FakeRegistry, repository: str) -> object:
    """What an index and its manifests say, but for digests of manifests, which depend on how they are written."""
    top = registry.manifest(repository, "1")
    found = []
    for entry in top["manifests"]:
        below = json.loads(registry.repository(repository).documents[entry["digest"]][1])
        parts = [
            below["config"]["mediaType"],
            *((each["mediaType"], each["digest"], each["size"]) for each in below["layers"]),
        ]
        found.append((entry["mediaType"], entry["platform"], below["mediaType"], parts))
    return top["mediaType"], found
