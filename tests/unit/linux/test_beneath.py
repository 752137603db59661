"""Opening below a root: links, `..`, magic links and races never lead out."""

from __future__ import annotations

import ctypes
import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root
from underlay.errors import KernelError
from underlay.linux.files import beneath

ELOOP, ENOENT, ENOTDIR = 40, 2, 20


@pytest.fixture
def root(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """A root (descriptor and path) and a directory outside with a secret."""
    inside, outside = tmp_path / "root", tmp_path / "outside"
    (inside / "etc").mkdir(parents=True)
    (inside / "etc/name").write_text("inside\n")
    outside.mkdir()
    (outside / "name").write_text("outside\n")
    fd = os.open(inside, os.O_PATH | os.O_DIRECTORY)
    yield fd, inside, outside
    os.close(fd)
    assert sorted(p.name for p in outside.iterdir()) == ["name"]
    assert (outside / "name").read_text() == "outside\n"


def content(fd: int) -> bytes:
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_absolute_links_and_dots_stay_inside(root: tuple[int, Path, Path]) -> None:
    fd, inside, outside = root
    (inside / "absolute").symlink_to("/etc")
    (inside / "up").symlink_to("../../../../etc")
    for path in ("/etc/name", "etc/name", "../../etc/name", "absolute/name", "up/name", "/etc/../../etc/name"):
        assert content(beneath.open_in_root(fd, path, os.O_RDONLY)) == b"inside\n"
    (inside / "out").symlink_to(outside)
    with pytest.raises(KernelError) as caught:
        beneath.open_in_root(fd, "out/name", os.O_RDONLY)
    assert caught.value.errno == ENOENT


def test_magic_links_are_refused(root: tuple[int, Path, Path]) -> None:
    fd, inside, _ = root
    (inside / "exe").symlink_to("/proc/self/exe")
    slash = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        for path in ("/proc/self/exe", "/proc/self/root/etc", "/proc/self/cwd", f"/proc/self/fd/{fd}", f"{inside}/exe"):
            with pytest.raises(KernelError) as caught:
                beneath.open_in_root(slash, path, os.O_PATH)
            assert caught.value.errno == ELOOP, path
    finally:
        os.close(slash)
    for path in ("/proc/self/exe", f"{inside}/exe"):
        with pytest.raises(KernelError):
            beneath.open_own(path, os.O_RDONLY)
    assert content(beneath.open_own(f"{inside}/etc/name", os.O_RDONLY)) == b"inside\n"


def test_make_directories(root: tuple[int, Path, Path]) -> None:
    fd, inside, outside = root
    os.close(beneath.make_directories(fd, "/a/b/./c//d"))
    assert (inside / "a/b/c/d").is_dir() and stat.S_IMODE((inside / "a").stat().st_mode) == 0o755
    (inside / "link").symlink_to("/a/b")
    os.close(beneath.make_directories(fd, "/link/new"))
    assert (inside / "a/b/new").is_dir()
    os.close(beneath.make_directories(fd, "/x/../y"))
    assert (inside / "y").is_dir()
    for path, number in (("/etc/name/x", ENOTDIR), ("/etc/name", ENOTDIR)):
        with pytest.raises(KernelError) as caught:
            beneath.make_directories(fd, path)
        assert caught.value.errno == number
    # A link that leads nowhere inside (though it does outside) is not made to lead somewhere.
    (inside / "dangling").symlink_to(outside)
    with pytest.raises(KernelError) as caught:
        beneath.make_directories(fd, "/dangling/x")
    assert caught.value.errno == ELOOP


def test_make_file(root: tuple[int, Path, Path]) -> None:
    fd, inside, outside = root
    os.close(beneath.make_file(fd, "/etc/made", 0o600))
    assert stat.S_IMODE((inside / "etc/made").stat().st_mode) == 0o600
    os.close(beneath.make_file(fd, "/deep/er/made"))
    assert (inside / "deep/er/made").read_bytes() == b""
    os.close(beneath.make_file(fd, "/etc/name"))
    assert (inside / "etc/name").read_text() == "inside\n"
    # A link to a file that is missing names a file inside, as it would for a process there.
    (inside / "etc/hosts").symlink_to("/run/hosts")
    (inside / "run").mkdir()
    os.close(beneath.make_file(fd, "/etc/hosts"))
    assert (inside / "run/hosts").exists()
    (inside / "etc/out").symlink_to(outside / "made")
    with pytest.raises(KernelError):
        beneath.make_file(fd, "/etc/out")


def test_read_regular_takes_nothing_else(root: tuple[int, Path, Path]) -> None:
    fd, inside, outside = root
    assert beneath.read_regular(fd, "/etc/name", 3) == b"ins"
    os.mkfifo(inside / "fifo")
    (inside / "out").symlink_to(outside / "name")
    (inside / "loop").symlink_to("loop")
    for path in ("fifo", "etc", "out", "loop", "nothing", "/etc/name/x"):
        assert beneath.read_regular(fd, path, 100) is None, path
    with (inside / "sparse").open("wb") as file:
        file.truncate(2 << 30)
    data = beneath.read_regular(fd, "sparse", 1 << 20)
    assert data is not None and len(data) == 1 << 20


def test_read_regular_does_not_open_devices(root: tuple[int, Path, Path]) -> None:
    needs_root()
    fd, inside, _ = root
    os.mknod(inside / "zero", 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    # A device that does not exist answers ENXIO when it is opened; here nobody must get as far as that.
    os.mknod(inside / "nobody", 0o666 | stat.S_IFCHR, os.makedev(250, 250))
    assert beneath.read_regular(fd, "zero", 100) is None
    assert beneath.read_regular(fd, "nobody", 100) is None


def test_a_link_swapped_all_the_time_never_leads_out(root: tuple[int, Path, Path]) -> None:
    fd, inside, outside = root
    (inside / "d").mkdir()
    (inside / "d/name").write_text("inside\n")
    (inside / "l").symlink_to(outside)
    stop = threading.Event()

    exchange = ctypes.CDLL(None, use_errno=True).renameat2

    def swap() -> None:
        while not stop.is_set():
            # RENAME_EXCHANGE: at every moment there is one or the other.
            assert exchange(-100, bytes(inside / "d"), -100, bytes(inside / "l"), 2) == 0

    thread = threading.Thread(target=swap)
    thread.start()
    answers = set()
    deadline = time.monotonic() + 2
    try:
        for number in range(2000):
            if time.monotonic() > deadline:
                break
            try:
                answers.add(content(beneath.open_in_root(fd, "/d/name", os.O_RDONLY)))
            except KernelError:
                pass
            try:
                os.close(beneath.make_directories(fd, f"/d/new-{number % 5}/x"))
            except KernelError:
                pass
            try:
                os.close(beneath.make_file(fd, f"/d/file-{number % 5}"))
            except KernelError:
                pass
    finally:
        stop.set()
        thread.join()
    assert answers <= {b"inside\n"}
