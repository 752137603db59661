"""The real base images beside the checkout, when they are there: loaded or imported, and run on this kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import SHARED, Installation, needs_root

IMAGES = SHARED / "images"
# What Docker Hub serves for these names (digests of their manifests).
BUSYBOX = {
    "glibc": "sha256:7a3ebe5bfd1a4a19797d20b0c0bb39d44393e9a03fd852c0865b0f540d868df0",
    "musl": "sha256:29989570aeecad61a019f684218ea74d4b8c1c74f9e0abeb34ca926b81174ee1",
    "uclibc": "sha256:39a19081c6dc060c4efa25ca5845dc867e3f476e86ba8e7ee9da97bc1c2752ca",
}

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not IMAGES.is_dir(), reason="no real images beside the checkout"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="the images at hand are for x86-64"),
]


@pytest.fixture(scope="module", params=["erofs", "tree"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation of each form of layers."""
    needs_root()
    installation = Installation(tmp_path_factory.mktemp("real"), request.param)
    if installation("info", code=None).returncode != 0:
        pytest.skip(f"the form {request.param} cannot be used here")
    yield installation
    installation.clean()


@pytest.mark.parametrize("library", BUSYBOX)
def test_busybox(real: Installation, library: str) -> None:
    assert (
        real.out("load", "-i", str(IMAGES / "busybox" / f"{library}-amd64"))
        == f"Loaded image: busybox:1.37.0-{library}"
    )
    assert real.run(f"busybox:1.37.0-{library}", "sh", "-c", "busybox | head -1").startswith("BusyBox v1.37.0")
    assert BUSYBOX[library] in real.out("images", "--digests", "--no-trunc", "busybox")


def test_busybox_from_an_index(real: Installation) -> None:
    real("load", "-i", str(IMAGES / "busybox" / "musl-multi"))
    assert real.run("busybox", "echo", "hi") == "hi"


def alpines() -> list[Path]:
    return sorted((IMAGES / "alpine").glob("*-x86_64.tar.gz")) if IMAGES.is_dir() else []


@pytest.mark.parametrize("path", alpines(), ids=lambda path: path.name.split("-")[2])
def test_alpine(real: Installation, path: Path) -> None:
    version = path.name.split("-")[2]
    real("import", "--change", 'CMD ["/bin/sh"]', str(path), f"alpine:{version}")
    text = real.run(f"alpine:{version}", "sh", "-c", "cat /etc/alpine-release; apk --version; id -un")
    assert "apk-tools" in text and text.endswith("root")


def test_another_processors_image(real: Installation) -> None:
    path = next((IMAGES / "alpine").glob("*-aarch64.tar.gz"))
    real("import", "--platform", "linux/arm64", str(path), "alpine:arm")
    done = real("run", "--rm", "--network", "none", "alpine:arm", "true", code=None)
    if done.returncode == 0:
        pytest.skip("this host emulates arm64 (binfmt_misc)")
    assert done.returncode == 125 and b"is for linux/arm64" in done.stderr and b"this processor is" in done.stderr
