"""Images that are not what they are said to be, pulled: other bytes, other sizes, documents that are traps.

Tests named after a row (`test_im11_…`) are of that requirement of the list of attacks. Before each attack there is an
image in the store, and afterwards there is that image and nothing else.
"""

from __future__ import annotations

import copy
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from fakeserver import Action, Handler
from faults import altered, body, cut_after, endless, flipped, hang_up, stall_after, with_headers, wrong_range
from layers import make, pax
from remoteimages import CONFIG, INDEX, MANIFEST, Image, Index, encoded, image, index, noise, random_tar, sha, small_tar
from visitors import MIB, Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Visitor:
    """An installation with one image, which all attacks are tried on."""
    visitor = Visitor(tmp_path_factory.mktemp("victim"))
    visitor.settings("[network]\nstall_timeout = 2\nretries = 2\n")
    with FakeRegistry() as registry:
        visitor("pull", registry.add(image([small_tar({"known": b"1"})]), "known", "1"))
    return visitor


@pytest.fixture
def refused(victim: Visitor, registry: FakeRegistry) -> Iterator[Callable[..., str]]:
    """A function that pulls an image (or a name), which must fail; in the end the store is what it was."""
    victim("image", "prune", "-f")
    before = victim.files(), victim.out("images", "-a", "--digests")

    def pull(what: Image | Index | str, *words: str, **more: Any) -> str:
        name = what if isinstance(what, str) else registry.add(what, TEAM, "1.0")
        said = victim.fails("pull", *words, name, **more)
        assert (victim.files(), victim.out("images", "-a", "--digests")) == before
        return said

    yield pull


@pytest.fixture(scope="module")
def made() -> Image:
    return image([random_tar(200_000, 1)])


@pytest.fixture(scope="module")
def two() -> Image:
    return image([small_tar(), random_tar(200_000, 1)])


def edited(made: Image, edit: Callable[[dict[str, Any]], object], config: bytes | None = None) -> Image:
    """The image with another manifest, and with another configuration if given."""
    value = json.loads(made.manifest)
    blobs = dict(made.blobs)
    if config is not None:
        value["config"] |= {"digest": sha(config), "size": len(config)}
        blobs[sha(config)] = config
    edit(value)
    return replace(made, manifest=encoded(value), config=config or made.config, blobs=blobs)


# IM-11: digests and sizes are verified on all ways
# ---------------------------------------------------------------------------------------------------------

WRONG: dict[str, Action] = {
    "first byte": flipped(0),
    "middle": flipped(150),
    "last byte": altered(lambda data: data[:-1] + bytes([data[-1] ^ 1])),
    "short": altered(lambda data: data[:-1]),
    "long": altered(lambda data: data + b"\0"),
    "nothing": altered(lambda data: b""),
    "another": altered(lambda data: gzip.compress(small_tar({"other": b"x"}), mtime=0)),
    "as long": altered(lambda data: noise(len(data), 1)),
    "without length": altered(lambda data: b"{}" + b" " * 1000),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
def test_im11_other_bytes(refused: Any, registry: FakeRegistry, made: Image, part: str, how: str) -> None:
    path = {"manifest": f"/manifests/{made.digest}", "config": made.id, "layer": made.layers[0]}[part]
    registry.rule("GET", path, WRONG[how])
    if how == "without length":
        registry.rule("GET", path, with_headers({"Content-Length": None, "Connection": "close"}))
    registry.add(made, TEAM, "1.0")
    said = refused(f"{registry.host}/{TEAM}@{made.digest}")
    assert re.search("digest|size|ended early|closed after", said), said


@pytest.mark.parametrize("order", [0, 1])
def test_im11_other_bytes_while_more_comes(refused: Any, registry: FakeRegistry, order: int) -> None:
    """The reason is told, not that the rest was given up; and the rest is not kept, for it has the same sender."""
    made = image([random_tar(3_000_000, 1), random_tar(3_000_000, 2), small_tar()])
    registry.rule("GET", made.layers[order], flipped(2_000_000))
    registry.rule("GET", made.layers[1 - order], stall_after(1_000_000))
    assert "digest" in refused(made)


def test_im11_a_tag_with_a_digest_that_lies(refused: Any, registry: FakeRegistry, made: Image) -> None:
    registry.rule("GET", "/manifests/", with_headers({"Docker-Content-Digest": sha(b"other")}))
    assert "digest" in refused(made)


@pytest.mark.parametrize("by", [1, -1, 1 << 40])
@pytest.mark.parametrize("part", ["config", "layer"])
def test_im11_right_digest_wrong_size(refused: Any, made: Image, part: str, by: int) -> None:
    def edit(value: dict[str, Any]) -> None:
        (value["config"] if part == "config" else value["layers"][0])["size"] += by

    said = refused(edited(made, edit))
    assert "size" in said or "bytes, more than" in said


@pytest.mark.parametrize("by", [1, -1])
def test_im11_manifest_of_another_size(refused: Any, made: Image, by: int) -> None:
    good = index([made])
    value = json.loads(good.manifest)
    value["manifests"][0]["size"] += by
    assert "size" in refused(replace(good, manifest=encoded(value)))


@pytest.mark.parametrize("diff_ids", ["other", "swapped", "known"])
def test_im11_right_blob_wrong_diff_id(refused: Any, two: Image, diff_ids: str) -> None:
    config = json.loads(two.config)
    known = sha(small_tar({"known": b"1"}))
    config["rootfs"]["diff_ids"] = {
        "other": [two.diff_ids[0], sha(b"other")],
        "swapped": two.diff_ids[::-1],
        "known": [known, two.diff_ids[0]],
    }[diff_ids]
    assert "diff id" in refused(edited(two, lambda value: None, encoded(config)))


def test_im11_a_known_blob_under_another_diff_id(refused: Any) -> None:
    """The layer is here, and so is the diff id that it is said to have: but they do not belong together."""
    good = image([small_tar({"known": b"1"}), small_tar({"other": b"2"})])
    config = json.loads(good.config)
    config["rootfs"]["diff_ids"] = [good.diff_ids[1], good.diff_ids[0]]
    assert "diff id" in refused(edited(good, lambda value: None, encoded(config)))


@pytest.mark.parametrize("how", ["other", "long"])
def test_im11_a_resumed_download_with_other_bytes(refused: Any, registry: FakeRegistry, how: str) -> None:
    made = image([random_tar(1_000_000, 5)])
    path = made.layers[0]
    registry.rule("GET", path, cut_after(600_000), times=1)

    def differently(handler: Handler, _: re.Match[str]) -> bool:
        if "range" in handler.asked.headers:
            handler.changes.append(lambda data: noise(len(data), 9) if how == "other" else data + b"more")
        return False

    registry.rule("GET", path, differently)
    assert re.search("digest|size", refused(made))
    assert registry.asked("GET", path)[1].headers["range"].startswith("bytes=600000-")


@pytest.mark.parametrize("how", ["later", "earlier", "nonsense", "none", "other unit", "later than it says"])
def test_im11_another_range_than_was_asked_for(victim: Visitor, refused: Any, registry: FakeRegistry, how: str) -> None:
    """It is refused; the beginning may stay, and does not trouble the next try."""
    made = image([random_tar(1_000_000, 5)])
    path = made.layers[0]
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", path, cut_after(600_000), times=1)
    actions: dict[str, Action] = {
        "later": wrong_range(7),
        "earlier": wrong_range(-7),
        "nonsense": with_headers({"Content-Range": "bytes x-y/z"}),
        "none": with_headers({"Content-Range": None}),
        "other unit": with_headers({"Content-Range": "lines 600000-600001/600002"}),
        "later than it says": wrong_range(7, honest=False),
    }
    registry.rule("GET", path, actions[how])
    victim.fails("pull", name)
    assert registry.asked("GET", path)[1].headers["range"].startswith("bytes=600000-")
    registry.rules.clear()
    if victim("pull", name, code=None).returncode:
        victim("pull", name)
    victim("rmi", name)
    assert victim.partials() == {}


def test_im11_a_beginning_that_was_left_with_other_bytes(victim: Visitor, registry: FakeRegistry) -> None:
    """What an earlier try has left may be wrong: it is found out, thrown away, and does not trouble the next try."""
    made = image([random_tar(1_000_000, 6)])
    name = registry.add(made, TEAM, "1.0")
    registry.rule("GET", made.layers[0], flipped(500_000), times=1)
    registry.rule("GET", made.layers[0], cut_after(700_000), times=1)
    registry.rule("GET", made.layers[0], lambda it, match: "range" in it.asked.headers and hang_up()(it, match))
    victim.fails("pull", name)
    assert victim.partials() == {made.layers[0]: 700_000}
    registry.rules.clear()
    if victim("pull", name, code=None).returncode:
        assert victim.partials() == {}
        victim("pull", name)
    assert registry.manifest(TEAM, "1.0")
    victim("rmi", name)
    assert victim.partials() == {}


# IM-15: malformed documents
# ---------------------------------------------------------------------------------------------------------

PULL_ALL = """
import sys, json, traceback
from underlay.engine.engine import Engine
from underlay.errors import UnderlayError
with Engine() as engine:
    for name in json.load(sys.stdin):
        try:
            engine.images.pull(name)
            said = "pulled"
        except UnderlayError as error:
            said = "refused: " + error.message
        except BaseException as error:
            said = "broken: " + traceback.format_exc()
        print(json.dumps([name, said]), flush=True)
"""
DEEP = 100_000
VALUES = [
    None,
    True,
    -1,
    0,
    1.5,
    1 << 62,
    1 << 70,
    -(1 << 63),
    "",
    "x",
    "sha256:",
    "sha256:../../../etc/passwd",
    "sha256:" + "0" * 64,
    "\ud800",
    [],
    {},
    [None],
    [[]],
    {"": None},
    "\0" * 300,
]


def mutations(value: Any) -> Iterator[Any]:
    """Copies of a document with each of its members, in turn, missing or something else."""

    def places(at: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield path
        for key in at if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ():
            yield from places(at[key], (*path, key))

    count = 0
    for path in places(value, ()):
        for number in range(6):
            changed = copy.deepcopy(value)
            new = VALUES[(count + 7 * number) % len(VALUES)]
            count += 1
            if not path:
                yield new
                continue
            holder = changed
            for key in path[:-1]:
                holder = holder[key]
            if number == 5:
                del holder[path[-1]]
            else:
                holder[path[-1]] = new
            yield changed


def test_im15_mutated_documents(victim: Visitor, registry: FakeRegistry) -> None:
    """Each is pulled or refused by one process, which survives all of them; what is refused leaves nothing."""
    made = image([small_tar({"mutated": b"1"})], annotations={"a": "b"})
    documents: list[tuple[str, bytes]] = []
    for value in mutations(json.loads(made.manifest)):
        documents.append((MANIFEST[False], json.dumps(value).encode()))
    for value in mutations(json.loads(made.config)):
        config = json.dumps(value).encode()
        documents.append((MANIFEST[False], edited(made, lambda _: None, config).manifest))
        registry.repository(TEAM).blobs[sha(config)] = config
    for value in mutations(json.loads(index([made]).manifest)):
        documents.append((INDEX[False], json.dumps(value).encode()))
    whole = made.manifest
    documents += [
        (kind, data)
        for kind in (MANIFEST[False], INDEX[True])
        for data in (
            b"",
            b"\0" * 1000,
            b"[" * DEEP,
            b'{"a":' * DEEP + b"1" + b"}" * DEEP,
            b'{"schemaVersion":2,"layers":' + b"[" * DEEP + b"]" * DEEP + b"}",
            whole[:-1],
            whole + b"}",
            whole + b"\0",
            b"\xef\xbb\xbf" + whole,
            whole.decode().encode("utf-16"),
            whole.replace(b'"schemaVersion":2', b'"schemaVersion":2,"schemaVersion":1'),
            whole.replace(b'"size":', b'"size":1e300,"x":'),
            whole.replace(b'"size":', b'"size":' + b"9" * 5000 + b',"x":'),
            b"[" + b"1," * 2_000_000 + b"1]",
        )
    ]
    assert len(documents) > 200
    registry.add(made, TEAM)
    place = registry.repository(TEAM)
    names = []
    for number, (kind, data) in enumerate(documents):
        place.documents[sha(data)] = (kind, data)
        place.tags[f"n{number}"] = sha(data)
        names.append(f"{registry.host}/{TEAM}:n{number}")
    done = subprocess.run(
        [sys.executable, "-c", PULL_ALL],
        input=json.dumps(names).encode(),
        capture_output=True,
        env=victim.environment,
        timeout=120,
    )
    said = dict(json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0 and len(said) == len(names), done.stderr[-3000:]
    assert [each for each in said.items() if each[1].startswith("broken")] == []
    assert done.stderr == b""
    assert sum(each.startswith("refused") for each in said.values()) > 150
    for name, each in said.items():
        if each == "pulled":
            victim("inspect", name)
            victim("history", name)
            victim("rmi", name)
    assert [each for each in victim.files() if each.startswith("tmp/")] == []


@pytest.mark.parametrize(
    "kind", ["both", "declared", "index as manifest", "manifest as index", "unknown", "config of another type", "chart"]
)
def test_documents_that_can_be_read_in_two_ways(refused: Any, registry: FakeRegistry, made: Image, kind: str) -> None:
    value, media_type = json.loads(made.manifest), MANIFEST[False]
    if kind == "both":
        value["manifests"] = [made.descriptor()]
    elif kind == "declared":
        media_type = MANIFEST[True]
    elif kind == "index as manifest":
        value = {"schemaVersion": 2, "mediaType": MANIFEST[False], "manifests": [made.descriptor()]}
    elif kind == "manifest as index":
        value["mediaType"] = INDEX[False]
    elif kind == "unknown":
        value["mediaType"] = media_type = "application/x-unknown"
    elif kind == "chart":
        value["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    else:
        value["layers"][0]["mediaType"] = CONFIG[False]
    assert refused(replace(made, manifest=encoded(value), media_type=media_type))


# Indexes
# ---------------------------------------------------------------------------------------------------------


def filled(entries: list[dict[str, object]]) -> Index:
    return Index(encoded({"schemaVersion": 2, "mediaType": INDEX[False], "manifests": entries}), INDEX[False], [], [])


def test_an_index_that_holds_itself(refused: Any, registry: FakeRegistry) -> None:
    entry = {"mediaType": INDEX[False], "digest": sha(b"itself"), "size": 1000}
    loop = filled([entry])
    registry.rule("GET", f"/manifests/{entry['digest']}", body(loop.manifest, INDEX[False]))
    refused(loop)
    assert len(registry.requests) < 10


def test_indexes_nested_too_deep(refused: Any, registry: FakeRegistry, made: Image) -> None:
    nested: Image | Index = made
    for _ in range(10):
        nested = index([nested])
    assert "nested" in refused(nested)
    assert len(registry.requests) < 12


@pytest.mark.parametrize("count", [10_000, 10_001])
def test_an_index_with_many_entries(
    victim: Visitor, refused: Any, registry: FakeRegistry, made: Image, count: int
) -> None:
    strange = {"architecture": "riscv64", "os": "plan9"}
    entries = [{**made.descriptor(), "digest": sha(str(n).encode()), "platform": strange} for n in range(count - 1)]
    whole = filled([*entries, made.descriptor()])
    if count > 10_000:
        assert "more than 10000" in refused(whole)
    else:
        registry.add(made, TEAM)
        name = registry.add(whole, TEAM, "1.0")
        victim("pull", name)
        assert len(registry.requests) == 4
        victim("rmi", name)


@pytest.mark.parametrize("kind", ["manifests", "indexes", "artefacts"])
def test_an_index_of_which_all_must_be_looked_at(refused: Any, registry: FakeRegistry, kind: str) -> None:
    """Entries without a platform, each with a document of its own: not all are asked for."""
    entries, place = [], registry.repository(TEAM)
    for number in range(2000):
        if kind == "indexes":
            each = filled([{"mediaType": MANIFEST[False], "digest": sha(str(number).encode()), "size": 1}])
            data, media_type = each.manifest, each.media_type
        else:
            one = image([small_tar()], architecture="riscv64", annotations={"n": str(number)})
            data, media_type = one.manifest, one.media_type
            place.blobs.update(one.blobs)
            if kind == "artefacts":
                data = data.replace(CONFIG[False].encode(), b"application/x-artefact")
        place.documents[sha(data)] = (media_type, data)
        entries.append({"mediaType": media_type, "digest": sha(data), "size": len(data)})
    refused(filled(entries))
    assert len(registry.requests) < 1000


def test_an_index_of_large_documents(refused: Any, registry: FakeRegistry) -> None:
    """Each as large as a manifest may be: not all are held in memory."""
    padding = "x" * (4_000_000)
    entries, numbers = [], {}

    def document(number: int) -> bytes:
        config = {"mediaType": "application/x-artefact", "digest": sha(b""), "size": 0}
        return encoded({"schemaVersion": 2, "config": config, "layers": [], "n": number, "padding": padding})

    def answer(handler: Handler, match: re.Match[str]) -> bool:
        handler.answer(200, document(numbers[match[1]]), kind=MANIFEST[False])
        return True

    for number in range(60):
        data = document(number)
        numbers[sha(data)] = number
        entries.append({"mediaType": MANIFEST[False], "digest": sha(data), "size": len(data)})
    registry.rule("GET", "/manifests/(sha256:.*)", answer)
    assert "more than" in refused(filled(entries))


@pytest.mark.parametrize("kind", ["the same", "others"])
def test_indexes_that_multiply(refused: Any, registry: FakeRegistry, made: Image, kind: str) -> None:
    """An index of indexes, each full: as many entries as there are small documents, squared."""
    strange = {"architecture": "riscv64", "os": "plan9"}
    leaves = [{**made.descriptor(), "digest": sha(str(n).encode()), "platform": strange} for n in range(5000)]
    below = [filled([*leaves, {**made.descriptor(), "size": n + 1}]) for n in range(1 if kind == "the same" else 60)]
    for each in below:
        registry.add(each, TEAM)
    entries = [each.descriptor() for each in below]
    assert refused(filled(entries * 9000 if kind == "the same" else entries), timeout=30)
    assert len(registry.asked("GET", "/manifests/sha256:")) < 100


# Sizes
# ---------------------------------------------------------------------------------------------------------


def test_a_configuration_of_a_gigabyte(refused: Any, registry: FakeRegistry, made: Image) -> None:
    """Claimed it is not asked for; real it is not read to its end."""

    def claim(value: dict[str, Any]) -> None:
        value["config"]["size"] = 1 << 30

    assert "more than" in refused(edited(made, claim))
    assert registry.asked("GET", "/blobs/") == []
    registry.rule("GET", made.id, endless(most=1 << 30))
    assert "wrong size" in refused(made)
    assert registry.requests[-1].sent < 64 * MIB
    config = encoded({**json.loads(made.config), "x": "x" * (9 << 20)})
    assert "more than" in refused(edited(made, lambda _: None, config))


@pytest.mark.parametrize("kind", ["trailing", "header", "name", "not a tar"])
def test_decompression_bombs(refused: Any, kind: str) -> None:
    """Small layers that grow by a factor of a thousand where no real one would."""
    if kind == "trailing":
        tar = bytes(400 * MIB)
    elif kind == "header":
        tar = pax([(b"comment", b"x" * (50 * MIB))]) + make(("f", "file", b"x"))
    elif kind == "name":
        tar = make(("n" * (50 * MIB), "file", b"x"))
    else:
        tar = b"x" * (400 * MIB)
    packed = gzip.compress(tar, 1, mtime=0)
    made = image([b""])
    config = json.loads(made.config)
    config["rootfs"]["diff_ids"] = [sha(tar)]
    config = encoded(config)

    def edit(value: dict[str, Any]) -> None:
        value["layers"][0] |= {"digest": sha(packed), "size": len(packed)}

    bomb = edited(made, edit, config)
    bomb.blobs[sha(packed)] = packed
    assert refused(bomb)
