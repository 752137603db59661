"""The sweep: what is needed stays, whatever nobody needs goes, nothing happens beside somebody's work."""

import io
import os

import pytest

from archives import layer, sha
from underlay import Engine
from underlay.oci.platform import Platform
from underlay.store import blobs, gc, layers, leases, rootfs
from underlay.store.layers import intake
from underlay.store.rows import images
from underlay.store.rows import layers as layer_rows


@pytest.fixture
def engine(tmp_path):
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        made._store.meta
        yield made._store


def take_in(engine, *tars: bytes, record: bool = True) -> str:
    """An image of these layers; without `record` only its bytes."""
    diff_ids = []
    for data in tars:
        intake.ingest(engine.paths, io.BytesIO(data))
        diff_ids.append(sha(data))
    config = blobs.put(engine.paths, b"config of " + " ".join(diff_ids).encode())
    manifest = blobs.put(engine.paths, b"manifest of " + config.encode())
    chain = rootfs.prepare(engine.paths, "tree", diff_ids)
    if record:
        parts = [layer_rows.Layer(diff_id, 1, 1, 1) for diff_id in diff_ids]
        new = images.NewImage(config, manifest, Platform("linux", "amd64"), "", parts, [config, manifest], chain)
        images.record(engine.meta, [new])
    return config


def test_what_is_needed_stays(engine):
    one, two = layer({"a": b"1"}), layer({"b": b"2"})
    take_in(engine, one, two)
    swept = gc.sweep(engine.paths, engine.meta)
    assert (swept.layers, swept.bytes, swept.deferred) == ([], 0, False)
    assert gc.unused_bytes(engine.paths, engine.meta) == 0
    assert len(gc.chains_here(engine.paths)) == 2


def test_what_nobody_needs_goes(engine):
    one, two, three = layer({"a": b"1"}), layer({"b": b"2"}), layer({"c": b"3"})
    kept = take_in(engine, one, two)
    take_in(engine, one, three, record=False)
    assert gc.unused_bytes(engine.paths, engine.meta) > 0
    swept = gc.sweep(engine.paths, engine.meta)
    assert swept.layers == [sha(three)]
    assert swept.bytes > 0
    assert layers.list_all(engine.paths) == sorted((sha(one), sha(two)))
    assert len(gc.chains_here(engine.paths)) == 2
    images.forget(engine.meta, kept)
    gc.sweep(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == []
    assert list(blobs.every(engine.paths)) == []
    assert gc.chains_here(engine.paths) == []
    assert os.listdir(engine.paths.locks) == []


def test_a_sweep_is_put_off_while_somebody_works(engine):
    take_in(engine, layer(), record=False)
    with leases.working(engine.paths):
        assert gc.sweep(engine.paths, engine.meta).deferred
        assert layers.list_all(engine.paths)
    gc.sweep_if_asked(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == []


def test_a_chain_in_use_keeps_its_layers(engine):
    image = take_in(engine, layer())
    hold = rootfs.hold(engine.paths, sha(layer()))
    images.forget(engine.meta, image)
    gc.sweep(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == [sha(layer())]
    hold.release()
    gc.sweep_if_asked(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == []


def test_a_hidden_image_goes_with_its_last_container(engine):
    image = take_in(engine, layer())
    with engine.meta.write() as sql:
        sql.execute("INSERT INTO containers VALUES ('c', 'n', ?, 1, '{}')", (image,))
    images.forget(engine.meta, image)
    assert images.every(engine.meta) == []
    gc.sweep(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == [sha(layer())]
    with engine.meta.write() as sql:
        sql.execute("DELETE FROM containers")
    gc.sweep(engine.paths, engine.meta)
    assert layers.list_all(engine.paths) == []
