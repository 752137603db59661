"""Taking layers in: verification, races, crashes at any point, what is left behind."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

import layers as tars
from layercases import CASES
from layers import Source, Tar, digest, gz, make, store
from underlay.errors import Corrupt, DigestMismatch, InvalidInput, LimitExceeded, NotFound, Unsupported
from underlay.events import Event
from underlay.store import layers
from underlay.store.layers import codec, intake, toc
from underlay.store.limits import Limits

DATA = Tar().add("d", "dir").add("d/f", data=b"content" * 100).add("big", data=os.urandom(3_000_000)).data()
DIFF = digest(DATA)


@pytest.fixture
def paths(tmp_path):
    return store(tmp_path)


def nothing(paths) -> bool:
    """Tell whether the store shows no layer and holds no unfinished work."""
    left = os.listdir(paths.temporary) if os.path.isdir(paths.temporary) else []
    return layers.list_all(paths) == [] and left == []


@pytest.mark.parametrize("kind", ["none", "gzip", "zstd", "xz", "bzip2"])
def test_in_and_out(kind, paths):
    import bz2
    import lzma

    def zstd(data: bytes) -> bytes:
        compressor = codec.compressor("zstd")
        return compressor.compress(data) + compressor.flush()

    pack = {"none": bytes, "gzip": gz, "zstd": zstd, "xz": lzma.compress, "bzip2": bz2.compress}[kind]
    blob = pack(DATA)
    events: list[Event] = []
    taken = intake.ingest(
        paths,
        Source(blob, 100_000),
        expected_diff_id=DIFF,
        expected_blob=(digest(blob), len(blob)),
        emit=events.append,
    )
    assert taken == intake.IngestedLayer(DIFF, len(DATA), 3, 3_000_700, digest(blob), len(blob), kind)
    assert {event.kind for event in events} == {"layer.progress"}
    assert events[-1].attributes == {"done": len(blob), "total": len(blob)}
    assert events[-1].subject == digest(blob)
    assert layers.exists(paths, DIFF)
    assert layers.list_all(paths) == [DIFF]
    with layers.open_tar(paths, DIFF) as file:
        assert file.read() == DATA
    assert layers.size(paths, DIFF) == len(DATA)
    assert layers.size_on_disk(paths, DIFF) >= 3_000_000
    entries = layers.read_toc(paths, DIFF)
    assert [entry.name for entry in entries] == [b"d", b"d/f", b"big"]
    assert layers.read_member(paths, DIFF, entries[1]) == b"content" * 100
    with pytest.raises(InvalidInput):
        layers.read_member(paths, DIFF, entries[0])
    with pytest.raises(InvalidInput):
        layers.read_member(paths, DIFF, entries[2], limit=1000)
    layers.check(paths, DIFF, full=True)
    assert layers.remove(paths, DIFF)
    assert not layers.remove(paths, DIFF)
    assert nothing(paths)


def test_what_is_here_is_not_read_again(paths):
    assert intake.ingest(paths, Source(gz(DATA)), expected_diff_id=DIFF)
    source = Source(gz(DATA))
    assert intake.ingest(paths, source, expected_diff_id=DIFF) is None
    assert source.taken == 0
    # Without an expectation it has to be read; the result is the same.
    assert intake.ingest(paths, Source(gz(DATA))).diff_id == DIFF
    assert layers.list_all(paths) == [DIFF]
    assert os.listdir(paths.temporary) == []


def test_sha512_for_blobs(paths):
    import hashlib

    blob = gz(DATA)
    name = "sha512:" + hashlib.sha512(blob).hexdigest()
    assert intake.ingest(paths, Source(blob), expected_blob=(name, len(blob))).blob_digest == name
    with pytest.raises(Unsupported):
        intake.ingest(paths, Source(blob), expected_diff_id=name)


@pytest.mark.parametrize("data, members", [(b"", 0), (bytes(1024), 0)])
def test_empty_layers(data, members, paths):
    assert intake.ingest(paths, Source(gz(data))).entries == members
    assert intake.ingest(paths, Source(data)).entries == members
    assert layers.list_all(paths) == [digest(data)]


BLOB = gz(DATA)


@pytest.mark.parametrize(
    "source, keywords, error",
    [
        (BLOB, {"expected_diff_id": digest(b"other")}, DigestMismatch),
        (BLOB, {"expected_blob": (digest(b"other"), len(BLOB))}, DigestMismatch),
        (BLOB, {"expected_blob": (digest(BLOB), len(BLOB) + 1)}, DigestMismatch),
        (BLOB, {"expected_blob": (digest(BLOB), len(BLOB) - 1)}, DigestMismatch),
        (BLOB + b"\0", {"expected_blob": (digest(BLOB), len(BLOB))}, DigestMismatch),
        (BLOB[:-1], {"expected_blob": (digest(BLOB), len(BLOB))}, DigestMismatch),
        (BLOB[:-1], {}, Corrupt),
        (BLOB[: len(BLOB) // 2], {}, Corrupt),
        (gz(DATA[:-2000]), {}, Corrupt),
        (gz(b"no tar at all" * 100), {}, Corrupt),
        (DATA[:5000], {}, Corrupt),
        (BLOB, {"limits": Limits(total=1_000_000)}, LimitExceeded),
        (BLOB, {"limits": Limits(members=2)}, LimitExceeded),
        (BLOB, {"expected_diff_id": "sha256:../../etc"}, InvalidInput),
        (BLOB, {"expected_diff_id": DIFF.upper()}, InvalidInput),
        (BLOB, {"expected_blob": ("md5:00", 5)}, InvalidInput),
    ],
)
def test_what_is_not_as_promised_leaves_nothing(source, keywords, error, paths):
    before = set(threading.enumerate())
    with pytest.raises(error) as caught:
        intake.ingest(paths, Source(source), **keywords)
    assert "\n" not in caught.value.message
    assert nothing(paths)
    assert set(threading.enumerate()) <= before  # threads of earlier tests may end meanwhile
    if error is DigestMismatch:
        assert str(caught.value.expected) in caught.value.message
        assert str(caught.value.actual) in caught.value.message


def test_a_source_that_fails_is_passed_on(paths):
    class Failing(Source):
        def read(self, n: int) -> bytes:
            if self.taken > 500_000:
                raise ConnectionResetError("gone")
            return super().read(n)

    for data in (BLOB, DATA):
        with pytest.raises(ConnectionResetError):
            intake.ingest(paths, Failing(data, 65536))
        assert nothing(paths)


def test_a_full_disk_is_told(paths, monkeypatch):
    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        intake.ingest(paths, Source(BLOB))
    monkeypatch.undo()
    assert nothing(paths)


def test_no_more_is_read_than_promised(paths):
    class Endless:
        taken = 0

        def read(self, n: int) -> bytes:
            self.taken += n
            return os.urandom(n)

    source = Endless()
    with pytest.raises((DigestMismatch, Corrupt)):
        intake.ingest(paths, source, expected_blob=(digest(b"x"), 5_000_000))
    assert source.taken <= 5_000_001


def test_two_expect_the_same_layer(paths):
    """The second waits for the first and reads nothing."""
    started, go = threading.Event(), threading.Event()

    class Slow(Source):
        def read(self, n: int) -> bytes:
            started.set()
            go.wait(10)
            return super().read(n)

    results: dict[str, object] = {}
    first = threading.Thread(target=lambda: results.update(a=intake.ingest(paths, Slow(BLOB), expected_diff_id=DIFF)))
    first.start()
    started.wait(10)
    source = Source(BLOB)
    second = threading.Thread(target=lambda: results.update(b=intake.ingest(paths, source, expected_diff_id=DIFF)))
    second.start()
    time.sleep(0.1)
    assert "b" not in results
    go.set()
    first.join()
    second.join()
    assert results["a"].diff_id == DIFF
    assert results["b"] is None
    assert source.taken == 0


def test_a_race_without_expectation_ends_well(paths):
    results, errors = [], []

    def work() -> None:
        try:
            results.append(intake.ingest(paths, Source(BLOB, 65536)).diff_id)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert results == [DIFF] * 8
    assert layers.list_all(paths) == [DIFF]
    layers.check(paths, DIFF, full=True)
    assert os.listdir(paths.temporary) == []


def test_zeros_take_no_space(paths):
    data = Tar().add("zeros", data=bytes(100 << 20)).data()
    intake.ingest(paths, Source(gz(data)))
    assert layers.size_on_disk(paths, digest(data)) < 8 << 20
    layers.check(paths, digest(data), full=True)


@pytest.mark.parametrize("form", tars.SPARSE)
def test_sparse_members_can_be_read(form, paths):
    data = tars.SPARSE[form](b"s", 10_000, [(0, b"a"), (5000, b"b" * 700)]) + tars.END
    intake.ingest(paths, Source(data))
    (entry,) = layers.read_toc(paths, digest(data))
    assert layers.read_member(paths, digest(data), entry) == (b"a".ljust(5000, b"\0") + b"b" * 700).ljust(10_000, b"\0")
    layers.check(paths, digest(data), full=True)


def test_damage_is_found(paths):
    intake.ingest(paths, Source(BLOB))
    where = layers.directory(paths, DIFF)
    with open(f"{where}/tar", "r+b") as file:
        file.seek(700)
        file.write(b"X")
    layers.check(paths, DIFF)
    with pytest.raises(DigestMismatch, match=DIFF):
        layers.check(paths, DIFF, full=True)
    os.truncate(f"{where}/tar", 10_000)
    with pytest.raises(Corrupt, match="lies outside of"):
        layers.check(paths, DIFF)
    os.unlink(f"{where}/tar")
    with pytest.raises(Corrupt, match="its tar is missing"):
        layers.check(paths, DIFF)
    with pytest.raises(NotFound):
        layers.open_tar(paths, DIFF)
    os.truncate(f"{where}/toc", 20)
    with pytest.raises(Corrupt, match="table of contents"):
        layers.check(paths, DIFF)
    other = digest(b"other")
    for function in (layers.check, layers.read_toc, layers.open_tar, layers.size, layers.size_on_disk):
        with pytest.raises(NotFound, match=other):
            function(paths, other)


def test_entries_are_as_in_the_tar(paths):
    data = CASES["attributes"][0][0]
    intake.ingest(paths, Source(data))
    (first, *_) = layers.read_toc(paths, digest(data))
    assert (b"trusted.overlay.opaque", b"y") in first.xattrs
    assert first.kind == toc.REGULAR


# Crashes: the process is killed, at each step and at any time, and the store is looked at again.

CHILD = """
import os, sys, signal
sys.path[:0] = [{tests!r}]
import layers as tars
from underlay.paths import Paths
from underlay.store.layers import intake; from underlay.store import scratch
point = {point!r}
if point:
    place, name = point.split(".")
    count = [{count}]
    owner = {{"os": os, "intake": intake}}[place]
    real = getattr(owner, name)
    def hooked(*arguments, **keywords):
        count[0] -= 1
        if count[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)
    setattr(owner, name, hooked)
print("go", flush=True)
with open({blob!r}, "rb") as file:
    intake.ingest(Paths({root!r}, {state!r}), file, expected_diff_id={diff!r})
print("done", flush=True)
"""

POINTS = [
    ("os.mkdir", 0),
    ("os.mkdir", 1),
    ("os.pwrite", 0),
    ("os.pwrite", 1),
    ("os.ftruncate", 0),
    ("os.fsync", 0),
    ("os.fsync", 1),
    ("os.fsync", 2),
    ("os.rename", 0),
    ("os.fsync", 3),
    ("os.copy_file_range", 0),
    ("intake.sync_directory", 0),
    ("intake.sync_directory", 1),
    ("intake._write_toc", 0),
    ("", 0),
]


def child(paths, tmp_path, point: str, count: int) -> subprocess.Popen:
    data = tars.sparse_10(b"s", 10_000, [(5000, b"b" * 700)]) + DATA
    blob = tmp_path / "blob"
    if not blob.exists():
        blob.write_bytes(gz(data))
    code = CHILD.format(
        tests=os.path.dirname(tars.__file__),
        point=point,
        count=count,
        blob=str(blob),
        root=paths.root,
        state=paths.state,
        diff=digest(data),
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def recovered(paths) -> None:
    """After any crash: only whole layers, and leftovers are removable."""
    for diff_id in layers.list_all(paths):
        layers.check(paths, diff_id, full=True)
    layers.remove_leftovers(paths)
    assert not os.path.isdir(paths.temporary) or os.listdir(paths.temporary) == []


@pytest.mark.parametrize("point, count", POINTS)
def test_killed_at_each_step(point, count, paths, tmp_path):
    process = child(paths, tmp_path, point, count)
    output = process.communicate()[0]
    assert process.returncode == (-signal.SIGKILL if point else 0), output
    recovered(paths)
    # The next one, in a new process, is not in the way of the dead one's locks.
    process = child(paths, tmp_path, "", 0)
    assert process.communicate()[0] == "go\ndone\n"
    recovered(paths)
    assert len(layers.list_all(paths)) == 1


def test_killed_at_any_time(paths, tmp_path):
    rng = random.Random(5)
    for _ in range(25):
        process = child(paths, tmp_path, "", 0)
        assert process.stdout.readline() == "go\n"
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.wait()
        process.stdout.close()
        recovered(paths)
        for diff_id in layers.list_all(paths):
            layers.remove(paths, diff_id)


def test_the_living_keep_their_work(paths):
    """A cleaner beside a running ingest takes nothing away from it."""
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            layers.remove_leftovers(paths)

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for _ in range(30):
            assert intake.ingest(paths, Source(BLOB, 65536)).diff_id == DIFF
            layers.remove(paths, DIFF)
    finally:
        stop.set()
        cleaner.join()
    assert nothing(paths)
    # What others keep there is not touched.
    (open(f"{paths.temporary}/blob-1-x", "w")).close()
    os.mkdir(f"{paths.temporary}/something")
    os.mkdir(f"{paths.temporary}/layer-1-dead")
    assert layers.remove_leftovers(paths) == ["layer-1-dead"]
    assert sorted(os.listdir(paths.temporary)) == ["blob-1-x", "something"]


def test_many_small_layers_by_threads(paths):
    stack = [make((f"f{n}", "file", f"{n}")) for n in range(40)]
    errors = []

    def work(data: bytes) -> None:
        try:
            intake.ingest(paths, Source(gz(data)), expected_diff_id=digest(data))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(data,)) for data in stack]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert layers.list_all(paths) == sorted(digest(data) for data in stack)
