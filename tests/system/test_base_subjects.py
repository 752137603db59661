"""Packages and vulnerabilities of images that are not in the store: archives, layouts, registries; nothing is kept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from advisories import fixed, record
from engines import needs_root
from fakeregistry import FakeRegistry
from layers import make
from remoteimages import Image, image, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

STATUS = """Package: zlib1g
Source: zlib
Status: install ok installed
Version: 1.2
Architecture: amd64

"""
LOWER = small_tar(
    {
        "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
        "var/lib/dpkg/status": STATUS.encode(),
        "app/node_modules/gone/package.json": b'{"name": "gone", "version": "1.0.0"}',
        "app/node_modules/kept/package.json": b'{"name": "kept", "version": "1.0.0"}',
        "srv/node_modules/hidden/package.json": b'{"name": "hidden", "version": "1.0.0"}',
    }
)
UPPER = make(
    ("app/node_modules/.wh.gone", "file", b""),
    ("srv/.wh..wh..opq", "file", b""),
    ("srv/node_modules/added/package.json", "file", b'{"name": "added", "version": "1.0.0"}'),
)
FOUND = {("zlib", "1.2"), ("kept", "1.0.0"), ("added", "1.0.0")}


@pytest.fixture
def advised(visitor: Visitor, tmp_path: Path) -> Visitor:
    records = [record("DSA-1", fixed("Debian:12", "zlib", "1.3"))]
    records += [record(f"GHSA-{name}", fixed("npm", name, "2.0.0")) for name in ("gone", "kept", "hidden", "added")]
    (tmp_path / "osv.jsonl").write_bytes(b"\n".join(records))
    visitor("base", "advisories", "import", str(tmp_path / "osv.jsonl"))
    return visitor


@pytest.fixture(scope="module")
def app() -> Image:
    return image([LOWER, UPPER], compression=["gzip", "zstd"])


def told(visitor: Visitor, name: str) -> set[tuple[str, str]]:
    found: dict[str, Any] = json.loads(visitor.out("base", "vulns", "--format", "json", name))
    assert found["checked"] == 3 and not found["gaps"]
    return {(each["package"], each["version"]) for each in found["found"]}


def listed(visitor: Visitor, name: str) -> set[str]:
    return {each["name"] for each in json.loads(visitor.out("base", "sbom", name))["components"]}


def nothing_left(visitor: Visitor) -> None:
    assert visitor.out("images", "-aq") == ""
    root = Path(visitor.environment["UNDERLAY_ROOT"])
    assert not list((root / "layers").glob("*")) if (root / "layers").exists() else True
    assert not list((root / "tmp").glob("*")) if (root / "tmp").exists() else True


def test_in_a_registry(advised: Visitor, registry: FakeRegistry, app: Image) -> None:
    name = registry.add(app, "team/app", "1")
    assert told(advised, f"docker://{name}") == told(advised, name) == FOUND
    assert {"zlib1g", "kept", "added"} <= listed(advised, name) and "gone" not in listed(advised, name)
    nothing_left(advised)


def test_in_archives(advised: Visitor, registry: FakeRegistry, app: Image, tmp_path: Path) -> None:
    name = registry.add(app, "team/app", "1")
    for place in (f"oci:{tmp_path}/layout", f"oci-archive:{tmp_path}/oci.tar", f"docker-archive:{tmp_path}/docker.tar"):
        advised("copy", "-q", f"docker://{name}", place)
        assert told(advised, place) == FOUND, place
        assert "hidden" not in listed(advised, place)
    assert told(advised, f"{tmp_path}/docker.tar") == FOUND
    nothing_left(advised)


def test_layers_that_are_not_what_they_should_be(advised: Visitor, registry: FakeRegistry, app: Image) -> None:
    name = registry.add(app, "team/app", "1")
    repository = registry.repository("team/app")
    first = app.layers[0]
    for data in (b"no tar at all", image([small_tar()]).blobs[image([small_tar()]).layers[0]]):
        repository.blobs[first] = data.ljust(len(app.blobs[first]), b"\0")[: len(app.blobs[first])]
        refused = advised("base", "vulns", name, code=2).stderr.decode()
        assert refused.startswith("underlay: ") and "Traceback" not in refused
        nothing_left(advised)
    del repository.blobs[first]
    assert "Traceback" not in advised("base", "sbom", name, code=1).stderr.decode()


@pytest.mark.oracle
def test_an_archive_of_another_tool(advised: Visitor, registry: FakeRegistry, app: Image, tmp_path: Path) -> None:
    name = registry.add(app, "team/app", "1")
    archive = tmp_path / "skopeo.tar"
    words = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", f"docker://{name}"]
    if not os.path.exists("/usr/bin/skopeo"):
        pytest.skip("skopeo is not installed")
    subprocess.run([*words, f"docker-archive:{archive}:x:1"], check=True, capture_output=True)
    assert told(advised, f"docker-archive:{archive}") == FOUND


def test_whose_they_are(advised: Visitor, registry: FakeRegistry, app: Image) -> None:
    """The files of the base are those of the image's own lower layers, though nothing of it is here but the base."""
    below = image([LOWER], compression="gzip")
    advised("pull", "-q", registry.add(below, "team/base", "1"))
    name = registry.add(app, "team/app", "1")
    found: dict[str, Any] = json.loads(advised.out("base", "vulns", "--format", "json", f"docker://{name}"))
    origins = {each["package"]: each["origin"] for each in found["found"]}
    assert origins == {"zlib": "base", "kept": "base", "added": "yours"}
    assert found["digest"] == app.digest and found["id"] == app.id
