"""Every request held against the OCI distribution specification, by a registry that does no more than it must."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from asking import Known
from engines import image_tar, needs_root
from faults import cut_upload
from registries import call
from remoteimages import Image, Index, image, index, random_tar, sha, small_tar
from strictregistry import StrictRegistry
from underlay.registry.hosts import Settings
from underlay.registry.registries import Registries
from visitors import Visitor

pytestmark = pytest.mark.root
needs_root()

TEAM = "team/app"


@pytest.fixture(params=["as of 1.1.1", "as of 1.0"])
def strict(request: pytest.FixtureRequest) -> Iterator[StrictRegistry]:
    old = request.param == "as of 1.0"
    with StrictRegistry(digests=not old, links=not old, referrers=not old, least_chunk=0 if old else 5000) as registry:
        yield registry


@pytest.fixture(scope="module")
def many() -> Image:
    """An image of many layers, of every compression."""
    tars = [*(small_tar({f"file{n}": b"%d" % n}) for n in range(20)), random_tar(300_000, 1), random_tar(200_000, 2)]
    return image(tars, [("gzip", "zstd", "none")[n % 3] for n in range(22)])


@pytest.fixture(scope="module")
def whole() -> Index:
    return index([image([small_tar({n: b"1"})], architecture=n) for n in ("amd64", "arm64")], attestations=True)


@pytest.mark.parametrize(
    ("words", "method", "target", "body", "headers"),
    [
        ("a query color", "GET", "tags/list?color=red", None, {}),
        ("last is '/'", "GET", "tags/list?last=/", None, {}),
        ("Accept does not name", "GET", "manifests/1", None, {"accept": "*/*"}),
        ("no such method", "POST", "tags/list", b"", {}),
        ("a body", "GET", "tags/list", b"x", {}),
        ("escaped", "GET", "manifests/%31", None, {}),
        ("Content-Type 'text/plain'", "PUT", "manifests/1", b"{}", {"content-type": "text/plain"}),
        ("from is 'A'", "POST", f"blobs/uploads/?mount={sha(b'')}&from=A", b"", {}),
        ("Content-Length 1", "POST", "blobs/uploads/", b"x", {}),
        ("not the place", "PATCH", "blobs/uploads/1", b"x", {"content-type": "application/octet-stream"}),
        ("Content-Range bytes 0-0", "PATCH", "blobs/uploads/1", b"x", {"content-range": "bytes 0-0"}),
        ("do not fit", "PATCH", "blobs/uploads/1", b"x", {"content-range": "0-1"}),
        ("no digest", "PUT", "blobs/uploads/1?_state=x", b"", {}),
    ],
)
def test_what_it_notices(words: str, method: str, target: str, body: bytes | None, headers: dict[str, str]) -> None:
    strict = StrictRegistry()
    strict.add(image(), TEAM, "1")
    call(strict.url, method, f"/v2/{TEAM}/{target}", body, headers)
    with pytest.raises(AssertionError, match=f"against the specification:\n(.*\n)*.*{re.escape(words)}"), strict:
        pass


def test_pull(visitor: Visitor, strict: StrictRegistry, many: Image, whole: Index) -> None:
    name = strict.add(many, TEAM, "many")
    visitor("pull", name)
    assert json.loads(visitor.out("inspect", name))[0]["RootFS"]["Layers"] == many.diff_ids
    visitor("pull", name)
    visitor("pull", f"{strict.host}/{TEAM}@{many.digest}")
    visitor("pull", strict.add(whole, TEAM, "whole"))
    visitor.fails("pull", f"{strict.host}/{TEAM}:none")
    visitor.fails("pull", f"{strict.host}/none")
    assert len(strict.asked("GET", "/blobs/")) == len(many.blobs) + 2


@pytest.mark.parametrize("mounts", [True, False])
def test_push(visitor: Visitor, many: Image, mounts: bool) -> None:
    with StrictRegistry(mounts=mounts, single_post=False) as strict:
        visitor("pull", "--keep-compressed", strict.add(many, TEAM, "1"))
        visitor("tag", f"{strict.host}/{TEAM}:1", f"{strict.host}/else/where:1")
        visitor("push", f"{strict.host}/else/where:1")
        pushed = strict.manifest("else/where", "1")
        assert pushed["config"]["digest"] == many.id
        assert {each["digest"] for each in (pushed["config"], *pushed["layers"])} == set(
            strict.repository("else/where").blobs
        )
        assert strict.repository("else/where").blobs == many.blobs or not mounts
        visitor("push", f"{strict.host}/else/where:1")
        visitor("import", "-", f"{strict.host}/new:1", input=image_tar())
        visitor("tag", f"{strict.host}/new:1", f"{strict.host}/new:2")
        visitor("push", "-a", f"{strict.host}/new")
        assert set(strict.repository("new").tags) == {"1", "2"}
        assert strict.repository("new").uploads == {}


def test_an_upload_that_breaks_off(visitor: Visitor) -> None:
    with StrictRegistry() as strict:
        with StrictRegistry() as other:
            name = other.add(image([random_tar(3_000_000, 3)]), TEAM, "1")
            visitor("pull", "--keep-compressed", name)
        visitor("tag", name, f"{strict.host}/{TEAM}:1")
        strict.rule("PATCH", "", cut_upload(1_000_000), times=1)
        visitor("push", f"{strict.host}/{TEAM}:1")
        assert any("content-range" in each.headers for each in strict.asked("PATCH"))


def test_copy(visitor: Visitor, strict: StrictRegistry, many: Image, whole: Index) -> None:
    with StrictRegistry(least_chunk=5000) as other:
        for each, tag in ((many, "many"), (whole, "whole")):
            name = strict.add(each, TEAM, tag)
            assert visitor.out("copy", "-q", name, f"{other.host}/{TEAM}:{tag}") == each.digest
            assert visitor.out("copy", "-q", name, f"{strict.host}/mounted:{tag}") == each.digest
        assert other.repository(TEAM).documents == strict.repository(TEAM).documents
        assert other.repository(TEAM).blobs == strict.repository(TEAM).blobs
    visitor.is_empty()


def test_lists_and_inspection(visitor: Visitor, strict: StrictRegistry, whole: Index) -> None:
    names = [strict.add(each, f"part/{n}", "1") for n, each in enumerate(whole.images)]
    visitor("manifest", "create", f"{strict.host}/{TEAM}:all", *names)
    digest = visitor.out("manifest", "push", f"{strict.host}/{TEAM}:all")
    assert strict.repository(TEAM).tags == {"all": digest}
    assert json.loads(visitor.out("manifest", "inspect", f"{strict.host}/{TEAM}:all"))["manifests"]
    assert json.loads(visitor.out("image", "inspect", "--remote", names[0]))
    assert "part/0" in visitor.out("search", f"{strict.host}/part")


def test_referrers(whole: Index) -> None:
    subject = whole.images[0]
    signed = image([small_tar({"s": b"1"})], subject=subject.descriptor(), artifact_type="application/x.signature")
    with StrictRegistry() as strict, Registries(settings=Settings.load(), credentials=Known()) as registries:
        from underlay.oci import reference

        strict.add(subject, TEAM, "1")
        strict.add(signed, TEAM)
        found = registries.repository(reference.parse(f"{strict.host}/{TEAM}:1")).referrers(subject.digest)
        assert [(each.digest, each.artifact_type) for each in found or []] == [
            (signed.digest, "application/x.signature")
        ]
        assert registries.repository(reference.parse(f"{strict.host}/{TEAM}:1")).referrers(sha(b"")) is not None


@pytest.mark.parametrize("page", [0, 77])
def test_ten_thousand_tags(visitor: Visitor, strict: StrictRegistry, whole: Index, page: int) -> None:
    """All are listed, page by page, with a Link or without, and as the registry orders them."""
    if page and not strict.links:
        pytest.skip("a page that is shorter than what was asked for, without a Link, is the last")
    strict.page = page
    name = strict.add(whole.images[0], TEAM, *(f"v{n}" for n in range(10_000)))
    wanted = sorted(strict.repository(TEAM).tags)
    from underlay.oci import reference

    with Registries(settings=Settings.load(), credentials=Known()) as registries:
        repository = registries.repository(reference.parse(name))
        assert repository.tags() == wanted
        pages = strict.asked("GET", "/tags/list")
        assert len(pages) == -(-10_000 // (page or 1000)) + (not strict.links)
        assert len({each.target for each in pages}) == len(pages)
        # As many as fit on one page exactly.
        for count in (999, 1000, 1001):
            strict.repository("exact").tags = {f"v{n:05d}": "" for n in range(count)}
            assert len(registries.repository(reference.parse(f"{strict.host}/exact:1")).tags()) == count


def test_pulling_ten_thousand_tags(visitor: Visitor, whole: Index) -> None:
    with StrictRegistry() as strict:
        strict.add(whole.images[0], TEAM, *(f"v{n}" for n in range(10_000)))
        visitor("pull", "-a", "-q", f"{strict.host}/{TEAM}", timeout=200)
        assert len(visitor.out("images", "--format", "{{.Tag}}").splitlines()) == 10_000
        # Each manifest is looked at, and what is in it is fetched once, over few connections.
        assert len(strict.asked("GET", "/manifests/")) == 10_000
        assert len(strict.asked("GET", "/blobs/")) == 2
        assert strict.connections < 20
