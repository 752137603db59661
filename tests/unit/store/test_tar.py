"""Reading tars: every format, every odd member, every bound."""

import base64
import io
import tarfile

import pytest

import layers as tars
from layers import END, SPARSE, Tar, header, padded, pax
from underlay.errors import Corrupt, LimitExceeded
from underlay.store.layers import toc
from underlay.store.layers.tar import Reader
from underlay.store.limits import Limits


def read(data: bytes, step: int = 0, **limits: int) -> Reader:
    reader = Reader(Limits(**limits))
    step = step or max(len(data), 1)
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
    reader.finish()
    return reader


def one(data: bytes, **limits: int) -> toc.Entry:
    (entry,) = read(data, **limits).entries
    return entry


def test_empty_tars():
    for data in (b"", bytes(512), END, END + bytes(10240)):
        assert read(data).entries == []


@pytest.mark.parametrize("step", [1, 13, 511, 512, 513, 4096])
def test_pieces_of_any_size_give_the_same(step):
    data = (
        Tar()
        .add("d", "dir")
        .add("x" * 200, data="hello", xattrs={"user.a": b"1"})
        .add("y" * 200, data=b"z" * 1000, style="gnu")
        .raw(tars.sparse_10(b"s", 100_000, [(n * 1000, b"%03d" % n) for n in range(90)]))
        .raw(tars.sparse_gnu(b"t", 100_000, [(n * 1000, b"%03d" % n) for n in range(90)]))
        .add("l", "link", link="t" * 300)
        .data()
    )
    whole, pieces = read(data), read(data, step)
    assert pieces.entries == whole.entries
    assert pieces.sparse == whole.sparse
    assert [entry.name[:1] for entry in whole.entries] == [b"d", b"x", b"y", b"s", b"t", b"l"]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_the_standard_library_writes(form):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as out:
        for name, kind in (
            ("d", tarfile.DIRTYPE),
            ("d/f", tarfile.REGTYPE),
            ("d/" + "n" * 90 + "/" + "m" * 60, tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.mtime = kind, 0o1755, 1000, 1001, 1234567890
            info.size = 700 if kind == tarfile.REGTYPE else 0
            out.addfile(info, io.BytesIO(b"c" * 700))
        for name, kind, link in (("s", tarfile.SYMTYPE, "d/f"), ("h", tarfile.LNKTYPE, "d/f")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            out.addfile(info)
        info = tarfile.TarInfo("c")
        info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, 5, 300
        out.addfile(info)
        info = tarfile.TarInfo("p")
        info.type = tarfile.FIFOTYPE
        out.addfile(info)
    data = file.getvalue()
    entries = read(data).entries
    assert [(e.name.decode().rstrip("/"), e.kind, e.link.decode()) for e in entries] == [
        ("d", toc.DIRECTORY, ""),
        ("d/f", toc.REGULAR, ""),
        ("d/" + "n" * 90 + "/" + "m" * 60, toc.REGULAR, ""),
        ("s", toc.SYMLINK, "d/f"),
        ("h", toc.HARDLINK, "d/f"),
        ("c", toc.CHARACTER, ""),
        ("p", toc.FIFO, ""),
    ]
    for entry in entries[:3]:
        assert (entry.mode, entry.uid, entry.gid, entry.mtime) == (0o1755, 1000, 1001, 1234567890)
    for entry in entries[1:3]:
        assert data[entry.offset : entry.offset + entry.size] == b"c" * 700
    assert (entries[5].major, entries[5].minor) == (5, 300)


def test_v7():
    data = header(b"old", b"\0", 3, 0o600, 7, 8, 99, magic=b"") + padded(b"abc")
    data += header(b"dir/", b"\0", 12, magic=b"") + header(b"link", b"2", link=b"old", magic=b"")
    first, second, third = read(data + END).entries
    assert (first.name, first.kind, first.size, first.uid, first.mtime) == (b"old", toc.REGULAR, 3, 7, 99)
    assert (second.kind, second.size) == (toc.DIRECTORY, 0)
    assert (third.kind, third.link) == (toc.SYMLINK, b"old")


def test_prefixes():
    assert one(header(b"n" * 100, prefix=b"p" * 155)).name == b"p" * 155 + b"/" + b"n" * 100
    # GNU headers have times where ustar has the prefix; star's prefix is shorter.
    assert one(header(b"name", prefix=b"12345", magic=b"ustar  \0")).name == b"name"
    star = header(b"name", prefix=b"p" * 131 + b"00000000000\x0000000000000\0", fields={508: b"tar\0"})
    assert one(star).name == b"p" * 131 + b"/name"


def test_numbers():
    assert one(header(b"a", size=0, uid=1 << 31, gid=0xFFFFFFFE, mtime=-5, magic=b"ustar  \0")).uid == 1 << 31
    assert one(header(b"a", mtime=-5)).mtime == -5
    assert one(header(b"a", mtime=1 << 40)).mtime == 1 << 40
    assert one(header(b"a", fields={136: b"   123 \0\0\0\0\0"})).mtime == 0o123
    assert one(header(b"a", fields={136: bytes(12)})).mtime == 0
    for bad in (b"0000009", b"0x1", b"1_0", b"+1", b"-1", b"\xff" * 8):
        with pytest.raises(Corrupt, match="member at byte 0"):
            read(header(b"a", fields={108: bad.ljust(8, b"\0")}))
    with pytest.raises(Corrupt, match="modification time"):
        read(pax([(b"mtime", b"9223372036854775808")]) + header(b"a"))
    with pytest.raises(Corrupt, match="owner"):
        read(header(b"a", uid=0xFFFFFFFF))
    with pytest.raises(Corrupt, match="negative size"):
        read(header(b"a", size=-1))
    with pytest.raises((Corrupt, LimitExceeded)):
        read(header(b"a", size=1 << 62))
    with pytest.raises(Corrupt, match="mtime is out of range"):
        read(header(b"a", fields={136: b"\x80" + b"\x3f" * 11}))


def test_checksums():
    assert one(header("é".encode() * 20, signed=True)).name == "é".encode() * 20
    bad = bytearray(header(b"name"))
    bad[0] ^= 1
    with pytest.raises(Corrupt, match="checksum"):
        read(bytes(bad))


def test_pax_records():
    records = [
        (b"path", b"dir/" + b"\xff" * 200),
        (b"uid", b"3000000000"),
        (b"gid", b"4000000000"),
        (b"size", b"3"),
        (b"mtime", b"1.5"),
        (b"hdrcharset", b"BINARY"),
        (b"comment", b"nothing\nto see=here"),
    ]
    data = pax(records) + header(b"short", size=0) + padded(b"abc") + header(b"next") + END
    first, second = read(data).entries
    assert first.name == b"dir/" + b"\xff" * 200
    assert (first.uid, first.gid, first.size) == (3_000_000_000, 4_000_000_000, 3)
    assert (first.mtime, first.nsec) == (1, 500_000_000)
    assert data[first.offset : first.offset + 3] == b"abc"
    assert second.name == b"next"


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"-1.5", (-2, 500_000_000)),
        (b"-1", (-1, 0)),
        (b"-0.000000001", (-1, 999_999_999)),
        (b"0.1234567899", (0, 123_456_789)),
        (b"9999999999.", (9_999_999_999, 0)),
        (b".5", (0, 500_000_000)),
    ],
)
def test_pax_times(text, expected):
    entry = one(pax([(b"mtime", text)]) + header(b"a"))
    assert (entry.mtime, entry.nsec) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"6 a=\n",
        b"7 a=bc\n junk",
        b"999 path=x\n",
        b"0 a=b\n",
        b"-6 a=b\n",
        b"6 a=bX",
        b"6 abcd\n",
        b"99999999999999999999 a=b\n",
        b"\0\0\0",
    ],
)
def test_malformed_pax_records(data):
    with pytest.raises(Corrupt, match="pax record"):
        read(header(b"x", b"x", len(data)) + padded(data) + header(b"a"))


@pytest.mark.parametrize(
    "key, value",
    [
        (b"uid", b"-1"),
        (b"uid", b"1_0"),
        (b"size", b"-512"),
        (b"size", b"99999999999999999999999"),
        (b"mtime", b"1e5"),
        (b"mtime", b"--5"),
        (b"mtime", b"\xc2\xb2"),
        (b"path", b"a\0b"),
        (b"SCHILY.xattr.", b"x"),
        (b"LIBARCHIVE.xattr.user.a", b"!!!"),
    ],
)
def test_senseless_pax_values(key, value):
    with pytest.raises((Corrupt, LimitExceeded)):
        read(pax([(key, value)]) + header(b"a"))


def test_global_headers():
    data = pax([(b"mtime", b"77"), (b"uid", b"5"), (b"path", b"not/for/all"), (b"comment", b"abc")], b"g")
    data += header(b"a", mtime=1) + pax([(b"mtime", b"88")]) + header(b"b") + END
    first, second = read(data).entries
    assert (first.name, first.mtime, first.uid) == (b"a", 77, 5)
    assert (second.name, second.mtime, second.uid) == (b"b", 88, 5)


def test_attributes():
    records = [
        (b"SCHILY.xattr.user.one", b"bin\0ary\n="),
        (b"SCHILY.xattr.security.capability", bytes(20)),
        tars.libarchive_xattr(b"user.t%20wo", b"\xff\0"),
        (b"SCHILY.xattr.user.empty", b""),
        (b"SCHILY.acl.access", b"user::rw-"),
    ]
    assert one(pax(records) + header(b"a")).xattrs == (
        (b"security.capability", bytes(20)),
        (b"user.empty", b""),
        (b"user.one", b"bin\0ary\n="),
        (b"user.t wo", b"\xff\0"),
    )
    assert base64.b64decode(records[2][1] + b"=") == b"\xff\0"


def test_long_names():
    for length in (99, 100, 101, 155, 256, 1000, 4096):
        name = ("d/" * 2048)[: length - 1] + "f"
        for style in ("pax", "gnu"):
            data = Tar().add(name, style=style).add("l", "link", link=name[:4095], style=style).data()
            first, second = read(data).entries
            assert first.name.decode() == name
            assert second.link.decode() == name[:4095]


def test_names_of_any_bytes():
    name = bytes(range(1, 256)).replace(b"/", b"")
    for style in ("pax", "gnu"):
        assert one(Tar().add(name[:250], style=style).data()).name == name[:250]


@pytest.mark.parametrize(
    "name, error",
    [("x" * 256, LimitExceeded), ("d/" * 2049, LimitExceeded), ("a/" + "x" * 256 + "/b", LimitExceeded)],
)
def test_names_that_linux_cannot_have(name, error):
    for style in ("pax", "gnu"):
        with pytest.raises(error, match="above the limit for layers"):
            read(Tar().add(name, style=style).data())


def test_empty_names_and_targets():
    for data in (
        header(b""),
        header(b"l", b"2"),
        header(b"l", b"1"),
        Tar().add("l", "link", link="x" * 4096).data(),
    ):
        with pytest.raises(Corrupt):
            read(data)


def test_types():
    assert one(header(b"c", b"7", 3) + padded(b"abc")).size == 3
    assert read(header(b"label", b"V") + header(b"a")).entries[0].name == b"a"
    # What has no data has none, whatever its size says.
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        entries = read(header(b"a", kind, 512, link=b"x") + header(b"b") + END).entries
        assert [entry.name for entry in entries] == [b"a", b"b"]
        assert entries[0].size == 0
    for kind in (b"M", b"D", b"N", b"Z", b"\xff"):
        with pytest.raises(Corrupt, match="unknown type"):
            read(header(b"a", kind))
    with pytest.raises(Corrupt, match="device number"):
        read(header(b"a", b"3", major=4096))


def test_ends():
    member = header(b"a", size=600) + padded(b"x" * 600)
    assert one(member).name == b"a"
    assert one(member + bytes(512)).name == b"a"
    for cut in (512 + 600, len(member) - 1):  # only padding is missing
        assert one(member[:cut]).name == b"a"
    for cut in (1, 511, 512, 513, 1000, 512 + 599):
        with pytest.raises(Corrupt, match="ends in the middle"):
            read(member[:cut] if cut != 512 else member[:512])
    with pytest.raises(Corrupt, match="after an extension header"):
        read(pax([(b"path", b"x")]))
    with pytest.raises(Corrupt, match="after a block of zeros"):
        read(bytes(512) + member)
    assert one(member + END + b"anything at all").name == b"a"
    with pytest.raises(LimitExceeded, match="follow the end"):
        read(member + END + bytes(5000), trailing=4999)


def test_errors_name_member_and_offset():
    with pytest.raises(Corrupt, match=r"member at byte 1024, after 'fine': .*checksum"):
        read(header(b"fine", size=1) + padded(b"x") + b"\xaa" * 512)


def test_bounds():
    with pytest.raises(LimitExceeded, match="members"):
        read(Tar().add("a").add("b").add("c").data(), members=2)
    with pytest.raises(LimitExceeded, match="extension headers"):
        read(pax([(b"comment", b"x")]) * 17 + header(b"a"))
    with pytest.raises(LimitExceeded, match="extension header of"):
        read(header(b"x", b"x", 1 << 30))
    with pytest.raises(LimitExceeded, match="extension header of"):
        read(header(b"x", b"L", 1 << 17))
    with pytest.raises(LimitExceeded, match="names and attributes"):
        read(Tar().add("a", xattrs={"user.a": b"x" * 5000}).data(), metadata=5000)
    with pytest.raises(LimitExceeded, match="extension headers of the tar"):
        read(pax([(b"comment", b"x")], b"g") * 100, metadata=50_000)
    with pytest.raises(LimitExceeded, match="attribute"):
        read(Tar().add("a", xattrs={"user.a": b"x" * 65536}).data())
    with pytest.raises(LimitExceeded, match="attributes"):
        read(Tar().add("a", xattrs={f"user.{n}": b"" for n in range(129)}).data())


PIECES = [(0, b"start"), (4096, b"m" * 512), (1 << 30, b"end")]


@pytest.mark.parametrize("form", SPARSE)
@pytest.mark.parametrize("pieces", [[], PIECES, [(n * 8192, b"%d" % n) for n in range(200)]], ids=["0", "3", "200"])
def test_sparse(form, pieces):
    size = 2 << 30
    data = SPARSE[form](b"s", size, pieces) + header(b"next") + END
    reader = read(data)
    assert [entry.name for entry in reader.entries] == [b"s", b"next"]
    entry = reader.entries[0]
    assert (entry.size, entry.part, entry.kind) == (size, toc.SPARSE, toc.REGULAR)
    (member,) = reader.sparse
    assert member.index == 0
    assert member.pieces == [(offset, len(content)) for offset, content in pieces]
    body = b"".join(content for _, content in pieces)
    assert data[member.start : member.start + len(body)] == body


@pytest.mark.parametrize("form", SPARSE)
def test_senseless_sparse_maps(form):
    make = SPARSE[form]
    for size, pieces in (
        (10, [(0, b"x" * 11)]),
        (100, [(50, b"x" * 10), (0, b"y")]),
        (100, [(0, b"x" * 10), (5, b"y")]),
        (100, [(101, b"")]),
    ):
        with pytest.raises(Corrupt, match="sparse map"):
            read(make(b"s", size, pieces) + END)
    with pytest.raises(LimitExceeded, match="sparse files of"):
        read(make(b"s", 1 << 40, []) + make(b"t", 1, []) + END)
    with pytest.raises(LimitExceeded, match="sparse pieces"):
        read(make(b"s", 1 << 20, [(n * 100, b"x") for n in range(50)]) + END, sparse_pieces=40)
    with pytest.raises((Corrupt, LimitExceeded)):
        read(make(b"s", -1, []) + END)


def test_sparse_map_and_data_must_agree():
    good = bytearray(tars.sparse_gnu(b"s", 100, [(0, b"x" * 10)]))
    bad = tars.header(b"s", b"S", 9, magic=b"ustar  \0", fields={386: bytes(good[386:512])})
    with pytest.raises(Corrupt, match="does not fit"):
        read(bad + padded(b"x" * 9))
    with pytest.raises(Corrupt, match="malformed sparse map"):
        read(pax([(b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"5")]) + header(b"a"))
    with pytest.raises(Corrupt, match="unknown sparse format"):
        read(pax([(b"GNU.sparse.major", b"2"), (b"GNU.sparse.minor", b"0")]) + header(b"a"))
    table = padded(b"5\n" + b"9" * 505)
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9")]
    for body in (table, padded(b"9" * 512), padded(b"1\n0\n"), b""):
        with pytest.raises(Corrupt):
            read(pax(records) + header(b"a", size=len(body)) + body + END)
