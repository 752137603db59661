"""Compression: detection, streams of several members, damage, bounds."""

import bz2
import gzip
import io
import lzma
import struct

import pytest

from layers import peak
from underlay.errors import Corrupt, LimitExceeded, Unsupported
from underlay.store.layers import codec
from underlay.store.limits import Limits

DATA = bytes(range(256)) * 5000 + b"the end"


def _zstd(data: bytes) -> bytes:
    compressor = codec.compressor("zstd")
    return compressor.compress(data) + compressor.flush()


PACK = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": _zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
    "none": bytes,
}


def unpack(data: bytes, step: int = 1 << 16, **limits: int) -> tuple[str, bytes]:
    file = io.BytesIO(data)
    pieces = codec.decompress(lambda: file.read(step), Limits(**limits))
    kind = next(pieces).decode()
    out = []
    for piece in pieces:
        assert 0 < len(piece) <= codec.CHUNK
        out.append(piece)
    return kind, b"".join(out)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("step", [1, 7, 1 << 16, 1 << 22])
def test_every_kind_in_pieces_of_any_size(kind, step):
    data = DATA[-2000:] if step == 1 else DATA
    assert unpack(PACK[kind](data), step) == (kind, data)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_members_in_a_row_are_one_stream(kind, step):
    pack = PACK[kind]
    assert unpack(pack(b"one") + pack(b"") + pack(b"two"), step) == (kind, b"onetwo")


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("step", [1, 1 << 16])
def test_zeros_may_follow_but_nothing_else(kind, step):
    pack = PACK[kind]
    assert unpack(pack(b"one") + bytes(1000), step) == (kind, b"one")
    assert unpack(pack(b"one") + bytes(9) + pack(b"two"), step) == (kind, b"onetwo")
    with pytest.raises(Corrupt, match="not " + kind):
        unpack(pack(b"one") + b"garbage", step)
    with pytest.raises(Corrupt):
        unpack(pack(b"one") + bytes(9) + b"x", step)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2"])
def test_truncation_is_told(kind):
    data = PACK[kind](DATA)
    for cut in (len(data) - 1, len(data) // 2, 10):
        with pytest.raises(Corrupt, match=kind):
            unpack(data[:cut])


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2"])
def test_damage_is_told(kind):
    # zstd frames have a checksum only when their maker asks for one.
    data = bytearray(PACK[kind](DATA))
    data[-6] ^= 0x55
    with pytest.raises(Corrupt, match=kind):
        unpack(bytes(data))


def test_a_tar_whose_first_name_looks_compressed():
    assert unpack(b"BZh-notes.txt".ljust(600, b"\0"))[0] == "none"
    assert codec.detect(b"BZh") == codec.detect(bz2.compress(b"")) == "bzip2"


def test_empty_and_short_streams():
    assert unpack(b"") == ("none", b"")
    assert unpack(b"abc") == ("none", b"abc")


@pytest.mark.parametrize("kind", ["gzip", "zstd", "xz", "bzip2", "none"])
def test_output_is_bounded(kind):
    with pytest.raises(LimitExceeded):
        unpack(PACK[kind](bytes(3_000_000)), total=2_999_999)
    assert len(unpack(PACK[kind](bytes(3_000_000)), total=3_000_000)[1]) == 3_000_000


def test_decoders_memory_is_bounded():
    with pytest.raises(LimitExceeded, match="memory"):
        unpack(lzma.compress(DATA, preset=6), xz_memory=1 << 20)


@pytest.mark.parametrize(
    ("head", "window"),
    [
        # RFC 8878, sections 3.1.1.1.1 to 3.1.1.1.4: a window descriptor, or a single segment and its size.
        (bytes([0x00, (31 - 10) << 3]), 1 << 31),
        (bytes([0x00, (31 - 10) << 3 | 7]), (1 << 31) + (7 << 28)),
        (bytes([0x04, (28 - 10) << 3]), 1 << 28),
        (bytes([0x00, 0xFF]), (1 << 41) + (7 << 38)),
        (bytes([0xA0]) + (1 << 30).to_bytes(4, "little"), 1 << 30),
        (bytes([0xE0]) + (1 << 60).to_bytes(8, "little"), 1 << 60),
        (bytes([0xE3]) + b"dict" + ((1 << 27) + 1).to_bytes(8, "little"), (1 << 27) + 1),
    ],
)
def test_windows_that_are_too_large_are_refused_before_they_are_made(head, window):
    frame = b"\x28\xb5\x2f\xfd" + head + b"\x01\x00\x00".ljust(20, b"\0")
    before = peak()
    with pytest.raises(LimitExceeded, match=f"window of {window} bytes, which is more than the 134217728 that"):
        unpack(frame)
    with pytest.raises(LimitExceeded, match=f"window of {window} bytes"):
        unpack(_zstd(b"one") + frame, 7)
    assert peak() - before < 50 << 10


@pytest.mark.parametrize("log", [10, 20, 27])
def test_windows_that_a_layer_may_have(log):
    try:
        from compression import zstd
    except ImportError:
        from backports import zstd
    made = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    assert unpack(made.compress(DATA) + made.flush()) == ("zstd", DATA)


def test_skippable_frames_of_zstd_are_skipped():
    skip = struct.pack("<II", 0x184D2A5C, 5) + b"hello"
    assert codec.detect(skip) == "zstd"
    assert unpack(skip + _zstd(b"one") + skip + _zstd(b"two") + skip) == ("zstd", b"onetwo")


def test_gzip_header_fields():
    plain = gzip.compress(b"data", mtime=0)
    named = plain[:3] + b"\x1c" + plain[4:10] + b"\x03\x00abc" + b"name\0comment\0" + plain[10:]
    for step in (1, 100):
        assert unpack(named, step) == ("gzip", b"data")


def test_zlib_without_isal(monkeypatch):
    monkeypatch.setitem(codec._DECODERS, "gzip", lambda limits: codec._Zlib())
    for step in (1, 1 << 20):
        data = DATA[:3000] if step == 1 else DATA + bytes(5_000_000)
        assert unpack(gzip.compress(data) + gzip.compress(b"two") + bytes(20), step) == (
            "gzip",
            data + b"two",
        )
    with pytest.raises(Corrupt):
        unpack(gzip.compress(DATA)[:-1])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_compression_is_reproducible(kind):
    def packed() -> bytes:
        compressor = codec.compressor(kind)
        return compressor.compress(DATA) + compressor.flush()

    assert packed() == packed()
    assert unpack(packed()) == (kind, DATA)
    if kind == "gzip":
        assert packed()[3:8] == bytes(5)  # no name, no time


def test_unknown_compressor():
    with pytest.raises(Unsupported):
        codec.compressor("lz4")
