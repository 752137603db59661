"""The trust policy: who obeys it, its scopes, names, certificates and logs; skopeo and cosign make and judge the same
signatures."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import signing
from engines import needs_root
from fakeregistry import FakeRegistry
from remoteimages import Image, image, small_tar
from signing import Authority, refused
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


class Policy:
    """A policy file of a visitor."""

    def __init__(self, visitor: Visitor, path: Path) -> None:
        self.path = path
        visitor.environment["UNDERLAY_TRUST_POLICY"] = str(path)
        self.write([{"type": "insecureAcceptAnything"}])

    def write(self, default: list[dict[str, Any]], **transports: Any) -> None:
        self.path.write_text(json.dumps({"default": default, "transports": transports}))

    def registry(self, scope: str, *requirements: dict[str, Any]) -> None:
        self.write([{"type": "reject"}], docker={scope: list(requirements)})


@pytest.fixture
def policy(visitor: Visitor, tmp_path: Path) -> Policy:
    return Policy(visitor, tmp_path / "policy.json")


REPOSITORY = {"type": "matchRepository"}


def by(keyfile: str, **more: Any) -> dict[str, Any]:
    return {"type": "sigstoreSigned", "keyPath": keyfile, **more}


def test_scopes(visitor: Visitor, registry: FakeRegistry, name: str, policy: Policy) -> None:
    accept, reject = {"type": "insecureAcceptAnything"}, {"type": "reject"}
    host = registry.host
    scopes = (f"{host}/{TEAM}:1", f"{host}/{TEAM}", f"{host}/team", host, "")
    for scope in scopes:
        policy.registry(scope, accept)
        visitor("pull", "-q", name)
        visitor("rmi", name)
        policy.write([accept], docker={scope: [reject]})
        assert "rejected by the trust policy" in refused(visitor, "pull", name)
    for wide, narrow in zip(scopes[1:], scopes, strict=False):
        policy.write([reject], docker={wide: [reject], narrow: [accept]})
        visitor("pull", "-q", name)
        visitor("rmi", name)
    policy.write([reject], docker={f"{host}/team/ap": [accept], f"{host}/{TEAM}:2": [accept], "*.0.1": [reject]})
    refused(visitor, "pull", name)


def test_who_obeys_it(
    visitor: Visitor,
    registry: FakeRegistry,
    app: Image,
    name: str,
    policy: Policy,
    key: Any,
    keyfile: str,
    tmp_path: Path,
) -> None:
    policy.registry(f"{registry.host}/team", by(keyfile, signedIdentity=REPOSITORY))
    target = f"{registry.host}/elsewhere/app:1"
    dockerfile = f"FROM {name}\nLABEL a=b\n".encode()
    for words in (
        ("pull", name),
        ("pull", "--verify", "policy", name),
        ("copy", f"docker://{name}", f"docker://{target}"),
        ("copy", f"docker://{name}", f"oci-archive:{tmp_path}/x.tar"),
        ("copy", f"docker://{name}", "store:app:1"),
        ("sync", name, f"docker://{registry.host}/elsewhere"),
    ):
        assert "is not signed by" in refused(visitor, *words)
    assert not (tmp_path / "x.tar").exists() and "elsewhere/app" not in registry.repositories
    said = visitor("run", "--rm", name, code=125).stderr.decode()
    assert "is not signed by" in said
    said = visitor("build", "-q", "-", input=dockerfile, code=1).stderr.decode()
    assert "is not signed by" in said and visitor.out("images", "-aq") == ""
    signing.sign(registry, TEAM, app.digest, key)
    visitor("copy", "-q", f"docker://{name}", f"docker://{target}")
    visitor("copy", "-q", "--remove-signatures", f"docker://{name}", f"oci-archive:{tmp_path}/x.tar")
    visitor("build", "-q", "-t", "built", "-", input=dockerfile)
    visitor("pull", "--verify", "policy", name)
    visitor("copy", "-q", "--remove-signatures", f"docker://{name}", f"oci:{tmp_path}/layout")
    said = visitor("build", "--build-context", f"{name}=oci-layout://{tmp_path}/layout", "-", input=dockerfile, code=1)
    assert "rejected by the trust policy" in said.stderr.decode()
    # Archives are where the policy says; a signature is kept in registries alone.
    assert "oci-archive" in visitor("copy", f"oci-archive:{tmp_path}/x.tar", "store:y:1", code=1).stderr.decode()
    policy.write([{"type": "reject"}], **{"oci-archive": {str(tmp_path): [{"type": "insecureAcceptAnything"}]}})
    visitor("copy", "-q", f"oci-archive:{tmp_path}/x.tar", "store:y:1")
    policy.write([by(keyfile)])
    assert "no archive holds" in visitor("copy", f"oci-archive:{tmp_path}/x.tar", "store:z:1", code=1).stderr.decode()


def test_a_policy_that_demands_nothing(visitor: Visitor, name: str, policy: Policy) -> None:
    visitor("pull", "-q", name)
    visitor("rmi", name)
    assert "demands no signature" in refused(visitor, "pull", "--verify", "policy", name)


@pytest.mark.parametrize(
    ("stated", "identity", "taken"),
    [
        ("", None, False),  # cosign names no tag, which the default demands
        (":1", None, True),
        (":2", None, False),
        (":1", {"type": "matchExact"}, True),
        ("", {"type": "matchExact"}, False),
        ("", {"type": "matchRepository"}, True),
        (":9", {"type": "matchRepository"}, True),
        (":1", {"type": "matchRepoDigestOrExact"}, True),
        ("x", {"type": "matchRepository"}, False),
        ("", {"type": "exactRepository", "dockerRepository": "HOST/team/app"}, True),
        ("", {"type": "exactRepository", "dockerRepository": "HOST/team/other"}, False),
        (":7", {"type": "exactReference", "dockerReference": "HOST/team/app:7"}, True),
        (":7", {"type": "exactReference", "dockerReference": "HOST/team/app:1"}, False),
        (
            "vendor.example/team/app:1",
            {"type": "remapIdentity", "prefix": "HOST", "signedPrefix": "vendor.example"},
            True,
        ),
        (
            "vendor.example/team/app:2",
            {"type": "remapIdentity", "prefix": "HOST", "signedPrefix": "vendor.example"},
            False,
        ),
        (
            "vendor.example/app:1",
            {"type": "remapIdentity", "prefix": "HOST/team", "signedPrefix": "vendor.example"},
            True,
        ),
        (
            "vendor.example/app:1",
            {"type": "remapIdentity", "prefix": "HOST/tea", "signedPrefix": "vendor.example"},
            False,
        ),
    ],
)
def test_identities_as_skopeo_has_them(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, policy: Policy, key: Any, keyfile: str,
    tmp_path: Path, stated: str, identity: dict[str, str] | None, taken: bool,
) -> None:  # fmt: skip
    reference = stated if "/" in stated else f"{registry.host}/{TEAM}{stated}"
    signing.sign(registry, TEAM, app.digest, key, reference=reference)
    requirement = by(keyfile)
    if identity is not None:
        requirement["signedIdentity"] = {word: text.replace("HOST", registry.host) for word, text in identity.items()}
    policy.registry(registry.host, requirement)
    assert skopeo_takes(policy.path, registry, name, tmp_path) == taken
    if taken:
        visitor("pull", "-q", name)
    else:
        refused(visitor, "pull", name)


def skopeo_takes(policy: Path, registry: FakeRegistry, name: str, tmp_path: Path) -> bool:
    """Whether skopeo takes an image by that policy."""
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    target = tmp_path / f"skopeo-{os.urandom(4).hex()}"
    words = ["skopeo", "--policy", str(policy), "--registries.d", attachments(registry, tmp_path), "copy", "-q"]
    done = subprocess.run(
        [*words, "--src-tls-verify=false", "--remove-signatures", f"docker://{name}", f"dir:{target}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 or "Source image rejected" in done.stderr, done.stderr
    return done.returncode == 0


def attachments(registry: FakeRegistry, tmp_path: Path) -> str:
    """A registries.d that lets skopeo read and write signatures beside images."""
    place = tmp_path / "registries.d"
    place.mkdir(exist_ok=True)
    (place / "all.yaml").write_text(f"docker:\n  {registry.host}:\n    use-sigstore-attachments: true\n")
    return str(place)


def test_what_skopeo_signs(visitor: Visitor, registry: FakeRegistry, name: str, policy: Policy, tmp_path: Path) -> None:
    """skopeo signs with the tag in the name, so its signatures meet the strict default."""
    if shutil.which("skopeo") is None or shutil.which("cosign") is None:
        pytest.skip("skopeo and cosign are not both installed")
    subprocess.run(
        ["cosign", "generate-key-pair"],
        cwd=tmp_path,
        env={**os.environ, "COSIGN_PASSWORD": "x"},
        check=True,
        capture_output=True,
    )
    (tmp_path / "phrase").write_text("x")
    target = f"{registry.host}/team/signed:1"
    words = ["skopeo", "--insecure-policy", "--registries.d", attachments(registry, tmp_path), "copy", "-q"]
    words += ["--src-tls-verify=false", "--dest-tls-verify=false", "--sign-passphrase-file", str(tmp_path / "phrase")]
    words += ["--sign-by-sigstore-private-key", str(tmp_path / "cosign.key"), f"docker://{name}", f"docker://{target}"]
    subprocess.run(words, check=True, capture_output=True)
    policy.registry(registry.host, by(str(tmp_path / "cosign.pub")))
    visitor("pull", "-q", target)
    visitor("pull", "-q", "--verify", str(tmp_path / "cosign.pub"), target)
    assert "is not signed by" in visitor("pull", name, code=1).stderr.decode()
    assert skopeo_takes(policy.path, registry, target, tmp_path)


@pytest.mark.parametrize("referrer", [False, True])
def test_what_cosign_signs(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, policy: Policy, tmp_path: Path, referrer: bool
) -> None:
    if shutil.which("cosign") is None:
        pytest.skip("cosign is not installed")
    environment = {**os.environ, "COSIGN_PASSWORD": "", "COSIGN_EXPERIMENTAL": "1" if referrer else "0"}

    def cosign(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["cosign", *words], cwd=tmp_path, env=environment, check=False, capture_output=True)

    assert cosign("generate-key-pair").returncode == 0
    where = f"{registry.host}/{TEAM}@{app.digest}"
    more = ("--registry-referrers-mode=oci-1-1",) if referrer else ()
    done = cosign("sign", "--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry", "-y", *more, where)
    assert done.returncode == 0, done.stderr
    key = str(tmp_path / "cosign.pub")
    visitor("pull", "-q", "--verify", key, name)
    policy.registry(registry.host, by(key, signedIdentity=REPOSITORY))
    visitor("pull", "-q", name)
    # And what tests make is what cosign takes.
    private = signing.private()
    registry.add(app, "team/ours", "1")
    signing.sign(registry, "team/ours", app.digest, private)
    ours = signing.public(private, tmp_path / "ours.pub")
    words = ("verify", "--key", ours, "--insecure-ignore-tlog", "--allow-http-registry", f"{registry.host}/team/ours:1")
    done = cosign(*words)
    assert done.returncode == 0, done.stderr


# Certificates and logs


def fulcio(authority: Authority, **changes: str) -> dict[str, Any]:
    given = {"caData": base64.b64encode(authority.pem()).decode(), "oidcIssuer": signing.ISSUER}
    return {
        "type": "sigstoreSigned",
        "fulcio": {**given, "subjectEmail": signing.EMAIL, **changes},
        "rekorPublicKeyData": base64.b64encode(signing.pem(authority.log)).decode(),
        "signedIdentity": REPOSITORY,
    }


def certified(registry: FakeRegistry, digest: str, authority: Authority, key: Any, **changes: Any) -> None:
    """Sign an image with a certificate of the authority and an entry of its log; `changes` make one of them wrong."""
    body = signing.payload(digest, f"{registry.host}/{TEAM}")
    by_whom = {name: changes[name] for name in ("email", "issuer", "usage") if name in changes}
    certificate = changes.get("issued_by", authority).certificate(key, **by_whom)
    signature = signing.signed(changes.get("signer", key), body)
    entry = changes.get("log", authority).entry(
        changes.get("noted", certificate), changes.get("noted_signature", signature), body, changes.get("days", 1)
    )
    signing.sign(
        registry, TEAM, digest, key, signature=signature, body=body, certificate=certificate.decode(),
        chain=authority.pem().decode(), **({} if changes.get("unlogged") else {"bundle": entry}),
    )  # fmt: skip


def test_certificates_as_skopeo_has_them(
    visitor: Visitor, registry: FakeRegistry, app: Image, name: str, policy: Policy, tmp_path: Path
) -> None:
    authority, other, key = Authority(), Authority(), signing.private()
    policy.registry(registry.host, fulcio(authority))
    from cryptography.x509.oid import ExtendedKeyUsageOID

    cases: list[tuple[dict[str, Any], str]] = [
        ({"email": "evil@example.org"}, "is for evil@example.org"),
        ({"issuer": "https://evil.example.org"}, "names the issuer"),
        ({"issued_by": other}, "not issued by the given authority"),
        ({"usage": ExtendedKeyUsageOID.SERVER_AUTH}, "not issued by the given authority"),
        ({"log": other}, "not signed by the given log"),
        ({"days": 3}, "not issued by the given authority"),  # logged when the certificate was not valid
        ({"signer": signing.private()}, "not that of its certificate"),
        ({"noted": authority.certificate(signing.private())}, "about something else"),
        ({"noted_signature": b"x"}, "about something else"),
        ({"unlogged": True}, "no entry of a log"),
    ]
    for changes, reason in cases:
        certified(registry, app.digest, authority, key, **changes)
        assert reason in refused(visitor, "pull", name), changes
        assert not skopeo_takes(policy.path, registry, name, tmp_path), changes
    certified(registry, app.digest, authority, key)
    assert skopeo_takes(policy.path, registry, name, tmp_path)
    visitor("pull", "-q", name)


def test_a_key_and_a_log(
    visitor: Visitor,
    registry: FakeRegistry,
    app: Image,
    name: str,
    policy: Policy,
    key: Any,
    keyfile: str,
    tmp_path: Path,
) -> None:
    authority = Authority()
    log = signing.public(authority.log, tmp_path / "rekor.pub")
    policy.registry(registry.host, by(keyfile, rekorPublicKeyPath=log, signedIdentity=REPOSITORY))
    signing.sign(registry, TEAM, app.digest, key)
    assert "no entry of a log" in refused(visitor, "pull", name)
    body = signing.payload(app.digest, f"{registry.host}/{TEAM}")
    signature = signing.signed(key, body)
    entry = authority.entry(signing.pem(key), signature, body)
    signing.sign(registry, TEAM, app.digest, key, body=body, signature=signature, bundle=entry)
    assert skopeo_takes(policy.path, registry, name, tmp_path)
    visitor("pull", "-q", name)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not JSON"),
        ("[]", "not an object"),
        ("{}", "$.default"),
        ('{"default": []}', "$.default"),
        ('{"default": [{"type": "maybe"}]}', "unknown type 'maybe'"),
        ('{"default": [{"type": "reject"}], "transport": {}}', "unknown member 'transport'"),
        ('{"default": [{"type": "reject", "x": 1}]}', "unknown member 'x'"),
        ('{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x"}]}', "GPG signature"),
        ('{"default": [{"type": "sigstoreSigned"}]}', "exactly one of"),
        ('{"default": [{"type": "sigstoreSigned", "keyPath": "/none", "keyData": ""}]}', "exactly one of"),
        ('{"default": [{"type": "sigstoreSigned", "keyPath": "/none"}]}', "no such file"),
        ('{"default": [{"type": "sigstoreSigned", "keyData": "eA=="}]}', "no public key"),
        ('{"default": [{"type": "sigstoreSigned", "keyPaths": []}]}', "list of texts"),
        ('{"default": [{"type": "sigstoreSigned", "pki": {}}]}', "pki is not supported"),
        ('{"default": [{"type": "sigstoreSigned", "fulcio": {"caPath": "/none"}}]}', "oidcIssuer and subjectEmail"),
        (
            '{"default": [{"type": "sigstoreSigned", "keyPath": "/none", "signedIdentity": {"type": "x"}}]}',
            "unknown type 'x'",
        ),
    ],
)  # fmt: skip
def test_a_policy_that_is_wrong(visitor: Visitor, name: str, policy: Policy, text: str, word: str) -> None:
    """It is told, and taken for no permission."""
    policy.path.write_text(text)
    said = refused(visitor, "pull", name)
    assert word in said


def test_where_a_policy_is_looked_for(visitor: Visitor, name: str, tmp_path: Path) -> None:
    place = visitor.home / "config" / "containers"
    place.mkdir(parents=True)
    (place / "policy.json").write_text('{"default": [{"type": "reject"}]}')
    assert "rejected by the trust policy" in refused(visitor, "pull", name)
    visitor.environment["UNDERLAY_TRUST_POLICY"] = str(tmp_path / "none")
    assert "UNDERLAY_TRUST_POLICY names it" in refused(visitor, "pull", name)
