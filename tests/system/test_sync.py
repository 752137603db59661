"""Whole repositories copied by a list, tags listed, and tags and manifests removed from registries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import needs_root
from fakeregistry import FakeRegistry
from faults import status
from registries import DockerRegistry, push
from remoteimages import Image, image, small_tar
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def team(registry: FakeRegistry) -> dict[str, Image]:
    """A repository of some tags, another of one, and a signature's tag."""
    images = {tag: image([small_tar({tag: b"1"})]) for tag in ("1.0", "1.1", "2.0")}
    for tag, each in images.items():
        registry.add(each, "team/app", tag)
    registry.add(images["1.0"], "team/app", "latest", "sha256-" + "a" * 64 + ".sig")
    registry.add(images["2.0"], "db", "1")
    return images


def test_by_names_and_patterns(visitor: Visitor, registry: FakeRegistry, other: FakeRegistry) -> None:
    images = team(registry)
    visitor("sync", f"{registry.host}/team/app:1.*", f"{registry.host}/db", f"{other.host}/mirror")
    there = other.repository("mirror/team/app")
    assert there.tags == {tag: images[tag].digest for tag in ("1.0", "1.1")}
    assert other.repository("mirror/db").tags == {"1": images["2.0"].digest}
    # What is there is not sent again, nor asked for.
    other.forget()
    registry.forget()
    out = visitor.out("sync", f"{registry.host}/team/app", f"{other.host}/mirror")
    assert [line for line in out.splitlines() if "up to date" in line] == [
        f"docker://{other.host}/mirror/team/app:{tag}: is up to date" for tag in ("1.0", "1.1")
    ]
    assert set(there.tags) == {"1.0", "1.1", "2.0", "latest"}
    assert [each.method for each in registry.asked("GET", "/manifests/(1.0|1.1)$")] == []
    digest = images["2.0"].digest
    visitor("sync", f"{registry.host}/team/app@{digest}", other.host)
    assert set(other.repository("team/app").documents) == {digest}


def test_by_a_list(visitor: Visitor, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path) -> None:
    team(registry)
    lines = f"# ours\n{registry.host}/team/app:1.0   # the old one\n\ndocker://{registry.host}/db:1\n"
    (tmp_path / "list").write_text(lines)
    out = visitor.out("sync", "--dry-run", "--list", str(tmp_path / "list"), other.host)
    assert out.splitlines() == [
        f"{registry.host}/team/app:1.0 -> docker://{other.host}/team/app:1.0",
        f"{registry.host}/db:1 -> docker://{other.host}/db:1",
    ]
    assert other.repositories.keys() == set()
    visitor("sync", "-q", "--scoped", "--list", "-", f"{other.host}/x", input=lines.encode())
    scope = registry.host.replace(":", "_")
    assert {name for name, place in other.repositories.items() if place.tags} == {
        f"x/{scope}/team/app",
        f"x/{scope}/db",
    }
    assert "requires a SOURCE" in visitor("sync", other.host, code=125).stderr.decode()
    assert "not a text file" in visitor("sync", "--list", "-", other.host, input=b"\xff\xfe", code=1).stderr.decode()
    assert "no such file" in visitor("sync", "--list", "/no/such", other.host, code=1).stderr.decode().lower()


def test_into_directories(visitor: Visitor, registry: FakeRegistry, tmp_path: Path) -> None:
    images = team(registry)
    for kind in ("dir", "oci"):
        visitor("sync", "-q", f"{registry.host}/team/app", f"{kind}:{tmp_path}/{kind}")
    assert sorted(path.name for path in (tmp_path / "dir/team/app").iterdir()) == ["1.0", "1.1", "2.0", "latest"]
    entries = json.loads((tmp_path / "oci/team/app/index.json").read_text())["manifests"]
    names = {each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"] for each in entries}
    assert names == {tag: each.digest for tag, each in images.items()} | {"latest": images["1.0"].digest}
    registry.forget()
    for kind in ("dir", "oci"):
        out = visitor.out("sync", f"{registry.host}/team/app", f"{kind}:{tmp_path}/{kind}")
        assert out.count("up to date") == 4 and registry.asked("GET", "/blobs/") == []
    error = visitor("sync", f"{registry.host}/team/app", "store:x", code=1).stderr.decode()
    assert "sync cannot write whole repositories" in error


def test_what_fails_does_not_keep_the_rest(visitor: Visitor, registry: FakeRegistry, other: FakeRegistry) -> None:
    team(registry)
    for method in ("GET", "HEAD"):
        registry.rule(method, "/manifests/1.1", status(404))
    sources = [f"{registry.host}/{name}" for name in ("missing", "team/app", "team/app:9*", "Bad")]
    done = visitor("sync", *sources, other.host, code=1)
    assert set(other.repository("team/app").tags) == {"1.0", "2.0", "latest"}
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("underlay: ")]
    assert len(lines) == 4, lines
    assert "missing" in lines[0] and "1.1" in lines[1] and "no tag 9*" in lines[2] and "lowercase" in lines[3]


def test_tags(visitor: Visitor, registry: FakeRegistry) -> None:
    team(registry)
    name = f"{registry.host}/team/app"
    assert visitor.out("tags", name).splitlines()[:4] == ["1.0", "1.1", "2.0", "latest"]
    assert visitor.out("tags", "-f", "1.*", name).splitlines() == ["1.0", "1.1"]
    assert json.loads(visitor.out("tags", "--format", "json", "-f", "2*", name)) == {
        "Repository": name,
        "Tags": ["2.0"],
    }
    assert "unknown format" in visitor("tags", "--format", "yaml", name, code=125).stderr.decode()
    assert "missing" in visitor("tags", f"{registry.host}/missing", code=1).stderr.decode()


# Removing
# ---------------------------------------------------------------------------------------------------------


def test_a_tag_alone(visitor: Visitor, registry: FakeRegistry) -> None:
    images = team(registry)
    name = f"{registry.host}/team/app"
    visitor("pull", "-q", f"{name}:1.0")
    assert visitor.out("image", "rm", "--remote", f"{name}:1.0") == f"Untagged: {name}:1.0"
    place = registry.repository("team/app")
    assert "1.0" not in place.tags and place.tags["latest"] == images["1.0"].digest
    assert visitor.out("images", "-q")  # nothing here is touched
    digest = images["1.1"].digest
    assert visitor.out("rmi", "--remote", f"{name}@{digest}") == f"Deleted: {name}@{digest}"
    assert digest not in place.documents and "1.1" not in place.tags
    for word, said in ((f"{name}:1.0", "does not exist in its registry"), (name, "neither a tag nor a digest")):
        assert said in visitor("rmi", "--remote", word, code=1).stderr.decode()


def test_a_registry_that_removes_manifests_only(visitor: Visitor, made: Image, tmp_path: Path) -> None:
    """As Debian's does: a tag goes with its manifest, if that is no other tag's as well."""
    other = image([small_tar({"other": b"1"})])
    with DockerRegistry(tmp_path / "registry") as real:
        push(real.url, made, "app", "1", "2")
        push(real.url, other, "app", "3")
        name = f"{real.host}/app"
        assert visitor.out("rmi", "--remote", f"{name}:3").splitlines()[0] == f"Untagged: {name}:3"
        done = visitor("rmi", "--remote", f"{name}:1", code=None)
        if done.returncode:
            assert "has other tags: 2" in done.stderr.decode() and "--force" in done.stderr.decode()
            assert sorted(visitor.out("tags", name).splitlines()) == ["1", "2"]
            assert f"Deleted: {name}@{made.digest}" in visitor.out("rmi", "-f", "--remote", f"{name}:1")
        else:  # a newer one, which knows better
            assert visitor.out("tags", name).splitlines() == ["2"]


def test_a_registry_that_removes_nothing(visitor: Visitor, made: Image) -> None:
    with FakeRegistry(deletes=False) as registry:
        name = registry.add(made, "app", "1")
        assert "does not allow to remove manifests" in visitor("rmi", "--remote", name, code=1).stderr.decode()
        assert registry.repository("app").tags == {"1": made.digest}
