"""Images in both forms against what docker (overlay2) and podman (overlay) show: they unpack each layer by itself."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

import dockerdaemon
from archives import docker_archive, tar_of
from layercases import CASES
from layers import Mounted, Tar, differences, load, snapshot, store
from underlay.linux.files import mounts
from underlay.store import rootfs

pytestmark = [
    pytest.mark.root,
    pytest.mark.oracle,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount"),
]

START = time.time_ns()

# What they refuse, or show broken, and we do not: see docs/decisions/0002.
REFUSED = {
    "hard link to a lower layer",
    "hard link through a link",
    "duplicates, links keep the first",
    "links over four layers",
    "a link into an opaque directory",
    "members through links of the layer to what is lower",
    "members through the same link again",
    "a dangling link in the way",
    "links that leave the root",
    "hard link to a link",
    "links with headers of their own",
}
BROKEN = {
    "whiteout of nothing",  # a whiteout of nothing below nothing, and another alone in its directory
    "whiteout through a lower link",
    "whiteout below a lower file",
    "whiteout through a link that the layer has too",
    "whiteout and new directory",  # they show what was in it before
    "whiteout after its own layer's file",
    "opaque, deeper directories are new",
}
OTHERS = {
    "nothing",  # no image of theirs has no layer
    "sparse",  # the older forms
    "overlay's own whiteout",
    "what aufs left",  # they show it
    "attributes",  # they keep trusted.*
    "modes, owners, times",  # a time before 1970 is 1970 to them
    "the root's own attributes",
    "long names",
    "opaque root",
}
SAME = sorted(CASES.keys() - REFUSED - BROKEN - OTHERS)


class Docker:
    def __init__(self, address: str, place: str) -> None:
        self._words = ["docker", "-H", address]
        self._place = place

    def snapshot(self, stack: list[bytes]) -> dict[str, tuple] | None:
        """What docker shows of an image of these layers, None when it refuses them."""
        archive = tar_of(docker_archive(stack, ["t:1"]))
        done = subprocess.run([*self._words, "load"], input=archive, capture_output=True)
        if done.returncode or b"Loaded" not in done.stdout:
            return None
        told = subprocess.run([*self._words, "image", "inspect", "t:1"], capture_output=True, check=True).stdout
        data = json.loads(told)[0]["GraphDriver"]["Data"]
        lower = [data["UpperDir"], *filter(None, data.get("LowerDir", "").split(":"))]
        shown, empty = f"{self._place}/shown", f"{self._place}/empty"
        for path in (shown, empty):
            os.makedirs(path, exist_ok=True)
        mounts.mount("overlay", shown, "overlay", mounts.MS_RDONLY, "lowerdir=" + ":".join([*lower, empty]))
        try:
            return snapshot(shown)
        finally:
            mounts.umount(shown)
            subprocess.run([*self._words, "rmi", "-f", "t:1"], capture_output=True, check=True)


class Podman:
    def __init__(self, place: str) -> None:
        self._words = ["podman", "--root", f"{place}/root", "--runroot", f"{place}/run", "--storage-driver", "overlay"]
        self._environment = {**os.environ, "HOME": place, "XDG_DATA_HOME": f"{place}/data"}

    def run(self, *words: str, data: bytes | None = None) -> subprocess.CompletedProcess:
        return subprocess.run([*self._words, *words], input=data, capture_output=True, env=self._environment)

    def snapshot(self, stack: list[bytes]) -> dict[str, tuple] | None:
        """What podman shows of an image of these layers, None when it refuses them."""
        name = f"t:{hashlib.sha256(b''.join(stack)).hexdigest()[:12]}"
        if self.run("load", data=tar_of(docker_archive(stack, [name]))).returncode:
            return None
        done = self.run("image", "mount", f"localhost/{name}")
        assert done.returncode == 0, done.stderr
        try:
            return snapshot(done.stdout.decode().strip())
        finally:
            self.run("image", "unmount", "-a")
            self.run("rmi", "-af")


@pytest.fixture(scope="module", params=["docker", "podman"])
def theirs(request):
    if not shutil.which(request.param):
        pytest.skip(f"{request.param} is not installed")
    with tempfile.TemporaryDirectory(prefix="ul-un-") as place:  # paths of sockets are short
        if request.param == "docker":
            with dockerdaemon.running(Path(place), "--storage-driver=overlay2") as address:
                yield Docker(address, place)
            return
        podman = Podman(place)
        done = podman.run("images")
        if done.returncode:
            pytest.skip(f"podman does not start here: {done.stderr[-200:]!r}")
        yield podman
        podman.run("system", "reset", "-f")


@pytest.fixture
def paths(tmp_path):
    made = store(tmp_path)
    yield made
    assert rootfs.release_all_unused(made) == []


def compare(paths, stack: list[bytes], theirs: dict[str, tuple]) -> list[str]:
    """Compare both forms with theirs, but for the attributes of directories that layers imply and do not have, which
    have the time of unpacking with them, and for link counts, which are wrong in an overlay when only some names of a
    file are hidden."""
    forms = ["tree"] if rootfs.form_for(paths)[0] == "tree" else ["tree", "erofs"]
    found = []
    for form in forms:
        with Mounted(paths, form, load(paths, stack)) as root:
            ours = snapshot(root)
        left, right = ({path: (*f[:4], *f[5:7]) for path, f in each.items()} for each in (ours, theirs))
        for path, facts in right.items():
            if not path or (facts[0].startswith("0o4") and facts[3] > START):
                right[path] = left.get(path, facts)
        found += [f"{form}: {line}" for line in differences(left, right)]
    return found


@pytest.mark.parametrize("case", SAME)
def test_cases(case, theirs, paths):
    stack = CASES[case][0]
    shown = theirs.snapshot(stack)
    assert shown is not None
    assert compare(paths, stack, shown) == []


@pytest.mark.parametrize("case", sorted(REFUSED - {"links with headers of their own"}))
def test_what_they_refuse_and_we_do_not(case, theirs):
    assert theirs.snapshot(CASES[case][0]) is None


def test_headers_of_hard_links(theirs, paths):
    stack = CASES["links with headers of their own"][0][:1]
    assert compare(paths, stack, theirs.snapshot(stack)) == []
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    xattrs = {"user.a": b"1", "security.capability": capability}
    tar = Tar()
    tar.add("a", data="A", xattrs=xattrs).add("b", "hard", link="a", uid=7)
    tar.add("c", data="C", xattrs=xattrs).add("d", "hard", link="c", uid=7, xattrs={"security.capability": capability})
    shown = theirs.snapshot([tar.data()])
    assert (shown["a"][5], len(shown["c"][5])) == ([("user.a", b"1")], 2)
    assert compare(paths, [tar.data()], shown) == []


def test_random_images(theirs, paths):
    compared = 0
    for seed in range(25):
        rng = random.Random(seed)
        stack = [_random_layer(rng) for _ in range(rng.randrange(2, 4))]
        shown = theirs.snapshot(stack)
        if shown is not None:
            compared += 1
            assert compare(paths, stack, shown) == [], seed
    assert compared > 10


def _random_layer(rng: random.Random) -> bytes:
    """Members with few names, so that layers meet: members below links and files of others, hard links, kinds."""
    tar, own = Tar(), set()
    for _ in range(rng.randrange(1, 8)):
        path = "/".join(rng.choice("abc") for _ in range(rng.randrange(1, 4)))
        if path in own or any(path.startswith(f"{other}/") for other in own):
            continue
        own.add(path)
        kind = rng.choice(["file", "file", "dir", "link", "hard"])
        if kind == "hard":
            tar.add(f"{path}-", data=path).add(path, "hard", link=f"{path}-", mode=rng.choice((0o600, 0o4711)), uid=3)
        else:
            tar.add(path, kind, path if kind == "file" else b"", link=rng.choice(["a", "../c", "/", "b/c"]))
    return tar.data()
