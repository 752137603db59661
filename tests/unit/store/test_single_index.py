"""One layer's index stacked above the merged index of those below shows what the index of all merged shows."""

import os

import pytest

from engines import needs_root
from layercases import BASE, CASES
from layers import Mounted, differences, load, make, snapshot, store
from underlay.linux.files import mounts, sharedmount
from underlay.store import layers, rootfs
from underlay.store.layers import layer_index, tar, toc


@pytest.fixture(scope="module", autouse=True)
def able(tmp_path_factory):
    needs_root()
    form, why = rootfs.form_for(store(tmp_path_factory.mktemp("probe")))
    if form != rootfs.EROFS:
        pytest.skip(why)


class Stacked:
    """An overlay of single indexes, topmost first, above the merged index of the lowest layer: for `with`."""

    def __init__(self, paths, diff_ids, place):
        self.paths, self.diff_ids, self.place = paths, diff_ids, str(place)

    def __enter__(self):
        self.base = Mounted(self.paths, "erofs", self.diff_ids[:1])
        root = self.base.__enter__()
        below = os.stat(root)
        entry = toc.Entry(b"", toc.DIRECTORY, below.st_mode & 0o7777, below.st_uid, below.st_gid, 0, 0, 0)
        entry = toc.Entry(b"", toc.DIRECTORY, entry.mode, entry.uid, entry.gid, 0, *divmod(below.st_mtime_ns, 10**9))
        lower = [f"{self.paths.mounts}/{self.base.chain.partition(':')[2]}"]
        self.points = []
        for number, diff_id in enumerate(self.diff_ids[1:]):
            index, point = f"{self.place}/{number}.erofs", f"{self.place}/{number}"
            assert layer_index.single_index(self.paths, diff_id, index, entry)
            os.mkdir(point)
            sharedmount.mount_index(index, [path for _, _, path in rootfs.devices(self.paths, [diff_id])], point)
            self.points.append(point)
            lower.insert(0, point)
        shown = f"{self.place}/shown"
        os.mkdir(shown)
        mounts.mount("overlay", shown, "overlay", mounts.MS_RDONLY, "lowerdir=" + ":".join(lower))
        self.points.append(shown)
        return shown

    def __exit__(self, *_):
        for point in reversed(self.points):
            mounts.umount(point)
        self.base.__exit__()


def without_links(found):
    """Link counts and first names of files that lie in several layers are the layers' own."""
    return {path: (*facts[:4], *facts[5:7]) for path, facts in found.items() if path}


def entries(data):
    reader = tar.Reader()
    reader.feed(data)
    reader.finish()
    return reader.entries


def alone(data) -> bool:
    return layer_index.overlay_tree(entries(data)) is not None


STACKED = {name: tars for name, (tars, _) in CASES.items() if len(tars) > 1 and all(map(alone, tars[1:]))}


@pytest.mark.parametrize("name", STACKED)
def test_cases(tmp_path, name):
    paths = store(tmp_path)
    ids = load(paths, STACKED[name])
    with Mounted(paths, "erofs", ids) as root:
        merged = without_links(snapshot(root))
    with Stacked(paths, ids, tmp_path) as root:
        assert differences(merged, without_links(snapshot(root))) == []


D = {"mode": 0o750, "uid": 7}
ETC = ("etc", "dir", b"", D)
SHOWN = {
    "a whiteout": [ETC, ("etc/.wh.one", "file")],
    "a whiteout at the root": [(".wh.etc", "file")],
    "an opaque directory": [ETC, ("etc/.wh..wh..opq", "file"), ("etc/new", "file", "n")],
    "whited out and made again": [(".wh.etc", "file"), ETC, ("etc/new", "file", "n")],
    "made, then whited out": [ETC, ("etc/new", "file", "n"), (".wh.etc", "file")],
    "a file in place of a directory": [("etc", "file", "now a file")],
    "a file whited out and made again": [ETC, ("etc/.wh.one", "file"), ("etc/one", "file", "new")],
    "a directory in place of a file": [ETC, ("etc/one", "dir"), ("etc/one/x", "file", "x")],
    "a directory in place of a link": [("lib", "dir"), ("lib/x", "file", "x")],
    "hard links": [ETC, ("etc/a", "file", "a"), ("etc/b", "hard", b"", {"link": "etc/a"})],
    "whiteout by device": [ETC, ("etc/one", "char", b"", {"mode": 0})],
    "nothing": [],
    "the root itself": [("./", "dir", b"", {"mode": 0o711, "uid": 3})],
    "marks of its own": [("etc", "dir", b"", {"xattrs": {"trusted.overlay.opaque": b"y", "user.a": b"1"}})],
    "deep": [
        ("usr", "dir"),
        ("usr/lib", "dir"),
        ("usr/lib/.wh.a", "file"),
        ("usr/lib/c", "dir"),
        ("usr/lib/c/d", "dir"),
    ],
}


@pytest.mark.parametrize("name", SHOWN)
def test_stacked_is_merged(tmp_path, name):
    paths = store(tmp_path)
    ids = load(paths, [BASE, make(*SHOWN[name])])
    with Mounted(paths, "erofs", ids) as root:
        merged = snapshot(root)
    with Stacked(paths, ids, tmp_path) as root:
        stacked = snapshot(root)
    assert differences(without_links(merged), without_links(stacked)) == []
    if name != "the root itself":
        assert merged[""][:2] == stacked[""][:2]


def test_three_layers(tmp_path):
    paths = store(tmp_path)
    again = [(".wh.etc", "file"), ETC, ("etc/new", "file", "n")]
    ids = load(paths, [BASE, make(*again), make(ETC, ("etc/one", "file", "back")), make(ETC, ("etc/.wh.new", "file"))])
    with Mounted(paths, "erofs", ids) as root:
        merged = snapshot(root)
    with Stacked(paths, ids, tmp_path) as root:
        assert differences(without_links(merged), without_links(snapshot(root))) == []
    assert "etc/new" not in merged and "etc/one" in merged


REFUSED = {
    "below a directory of the layers below": [("etc/new", "file")],
    "a whiteout below one": [("etc/.wh.one", "file")],
    "below a link": [("lib", "link", b"", {"link": "usr/lib"}), ("lib/x", "file")],
    "a hard link to below": [("x", "hard", b"", {"link": "etc/one"})],
    "a hard link upwards": [("x", "file"), ("y", "hard", b"", {"link": "../x"})],
    "an opaque root": [(".wh..wh..opq", "file")],
    "upwards": [("a", "dir"), ("a/../b", "file")],
    "a file, then a directory": [("etc", "file"), ("etc", "dir")],
    "a directory, then a file": [("etc", "dir"), ("etc/x", "file"), ("etc", "file")],
    "a device 0:0 and something else": [("x", "file"), ("x", "char")],
    "below a file": [("x", "file"), ("x/y", "file")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_alone(tmp_path, name):
    paths = store(tmp_path)
    (diff_id,) = load(paths, [make(*REFUSED[name])])
    assert layer_index.overlay_tree(layers.read_toc(paths, diff_id)) is None
    assert not layer_index.single_index(paths, diff_id, f"{tmp_path}/index")
    assert not os.path.exists(f"{tmp_path}/index")
