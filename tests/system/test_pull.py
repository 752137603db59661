"""Pulling as docker does it: what is said, what is asked for and what is not, and what is there afterwards."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engines import image_tar, needs_root
from fakeregistry import FakeRegistry
from faults import body, status
from registries import Certificate, DockerRegistry, TokenServer, need
from remoteimages import Image, Index, encoded, image, index, random_tar, sha, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


@pytest.fixture(scope="module")
def box() -> Image:
    return image([image_tar()], cmd=["echo", "from the box"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"), ("IP:127.0.0.1", "DNS:registry.test"))


def lines(visitor: Visitor, *words: str) -> list[str]:
    """What a pull says, without what it says of each layer."""
    done = visitor("pull", *words)
    assert done.stderr == b""
    return [line for line in done.stdout.decode().splitlines() if not re.match("[0-9a-f]{12}: ", line)]


def asked(registry: FakeRegistry) -> list[tuple[str, str]]:
    """The requests since the last time this was asked: method, and what of the repository."""
    found = [(each.method, each.path.removeprefix(f"/v2/{TEAM}/")) for each in registry.requests]
    registry.forget()
    return found


# What is said
# ---------------------------------------------------------------------------------------------------------


def test_lines_are_dockers(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "latest", "1.0").removesuffix(":latest")
    digest = f"Digest: {made.digest}"
    new, same = "Status: Downloaded newer image for ", "Status: Image is up to date for "
    begin = ["Using default tag: latest", f"latest: Pulling from {TEAM}", digest]
    assert lines(visitor, name) == [*begin, f"{new}{name}:latest", f"{name}:latest"]
    assert lines(visitor, name) == [*begin, f"{same}{name}:latest", f"{name}:latest"]
    assert lines(visitor, f"{name}:1.0") == [
        f"1.0: Pulling from {TEAM}",
        digest,
        f"{new}{name}:1.0",
        f"{name}:1.0",
    ]
    assert lines(visitor, "-q", name) == [f"{name}:latest"]
    by_digest = f"{name}@{made.digest}"
    assert lines(visitor, by_digest) == [f"{by_digest}: Pulling from {TEAM}", digest, f"{same}{by_digest}", by_digest]
    visitor("rmi", "-f", made.id)
    assert lines(visitor, by_digest) == [f"{by_digest}: Pulling from {TEAM}", digest, f"{new}{by_digest}", by_digest]
    assert visitor.out("images", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}") == f"{name} <none> {made.digest}"


def test_tag_and_digest(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """The digest counts, the tag is only shown; docker says so too."""
    other = image([small_tar({"other": b"1"})])
    name = registry.add(other, TEAM, "1.0")
    registry.add(made, TEAM)
    plain = f"{name.removesuffix(':1.0')}@{made.digest}"
    assert lines(visitor, f"{name}@{made.digest}") == [
        f"{plain}: Pulling from {TEAM}",
        f"Digest: {made.digest}",
        f"Status: Downloaded newer image for {plain}",
        f"{name}@{made.digest}",
    ]
    assert visitor.out("inspect", "-f", "{{.Id}}", plain) == made.id
    visitor("inspect", name, code=1)
    assert ("GET", "manifests/1.0") not in asked(registry)
    visitor.fails("pull", f"{name}@{sha(b'nothing')}")


def test_all_tags(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1", "2").removesuffix(":1")
    other = image([small_tar(), small_tar({"other": b"1"})])
    registry.add(other, TEAM, "3")
    registry.page = 2
    said = [
        line
        for tag, digest in (("1", made.digest), ("2", made.digest), ("3", other.digest))
        for line in (f"{tag}: Pulling from {TEAM}", f"Digest: {digest}")
    ]
    end = f"Status: Downloaded newer image for {name}"
    assert lines(visitor, "-a", name) == [*said, end, name]
    registry.forget()
    assert lines(visitor, "--all-tags", "-q", name) == [name]
    assert {method for method, what in asked(registry) if what != "tags/list"} == {"HEAD"}
    assert visitor.out("images", "--format", "{{.Tag}}", name).split() in (["1", "2", "3"], ["3", "1", "2"])
    assert "tag can't be used with --all-tags/-a" in visitor.fails("pull", "-a", f"{name}:1")
    assert "not found" in visitor.fails("pull", "-a", f"{registry.host}/nothing")


def test_progress(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    for mode in ("json", "plain", "auto", "quiet"):
        out = visitor.out("pull", f"--progress={mode}", name)
        visitor("rmi", name)
        short = [layer[7:19] for layer in made.layers]
        if mode == "quiet":
            assert out == name
        elif mode == "json":
            told = [json.loads(line) for line in out.splitlines()]
            assert all(set(each) <= {"status", "progressDetail", "progress", "id"} for each in told)
            assert told[0] == {"status": f"1.0: Pulling from {TEAM}"}
            assert told[-1] == {"status": name}
            for layer, data in zip(short, made.layers, strict=True):
                mine = [each for each in told if each.get("id") == layer]
                assert mine[0] == {"status": "Pulling fs layer", "progressDetail": {}, "id": layer}
                assert mine[-1] == {"status": "Pull complete", "progressDetail": {}, "id": layer}
                [*_, last] = [each["progressDetail"] for each in mine if each["status"] == "Downloading"]
                assert last == {"current": len(made.blobs[data]), "total": len(made.blobs[data])}
        else:
            for layer in short:
                mine = [line for line in out.splitlines() if line.startswith(f"{layer}: ")]
                assert [line[14:] for line in mine] == ["Pulling fs layer", "Downloading", "Pull complete"]
    done = visitor("pull", "--progress=json", f"{name}0", code=1)
    error = json.loads(done.stdout.splitlines()[-1])
    assert error["errorDetail"]["message"] == error["error"] and "not found" in error["error"]
    assert "invalid progress mode" in visitor.fails("pull", "--progress=loud", name, code=125)


# What is asked for
# ---------------------------------------------------------------------------------------------------------


def test_nothing_is_asked_twice(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0", "2.0")
    visitor("pull", name)
    blobs = [("GET", f"blobs/{digest}") for digest in made.blobs]
    assert sorted(asked(registry)) == sorted([*blobs, ("GET", "manifests/1.0")])
    visitor("pull", name)
    assert asked(registry) == [("HEAD", "manifests/1.0")]
    visitor("pull", f"{name.removesuffix('1.0')}2.0")
    # The configuration is here already.
    assert asked(registry) in ([("GET", "manifests/2.0")], [("HEAD", "manifests/2.0"), ("GET", "manifests/2.0")])
    visitor("pull", f"{name.removesuffix(':1.0')}@{made.digest}")
    assert asked(registry) == []
    # The tag moves: only what is new comes.
    moved = image([small_tar(), random_tar(300_000, 1), small_tar({"new": b"1"})])
    registry.add(moved, TEAM, "1.0")
    assert f"Status: Downloaded newer image for {name}" in lines(visitor, name)
    new = [("GET", f"blobs/{digest}") for digest in (moved.id, moved.layers[2])]
    assert asked(registry) == [("HEAD", "manifests/1.0"), ("GET", "manifests/1.0"), *new]
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == moved.id


def test_tokens_are_asked_for_once(visitor: Visitor, tmp_path: Path, made: Image) -> None:
    with TokenServer(tmp_path / "token") as tokens, FakeRegistry(token=tokens) as registry:
        name = registry.add(made, TEAM, "1.0")
        visitor("pull", name)
        assert len(tokens.requests) == 1
        assert [each.status for each in registry.requests].count(401) == 1
        assert len(registry.requests) == 2 + len(made.blobs)
        assert tokens.requests[0].query["scope"] == f"repository:{TEAM}:pull"


def test_layers_that_are_here_are_not_fetched(visitor: Visitor, registry: FakeRegistry) -> None:
    """Whatever image or repository they came with, in whichever compression, and after their image has gone."""
    shared = [random_tar(200_000, 1), random_tar(200_000, 2)]
    one = image([*shared, small_tar({"one": b"1"})])
    two = image([small_tar({"two": b"1"}), *shared], "zstd")
    registry.add(two, "other/place", "1")
    visitor("pull", registry.add(one, TEAM, "1"))
    registry.forget()
    done = visitor("pull", f"{registry.host}/other/place:1")
    fetched = {each.path.rpartition("/")[2] for each in registry.asked("GET", "/blobs/")}
    assert fetched == {two.id, two.layers[0]}
    assert done.stdout.decode().count("Already exists") == 2
    visitor("rmi", f"{registry.host}/{TEAM}:1")
    registry.forget()
    visitor("pull", f"{registry.host}/{TEAM}:1")
    assert {each.path.rpartition("/")[2] for each in registry.asked("GET", "/blobs/")} == {one.id, one.layers[2]}


def test_connections_are_used_again(visitor: Visitor, registry: FakeRegistry) -> None:
    made = image([random_tar(50_000, n) for n in range(12)])
    visitor("pull", registry.add(made, TEAM, "1.0"))
    assert len(registry.requests) == 14
    assert registry.connections <= 6  # one of them tried TLS


# What kinds there are
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("compression", ["gzip", "none", "zstd", "mixed"])
def test_compressions(visitor: Visitor, registry: FakeRegistry, compression: str, docker: bool) -> None:
    kinds = ["zstd", "gzip", "none"] if compression == "mixed" else [compression] * 3
    made = image([small_tar({"a": b"1"}), small_tar({"b": b"2"}), random_tar(100_000)], kinds, docker)
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", name)
    facts = json.loads(visitor.out("inspect", name))[0]
    assert facts["RootFS"]["Layers"] == made.diff_ids and facts["Id"] == made.id


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("kind", ["flat", "nested", "attested", "artefacts", "no platforms"])
def test_indexes(visitor: Visitor, registry: FakeRegistry, kind: str, docker: bool) -> None:
    mine = image([small_tar({"amd64": b"1"})], docker=docker)
    arm = image([small_tar({"arm64": b"1"})], docker=docker, architecture="arm64", variant="v8")
    six = image([small_tar({"v6": b"1"})], docker=docker, architecture="arm", variant="v6")
    parts: list[Image | Index] = [arm, mine, six]
    if kind == "nested":
        parts = [index([arm, six], docker), index([index([mine], docker)], docker)]
    whole = index(parts, docker, attestations=kind == "attested")
    if kind in ("artefacts", "no platforms"):
        value = json.loads(whole.manifest)
        if kind == "no platforms":
            for entry in value["manifests"]:
                del entry["platform"]
        else:
            for media_type, size in (("application/vnd.cncf.notary.signature", 5), ("text/plain", 1 << 40)):
                strange = {"mediaType": media_type, "digest": sha(media_type.encode()), "size": size}
                value["manifests"].insert(0, strange)
        whole = Index(encoded(value), whole.media_type, whole.images, whole.parts)
    name = registry.add(whole, TEAM, "1.0")
    assert f"Digest: {whole.digest}" in lines(visitor, name)
    facts = json.loads(visitor.out("inspect", name))[0]
    assert facts["Id"] == mine.id
    assert facts["RepoDigests"] == [f"{name.removesuffix(':1.0')}@{whole.digest}"]
    registry.forget()
    assert any("up to date" in line for line in lines(visitor, name))
    assert asked(registry) == [("HEAD", "manifests/1.0")]
    visitor("pull", "--platform", "linux/arm64", name)
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == arm.id
    visitor("pull", "--platform", "linux/arm/v7", name)
    assert visitor.out("inspect", "-f", "{{.Id}}", name) == six.id
    said = visitor.fails("pull", "--platform", "linux/s390x", name)
    assert "linux/s390x" in said and "linux/arm64" in said


def test_platform_of_a_single_image(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    arm = image([small_tar()], architecture="arm64")
    name = registry.add(arm, TEAM, "1.0")
    visitor("pull", name)
    assert visitor.out("inspect", "-f", "{{.Architecture}}", name) == "arm64"
    visitor("pull", "--platform", "linux/arm64", name)
    assert "linux/s390x" in visitor.fails("pull", "--platform", "linux/s390x", name)
    assert "platform" in visitor.fails("pull", "--platform", "no/such/plat/form", name)


def test_schema_one_is_refused(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1.0")
    old = {"schemaVersion": 1, "name": TEAM, "tag": "1.0", "architecture": "amd64", "fsLayers": [], "history": []}
    for kind in ("application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json"):
        registry.rules.clear()
        registry.rule("GET", "/manifests/", body(encoded(old), kind))
        assert "schema 1" in visitor.fails("pull", name)
    visitor.is_empty()


def test_the_same_bytes_again(visitor: Visitor, tmp_path: Path, registry: FakeRegistry) -> None:
    """An image that was pulled with its compressed bytes leaves with the manifest that it came with."""
    need("skopeo")
    made = image([small_tar(), random_tar(100_000)], ["zstd", "gzip"], annotations={"a": "b"})
    name = registry.add(made, TEAM, "1.0")
    visitor("pull", "--keep-compressed", name)
    visitor("save", "--format", "oci-archive", "-o", str(tmp_path / "kept.tar"), name)
    assert skopeo(tmp_path / "kept.tar")["Digest"] == made.digest
    visitor("rmi", name)
    visitor("pull", name)
    visitor("save", "--format", "oci-archive", "-o", str(tmp_path / "plain.tar"), name)
    assert skopeo(tmp_path / "plain.tar")["Layers"] == made.diff_ids
    # What is here without its compressed bytes gets them when they are wanted.
    visitor("pull", "--keep-compressed", name)
    visitor("save", "--format", "oci-archive", "-o", str(tmp_path / "again.tar"), name)
    assert skopeo(tmp_path / "again.tar")["Digest"] == made.digest


def skopeo(archive: Path) -> dict[str, Any]:
    done = subprocess.run(["skopeo", "inspect", f"oci-archive:{archive}"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_from_docker_registry(visitor: Visitor, tmp_path: Path, box: Image) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        whole = index([box, image([small_tar()], architecture="arm64")], attestations=True)
        name = registry.add(whole, TEAM, "1.0", "2.0")
        visitor("pull", name)
        visitor("pull", f"{registry.name}/{TEAM}@{box.digest}")
        assert visitor.run(name) == visitor.run(f"{registry.name}/{TEAM}@{box.digest}") == "from the box"
        tags = visitor.out("search", "--list-tags", "--format", "{{.Tag}}", f"{registry.host}/{TEAM}")
        assert sorted(tags.split()) == ["1.0", "2.0"]
        assert len(registry.asked("GET", box.layers[0])) == 1
    visitor.clean()


# Run and create
# ---------------------------------------------------------------------------------------------------------


def test_run_and_create_pull(visitor: Visitor, registry: FakeRegistry, box: Image) -> None:
    name = registry.add(box, TEAM, "1.0")
    run = ("run", "--rm", "--network", "none")
    done = visitor(*run, name)
    said = done.stderr.decode().splitlines()
    assert done.stdout == b"from the box\n"
    assert said[:2] == [f"Unable to find image '{name}' locally", f"1.0: Pulling from {TEAM}"]
    assert said[-2:] == [f"Digest: {box.digest}", f"Status: Downloaded newer image for {name}"]
    asked(registry)
    assert visitor(*run, name).stderr == b"" and asked(registry) == []
    assert b"Image is up to date" in visitor(*run, "--pull", "always", name).stderr
    assert asked(registry) == [("HEAD", "manifests/1.0")]
    newer = image([image_tar()], cmd=["echo", "newer"])
    registry.add(newer, TEAM, "1.0")
    assert visitor(*run, "--pull", "missing", name).stdout == b"from the box\n"
    assert visitor(*run, "--pull=always", "-q", name).stdout == b"newer\n"
    visitor("rmi", name)
    asked(registry)
    assert f"No such image: {name}" in visitor(*run, "--pull", "never", name, code=125).stderr.decode()
    assert asked(registry) == []
    done = visitor(*run, "-q", name)
    assert (done.stdout, done.stderr) == (b"newer\n", b"")
    visitor("rmi", name)
    done = visitor("create", "-q", "--network", "none", "--name", "made", name)
    assert done.stderr == b"" and re.fullmatch(b"[0-9a-f]{64}\n", done.stdout)
    assert visitor.out("start", "-a", "made") == "newer"
    visitor("rm", "made")
    visitor("rmi", name)
    done = visitor("create", "--name", "made", "--network", "none", name)
    assert re.fullmatch(b"[0-9a-f]{64}\n", done.stdout) and b"Downloaded newer image" in done.stderr
    visitor.clean()


def test_run_that_cannot_pull(visitor: Visitor, registry: FakeRegistry, box: Image, tmp_path: Path) -> None:
    """Exit 125 of `run`, 1 of `create`, and nothing made: no container, no volume, no file with an id."""
    name = registry.add(box, TEAM, "1.0")
    wrong = f"{registry.host}/nothing/here:1"
    more = ("--network", "none", "--name", "made", "--cidfile", str(tmp_path / "cid"), "-v", "fresh:/x")
    for words, code in ((("run", *more), 125), (("run", "-d", *more), 125), (("create", *more), 1)):
        for image_name, rest in ((wrong, ()), (name, ("--platform", "linux/s390x")), (wrong, ("--pull", "always"))):
            done = visitor(*words, *rest, image_name, code=code)
            assert done.stdout == b"" and b"not found" in done.stderr
    registry.rule("GET", "/blobs/", status(500))
    visitor.settings("[network]\nretries = 1\n")
    visitor("run", *more, name, code=125)
    assert visitor.out("ps", "-aq") == visitor.out("volume", "ls", "-q") == ""
    assert not (tmp_path / "cid").exists()
    visitor.is_empty()


# Looking without pulling
# ---------------------------------------------------------------------------------------------------------


def test_inspect_remote(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    arm = image([small_tar()], architecture="arm64", cmd=["/arm"])
    whole = index([made, arm], attestations=True)
    name = registry.add(whole, TEAM, "1.0")
    facts = json.loads(visitor.out("image", "inspect", "--remote", name))[0]
    assert [facts["Id"], facts["RepoTags"]] == [made.id, [name]]
    assert facts["RepoDigests"] == [f"{name.removesuffix(':1.0')}@{whole.digest}"]
    assert facts["RootFS"]["Layers"] == made.diff_ids
    assert [each["Digest"] for each in facts["Layers"]] == made.layers
    assert facts["Size"] == sum(len(made.blobs[layer]) for layer in made.layers)
    assert sorted(each["Platform"] for each in facts["Manifests"]) == ["linux/amd64", "linux/arm64/v8"]
    out = visitor.out("image", "inspect", "--remote", "--platform", "linux/arm64", "-f", "{{.Config.Cmd}}", name)
    assert out == "[/arm]"
    layers = {*made.layers, *arm.layers}
    assert [each for each in registry.requests if each.path.rpartition("/")[2] in layers] == []
    visitor.fails("image", "inspect", "--remote", f"{name}0", code=1)
    visitor.is_empty()


def test_search(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    for name in ("team/app", "team/tool", "other"):
        registry.add(made, name, "1.0", "latest")
    registry.page = 1
    host = registry.host
    assert visitor.out("search", "--format", "{{.Name}}", f"{host}/t").split() == [
        f"{host}/{name}" for name in ("other", "team/app", "team/tool")
    ]
    assert visitor.out("search", "--format", "{{.Name}}", f"{host}/app") == f"{host}/team/app"
    assert visitor.out("search", "--format", "{{.Name}}", "--limit", "2", f"{host}/").count("\n") == 1
    assert visitor.out("search", f"{host}/nosuch").split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"]
    tags = visitor.out("search", "--list-tags", f"{host}/{TEAM}").splitlines()
    assert [line.split() for line in tags] == [["NAME", "TAG"], [f"{host}/{TEAM}", "1.0"], [f"{host}/{TEAM}", "latest"]]
    for code in (401, 403, 404, 405):
        registry.rules.clear()
        registry.rule("GET", "_catalog", status(code))
        assert "does not list its repositories" in visitor.fails("search", f"{host}/app")
    visitor.fails("search", "--limit", "101", f"{host}/app")
    visitor.fails("search", "--filter", "nonsense", f"{host}/app")


def test_search_on_docker_hub(visitor: Visitor, registry: FakeRegistry) -> None:
    visitor.settings(f'[registry."docker.io"]\nlocation = "http://{registry.host}"\n')
    rows = [
        {"name": "library/box", "description": "a box\nof things " + "x" * 60, "star_count": 5, "is_official": True},
        {"name": "alice/box", "description": "another", "star_count": 90, "is_official": False},
    ]
    registry.rule("GET", "/v1/search", body(encoded({"num_results": 2, "results": rows})))
    out = visitor.out("search", "a box")
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "alice/box", "library/box"]
    assert "[OK]" in out and "…" in out and "x" * 60 not in out
    assert registry.requests[0].query == {"q": "a box", "n": "25"}
    assert "x" * 60 in visitor.out("search", "--no-trunc", "box")
    assert visitor.out("search", "-f", "stars=10", "--format", "{{.Name}}", "box") == "alice/box"
    assert visitor.out("search", "-f", "is-official=true", "--format", "{{.Name}}", "box") == "library/box"
    assert visitor.out("search", "--limit", "1", "--format", "{{.Name}}", "docker.io/box") in (
        "library/box",
        "alice/box",
    )
    registry.rules.clear()
    visitor.fails("search", "box")


# Several
# ---------------------------------------------------------------------------------------------------------


def test_several_names(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    """Each is told of as if it were alone; one that fails does not keep the others; connections are used again."""
    other = image([small_tar({"other": b"1"})])
    one = registry.add(made, TEAM, "latest").removesuffix(":latest")
    two = registry.add(other, "team/other", "2")
    bad = registry.add(image([random_tar(100_000, 3), random_tar(100_000, 4)]), "team/bad", "1")
    for blob in list(registry.repository("team/bad").blobs):
        registry.rule("GET", f"team/bad/blobs/{blob}", status(403))
    done = visitor("pull", one, f"{registry.host}/nothing:1", "NO!", bad, two, code=1)
    said = [line for line in done.stdout.decode().splitlines() if not re.match("[0-9a-f]{12}: ", line)]
    new = "Status: Downloaded newer image for "
    assert said == [
        "Using default tag: latest",
        f"latest: Pulling from {TEAM}",
        f"Digest: {made.digest}",
        f"{new}{one}:latest",
        f"{one}:latest",
        "1: Pulling from nothing",
        "1: Pulling from team/bad",
        "2: Pulling from team/other",
        f"Digest: {other.digest}",
        f"{new}{two}",
        two,
    ]
    errors = [line for line in done.stderr.decode().splitlines() if not line.startswith("hint: ")]
    assert len(errors) == 3 and all(line.startswith("underlay: ") for line in errors)
    assert "nothing" in errors[0] and "NO!" in errors[1] and "access denied" in errors[2]
    assert set(visitor.out("images", "-aq", "--no-trunc").split()) == {made.id, other.id}
    assert visitor.out("pull", "-q", one, two) == f"{one}:latest\n{two}"


def test_several_names_over_one_connection(visitor: Visitor, registry: FakeRegistry) -> None:
    """Also after a failure in the midst of several layers."""
    names = [registry.add(image([small_tar({f"f{n}": b"1"})]), f"team/app{n}", "1") for n in range(5)]
    visitor("pull", names[0])
    alone = registry.connections
    visitor("pull", *names[1:])
    assert registry.connections - alone == alone
    assert len(visitor.out("images", "-q").split()) == 5


def test_several_names_in_json(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    name = registry.add(made, TEAM, "1")
    done = visitor("pull", "--progress=json", f"{name}0", name, code=1)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    [error] = [each["error"] for each in told if "error" in each]
    assert "not found" in error and told[-1] == {"status": name}


def test_all_tags_of_several(visitor: Visitor, registry: FakeRegistry, made: Image) -> None:
    one = registry.add(made, TEAM, "1", "2").rpartition(":")[0]
    two = registry.add(made, "team/other", "3").rpartition(":")[0]
    assert visitor.out("pull", "-a", "-q", one, two) == f"{one}\n{two}"
    assert sorted(visitor.out("images", "--format", "{{.Tag}}").split()) == ["1", "2", "3"]


def test_exit_codes_of_wrong_use(visitor: Visitor) -> None:
    """As docker's: 1 for a wrong number of arguments, 125 for a flag that there is not."""
    assert "requires at least 1 argument" in visitor.fails("pull", code=1)
    visitor.fails("pull", "--no-such-flag", "x", code=125)
    assert "requires exactly 1 argument" in visitor.fails("push", code=1)
    assert "requires exactly 1 argument" in visitor.fails("push", "a", "b", code=1)
    visitor.fails("push", "--no-such-flag", "x", code=125)
