"""kill -9 at every step of a load: the store opens, holds only whole things, and gives the space back."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from archives import Layout, docker_archive, layer, sha, tar_of
from underlay import Engine
from underlay.store import rootfs

# Dies at the given call of anything that makes a change durable or visible.
CHILD = textwrap.dedent(
    """
    import os, signal, sys
    from underlay import Engine
    from underlay.store.rows import meta

    root, state, form, source, at = sys.argv[1:6]
    count = 0

    def hooked(original):
        def call(*arguments, **named):
            global count
            count += 1
            if count == int(at):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)
        return call

    with Engine(root, state, form=form) as engine:
        engine._store.meta, engine._store.form
        for name in ("rename", "fsync", "mkdir", "unlink", "rmdir"):
            setattr(os, name, hooked(getattr(os, name)))
        meta.Transaction.__enter__ = hooked(meta.Transaction.__enter__)
        meta.Transaction.__exit__ = hooked(meta.Transaction.__exit__)
        if source == "prune":
            engine.images.prune(all=True)
        else:
            engine.images.load(source, keep_compressed=True)
    """
)
STEPS_LIMIT = 300


def files(root: str) -> list[str]:
    found = []
    for directory, _, names in os.walk(root):
        found += [os.path.join(directory, name) for name in names]
    return [each for each in found if not each.rpartition("/")[2].startswith(("meta.db", "lock", "journal"))]


@pytest.fixture(scope="module", params=["tree", "erofs"])
def form(request, tmp_path_factory):
    if request.param == "erofs":
        place = tmp_path_factory.mktemp("probe")
        with Engine(str(place / "r"), str(place / "s")) as engine:
            found, reason = rootfs.form_for(engine._store.paths)
        if found != "erofs":
            pytest.skip(f"no EROFS here: {reason}")
    return request.param


def run(tmp_path, number: int, form: str, source: str) -> int:
    words = [str(tmp_path / f"r{number}"), str(tmp_path / f"s{number}"), form, source, str(number)]
    done = subprocess.run([sys.executable, "-c", CHILD, *words], timeout=60, capture_output=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["layout", "docker"])
def test_killed_at_each_step_of_a_load(tmp_path, form, kind):
    parts = [layer({"a": b"1"}), layer({"b": b"2"})]
    source = tmp_path / "in.tar"
    if kind == "layout":
        layout = Layout()
        layout.image(parts, "app:1")
        source.write_bytes(layout.tar())
    else:
        source.write_bytes(tar_of(docker_archive(parts, ["app:1"])))
    for number in range(1, STEPS_LIMIT):
        ended = run(tmp_path, number, form, str(source))
        with Engine(str(tmp_path / f"r{number}"), str(tmp_path / f"s{number}"), form=form) as engine:
            report = engine.system.check()
            assert [p for p in report.problems if p.kind != "leftover"] == []
            names = [tuple(name.rsplit(":", 1)) for image in engine.images.list() for name in image.tags]
            assert names in ([], [("app", "1")])
            engine.images.prune()
            if not names:
                assert files(engine._store.paths.root) == []
            assert engine.system.check().problems == []
            # And the work can be done again.
            engine.images.load(str(source))
            assert engine.images.get("app:1").diff_ids == tuple(map(sha, parts))
        if ended == 0:
            assert number > 10
            return
    raise AssertionError("the load never came to its end")


@pytest.mark.slow
def test_killed_at_each_step_of_a_sweep(tmp_path, form):
    source = tmp_path / "in.tar"
    layout = Layout()
    layout.image([layer({"a": b"1"}), layer({"b": b"2"})], "app:1")
    source.write_bytes(layout.tar())
    for number in range(1, STEPS_LIMIT):
        with Engine(str(tmp_path / f"r{number}"), str(tmp_path / f"s{number}"), form=form) as engine:
            engine.images.load(str(source), keep_compressed=True)
        ended = run(tmp_path, number, form, "prune")
        with Engine(str(tmp_path / f"r{number}"), str(tmp_path / f"s{number}"), form=form) as engine:
            assert [p for p in engine.system.check().problems if p.kind != "leftover"] == []
            engine.images.prune(all=True)
            assert files(engine._store.paths.root) == []
        if ended == 0:
            return
    raise AssertionError("the sweep never came to its end")


LOAD = """
import sys
from underlay import Engine
done = []
def take(event):
    if event.kind == "layer.done":
        done.append(event.subject)
with Engine(sys.argv[1], sys.argv[2], on_event=take, form="tree") as engine:
    engine._store.meta, engine._store.form
    print("ready", flush=True)
    sys.stdin.readline()
    engine.images.load(sys.argv[3])
print(len(done))
"""


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_two_loads_at_once_do_the_work_once(tmp_path, by):
    source = tmp_path / "in.tar"
    layout = Layout()
    layout.image([layer({"a": os.urandom(8 << 20)}), layer({"b": os.urandom(8 << 20)})], "app:1")
    source.write_bytes(layout.tar())
    program, feeders, fds = LOAD, [], [-1, -1]
    if by == "pipe":
        program = LOAD.replace("sys.argv[3]", "int(sys.argv[3])")
        feeders = [subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) for _ in range(2)]
        fds = [each.stdout.fileno() for each in feeders]
    words = [sys.executable, "-c", program, str(tmp_path / "r"), str(tmp_path / "s")]
    pair = [
        subprocess.Popen(
            [*words, str(fd if feeders else source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[fd] if feeders else [],
        )
        for fd in fds
    ]
    try:
        for each in pair:
            assert each.stdout.readline() == "ready\n"
        outputs = []
        for each in pair:
            each.stdin.write("go\n")
            each.stdin.flush()
        for each in pair:
            outputs.append(int(each.communicate(timeout=60)[0]))
            assert each.returncode == 0
    finally:
        for each in pair:
            if each.poll() is None:
                each.kill()
                each.wait()
        for each in feeders:
            each.stdout.close()
            each.wait(10)
    assert sum(outputs) == 2, "each of the two layers has to be taken in once"
    with Engine(str(tmp_path / "r"), str(tmp_path / "s"), form="tree") as engine:
        assert engine.system.check().problems == []
        assert len(engine.images.list()) == 1


def test_a_sweep_beside_a_load_waits_for_its_end(tmp_path):
    """The reader of a pipe is in the middle of an image while another process prunes."""
    layout = Layout()
    layout.image([layer({"a": os.urandom(100_000)}), layer({"b": os.urandom(100_000)})], "app:1")
    data = layout.tar()
    late = 60_000
    reader, writer = os.pipe()
    words = [sys.executable, "-c", LOAD.replace("sys.argv[3]", "int(sys.argv[3])"), str(tmp_path / "r")]
    child = subprocess.Popen(
        [*words, str(tmp_path / "s"), str(reader)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[reader],
    )
    try:
        assert child.stdout.readline() == "ready\n"
        child.stdin.write("go\n")
        child.stdin.flush()
        os.close(reader)
        os.write(writer, data[:-late])
        with Engine(str(tmp_path / "r"), str(tmp_path / "s"), form="tree") as engine:
            for _ in range(500):
                if os.listdir(engine._store.paths.layers):
                    break
                signal.sigtimedwait([], 0.01)
            assert os.listdir(engine._store.paths.layers)
            engine.images.prune(all=True)
            assert os.listdir(engine._store.paths.layers), "a layer that is on its way must not be swept"
            assert os.path.exists(engine._store.paths.root + "/sweep-wanted")
            os.write(writer, data[-late:])
            os.close(writer)
            child.communicate(timeout=60)
            assert child.returncode == 0
            assert engine.images.get("app:1")
            assert engine.system.check().problems == []
            assert not os.path.exists(engine._store.paths.root + "/sweep-wanted")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
