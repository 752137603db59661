"""`system check`: every kind of damage is found, mended where it can be, and named where it cannot."""

import os
import shutil

import pytest

from archives import Layout, layer, sha
from underlay import Engine
from underlay.store import blobs, layers, rootfs
from underlay.store.rows import images as image_rows

ONE, TWO = layer({"a": b"1" * 3000}), layer({"b": b"2"})


@pytest.fixture(params=["tree", "erofs"])
def engine(request, tmp_path):
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form=request.param) as made:
        if request.param == "erofs" and rootfs.form_for(made._store.paths)[0] != "erofs":
            pytest.skip("no EROFS here")
        yield made


@pytest.fixture
def archive(tmp_path):
    layout = Layout()
    layout.image([ONE, TWO], "app:1")
    place = tmp_path / "in.tar"
    place.write_bytes(layout.tar())
    return str(place)


def spoil(path: str, at: int = 600) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"\xff\xfe")


def outcome(report) -> list[tuple[str, bool, bool]]:
    return [(p.kind, p.lost, p.repaired) for p in report.problems]


def whole(engine) -> bool:
    return [p for p in engine.system.check().problems if p.kind != "leftover"] == []


def test_a_whole_store_has_no_problems(engine, archive):
    engine.images.load(archive)
    report = engine.system.check()
    assert report.problems == []
    assert (report.images, report.layers, report.indexes, report.blobs) == (1, 2, 1, 2)


def test_a_table_of_contents_is_made_again(engine, archive):
    engine.images.load(archive)
    os.unlink(layers.directory(engine._store.paths, sha(ONE)) + "/toc")
    assert ("layer", False, False) in outcome(engine.system.check())
    assert ("layer", False, True) in outcome(engine.system.check(repair=True))
    assert whole(engine)


def test_a_changed_tar_is_lost_and_loading_again_heals(engine, archive):
    engine.images.load(archive)
    spoil(layers.directory(engine._store.paths, sha(ONE)) + "/tar")
    report = engine.system.check()
    assert ("layer", True, False) in outcome(report)
    assert f"expected {sha(ONE)}, found" in report.problems[0].text
    engine.system.check(repair=True)
    assert engine.images.list() == []
    engine.images.load(archive)
    assert whole(engine)
    assert engine.images.get("app:1")


def test_a_changed_tar_is_made_again_from_kept_bytes(engine, archive):
    engine.images.load(archive, keep_compressed=True)
    spoil(layers.directory(engine._store.paths, sha(ONE)) + "/tar")
    assert ("layer", False, False) in outcome(engine.system.check())
    assert ("layer", False, True) in outcome(engine.system.check(repair=True))
    assert whole(engine)
    assert engine.images.get("app:1")


def test_a_missing_layer_is_lost(engine, archive):
    engine.images.load(archive)
    layers.remove(engine._store.paths, sha(TWO))
    assert ("layer", True, False) in outcome(engine.system.check())
    engine.system.check(repair=True)
    engine.images.load(archive)
    assert whole(engine)


def test_an_index_that_is_not_there_is_made_when_it_is_wanted(engine, archive):
    engine.images.load(archive)
    image = image_rows.resolve(engine._store.meta, "app:1")
    rootfs.remove(engine._store.paths, image.chain)
    assert outcome(engine.system.check()) == []
    rootfs.prepare(engine._store.paths, engine._store.form, image.diff_ids)
    report = engine.system.check()
    assert (report.problems, report.indexes) == ([], 1)


def test_a_changed_index_is_noticed(engine, archive):
    if engine._store.form != "erofs":
        pytest.skip("trees are checked for being there")
    engine.images.load(archive)
    image = image_rows.resolve(engine._store.meta, "app:1")
    spoil(f"{engine._store.paths.indexes}/{image.chain[7:]}.erofs", 1030)
    assert outcome(engine.system.check()) == [("index", False, False)]
    engine.system.check(repair=True)
    assert whole(engine)


@pytest.mark.parametrize("which", ["id", "manifest"])
@pytest.mark.parametrize("how", ["change", "remove"])
def test_a_document_that_is_lost_takes_its_image(engine, archive, which, how):
    engine.images.load(archive)
    image = image_rows.resolve(engine._store.meta, "app:1")
    place = blobs.path(engine._store.paths, getattr(image, which))
    if how == "change":
        spoil(place, 10)
    else:
        os.unlink(place)
    assert any(p.lost for p in engine.system.check().problems)
    engine.system.check(repair=True)
    assert engine.images.list() == []
    engine.images.load(archive)
    assert whole(engine)


def test_kept_bytes_that_changed_are_given_up(engine, archive):
    engine.images.load(archive, keep_compressed=True)
    kept = engine._store.meta.read("SELECT digest FROM layer_blobs WHERE kept")[0][0]
    spoil(blobs.path(engine._store.paths, kept), 30)
    assert ("blob", False, False) in outcome(engine.system.check())
    engine.system.check(repair=True)
    engine.system.check(repair=True)
    assert whole(engine)
    assert engine.images.get("app:1")


@pytest.mark.parametrize("how", ["gone", "nonsense", "page"])
def test_a_damaged_database_is_rebuilt_from_what_is_there(engine, archive, how):
    engine.images.load(archive)
    image = engine.images.get("app:1").id
    engine.close()
    if how == "gone":
        os.unlink(engine._store.paths.database)
        for suffix in ("-wal", "-shm"):
            if os.path.exists(engine._store.paths.database + suffix):
                os.unlink(engine._store.paths.database + suffix)
    elif how == "nonsense":
        with open(engine._store.paths.database, "wb") as file:
            file.write(b"nonsense" * 1000)
    else:
        with open(engine._store.paths.database, "r+b") as file:
            data = file.read()
            file.seek(data.index(b"docker.io/library/app:1") // 4096 * 4096)
            file.write(b"\xff" * 4096)
    if how != "gone":
        assert any(p.kind == "database" for p in engine.system.check().problems)
    engine.system.check(repair=True)
    assert [row.id for row in engine.images.list()] == [image]
    engine.images.load(archive)
    assert engine.images.get("app:1").id == image
    assert whole(engine)


def test_the_form_not_in_use_is_looked_at_where_it_is_there(engine, archive):
    engine.images.load(archive)
    (image,) = image_rows.every(engine._store.meta)
    digits = image.chain.partition(":")[2]
    other = "tree" if engine._store.form == "erofs" else "erofs"
    rootfs.prepare(engine._store.paths, other, image.diff_ids)
    report = engine.system.check()
    assert (report.indexes, report.problems) == (2, [])
    if other == "erofs":
        spoil(f"{engine._store.paths.indexes}/{digits}.erofs", 1100)
    else:
        os.unlink(f"{engine._store.paths.trees}/{digits}/chain")
    assert outcome(engine.system.check()) == [("index", False, False)]
    assert outcome(engine.system.check(repair=True)) == [("index", False, True)]
    report = engine.system.check()
    assert (report.indexes, report.problems) == (1, []), "the form in use is made again, the other when it is needed"


def test_a_tree_without_the_one_below_it_is_noticed(engine, archive):
    if engine._store.form != "tree":
        pytest.skip("trees only")
    engine.images.load(archive)
    (image,) = image_rows.every(engine._store.meta)
    below = rootfs.chain_of(image.diff_ids[:1]).partition(":")[2]
    shutil.rmtree(f"{engine._store.paths.trees}/{below}")
    assert outcome(engine.system.check()) == [("index", False, False)]
    assert outcome(engine.system.check(repair=True)) == [("index", False, True)]
    assert whole(engine)
