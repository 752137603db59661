"""Pushing, copying and lists: what a registry gets and what it does not, and that others see and run the same."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import dockerdaemon
from engines import REPOSITORY, image_tar, needs_root
from fakeregistry import FakeRegistry
from faults import cut_upload, status
from registries import DockerRegistry, need
from remoteimages import Image, Index, image, index, random_tar, sha, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"
BODIES = "PATCH|POST|PUT"
RIVALS = runpy.run_path(str(REPOSITORY / "bench" / "rivals.py"))


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def real(tmp_path: Path) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture(scope="module")
def pair() -> Index:
    return index([image([small_tar({n: b"1"})], architecture=n) for n in ("amd64", "arm64")])


def uploads(registry: FakeRegistry) -> list[str]:
    """The requests since the last time this was asked that change something or carry a body."""
    found = [each.method for each in registry.asked(BODIES)]
    registry.forget()
    return found


def imported(visitor: Visitor, *names: str, tar: bytes | None = None) -> None:
    """Import an image without a registry and give it these names."""
    visitor("import", "-c", 'CMD ["echo", "ours"]', "-", names[0], input=image_tar() if tar is None else tar)
    for name in names[1:]:
        visitor("tag", names[0], name)


def digest_of(out: str) -> str:
    """The digest in the last line of a push."""
    match = re.fullmatch(r"(?:.*: )?digest: (sha256:[0-9a-f]{64}) size: \d+", out.splitlines()[-1])
    assert match, out
    return match[1]


def program(place: Path, *words: str | Path, code: int = 0, input: bytes | None = None) -> str:
    """Run another program with a home of its own; returns its standard output."""
    need(str(words[0]))
    place.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HOME": str(place), "XDG_RUNTIME_DIR": str(place)}
    done = subprocess.run([*map(str, words)], input=input, capture_output=True, timeout=60, env=environment)
    assert done.returncode == code, f"{words}: {done.stdout.decode()[-500:]}{done.stderr.decode()[-2000:]}"
    return done.stdout.decode().strip()


def skopeo(place: Path, name: str, *words: str) -> str:
    """What skopeo sees: the digest, or else what it is asked for."""
    words = words or ("--no-tags", "--format", "{{.Digest}}")
    return program(place / "skopeo", "skopeo", "inspect", "--tls-verify=false", *words, f"docker://{name}")


def test_new_image(visitor: Visitor, registry: FakeRegistry) -> None:
    name = f"{registry.host}/{TEAM}:1.0"
    imported(visitor, name)
    out = visitor.out("push", name)
    assert f"The push refers to repository [{registry.host}/{TEAM}]" in out
    assert "1.0: digest: sha256:" in out
    digest = digest_of(out)
    assert f"size: {len(registry.repository(TEAM).documents[digest][1])}" in out
    manifest = registry.manifest(TEAM, "1.0")
    assert manifest["config"]["digest"] == visitor.out("inspect", "-f", "{{.Id}}", name)
    assert [each["mediaType"].rpartition("+")[2] for each in manifest["layers"]] == ["gzip"]
    assert len(registry.asked("PATCH")) == 2
    uploads(registry)
    assert digest_of(visitor.out("push", name)) == digest
    assert uploads(registry) == ["PUT"]
    assert f"{registry.host}/{TEAM}@{digest}" in visitor.out("inspect", "-f", "{{.RepoDigests}}", name)
    visitor("rmi", name)
    visitor("pull", f"{registry.host}/{TEAM}@{digest}")


def test_words(visitor: Visitor, registry: FakeRegistry) -> None:
    """Quiet, the default tag, and what is not there."""
    name = f"{registry.host}/{TEAM}"
    imported(visitor, name, tar=small_tar())
    assert visitor.out("push", name).splitlines()[0] == "Using default tag: latest"
    done = visitor("push", "-q", name)
    assert (done.stdout.decode(), done.stderr) == (f"{name}:latest\n", b"")
    said = visitor.fails("push", f"{registry.host}/other/name:2")
    assert f"An image does not exist locally with the tag: {registry.host}/other/name" in said
    assert "digest" in visitor.fails("push", f"{name}@{sha(b'')}")
    assert "tag can't be used with --all-tags/-a" in visitor.fails("push", "-a", f"{name}:latest")
    visitor.fails("push", "-a", f"{registry.host}/other/name")
    visitor.fails("push", "--platform", "linux/s390x", name)
    assert all(json.loads(line) for line in visitor.out("push", "--progress=json", name).splitlines())
    assert list(registry.repositories) == [TEAM]


def test_all_tags(visitor: Visitor, registry: FakeRegistry) -> None:
    name = f"{registry.host}/{TEAM}"
    imported(visitor, f"{name}:1", f"{name}:2", f"{registry.host}/not/this:1", tar=small_tar())
    imported(visitor, f"{name}:3", tar=random_tar(1000))
    out = visitor.out("push", "-a", name)
    tags = registry.repository(TEAM).tags
    assert sorted(tags) == ["1", "2", "3"] and tags["1"] == tags["2"] != tags["3"]
    for tag, digest in tags.items():
        assert f"{tag}: digest: {digest} size: " in out
    assert len(registry.asked("PATCH")) == 4
    assert list(registry.repositories) == [TEAM]


@pytest.mark.parametrize("mounts", [True, False])
def test_same_registry(visitor: Visitor, made: Image, mounts: bool) -> None:
    """Layers are mounted, byte for byte; a registry that will not is sent them."""
    with FakeRegistry(mounts=mounts) as registry:
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)
        copied = f"{registry.host}/else/where:1"
        visitor("tag", name, copied)
        registry.forget()
        out = visitor.out("push", copied)
        manifest = registry.manifest("else/where", "1")
        assert manifest["config"]["digest"] == made.id
        if mounts:
            assert digest_of(out) == made.digest
            assert len(registry.asked("PATCH")) <= 1  # the configuration
            assert sorted(registry.repository("else/where").blobs) == sorted(made.blobs)
            assert f"Mounted from {TEAM}" in out
        else:
            assert registry.repository("else/where").uploads == {}
            assert len(registry.asked("PATCH")) == 3
        uploads(registry)
        again = digest_of(visitor.out("push", copied))
        assert again == registry.repository("else/where").tags["1"]
        assert uploads(registry) == ["PUT"]
        # Back to where it came from nothing is sent.
        assert digest_of(visitor.out("push", name)) == made.digest
        assert uploads(registry) == ["PUT"]


@pytest.mark.parametrize("docker", [False, True])
def test_another_registry(visitor: Visitor, registry: FakeRegistry, other: FakeRegistry, docker: bool) -> None:
    made = image([small_tar(), random_tar(300_000, 1)], ["zstd", "gzip"] if not docker else "gzip", docker)
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", name)
    there = f"{other.host}/{TEAM}:1.0"
    visitor("tag", name, there)
    digest = digest_of(visitor.out("push", there))
    manifest = other.manifest(TEAM, "1.0")
    assert manifest["config"]["digest"] == made.id and manifest["mediaType"] == made.media_type
    assert len(other.asked("PATCH")) == 3
    uploads(other)
    assert digest_of(visitor.out("push", there)) == digest
    assert uploads(other) == ["PUT"]
    # What was compressed once is not compressed anew for another repository: it is mounted.
    visitor("tag", name, f"{other.host}/other:1")
    assert digest_of(visitor.out("push", f"{other.host}/other:1")) == digest
    assert uploads(other).count("PATCH") <= 1
    fresh = Visitor(visitor.root.parent / "fresh")
    fresh("pull", there)
    assert fresh.out("inspect", "-f", "{{.Id}}", there) == made.id


def test_keep_compressed(visitor: Visitor, registry: FakeRegistry, other: FakeRegistry) -> None:
    made = image([small_tar(), random_tar(300_000, 1)], ["zstd", "gzip"])
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", "--keep-compressed", name)
    visitor("tag", name, f"{other.host}/{TEAM}:1.0")
    assert digest_of(visitor.out("push", f"{other.host}/{TEAM}:1.0")) == made.digest
    assert other.repository(TEAM).blobs == dict(made.blobs)


def test_platform_of_an_index(visitor: Visitor, registry: FakeRegistry, pair: Index) -> None:
    """One image gets the tag there; what the name stands for here stays the whole."""
    name = registry.add(pair, TEAM, "1.0")
    for platform in ("linux/amd64", "linux/arm64"):
        visitor("pull", "--keep-compressed", "--platform", platform, name)
    for image_of, platform in zip(pair.images, ("linux/amd64", "linux/arm64"), strict=True):
        registry.forget()
        assert digest_of(visitor.out("push", "--platform", platform, name)) == image_of.digest
        assert uploads(registry) == ["PUT"] and registry.repository(TEAM).tags["1.0"] == image_of.digest
    assert digest_of(visitor.out("push", name)) == pair.digest


@pytest.mark.parametrize("how", ["pull", "load"])
def test_whole_index(
    visitor: Visitor, registry: FakeRegistry, other: FakeRegistry, pair: Index, how: str, tmp_path: Path
) -> None:
    name = registry.add(pair, TEAM, "1.0")
    there = f"{other.host}/{TEAM}:1.0"
    if how == "pull":
        visitor("pull", "--keep-compressed", "--platform", "linux/amd64", name)
        visitor("pull", "--keep-compressed", "--platform", "linux/arm64", name)
    else:
        archive = tmp_path / "whole.tar"
        words = ("skopeo", "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}")
        program(tmp_path / "skopeo", *words, f"oci-archive:{archive}:{name}")
        visitor.environment["UNDERLAY_KEEP_COMPRESSED"] = "1"
        visitor("load", "--platform", "linux/amd64", "--platform", "linux/arm64", "-i", str(archive))
    visitor("tag", name, there)
    assert digest_of(visitor.out("push", there)) == pair.digest
    assert set(other.repository(TEAM).documents) == set(pair.documents)
    uploads(other)
    assert digest_of(visitor.out("push", there)) == pair.digest
    assert "PATCH" not in uploads(other)
    assert digest_of(visitor.out("push", name)) == pair.digest


@pytest.mark.parametrize("where", ["at the target", "at the target, without HEAD", "in a sibling", "nowhere"])
def test_an_index_of_which_not_all_is_here(visitor: Visitor, registry: FakeRegistry, pair: Index, where: str) -> None:
    """It goes out whole when the registry has the rest: in the repository it goes to, or in another one."""
    name = registry.add(pair, TEAM, "1.0")
    there = f"{registry.host}/other/app:1.0"
    visitor("pull", name)
    if where.startswith("at the target"):
        registry.add(pair.images[1], "other/app")
        registry.repositories[TEAM].documents.pop(pair.images[1].digest)
        if "without" in where:
            registry.rule("HEAD", "/manifests/", status(404))
    elif where == "nowhere":
        for digest in (pair.images[1].digest, pair.digest):
            del registry.repositories[TEAM].documents[digest]
    visitor("tag", name, there)
    out = visitor.out("push", there)
    if where == "nowhere":
        assert "Only the image for linux/amd64 goes out" in out
        assert digest_of(out) == pair.images[0].digest
    else:
        assert digest_of(out) == pair.digest
        assert set(registry.repository("other/app").documents) == set(pair.documents)
        assert set(pair.blobs) == set(registry.repository("other/app").blobs)
        # Not a byte of a layer was sent: only the configuration that is here.
        assert uploads(registry).count("PATCH") == 1


def test_an_index_whose_layers_are_here_in_another_form(visitor: Visitor, registry: FakeRegistry, pair: Index) -> None:
    """The bytes that it names were not kept, and cannot be made again; but they are at the target."""
    name = registry.add(pair, TEAM, "1.0")
    visitor("pull", "--platform", "all", name)
    there = f"{registry.host}/other/app:1.0"
    registry.add(pair.images[0], "other/app")
    registry.add(pair.images[1], "other/app")
    visitor("tag", name, there)
    # Neither blobs nor mounts are told of: only the manifests are.
    registry.rule("HEAD", "/blobs/", status(404))
    registry.rule("POST", "mount=", status(405))
    registry.rule("POST", "/blobs/uploads/", status(405))
    assert digest_of(visitor.out("push", there)) == pair.digest
    assert registry.repository("other/app").tags["1.0"] == pair.digest


def test_cut_upload_resumes(visitor: Visitor, registry: FakeRegistry) -> None:
    tar = random_tar(3_000_000, 5)
    name = f"{registry.host}/{TEAM}:1.0"
    imported(visitor, name, tar=tar)
    rule = registry.rule("PATCH", "/uploads/", cut_upload(1_000_000), times=1)
    visitor("push", name)
    assert rule.used == 1
    manifest = registry.manifest(TEAM, "1.0")
    whole = manifest["layers"][0]["size"] + manifest["config"]["size"]
    assert sum(each.length for each in registry.asked("PATCH")) == whole, "bytes were sent twice"


def test_busy_registry(visitor: Visitor, registry: FakeRegistry) -> None:
    name = f"{registry.host}/{TEAM}:1.0"
    imported(visitor, name, tar=random_tar(300_000, 5))
    rules = [registry.rule(m, "/uploads/", status(503, {"Retry-After": "0"}), times=1) for m in BODIES.split("|")]
    assert digest_of(visitor.out("push", name)) == registry.repository(TEAM).tags["1.0"]
    assert [each.used for each in rules] == [1, 1, 1]


def test_failed_push_leaves_no_tag(visitor: Visitor, registry: FakeRegistry) -> None:
    name = f"{registry.host}/{TEAM}:1.0"
    imported(visitor, name, tar=small_tar())
    visitor.settings("[network]\nretries = 2\n")
    for method, code in (("PATCH", 500), ("PATCH", 403), ("POST", 403), ("PUT", 400)):
        registry.rules.clear()
        registry.rule(method, "/uploads/", status(code))
        visitor.fails("push", name)
        assert not registry.repository(TEAM).tags
    registry.rules.clear()
    visitor("push", name)


def podman(place: Path) -> Callable[..., str]:
    """Podman with private directories."""
    need("runc")
    return lambda *more, **rest: program(place / "home", *RIVALS["podman"](place), *more, **rest)


def test_skopeo_and_podman_take_ours(visitor: Visitor, real: DockerRegistry, tmp_path: Path) -> None:
    name = f"{real.host}/{TEAM}:1.0"
    imported(visitor, name)
    digest = digest_of(visitor.out("push", name))
    assert skopeo(tmp_path, name) == digest
    before = len(real.asked("PATCH"))
    assert digest_of(visitor.out("push", name)) == digest
    assert len(real.asked("PATCH")) == before
    visitor("tag", name, f"{real.host}/other:1")
    assert digest_of(visitor.out("push", f"{real.host}/other:1")) == digest
    assert len(real.asked("PATCH")) <= before + 1
    run = podman(tmp_path)
    run("pull", "-q", "--tls-verify=false", name)
    try:
        assert run("run", "--rm", "--network=none", name) == "ours"
        assert run("image", "inspect", "-f", "{{.Digest}}", name) == digest
    finally:
        run("rmi", "-af")


def test_ours_takes_theirs(visitor: Visitor, real: DockerRegistry, tmp_path: Path) -> None:
    tar = tmp_path / "box.tar"
    tar.write_bytes(image_tar())
    run = podman(tmp_path)
    names = []
    run("import", "-q", "-c", "CMD echo theirs", "-c", "ENV PATH=/bin", tar, "box")
    for form in ("oci", "v2s2"):
        names.append(f"{real.host}/podman:{form}")
        run("push", "-q", "--tls-verify=false", f"--format={form}", "box", names[-1])
    base = tmp_path / "buildah"
    words = ("buildah", f"--root={base}/root", f"--runroot={base}/run", "--storage-driver=vfs")
    container = program(base, *words, "from", "scratch")
    program(base, *words, "add", container, tar, "/")
    program(base, *words, "config", "--cmd", "echo theirs", "--env", "PATH=/bin", container)
    program(base, *words, "commit", "-q", container, "box")
    names.append(f"{real.host}/buildah:1")
    program(base, *words, "push", "-q", "--tls-verify=false", "box", f"docker://{names[-1]}")
    names.append(f"{real.host}/skopeo:1")
    free = ("--format=v2s2", "--src-tls-verify=false", "--dest-tls-verify=false")
    program(base, "skopeo", "copy", "-q", *free, f"docker://{names[0]}", f"docker://{names[-1]}")
    for name in names:
        digest = skopeo(tmp_path, name)
        assert f"Digest: {digest}" in visitor.out("pull", name)
        assert visitor.run(name) == "theirs"
        assert digest_of(visitor.out("push", name)) == digest
    run("rmi", "-af")
    visitor.clean()


def test_docker(visitor: Visitor, real: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> None:
    ours, theirs = f"{real.host}/ours:1", f"{real.host}/theirs:1"
    imported(visitor, ours)
    digest = digest_of(visitor.out("push", ours))
    base = tmp_path_factory.mktemp("d")
    need("docker")
    with dockerdaemon.running(base) as address:
        docker = partial(program, base / "home", "docker", f"--host={address}")
        assert f"Digest: {digest}" in docker("pull", ours)
        assert docker("run", "--rm", "--network", "none", ours) == "ours"
        docker("import", "-c", 'CMD ["/bin/echo", "theirs"]', "-", theirs, input=image_tar())
        pushed = digest_of(docker("push", theirs))
    shutil.rmtree(base, ignore_errors=True)
    assert f"Digest: {pushed}" in visitor.out("pull", theirs)
    assert visitor.run(theirs) == "theirs"
    assert digest_of(visitor.out("push", theirs)) == pushed
    visitor.clean()


def test_copy(visitor: Visitor, registry: FakeRegistry, real: DockerRegistry, tmp_path: Path, pair: Index) -> None:
    whole = index(pair.images, attestations=True)
    name = registry.add(whole, TEAM, "1.0")
    there = f"{real.host}/{TEAM}:1.0"
    assert digest_of(visitor.out("copy", name, there)) == whole.digest
    assert json.loads(skopeo(tmp_path, there, "--raw")) == json.loads(whole.manifest)
    assert visitor.out("copy", "-q", there, f"{registry.host}/back:1") == whole.digest
    assert registry.repository("back").documents == whole.documents
    assert registry.repository("back").blobs == dict(whole.blobs)
    registry.forget()
    assert visitor.out("copy", "-q", name, f"{registry.host}/mounted:1") == whole.digest
    assert registry.asked("PATCH") == [] and registry.asked("GET", "/blobs/") == []
    arm = whole.images[1]
    out = visitor.out("copy", "-q", "--platform", "linux/arm64", name, f"{registry.host}/arm:1")
    assert out == arm.digest and registry.repository("arm").tags == {"1": arm.digest}
    assert "not found" in visitor.fails("copy", f"{registry.host}/nothing:1", there)
    visitor.is_empty()


def test_manifest_lists(visitor: Visitor, real: DockerRegistry, tmp_path: Path, pair: Index) -> None:
    names = [real.add(each, f"part/{n}", "1") for n, each in enumerate(pair.images)]
    name = f"{real.host}/{TEAM}:all"
    assert visitor.out("manifest", "create", name, names[0]) == f"Created manifest list {name}"
    assert "--amend" in visitor.fails("manifest", "create", name, names[1])
    visitor("manifest", "create", "--amend", name, names[1])
    visitor("manifest", "annotate", "--variant", "v8", "--os-features", "a,b", name, names[1])
    draft = visitor("manifest", "inspect", "--raw", name).stdout
    digest = visitor.out("manifest", "push", name)
    assert digest == sha(draft)
    entries = json.loads(skopeo(tmp_path, name, "--raw"))["manifests"]
    assert [each["digest"] for each in entries] == [each.digest for each in pair.images]
    platform = {"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["a", "b"]}
    assert entries[1]["platform"] == platform
    assert visitor.out("manifest", "push", "--purge", name) == digest
    verbose = json.loads(visitor.out("manifest", "inspect", "-v", name))
    assert [each["Descriptor"]["digest"] for each in verbose] == [each.digest for each in pair.images]
    visitor("manifest", "create", f"{name}2", *names)
    visitor("manifest", "rm", f"{name}2")
    visitor.fails("manifest", "push", f"{name}2")
    visitor.fails("manifest", "create", f"{name}3", name)
    visitor.is_empty()
