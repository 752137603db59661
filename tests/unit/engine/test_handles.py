"""Containers and images as objects: what they are equal to and how they show, without a running container."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from archives import Layout, layer
from underlay import Engine, Image, Pruned, Result, paths
from underlay.engine.containers.result import Capture
from underlay.errors import InvalidInput


@pytest.fixture
def image(tmp_path: Path) -> Image:
    layout = Layout()
    layout.image([layer({"a": b"1"})], "app:1")
    engine = Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree")
    [image] = engine.images.load(str(layout.write(tmp_path / "in")))
    return image


def test_an_image(image: Image) -> None:
    again = Image(image._store, image._row)
    assert image.tags == ["app:1"] and repr(image) == f"<Image app:1 {image.short_id}>"
    assert isinstance(image.platform, str) and image.platform.startswith("linux/")
    image.tag("other:2")
    assert image.tags == ["app:1", "other:2"] and image == again and len({image, again}) == 1
    with pytest.raises(InvalidInput, match="several names"):
        image.push()
    assert image.attrs["Id"] == image.id and image.labels == {"org.test": "1"}
    assert {"app:1", "other:2"} <= {*image.remove(force=True).untagged}
    assert image.tags == []
    with pytest.raises(InvalidInput, match="no name"):
        image.push()


def test_results_show_what_they_are() -> None:
    assert Result(0, b"\xff\n", b"", "1").text == "\ufffd\n"
    assert repr(Result(3, b"a", b"", "1")) == "Result(code=3, stdout=b'a', stderr=b'')"
    assert repr(Pruned(["a"], 5)) == "Pruned(removed=['a'], reclaimed=5)"


def test_streams_are_closed_but_those_of_the_caller(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with open(tmp_path / "out", "wb") as out:
        with Capture(b"input", None, out, None) as capture:
            assert capture.reads and capture.attachment().stdout == out.fileno()
            assert capture.result(0, "1").stdout == b""
        out.write(b"still open")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(InvalidInput, match="cannot both"):
        Capture(b"", 0, None, None)
    with pytest.raises(TypeError, match="bytes"):
        Capture("text", None, None, None)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="stdout is an open file"):
        Capture(b"", None, io.BytesIO(), None)
    for wrong in (out, subprocess.STDOUT, 987):
        with pytest.raises(InvalidInput, match="stderr is an open file"):
            Capture(b"", None, None, wrong)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_server_with_python_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers are interpreters, whatever the program calls itself that they are started by."""
    own = paths.interpreter()[0]
    for name in ("/usr/sbin/server", ""):
        monkeypatch.setattr(sys, "executable", name)
        asked = subprocess.run([paths.interpreter()[0], "-c", "print(1)"], capture_output=True, check=True)
        assert asked.stdout == b"1\n" and own != name
