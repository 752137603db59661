"""Caches in BuildKit's form: keys as BuildKit 0.13 has them, records that are linked wrongly, what has no key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from underlay.builder.cache.buildkit import contents, keys
from underlay.builder.cache.buildkit.keys import SCRATCH, Copied, Key
from underlay.builder.cache.buildkit.records import Records, Writer
from underlay.builder.context.patterns import Matcher
from underlay.errors import Corrupt
from underlay.oci.descriptor import Descriptor
from underlay.oci.platform import parse

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
AMD64 = parse("linux/amd64")
BASE = keys.image(["sha256:30f95651dfa79ac8d91a4358c34b0bfa6580e735660de12d5628132f37a3d8f8"])
assert BASE is not None


def run(words: str = "echo hi > /made", **more: Any) -> Key | None:
    given = {"below": BASE, "environment": [PATH, "A=1"], "directory": "/w/x", "user": "", "network": "host"}
    return keys.run(words=["/bin/sh", "-c", words], insecure=False, platform=AMD64, **{**given, **more})


def copy(paths: list[str], digest: str, destination: str, **more: Any) -> Key | None:
    given = {"below": BASE, "origin": None, "workdir": "/w/x", "owner": "", "mode": None, "unpack": False}
    sources = [Copied(path, digest) for path in paths]
    return keys.copy(sources=sources, destination=destination, **{**given, **more})


# Digests that docker 26.1 (BuildKit 0.13) has written into a cache, by what they stand for.
THEIRS = {
    "39bd5695cea1129d6da1181e132498b159b29a01c9fc5ed72179d1721e9f3a74": BASE,
    "762c2645178390d26b9137e8fec9defc99715e95fdb04305d7a1628622b95f96": keys.directory(BASE, "/w/x", ""),
    "8a3d8048003986b9216712422e0b1a8d1e00cf648bbff748144d86565546375c": run(),
    "b0423f39d41a5a7e73e55bc241d63c315350c80d00b16bdc3e996cdf32bbb4ec": copy(["/f"], "x", "/f1"),
    "d59fbd47496ed0ae17422518243fd04f03671e3e107febd13bbf342a47c4e94d": copy(["/d"], "x", "sub/"),
    "f219f70de43c504dcfa6656005c330efd6e6f272f22b73bb97e3f49a1476afb4": copy(
        ["/f", "/d"], "x", "/both/", owner="5:6", mode=0o600
    ),
    "ad65a9973c10bbe786007ddd273d522a2574ecba87c813e36eb374829fa0e450": copy(["/f"], "x", "/added", unpack=True),
}


@pytest.mark.parametrize("digest", THEIRS)
def test_keys_are_buildkits(digest: str) -> None:
    key = THEIRS[digest]
    assert key is not None and f"sha256:{digest}" in key.digests


def test_what_has_no_key() -> None:
    assert run(network="mine") is None
    assert run("\udcff") is None
    assert run(below=SCRATCH) is None
    assert keys.image([]) is None
    assert keys.directory(BASE, "/w", "alice") is None
    assert copy(["/f"], "x", "/a/.") is None
    assert copy(["/f"], "x", "/a", owner="alice") is None
    assert copy(["/f"], "x", "/a", owner="0") is None
    assert copy(["/f"], "", "/a") is None
    assert copy(["/f"], "", "/a", origin=BASE) is None


def test_contents_are_buildkits(tmp_path: Path) -> None:
    (tmp_path / "d/e").mkdir(parents=True)
    for name, text in (("f", "a\n"), ("d/g", "b\n"), ("d/e/h", "x\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o644)
    (tmp_path / "d/l").symlink_to("g")
    for name in ("d", "d/e"):
        (tmp_path / name).chmod(0o755)
    root = os.open(tmp_path, os.O_RDONLY)
    found = {path: contents.digest(root, path, None) for path in ("f", "d")}
    key = copy(["/f"], found["f"], "/")
    assert key is not None
    assert key.inputs[1][0][1].digests[0].startswith("sha256:d9bbc07d27ae5f69")
    key = copy(["/d"], found["d"], "/")
    assert key is not None and key.inputs[1][0][1].digests[0].startswith("sha256:0ca2f8c8e9f32315")
    # What is ignored is not there; what cannot be told has no digest.
    assert contents.digest(root, "d", Matcher(["d/none"])) == found["d"]
    assert contents.digest(root, "d", Matcher(["d/g"])) != found["d"]
    assert contents.digest(root, "/", None) not in ("", found["d"])
    os.mkfifo(tmp_path / "d/pipe")
    assert contents.digest(root, "d", None) == ""
    os.close(root)


# Records


def descriptor(name: str) -> Descriptor:
    return Descriptor(digest=name, size=1)


def written(*steps: tuple[Key, list[str]]) -> Records:
    writer = Writer()
    for number, (key, chain) in enumerate(steps):
        writer.add(key, chain, number * 1_000_000_000)
    blobs = {name: descriptor(name) for _, chain in steps for name in chain}
    return Records(json.dumps(writer.config).encode(), blobs, "here")


def test_results_are_found_again() -> None:
    one, other = run(), run("other")
    assert one is not None and other is not None
    records = written((one, ["base", "made"]))
    found = records.find(keys.run(**_again()))
    assert found is not None and [layer.digest for layer in found.layers] == ["base", "made"]
    assert records.find(other) is None and records.find(BASE) is None
    above = Key(["sha256:1"], [(("", one),)])
    assert written((above, ["base", "made", "above"])).find(one) is None


def _again() -> dict[str, Any]:
    return {
        "below": keys.image(["sha256:30f95651dfa79ac8d91a4358c34b0bfa6580e735660de12d5628132f37a3d8f8"]),
        "words": ["/bin/sh", "-c", "echo hi > /made"],
        "environment": [PATH, "A=1"],
        "directory": "/w/x",
        "user": "",
        "network": "host",
        "insecure": False,
        "platform": AMD64,
    }


def test_equal_records_are_written_once() -> None:
    writer = Writer()
    for _ in range(2):
        key = keys.run(**_again())
        assert key is not None
        writer.add(key, ["base", "made"], 1)
    assert len(writer.records) == 2


def test_a_long_chain() -> None:
    key = BASE
    assert key is not None
    chain = ["base"]
    writer = Writer()
    for number in range(3000):
        key = Key([f"sha256:{number}"], [(("", key),)])
    chain += [str(number) for number in range(300)]
    writer.add(key, chain, 1)
    records = Records(json.dumps(writer.config).encode(), {name: descriptor(name) for name in chain}, "here")
    found = records.find(key)
    assert found is not None and len(found.layers) == 301


@pytest.mark.parametrize(
    "config",
    [
        {"layers": [{"blob": "a", "parent": 0}], "records": [{"digest": "sha256:k", "layers": [{"layer": 0}]}]},
        {"layers": [{"blob": "a", "parent": 5}], "records": [{"digest": "sha256:k", "layers": [{"layer": 0}]}]},
        {"layers": [], "records": [{"digest": "sha256:k", "layers": [{"layer": -1}, {"layer": 7}]}]},
        {"layers": [{"blob": "none", "parent": -1}], "records": [{"digest": "sha256:k", "layers": [{"layer": 0}]}]},
        {"layers": [], "records": [{"digest": "sha256:k", "chains": [{"layers": [3, -4]}, {"layers": []}]}]},
        {"records": [{"digest": "sha256:k", "inputs": [[{"link": 0}]]}, {"digest": "sha256:k", "inputs": [None]}]},
        {},
    ],
)
def test_records_that_are_wrong(config: dict[str, Any]) -> None:
    records = Records(json.dumps(config).encode(), {"a": descriptor("a")}, "here")
    assert records.find(Key(["sha256:k"])) is None


@pytest.mark.parametrize("data", [b"", b"[]", b'{"records": 1}', b'{"records": [{"inputs": [[{}]]}]}', b"[" * 100_000])
def test_what_is_no_configuration(data: bytes) -> None:
    with pytest.raises(Corrupt):
        Records(data, {}, "here")
