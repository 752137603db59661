"""Documents from outside: bounds, shapes, and the place of what is wrong."""

import json
import re

import pytest

from archives import config, layer, sha
from underlay.errors import InvalidInput, LimitExceeded, UnderlayError
from underlay.oci import chain, digest, document, manifest
from underlay.oci import config as configs

D = "sha256:" + "0" * 64


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def good_manifest(**changes: object) -> dict:
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": D, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": D, "size": 10}],
        **changes,
    }


def test_bytes_are_kept_and_named():
    data = b' {"schemaVersion": 2,\n "manifests": [], "unknown": {"a": 1}}'
    found = manifest.read_index(data, "index")
    assert found.data == data
    assert found.digest == sha(data)
    assert found.value["unknown"] == {"a": 1}
    assert json.loads(document.edited(found, {"manifests": [1]}))["unknown"] == {"a": 1}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b"nul", "truncated"),
        (b'{"config": null}', "Expected `object`, got `null` - at `$.config`"),
        (text(good_manifest(layers="x")), "Expected `array | null`, got `str` - at `$.layers`"),
        (text(good_manifest(layers=[1])), "at `$.layers[0]`"),
        (text(good_manifest(layers=[{"digest": "sha256:../..", "size": 1}])), "$.layers[0].digest"),
        (text(good_manifest(layers=[{"digest": D, "size": -1}])), "$.layers[0].size"),
        (text(good_manifest(layers=[{"digest": D, "size": 1 << 63}])), "$.layers[0].size"),
        (text(good_manifest(layers=[{"digest": D, "size": 1.5}])), "at `$.layers[0].size`"),
        (text(good_manifest(schemaVersion=1)), "$.schemaVersion: expected 2, found 1"),
        (text(good_manifest(schemaVersion=None)), "$.schemaVersion"),
        (text(good_manifest(manifests=[])), "both an index and a manifest"),
        (text(good_manifest(mediaType="application/vnd.oci.image.index.v1+json")), "$.mediaType"),
        (b'{"a":"\xff"}', "utf-8"),
        (b'{"a":"\\ud800"}', "m"),
        (b'{"a":' + b"9" * 5000 + b"}", "out of range"),
        (b'{"a":NaN}', "malformed"),
        (b"\xef\xbb\xbf{}", "malformed"),
    ],
)
def test_a_wrong_manifest_is_one_clear_line(data, said):
    with pytest.raises(InvalidInput) as caught:
        manifest.read_manifest(data, "manifest")
    assert said.lower() in caught.value.message.lower()  # msgspec words it, each version its own way
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' + b"[" * 200 + b"]" * 200 + b"}",
        b'{"x":[' + b"0," * 1_000_001 + b"0]}",
        b'{"x":"' + b"a" * (5 << 20) + b'"}',
    ],
)
def test_size_depth_and_number_are_bounded(data):
    with pytest.raises(LimitExceeded):
        manifest.read_manifest(data, "manifest")


def test_a_configuration_may_have_nulls_as_docker_writes_them():
    value = config([layer()], config={"Cmd": None, "Env": None, "Volumes": None, "User": None}, history=None)
    assert configs.read(text(value), "c").view.diff_ids == [sha(layer())]
    assert configs.read(text(config([], history=[])), "c").view.diff_ids == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": 1}, "at `$.architecture`"),
        ({"os": []}, "at `$.os`"),
        ({"rootfs": None}, "at `$.rootfs`"),
        ({"rootfs": {"diff_ids": ["x"]}}, "$.rootfs.diff_ids[0]"),
        ({"rootfs": {"diff_ids": [None]}}, "at `$.rootfs.diff_ids[0]`"),
        ({"config": []}, "at `$.config`"),
        ({"config": {"Cmd": "sh"}}, "at `$.config.Cmd`"),
        ({"config": {"Env": [1]}}, "at `$.config.Env[0]`"),
        ({"config": {"Labels": {"a": 1}}}, "at `$.config.Labels[...]`"),
        ({"config": {"Cmd": ["a\0b"]}}, "a zero byte"),
        ({"history": [{}, {}]}, "$.history: 2 entries have a layer"),
        ({"history": {}}, "at `$.history`"),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(changes, said):
    with pytest.raises(UnderlayError) as caught:
        configs.read(text(config([layer()], **changes)), "configuration")
    assert said in caught.value.message


def test_less_history_than_layers_is_let_be():
    assert configs.read(text(config([layer()], history=[])), "configuration").value["history"] == []


def test_digests_are_strict():
    assert digest.is_digest(D)
    for wrong in (
        "",
        "sha256:",
        D.upper(),
        D[:-1],
        D + "0",
        "md5:" + "0" * 32,
        "sha256:" + "g" * 64,
        "sha256:../../x",
    ):
        assert not digest.is_digest(wrong)
        with pytest.raises(InvalidInput):
            digest.check(wrong)


def test_chain_ids_follow_the_specification():
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain.chain_ids([]) == []
    assert chain.chain_id([one]) == one
    assert chain.chain_id([one, two]) == sha(f"{one} {two}".encode())


def test_a_document_of_another_type_than_its_descriptor_says():
    oci, docker = "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"
    index = "application/vnd.oci.image.index.v1+json"
    for stated in (docker, index):
        with pytest.raises(
            InvalidInput, match=f"its descriptor says that it is {re.escape(stated)}, but its mediaType is"
        ):
            manifest.check_stated(good_manifest(), stated, "manifest x")
    for stated in (oci, "", "application/json"):
        manifest.check_stated(good_manifest(), stated, "manifest x")
    manifest.check_stated({}, index, "manifest x")


def test_a_manifest_is_no_configuration():
    for kind in ("manifest", "index"):
        value = {**config([layer()]), "mediaType": f"application/vnd.oci.image.{kind}.v1+json"}
        with pytest.raises(InvalidInput, match="is not a media type of configurations"):
            configs.read(text(value), "configuration x")
    configs.read(
        text({**config([layer()]), "mediaType": "application/vnd.oci.image.config.v1+json"}), "configuration x"
    )
