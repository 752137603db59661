"""Files of images in registries and archives: read where they lie, by tables of contents where layers have them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import faults
import signing
import variants
from archives import layer, sha
from engines import Installation
from fakeregistry import FakeRegistry
from registries import DockerRegistry
from remoteimages import Image
from underlay import Engine
from underlay.errors import Corrupt, DigestMismatch, Untrusted
from underlay.oci import manifest as manifests
from underlay.oci import reference as references
from underlay.registry.registries import Registries
from underlay.store.layers import passing
from underlay.store.layers.passing import SkimmedLayer
from underlay.store.layers.toc import Entry
from underlay.store.rootfs.imagefiles import ImageFiles
from underlay.transfer import tocs
from variants import Made

LARGE = {f"usr/share/large/{number}": variants.noise(f"large {number}", 300_000) for number in range(6)}


def large() -> Made:
    """An application on Alpine whose steps say nothing, and whose lowest layer is worth a table of contents."""
    made = Made().add(layer({**variants.alpine_files(), **LARGE}), "ADD file:ab12 in / # buildkit")
    return variants.app(made.say('CMD ["/bin/sh"]'))


def stargz(tar: bytes) -> tuple[bytes, str]:
    """A layer as eStargz, and the digest of its table: a gzip member for each file's content, the table, the footer."""
    out, entries, plain = io.BytesIO(), [], io.BytesIO(tar)
    done = 0
    with tarfile.open(fileobj=io.BytesIO(tar)) as source:
        for member in source:
            entry: dict[str, Any] = {"name": member.name, "type": "reg", "size": member.size, "mode": 0o644}
            plain.seek(done)
            out.write(gzip.compress(plain.read(member.offset_data - done), mtime=0))
            entry["offset"] = out.tell()
            content = plain.read(member.size)
            entry["digest"] = sha(content)
            out.write(gzip.compress(content, mtime=0))
            done = member.offset_data + member.size
            entries.append(entry)
    plain.seek(done)
    out.write(gzip.compress(plain.read(), mtime=0))
    text = json.dumps({"version": 1, "entries": entries}).encode()
    begin = out.tell()
    out.write(gzip.compress(layer({"stargz.index.json": text}), mtime=0))
    extra = b"SG" + (22).to_bytes(2, "little") + b"%016xSTARGZ" % begin
    head = b"\x1f\x8b\x08\x04" + bytes(4) + b"\x00\xff" + len(extra).to_bytes(2, "little") + extra
    out.write(head + b"\x01\x00\x00\xff\xff" + bytes(8))
    return out.getvalue(), sha(text)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(str(tmp_path / "root"), str(tmp_path / "state"), form="tree") as made:
        yield made


def add(registry: FakeRegistry, made: Made, repository: str = "team/app", **annotations: str) -> str:
    """Put an image there, its lowest layer as eStargz; returns its name."""
    lowest, digest = stargz(made.layers[0])
    other = made.on(0)
    other.layers[0] = gzip.decompress(lowest)  # its diff id is that of all members together
    manifest, document, packed = other.manifest()
    packed[0] = lowest
    described = manifest["layers"][0]
    described |= {"digest": sha(packed[0]), "size": len(packed[0])}
    described["annotations"] = {"containerd.io/snapshot/stargz/toc.digest": digest, **annotations}
    blobs = {sha(each): each for each in (document, *packed)}
    platform = {"os": "linux", "architecture": "amd64"}
    return registry.add(
        Image(json.dumps(manifest).encode(), manifest["mediaType"], document, blobs, [], platform), repository, "1"
    )


def diff_id_of(made: Made) -> str:
    """The diff id of the lowest layer as `add` puts it there."""
    return sha(gzip.decompress(stargz(made.layers[0])[0]))


def fetched(registry: FakeRegistry, digest: str) -> list[str]:
    """The ranges of a blob that were fetched, "" for all of it."""
    return [each.headers.get("range", "") for each in registry.asked("GET", f"/blobs/{digest}")]


def test_files_by_ranges(engine: Engine) -> None:
    """The table, its footer and three small files are fetched, and not the layer."""
    made = large()
    lowest = sha(stargz(made.layers[0])[0])
    with FakeRegistry() as registry:
        name = add(registry, made)
        assert engine.bases.identify(name).candidates[0].name != "alpine:3.20"
        assert fetched(registry, lowest) == []
        first = engine.bases.identify(name, deep=True).candidates[0]
        assert (first.name, "Alpine Linux v3.20" in " ".join(first.evidence)) == ("alpine:3.20", True)
        ranges = fetched(registry, lowest)
        assert len(ranges) == 5 and "" not in ranges
        # Where a registry gives no ranges, or the table is not the one that is stated, the layer is read as a whole.
        registry.forget()
        registry.rule("GET", f"/blobs/{lowest}", faults.no_range)
        assert engine.bases.identify(name, deep=True).candidates[0].name == "alpine:3.20"
        assert fetched(registry, lowest)[-1] == ""
    with FakeRegistry() as registry:
        name = add(registry, made, **{"containerd.io/snapshot/stargz/toc.digest": f"sha256:{1:064x}"})
        assert engine.bases.identify(name, deep=True).candidates[0].name == "alpine:3.20"
        assert fetched(registry, lowest)[-1] == ""


def based(files: dict[str, bytes]) -> Made:
    """A base of another build, whose lowest layer is worth a table of contents."""
    return Made().add(layer({**variants.alpine_files(), **LARGE, **files}), "ADD file:cd34 in / # buildkit")


@pytest.mark.parametrize("case", ["tables", "no ranges", "many files"])
def test_a_rebase_looks_by_ranges(engine: Engine, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of layers of bases with a table of contents a few files are fetched; where that cannot be, or they are many, the
    layers are read."""
    base, other = based({"usr/bin/tool": b"#!/bin/sh\n"}), based({"etc/motd": b"new\n"})
    made = base.on().say('CMD ["tool"]').add(layer({"srv/data": b"data"}), "COPY data /srv/data # buildkit")
    blobs = [sha(stargz(each.layers[0])[0]) for each in (base, other)]
    with FakeRegistry() as registry:
        names = [add(registry, each, name) for each, name in ((base, "base"), (other, "other"), (made, "team/app"))]
        if case == "many files":
            monkeypatch.setattr(tocs, "_FILES_LIMIT", 1)
        for blob in blobs if case == "no ranges" else ():
            registry.rule("GET", f"/blobs/{blob}", faults.no_range)
        moved = engine.bases.rebase(f"docker://{names[2]}", names[1], ["x"], f"docker://{names[0]}", dry_run=True)
        assert [hazard.id for hazard in moved.hazards] == ["command"] and "tool" in moved.hazards[0].text
        for blob in blobs:
            ranges = fetched(registry, blob)
            assert len(ranges) > 1 and ("" in ranges) is (case != "tables")


def test_a_rebase_whose_files_cannot_be_had(engine: Engine) -> None:
    """A foreign layer lies elsewhere: nothing is claimed of its files."""
    base, other = based({}), based({"etc/motd": b"new\n"})
    made = base.on().add(layer({"srv/data": b"data"}), "COPY data /srv/data # buildkit")
    with FakeRegistry() as registry:
        names = [add(registry, each, name) for each, name in ((base, "base"), (other, "other"), (made, "team/app"))]
        foreign(registry, "other")
        moved = engine.bases.rebase(f"docker://{names[2]}", names[1], ["x"], f"docker://{names[0]}", dry_run=True)
        assert [hazard.id for hazard in moved.hazards] == ["files"] and "foreign layer" in moved.hazards[0].text


def foreign(registry: FakeRegistry, repository: str) -> None:
    """Say of the lowest layer of an image there that it lies elsewhere."""
    place = registry.repository(repository)
    manifest = json.loads(place.documents.pop(place.tags["1"])[1])
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    data = json.dumps(manifest).encode()
    place.documents[sha(data)] = (manifest["mediaType"], data)
    place.tags["1"] = sha(data)


def test_fit_looks_where_the_image_lies(engine: Engine, tmp_path: Path) -> None:
    """What is broken in its files is told of an archive and a registry; of what cannot be had nothing is certain."""
    made = based({"usr/bin/tool": b"#!/usr/bin/nothing\n"}).say('CMD ["tool"]')
    with FakeRegistry() as registry:
        name = add(registry, made)
        archive = str(made.layout("app:1").write(tmp_path / "layout"))
        for place in (f"docker://{name}", archive):
            found = engine.bases.fit(place)
            assert found.certain and found.needs.distribution == "alpine"
            assert [each.id for each in found.reasons if each.effect == "fails"] == ["command-mode"]
        ranges = fetched(registry, sha(stargz(made.layers[0])[0]))
        assert len(ranges) > 2 and "" not in ranges
        foreign(registry, "team/app")
        found = engine.bases.fit(f"docker://{name}")
        assert not found.certain and not found.needs.distribution
    assert not list((tmp_path / "root" / "layers").glob("*")) and not list((tmp_path / "root" / "tmp").glob("*"))


def test_a_rebase_obeys_the_trust_policy(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, other = based({}), based({"etc/motd": b"new\n"})
    made = base.on().add(layer({"srv/data": b"data"}), "COPY data /srv/data # buildkit")
    key = signing.private()
    with FakeRegistry() as registry:
        names = [add(registry, each, name) for each, name in ((base, "base"), (other, "other"), (made, "team/app"))]
        signed_by = {
            "type": "sigstoreSigned",
            "keyPath": signing.public(key, tmp_path / "cosign.pub"),
            "signedIdentity": {"type": "matchRepository"},
        }
        policy = {"default": [{"type": "insecureAcceptAnything"}]}
        scopes = {"docker": {f"{registry.host}/other": [signed_by]}}
        (tmp_path / "policy.json").write_text(json.dumps({**policy, "transports": scopes}))
        monkeypatch.setenv("UNDERLAY_TRUST_POLICY", str(tmp_path / "policy.json"))
        words = (f"docker://{names[2]}", names[1], [f"{registry.host}/team/app:2"], f"docker://{names[0]}")
        with pytest.raises(Untrusted, match="no signature"):
            engine.bases.rebase(*words, force=True)
        assert registry.asked("POST", "/blobs/uploads/") == [] and registry.asked("PUT", "/manifests/") == []
        signing.sign(registry, "other", registry.repository("other").tags["1"], key)
        assert engine.bases.rebase(*words).done


def keep(entry: Entry) -> bool:
    return entry.name.endswith((b"os-release", b"installed"))


def test_as_skopeo_writes_it(engine: Engine, tmp_path: Path) -> None:
    """zstd:chunked in Debian's registry: by its table it has the same files as when it is read as a whole."""
    if not shutil.which("skopeo"):
        pytest.skip("no skopeo")
    made = large()
    made.packing = "none"  # what is compressed stays as it is
    made.layout("app:1").write(tmp_path / "layout")
    with DockerRegistry(tmp_path / "registry") as registry:
        target = f"docker://{registry.name}/team/app:1"
        options = ["--dest-tls-verify=false", "--dest-compress-format", "zstd:chunked"]
        source = f"oci:{tmp_path}/layout"
        words = ["skopeo", "--insecure-policy", "copy", *options, source, target]
        done = subprocess.run(words, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"this skopeo does not write zstd:chunked: {done.stderr.decode()[:200]}")
        with Registries() as registries:
            repository = registries.repository(references.parse(f"{registry.name}/team/app:1"))
            manifest: manifests.Manifest = manifests.read_manifest(repository.manifest("1").data, "app").view
            lowest = (manifest.layers or [])[0]
            diff_id = sha(made.layers[0])

            def whole() -> SkimmedLayer:
                source = repository.blob(lowest).read
                return passing.skim(lambda: source(1 << 20), diff_id, keep)

            by_table = tocs.read(repository, lowest, whole)
            assert by_table is not None
            both = [ImageFiles(engine._store.paths, [diff_id], {diff_id: layer}) for layer in (by_table, whole())]
            assert both[0].read(b"etc/os-release") == both[1].read(b"etc/os-release")
        names = [[path for path, _ in files.walk()] for files in both]
        assert sorted(names[0]) == sorted(names[1]) and len(names[0]) >= 50
        assert all(both[0].checksum(name) == both[1].checksum(name) for name in names[0])
        assert engine.bases.identify(target, deep=True).candidates[0].name == "alpine:3.20"


def test_what_a_table_may_not_say(engine: Engine) -> None:
    """A table that leads out of the layer, or to other bytes than it says, is not believed: the layer is read."""
    made = large()
    path = b"etc/os-release"
    with FakeRegistry() as registry:
        name = add(registry, made)
        with Registries() as registries:
            repository = registries.repository(references.parse(name))
            manifest: manifests.Manifest = manifests.read_manifest(repository.manifest("1").data, "app").view
            lowest = (manifest.layers or [])[0]
            table, end = tocs._table(repository, lowest) or (None, 0)
            assert table is not None
            wrong = next(file for file in table.entries if file.name == path.decode())
            read: list[int] = []

            def whole() -> SkimmedLayer:
                read.append(1)
                source, diff_id = repository.blob(lowest).read, diff_id_of(made)
                return passing.skim(lambda: source(1 << 20), diff_id, keep)

            def content(**changes: object) -> bytes | None:
                before = {each: getattr(wrong, each) for each in changes}
                for each, value in changes.items():
                    setattr(wrong, each, value)
                try:
                    layer = tocs.TableLayer(
                        partial(tocs._part, repository, lowest, limit=1 << 20), lowest, table, end, whole
                    )
                    entry = next(entry for entry in layer.entries if entry.name == wrong.name.encode())
                    return layer.read(entry, 1 << 20)
                finally:
                    for each, value in before.items():
                        setattr(wrong, each, value)

            expected = content()
            assert expected and not read
            assert content(offset=lowest.size) == expected and len(read) == 1
            assert content(digest="sha256:" + hashlib.sha256(b"other").hexdigest()) == expected and len(read) == 2
            for changes in ({"name": "../etc/os-release"}, {"type": "door"}, {"offset": lowest.size, "size": 3}):
                with pytest.raises(Corrupt):
                    content(**changes)
            with pytest.raises(Corrupt, match="not in the layer as its table"):
                content(offset=lowest.size, name="etc/another")


def test_an_archive_whose_layer_is_another(tmp_path: Path) -> None:
    """Layers that are read are verified: one line, and nothing is left behind."""
    made = large()
    layout = made.layout("app:1")
    [digest] = [each for each in layout.blobs if gzip.compress(made.layers[0], 6, mtime=0) == layout.blobs[each]]
    layout.blobs[digest] = layout.blobs[digest][:-9] + b"123456789"
    ul = Installation(tmp_path / "ul")
    said = ul("base", "identify", str(layout.write(tmp_path / "layout")), code=1).stderr.decode()
    assert said.startswith("underlay: ") and "Traceback" not in said and len(said.splitlines()) <= 2
    documents = json.loads(ul.out("base", "identify", "--deep=false", "--format", "json", str(tmp_path / "layout")))
    assert documents["where"] == "archive"
    with Engine(str(tmp_path / "r"), str(tmp_path / "s"), form="tree") as engine:
        other = made.document()
        other["rootfs"]["diff_ids"][0] = f"sha256:{5:064x}"
        made.document = lambda: other  # type: ignore[method-assign]
        with pytest.raises(DigestMismatch):
            engine.bases.identify(str(made.layout("app:1").write(tmp_path / "forged")))


def test_files_that_are_not_looked_at_make_nothing_sure(engine: Engine, tmp_path: Path) -> None:
    made = Made().add(layer({"app": b"\x7fELF" * 500}), "COPY app /app # buildkit").say('ENTRYPOINT ["/app"]')
    place = str(made.layout("app:1").write(tmp_path / "layout"))
    unread, read = (engine.bases.identify(place, deep=deep) for deep in (False, None))
    assert unread.candidates[0].name == read.candidates[0].name == "scratch"
    assert unread.certainty <= 0.95 and unread.candidates[0].evidence[-1] == "its files were not looked at"
    assert "its files were not looked at" not in read.candidates[0].evidence and read.certainty <= 0.99
