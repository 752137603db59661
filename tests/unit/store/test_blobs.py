"""Blobs: verified on the way in, visible only whole."""

import os

import pytest

from archives import sha
from underlay.errors import Corrupt, DigestMismatch, InvalidInput, NotFound
from underlay.paths import Paths
from underlay.store import blobs


@pytest.fixture
def paths(tmp_path):
    made = Paths(str(tmp_path / "root"), str(tmp_path / "state"))
    os.makedirs(made.temporary)
    return made


def test_what_is_put_can_be_read(paths):
    digest = blobs.put(paths, b"hello")
    assert digest == sha(b"hello")
    assert blobs.read(paths, digest) == b"hello"
    assert blobs.size(paths, digest) == 5
    assert list(blobs.every(paths)) == [(digest, 5)]
    assert blobs.put(paths, b"hello", digest) == digest
    assert blobs.check(paths, digest) == ""
    blobs.remove(paths, digest)
    blobs.remove(paths, digest)
    assert not blobs.exists(paths, digest)
    assert os.listdir(paths.temporary) == []


def test_a_longer_hash_is_known_too(paths):
    import hashlib

    digest = "sha512:" + hashlib.sha512(b"x").hexdigest()
    assert blobs.put(paths, b"x", digest) == digest
    assert blobs.read(paths, digest) == b"x"
    assert list(blobs.every(paths)) == [(digest, 1)]


def test_wrong_bytes_leave_nothing(paths):
    for data, length in ((b"hellO", 5), (b"hell", 5), (b"hello!", 5)):
        with pytest.raises(DigestMismatch) as caught, blobs.Writer(paths, sha(b"hello"), length) as writer:
            writer.write(data)
            writer.commit()
        assert "expected" in caught.value.message
    assert list(blobs.every(paths)) == []
    assert os.listdir(paths.temporary) == []


def test_too_many_bytes_are_refused_at_once(paths):
    with pytest.raises(DigestMismatch), blobs.Writer(paths, sha(b""), 10) as writer:
        writer.write(b"x" * 11)


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "../x"])
def test_what_is_no_digest_is_no_path(paths, digest):
    for use in (blobs.path, blobs.exists, blobs.read, blobs.open_blob, blobs.remove, blobs.size):
        with pytest.raises(InvalidInput):
            use(paths, digest)


def test_missing_and_changed_blobs_are_told(paths):
    digest = sha(b"hello")
    with pytest.raises(NotFound):
        blobs.size(paths, digest)
    with pytest.raises(Corrupt, match="missing"):
        blobs.read(paths, digest)
    assert blobs.check(paths, digest) == "missing"
    blobs.put(paths, b"hello")
    with open(blobs.path(paths, digest), "wb") as file:
        file.write(b"other")
    assert sha(b"other") in blobs.check(paths, digest)


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(paths):
    with open(f"{paths.temporary}/blob-1-dead", "wb") as file:
        file.write(b"x" * 100)
    with blobs.Writer(paths, sha(b"hello")) as writer:
        writer.write(b"hello")
        assert blobs.remove_leftovers(paths) == 100
        writer.commit()
    assert blobs.read(paths, sha(b"hello")) == b"hello"
