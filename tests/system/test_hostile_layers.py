"""Layers made to hurt: escapes, bombs, lies and endless streams; a canary outside, bounds on time and memory.

The attacks are those of the security notes: links (IM-01), the root as a link (IM-03), what breaks tar
filters (IM-05), devices and privileged attributes (IM-07), and streams that never end (IM-13).
"""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zlib

import pytest

import layers as tars
from layers import Mounted, Tar, digest, gz, header, load, make, padded, pax, store, view
from underlay.errors import Corrupt, LimitExceeded, UnderlayError
from underlay.linux.files import mounts
from underlay.store import layers, rootfs
from underlay.store.layers import codec, intake
from underlay.store.limits import Limits

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")]


@pytest.fixture
def paths(tmp_path):
    made = store(tmp_path)
    yield made
    rootfs.release_all_unused(made)
    assert mounts.mounted_below(str(tmp_path)) == []
    assert not os.path.exists(made.temporary) or os.listdir(made.temporary) == []


@pytest.fixture(params=["erofs", "tree"])
def form(request, paths):
    if request.param == "erofs" and rootfs.form_for(paths)[0] != "erofs":
        pytest.skip(f"no EROFS here: {rootfs.form_for(paths)[1]}")
    return request.param


@pytest.fixture
def canary(tmp_path):
    """A directory outside of all roots; it must be the same afterwards."""
    directory = tmp_path / "canary"
    directory.mkdir(mode=0o755)
    (directory / "file").write_text("canary")
    before = tars.snapshot(str(directory))
    yield str(directory)
    assert tars.snapshot(str(directory)) == before


def escapes(canary: str) -> dict[str, list[bytes]]:
    up = "../" * 20 + canary[1:]
    found = {}
    for name, target in (("absolute", canary), ("relative", up), ("doubled", "/x/../.." + canary)):
        link = ("a", "link", b"", {"link": target})
        found[f"file through {name} link"] = [make(link, ("a/f", "file", "evil"))]
        found[f"file through {name} link, two layers"] = [make(link), make(("a/f", "file", "evil"))]
        found[f"overwrite through {name} link"] = [make(link, ("a/file", "file", "evil"))]
        found[f"directory over {name} link"] = [
            make(link),
            make(("a", "dir", b"", {"mode": 0o700}), ("a/f", "file")),
        ]
        found[f"whiteout through {name} link"] = [make(link), make(("a/.wh.file", "file"))]
        found[f"opaque through {name} link"] = [make(link), make(("a/.wh..wh..opq", "file"))]
        found[f"hard link to {name} path"] = [make(("h", "hard", b"", {"link": target + "/file"}))]
        found[f"hard link through {name} link"] = [make(link, ("h", "hard", b"", {"link": "a/file"}))]
        found[f"hard link to {name} link, then through it"] = [
            make(link, ("h", "hard", b"", {"link": "a"}), ("h/file", "file", "evil"))
        ]
        found[f"the {name} path as a name"] = [make((target + "/file", "file", "evil"))]
        found[f"attributes through {name} link"] = [
            make(link),
            make(("a/.", "dir", b"", {"mode": 0o777, "uid": 5})),
        ]
    link = ("a", "link", b"", {"link": "b/" + "../" * 30})
    found["dangling, then up"] = [make(link, ("a" + canary + "/file", "file", "evil"))]
    found["parent of a whiteout"] = [make(("../../.wh." + canary[1:], "file"))]
    chain = Tar().add("l0", "link", link=up)
    for n in range(1, 100):
        chain.add(f"l{n}", "link", link=f"l{n - 1}/../" + "./" * 50 + f"l{n - 1}")
    found["a long chain of links"] = [chain.add("l99/file", data="evil").data()]
    return found


@pytest.mark.parametrize("attack", escapes("/c"))
def test_nothing_leaves_the_root(attack, form, paths, canary):
    stack = escapes(canary)[attack]
    try:
        with Mounted(paths, form, load(paths, stack)) as root:
            shown = view(root)
    except Corrupt as error:
        assert "\n" not in error.message
        return
    assert "f:canary" not in str(shown)


@pytest.mark.parametrize("name", [".", "./", "/", "/.", "a/..", "//"])
@pytest.mark.parametrize("kind", ["link", "file", "hard", "char", "fifo"])
def test_the_root_stays_a_directory(name, kind, form, paths, canary):
    diff_ids = load(paths, [make(("x", "file"), (name, kind, b"", {"link": canary})), make(("f", "file", "evil"))])
    with pytest.raises(Corrupt):
        rootfs.prepare(paths, form, diff_ids)


def test_link_chains_beyond_path_max(form, paths, canary):
    # As in CVE-2025-4517: names that expand beyond PATH_MAX, then a way up that a checker no longer follows.
    step = "d" * 240
    tar = Tar()
    inside = ""
    for letter in "abcdefghijklmnop":
        tar.add(f"{inside}{step}", "dir")
        tar.add(f"{inside}{letter}", "link", link=step)
        inside += f"{letter}/"
    tar.add(f"{inside}{'l' * 250}", "link", link="../" * 16)
    tar.add("escape", "link", link=f"{inside}{'l' * 250}/../../../../../../../..{canary}")
    tar.add("escape/file", data="evil")
    with Mounted(paths, form, load(paths, [tar.data()])) as root:
        assert os.listdir(root + canary) == ["file"]


@pytest.mark.parametrize(
    "data",
    [
        header(b"a", size=-1),
        header(b"a", size=-512) + padded(b"x"),
        header(b"a", size=1 << 70),
        header(b"a", fields={124: b"\xff" * 12}),
        pax([(b"size", b"-1")]) + header(b"a"),
        pax([(b"size", b"9" * 19)]) + header(b"a"),
        header(b"x", b"x", -512),
        header(b"x", b"L", 1 << 60),
        tars.sparse_10(b"s", 1 << 62, []),
        tars.sparse_gnu(b"s", 100, [(-512, b"x")]),
        tars.sparse_gnu(b"s", 10, [(1 << 60, b"x")]),
        tars.sparse_01(b"s", 10, [(0, b"x" * 20)]),
        tars.sparse_10(b"s", 1 << 30, [(n % 2, b"x") for n in range(1000)]),
    ],
)
def test_lying_sizes_and_maps(data, paths):
    with pytest.raises((Corrupt, LimitExceeded)):
        intake.ingest(paths, tars.Source(data + tars.END))
    assert layers.list_all(paths) == []


def test_devices_and_privileged_attributes(form, paths):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    data = make(
        ("disk", "block", b"", {"major": 8, "minor": 0, "mode": 0o666}),
        (
            "d",
            "dir",
            b"",
            {"xattrs": {"trusted.overlay.opaque": b"y", "trusted.overlay.redirect": b"/../.."}},
        ),
        ("e", "dir", b"", {"xattrs": {"user.overlay.redirect": b"/d", "user.overlay.opaque": b"y"}}),
        ("f", "file", b"", {"xattrs": {"trusted.overlay.metacopy": b"", "security.capability": capability}}),
        ("d/x", "file", "X"),
    )
    top = make(("d", "dir", b"", {"xattrs": {"trusted.overlay.opaque": b"y"}}), ("d/y", "file", "Y"))
    with Mounted(paths, form, load(paths, [data, top])) as root:
        # The attribute in the upper layer hides nothing: only .wh..wh..opq would.
        assert view(root) == {"disk": "b:8:0", "d": "d", "d/x": "f:X", "d/y": "f:Y", "e": "d", "f": "f:"}
        for name in ("d", "e", "f"):
            found = os.listxattr(f"{root}/{name}")
            assert [x for x in found if "overlay" in x] == []
        assert os.getxattr(f"{root}/f", "security.capability") == capability


# Bombs and endless streams run in a process of their own, with a bound on its memory and time.

CHILD = """
import sys, threading
sys.path[:0] = {tests!r}
import layers as tars
from test_hostile_layers import SOURCES
from underlay.errors import UnderlayError
from underlay.paths import Paths
from underlay.store import layers; from underlay.store.layers import intake
from underlay.store.limits import Limits
try:
    intake.ingest(Paths({root!r}, {state!r}), SOURCES[{name!r}](), limits=Limits(**{limits!r}))
    print("taken")
except UnderlayError as error:
    print(type(error).__name__, error.message)
print(tars.peak() // 1024)
print(threading.active_count())
"""


class Repeat:
    """A source that gives `head`, then `body` for ever."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body * (1 + (1 << 16) // len(body))

    def read(self, n: int) -> bytes:
        data, self.head = self.head, b""
        return data or self.body[:n]


def _zeros(kind: str) -> bytes:
    """A megabyte of compressed zeros, or so: what it says when unpacked is larger by far."""
    if kind == "gzip":
        compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
        return b"".join(compressor.compress(bytes(1 << 20)) for _ in range(1000)) + compressor.flush()
    if kind == "bzip2":
        return bz2.compress(bytes(45 << 20)) * 20
    if kind == "xz":
        return lzma.compress(bytes(100 << 20)) * 10
    made = codec.compressor("zstd")
    return b"".join(made.compress(bytes(1 << 20)) for _ in range(1000)) + made.flush()


def _many(member: bytes, count: int = 3_000_000) -> io.BytesIO:
    """Members without end, compressed so that the source itself is small."""
    return io.BytesIO(gzip.compress(member * 1000, 9) * (count // 1000))


SOURCES = {
    **{f"{kind} zeros": (lambda kind=kind: io.BytesIO(_zeros(kind))) for kind in ("gzip", "bzip2", "xz", "zstd")},
    "endless zeros": lambda: Repeat(b"", bytes(512)),
    "endless gzip members": lambda: Repeat(b"", gz(b"")),
    "endless gzip header": lambda: Repeat(b"\x1f\x8b\x08\x08" + bytes(6), b"n"),
    "endless zstd skippable frames": lambda: Repeat(b"", b"\x50\x2a\x4d\x18\x04\0\0\0abcd"),
    "endless random": lambda: Repeat(b"", os.urandom(100_000)),
    "endless global headers": lambda: Repeat(b"", pax([(b"comment", b"x")], b"g")),
    "endless extension headers": lambda: Repeat(b"", pax([(b"comment", b"x" * 100_000)])),
    "endless members": lambda: _many(header(b"member")),
    "endless members with attributes": lambda: _many(
        pax([(b"SCHILY.xattr.user.a", b"x" * 60_000)]) + header(b"a"), 100_000
    ),
    "one endless file": lambda: Repeat(header(b"big", size=1 << 36), b"x" * 512),
    "a window of 128 MiB": lambda: io.BytesIO(b"\x28\xb5\x2f\xfd" + bytes([0, (27 - 10) << 3]) + b"\x01\x00\x00"),
}
LIMITS = {"total": 1 << 30, "members": 200_000, "metadata": 64 << 20}


@pytest.mark.parametrize("name", SOURCES)
def test_bombs_are_stopped_in_bounded_memory_and_time(name, paths, tmp_path):
    here, helpers = os.path.dirname(__file__), os.path.dirname(tars.__file__)
    code = CHILD.format(tests=[here, helpers], root=paths.root, state=paths.state, name=name, limits=LIMITS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    verdict, memory, threads = done.stdout.splitlines()
    assert verdict != "taken" or name == "a window of 128 MiB", done.stdout
    assert int(memory) < 320, done.stdout
    assert threads == "1"
    assert os.listdir(paths.temporary) == []
    used = subprocess.run(["du", "-sm", str(tmp_path)], capture_output=True, text=True).stdout
    assert int(used.split()[0]) < 50


def test_an_ordinary_ingest_takes_little_memory(paths):
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(tars.__file__)!r})\n"
        "import hashlib, os, queue, sys\n"
        "import layers as tars\n"
        "from underlay.paths import Paths\n"
        "from underlay.store.layers import intake\n"
        "before = tars.peak()\n"
        "with open(sys.argv[3], 'rb') as file:\n"
        "    intake.ingest(Paths(*sys.argv[1:3]), file)\n"
        "print(tars.peak() - before)"
    )
    data = Tar()
    for n in range(60):
        data.add(f"f{n}", data=os.urandom(1 << 20) + bytes(range(256)) * 8192)
    blob = f"{paths.root}-blob"
    with open(blob, "wb") as file:
        file.write(gz(data.data()))
    done = subprocess.run([sys.executable, "-c", code, paths.root, paths.state, blob], capture_output=True, text=True)
    assert int(done.stdout) < 60_000, done.stderr


def test_an_image_of_bombs_cannot_be_merged(paths, form):
    diff_ids = load(paths, [make(*((f"{n}/" * 1000 + "f", "file") for n in range(10, 60)))])
    from underlay.store.layers import merge

    with pytest.raises(LimitExceeded):
        merge.merge([layers.read_toc(paths, diff_ids[0])], Limits(nodes=40_000))
    with pytest.raises(UnderlayError):
        merge.merge([layers.read_toc(paths, diff_ids[0])], Limits(depth=500))
    assert digest(b"") == rootfs.EMPTY_CHAIN
