"""Two hundred documents that are not what they should be: each ends in one line, and nothing stays behind."""

import copy
import json
import os
import random
import resource

import pytest

from archives import Layout, config, layer, sha, tar_of
from underlay import Engine
from underlay.errors import UnderlayError

LAYER = layer({"a": b"1"})


@pytest.fixture
def engine(tmp_path):
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


def raw_layout(config_data: bytes, manifest_data: bytes | None = None, index_data: bytes | None = None) -> bytes:
    """An archive of these documents, every digest above them honest."""
    layout = Layout()
    layout.blob(LAYER)
    layout.blob(config_data)
    if manifest_data is None:
        manifest_data = json.dumps(manifest(config_data)).encode()
    layout.blob(manifest_data)
    if index_data is None:
        index_data = json.dumps(index(manifest_data)).encode()
    parts = [(name, index_data if name == "index.json" else data) for name, data in layout.files()]
    return tar_of(parts)


def manifest(config_data: bytes) -> dict:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": sha(config_data),
            "size": len(config_data),
        },
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha(LAYER), "size": len(LAYER)}],
    }


def index(manifest_data: bytes) -> dict:
    return {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": sha(manifest_data),
                "size": len(manifest_data),
                "annotations": {"org.opencontainers.image.ref.name": "app:1"},
            }
        ],
    }


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


WRONG = [
    None,
    [],
    {},
    "",
    "x",
    0,
    -1,
    1.5,
    True,
    10**30,
    -(2**63),
    [None],
    [[]],
    {"": None},
    "a" * 5000,
    ["x"] * 300,
]


def mutated(value: dict, chance: random.Random) -> dict:
    value = copy.deepcopy(value)
    path = chance.choice(places(value))
    parent = value
    for step in path[:-1]:
        parent = parent[step]
    if chance.random() < 0.2:
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(chance.choice(WRONG))
    return value


def tried(engine, tmp_path, data: bytes) -> bool:
    """Load it: an error of one line, or an image that every command can show. Returns whether it was an image."""
    place = tmp_path / "in.tar"
    place.write_bytes(data)
    loaded = None
    try:
        loaded = engine.images.load(str(place))
    except UnderlayError as error:
        assert error.message and "\n" not in error.message and len(error.message) < 1000
        assert engine.images.list() == []
    else:
        for each in loaded:
            engine.images.inspect(each.id)
            engine.images.history(each.id)
            engine.images.save([each.id], str(tmp_path / "out.tar"))
            engine.images.remove(each.id, force=True)
    left = [n for _, _, names in os.walk(engine._store.paths.root) for n in names]
    assert [n for n in left if not n.startswith(("meta.db", "lock", "journal", "sweep-wanted"))] == []
    return loaded is not None


@pytest.mark.parametrize("seed", range(10))
def test_mutations(engine, tmp_path, seed):
    chance = random.Random(seed)
    accepted = []
    for number in range(24):
        document = config([LAYER])
        kind = ("config", "manifest", "index")[number % 3]
        config_data = json.dumps(mutated(document, chance) if kind == "config" else document).encode()
        manifest_value = manifest(config_data)
        if kind == "manifest":
            manifest_value = mutated(manifest_value, chance)
        manifest_data = json.dumps(manifest_value).encode()
        index_value = index(manifest_data)
        if kind == "index":
            index_value = mutated(index_value, chance)
        accepted.append(
            tried(engine, tmp_path, raw_layout(config_data, manifest_data, json.dumps(index_value).encode()))
        )
    assert False in accepted, "no mutation was refused: they mutate nothing that matters"


@pytest.mark.parametrize("which", ["config", "manifest", "index", "manifest.json"])
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"null",
        b"",
        b"\0" * 100,
        b'{"schemaVersion":2}',
        b'"' + b"\\u0000" * 1000 + b'"',
        b"{" + b'"a":1,' * 100_000 + b'"a":2}',
        b"[" + b"[]," * 2_000_000 + b"[]]",
        b"1" * 10_000,
    ],
    ids=range(11),
)
def test_nesting_and_nonsense(engine, tmp_path, which, data):
    good = json.dumps(config([LAYER])).encode()
    if which == "config":
        archive = raw_layout(data)
    elif which == "manifest":
        archive = raw_layout(good, data)
    elif which == "index":
        archive = raw_layout(good, None, data)
    else:
        archive = tar_of([("manifest.json", data)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnderlayError):
        place = tmp_path / "in.tar"
        place.write_bytes(archive)
        engine.images.load(str(place))
    tried(engine, tmp_path, archive)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10, "kilobytes"


def test_history_that_does_not_fit(engine, tmp_path):
    value = config([LAYER], history=[{"created_by": str(n)} for n in range(3)])
    place = tmp_path / "in.tar"
    place.write_bytes(raw_layout(json.dumps(value).encode()))
    with pytest.raises(UnderlayError, match=r"\$\.history: 3 entries have a layer"):
        engine.images.load(str(place))


def test_escapes_in_labels_and_names_do_not_reach_the_terminal_as_names(engine, tmp_path):
    value = config([LAYER])
    archive = raw_layout(json.dumps(value).encode())
    archive = archive.replace(b"app:1", b"\\u1b[1"[:5])
    place = tmp_path / "in.tar"
    place.write_bytes(archive)
    try:
        loaded = engine.images.load(str(place))
    except UnderlayError as error:
        assert "\x1b" not in error.message
    else:
        assert all("\x1b" not in name for each in loaded for name in each.names)
