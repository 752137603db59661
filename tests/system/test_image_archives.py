"""Loading images from layouts and archives of every kind, also from those that lie."""

import gzip
import json
import os

import pytest

import remoteimages
from archives import Layout, config, docker_archive, layer, old_archive, sha, tar_of
from imagestores import cli, compressed, engine, index_of_platforms, load_by, nothing_stays, two_layer_image
from underlay.engine.images import archives
from underlay.errors import DigestMismatch, InvalidInput, NotFound, UnderlayError, Unsupported
from underlay.store import leases
from underlay.transfer.archives import load

__all__ = ["cli", "engine"]  # fixtures

# Loading every kind
# ---------------------------------------------------------------------------------------------


def test_layout_in_a_directory(engine, tmp_path):
    layout = Layout()
    layout.image([*two_layer_image()], "docker.io/library/app:1")
    (loaded,) = engine.images.load(str(layout.write(tmp_path / "in")))
    assert loaded.tags == ["app:1"]
    assert [image.tags for image in engine.images.list()] == [["app:1"]]


@pytest.mark.parametrize("compression", ["none", "gzip", "xz", "bzip2", "zstd"])
@pytest.mark.parametrize("by", ["path", "pipe"])
def test_layout_in_a_tar_compressed_in_any_way(engine, tmp_path, compression, by):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1")
    data = compressed(layout.tar(), compression)
    (loaded,) = load_by(engine, tmp_path, data, by)
    assert loaded.names == ["app:1"]


@pytest.mark.parametrize("by", ["path", "pipe"])
@pytest.mark.parametrize("last", [True, False])
def test_docker_archive(engine, tmp_path, by, last):
    data = tar_of(docker_archive([*two_layer_image()], ["app:1", "app:2"], last))
    (loaded,) = load_by(engine, tmp_path, data, by)
    assert loaded.names == ["app:1", "app:2"]
    assert engine.images.get("app:1").diff_ids == tuple(map(sha, two_layer_image()))


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_docker_archives_of_other_makers(engine, tmp_path, by):
    """Layers compressed and named by their compressed digest, the configuration named with its algorithm."""
    one, two = two_layer_image()
    packed = [gzip.compress(each, mtime=0) for each in (one, two)]
    document = json.dumps(config([one, two])).encode()
    names = [f"{sha(each)[7:]}.tar.gz" for each in packed]
    listed = json.dumps([{"Config": sha(document), "RepoTags": ["example.com/app:1"], "Layers": names}]).encode()
    parts = [*zip(names, packed, strict=True), ("manifest.json", listed)]
    (loaded,) = load_by(engine, tmp_path, tar_of([(sha(document), document), *parts]), by)
    assert (loaded.id, loaded.names) == (sha(document), ["example.com/app:1"])
    wrong = tar_of([(sha(document), document + b" "), *parts])
    with pytest.raises(DigestMismatch, match="configuration"):
        load_by(engine, tmp_path, wrong, by)


def old(number: int) -> str:
    return f"{number:064x}"


@pytest.mark.parametrize("by", ["path", "pipe", "directory"])
def test_archives_of_docker_before_1_10(engine, tmp_path, by):
    stack = [*two_layer_image(), two_layer_image()[0]]
    parts = old_archive(stack, {"app": {"1": old(3)}, "example.com/base": {"a": old(2), "b": old(2)}})
    if by == "directory":
        for name, data in parts:
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_bytes(data)
        loaded = archives.load(engine._store, str(tmp_path / "in"))
    else:
        loaded = load_by(engine, tmp_path, tar_of(parts), by)
    assert [each.names for each in loaded] == [["app:1"], ["example.com/base:a", "example.com/base:b"]]
    assert engine.images.get("app:1").diff_ids == tuple(map(sha, stack))
    facts = engine.images.inspect("app:1")
    assert (facts["Author"], facts["Created"]) == ("someone", "2015-02-03T04:05:02.123456789Z")
    assert (facts["Config"]["Cmd"], facts["Config"]["Env"]) == (["/hello"], ["A=<b>"])
    steps = [step.created_by for step in engine.images.history("app:1")]
    assert steps == [f"/bin/sh -c echo {n} > /f && true" for n in (2, 1, 0)]


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_old_archives_without_names(engine, tmp_path, by):
    (loaded,) = load_by(engine, tmp_path, tar_of(old_archive([*two_layer_image()], None)), by)
    assert loaded.names == []
    assert engine.images.get(loaded.id).diff_ids == tuple(map(sha, two_layer_image()))


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_old_archives_for_platforms(engine, tmp_path, by):
    data = tar_of(old_archive([layer()], {"app": {"1": old(1)}}, architecture="arm64"))
    with pytest.raises(NotFound, match=r"linux/amd64\) not found"):
        engine.images.load(str(_written(tmp_path, data)), platform=["linux/amd64"])
    nothing_stays(engine)
    load_by(engine, tmp_path, data, by)
    assert engine.images.inspect("app:1")["Architecture"] == "arm64"


def _written(tmp_path, data):
    (tmp_path / "written").write_bytes(data)
    return tmp_path / "written"


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_hostile_old_archives(engine, tmp_path, by):
    def changed(number: int, **members: object) -> list:
        name = f"{old(number)}/json"
        return [(n, json.dumps({**json.loads(d), **members}).encode() if n == name else d) for n, d in good]

    good = old_archive([*two_layer_image()], {"app": {"1": old(2)}})
    without = {n: [part for part in good if part[0] != f"{old(1)}/{n}"] for n in ("json", "layer.tar")}
    cases = {
        "form a cycle": changed(1, parent=old(2)),
        "a cycle": changed(2, parent=old(2)),
        f"lacks {old(7)}/json": changed(1, parent=old(7)),
        f"lacks {old(1)}/json": without["json"],
        f"lacks {old(1)}/layer.tar": without["layer.tar"],
        "not a layer id": changed(1, parent="../../etc"),
        "64 hexadecimal digits": [*good[:-1], ("repositories", b'{"app":{"1":"x"}}')],
        "leads out of": [*without["layer.tar"], (f"{old(1)}/layer.tar", "../../../etc/passwd")],
        "lies outside": [*without["layer.tar"], (f"{old(1)}/layer.tar", "=../../etc/passwd")],
        "too many links": [*without["layer.tar"], (f"{old(1)}/layer.tar", "layer.tar")],
        "repositories: Expected": [*good[:-1], ("repositories", b'{"app":5}')],
        "reference": [*good[:-1], ("repositories", b'{"APP":{"1":"%s"}}' % old(2).encode())],
        "two members": [*good, good[-1]],
        "Expected `str": changed(1, parent=5),
        "Expected `object": [(n, b"[]" if n == f"{old(1)}/json" else d) for n, d in good],
        "contains no image": [("repositories", b"{}"), *good[:-1]],
    }
    for words, parts in cases.items():
        with pytest.raises(UnderlayError) as caught:
            load_by(engine, tmp_path, tar_of(parts), by)
        assert words in caught.value.message, (words, caught.value.message)
        assert "\n" not in caught.value.message
    nothing_stays(engine)


# Directories of skopeo's
# -----------------------------------------------------------------------------------------------------


def plain(layout: Layout, top: dict) -> list[tuple[str, bytes]]:
    """What `skopeo copy … dir:` writes of the image or index `top` in a layout."""
    parts = [("version", b"Directory Transport Version: 1.1\n"), ("manifest.json", layout.blobs[top["digest"]])]
    kinds = {each["digest"] for each in json.loads(layout.blobs[top["digest"]]).get("manifests", ())}
    for digest, data in layout.blobs.items():
        if digest != top["digest"]:
            parts.append((digest[7:] + ".manifest.json" * (digest in kinds), data))
    return parts


@pytest.mark.parametrize("by", ["path", "pipe", "directory"])
@pytest.mark.parametrize("several", [False, True])
def test_directories_of_skopeo(engine, tmp_path, by, several):
    layout = Layout()
    top = index_of_platforms(layout) if several else layout.image([*two_layer_image()])
    parts = plain(layout, top)
    if by == "directory":
        (tmp_path / "in").mkdir()
        for name, data in parts:
            (tmp_path / "in" / name).write_bytes(data)
        (loaded,) = archives.load(engine._store, str(tmp_path / "in"))
    else:
        (loaded,) = load_by(engine, tmp_path, tar_of(parts), by)
    assert loaded.names == []
    assert engine.images.get(loaded.id)
    if not several:
        assert loaded.id == json.loads(layout.blobs[top["digest"]])["config"]["digest"]


def test_looking_without_loading(tmp_path):
    whole = remoteimages.index([remoteimages.image()], attestations=True)
    parts = {f"{digest[7:]}.manifest.json": data for digest, (_, data) in whole.documents.items()}
    parts |= {digest[7:]: data for digest, data in whole.blobs.items()}
    for name, data in {**parts, "manifest.json": whole.manifest}.items():
        (tmp_path / name).write_bytes(data)
    found, statements = load.look(str(tmp_path))
    assert found.config.digest == whole.images[0].id
    assert [statement["predicateType"] for _, statement in statements] == ["https://slsa.dev/provenance/v0.2"]
    old_one = _written(tmp_path, tar_of(old_archive([layer()], {"app": {"1": old(1)}})))
    with pytest.raises(Unsupported, match=r"before version 1\.10"):
        load.look(str(old_one))


def test_hostile_directories_of_skopeo(engine, tmp_path):
    layout = Layout()
    parts = dict(plain(layout, layout.image([*two_layer_image()])))
    manifest = json.loads(parts["manifest.json"])
    digest = manifest["layers"][0]["digest"][7:]
    wrong = {**manifest, "layers": [{**manifest["layers"][0], "digest": "sha256:../../etc/passwd"}]}
    for number, (words, change) in enumerate(
        {
            "lacks the layer": {digest: None},
            "layer's digest": {digest: parts[digest][:-1] + b"x"},
            "wrong size": {digest: parts[digest] + b"x"},
            "configuration": {manifest["config"]["digest"][7:]: b"{}"},
            "digest": {"manifest.json": json.dumps(wrong).encode()},
            "lacks the manifest": {"manifest.json": b'{"schemaVersion":2,"manifests":[]}'},
        }.items()
    ):
        place = tmp_path / str(number)
        place.mkdir()
        for name, data in {**parts, **change}.items():
            if data is not None:
                (place / name).write_bytes(data)
        with pytest.raises(UnderlayError) as caught:
            engine.images.load(str(place))
        assert words in caught.value.message, caught.value.message
    (place / digest).unlink()
    (place / digest).symlink_to("/etc/passwd")
    (place / "manifest.json").write_bytes(parts["manifest.json"])
    with pytest.raises(InvalidInput, match="must not contain symbolic links"):
        engine.images.load(str(place))
    nothing_stays(engine)


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_shared_layers_are_links_in_old_docker_archives(engine, tmp_path, by):
    one, _ = two_layer_image()
    document = json.dumps(config([one, one])).encode()
    listed = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["x/layer.tar", "y/layer.tar"]}]
    parts = [
        ("x/layer.tar", one),
        ("y/layer.tar", "../x/layer.tar"),
        ("c.json", document),
        ("manifest.json", json.dumps(listed).encode()),
    ]
    load_by(engine, tmp_path, tar_of(parts), by)
    parts[1] = ("y/layer.tar", "=x/layer.tar")
    load_by(engine, tmp_path, tar_of(parts), by)
    assert engine.images.get("app:1").diff_ids == (sha(one), sha(one))


def test_several_images_in_one(engine, tmp_path):
    layout = Layout()
    one, two = two_layer_image()
    layout.image([one], "one:1")
    layout.image([one, two], "two:1")
    layout.image([two], "")
    loaded = load_by(engine, tmp_path, layout.tar(), "path")
    assert [each.names for each in loaded] == [["one:1"], ["two:1"], []]
    assert len(engine.images.list()) == 3
    assert len({row.id for row in engine.images.list()}) == 3


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_an_index_chooses_the_platform(engine, tmp_path, by):
    layout = Layout()
    index = index_of_platforms(layout)
    load_by(engine, tmp_path, layout.tar(), by, platform=["linux/arm64"])
    assert engine.images.inspect("app:1")["Architecture"] == "arm64"
    load_by(engine, tmp_path, layout.tar(), by, platform=["linux/amd64", "linux/arm64"])
    assert engine.images.get("app:1", "linux/arm64").architecture == "arm64"
    assert engine.images.get("app:1", "linux/amd64").architecture == "amd64"
    with pytest.raises(NotFound, match="does not provide the specified platform"):
        engine.images.get("app:1", "linux/s390x")
    assert engine.images.inspect("app:1")["RepoDigests"] == [f"app@{index['digest']}"]
    assert not engine.images.dangling()
    with pytest.raises(NotFound, match=r"requested platform \(linux/ppc64le\) not found"):
        load_by(engine, tmp_path, layout.tar(), by, platform=["linux/ppc64le"])


def test_nested_indexes_are_opened_and_their_depth_is_bounded(engine, tmp_path):
    layout = Layout()
    inner = index_of_platforms(layout, name="")
    layout.entries.clear()
    kind = "application/vnd.oci.image.index.v1+json"
    for _ in range(2):
        inner = layout.descriptor({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]}, "app:1")
        layout.entries[:] = [inner]
    load_by(engine, tmp_path, layout.tar(), "path", platform=["linux/amd64"])
    for _ in range(5):
        inner = layout.descriptor({"schemaVersion": 2, "mediaType": kind, "manifests": [inner]}, "app:1")
        layout.entries[:] = [inner]
    with pytest.raises(InvalidInput, match="nested deeper"):
        load_by(engine, tmp_path, layout.tar(), "path")


def test_an_image_without_layers(engine, tmp_path):
    layout = Layout()
    layout.image([], "empty:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    assert engine.images.get("empty:1").diff_ids == ()
    engine.images.save(["empty:1"], str(tmp_path / "out.tar"))
    assert engine.system.check().problems == []


# Lies
# -----------------------------------------------------------------------------------------------------------


LIES = [
    "layer bytes",
    "layer short",
    "layer size",
    "config bytes",
    "config size",
    "manifest bytes",
    "diff id",
]


@pytest.mark.parametrize("by", ["path", "pipe", "directory"])
@pytest.mark.parametrize("lie", LIES)
def test_a_lie_names_what_was_expected_and_found(engine, tmp_path, by, lie):
    layout = Layout()
    one, two = two_layer_image()
    changes = {}
    if lie == "diff id":
        changes["rootfs"] = {"type": "layers", "diff_ids": [sha(one), sha(b"other")]}
    descriptor = layout.image([one, two], "app:1", **changes)
    manifest = json.loads(layout.blobs[descriptor["digest"]])
    last = manifest["layers"][1]["digest"]
    if lie == "layer bytes":
        layout.blobs[last] = gzip.compress(layer({"b": b"3"}), mtime=0)
        manifest["layers"][1]["size"] = len(layout.blobs[last])
    elif lie == "layer short":
        layout.blobs[last] = layout.blobs[last][:-1]
    elif lie == "layer size":
        manifest["layers"][1]["size"] += 1
    elif lie == "config bytes":
        layout.blobs[manifest["config"]["digest"]] = b"{}" + b" " * (manifest["config"]["size"] - 2)
    elif lie == "config size":
        manifest["config"]["size"] += 1
    if lie in ("layer bytes", "layer size", "config size"):
        layout.entries.clear()
        descriptor = layout.descriptor(manifest, "app:1")
    if lie == "manifest bytes":
        layout.blobs[descriptor["digest"]] = layout.blobs[descriptor["digest"]].replace(b"schema", b"Schema")
    with pytest.raises(DigestMismatch) as caught:
        if by == "directory":
            engine.images.load(str(layout.write(tmp_path / "in")))
        else:
            load_by(engine, tmp_path, layout.tar(), by)
    assert "expected" in caught.value.message and "found" in caught.value.message
    nothing_stays(engine)


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_docker_archives_that_lie(engine, tmp_path, by):
    one, two = two_layer_image()
    parts = docker_archive([one, two], ["app:1"])
    wrong = [(name, layer({"b": b"3"}) if name.startswith("0" * 63 + "1") else data) for name, data in parts]
    with pytest.raises(DigestMismatch, match=f"expected {sha(two)}"):
        load_by(engine, tmp_path, tar_of(wrong), by)
    wrong = [(name, data + b" " if name.endswith(".json") and len(name) > 60 else data) for name, data in parts]
    with pytest.raises(DigestMismatch, match="configuration"):
        load_by(engine, tmp_path, tar_of(wrong), by)
    with pytest.raises(NotFound, match="lacks"):
        load_by(engine, tmp_path, tar_of(parts[1:]), by)
    nothing_stays(engine)


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_hostile_archives_end_in_one_error(engine, tmp_path, by):
    canary = tmp_path / "canary"
    canary.write_text("token")
    one, two = two_layer_image()
    layout = Layout()
    layout.image([one, two], "app:1")
    good = layout.files()
    blob = next(name for name, data in good if name.startswith("blobs/") and data[:2] == b"\x1f\x8b")
    listed = json.dumps([{"Config": "../canary", "RepoTags": ["a:1"], "Layers": [f"../{canary.name}"]}]).encode()
    cases = {
        "climbs": [("../x", b"x"), *good],
        "climbs inside": [("a/../../x", b"x"), *good],
        "link out": [*(g for g in good if g[0] != blob), (blob, f"../../../{canary.name}")],
        "absolute link": [*(g for g in good if g[0] != blob), (blob, str(canary))],
        "link to itself": [*(g for g in good if g[0] != blob), (blob, os.path.basename(blob))],
        "hard link out": [*(g for g in good if g[0] != blob), (blob, f"=../{canary.name}")],
        "missing layer": [g for g in good if g[0] != blob],
        "two indexes": [*good, ("index.json", b"{}")],
        "no layout file": [g for g in good if g[0] != "oci-layout"],
        "config outside": [("manifest.json", listed)],
        "nothing": [("readme", b"x")],
        "no names": [("repositories", b"{}")],
        "bad version": [("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'), *good[1:]],
        "bad name": [("manifest.json", json.dumps([{"Config": "c", "RepoTags": ["A:1"], "Layers": []}]).encode())],
    }
    for name, parts in cases.items():
        with pytest.raises(UnderlayError) as caught:
            load_by(engine, tmp_path, tar_of(parts), by)
        assert "\n" not in caught.value.message, name
        assert "token" not in caught.value.message, name
    nothing_stays(engine)
    assert canary.read_text() == "token"


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_damaged_outer_tars(engine, tmp_path, by):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1")
    data = layout.tar()
    size_field = bytearray(data)
    size_field[124:136] = b"\xff" * 12
    sized = bytearray(data)
    sized[124:136] = b"77777777777\0"
    for wrong in (
        b"",
        b"x" * 2000,
        data[:700],
        data[: len(data) // 2],
        bytes(size_field),
        gzip.compress(data)[:-20],
    ):
        with pytest.raises(UnderlayError):
            load_by(engine, tmp_path, wrong, by)
    nothing_stays(engine)


def test_streams_that_never_end(engine, tmp_path):
    """What only ever gives zeros, or repeats itself in a compressed way, ends in an error soon."""
    from underlay.errors import LimitExceeded

    with pytest.raises(LimitExceeded, match="after the end"):
        engine.images.load("/dev/zero")
    with pytest.raises(UnderlayError):
        engine.images.import_("/dev/zero")
    with pytest.raises(UnderlayError):
        load_by(engine, tmp_path, gzip.compress(bytes(200 << 20), 1), "pipe")
    nothing_stays(engine)


def test_a_stuck_writer_does_not_stop_others(engine, tmp_path, monkeypatch):
    from underlay.transfer import arrivals

    monkeypatch.setattr(arrivals, "_PATIENCE", 0.2)
    layout = Layout()
    descriptor = layout.image([layer()], "app:1")
    blob = json.loads(layout.blobs[descriptor["digest"]])["layers"][0]["digest"]
    engine._store.meta
    with leases.of_content(engine._store.paths, blob[7:]):
        load_by(engine, tmp_path, layout.tar(), "pipe")
    assert engine.images.get("app:1")


def test_a_layout_of_links_and_fifos_is_refused(engine, tmp_path):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1")
    place = layout.write(tmp_path / "in")
    (place / "index.json").rename(place / "index")
    (place / "index.json").symlink_to("index")
    with pytest.raises(InvalidInput, match="must not contain symbolic links"):
        engine.images.load(str(place))
    (place / "index.json").unlink()
    os.mkfifo(place / "index.json")
    with pytest.raises(InvalidInput, match="not a regular file"):
        engine.images.load(str(place))


def test_names_of_an_archive_that_would_stand_for_other_images(engine, tmp_path, cli):
    """A short id, an id, a tag that a digest vouches for: docker refuses the latter two."""
    (right,) = load_by(engine, tmp_path, tar_of(docker_archive([layer({"right": b""})], ["right:1"])), "path")
    short, digest = right.id[7:19], "sha256:" + "0" * 64
    names = [short, f"{short}:latest", digest, f"right:1@{digest}", "own:1"]
    archive = tmp_path / "hostile"
    archive.write_bytes(tar_of(docker_archive([layer({"wrong": b""})], names)))
    said = cli("load", "-i", archive)
    assert said.splitlines() == ["Loaded image: own:1"]
    for name in (f"{short}:latest", digest, f"right:1@{digest}"):
        assert f"the archive's name {name} is left out" in cli.errors
    assert engine.images.get(short).id == engine.images.get("right:1").id == right.id
    layout = Layout()
    layout.image([layer({"wrong": b""})], name=f"docker.io/library/{short}:latest")
    (loaded,) = load_by(engine, tmp_path, layout.tar(), "path")
    assert loaded.names == [] and engine.images.get(short).id == right.id


def test_names_that_images_do_not_get(cli, tmp_path):
    (tmp_path / "layer").write_bytes(layer({"a": b""}))
    cli("import", tmp_path / "layer", "app")
    digest = "sha256:" + "0" * 64
    for words in (("tag", "app"), ("import", tmp_path / "layer")):
        cli(*words, digest, code=1)
        assert "refusing to create an ambiguous tag using digest algorithm as name" in cli.errors
    cli("build", "-t", digest, "-", code=1, input=b"FROM scratch\nLABEL a=b\n")
    assert "refusing to create an ambiguous tag using digest algorithm as name" in cli.errors
    cli("build", "-t", f"x:1@{digest}", "-", code=1, input=b"FROM scratch\nLABEL a=b\n")
    assert "refusing to create a tag with a digest reference" in cli.errors


@pytest.mark.parametrize("nested", [False, True])
def test_a_manifest_of_another_type_than_its_descriptor_says(engine, tmp_path, nested):
    """A scanner that goes by the descriptor would look at something else than we run."""
    layout = Layout()
    entry = layout.image([layer()], top=False)
    entry["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    if nested:
        entry["platform"] = {"os": "linux", "architecture": "amd64"}
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
        layout.descriptor(index, "app:1")
    else:
        layout.entries.append(entry)
    with pytest.raises(InvalidInput, match="its descriptor says that it is application"):
        load_by(engine, tmp_path, layout.tar(), "path")
    nothing_stays(engine)
