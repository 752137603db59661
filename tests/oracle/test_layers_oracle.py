"""Both forms against umoci, which unpacks all layers into one directory; indexes against erofs-utils."""

import glob
import gzip
import json
import os
import shutil
import subprocess
import time

import pytest

import layers as tars
from engines import SHARED
from layercases import CASES
from layers import Mounted, differences, digest, load, oci_layout, snapshot, store
from underlay.linux.files import mounts, sharedmount
from underlay.store import layers, rootfs
from underlay.store.layers import intake

pytestmark = [
    pytest.mark.root,
    pytest.mark.oracle,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount"),
    pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed"),
]

# Where real images are, when there are any: directories `alpine` (root file systems as tar.gz) and `busybox`
# (OCI layouts).
IMAGES = str(SHARED / "images") if (SHARED / "images").is_dir() else ""

START = time.time_ns()

# Where we differ on purpose: umoci refuses a hard link to itself, GNU's own sparse members and attributes on
# links, and makes device 0:0. It follows links of lower layers, takes no notice of what the header of a hard link
# says, and knows nothing of aufs: there we do as docker and podman do (test_unpacking_oracle.py).
KNOWN = {
    "hard link to itself",
    "overlay's own whiteout",
    "nothing",
    "sparse",
    "attributes",
    "whiteout through a lower link",
    "opaque through a lower link",
    "whiteout through a link that the layer has too",
    "whiteout below a lower file",
    "members through a lower link",
    "members below a lower file",
    "members through a link to a lower link",
    "links with headers of their own",
    "what aufs left",
}


@pytest.fixture
def paths(tmp_path):
    made = store(tmp_path)
    form, reason = rootfs.form_for(made)
    if form != rootfs.EROFS:
        pytest.skip(f"no EROFS here: {reason}")
    yield made
    assert rootfs.release_all_unused(made) == []
    assert mounts.mounted_below(str(tmp_path)) == []


def umoci(directory: str, image: str) -> str:
    root = f"{directory}/umoci"
    done = subprocess.run(["umoci", "raw", "unpack", "--image", image, root], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root


def compare(ours: dict[str, tuple], theirs: dict[str, tuple]) -> list[str]:
    """As `differences`, but for times of directories that umoci leaves at the present.

    It does so when it makes parents that no layer mentions.
    """
    theirs = dict(theirs)
    for path, facts in ours.items():
        if path in theirs and facts[0].startswith("0o4") and theirs[path][3] > START:
            theirs[path] = (*theirs[path][:3], facts[3], *theirs[path][4:])
    return differences(ours, theirs)


def check_index(paths, chain: str, diff_ids: list[str]) -> None:
    index = f"{paths.indexes}/{chain[7:]}.erofs"
    options = [f"--device={path}" for _, _, path in rootfs.devices(paths, diff_ids)]
    done = subprocess.run(["fsck.erofs", *options, index], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if shutil.which("dump.erofs"):
        done = subprocess.run(["dump.erofs", "-s", index], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "chunked_file" in done.stdout and "device_table" in done.stdout


@pytest.mark.parametrize("case", sorted(CASES.keys() - KNOWN))
def test_cases_against_umoci(case, paths, tmp_path):
    layers_ = CASES[case][0]
    theirs = snapshot(umoci(str(tmp_path), oci_layout(f"{tmp_path}/image", layers_)))
    diff_ids = load(paths, layers_)
    for form in ("erofs", "tree"):
        with Mounted(paths, form, diff_ids) as root:
            assert compare(snapshot(root), theirs) == []
    check_index(paths, rootfs.chain_of(diff_ids), diff_ids)


def test_attributes_against_umoci(paths, tmp_path):
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    data = tars.make(
        (
            "f",
            "file",
            "x",
            {"xattrs": {"user.a": b"1", "user.long": b"v" * 2000, "trusted.overlay.opaque": b"y"}},
        ),
        ("ping", "file", "x", {"mode": 0o755, "xattrs": {"security.capability": capability}}),
        ("d", "dir", b"", {"xattrs": {"user.overlay.redirect": b"/x", "user.d": b"2"}}),
        ("d/h", "hard", b"", {"link": "ping", "mode": 0o755, "xattrs": {"security.capability": capability}}),
    )
    theirs = snapshot(umoci(str(tmp_path), oci_layout(f"{tmp_path}/image", [data])))
    assert theirs["ping"][5] == [("security.capability", capability)]
    diff_ids = load(paths, [data])
    for form in ("erofs", "tree"):
        with Mounted(paths, form, diff_ids) as root:
            assert compare(snapshot(root), theirs) == []


def test_sparse_members_against_umoci(paths, tmp_path):
    pieces = [(0, b"head"), (8192, b"x" * 512), (50_001, b"tail")]
    data = (
        b"".join(tars.SPARSE[form](b"s" + form.encode(), 70_000, pieces) for form in ("0.0", "0.1", "1.0")) + tars.END
    )
    theirs = snapshot(umoci(str(tmp_path), oci_layout(f"{tmp_path}/image", [data])))
    diff_ids = load(paths, [data])
    for form in ("erofs", "tree"):
        with Mounted(paths, form, diff_ids) as root:
            assert compare(snapshot(root), theirs) == []
    check_index(paths, rootfs.chain_of(diff_ids), diff_ids)


def real_layers() -> list:
    found = []
    for path in sorted(glob.glob(f"{IMAGES}/alpine/*.tar.gz")) if IMAGES else []:
        found.append(pytest.param([path], id=os.path.basename(path)))
    for path in sorted(glob.glob(f"{IMAGES}/busybox/*")) if IMAGES else []:
        with open(f"{path}/index.json") as file:
            first = json.load(file)["manifests"][0]["digest"]
        with open(f"{path}/blobs/{first.replace(':', '/')}") as file:
            document = json.load(file)
        if "manifests" in document:
            with open(f"{path}/blobs/{document['manifests'][0]['digest'].replace(':', '/')}") as file:
                document = json.load(file)
        blobs = [f"{path}/blobs/{layer['digest'].replace(':', '/')}" for layer in document["layers"]]
        found.append(pytest.param(blobs, id=os.path.basename(path)))
    return found or [pytest.param([], marks=pytest.mark.skip(reason="no real images beside the checkout"))]


@pytest.mark.parametrize("files", real_layers())
def test_real_images_against_umoci(files, paths, tmp_path):
    data = []
    for path in files:
        with gzip.open(path) as file:
            data.append(file.read())
    theirs = snapshot(umoci(str(tmp_path), oci_layout(f"{tmp_path}/image", data)))
    diff_ids = []
    for path in files:
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            blob = f"sha256:{_sha256(path)}"
            taken = intake.ingest(paths, file, expected_blob=(blob, size))
        assert (taken.blob_digest, taken.blob_size, taken.compression) == (blob, size, "gzip")
        diff_ids.append(taken.diff_id)
    assert diff_ids == [digest(d) for d in data]
    for form in ("erofs", "tree"):
        with Mounted(paths, form, diff_ids) as root:
            assert compare(snapshot(root), theirs) == []
    check_index(paths, rootfs.chain_of(diff_ids), diff_ids)
    for diff_id in diff_ids:
        layers.check(paths, diff_id, full=True)


def _sha256(path: str) -> str:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.skipif(not shutil.which("mkfs.erofs"), reason="mkfs.erofs is not installed")
@pytest.mark.parametrize("case", ["one layer", "hard links in a layer", "devices and fifos", "sizes around blocks"])
def test_against_the_index_that_mkfs_makes(case, paths, tmp_path):
    (data, *_) = CASES[case][0]
    diff_ids = load(paths, [data])
    tar = f"{layers.directory(paths, diff_ids[0])}/tar"
    made = subprocess.run(["mkfs.erofs", "--tar=i", "-b512", f"{tmp_path}/theirs", tar], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"mkfs.erofs cannot: {made.stderr.strip()[-200:]}")
    os.mkdir(f"{tmp_path}/shown")
    sharedmount.mount_index(f"{tmp_path}/theirs", [tar], f"{tmp_path}/shown")
    try:
        theirs = snapshot(f"{tmp_path}/shown")
    finally:
        mounts.umount(f"{tmp_path}/shown")
    with Mounted(paths, "erofs", diff_ids) as root:
        ours = snapshot(root)
    del ours[""], theirs[""]
    assert compare(ours, theirs) == []


def test_random_images_against_umoci(paths, tmp_path):
    import random

    for seed in range(40):
        rng = random.Random(seed)
        ways: set[str] = set()
        stack = [_random_layer(rng, ways) for _ in range(rng.randrange(1, 4))]
        work = f"{tmp_path}/{seed}"
        os.mkdir(work)
        image = oci_layout(f"{work}/image", stack)
        done = subprocess.run(
            ["umoci", "raw", "unpack", "--image", image, f"{work}/umoci"], capture_output=True, text=True
        )
        diff_ids = load(paths, stack)
        if done.returncode:
            continue  # what umoci refuses is compared by hand in the unit tests
        theirs = snapshot(f"{work}/umoci")
        for form in ("erofs", "tree"):
            with Mounted(paths, form, diff_ids) as root:
                assert compare(snapshot(root), theirs) == [], seed
        shutil.rmtree(work)


def _random_layer(rng, ways: set[str]) -> bytes:
    """Members with few names, so that they meet: links as parents, replacements, whiteouts, hard links.

    `ways` are the names of links and files of the layers below: umoci goes through those, and we do not.
    """
    tar = tars.Tar()
    made: dict[str, int] = {}
    whites = []
    used = set()
    new = set()
    for _ in range(rng.randrange(1, 15)):
        path = "/".join(rng.choice("abc") for _ in range(rng.randrange(1, 4)))
        if path in used or any(path.startswith(f"{way}/") for way in ways):
            continue
        used.add(path)
        kind = rng.choice(["file", "file", "dir", "dir", "link", "hard", "white", "fifo"])
        if kind == "white":
            whites.append(path)
            continue
        if kind != "dir":
            new.add(path)
        if kind == "hard":
            if made:
                target = rng.choice(list(made))
                tar.add(path, "hard", link=target, mtime=made[target])
        elif kind == "link":
            tar.add(path, "link", link=rng.choice(["a", "b", "/a/b", "../c", ".", "..", "/", "c/c"]))
        else:
            mtime = rng.randrange(1 << 31)
            tar.add(path, kind, path.encode() if kind == "file" else b"", mtime=mtime)
            if kind != "dir":
                made[path] = mtime
    ways |= new
    # Whiteouts come first, as the specification recommends: where they stand matters to umoci.
    first = tars.Tar()
    for path in whites:
        parent, _, name = path.rpartition("/")
        first.add(f"{parent}/.wh.{name}" if parent else f".wh.{name}")
    return first.data(end=False) + tar.data()
