"""Bytes that nobody meant: readers answer with entries or an error of ours, quickly, never with another."""

import gzip
import io
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import layers as tars
from layers import SPARSE, Tar
from underlay.errors import UnderlayError
from underlay.store.layers import codec, toc
from underlay.store.layers.merge import Tree, difference, merge
from underlay.store.layers.tar import Reader
from underlay.store.limits import Limits
from underlay.store.rootfs import erofs

BOUNDED = settings(max_examples=300, deadline=2000, suppress_health_check=list(HealthCheck))
SMALL = Limits(total=1 << 24, members=1000, metadata=1 << 20, sparse_size=1 << 24, nodes=10_000, steps=100_000)


def read(data: bytes, step: int = 0) -> Reader:
    reader = Reader(SMALL)
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    reader.finish()
    return reader


SEED = (
    Tar()
    .add("dir", "dir")
    .add("dir/" + "n" * 150, data="hello" * 200, xattrs={"user.a": b"1"}, mtime="-1.5")
    .add("x" * 200, data="z", style="gnu")
    .add("l", "link", link="t" * 150)
    .add("h", "hard", link="l")
    .add("c", "char", major=5, minor=1)
    .add("dir/.wh.gone")
    .add("dir/.wh..wh..opq")
    .data(end=False)
    + b"".join(
        make(form.encode(), 9000, [(0, b"a"), (4096, b"b" * 512), (8000, b"c")]) for form, make in SPARSE.items()
    )
    + tars.END
)


@BOUNDED
@given(st.binary(max_size=4096))
def test_any_bytes(data):
    try:
        read(data)
    except UnderlayError as error:
        assert "\n" not in error.message


@BOUNDED
@given(
    st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.booleans(),
)
def test_mutated_tars(changes, repair):
    data = bytearray(SEED)
    for position, value in changes:
        data[position] = value
    if repair:  # checksums made right again, so that the change gets further in
        for start in range(0, len(data), 512):
            block = bytes(data[start : start + 512])
            if block[257:262] == b"ustar":
                data[start : start + 512] = tars.checksummed(block)
    try:
        reader = read(bytes(data))
    except UnderlayError as error:
        assert "\n" not in error.message
        with pytest.raises(UnderlayError):
            read(bytes(data), 777)
        return
    assert read(bytes(data), 777).entries == reader.entries
    for entry in reader.entries:
        assert 0 <= entry.mode <= 0o7777
        assert 0 <= entry.uid < 0xFFFFFFFF
        assert 0 <= entry.nsec < 1_000_000_000
        assert entry.offset % 512 == 0
        if entry.part == toc.TAR:
            assert entry.offset + entry.size <= len(data)
    whole(reader.entries)


def whole(entries: list) -> None:
    """All that follows reading: encode, merge, difference, index."""
    assert toc.decode(toc.encode(entries)) == entries
    tree = Tree(SMALL)
    below = tree.clone()
    try:
        tree.apply(entries)
    except UnderlayError:
        return
    difference(below, tree)


_PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "é", "x" * 255, ".wh.a", ".wh..wh..opq", ".wh."])
_NAMES = st.lists(_PARTS, min_size=1, max_size=5).map("/".join)
_MEMBERS = st.lists(st.tuples(_NAMES, st.sampled_from(list(tars.TYPES)), _NAMES, st.binary(max_size=600)), max_size=15)


@BOUNDED
@given(st.lists(_MEMBERS, min_size=1, max_size=4))
def test_any_members_merge_or_are_refused(tmp_path_factory, layers):
    stack = []
    for members in layers:
        tar = Tar()
        for name, kind, link, data in members:
            tar.add(name or "x", kind, data if kind == "file" else b"", link=link or "x")
        stack.append(read(tar.data()).entries)
    try:
        tree = merge(stack, SMALL)
    except UnderlayError as error:
        assert "\n" not in error.message
        return
    for _, directory in tree.directories():
        for name, child in (directory.children or {}).items():
            assert name not in (b"", b".", b"..") and b"/" not in name and not name.startswith(b".wh.")
            if child.children is not None:
                assert child.parent is directory
    below = merge(stack[:-1], SMALL)
    difference(below, tree)
    path = tmp_path_factory.mktemp("index") / "index"
    erofs.write_index(str(path), tree, [erofs.Device(n, 0, 1 << 24, b"") for n in range(len(stack))])
    path.unlink()


@BOUNDED
@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(blacklist_categories=("Cs",), blacklist_characters="\0/"),
                min_size=1,
                max_size=60,
            ),
            st.binary(max_size=2000),
            st.integers(0, 0o7777),
            st.integers(0, 1 << 31),
            st.integers(-(1 << 40), 1 << 40),
        ),
        max_size=8,
    ),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_against_the_standard_library(members, form):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form, encoding="utf-8") as out:
        for name, data, mode, uid, mtime in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.mtime = len(data), mode, uid, mtime
            out.addfile(info, io.BytesIO(data))
    raw = file.getvalue()
    entries = read(raw).entries
    assert [(e.name.decode(), raw[e.offset : e.offset + e.size], e.mode, e.uid, e.mtime) for e in entries] == members


@BOUNDED
@given(st.binary(max_size=2000), st.sampled_from(["gzip", "zstd", "xz", "bzip2"]), st.integers(1, 300))
def test_any_compressed_bytes(data, kind, step):
    head = {
        "gzip": b"\x1f\x8b\x08",
        "zstd": b"\x28\xb5\x2f\xfd",
        "xz": b"\xfd7zXZ\x00",
        "bzip2": b"BZh91AY&SY",
    }[kind]
    file = io.BytesIO(head + data)
    try:
        for piece in codec.decompress(lambda: file.read(step), SMALL):
            assert len(piece) <= codec.CHUNK
    except UnderlayError as error:
        assert "\n" not in error.message


@BOUNDED
@given(st.binary(max_size=3000), st.lists(st.integers(1, 500), min_size=1, max_size=8), st.integers(0, 9))
def test_gzip_in_any_pieces(data, cuts, level):
    blob = gzip.compress(data, level, mtime=0)
    file = io.BytesIO(blob + blob)
    sizes = iter(cuts * 10_000)
    assert b"".join(list(codec.decompress(lambda: file.read(next(sizes))))[1:]) == data + data


@BOUNDED
@given(st.binary(max_size=500))
def test_any_table_of_contents(data):
    for candidate in (data, b"underlay toc 1\n" + data):
        try:
            toc.decode(candidate)
        except UnderlayError:
            pass
