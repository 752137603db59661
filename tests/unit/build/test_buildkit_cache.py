"""Caches in BuildKit's form: keys as BuildKit 0.13 has them, records that are linked wrongly, what has no key."""

from __future__ import annotations

import json
import os
import posixpath
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from underlay.builder.cache.buildkit import contents, keys, mounts
from underlay.builder.cache.buildkit.keys import SCRATCH, Copied, Key
from underlay.builder.cache.buildkit.records import Records, Writer
from underlay.builder.context.patterns import Matcher
from underlay.dockerfile.mounts import Mount, read_mount
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
    "0d352828f5d21eac90d96f594861bd28a3d03b976d7d95c027f43cf2a92a4dc4": copy(["/f"], "x", "/a1", owner="alice"),
    "075f6752f18cefd3627571201c13c85b910a07162c82f3bbe23c02530c8b9fb7": copy(["/f"], "x", "/a3", owner="root:alice"),
    "8055dd1536a288c34ff7f1bd18836277120b39b88a5129470bc90b49c0015be5": copy(["/f"], "x", "/a4", owner="0:0"),
    "d702c596203169e1bd41c978883daf805fffd4f810f4728b718a9e7a54d88746": copy(
        ["/f", "/g1"], "x", "/a5/", owner="alice:root"
    ),
    "ab737e486bfca447630f755934805c65cc1a54765151af26b278ad21c31a6ab7": keys.directory(BASE, "/a6/x", "alice"),
    "ddec152c62c6d85613e6f785539a291f8113eb49553b2d6506c5acee8186b1e0": copy(["/g*"], "x", "/a7/"),
}


@pytest.mark.parametrize("digest", THEIRS)
def test_keys_are_buildkits(digest: str) -> None:
    key = THEIRS[digest]
    assert key is not None and f"sha256:{digest}" in key.digests


TOOL = run("echo tool > /tool", directory="/", environment=[PATH])


def mounted(*texts: str, namespace: str = "") -> tuple[list[list[dict[str, object]]], list[Any]] | None:
    """Describe mounts of a step in /w; the context's files have digests of their names, `tool` is a stage."""
    read = [read_mount(text, lambda word: word) for text in texts]

    def source(mount: Mount) -> tuple[Key | None, Copied] | None:
        path = posixpath.join("/", mount.source)
        known = {"": (None, Copied(path, f"digest of {path}")), "tool": (TOOL, Copied(path, "")), "base": (BASE, None)}
        return known.get(mount.from_)

    assert BASE is not None
    return mounts.described(
        [(posixpath.normpath(posixpath.join("/w", mount.target)), mount) for mount in read], namespace, BASE, source
    )


# Digests that docker 26.1 has written into a cache, of `touch FILE` in a directory with mounts.
WITH_MOUNTS = {
    ("a1", "/", "type=cache,target=/root/.cache"): "2a90f1cf0be21463375b9f8f91c1407a9ac170f831b2e90b44d15a82490dde22",
    ("a2", "/w", "type=cache,id=objects,target=out,sharing=locked"): (
        "b6800e2554f298d4b4d6d6a41109bf5eb7185356794460d0d1e215ae724f43a7"
    ),
    ("a3", "/", "type=tmpfs,target=/t"): "9da68481f926d6cd35f7978e8ba02615089021a9b3f3c2f0dded4b047efdb862",
    ("a4", "/", "type=tmpfs,target=/t,size=1m"): "24b7b9015375f33780630bd31853566e9ebb730f9efe4c72f6f05747e5ce2919",
    ("a5", "/", "type=secret,id=word"): "752eaa57af0add59680bda367237a9618048c8028b4f6b2d70d9a1c98fe69d19",
    ("a6", "/", "type=secret,id=w,target=/s,mode=0444"): (
        "a18c29c915264ce93a5843e03fac26ad8accda2cdf9bcbac7c6baaa6594de2e2"
    ),
    ("a8", "/", "from=tool,source=/tool,target=/tool2"): (
        "95730259c86c6b5bb720db622df719c8b1b540d8f878da35c629373f1444fa73"
    ),
    ("b1", "/", "source=d,target=/d,rw"): "6a476f9b543e46b94f2d0cf137cb5836ab49eb6eee7c0fb9da58feecbae0e39d",
    ("b3", "/", "source=f,target=/src/f source=d,target=/q"): (
        "f4dcf1100968ce0e8b71b4eb6f67aa45dbccb934d18ffb38681bd642e6b91cb0"
    ),
}


@pytest.mark.parametrize(("case", "digest"), WITH_MOUNTS.items())
def test_keys_of_steps_with_mounts_are_buildkits(case: tuple[str, str, str], digest: str) -> None:
    name, directory, texts = case
    described = mounted(*texts.split())
    assert described is not None
    forms, inputs = described
    key = run(f"touch /{name}", directory=directory, environment=[PATH], mounts=forms, inputs=inputs)
    assert key is not None and f"sha256:{digest}" in key.digests


def test_what_mounts_read() -> None:
    described = mounted(
        "source=f,target=/2", "from=tool,source=/x,target=/1", "source=g/h,target=/3", "source=g,target=/4"
    )
    assert described is not None
    (form, short), (root, stage, context) = described
    assert [entry["input"] for entry in form] == [0, 1, 2, 2, 2]
    assert short[0] == {"dest": "/"} and short[1] == {"input": 1, "dest": "/1", "output": -1, "readonly": True}
    assert root == ((keys.selector("/"), BASE),) and stage == ((keys.selector("/x"), TOOL),)
    sources = [Copied(path, f"digest of {path}") for path in ("/f", "/g")]
    assert context[0][1].digests == keys.held(sources)[1].digests  # /g/h is in /g


def test_names_of_caches_in_keys() -> None:
    names = {"type=cache,target=/c": "//c", "type=cache,target=/c,id=c": "/c", "type=cache,target=/c,id=d": None}
    for text, name in names.items():
        described = mounted(text)
        assert described is not None
        assert described[0][0][1]["cacheOpt"] == ({"ID": name} if name else {})
    described = mounted("type=cache,target=/c", namespace="n")
    assert described is not None and described[0][0][1]["cacheOpt"] == {"ID": "n//c"}


@pytest.mark.parametrize(
    "text",
    [
        "type=ssh",
        "type=secret,id=a,env=A",
        "type=secret,id=a,target=a",
        "type=cache,target=/c,uid=1",
        "type=cache,target=/c,from=tool",
        "type=cache,target=/c/",
        "type=tmpfs,target=/a type=cache,target=/a",
        "from=unknown,target=/a",
        "from=base,target=/a",
    ],
)
def test_mounts_without_a_form(text: str) -> None:
    texts = text.split()
    assert mounted(*texts) is None


def test_what_has_no_key() -> None:
    assert run(network="mine") is None
    assert run("\udcff") is None
    assert run(below=SCRATCH) is None
    assert keys.image([]) is None
    assert keys.directory(SCRATCH, "/w", "alice") is None
    assert copy(["/f"], "x", "/a/.") is None
    assert copy(["/f"], "x", "/a", owner="alice", below=SCRATCH) is None
    assert copy(["/f"], "x", "/a", owner="1:2:3") is None
    assert copy(["/f"], "x", "/a", owner="9" * 5000) is None
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
    f = b"f" + found["f"].encode()
    assert contents.matching(root, "f*", None) == "sha256:" + sha256(f).hexdigest()
    assert contents.matching(root, "x*", None) == "sha256:" + sha256().hexdigest()
    assert contents.matching(root, "d*", None) == ""
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
