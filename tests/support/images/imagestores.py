"""A store in tree form, which takes no privilege, with the command line; ways of loading, and what must not stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from archives import Layout, layer
from engines import REPOSITORY
from underlay import Engine
from underlay.engine.images import archives

if TYPE_CHECKING:
    from underlay.transfer.archives.load import Loaded


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    # The tree form needs no mounts, so these tests run without privilege too.
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


class Cli:
    def __init__(self, tmp_path: Path) -> None:
        self.words = [sys.executable, "-m", "underlay", "--root", str(tmp_path / "root")]
        self.words += ["--state", str(tmp_path / "state"), "--form", "tree"]

    def __call__(
        self, *words: object, code: int = 0, input: bytes | None = None, environment: dict[str, str] | None = None
    ) -> str:
        done = subprocess.run(
            [*self.words, *map(str, words)],
            input=input,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), **(environment or {})},
            timeout=60,
        )
        assert done.returncode == code, done.stderr.decode()
        self.errors = done.stderr.decode()
        assert "Traceback" not in self.errors
        self.bytes = done.stdout
        return done.stdout.decode(errors="replace")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def two_layer_image() -> tuple[bytes, bytes]:
    return layer({"a": b"1"}), layer({"b": b"2"})


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "none":
        return data
    if kind == "zstd":
        from underlay.store.layers import codec

        made = codec.compressor("zstd")
        return made.compress(data) + made.flush()
    module = __import__({"gzip": "gzip", "xz": "lzma", "bzip2": "bz2"}[kind])
    packed: bytes = module.compress(data)
    return packed


def load_by(engine: Engine, tmp_path: Path, data: bytes, by: str, **options: Any) -> list[Loaded]:
    place = tmp_path / "archive"
    place.write_bytes(data)
    if by == "path":
        return archives.load(engine._store, str(place), **options)
    reader, writer = os.pipe()
    process = subprocess.Popen(["cat", str(place)], stdout=writer)
    os.close(writer)
    try:
        return archives.load(engine._store, reader, **options)
    finally:
        os.close(reader)
        process.wait(10)


def nothing_stays(engine: Engine) -> None:
    assert engine.images.list() == []
    for directory, _, files in os.walk(engine._store.paths.root):
        for name in files:
            assert name.startswith("meta.db") or name in ("lock", "journal"), f"{directory}/{name}"


def index_of_platforms(layout: Layout, name: str = "app:1") -> dict[str, Any]:
    one, two = two_layer_image()
    amd = layout.image([one], top=False)
    arm = layout.image([two], top=False, architecture="arm64", variant="v8")
    statement = layout.image([layer({"s": b"{}"})], top=False, architecture="unknown", os="unknown")
    amd["platform"] = {"architecture": "amd64", "os": "linux"}
    arm["platform"] = {"architecture": "arm64", "os": "linux", "variant": "v8"}
    statement["platform"] = {"architecture": "unknown", "os": "unknown"}
    value = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [statement, arm, amd],
    }
    return layout.descriptor(value, name=name)
