"""An overlay's upper directory becomes a layer that means the same: by marks made here, and by a real overlay."""

import os
import socket
import stat

import pytest

from engines import needs_root
from layers import Mounted, differences, load, make, snapshot, store
from underlay.errors import InvalidInput, KernelError, LimitExceeded, Unsupported
from underlay.files import remove_tree
from underlay.linux.files import mounts
from underlay.store import layers
from underlay.store.layers import packing, toc


@pytest.fixture(autouse=True)
def as_root():
    needs_root()


@pytest.fixture
def upper(tmp_path):
    (tmp_path / "upper").mkdir()
    yield tmp_path / "upper"
    remove_tree(str(tmp_path / "upper"))  # pytest cannot remove deep ones


def packed(tmp_path, upper, **options):
    paths = store(tmp_path / "store")
    fd = os.open(upper, os.O_PATH | os.O_DIRECTORY)
    try:
        made = packing.pack(paths, fd, **{"userxattr": False, **options})
    finally:
        os.close(fd)
    assert os.listdir(paths.temporary) == []
    return layers.read_toc(paths, made.diff_id)


def names(entries) -> list[bytes]:
    return [entry.name for entry in entries]


def test_an_empty_upper_is_an_empty_layer(tmp_path, upper):
    assert packed(tmp_path, upper) == []


def test_kinds_owners_and_order(tmp_path, upper):
    (upper / "b").mkdir(mode=0o711)
    (upper / "b" / "x").write_bytes(b"x")
    (upper / "a").write_bytes(b"abc")
    os.chmod(upper / "a", 0o4755)
    os.chown(upper / "a", 12, 34)
    os.chmod(upper / "a", 0o4755)
    os.utime(upper / "a", ns=(0, 1_234_567_890_123))
    os.symlink("../out", upper / "c")
    os.mkfifo(upper / "b0", 0o640)
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(upper / "disk", stat.S_IFBLK | 0o660, os.makedev(8, 300))
    (upper / os.fsdecode(b"\xff")).write_bytes(b"")
    socket.socket(socket.AF_UNIX).bind(str(upper / "s"))
    found = packed(tmp_path, upper)
    assert names(found) == [b"a", b"b/", b"b/x", b"b0", b"c", b"disk", b"null", b"\xff"]
    by = {entry.name: entry for entry in found}
    assert (by[b"a"].mode, by[b"a"].uid, by[b"a"].gid, by[b"a"].size) == (0o4755, 12, 34, 3)
    assert (by[b"a"].mtime, by[b"a"].nsec) == (1234, 0)
    assert (by[b"c"].kind, by[b"c"].link) == (toc.SYMLINK, b"../out")
    assert (by[b"b0"].kind, by[b"b0"].mode) == (toc.FIFO, 0o640)
    assert (by[b"null"].kind, by[b"null"].major, by[b"null"].minor) == (toc.CHARACTER, 1, 3)
    assert (by[b"disk"].kind, by[b"disk"].major, by[b"disk"].minor) == (toc.BLOCK, 8, 300)


def test_whiteouts_and_opaque_directories(tmp_path, upper):
    os.mknod(upper / "gone", stat.S_IFCHR, os.makedev(0, 0))
    (upper / "new").mkdir()
    (upper / "new" / "!first").write_bytes(b"")
    os.setxattr(upper / "new", "trusted.overlay.opaque", b"y")
    (upper / "not").mkdir()
    os.setxattr(upper / "not", "user.overlay.opaque", b"y")  # the other mount's mark
    (upper / "x").mkdir()
    os.setxattr(upper / "x", "trusted.overlay.opaque", b"x")
    (upper / "x" / "white").write_bytes(b"")
    os.setxattr(upper / "x" / "white", "trusted.overlay.whiteout", b"y")
    (upper / "x" / "full").write_bytes(b"1")
    os.setxattr(upper / "x" / "full", "trusted.overlay.whiteout", b"y")
    found = packed(tmp_path, upper)
    assert names(found) == [
        b".wh.gone", b"new/", b"new/.wh..wh..opq", b"new/!first", b"not/", b"x/", b"x/full", b"x/.wh.white",
    ]  # fmt: skip
    assert [e.xattrs for e in found] == [()] * 8


def test_the_marks_of_userxattr(tmp_path, upper):
    (upper / "new").mkdir()
    os.setxattr(upper / "new", "user.overlay.opaque", b"y")
    (upper / "white").write_bytes(b"")
    os.setxattr(upper / "white", "user.overlay.whiteout", b"y")
    assert names(packed(tmp_path, upper, userxattr=True)) == [b"new/", b"new/.wh..wh..opq", b".wh.white"]


def test_attributes_that_an_image_may_set_are_kept(tmp_path, upper):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    (upper / "f").write_bytes(b"x")
    for name, value in (
        ("user.a", b"1"), ("user.b", b""), ("security.capability", capability),
        ("trusted.mine", b"1"), ("trusted.overlay.origin", b"1"), ("user.overlay.x", b"1"),
    ):  # fmt: skip
        os.setxattr(upper / "f", name, value)
    os.symlink("f", upper / "l")
    os.setxattr(upper / "l", "trusted.mine", b"1", follow_symlinks=False)
    found = packed(tmp_path, upper)
    assert [e.xattrs for e in found] == [
        ((b"security.capability", capability), (b"user.a", b"1"), (b"user.b", b"")),
        (),
    ]


def test_hard_links(tmp_path, upper):
    (upper / "b").write_bytes(b"same")
    (upper / "d").mkdir()
    os.link(upper / "b", upper / "d" / "c")
    os.link(upper / "b", upper / "a")
    os.setxattr(upper / "b", "user.a", b"1")
    os.symlink("x", upper / "l1")
    os.link(upper / "l1", upper / "l2", follow_symlinks=False)
    found = packed(tmp_path, upper)
    # Whoever unpacks a link applies its header to the file.
    assert [e.xattrs for e in found] == [((b"user.a", b"1"),)] * 2 + [()] + [((b"user.a", b"1"),)] + [()] * 2
    assert [(e.name, e.kind, e.link) for e in found] == [
        (b"a", toc.REGULAR, b""),
        (b"b", toc.HARDLINK, b"a"),
        (b"d/", toc.DIRECTORY, b""),
        (b"d/c", toc.HARDLINK, b"a"),
        (b"l1", toc.SYMLINK, b"x"),
        (b"l2", toc.HARDLINK, b"l1"),
    ]


def test_skip_and_clamp(tmp_path, upper):
    for name in ("a", "b", "b/c"):
        (upper / name).mkdir()
    (upper / "b" / "c" / "deep").write_bytes(b"x")
    (upper / "b" / "d").write_bytes(b"x")
    os.utime(upper / "b" / "d", (5, 5))
    found = packed(tmp_path, upper, skip=[b"a", b"b/c"], clamp=1000)
    assert [(e.name, e.mtime) for e in found] == [(b"b/", 1000), (b"b/d", 5)]


@pytest.mark.parametrize("name", [".wh.x", ".wh..wh..opq", ".wh."])
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_names_that_mean_whiteouts_are_refused(tmp_path, upper, name, kind):
    (upper / "d").mkdir()
    if kind == "file":
        (upper / "d" / name).write_bytes(b"")
    else:
        (upper / "d" / name).mkdir()
    with pytest.raises(InvalidInput, match=r"d/\.wh\."):
        packed(tmp_path, upper)


@pytest.mark.parametrize("mark", ["redirect", "metacopy"])
def test_what_is_not_all_there_is_refused(tmp_path, upper, mark):
    (upper / "d").mkdir()
    os.setxattr(upper / "d", f"trusted.overlay.{mark}", b"/other")
    with pytest.raises(Unsupported, match=f"'d': .*{mark}"):
        packed(tmp_path, upper)


def test_deep_trees_need_no_descriptors(tmp_path, upper):
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("f", os.O_CREAT, dir_fd=fd))
    os.close(fd)
    found = packed(tmp_path, upper)
    assert len(found) == 1501
    assert found[-1].name == b"d/" * 1500 + b"f"


def test_paths_beyond_what_a_layer_holds_are_refused(tmp_path, upper):
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=fd)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    with pytest.raises(LimitExceeded, match="path is longer than"):
        packed(tmp_path, upper)


def test_a_file_that_vanishes_is_named(tmp_path, upper, monkeypatch):
    (upper / "d").mkdir()
    (upper / "d" / "f").write_bytes(b"x")
    inner = packing.walking.open_file

    def remove_first(parent, name, path):
        os.unlink(name, dir_fd=parent)
        return inner(parent, name, path)

    monkeypatch.setattr(packing.walking, "open_file", remove_first)
    with pytest.raises(KernelError, match="read d/f: No such file"):
        packed(tmp_path, upper)


def test_a_file_swapped_for_a_link_is_not_followed(tmp_path, upper, monkeypatch):
    (tmp_path / "secret").write_bytes(b"secret")
    (upper / "f").write_bytes(b"x")
    inner = packing.walking.open_file

    def swap(parent, name, path):
        os.unlink(name, dir_fd=parent)
        os.symlink(tmp_path / "secret", name, dir_fd=parent)
        return inner(parent, name, path)

    monkeypatch.setattr(packing.walking, "open_file", swap)
    with pytest.raises(KernelError, match="read f: "):
        packed(tmp_path, upper)


BASE = make(
    ("etc", "dir"), ("etc/one", "file", "1"), ("etc/two", "file", "2"), ("usr", "dir"), ("usr/lib", "dir"),
    ("usr/lib/a", "file", "A"), ("usr/lib/b", "file", "B"), ("opt", "dir"), ("opt/x", "file", "x"),
)  # fmt: skip


def test_the_layer_shows_what_the_overlay_showed(tmp_path):
    paths = store(tmp_path / "store")
    below = load(paths, [BASE])
    upper, work, merged = tmp_path / "upper", tmp_path / "work", tmp_path / "merged"
    for place in (upper, work, merged):
        place.mkdir()
    with Mounted(paths, "tree", below) as lower:
        mounts.mount(
            "overlay", str(merged), "overlay", 0,
            f"lowerdir={lower},upperdir={upper},workdir={work},redirect_dir=off,metacopy=off",
        )  # fmt: skip
        try:
            os.unlink(merged / "etc" / "one")
            (merged / "etc" / "two").write_text("changed")
            for name in ("a", "b"):
                os.unlink(merged / "usr" / "lib" / name)
            os.rmdir(merged / "usr" / "lib")
            (merged / "usr" / "lib").mkdir(mode=0o700)  # opaque
            (merged / "usr" / "lib" / "c").write_text("C")
            os.unlink(merged / "opt" / "x")
            os.rmdir(merged / "opt")
            (merged / "opt").write_text("now a file")
            (merged / "new").mkdir()
            (merged / "new" / "f").write_text("f")
            os.link(merged / "new" / "f", merged / "new" / "g")
            os.setxattr(merged / "new" / "f", "user.a", b"1")
            for root, directories, files in os.walk(merged):
                for name in directories + files:
                    os.utime(os.path.join(root, name), (1_700_000_000, 1_700_000_000))
            shown = snapshot(str(merged))
        finally:
            mounts.umount(str(merged))
    fd = os.open(upper, os.O_PATH)
    made = packing.pack(paths, fd, userxattr=False)
    os.close(fd)
    with Mounted(paths, "tree", [*below, made.diff_id]) as root:
        again = snapshot(root)
    for side in (shown, again):
        side.pop("")
    assert differences(shown, again) == []
