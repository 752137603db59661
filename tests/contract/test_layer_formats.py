"""Layers as other tools compress them, to be read in pieces by those who know how: here they are read as a whole."""

import bz2
import gzip
import hashlib
import json
import lzma
import os
import struct
import zlib

import pytest

from fakeregistry import FakeRegistry
from imagestores import engine
from layers import Mounted, Source, differences, digest, make, snapshot, store
from remoteimages import zstd
from underlay.errors import Corrupt, DigestMismatch
from underlay.store import layers
from underlay.store.layers import intake

__all__ = ["engine"]  # fixtures

MEMBERS = [
    ("usr", "dir"),
    ("usr/tool", "file", bytes(range(256)) * 600, {"mode": 0o755}),
    ("usr/again", "hard", b"", {"link": "usr/tool", "mode": 0o755}),
    ("etc", "dir"),
    ("etc/conf", "file", "x = 1\n"),
    ("etc/link", "link", b"", {"link": "conf"}),
]
TOC = "stargz.index.json"
LANDMARK = ".prefetch.landmark"


def estargz() -> tuple[bytes, bytes]:
    """An eStargz layer and its tar: a gzip member for each file, then one with the table of contents, then a footer that
    says where that begins (stargz-snapshotter, docs/estargz.md)."""
    blob, tar, entries = b"", b"", []

    def add(data: bytes) -> None:
        nonlocal blob, tar
        blob, tar = blob + gzip.compress(data, mtime=0), tar + data

    for member in [*MEMBERS[:2], (LANDMARK, "file", b"\x0f"), *MEMBERS[2:]]:
        piece = make(member)[:-1024]
        entries.append({"name": member[0], "type": "reg" if member[1] == "file" else member[1], "offset": len(blob)})
        if member[1] == "file":
            content = member[2] if isinstance(member[2], bytes) else member[2].encode()
            entries[-1] |= {"size": len(content), "digest": "sha256:" + hashlib.sha256(content).hexdigest()}
        # A large file may be in several members.
        for at in range(0, len(piece), 65536):
            add(piece[at : at + 65536])
    begin = len(blob)
    add(make((TOC, "file", json.dumps({"version": 1, "entries": entries}))))
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % begin
    footer = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + struct.pack("<H", len(extra)) + extra
    footer += b"\x01\x00\x00\xff\xff" + struct.pack("<II", zlib.crc32(b""), 0)
    assert len(footer) == 51 and gzip.decompress(footer) == b""
    return blob + footer, tar


def chunked() -> tuple[bytes, bytes]:
    """A layer as zstd:chunked has it: frames, then a table of contents, a tar-split and a footer in skippable frames
    (containers/storage, pkg/chunked/internal)."""
    tar = make(*MEMBERS)
    body = b"".join(zstd(tar[at : at + 4096]) for at in range(0, len(tar), 4096)) + zstd(b"")

    def skippable(data: bytes) -> bytes:
        return struct.pack("<II", 0x184D2A50, len(data)) + data

    toc = zstd(json.dumps({"version": 1, "entries": []}).encode())
    footer = struct.pack("<QQQQQQQ", len(body) + 8, len(toc), 99, 1, 0, 0, 0) + b"GNUlInUx"
    return body + skippable(toc) + skippable(zstd(b"tar-split")) + skippable(footer), tar


def parts(pack, count: int = 3) -> tuple[bytes, bytes]:
    tar = make(*MEMBERS)
    step = len(tar) // count + 1
    return b"".join(pack(tar[at : at + step]) for at in range(0, len(tar), step)), tar


def with_fields(data: bytes) -> bytes:
    """A gzip member with an extra field, a name, a comment and a checksum of its header (RFC 1952)."""
    plain = gzip.compress(data, mtime=0)
    head = plain[:3] + b"\x1e" + plain[4:10] + struct.pack("<H", 9) + b"AB\x05\x00extra" + b"layer.tar\0" + b"words\0"
    return head + struct.pack("<H", zlib.crc32(head) & 0xFFFF) + plain[10:]


FORMATS = {
    "estargz": estargz,
    "zstd:chunked": chunked,
    "gzip members": lambda: parts(gzip.compress),
    "gzip fields": lambda: parts(with_fields),
    "zstd frames": lambda: parts(zstd),
    "xz streams": lambda: parts(lzma.compress),
    "bzip2 streams": lambda: parts(bz2.compress),
}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize("form", ["erofs", "tree"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_tree_is_that_of_the_tar(name, form, tmp_path):
    from underlay.store import rootfs

    blob, tar = FORMATS[name]()
    paths = store(tmp_path)
    if rootfs.form_for(paths)[0] != form == "erofs":
        pytest.skip("no EROFS here")
    taken = intake.ingest(
        paths, Source(blob, 1000), expected_diff_id=digest(tar), expected_blob=(digest(blob), len(blob))
    )
    assert (taken.diff_id, taken.size) == (digest(tar), len(tar))
    with Mounted(paths, form, [taken.diff_id]) as root:
        shown = snapshot(root)
        if name == "estargz":
            # They are files of the layer, and docker shows them too.
            assert json.loads(open(f"{root}/{TOC}").read())["entries"]
            assert open(f"{root}/{LANDMARK}", "rb").read() == b"\x0f"
    other = store(tmp_path / "plain")
    extra = [(LANDMARK, "file", b"\x0f")] if name == "estargz" else []
    plain = make(*MEMBERS[:2], *extra, *MEMBERS[2:])
    intake.ingest(other, Source(plain))
    with Mounted(other, form, [digest(plain)]) as root:
        shown.pop(TOC, None)
        assert differences(shown, snapshot(root)) == []
    layers.check(paths, taken.diff_id, full=True)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_damaged_is_refused(name, tmp_path):
    blob, tar = FORMATS[name]()
    paths = store(tmp_path)
    for wrong in (blob[: len(blob) // 2], blob[: len(blob) // 2] + b"\x55" * 9 + blob[len(blob) // 2 + 9 :]):
        with pytest.raises((Corrupt, DigestMismatch)):
            intake.ingest(paths, Source(wrong), expected_diff_id=digest(tar), expected_blob=(digest(wrong), len(wrong)))
    with pytest.raises(DigestMismatch):
        intake.ingest(paths, Source(blob), expected_diff_id=digest(tar + b"x"), expected_blob=(digest(blob), len(blob)))


@pytest.mark.parametrize("name", ["estargz", "zstd:chunked"])
def test_pulled_by_their_annotations(name, engine):
    import remoteimages

    blob, tar = FORMATS[name]()
    kind = "gzip" if name == "estargz" else "zstd"
    notes = {
        "estargz": {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + "0" * 64},
        "zstd:chunked": {"io.github.containers.zstd-chunked.manifest-checksum": "sha256:" + "0" * 64},
    }
    made = remoteimages.image([tar], kind)
    manifest = json.loads(made.manifest)
    manifest["layers"] = [{**remoteimages.blob(manifest["layers"][0]["mediaType"], blob), "annotations": notes[name]}]
    image = remoteimages.Image(
        remoteimages.encoded(manifest),
        made.media_type,
        made.config,
        {digest(blob): blob, made.id: made.config},
        made.diff_ids,
        made.platform,
    )
    with FakeRegistry() as registry:
        name = registry.add(image, "team/app", "1")
        engine.images.pull(name)
        assert engine.images.get(name).diff_ids == (digest(tar),)
