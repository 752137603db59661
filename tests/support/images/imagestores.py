"""A store in tree form, which takes no privilege, with the command line; ways of loading, and what must not stay."""

import os
import subprocess
import sys

import pytest

from archives import Layout, layer
from underlay import Engine
from underlay.engine.images import archives


@pytest.fixture
def engine(tmp_path):
    # The tree form needs no mounts, so these tests run without privilege too.
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


class Cli:
    def __init__(self, tmp_path):
        self.words = [sys.executable, "-m", "underlay", "--root", str(tmp_path / "root")]
        self.words += ["--state", str(tmp_path / "state"), "--form", "tree"]

    def __call__(self, *words, code=0, input=None, environment=None):
        done = subprocess.run(
            [*self.words, *map(str, words)],
            input=input,
            capture_output=True,
            env={**os.environ, **(environment or {})},
            timeout=60,
        )
        assert done.returncode == code, done.stderr.decode()
        self.errors = done.stderr.decode()
        assert "Traceback" not in self.errors
        self.bytes = done.stdout
        return done.stdout.decode(errors="replace")


@pytest.fixture
def cli(tmp_path):
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
    return module.compress(data)


def load_by(engine, tmp_path, data: bytes, by: str, **options):
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


def nothing_stays(engine):
    assert engine.images.list() == []
    for directory, _, files in os.walk(engine._store.paths.root):
        for name in files:
            assert name.startswith("meta.db") or name == "lock", f"{directory}/{name}"


def index_of_platforms(layout: Layout, name: str = "app:1") -> dict:
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
