"""Images are taken only when they are signed as the caller demands; what is wrong is told, and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import signing
from engines import needs_root
from fakeregistry import FakeRegistry
from remoteimages import Image, image, index, sha, small_tar
from signing import refused
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


@pytest.fixture(scope="module")
def app() -> Image:
    return image([small_tar()])


@pytest.fixture(scope="module")
def key() -> Any:
    return signing.private()


@pytest.fixture
def name(registry: FakeRegistry, app: Image) -> str:
    return registry.add(app, TEAM, "1")


@pytest.fixture
def keyfile(key: Any, tmp_path: Path) -> str:
    return signing.public(key, tmp_path / "cosign.pub")


@pytest.mark.parametrize("kind", ["p256", "p384", "ed25519", "rsa"])
@pytest.mark.parametrize("referrer", [False, True])
def test_a_signature_by_a_key(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, tmp_path: Path, kind: str, referrer: bool
) -> None:
    private = signing.private(kind)
    path = signing.public(private, tmp_path / "key.pub")
    assert "there is no signature beside it" in refused(visitor, "pull", "--verify", path, name)
    signing.sign(registry, TEAM, app.digest, private, referrer=referrer)
    visitor("pull", "--verify", path, name)
    # What is here has to be signed too, when that is demanded.
    other = signing.public(signing.private(), tmp_path / "other.pub")
    assert "with another key" in visitor("pull", "--verify", other, name, code=1).stderr.decode()


def test_signatures_that_do_not_count(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, key: Any, keyfile: str
) -> None:
    other = registry.repository(TEAM)
    elsewhere = f"{registry.host}/team/other"
    another = image([small_tar({"other": b""})])
    registry.add(another, TEAM, "2")
    good = signing.payload(app.digest, f"{registry.host}/{TEAM}")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"key": signing.private()}, "with another key"),
        ({"reference": elsewhere}, f"a signature names {elsewhere}"),
        ({"body": signing.payload(another.digest, f"{registry.host}/{TEAM}")}, "that of another image"),
        ({"body": signing.payload(app.digest, f"{registry.host}/{TEAM}", "atomic container signature")}, "of the type"),
        ({"signature": signing.signed(key, good + b" ")}, "with another key"),
        ({"body": b"{}"}, "something else than an image"),
        ({"body": b"[" * 100_000}, "something else than an image"),
        ({"signature": b"no signature"}, "with another key"),
    ]
    for changes, reason in cases:
        for referrer in (False, True):
            stored = signing.sign(registry, TEAM, app.digest, **{"key": key, "referrer": referrer, **changes})
            assert reason in refused(visitor, "pull", "--verify", keyfile, name), changes
            del other.documents[stored]
            other.tags.pop(signing.tag_of(app.digest), None)
    # One that counts is enough, whatever else is there.
    signing.sign(registry, TEAM, app.digest, signing.private())
    signing.sign(registry, TEAM, app.digest, key, referrer=True)
    visitor("pull", "--verify", keyfile, name)


def test_another_images_signature_is_not_its_own(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, key: Any, keyfile: str
) -> None:
    """Replayed: the manifest of a good signature under the tag, or in the list, of another image."""
    another = image([small_tar({"evil": b""})])
    evil = registry.add(another, TEAM, "evil")
    place = registry.repository(TEAM)
    signing.sign(registry, TEAM, app.digest, key)
    place.tags[signing.tag_of(another.digest)] = place.tags[signing.tag_of(app.digest)]
    assert "that of another image" in refused(visitor, "pull", "--verify", keyfile, evil)
    # Of another repository by the same key.
    registry.add(app, "team/copied", "1")
    signing.sign(registry, "team/copied", app.digest, key, reference=f"{registry.host}/{TEAM}")
    said = refused(visitor, "pull", "--verify", keyfile, f"{registry.host}/team/copied:1")
    assert f"a signature names {registry.host}/{TEAM}" in said
    # The tag moved on to something that nobody has signed.
    place.tags["1"] = another.digest
    refused(visitor, "pull", "--verify", keyfile, name)
    visitor("pull", "--verify", keyfile, f"{registry.host}/{TEAM}@{app.digest}")


def test_a_broken_signature_manifest(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, key: Any, keyfile: str
) -> None:
    place = registry.repository(TEAM)
    stored = signing.sign(registry, TEAM, app.digest, key)
    value = json.loads(place.documents[stored][1])
    blob = value["layers"][0]["digest"]
    kept = place.blobs.pop(blob)
    refused(visitor, "pull", "--verify", keyfile, name)
    place.blobs[blob] = kept.replace(b"optional", b"optionul")
    refused(visitor, "pull", "--verify", keyfile, name)
    place.blobs[blob] = kept
    for annotation in ("", "no base64!", None):
        changed = {**value["layers"][0], "annotations": {"dev.cosignproject.cosign/signature": annotation}}
        signing.store(registry, TEAM, [(changed, kept)], signing.tag_of(app.digest))
        refused(visitor, "pull", "--verify", keyfile, name)
    for data in (b"{}", b'{"schemaVersion": 2, "manifests": []}', b'{"schemaVersion": 1, "layers": [1]}'):
        place.tags[signing.tag_of(app.digest)] = sha(data)
        place.documents[sha(data)] = (value["mediaType"], data)
        refused(visitor, "pull", "--verify", keyfile, name)


@pytest.mark.parametrize("whole", [True, False])
def test_an_index(visitor: Visitor, registry: FakeRegistry, app: Image, key: Any, keyfile: str, whole: bool) -> None:
    """It is signed itself, or the image of it that is taken."""
    arm = image([small_tar({"arm": b""})], architecture="arm64")
    both = index([app, arm])
    name = registry.add(both, TEAM, "both")
    signing.sign(registry, TEAM, both.digest if whole else app.digest, key)
    visitor("pull", "--verify", keyfile, name)
    if whole:
        visitor("pull", "--verify", keyfile, "--platform", "linux/arm64", name)
    else:
        said = visitor("pull", "--verify", keyfile, "--platform", "linux/arm64", name, code=1).stderr.decode()
        assert "there is no signature" in said


def test_a_bundle(visitor: Visitor, registry: FakeRegistry, app: Image, name: str, key: Any, keyfile: str) -> None:
    place = registry.repository(TEAM)
    another = image([small_tar({"other": b""})])
    for body, private, reason in (
        (signing.statement(app.digest), signing.private(), "with another key"),
        (signing.statement(another.digest), key, "that of another image"),
        (signing.statement(app.digest, "https://slsa.dev/provenance/v1"), key, "of the type"),
        (b"[]", key, "something else than a statement"),
    ):
        stored = signing.bundle(registry, TEAM, app.digest, body, private)
        assert reason in refused(visitor, "pull", "--verify", keyfile, name)
        del place.documents[stored]
    signing.bundle(registry, TEAM, app.digest, signing.statement(app.digest), key)
    visitor("pull", "--verify", keyfile, name)


def test_a_registry_without_a_list_of_referrers(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, key: Any, keyfile: str
) -> None:
    registry.has_referrers = False
    stored = signing.sign(registry, TEAM, app.digest, key, referrer=True)
    assert "there is no signature" in refused(visitor, "pull", "--verify", keyfile, name)
    place = registry.repository(TEAM)
    kind = "application/vnd.dev.cosign.artifact.sig.v1+json"
    entry = {**signing.subject(registry, TEAM, stored), "artifactType": kind}
    data = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    place.documents[sha(data)] = ("application/vnd.oci.image.index.v1+json", data)
    place.tags[app.digest.replace(":", "-")] = sha(data)
    visitor("pull", "--verify", keyfile, name)


def test_what_is_no_key(visitor: Visitor, registry: FakeRegistry, name: str, key: Any, tmp_path: Path) -> None:
    for data, word in ((b"", "no public key"), (b"x" * (2 << 20), "more than")):
        (tmp_path / "bad.pub").write_bytes(data)
        assert word in refused(visitor, "pull", "--verify", str(tmp_path / "bad.pub"), name)
    short = signing.public(signing.private("rsa1024"), tmp_path / "short.pub")
    assert "fewer than 2048" in refused(visitor, "pull", "--verify", short, name)
    assert "no such file" in refused(visitor, "pull", "--verify", str(tmp_path / "none"), name)
    for words in ("identity=a", "identity=a,issuer=b,trusted-root=", "issuer=b"):
        assert "identity=WHO" in refused(visitor, "pull", "--verify", words, name)
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "cryptography").mkdir()
    (tmp_path / "blocked" / "cryptography" / "__init__.py").write_text("raise ImportError")
    path = signing.public(key, tmp_path / "key.pub")
    python_path = f"{tmp_path}/blocked:{visitor.environment.get('PYTHONPATH', '')}"
    visitor.environment["PYTHONPATH"] = python_path
    assert "underlay[signatures]" in refused(visitor, "pull", "--verify", path, name)


# Without a key of one's own


def test_a_keyless_bundle(visitor: Visitor, registry: FakeRegistry, app: Image, name: str, tmp_path: Path) -> None:
    pytest.importorskip("sigstore", reason="the package sigstore is not installed")
    from keylessbundles import Sigstore

    made, other = Sigstore(), Sigstore()
    (tmp_path / "root.json").write_bytes(made.trusted_root())
    demand = f"identity={signing.EMAIL},issuer={signing.ISSUER},trusted-root={tmp_path}/root.json"
    key = signing.private()
    place = registry.repository(TEAM)
    good = signing.statement(app.digest)
    another = signing.statement("sha256:" + "0" * 64)
    cases = [
        (made.bundle(good, key, made.logged_certificate(key, email="evil@example.org")), "does not verify"),
        (made.bundle(good, key, made.logged_certificate(key, issuer="https://evil.example.org")), "does not verify"),
        (other.bundle(good, key, other.logged_certificate(key)), "does not verify"),
        (made.bundle(good, key, other.logged_certificate(key)), "does not verify"),
        (made.bundle(good, signing.private(), made.logged_certificate(key)), "does not verify"),
        (made.bundle(another, key, made.logged_certificate(key)), "that of another image"),
        (
            b'{"verificationMaterial": {}, "dsseEnvelope": ' + json.dumps(signing.envelope(good, key)).encode() + b"}",
            "verify",
        ),
    ]
    for data, reason in cases:
        stored = signing.attach_bundle(registry, TEAM, app.digest, data)
        assert reason in refused(visitor, "pull", "--verify", demand, name)
        del place.documents[stored]
    signing.sign(registry, TEAM, app.digest, key)
    assert "is no sigstore bundle" in refused(visitor, "pull", "--verify", demand, name)
    signing.attach_bundle(registry, TEAM, app.digest, made.bundle(good, key, made.logged_certificate(key)))
    visitor("pull", "-q", "--verify", demand, name)
    told = visitor.out("base", "identify", "--verify", demand, f"docker://{name}")
    assert f"signed by {signing.EMAIL} ({signing.ISSUER})" in told
    (tmp_path / "root.json").write_text("{")
    assert "no file of trusted roots" in visitor("pull", "--verify", demand, name, code=1).stderr.decode()
    (tmp_path / "root.json").unlink()
    assert "no such file" in visitor("pull", "--verify", demand, name, code=1).stderr.decode()


def test_without_the_package(visitor: Visitor, registry: FakeRegistry, app: Image, name: str, tmp_path: Path) -> None:
    (tmp_path / "blocked" / "sigstore").mkdir(parents=True)
    (tmp_path / "blocked" / "sigstore" / "__init__.py").write_text("raise ImportError")
    visitor.environment["PYTHONPATH"] = f"{tmp_path}/blocked:{visitor.environment.get('PYTHONPATH', '')}"
    signing.bundle(registry, TEAM, app.digest, signing.statement(app.digest), signing.private())
    demand = f"identity={signing.EMAIL},issuer={signing.ISSUER},trusted-root={tmp_path}/root.json"
    assert "underlay[keyless]" in refused(visitor, "pull", "--verify", demand, name)


def test_the_signature_of_any_manifest(registry: FakeRegistry, app: Image, name: str, keyfile: str, key: Any) -> None:
    """What the rest of the program asks: for an artefact, for one."""
    from underlay.errors import Untrusted
    from underlay.oci import reference as references
    from underlay.registry.registries import Registries
    from underlay.transfer.trust.trust import verify_digest

    reference = references.parse(name)
    with Registries() as registries:
        with pytest.raises(Untrusted, match="no signature beside it"):
            verify_digest(registries, reference, app.digest, keyfile)
        signing.sign(registry, TEAM, app.digest, key)
        (signer,) = verify_digest(registries, reference, app.digest, keyfile)
        assert signer == f"the key {keyfile} ({signing.fingerprint(key)[:12]})"
