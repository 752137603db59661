"""Both forms of a layer, EROFS index and tree, must show the same image: one suite, the form a parameter."""

import os
import signal
import subprocess
import sys
import threading
import traceback

import pytest

import layers as tars
from layercases import CASES
from layers import Mounted, Tar, differences, digest, load, make, snapshot, store, view
from underlay.errors import InvalidInput, NotFound
from underlay.linux.files import mounts, sharedmount
from underlay.store import layers, rootfs

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")]


def test_this_host_has_both_forms(tmp_path):
    form, reason = rootfs.form_for(store(tmp_path))
    if form != rootfs.EROFS:
        pytest.skip(f"no EROFS here: {reason}")
    assert reason


@pytest.fixture(scope="module")
def erofs_works(tmp_path_factory) -> str:
    form, reason = rootfs.form_for(store(tmp_path_factory.mktemp("probe")))
    return "" if form == rootfs.EROFS else reason


@pytest.fixture(params=["erofs", "tree"])
def form(request, erofs_works):
    if request.param == "erofs" and erofs_works:
        pytest.skip(f"no EROFS here: {erofs_works}")
    return request.param


@pytest.fixture
def paths(tmp_path):
    made = store(tmp_path)
    yield made
    assert rootfs.release_all_unused(made) == []
    assert mounts.mounted_below(str(tmp_path)) == []
    assert not os.path.exists(made.temporary) or os.listdir(made.temporary) == []


@pytest.mark.parametrize("case", CASES)
def test_cases(case, form, paths):
    layers_, expected = CASES[case]
    diff_ids = load(paths, layers_)
    with Mounted(paths, form, diff_ids) as root:
        assert view(root) == expected


@pytest.mark.parametrize("case", CASES)
def test_forms_agree_in_everything(case, paths, erofs_works):
    if erofs_works:
        pytest.skip(erofs_works)
    diff_ids = load(paths, CASES[case][0])
    found = []
    for form in ("erofs", "tree"):
        with Mounted(paths, form, diff_ids) as root:
            found.append(snapshot(root))
    assert differences(*found) == []


def test_attributes_arrive(form, paths):
    layers_ = CASES["modes, owners, times"][0]
    with Mounted(paths, form, load(paths, layers_)) as root:
        s, t = os.stat(f"{root}/s"), os.stat(f"{root}/t")
        assert (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (0o6755, 1000, 4_000_000_000)
        assert (t.st_mode & 0o7777, t.st_uid) == (0o1777, 0xFFFFFFFE)
        assert os.stat(f"{root}/old").st_mtime_ns == -(10**18)
        assert os.stat(f"{root}/older").st_mtime_ns == -1_250_000_000
        assert os.stat(f"{root}/late").st_mtime == 5_000_000_000
        assert os.lstat(f"{root}/exact").st_mtime_ns == 1234567890_123456789
    layers_ = CASES["attributes"][0]
    with Mounted(paths, form, load(paths, layers_)) as root:
        assert os.listxattr(f"{root}/f") == ["user.b"]
        assert os.listxattr(f"{root}/cap") == ["security.capability"]
        assert os.listxattr(f"{root}/d") == []
        assert os.listxattr(f"{root}/l", follow_symlinks=False) == []
    layers_ = CASES["the root's own attributes"][0]
    with Mounted(paths, form, load(paths, layers_)) as root:
        assert os.stat(root).st_mode & 0o7777 == 0o751
        assert os.stat(root).st_uid == 0


def test_access_lists(form, paths):
    # Version 2; user::rwx, user:1000:r--, group::r-x, mask::r-x, other::--- (linux/posix_acl_xattr.h).
    nobody = 0xFFFFFFFF
    table = [(1, 7, nobody), (2, 4, 1000), (4, 5, nobody), (16, 5, nobody), (32, 0, nobody)]
    value = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, bits, who in table
    )
    data = make(
        (
            "d",
            "dir",
            b"",
            {"mode": 0o750, "xattrs": {"system.posix_acl_access": value, "system.posix_acl_default": value}},
        ),
        ("f", "file", b"", {"mode": 0o750, "xattrs": {"system.posix_acl_access": value}}),
        ("p", "fifo", b"", {"mode": 0o750, "xattrs": {"system.posix_acl_access": value}}),
        ("senseless", "file", b"", {"mode": 0o750, "xattrs": {"system.posix_acl_access": b"?"}}),
    )
    with Mounted(paths, form, load(paths, [data])) as root:
        for name in "dfp":
            assert os.getxattr(f"{root}/{name}", "system.posix_acl_access") == value
            assert os.stat(f"{root}/{name}").st_mode & 0o777 == 0o750
        assert os.getxattr(f"{root}/d", "system.posix_acl_default") == value


def test_hundred_thousand_files_in_one_directory(form, paths):
    tar = Tar().add("d", "dir")
    block = tars.header(b"d/0000000", b"0", 1)
    body = tars.padded(b"x")
    pieces = [tar.data(end=False)]
    for n in range(100_000):
        pieces.append(tars.checksummed(block[:2] + b"%07d" % n + block[9:]) + body)
    with Mounted(paths, form, load(paths, [b"".join(pieces)])) as root:
        names = os.listdir(f"{root}/d")
        assert len(names) == 100_000
        assert sorted(names) == [f"{n:07d}" for n in range(100_000)]
        for n in (0, 50_000, 99_999):
            with open(f"{root}/d/{n:07d}") as file:
                assert file.read() == "x"
        assert not os.path.exists(f"{root}/d/0100000")


def test_a_hundred_and_twenty_seven_layers(form, paths):
    stack = [
        make(("d", "dir"), (f"d/f{n}", "file", f"{n}"), ("last", "file", f"{n}"), (f"d/.wh.f{n - 2}", "file"))
        for n in range(127)
    ]
    with Mounted(paths, form, load(paths, stack)) as root:
        assert view(root) == {"d": "d", "d/f125": "f:125", "d/f126": "f:126", "last": "f:126"}


def test_deep_trees(form, paths):
    data = make(("d/" * 2040 + "f", "file", "deep"))
    with Mounted(paths, form, load(paths, [data])) as root:
        here = os.open(root, os.O_PATH)
        for _ in range(2040):
            below = os.open("d", os.O_PATH, dir_fd=here)
            os.close(here)
            here = below
        with open(os.open("f", os.O_RDONLY, dir_fd=here)) as file:
            assert file.read() == "deep"
        os.close(here)
    rootfs.remove(paths, digest(data))


def test_sparse_files_stay_sparse(form, paths):
    size = 1 << 36
    data = tars.sparse_10(b"s", size, [(1 << 30, b"middle"), (size - 4, b"tail")]) + tars.END
    with Mounted(paths, form, load(paths, [data])) as root, open(f"{root}/s", "rb") as file:
        assert os.fstat(file.fileno()).st_size == size
        assert os.pread(file.fileno(), 8, (1 << 30) - 1) == b"\0middle\0"
        assert os.pread(file.fileno(), 8, size - 5) == b"\0tail"
    assert layers.size_on_disk(paths, digest(data)) < 1 << 20
    used = subprocess.run(["du", "-s", paths.root], capture_output=True, text=True).stdout
    assert int(used.split()[0]) < 2048


def test_programs_run_and_set_id_is_kept(form, paths):
    program = "/usr/bin/true"
    with open(program, "rb") as file:
        content = file.read()
    data = make(("true", "file", content, {"mode": 0o4755}))
    with Mounted(paths, form, load(paths, [data])) as root:
        assert subprocess.run([f"{root}/true"]).returncode == 0
        assert not os.statvfs(root).f_flag & os.ST_NOSUID
        lower = rootfs.lower_directories(paths, form, [digest(data)])
        assert not os.statvfs(lower[0]).f_flag & os.ST_NOSUID


def test_a_layer_may_vanish_while_mounted(form, paths):
    data = CASES["one layer"][0]
    diff_ids = load(paths, data)
    with Mounted(paths, form, diff_ids) as root:
        layers.remove(paths, diff_ids[0])
        assert view(root) == CASES["one layer"][1]


def test_missing_layers_and_chains(form, paths):
    with pytest.raises(NotFound, match="not in the store"):
        rootfs.prepare(paths, form, [digest(b"no such layer")])
    with pytest.raises(NotFound, match="not prepared"):
        rootfs.lower_directories(paths, form, [digest(b"no such layer")])
    with pytest.raises(InvalidInput):
        rootfs.lower_directories(paths, form, [], "sha256:../../etc")


def test_holding(form, paths):
    diff_ids = load(paths, CASES["one layer"][0])
    chain = rootfs.prepare(paths, form, diff_ids)
    first, second = rootfs.hold(paths, chain), rootfs.hold(paths, chain)
    lower = rootfs.lower_directories(paths, form, diff_ids, chain)
    assert rootfs.lower_directories(paths, form, diff_ids) == lower
    assert not rootfs.remove(paths, chain)
    first.release()
    assert not rootfs.remove(paths, chain)
    if form == "erofs":
        assert not rootfs.release_unused(paths, chain)
        assert rootfs.release_all_unused(paths) == [chain]
    second.release()
    if form == "erofs":
        assert os.path.ismount(lower[0])
        # Held by nobody, but a process works in it: it stays, and that is told.
        fd = os.open(lower[0], os.O_RDONLY)
        assert not rootfs.release_unused(paths, chain)
        os.close(fd)
        assert rootfs.release_unused(paths, chain)
        assert not os.path.exists(lower[0])
    assert rootfs.remove(paths, chain)
    assert rootfs.remove(paths, chain)
    assert not os.path.exists(lower[0])
    # All can be made again.
    with Mounted(paths, form, diff_ids) as root:
        assert view(root) == CASES["one layer"][1]


def test_a_holders_death_releases(form, paths):
    diff_ids = load(paths, CASES["one layer"][0])
    chain = rootfs.prepare(paths, form, diff_ids)
    code = (
        "import sys, time; from underlay.paths import Paths; from underlay.store import rootfs\n"
        "lock = rootfs.hold(Paths(*sys.argv[1:3]), sys.argv[3]); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, paths.root, paths.state, chain], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    assert not rootfs.remove(paths, chain)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert rootfs.remove(paths, chain)


def test_many_prepare_and_mount_at_once(form, paths):
    diff_ids = load(paths, CASES["links over four layers"][0])
    chains, errors = set(), []

    def work() -> None:
        try:
            for _ in range(20):
                chain = rootfs.prepare(paths, form, diff_ids)
                chains.add(chain)
                hold = rootfs.hold(paths, chain)
                lower = rootfs.lower_directories(paths, form, diff_ids, chain)
                assert os.listdir(lower[-1]) or form == "tree"
                hold.release()
                rootfs.release_unused(paths, chain)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(chains) == 1


def test_trees_are_shared_by_images(paths):
    common = CASES["one layer"][0][0]
    one = load(paths, [common, make(("x", "file", "X"))])
    two = load(paths, [common, make(("y", "file", "Y"))])
    rootfs.prepare(paths, "tree", one)
    rootfs.prepare(paths, "tree", two)
    assert len(os.listdir(paths.trees)) == 3


def test_trees_below_a_held_chain_stay(paths):
    common, top = CASES["one layer"][0][0], make(("x", "file", "X"))
    one, two = load(paths, [common]), load(paths, [common, top])
    lower, upper = rootfs.prepare(paths, "tree", one), rootfs.prepare(paths, "tree", two)
    hold = rootfs.hold(paths, upper)
    assert not rootfs.remove(paths, lower)
    assert len(rootfs.lower_directories(paths, "tree", two, upper)) == 2
    hold.release()
    assert rootfs.remove(paths, lower)
    # What stood on it is no longer whole, says so, and can be made whole.
    with pytest.raises(NotFound):
        rootfs.lower_directories(paths, "tree", two, upper)
    with Mounted(paths, "tree", two) as root:
        assert view(root) == {**CASES["one layer"][1], "x": "f:X"}
    assert rootfs.remove(paths, upper)
    assert rootfs.remove(paths, lower)
    assert os.listdir(paths.trees) == []


KILLED = """
import os, signal, sys
from underlay.paths import Paths
from underlay.store.rootfs import make as build; from underlay.store import rootfs, scratch
place, name, count = sys.argv[4:7]
owner = {"os": os, "build": build}[place]
left = [int(count)]
real = getattr(owner, name)
def hooked(*arguments, **keywords):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **keywords)
setattr(owner, name, hooked)
rootfs.prepare(Paths(sys.argv[1], sys.argv[2]), sys.argv[3], sys.argv[7:])
"""


@pytest.mark.parametrize(
    "point",
    [
        "os.rename.0",
        "os.rename.1",
        "os.rename.2",
        "os.rename.3",
        "os.mkdir.0",
        "os.mkdir.5",
        "os.fsync.0",
        "os.sync.0",
        "os.link.1",
        "build.sync_directory.0",
        "os.utime.3",
    ],
)
def test_killed_while_preparing(point, form, paths):
    stack, expected = CASES["links over four layers"]
    diff_ids = load(paths, stack)
    place, name, count = point.split(".")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, paths.root, paths.state, form, place, name, count, *diff_ids],
        capture_output=True,
        text=True,
    )
    assert done.returncode in (-signal.SIGKILL, 0), done.stderr
    layers.remove_leftovers(paths)
    assert os.listdir(paths.temporary) == []
    with Mounted(paths, form, diff_ids) as root:
        assert view(root) == expected


def test_trees_without_any_privilege():
    """As another user, who may not own files for others nor make devices; the overlay takes user.*."""
    import tempfile

    stack = [
        make(
            ("d", "dir", b"", {"mode": 0o555, "uid": 5, "xattrs": {"user.a": b"1"}}),
            ("d/f", "file", "F", {"mode": 0o4711, "gid": 7}),
            ("h", "hard", b"", {"link": "d/f", "mode": 0o4711, "gid": 7}),
            ("none", "dir", b"", {"mode": 0}),
            ("none/x", "file", "X", {"mode": 0}),
            ("cap", "file", b"", {"xattrs": {"security.capability": bytes.fromhex("01000002" + "00" * 16)}}),
            ("dev", "char", b"", {"major": 1, "minor": 3}),
            ("gone", "file"),
        ),
        make((".wh.gone", "file"), ("d/.wh..wh..opq", "file"), ("d/g", "file", "G")),
    ]
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        made = store(f"{directory}/store")
        diff_ids = load(made, stack)
        for place, _, files in os.walk(directory):
            for name in ["", *files]:
                os.chown(f"{place}/{name}", 65534, 65534)
        # Forked, since that user may not be able to read the interpreter; so all must be imported before.
        from underlay.store.rootfs import make as build
        from underlay.store.rootfs import probe

        assert build and probe and rootfs.chain_of(diff_ids)
        outcome, inlet = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
                rootfs.prepare(made, "tree", diff_ids)
                os.write(inlet, repr(rootfs.form_for(made)).encode())
            except BaseException as error:
                os.write(inlet, "".join(traceback.format_exception(error)).encode())
            finally:
                os._exit(0)
        os.close(inlet)
        os.waitpid(child, 0)
        with open(outcome) as file:
            assert file.read() == "('tree', 'only root may mount EROFS')"
        upper, lower = rootfs.lower_directories(made, "tree", diff_ids)
        assert sorted(os.listdir(lower)) == ["cap", "d", "gone", "h", "none"]
        assert os.stat(f"{lower}/d/f").st_uid == 65534
        assert os.stat(f"{lower}/d/f").st_mode & 0o7777 == 0o4711
        assert os.stat(f"{lower}/d/f").st_nlink == 2
        assert os.listxattr(f"{lower}/cap") == []
        assert os.stat(f"{upper}/gone").st_rdev == 0
        assert os.getxattr(f"{upper}/d", "user.overlay.opaque") == b"y"
        options = f"userxattr,lowerdir={upper}:{lower}"
        os.mkdir(f"{directory}/shown")
        mounts.mount("overlay", f"{directory}/shown", "overlay", mounts.MS_RDONLY, options)
        try:
            assert view(f"{directory}/shown") == {
                "d": "d",
                "d/g": "f:G",
                "h": "f:F",
                "cap": "f:",
                "none": "d",
                "none/x": "f:X",
            }
        finally:
            mounts.umount(f"{directory}/shown")


def test_trees_with_mapped_owners(paths):
    stack = [make(("f", "file", "F", {"uid": 5, "gid": 6, "mode": 0o6755}), ("d", "dir", b"", {"uid": 0}))]
    diff_ids = load(paths, stack)
    rootfs.prepare(paths, "tree", diff_ids, owner=lambda uid, gid: (100_000 + uid, 200_000 + gid))
    (root,) = rootfs.lower_directories(paths, "tree", diff_ids)
    info = os.stat(f"{root}/f")
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (100_005, 200_006, 0o6755)
    assert os.stat(f"{root}/d").st_uid == 100_000


def test_a_second_mount_over_the_first_is_undone(paths, erofs_works):
    if erofs_works:
        pytest.skip(erofs_works)
    diff_ids = load(paths, CASES["one layer"][0])
    chain = rootfs.prepare(paths, "erofs", diff_ids)
    (point,) = rootfs.lower_directories(paths, "erofs", diff_ids, chain)
    sharedmount.mount_index(
        f"{paths.indexes}/{chain[7:]}.erofs", [p for _, _, p in rootfs.devices(paths, diff_ids)], point
    )
    assert rootfs.release_unused(paths, chain)


def test_long_store_paths(tmp_path, form):
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    made = store(deep)
    with Mounted(made, form, load(made, CASES["one layer"][0])) as root:
        assert view(root) == CASES["one layer"][1]


def test_the_verdict_is_kept_until_the_next_boot(paths, monkeypatch):
    first = rootfs.form_for(paths)
    from underlay.store.rootfs import probe

    monkeypatch.setattr(probe, "why_not_erofs", lambda paths: "the probe ran again")
    assert rootfs.form_for(paths) == first
    note = f"{paths.state}/erofs-probe"
    with open(note) as file:
        boot, rest = file.read().split(" ", 1)
    with open(note, "w") as file:
        file.write("0" * len(boot) + " " + rest)
    assert rootfs.form_for(paths) == ("tree", "the probe ran again")
    assert rootfs.form_for(paths, "tree") == ("tree", "asked for")
    with pytest.raises(Exception, match="the probe ran again"):
        rootfs.form_for(paths, "erofs")
    with pytest.raises(InvalidInput):
        rootfs.form_for(paths, "zfs")


def test_the_way_to_a_start_imports_little():
    code = (
        "import sys; from underlay.store import rootfs\n"
        "words = 'underlay msgspec typing dataclasses enum re json contextlib hashlib'.split()\n"
        "print(' '.join(m for m in sys.modules if m.split('.')[0] in words))"
    )
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(layers.__file__))))
    child = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {source!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(child.stdout.split()) <= {
        "underlay",
        "underlay.errors",
        "underlay.files",
        "underlay.linux",
        "underlay.linux.files",
        "underlay.linux.libc",
        "underlay.linux.files.mounts",
        "underlay.linux.files.sharedmount",
        "underlay.store",
        "underlay.store.rootfs",
        "underlay.version",
    }


@pytest.mark.parametrize("size", [1, 511, 513, 5000])
def test_a_tar_without_its_last_padding(paths, form, size):
    # As `umoci insert` writes it: the stream ends with the last member's data.
    data = make(("f", "file", "x" * size))
    end = data.rindex(b"x") + 1
    with Mounted(paths, form, load(paths, [data[:end]])) as root:
        assert view(root)["f"] == "f:" + "x" * size
