"""Archives between us and skopeo, podman and docker, both ways."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

import dockerdaemon
from archives import Layout, layer, members, old_archive, sha, tar_of
from underlay import Engine
from underlay.engine.images import archives

pytestmark = pytest.mark.oracle


def run(*words, **options) -> str:
    done = subprocess.run([str(each) for each in words], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def need(program: str) -> str:
    found = shutil.which(program)
    if not found:
        pytest.skip(f"{program} is not installed")
    return found


@pytest.fixture
def engine(tmp_path):
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


@pytest.fixture
def image(engine, tmp_path):
    """A loaded image of two layers; its layout."""
    layout = Layout()
    layout.image([layer({"bin/a": b"1"}), layer({"bin/b": b"2"})], "docker.io/library/app:1")
    engine.images.load(str(layout.write(tmp_path / "in")))
    engine.images.tag("app:1", "example.com:5000/team/app:2")
    return engine.images.get("app:1")


# skopeo
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "transport", "name"),
    [
        ("docker-archive", "docker-archive", "docker.io/library/app:1"),
        ("docker-archive", "oci-archive", "1"),
        ("oci-archive", "oci-archive", "docker.io/library/app:1"),
        ("oci-dir", "oci", "docker.io/library/app:1"),
    ],
)
def test_skopeo_reads_what_we_save(engine, image, tmp_path, format, transport, name):
    need("skopeo")
    out = tmp_path / "out"
    engine.images.save(["app:1", "example.com:5000/team/app:2"], str(out), format)
    facts = json.loads(run("skopeo", "inspect", f"{transport}:{out}:{name}"))
    assert facts["Architecture"] == "amd64"
    assert facts["Layers"] == list(image.diff_ids)
    assert facts["Labels"] == {"org.test": "1"}
    run("skopeo", "copy", f"{transport}:{out}:{name}", f"dir:{tmp_path / 'copy'}")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    assert manifest["config"]["digest"] == image.id
    for diff_id in image.diff_ids:
        assert sha((tmp_path / "copy" / diff_id[7:]).read_bytes()) == diff_id


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "oci"])
@pytest.mark.parametrize("by", ["path", "pipe"])
def test_we_read_what_skopeo_writes(engine, image, tmp_path, transport, by):
    need("skopeo")
    engine.images.save(["app:1"], str(tmp_path / "out"), "oci-dir")
    place = tmp_path / "made"
    target = f"{transport}:{place}:docker.io/library/other:3"
    run("skopeo", "copy", f"oci:{tmp_path / 'out'}:docker.io/library/app:1", target)
    if by == "pipe" and transport == "oci":
        pytest.skip("a directory cannot be piped")
    assert load(engine, place, by)[0].names == ["other:3"]
    assert engine.images.get("other:3").diff_ids == image.diff_ids
    assert engine.images.get("other:3").id == image.id


def load(engine, place, by):
    if by == "path":
        return archives.load(engine._store, str(place))
    process = subprocess.Popen(["cat", str(place)], stdout=subprocess.PIPE)
    try:
        return archives.load(engine._store, process.stdout.fileno())
    finally:
        process.stdout.close()
        process.wait(10)


@pytest.mark.parametrize("format", ["zstd", "gzip", "zstd:chunked"])
def test_we_read_skopeos_compressions(engine, image, tmp_path, format):
    need("skopeo")
    engine.images.save(["app:1"], str(tmp_path / "out"), "oci-dir")
    source = f"oci:{tmp_path / 'out'}:docker.io/library/app:1"
    run("skopeo", "copy", "--dest-compress", "--dest-compress-format", format, source, f"oci:{tmp_path / 'made'}:x:1")
    engine.images.load(str(tmp_path / "made"))
    assert engine.images.get("x:1").diff_ids == image.diff_ids


@pytest.mark.parametrize("words", [[], ["--all"]])
def test_we_read_skopeos_directories(engine, image, tmp_path, words):
    need("skopeo")
    engine.images.save(["app:1"], str(tmp_path / "out"), "oci-dir")
    source = f"oci:{tmp_path / 'out'}:docker.io/library/app:1"
    run("skopeo", "copy", *words, "--dest-compress", source, f"dir:{tmp_path / 'made'}")
    (loaded,) = engine.images.load(str(tmp_path / "made"))
    assert loaded.id == image.id


# umoci
# ----------------------------------------------------------------------------------------------------------


def test_umoci_unpacks_what_we_save(engine, image, tmp_path):
    need("umoci")
    if os.geteuid():
        pytest.skip("needs root")
    engine.images.save([image.id], str(tmp_path / "out"), "oci-dir")
    index = json.loads((tmp_path / "out/index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (tmp_path / "out/index.json").write_text(json.dumps(index))
    run("umoci", "unpack", "--image", f"{tmp_path / 'out'}:latest", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/bin/b").read_text() == "2"


# podman
# ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    program = need("podman")
    if os.geteuid():
        pytest.skip("podman is tried as root only")
    place = tmp_path_factory.mktemp("podman")
    words = [program, "--root", place / "root", "--runroot", place / "run", "--storage-driver", "vfs"]
    # Its cache of tried blobs is not below --root.
    environment = {**os.environ, "HOME": str(place), "XDG_DATA_HOME": str(place / "data")}

    def call(*more):
        return run(*words, *more, env=environment)

    try:
        call("images")
    except AssertionError as error:
        pytest.skip(f"podman does not start here: {str(error)[:200]}")
    return call


@pytest.mark.parametrize("format", ["docker-archive", "oci-archive"])
def test_podman_loads_what_we_save(engine, image, tmp_path, podman, format):
    engine.images.save(
        ["app:1", "example.com:5000/team/app:2"][: 1 if format == "oci-archive" else 2],
        str(tmp_path / "out.tar"),
        format,
    )
    told = podman("load", "-i", tmp_path / "out.tar")
    # Short names in a docker archive are podman's own to it, whoever wrote them.
    name = "localhost/app:1" if format == "docker-archive" else "docker.io/library/app:1"
    assert name in told
    facts = json.loads(podman("image", "inspect", name))[0]
    assert facts["Id"] == image.id[7:]
    assert facts["RootFS"]["Layers"] == list(image.diff_ids)
    podman("rmi", "-af")


@pytest.mark.parametrize("format", ["docker-archive", "oci-archive", "oci-dir"])
@pytest.mark.parametrize("by", ["path", "pipe"])
def test_we_load_what_podman_saves(engine, image, tmp_path, podman, format, by):
    if by == "pipe" and format == "oci-dir":
        pytest.skip("a directory cannot be piped")
    engine.images.save(["app:1"], str(tmp_path / "out.tar"))
    podman("load", "-i", tmp_path / "out.tar")
    podman("tag", image.id[7:], "example.com/b:2")
    podman("save", "--format", format, "-o", tmp_path / "podman", "example.com/b:2")
    podman("rmi", "-af")
    (loaded,) = load(engine, tmp_path / "podman", by)
    assert loaded.names == ["example.com/b:2"]
    assert engine.images.get("example.com/b:2").diff_ids == image.diff_ids
    assert loaded.id == image.id


# docker
# ---------------------------------------------------------------------------------------------------------


class Docker:
    """A daemon of our own, spoken to by its API: the client is a package of its own and may be missing."""

    def __init__(self, socket_path) -> None:
        self._path = str(socket_path)

    def __call__(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = http.client.HTTPConnection("docker", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(self._path)
        try:
            connection.request(method, path, body, {"Content-Type": "application/x-tar"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, data
        return data

    def load(self, data: bytes) -> list[str]:
        """Load an archive; return the daemon's lines."""
        answer = self("POST", "/images/load?quiet=1", data)
        told = [json.loads(line) for line in answer.splitlines()]
        assert not any("error" in each for each in told), told
        return "".join(each.get("stream", "") for each in told).splitlines()

    def inspect(self, name: str) -> dict:
        return json.loads(self("GET", f"/images/{name}/json"))

    def tag(self, name: str, repository: str, tag: str) -> None:
        self("POST", f"/images/{name}/tag?repo={repository}&tag={tag}")

    def save(self, *names: str) -> bytes:
        return self("GET", "/images/get?" + "&".join(f"names={name}" for name in names))

    def remove(self, *names: str) -> None:
        for name in names:
            self("DELETE", f"/images/{name}?force=1")


@pytest.fixture(scope="module")
def docker():
    # Paths of sockets are short.
    with (
        tempfile.TemporaryDirectory(prefix="ul-docker-") as place,
        dockerdaemon.running(Path(place), "--storage-driver=vfs"),
    ):
        yield Docker(f"{place}/d.sock")


def test_docker_loads_what_we_save(engine, image, tmp_path, docker):
    out = tmp_path / "out.tar"
    engine.images.save(["app:1", "example.com:5000/team/app:2"], str(out))
    told = docker.load(out.read_bytes())
    assert sorted(told) == ["Loaded image: app:1", "Loaded image: example.com:5000/team/app:2"]
    facts = docker.inspect("app:1")
    assert facts["RootFS"]["Layers"] == list(image.diff_ids)
    manifest = json.loads(members(out.read_bytes())["index.json"])["manifests"][0]["digest"]
    assert facts["Id"] in (image.id, manifest)
    docker.remove("app:1", "example.com:5000/team/app:2")


def test_docker_makes_the_same_of_archives_before_1_10(engine, tmp_path, docker):
    stack = [layer({"a": b"1"}), layer({"b": b"2"})]
    repositories = {"old": {"1": f"{2:064x}"}}
    data = tar_of(old_archive(stack, repositories, comment="ä\u2028", unknown={"z": 1, "a": "&"}))
    docker.load(data)
    theirs = docker.inspect("old:1")["Id"]
    docker.remove("old:1")
    (tmp_path / "old.tar").write_bytes(data)
    (loaded,) = engine.images.load(str(tmp_path / "old.tar"))
    assert loaded.id == theirs


@pytest.mark.parametrize("by", ["path", "pipe"])
def test_we_load_what_docker_saves(engine, image, tmp_path, docker, by):
    engine.images.save(["app:1"], str(tmp_path / "out.tar"))
    docker.load((tmp_path / "out.tar").read_bytes())
    docker.tag("app:1", "b", "2")
    docker.tag("app:1", "example.com/c", "3")
    (tmp_path / "docker.tar").write_bytes(docker.save("b:2", "example.com/c:3"))
    docker.remove("app:1", "b:2", "example.com/c:3")
    loaded = load(engine, tmp_path / "docker.tar", by)
    assert sorted(name for each in loaded for name in each.names) == ["b:2", "example.com/c:3"]
    assert {each.id for each in loaded} == {image.id}
    assert engine.images.get("b:2").diff_ids == image.diff_ids


def test_docker_and_we_inspect_alike(engine, image, tmp_path, docker):
    engine.images.save(["app:1"], str(tmp_path / "out.tar"))
    docker.load((tmp_path / "out.tar").read_bytes())
    theirs, ours = docker.inspect("app:1"), engine.images.inspect("app:1")
    docker.remove("app:1")
    for member in ("RepoTags", "Created", "Architecture", "Os", "RootFS", "Author", "Comment"):
        if member != "RepoTags":
            assert ours[member] == theirs[member], member
    for member in ("Cmd", "Env", "Labels"):
        assert ours["Config"][member] == theirs["Config"][member], member
    assert set(theirs) - set(ours) <= {"Container", "ContainerConfig", "VirtualSize", "Identity", "Manifests"}
