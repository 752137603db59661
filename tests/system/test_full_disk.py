"""A full disk: what is said, what could be freed, what still works with nothing left, and that nothing is left behind."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root
from fakeregistry import FakeRegistry
from remoteimages import image, random_tar, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root

MIB = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Visitor]:
    """An installation with the image `box`, whose root is a disk of 90 MiB."""
    needs_root()
    visitor = Visitor(tmp_path)
    visitor.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m,mode=700", "disk", str(visitor.root)], check=True)
    try:
        (tmp_path / "box.tar").write_bytes(image_tar())
        visitor("import", "--change", 'CMD ["sh"]', str(tmp_path / "box.tar"), "box")
        yield visitor
        for filler in visitor.root.glob("filler*"):
            filler.unlink()
        containers = visitor.out("ps", "-aq").split()
        if containers:
            visitor("rm", "-f", *containers)
    finally:
        subprocess.run(["umount", "-l", str(visitor.root)], check=True)


def left(small: Installation) -> int:
    facts = os.statvfs(small.root)
    return facts.f_bavail * facts.f_frsize


def fill(small: Installation, leave: int = 0) -> None:
    """Take all space on the small disk but `leave` bytes."""
    assert os.path.ismount(small.root)
    number = len(list(small.root.glob("filler*")))
    with (small.root / f"filler{number}").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, left(small) - leave)


def big_tar(place: Path, size: int) -> Path:
    """A tar with a file that does not compress."""
    path = place / "big.tar"
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("big")
        member.size = size
        tar.addfile(member, BytesIO(os.urandom(size)))
    return path


def files(small: Installation) -> set[str]:
    """All files below the root that hold content: not what is known of a context's files, which is to be kept; a volume's
    directory without a row goes with the next command."""
    paths = (path.relative_to(small.root) for path in small.root.rglob("*"))
    return {
        str(path)
        for path in paths
        if not path.parts[0].startswith(("filler", "meta.db", "sweep-wanted", "cache", "volumes"))
    }


def full(small: Visitor, *words: str, needs: str = "", code: int = 1) -> str:
    """Run a command that must fail for the disk; returns what it says, checked for its parts."""
    before = files(small)
    done = small(*words, code=code)
    said = done.stderr.decode()
    assert re.search(rf"cannot .*: no space left on device: {re.escape(str(small.root))} has [\d.]+k?M?B left", said), (
        said
    )
    assert "hint: " in said
    if needs:
        assert f", and it takes {needs} or more" in said, said
    assert files(small) == before
    return said


def test_each_command_says_what_it_takes_and_what_could_be_freed(small: Visitor, tmp_path: Path) -> None:
    tar = big_tar(tmp_path, 20 * MIB)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/big.tar").write_bytes(tar.read_bytes())
    (tmp_path / "context/Dockerfile").write_text("FROM box\nCOPY big.tar /\n")
    other = Installation(tmp_path / "other")
    other("import", str(tar), "big")
    other("save", "-o", str(tmp_path / "saved.tar"), "big")
    # Something of each kind that may be freed: a result of a build, an image without a name.
    (tmp_path / "context/Dockerfile.small").write_text("FROM box\nCOPY Dockerfile.small /\n")
    small("build", "-q", "-t", "built", "-f", str(tmp_path / "context/Dockerfile.small"), str(tmp_path / "context"))
    small("rmi", "built")
    nameless = big_tar(tmp_path, 3 * MIB)
    small("import", str(nameless))
    fill(small, 8 * MIB)
    for words, what in (
        (("import", str(tmp_path / "context/big.tar"), "x"), "import "),
        (("load", "-i", str(tmp_path / "saved.tar")), "load "),
        (("build", "-q", str(tmp_path / "context")), "build"),
    ):
        said = full(small, *words, needs="21MB")
        # Once as a layer, and once more where the layer is kept as a tree.
        assert f"cannot {what}" in said and re.search("`underlay image prune` would free (3.1|6.3)", said), said
        assert re.search(r"`underlay builder prune` would free [\d.]+kB", said), said
    fill(small)
    small("image", "prune", "-f")
    assert left(small) > 3 * MIB


def test_containers_and_volumes(small: Visitor) -> None:
    small("create", "--name", "old", "--network", "none", "box", "true")
    fill(small)
    assert "create container new" in full(small, "create", "--name", "new", "--network", "none", "box", "true")
    assert "`underlay container prune` would free" in full(small, "run", "--network", "none", "box", "true", code=125)
    assert "create volume vol" in full(small, "volume", "create", "vol")
    assert small.out("ps", "-aq", "--no-trunc") == small.out("inspect", "-f", "{{.Id}}", "old")
    assert small.out("volume", "ls", "-q") == "" and not list((small.root / "volumes").iterdir())


@pytest.mark.parametrize("shared", [True, False])
def test_what_works_with_nothing_left(small: Visitor, tmp_path: Path, shared: bool) -> None:
    """Looking, checking and removing; also where a reboot or a crash has left no index of the database's log."""
    small("import", str(big_tar(tmp_path, 3 * MIB)), "big")
    small("tag", "big", "other")
    small("create", "--name", "old", "--network", "none", "box", "true")
    if not shared:
        (small.root / "meta.db-shm").unlink()
    fill(small)
    assert left(small) == 0
    assert "big" in small.out("images") and "old" in small.out("ps", "-a")
    assert "Images" in small.out("system", "df")
    assert "0 lost, 0 to repair" in small.out("system", "check")
    assert "box" in small.out("inspect", "old")
    small("rmi", "other")
    small("rm", "old")
    small("rmi", "big")
    assert left(small) > 3 * MIB
    small("image", "prune", "-af")
    assert "Checked 0 images" in small.out("system", "check")


@pytest.fixture
def partial(small: Visitor) -> Path:
    """The beginning of a layer that an interrupted pull has left."""
    path = small.root / f"tmp/partial-sha256-{'ab' * 32}"
    path.write_bytes(b"x" * 2 * MIB)
    return path


def test_partial_downloads_count_with_images(small: Visitor, tmp_path: Path, partial: Path) -> None:
    small("import", str(big_tar(tmp_path, 3 * MIB)))
    fill(small)
    assert re.search("`underlay image prune` would free (5.2|8.4)", full(small, "volume", "create", "vol"))
    assert partial.exists()


def test_partial_downloads_are_given_back_when_nothing_else_is_left(small: Visitor, partial: Path) -> None:
    small.start("box", "sleep", "1000")
    fill(small)
    said = small("volume", "create", "vol", code=1).stderr.decode()
    assert "interrupted downloads have been removed, which frees 2.1MB: try again" in said
    assert not partial.exists()
    small("volume", "create", "vol")


def test_a_pull_says_what_its_layers_take(small: Visitor) -> None:
    with FakeRegistry() as registry:
        name = registry.add(image([small_tar(), random_tar(6_000_000, 2), random_tar(14_000_000, 3)]), "team/app", "1")
        small("import", "--message", "nameless", str(small.home.parent / "box.tar"))
        fill(small, 8 * MIB)
        said = small("pull", name, code=1).stderr.decode()
        assert f"cannot pull {name}: no space left on device" in said and "it takes 20MB or more" in said, said
        assert "`underlay image prune" in said
        said = small("copy", name, "store:copied", code=1).stderr.decode()
        assert f"cannot copy {name}: no space left on device" in said and "or more" in said, said
    # What has come is kept for a day, and goes by what the hint says.
    small("image", "prune", "-af")
    assert not list((small.root / "tmp").iterdir()) and not list((small.root / "layers").iterdir())
