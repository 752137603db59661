"""What becomes of a build: names, files about it, progress, archives, directories, registries, platforms, attestations."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildcases import Builder, blob, index_of, steps
from engines import Installation, image_tar, needs_root
from fakeregistry import FakeRegistry
from registries import DockerRegistry, need
from visitors import Visitor

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


BASE_NAME, BASE_DIGEST = "org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"
MADE = 'FROM box\nRUN echo made > /made\nENV A=1\nLABEL own=label\nCOPY file /copied\nCMD ["cat", "/made"]\n'
FILES = {"file": "copied\n"}
ONLY_FILES = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /arch\nLABEL for=$TARGETARCH\n"
BOTH = {"amd64": "is amd64\n", "arm64": "is arm64\n"}
SHA = re.compile(r"sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with the image `box`, that nobody's settings trouble."""
    needs_root()
    installation = Visitor(tmp_path_factory.mktemp("ul"))
    installation("import", "--change", 'CMD ["sh"]', "-", "box", input=image_tar())
    yield installation
    installation.clean()


def inspected(place: str, *words: str) -> dict[str, Any]:
    """What skopeo says about an image."""
    need("skopeo")
    done = subprocess.run(["skopeo", "inspect", "--tls-verify=false", *words, place], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


# Names and files about it


def test_names_and_files(builder: Builder, tmp_path: Path) -> None:
    iid, metadata = tmp_path / "iid", tmp_path / "metadata"
    words = (
        "-t",
        "one",
        "-t",
        "two:2",
        "-t",
        "example.com/three",
        "--iidfile",
        str(iid),
        "--metadata-file",
        str(metadata),
    )
    said = builder(MADE, *words, files=FILES)
    assert "naming to docker.io/library/two:2" in said
    image = builder.config("one")
    assert builder.config("two:2")["Id"] == builder.config("example.com/three")["Id"] == image["Id"]
    assert iid.read_text() == image["Id"] and SHA.fullmatch(image["Id"])
    told = json.loads(metadata.read_text())
    assert told["containerimage.config.digest"] == image["Id"]
    assert told["containerimage.digest"] == told["containerimage.descriptor"]["digest"] == image["Descriptor"]["digest"]
    assert told["containerimage.descriptor"]["size"] == image["Descriptor"]["size"]
    names = ["docker.io/library/one:latest", "docker.io/library/two:2", "example.com/three:latest"]
    assert told["image.name"].split(",") in (names, ["one:latest", "two:2", "example.com/three:latest"])
    # A name goes over to the next image.
    builder("FROM box\nRUN echo other\n", "-t", "one")
    assert builder.config("one")["Id"] != image["Id"] == builder.config("two:2")["Id"]
    assert "invalid reference" in builder.fails("FROM box\n", "-t", "UPPER")
    assert "digest" in builder.fails("FROM box\n", "-t", f"x@{image['Id']}")


def test_a_failure_writes_no_files(builder: Builder, tmp_path: Path) -> None:
    words = ("-t", "failed", "--iidfile", str(tmp_path / "iid"), "--metadata-file", str(tmp_path / "metadata"))
    builder("FROM box\nRUN false\n", *words, code=1)
    assert not (tmp_path / "iid").exists() and not (tmp_path / "metadata").exists()
    builder.ul("inspect", "failed", code=1)


def test_configuration_and_history(builder: Builder) -> None:
    builder(MADE, "-t", "made", "--label", "given=l", "--label", "own=replaced", files=FILES)
    image = builder.config("made")
    assert image["Config"]["Labels"] == {"own": "replaced", "given": "l"}
    assert image["Config"]["Cmd"] == ["cat", "/made"] and "A=1" in image["Config"]["Env"]
    history = builder.ul.out("history", "--no-trunc", "--format", "{{.CreatedBy}}", "made").splitlines()
    assert history[:5] == [
        'CMD ["cat" "/made"]',
        "COPY file /copied # buildkit",
        "LABEL own=label",
        "ENV A=1",
        "RUN /bin/sh -c echo made > /made # buildkit",
    ]
    assert len(image["RootFS"]["Layers"]) == 3
    builder("FROM made\nENTRYPOINT echo\nCMD []\n", "-t", "above")
    assert builder.config("above")["Config"]["Entrypoint"] == ["/bin/sh", "-c", "echo"]
    assert builder.config("above")["Config"]["Labels"] == {"own": "replaced", "given": "l"}


def test_squash(builder: Builder) -> None:
    dockerfile = (
        "FROM box\nRUN echo secret > /gone\nRUN echo kept > /kept && rm /gone /data/seed\nRUN echo more > /more\n"
    )
    builder(dockerfile, "-t", "squashed", "--squash")
    image = builder.config("squashed")
    assert len(image["RootFS"]["Layers"]) == 2
    assert builder.ul.run("squashed", "sh", "-c", "cat /kept /more; ls /gone /data 2>&1 || true") == (
        "kept\nmore\nls: /gone: No such file or directory\n/data:"
    )
    assert len(builder.ul.out("history", "-q", "squashed").splitlines()) >= 4
    layers = builder.tree("FROM box\nCOPY --from=squashed / /all/\n")
    assert not (layers / "all/gone").exists()
    with tarfile.open(fileobj=io.BytesIO(builder.ul("save", "squashed").stdout)) as archive:
        contents = [archive.extractfile(member) for member in archive if member.isfile()]
        assert not [each for each in contents if each is not None and b"secret\n" in each.read()]


# Progress


def test_quiet(builder: Builder) -> None:
    context = builder.context("FROM box\nRUN echo loud; echo loud >&2\n")
    done = builder.ul("build", "-q", "-t", "quiet", str(context))
    assert done.stdout.decode() == builder.config("quiet")["Id"] + "\n" and done.stderr == b""
    failed = builder.ul("build", "-q", str(builder.context("FROM box\nRUN echo why; exit 3\n")), code=1)
    assert failed.stdout == b"" and b"exit code: 3" in failed.stderr


def test_plain(builder: Builder) -> None:
    done = builder.ul("build", "--progress=plain", str(builder.context(MADE + "RUN echo out; echo err >&2\n", FILES)))
    said = done.stderr.decode()
    assert done.stdout == b""
    names = list(steps(said))
    assert names == [
        "[internal] load build definition",
        "[1/4] FROM box",
        "[2/4] RUN echo made > /made",
        "[3/4] COPY file /copied",
        "[4/4] RUN echo out; echo err >&2",
    ]
    assert set(steps(said).values()) <= {"DONE", "CACHED"}
    assert re.search(r"^#\d+ \d+\.\d+ out$", said, re.MULTILINE) and re.search(
        r"^#\d+ \d+\.\d+ err$", said, re.MULTILINE
    )
    assert re.search(r"^#\d+ writing image sha256:", said, re.MULTILINE)


def test_json(builder: Builder) -> None:
    from base64 import b64decode

    context = builder.context("FROM box as x\nRUN echo told; echo err >&2\nRUN exit 4\n")
    done = builder.ul("build", "--progress=json", "--no-cache", str(context), code=1)
    lines = done.stderr.decode().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    vertexes = [each for line in told for each in line.get("vertexes", [])]
    assert {each["name"] for each in vertexes} >= {"[2/3] RUN echo told; echo err >&2", "[3/3] RUN exit 4"}
    assert "exit code: 4" in next(each["error"] for each in vertexes if "error" in each)
    assert all({"digest", "name", "started"} <= set(each) for each in vertexes)
    logs = [each for line in told for each in line.get("logs", [])]
    assert sorted((each["stream"], b64decode(each["data"])) for each in logs) == [(1, b"told\n"), (2, b"err\n")]
    (warning,) = [each for line in told for each in line.get("warnings", [])]
    assert b64decode(warning["short"]).startswith(b"FromAsCasing: ")
    assert {each["vertex"] for each in logs} <= {each["digest"] for each in vertexes}


def test_terminal(builder: Builder) -> None:
    master, slave = pty.openpty()
    context = builder.context("FROM box\nRUN echo on a terminal; sleep 0.3\n")
    words = [*builder.ul.command, "build", "--progress", "tty", str(context)]
    environment = {**builder.ul.environment, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while select.select([master], [], [], 30)[0]:
        try:
            data = os.read(master, 65536)
        except OSError:
            break
        shown += data
    os.close(master)
    assert process.wait(30) == 0
    assert (b"[2/2] RUN echo on a terminal; sleep 0.3" in shown and b"on a terminal\r\n" in shown) or b"# 0." in shown
    assert b"Traceback" not in shown
    assert "progress" in builder.fails("FROM box\n", "--progress", "none", code=125)


# Archives, directories


def test_archives(builder: Builder, tmp_path: Path) -> None:
    oci, docker, flat = tmp_path / "oci", tmp_path / "docker", tmp_path / "flat"
    words = [
        "--output",
        f"type=oci,dest={oci}",
        "--output",
        f"type=docker,dest={docker}",
        "--output",
        f"type=tar,dest={flat}",
    ]
    builder(MADE, "-t", "archived:1", *words, files=FILES)
    builder.ul("inspect", "archived:1", code=1)  # archives alone give no names here
    for place in (f"oci-archive:{oci}", f"docker-archive:{docker}"):
        config = inspected(place, "--config")
        assert (
            config["config"]["Cmd"] == ["cat", "/made"] and config["history"][-1]["created_by"] == 'CMD ["cat" "/made"]'
        )
        assert len(inspected(place)["Layers"]) == 3
    with tarfile.open(docker) as archive:
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())
    assert manifest[0]["RepoTags"] in (["archived:1"], ["docker.io/library/archived:1"])
    with tarfile.open(flat) as archive:
        names = {member.name.strip("/") for member in archive.getmembers()}
        content = archive.extractfile("made")
        assert content is not None and content.read() == b"made\n"
    assert {"made", "copied", "bin/busybox", "data/seed"} <= names
    other = Visitor(tmp_path / "other")
    other("load", "-q", "-i", str(docker))
    assert other.run("archived:1") == "made"
    other.clean()


def test_standard_output(builder: Builder) -> None:
    context = str(builder.context("FROM scratch\nCOPY file /f\n", FILES))
    for kind, name in (("-", "f"), ("type=tar,dest=-", "f"), ("type=tar", "f"), ("type=oci,dest=-", "oci-layout")):
        done = builder.ul("build", "--output", kind, context)
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            assert name in [member.name.strip("/") for member in archive.getmembers()], kind
    done = builder.ul("build", "-t", "x", "--output", "type=docker,dest=-", context)
    assert b"manifest.json" in done.stdout
    assert "dest" in builder.fails("FROM scratch\nCOPY Dockerfile /\n", "--output", "type=local", code=125)
    assert "type" in builder.fails("FROM scratch\n", "--output", "type=what", code=125)


def test_directories(builder: Builder, tmp_path: Path) -> None:
    dockerfile = (
        "FROM box AS made\nRUN mkdir -p /d/e && echo 1 > /d/f && chmod 751 /d/f && ln -s f /d/link && ln /d/f /d/hard\n"
        "RUN chown 7:8 /d/f && chmod 3771 /d/e && ln -s /etc/passwd /d/absolute\nFROM scratch\nCOPY --from=made /d /\n"
    )
    target = tmp_path / "new/target"
    builder(dockerfile, "-o", str(target))
    assert sorted(path.name for path in target.iterdir()) == ["absolute", "e", "f", "hard", "link"]
    assert (target / "f").read_text() == "1\n" and (target / "f").stat().st_mode & 0o777 == 0o751
    assert os.readlink(target / "link") == "f" and os.readlink(target / "absolute") == "/etc/passwd"
    # What is there already stays.
    (target / "kept").write_text("kept")
    builder("FROM scratch\nCOPY Dockerfile /f\n", "-o", str(target))
    assert (target / "kept").read_text() == "kept" and (target / "f").read_text().startswith("FROM scratch")


def test_cache_only(builder: Builder) -> None:
    before = builder.ul.out("images", "-aq")
    builder("FROM box\nRUN echo only the cache\n", "--output", "type=cacheonly", "-t", "nothing")
    assert builder.ul.out("images", "-aq") == before
    builder.ul("inspect", "nothing", code=1)


# Registries


@pytest.mark.parametrize("flag", ["push", "registry", "image"])
def test_push(builder: Builder, registry: FakeRegistry, flag: str) -> None:
    name = f"{registry.host}/team/app:{flag}"
    words = {
        "push": ("--push", "-t", name),
        "registry": ("-o", "type=registry", "-t", name),
        "image": ("-o", f"type=image,name={name},push=true"),
    }[flag]
    builder(MADE, *words, files=FILES)
    manifest = registry.manifest("team/app", flag)
    assert len(manifest["layers"]) == 3
    config = inspected(f"docker://{name}", "--config")
    assert config["config"]["Cmd"] == ["cat", "/made"]
    assert builder.config(name)["Id"] == manifest["config"]["digest"]


def test_push_needs_a_name(builder: Builder) -> None:
    assert "tag is needed" in builder.fails("FROM box\n", "--push", code=125)


def test_push_of_all(builder: Builder, tmp_path: Path) -> None:
    """Several platforms and what is attached to them, to a registry that checks."""
    with DockerRegistry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/all:1"
        words = ("--platform", "linux/amd64,linux/arm64", "--provenance", "--sbom", "--push", "-t", name)
        builder(ONLY_FILES, *words, files=BOTH)
        index = registry.call("GET", "/v2/team/all/manifests/1", headers={"Accept": INDEX}).json()
        assert len(index["manifests"]) == 4
        for architecture in ("amd64", "arm64"):
            config = inspected(f"docker://{name}", "--config", "--override-arch", architecture)
            assert config["architecture"] == architecture


INDEX = "application/vnd.oci.image.index.v1+json"


# Platforms


def test_platforms(builder: Builder, tmp_path: Path) -> None:
    archive = tmp_path / "both"
    words = ("--platform", "linux/amd64,linux/arm64", "-t", "both", "--output", f"type=oci,dest={archive}")
    builder(ONLY_FILES, *words, "--output", "type=image", files=BOTH)
    (entry,) = index_of(archive)["manifests"]
    assert entry["mediaType"] == INDEX
    index = blob(archive, entry["digest"])
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    for each in index["manifests"]:
        config = blob(archive, blob(archive, each["digest"])["config"]["digest"])
        assert config["architecture"] == config["config"]["Labels"]["for"] == each["platform"]["architecture"]
    said = builder.ul.out("images", "--digests", "--no-trunc", "--format", "{{.Digest}} {{.ID}}", "both")
    assert entry["digest"] in said
    assert "one platform" in builder.fails(ONLY_FILES, *words[:2], "-o", "type=tar,dest=/dev/null", files=BOTH)
    assert "nosuch" in builder.fails(ONLY_FILES, "--platform", "nosuch/what/is/this", files=BOTH)


def test_platforms_are_called_as_docker_does(builder: Builder, tmp_path: Path) -> None:
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM box AS build\nARG TARGETPLATFORM TARGETVARIANT\n"
        "RUN echo $TARGETPLATFORM,$TARGETVARIANT > /r\nFROM scratch\nCOPY --from=build /r /r\n"
    )
    target = tmp_path / "trees"
    builder(dockerfile, "--platform", "linux/amd64,linux/arm64", "-o", str(target))
    assert (target / "linux_amd64/r").read_text() == "linux/amd64,\n"
    assert (target / "linux_arm64/r").read_text() == "linux/arm64,\n"


def test_programs_of_another_processor(builder: Builder) -> None:
    dockerfile = 'FROM scratch\nCOPY --chmod=755 foreign /foreign\nRUN ["/foreign"]\n'
    foreign = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)
    message = builder.fails(dockerfile, "--platform", "linux/arm64", files={"foreign": foreign})
    assert "linux/arm64" in message and "emulator" in message


def test_cross_building(builder: Builder) -> None:
    """What runs is of this processor, the result for another."""
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM box AS build\nARG TARGETARCH BUILDARCH\nRUN echo $BUILDARCH for $TARGETARCH > /r\n"
        "FROM scratch\nCOPY --from=build /r /r\n"
    )
    builder(dockerfile, "--platform", "linux/s390x", "-t", "crossed")
    assert builder.config("crossed")["Architecture"] == "s390x"
    assert b"for s390x" in builder.ul("save", "crossed").stdout


# What is attached


def test_base_annotations(builder: Builder, tmp_path: Path) -> None:
    archive = tmp_path / "oci"
    words = ("--annotation", "own=1", "--annotation", "manifest:two=2", "--output", f"type=oci,dest={archive}")
    builder(MADE, *words, files=FILES)
    manifest = blob(archive, index_of(archive)["manifests"][0]["digest"])
    digest = builder.config("box")["Descriptor"]["digest"]
    wanted = {BASE_NAME: "docker.io/library/box:latest", BASE_DIGEST: digest}
    assert manifest["annotations"] == {**wanted, "own": "1", "two": "2"}
    builder("FROM scratch\nCOPY Dockerfile /\n", "--output", f"type=oci,dest={archive}")
    assert "annotations" not in blob(archive, index_of(archive)["manifests"][0]["digest"])
    # The base of a stage on a stage is that of the first.
    builder("FROM box AS one\nRUN true\nFROM one\nRUN true\n", "--output", f"type=oci,dest={archive}")
    assert blob(archive, index_of(archive)["manifests"][0]["digest"])["annotations"] == wanted
    assert "index" in builder.fails("FROM box\n", "--annotation", "index:x=1")
    assert "level" in builder.fails("FROM box\n", "--annotation", "what:x=1")


def attached(archive: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entry of the image in an archive's index, and the statements about it by predicate type."""
    (entry,) = index_of(archive)["manifests"]
    image, other = blob(archive, entry["digest"])["manifests"]
    assert other["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    }
    assert other["platform"] == {"architecture": "unknown", "os": "unknown"}
    manifest = blob(archive, other["digest"])
    found = {}
    for layer in manifest["layers"]:
        assert layer["mediaType"] == "application/vnd.in-toto+json"
        statement = blob(archive, layer["digest"])
        assert layer["annotations"]["in-toto.io/predicate-type"] == statement["predicateType"]
        assert statement["_type"].startswith("https://in-toto.io/Statement/v")
        assert {each["digest"]["sha256"] for each in statement["subject"]} == {image["digest"].partition(":")[2]}
        found[statement["predicateType"]] = statement["predicate"]
    return image, found


def test_provenance(builder: Builder, tmp_path: Path) -> None:
    archive, metadata = tmp_path / "oci", tmp_path / "metadata"
    builder("FROM box\nRUN echo other > /other\n", "-t", "other")
    dockerfile = "FROM box\nARG SECRETLY\nCOPY --from=other /other /\nRUN true\n"
    words = (
        "--output",
        f"type=oci,dest={archive}",
        "--metadata-file",
        str(metadata),
        "--build-arg",
        "SECRETLY=argument",
    )
    builder(dockerfile, "-t", "proven", "--provenance", *words)
    _, found = attached(archive)
    (predicate,) = found.values()
    assert list(found) == ["https://slsa.dev/provenance/v1"]
    materials = {each["uri"]: each for each in predicate["buildDefinition"]["resolvedDependencies"]}
    for name, is_base in (("box", True), ("other", False)):
        (uri,) = [each for each in materials if each.startswith(f"pkg:docker/{name}@latest")]
        digest = builder.config(name)["Descriptor"]["digest"]
        assert materials[uri]["digest"] == {"sha256": digest.partition(":")[2]}
        assert ("annotations" in materials[uri]) == is_base
    assert "argument" not in json.dumps(predicate)
    assert json.loads(metadata.read_text())["buildx.build.provenance"] == predicate
    builder(dockerfile, "--attest", "type=provenance,mode=max", *words)
    _, found = attached(archive)
    full = json.dumps(found)
    assert "argument" in full and "COPY --from=other" in full
    builder(dockerfile, "--provenance=false", *words)
    assert index_of(archive)["manifests"][0]["mediaType"].endswith("manifest.v1+json")


def test_bills_of_material(builder: Builder, tmp_path: Path) -> None:
    archive = tmp_path / "oci"
    status = "Package: tool\nStatus: install ok installed\nVersion: 1.2-3\nArchitecture: amd64\nMaintainer: m\n\n"
    dockerfile = "FROM box\nCOPY status /var/lib/dpkg/status\nCOPY os-release /etc/os-release\n"
    files = {"status": status, "os-release": "ID=debian\nVERSION_ID=13\n"}
    builder(dockerfile, "-t", "listed", "--sbom=true", "--output", f"type=oci,dest={archive}", files=files)
    _, found = attached(archive)
    document = found["https://spdx.dev/Document"]
    assert document["spdxVersion"].startswith("SPDX-2.")
    (package,) = [each for each in document["packages"] if each["name"] == "tool"]
    assert package["versionInfo"] == "1.2-3" and "pkg:deb/debian/tool@1.2-3" in json.dumps(package)
    builder(dockerfile, "--attest", "type=sbom,format=cyclonedx", "-o", f"type=oci,dest={archive}", files=files)
    assert attached(archive)[1]["https://cyclonedx.org/bom"]["bomFormat"] == "CycloneDX"
    assert "generator" in builder.fails("FROM box\n", "--sbom=generator=x/y", code=125)
