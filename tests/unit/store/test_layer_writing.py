"""Layers written member by member are what taking in the same tar makes, and what tarfile reads."""

import io
import os
import tarfile
import threading

import pytest

from layers import Source, make, store
from underlay.errors import Conflict, InvalidInput, LimitExceeded
from underlay.store import layers
from underlay.store.layers import intake, toc
from underlay.store.layers.layer_writer import LayerWriter
from underlay.store.layers.toc import Entry
from underlay.store.limits import Limits


def entry(name, kind=toc.REGULAR, size=0, mode=0o644, uid=0, gid=0, mtime=1_600_000_000, nsec=0, **rest) -> Entry:
    return Entry(name, kind, mode, uid, gid, size, mtime, nsec, **rest)


def written(paths, members, **options):
    with LayerWriter(paths, **options) as writer:
        for member, data in members:
            writer.add(member, data)
        return writer.finish()


def tar_of(paths, layer) -> bytes:
    with layers.open_tar(paths, layer.diff_id) as file:
        return file.read()


MEMBERS = {
    "nothing": [],
    "a file": [(entry(b"a", size=3), b"abc")],
    "kinds": [
        (entry(b"d", toc.DIRECTORY, mode=0o1777), None),
        (entry(b"d/empty", uid=1000, gid=2_097_151), None),
        (entry(b"d/link", toc.SYMLINK, mode=0o777, link=b"../x"), None),
        (entry(b"d/hard", toc.HARDLINK, link=b"d/empty"), None),
        (entry(b"d/null", toc.CHARACTER, major=1, minor=3), None),
        (entry(b"d/disk", toc.BLOCK, major=4095, minor=1_048_575), None),
        (entry(b"d/pipe", toc.FIFO), None),
    ],
    "sizes around blocks": [(entry(b"f%d" % n, size=n), b"x" * n) for n in (1, 511, 512, 513, 1024, 100_000)],
    "more than one piece": [(entry(b"f%d" % n, size=400_000 + n), b"y" * (400_000 + n)) for n in range(9)],
    "zeros between": [(entry(b"z", size=3 << 20), bytes(3 << 20)), (entry(b"after", size=1), b"a")],
    "long names": [
        (entry(b"n" * 100, size=1), b"a"),
        (entry(b"n" * 101, size=1), b"b"),
        (entry(b"p" * 155 + b"/" + b"n" * 100, size=1), b"c"),
        (entry(b"p" * 156 + b"/" + b"n" * 99, size=1), b"d"),
        (entry(b"p" * 155 + b"/" + b"n" * 101, size=1), b"e"),
        (entry(b"d" * 155 + b"/" + b"e" * 99, toc.DIRECTORY), None),
        (entry(b"d" * 155 + b"/" + b"e" * 100, toc.DIRECTORY), None),
        (entry(b"d" * 100, toc.DIRECTORY), None),
        (entry(b"/".join([b"e" * 250] * 16), size=1), b"f"),
        (entry(b"l", toc.SYMLINK, link=b"t" * 100), None),
        (entry(b"l2", toc.SYMLINK, link=b"t" * 4095), None),
        (entry(b"h", toc.HARDLINK, link=b"n" * 101), None),
    ],
    "names of any bytes": [
        (entry("größe".encode(), size=1), b"a"),
        (entry(b"\xff\xfe\n=", size=1), b"b"),
        (entry("dö".encode() * 60, toc.DIRECTORY), None),
        (entry(b"l", toc.SYMLINK, link=b"\xff"), None),
    ],
    "numbers beyond ustar": [
        (entry(b"u", uid=2_097_152, gid=4_294_967_294), None),
        (entry(b"old", mtime=-1), None),
        (entry(b"late", mtime=8**11), None),
    ],
    "attributes": [
        (entry(b"f", size=1, xattrs=((b"security.capability", b"\1\0\n=\xff"), (b"user.a", b""))), b"x"),
        (entry(b"d", toc.DIRECTORY, xattrs=((b"user.long", b"v" * 60_000),)), None),
        *[(entry(b"r%d" % n, xattrs=((b"user.x", b"v" * n),)), None) for n in range(60, 110)],
    ],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_equals_what_taking_in_its_tar_makes(tmp_path, name):
    ours, other = store(tmp_path / "a"), store(tmp_path / "b")
    made = written(ours, MEMBERS[name])
    taken = intake.ingest(other, Source(tar_of(ours, made)))
    assert made == taken
    assert layers.read_toc(ours, made.diff_id) == layers.read_toc(other, made.diff_id)
    assert sorted(os.listdir(layers.directory(ours, made.diff_id))) == ["tar", "toc"]
    layers.check(ours, made.diff_id, full=True)
    assert os.listdir(ours.temporary) == []
    for (member, data), found in zip(MEMBERS[name], layers.read_toc(ours, made.diff_id), strict=True):
        assert found.name.rstrip(b"/") == member.name
        assert (found.kind, found.mode, found.uid, found.gid) == (member.kind, member.mode, member.uid, member.gid)
        assert (found.mtime, found.link, found.xattrs) == (member.mtime, member.link, member.xattrs)
        assert (found.major, found.minor) == (member.major, member.minor)
        if data is not None:
            assert layers.read_member(ours, made.diff_id, found) == data


@pytest.mark.parametrize("name", MEMBERS)
def test_tarfile_reads_the_same(tmp_path, name):
    paths = store(tmp_path)
    made = written(paths, MEMBERS[name])
    with tarfile.open(fileobj=io.BytesIO(tar_of(paths, made))) as tar:
        found = [
            (os.fsencode(m.name), m.mode, m.uid, m.gid, m.size if m.isreg() else 0, m.mtime, os.fsencode(m.linkname))
            for m in tar.getmembers()
        ]
    assert found == [(m.name, m.mode, m.uid, m.gid, m.size, m.mtime, m.link) for m, _ in MEMBERS[name]]


@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) - 1, (1 << 20) + 1, 5_000_000])
def test_content_from_a_descriptor(tmp_path, size):
    paths = store(tmp_path)
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data + b"and more that came later")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    made = written(paths, [(entry(b"a", size=1), b"1"), (entry(b"f", size=size), fd), (entry(b"z", size=1), b"2")])
    os.close(fd)
    found = layers.read_toc(paths, made.diff_id)
    assert [layers.read_member(paths, made.diff_id, one) for one in found] == [b"1", data, b"2"]


def test_the_same_members_make_the_same_bytes(tmp_path):
    every = [pair for pairs in MEMBERS.values() for pair in pairs]
    assert written(store(tmp_path / "a"), every) == written(store(tmp_path / "b"), every)


def test_plain_members_need_no_extension_headers(tmp_path):
    paths = store(tmp_path)
    made = written(paths, [(entry(b"d", toc.DIRECTORY, mode=0o755), None), (entry(b"d/" + b"f" * 98, size=2), b"ab")])
    assert made.size == 512 + 1024 + 1024
    # The first member is a directory as the byte-by-byte writer of the tests makes it, up to its times and owner names.
    assert tar_of(paths, made)[:148] == make(("d/", "dir"))[:148]


TIMES = [
    # mtime, nsec, clamp, subsecond → what stands in the layer
    (100, 5, None, False, (100, 0)),
    (100, 5, None, True, (100, 5)),
    (100, 5, 100, True, (100, 0)),
    (99, 5, 100, True, (99, 5)),
    (101, 0, 100, False, (100, 0)),
    (-2, 750_000_000, None, True, (-2, 750_000_000)),
    (-1, 1, None, True, (-1, 1)),
    (8**11, 120_000_000, None, True, (8**11, 120_000_000)),
    (5, 0, -5, False, (-5, 0)),
]


@pytest.mark.parametrize(("mtime", "nsec", "clamp", "subsecond", "expected"), TIMES)
def test_times(tmp_path, mtime, nsec, clamp, subsecond, expected):
    paths = store(tmp_path)
    made = written(paths, [(entry(b"f", mtime=mtime, nsec=nsec), None)], clamp=clamp, subsecond=subsecond)
    (found,) = layers.read_toc(paths, made.diff_id)
    assert (found.mtime, found.nsec) == expected
    intake.ingest(store(tmp_path / "b"), Source(tar_of(paths, made)), expected_diff_id=made.diff_id)
    assert layers.read_toc(store(tmp_path / "b"), made.diff_id) == [found]


REFUSED = [
    (entry(b"f", size=3), b"ab", InvalidInput, "3 bytes"),
    (entry(b"f", size=3), None, InvalidInput, "3 bytes"),
    (entry(b""), None, InvalidInput, "cannot hold"),
    (entry(b"a\0b"), None, InvalidInput, "cannot hold"),
    (entry(b"a/" * 2100), None, LimitExceeded, "the path is longer than"),
    (entry(b"l", toc.SYMLINK, link=b"t" * 4096), None, LimitExceeded, "the path is longer than"),
    (entry(b"x", xattrs=((b"user.a=b", b""),)), None, InvalidInput, "user.a=b"),
    (entry(b"x", xattrs=((b"user.a", bytes(70_000)),)), None, LimitExceeded, "attributes"),
    (entry(b"x", size=1 << 50), None, LimitExceeded, "larger than"),
]


@pytest.mark.parametrize(("member", "data", "error", "words"), REFUSED)
def test_refuses_and_leaves_nothing(tmp_path, member, data, error, words):
    paths = store(tmp_path)
    with pytest.raises(error, match=words):
        written(paths, [(entry(b"big", size=3 << 20), b"x" * (3 << 20)), (member, data)])
    assert os.listdir(paths.temporary) == []
    assert layers.list_all(paths) == []


def test_a_file_that_shrinks_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(Conflict, match="'f' became shorter"):
        written(store(tmp_path), [(entry(b"f", size=4), fd)])
    os.close(fd)


def test_a_full_disk_is_an_error_and_no_thread_stays(tmp_path, monkeypatch):
    paths = store(tmp_path)
    before = set(threading.enumerate())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        written(paths, [(entry(b"f%d" % n, size=1 << 20), b"x" * (1 << 20)) for n in range(40)])
    assert set(threading.enumerate()) <= before  # threads of earlier tests may end meanwhile
    assert layers.list_all(paths) == []


def test_limits_count_members(tmp_path):
    with pytest.raises(LimitExceeded, match="more than 2 files"):
        written(store(tmp_path), [(entry(b"f%d" % n), None) for n in range(3)], limits=Limits(members=2))


def test_another_process_may_have_been_faster(tmp_path):
    paths = store(tmp_path)
    first = written(paths, MEMBERS["kinds"])
    inode = os.stat(layers.directory(paths, first.diff_id)).st_ino
    assert written(paths, MEMBERS["kinds"]) == first
    assert os.stat(layers.directory(paths, first.diff_id)).st_ino == inode
    assert os.listdir(paths.temporary) == []
