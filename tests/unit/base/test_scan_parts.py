"""The parts of a scan: targets, lists and pods, the choice of tags, the file and what is asked of it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from asking import registries as asked
from fakeregistry import FakeRegistry
from remoteimages import image
from underlay.base.scan import answers, lineage, targets, work
from underlay.base.scan.database import ImageFacts, ScanFile, key_of
from underlay.errors import Corrupt, InvalidInput, NotFound, Unsupported
from underlay.packages.installed import Inventory
from underlay.packages.model import Package


def test_targets(tmp_path: Path) -> None:
    with FakeRegistry() as registry, asked() as session:
        for name in ("team/a", "team/b", "other/c"):
            registry.add(image(), name, "1")
        host = registry.host
        found = dict(targets.expand([f"{host}/"], session))
        assert found == {f"{host}/team/a": None, f"{host}/team/b": None, f"{host}/other/c": None}
        assert list(dict(targets.expand([f"{host}/team/"], session))) == [f"{host}/team/a", f"{host}/team/b"]
        digest = "sha256:" + "a" * 64
        names = ["debian:12", "debian", f"debian@{digest}", f"{host}/x:*", f"{host}/x:1"]
        assert targets.expand(names, session) == [
            targets.Wanted("debian", ("12", "latest", digest)),
            targets.Wanted(f"{host}/x", None),
        ]
        with pytest.raises(InvalidInput, match="Docker Hub has no list of all repositories"):
            targets.expand(["docker.io/"], session)
        with pytest.raises(InvalidInput, match="team/ is not the address of a registry"):
            targets.expand(["team/"], session)


def test_lists() -> None:
    assert targets.lines("a\n\n# no\n  b:1 \r\n") == ["a", "b:1"]
    with pytest.raises(InvalidInput, match="line 2 of the list has more than 4096 characters"):
        targets.lines("a\n" + "x" * 5000)


def test_pods() -> None:
    digest = "sha256:" + "b" * 64
    pod = {
        "kind": "Pod",
        "spec": {
            "initContainers": [{"name": "i", "image": "busybox"}],
            "containers": [
                {"name": "a", "image": "debian:12"},
                {"name": "b", "image": "debian:12"},
                {"name": "c", "image": "here"},
            ],
        },
        "status": {
            "containerStatuses": [
                {"name": "a", "imageID": f"docker.io/library/debian@{digest}"},
                {"name": "b", "imageID": f"docker-pullable://debian@{digest}"},
                {"name": "c", "imageID": digest},
            ]
        },
    }
    found = ["busybox", f"docker.io/library/debian@{digest}", f"debian@{digest}", "here"]
    assert targets.pods(json.dumps({"kind": "List", "items": [pod, pod]}).encode(), "x") == found
    assert targets.pods(json.dumps(pod).encode(), "x") == found
    assert targets.pods(b'{"items": []}', "x") == []
    for data in (b"", b"[]", b"{", b'{"items": {}}', b'{"items": [1]}', b'{"items": [{"kind": "Service"}]}'):
        with pytest.raises(InvalidInput) as caught:
            targets.pods(data, "x")
        assert "kubectl get pods" in caught.value.hint
    assert targets.pods(b'{"kind": "Pod", "spec": {"containers": [1, {"image": 3}]}, "status": 7}', "x") == []


def test_chosen_tags() -> None:
    tags = ["1.9", "1.10", "1.10-rc1", "latest", "v2", "sha-abc", "1.10.1", "1"]
    ordered = ["latest", "v2", "1.10.1", "1.10", "1.10-rc1", "1.9", "1", "sha-abc"]
    assert work._chosen(tags, (), 0) == work._chosen(ordered, (), 0) == ordered
    assert work._chosen(tags, ("1.*",), 0) == ["1.10.1", "1.10", "1.10-rc1", "1.9"]
    assert work._chosen(tags, ("1.*", "latest"), 2) == ["latest", "1.10.1"]
    assert work._chosen(tags, ("x*",), 2) == []


def package(name: str, version: str, origin: str = "") -> Package:
    return Package("deb", name, version, "amd64", origin)


@pytest.fixture
def scan(tmp_path: Path) -> ScanFile:
    """A scan of two images: one stands on what the other is."""
    made = ScanFile(str(tmp_path / "scan.db"), writing=True)
    base = ImageFacts("sha256:m1", "sha256:c1", "linux/amd64", (("sha256:l1", "sha256:b1", 10),))
    above = ImageFacts("sha256:m2", "sha256:c2", "linux/amd64", (*base.layers, ("sha256:l2", "sha256:b2", 5)))
    made.set_name("r/base:1", "sha256:m1", made.add_image(base))
    made.set_name("r/app:1", "sha256:m2", made.add_image(above))
    made.set_name("r/app:2", "sha256:m2", made.add_image(above))
    lower = Inventory([package("libc6", "2.36", "glibc"), package("bash", "5")], {"ID": "debian"}, [])
    upper = Inventory([*lower.packages, package("curl", "8")], {"ID": "debian"}, ["a problem"])
    numbers = [made.add_inventory(key_of(key), each) for key, each in ((["l1"], lower), (["l1", "l2"], upper))]
    rows = {manifest: number for number, _, manifest, _, _ in made.unsettled("j")}
    made.settle(rows["sha256:m1"], "scratch", (), '{"image": "", "base": "scratch"}', numbers[0], 0, "j")
    standing = '{"image": "", "base": "r/base:1", "chain": ["r/base:1", "os:1", "?"]}'
    made.settle(rows["sha256:m2"], "r/base:1", ("r/base:1", "os:1", "?"), standing, numbers[1], numbers[0], "j")
    return made


def test_who(scan: ScanFile) -> None:
    has = [(each.name, each.version, each.from_base) for each in answers.who(scan, "bash")]
    assert has == [("r/app:1", "5", True), ("r/app:2", "5", True), ("r/base:1", "5", None)]
    assert answers.who(scan, "glibc") == answers.who(scan, "libc6") == answers.who(scan, "libc6@2.36")
    assert len(answers.who(scan, "glibc")) == 3 and answers.who(scan, "libc6@2.37") == []
    assert [each.from_base for each in answers.who(scan, "curl")] == [False, False]
    for base in ("r/base:1", "os:1"):
        assert answers.who(scan, base) == [answers.Holder(name, "r/base:1") for name in ("r/app:1", "r/app:2")]
    with pytest.raises(Unsupported, match="who has an advisory is not answered yet"):
        answers.who(scan, "CVE-2026-1")
    with pytest.raises(InvalidInput, match="nothing is asked for"):
        answers.who(scan, "")


def test_the_file(scan: ScanFile, tmp_path: Path) -> None:
    both = {"r/app:1": "sha256:m2", "r/app:2": "sha256:m2"}
    assert scan.roots("r/app") == scan.roots("r/app", "linux/amd64") == both and scan.roots("r/other") == {}
    assert scan.roots("r/app", "linux/arm64") == {} and scan.image_of("sha256:m2", "linux/arm64") == 0
    scan.fail_name("r/app:1", "gone")
    assert scan.roots("r/app") == {"r/app:2": "sha256:m2"}  # it is asked again
    scan.keep_name("r/app:1")
    assert scan.roots("r/app") == both and scan.image_of("sha256:m2") and not scan.image_of("sha256:m3")
    assert scan.unsettled("j") == [] and len(scan.unsettled("another")) == 2
    assert scan.inventory(2).problems == ["a problem"] and len(scan.inventory(2).packages) == 3
    assert {diff_id for diff_id, known in scan.layers().items() if not known[0]} == {"sha256:l1", "sha256:l2"}
    scan.add_facts("sha256:l1", b"x", True)
    assert scan.facts("sha256:l1") == b"x" and scan.layers()["sha256:l1"] == (True, True)
    with ScanFile(scan.path) as reader:
        assert reader.facts("sha256:l1") == b"x"
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.add_facts("sha256:l1", b"y", True)
    scan.forget_others("r/app", ["r/app:1"])
    scan.forget_others("r/ap", [])
    assert [each.name for each in answers.who(scan, "curl")] == ["r/app:1"]


def test_documents(scan: ScanFile) -> None:
    from underlay.oci import digest

    data = b'{"a": 1}'
    scan.add_documents([(digest.of(data), data)])
    assert scan.document(digest.of(data)) == data and scan.document("sha256:0") is None
    import zlib

    scan.add_documents([("sha256:" + "0" * 64, b"other")])
    with pytest.raises(Corrupt, match="does not match its digest"):
        scan.document("sha256:" + "0" * 64)
    scan._connection.execute("UPDATE documents SET data = ?", (zlib.compress(b"x")[:3],))
    with pytest.raises(Corrupt):
        scan.document(digest.of(data))


def test_files_that_are_no_scan(tmp_path: Path, scan: ScanFile) -> None:
    with pytest.raises(NotFound, match="no such scan"):
        ScanFile(str(tmp_path / "none.db"))
    (tmp_path / "text.db").write_text("a list of things to buy\n" * 100)
    with pytest.raises(InvalidInput, match="is not the file of a scan"):
        ScanFile(str(tmp_path / "text.db"))
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (a)").connection.close()
    for writing in (False, True):
        with pytest.raises(InvalidInput, match="is not the file of a scan"):
            ScanFile(str(tmp_path / "other.db"), writing)
    scan._connection.execute("PRAGMA user_version = 99")
    with pytest.raises(InvalidInput, match="of another version of underlay"):
        ScanFile(scan.path)
    with pytest.raises(InvalidInput, match="nowhere"):
        ScanFile(str(tmp_path / "nowhere/scan.db"), writing=True)


def test_older_formats(tmp_path: Path, scan: ScanFile) -> None:
    path = scan.path
    scan._connection.executescript(
        "ALTER TABLE images DROP COLUMN judge; DROP TABLE bases; DROP TABLE chains; PRAGMA user_version = 1"
    )
    scan.close()
    with ScanFile(path) as reader:
        assert len(answers.who(reader, "bash")) == 3
        with pytest.raises(InvalidInput, match="of an older version"):
            answers.who(reader, "os:1")
    with (
        ScanFile(str(tmp_path / "new.db"), writing=True) as new,
        pytest.raises(InvalidInput, match="of an older version"),
    ):
        new.merge(path)
    with ScanFile(path, writing=True) as writer:
        assert len(writer.unsettled("j")) == 2  # to be judged again
        assert len(answers.who(writer, "os:1")) == 2
    with ScanFile(str(tmp_path / "new.db"), writing=True) as new:
        new.merge(path)
        assert len(answers.who(new, "bash")) == 3 and len(answers.who(new, "os:1")) == 2


def test_lineage() -> None:
    images = {1: ["a"], 2: ["a", "b"], 3: ["a", "b"], 4: ["a", "b", "c"], 5: ["x", "y"], 6: ["a", "c"], 7: []}
    assert lineage.nearest(images) == {2: [1], 3: [1], 4: [2, 3], 6: [1]}
