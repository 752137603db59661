"""The image commands from end to end, through the command line and the Python interface."""

import gzip
import io
import json
import os
import tarfile

import pytest

from archives import Layout, layer, members, sha, shared
from imagestores import cli, engine, index_of_platforms, load_by, nothing_stays, two_layer_image
from underlay.errors import Conflict, Corrupt, InvalidInput, NotFound
from underlay.store import leases

__all__ = ["cli", "engine"]  # fixtures
GLIBC = "sha256:7a3ebe5bfd1a4a19797d20b0c0bb39d44393e9a03fd852c0865b0f540d868df0"

# Saving
# ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["docker-archive", "oci-archive"])
def test_what_is_saved_is_loaded_again(engine, tmp_path, format):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1", compress=False)
    load_by(engine, tmp_path, layout.tar(), "path")
    out = tmp_path / "out.tar"
    engine.images.save(["app:1"], str(out), format)
    first = out.read_bytes()
    saved = members(first)
    for digest, data in layout.blobs.items():
        assert saved[f"blobs/{digest.replace(':', '/')}"] == data
    engine.images.save(["app:1"], str(out), format)
    assert out.read_bytes() == first, "the same image must give the same bytes"
    before = engine.images.get("app:1").id
    engine.images.remove("app:1")
    engine.images.load(str(out))
    assert engine.images.get("app:1").id == before
    assert ("manifest.json" in saved) == (format == "docker-archive")


def test_kept_compressed_bytes_are_saved_as_they_came(engine, tmp_path):
    layout = Layout()
    index_of_platforms(layout)
    platforms = ["linux/amd64", "linux/arm64"]
    for by in ("path", "pipe"):
        load_by(engine, tmp_path, layout.tar(), by, platform=platforms, keep_compressed=True)
        engine.images.save(["app:1"], str(tmp_path / "out.tar"))
        saved = members((tmp_path / "out.tar").read_bytes())
        image = engine.images.get("app:1", "linux/amd64")
        assert saved[f"blobs/{image.manifest.replace(':', '/')}"] == layout.blobs[image.manifest]
        for each in json.loads(layout.blobs[image.manifest])["layers"]:
            assert saved[f"blobs/{each['digest'].replace(':', '/')}"] == layout.blobs[each["digest"]]
        assert engine.system.check().problems == []
        engine.images.remove(image.id, force=True)
        engine.images.prune(all=True)


def test_compressed_bytes_can_be_asked_for_later(engine, tmp_path):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    load_by(engine, tmp_path, layout.tar(), "path", keep_compressed=True)
    engine.images.save(["app:1"], str(tmp_path / "out.tar"))
    saved = members((tmp_path / "out.tar").read_bytes())
    assert all(saved[f"blobs/{digest.replace(':', '/')}"] == data for digest, data in layout.blobs.items())


def test_without_them_configuration_and_diff_ids_stay(engine, tmp_path):
    layout = Layout()
    descriptor = layout.image([*two_layer_image()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    engine.images.save(["app:1"], str(tmp_path / "out.tar"))
    saved = members((tmp_path / "out.tar").read_bytes())
    config_digest = json.loads(layout.blobs[descriptor["digest"]])["config"]["digest"]
    assert saved[f"blobs/{config_digest.replace(':', '/')}"] == layout.blobs[config_digest]
    for data in two_layer_image():
        assert saved[f"blobs/{sha(data).replace(':', '/')}"] == data


def test_saving_to_a_directory(engine, tmp_path):
    layout = Layout()
    layout.image([*two_layer_image()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    engine.images.save(["app:1"], str(tmp_path / "dir"), "oci-dir")
    engine.images.remove("app:1")
    assert engine.images.load(str(tmp_path / "dir"))[0].tags == ["app:1"]
    with pytest.raises(InvalidInput, match="not empty"):
        engine.images.save(["app:1"], str(tmp_path / "dir"), "oci-dir")


def test_a_repository_without_a_tag_saves_all_its_tags(engine, tmp_path):
    layout = Layout()
    layout.image([layer()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    engine.images.tag("app:1", "app:2")
    engine.images.tag("app:1", "other:1")
    engine.images.save(["app"], str(tmp_path / "out.tar"))
    listed = json.loads(members((tmp_path / "out.tar").read_bytes())["manifest.json"])
    assert [each["RepoTags"] for each in listed] == [["app:1", "app:2"]]
    with pytest.raises(NotFound, match="No such image: nope:latest"):
        engine.images.save(["nope"], str(tmp_path / "no.tar"))
    assert not (tmp_path / "no.tar").exists()


# Names
# ----------------------------------------------------------------------------------------------------------


def test_finding_by_name_id_prefix_and_digest(engine, tmp_path):
    layout = Layout()
    descriptor = layout.image([layer()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    image = engine.images.get("app:1")
    digits = image.id[7:]
    for text in (image.id, digits, digits[:12], "sha256:" + digits[:4], f"app@{descriptor['digest']}"):
        assert engine.images.get(text).id == image.id
    for text in ("app", "nope", "app:2", "f" * 64, f"app@{sha(b'x')}"):
        with pytest.raises(NotFound, match="No such image"):
            engine.images.get(text)
    with pytest.raises(InvalidInput, match="must be lowercase"):
        engine.images.get("App")
    with pytest.raises(InvalidInput, match="invalid reference format"):
        engine.images.get("../x")


def test_an_ambiguous_prefix_is_told(engine, tmp_path):
    layout = Layout()
    for number in range(20):
        layout.image([layer({"n": str(number).encode()})])
    load_by(engine, tmp_path, layout.tar(), "path")
    first = {}
    for row in engine.images.list():
        first.setdefault(row.id[7], []).append(row.id)
    letter = next(each for each, ids in first.items() if len(ids) > 1)
    with pytest.raises(InvalidInput, match="multiple images"):
        engine.images.get("sha256:" + letter)


def test_a_name_moves_and_leaves_a_dangling_image(engine, tmp_path):
    one, two = Layout(), Layout()
    one.image([layer({"a": b"1"})], "app:1")
    two.image([layer({"a": b"2"})], "app:1")
    (before,) = load_by(engine, tmp_path, one.tar(), "path")
    (after,) = load_by(engine, tmp_path, two.tar(), "path")
    assert after.moved == [("app:1", before.id)]
    assert engine.images.dangling() == {before.id}
    removed = engine.images.prune()
    assert before.id in removed.removed and removed.reclaimed > 0
    assert [row.id for row in engine.images.list()] == [after.id]


def test_removing_follows_dockers_rules(engine, tmp_path):
    layout = Layout()
    descriptor = layout.image([layer()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    image = engine.images.get("app:1")
    engine.images.tag("app:1", "app:2")
    engine.images.tag("app:1", "other:1")
    assert engine.images.remove("app:2").untagged == ["app:2"]
    with pytest.raises(Conflict, match="referenced in multiple repositories"):
        engine.images.remove(image.id[7:19])
    removed = engine.images.remove("other:1")
    assert removed.untagged == ["other:1"]  # no registry has it there
    removed = engine.images.remove(image.id)
    assert removed.untagged == ["app:1", f"app@{descriptor['digest']}"]
    assert removed.deleted == [image.id, sha(layer())]
    nothing_stays(engine)


def use(engine, image_id: str) -> None:
    with engine._store.meta.write() as sql:
        sql.execute("INSERT INTO containers VALUES (?, ?, ?, 1, '{}')", ("c" * 64, "name", image_id))


def test_an_image_in_use_is_kept(engine, tmp_path):
    layout = Layout()
    layout.image([layer()], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    image = engine.images.get("app:1")
    use(engine, image.id)
    with pytest.raises(Conflict, match=r"unable to remove repository reference .app:1. \(must force\)"):
        engine.images.remove("app:1")
    with pytest.raises(Conflict, match=r"\(must be forced\) - image is being used by stopped container cccccccccccc"):
        engine.images.remove(image.id)
    assert engine.images.prune(all=True).removed == []
    engine.images.tag("app:1", "app:2")
    engine.images.remove("app:2")
    removed = engine.images.remove("app:1", force=True)
    assert image.id in removed.deleted
    assert engine.images.list() == []
    assert os.path.isdir(f"{engine._store.paths.layers}/{sha(layer())[7:]}"), "the container still stands on it"
    # Loaded again it is visible again.
    load_by(engine, tmp_path, layout.tar(), "path")
    assert engine.images.get("app:1").id == image.id
    engine.images.remove("app:1", force=True)
    with engine._store.meta.write() as sql:
        sql.execute("DELETE FROM containers")
    engine.images.prune()
    nothing_stays(engine)


@pytest.mark.parametrize("by", ["load", "save", "failed save", "import"])
@pytest.mark.parametrize("why", ["put off", "last container gone"])
def test_who_works_on_the_store_makes_up_for_a_sweep(engine, tmp_path, by, why):
    layout = Layout()
    layout.image([layer({"x": b"1"})], "other:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    lost = layer({"lost": b"1"})
    layout = Layout()
    layout.image([lost], "app:1")
    load_by(engine, tmp_path, layout.tar(), "path")
    if why == "put off":
        with leases.working(engine._store.paths):
            engine.images.remove("app:1")
    else:
        use(engine, engine.images.get("app:1").id)
        engine.images.remove("app:1", force=True)
        with engine._store.meta.write() as sql:
            sql.execute("DELETE FROM containers")
    directory = f"{engine._store.paths.layers}/{sha(lost)[7:]}"
    assert os.path.isdir(directory)
    place = tmp_path / "some.tar"
    if by == "save":
        engine.images.save(["other:1"], str(place))
    elif by == "failed save":
        with pytest.raises(NotFound):
            engine.images.save(["app:1"], str(place))
    elif by == "import":
        place.write_bytes(layer({"y": b"1"}))
        engine.images.import_(str(place))
    else:
        layout = Layout()
        layout.image([layer({"z": b"1"})], "third:1")
        load_by(engine, tmp_path, layout.tar(), "path")
    assert not os.path.exists(directory)
    assert engine.images.get("other:1")


# Import
# ---------------------------------------------------------------------------------------------------------


def test_import_with_changes(engine, tmp_path):
    place = tmp_path / "root.tar.gz"
    place.write_bytes(gzip.compress(layer({"bin/sh": b"#!"})))
    image = engine.images.import_(
        str(place),
        "base:1",
        [
            'CMD ["/bin/sh", "-l"]',
            "ENTRYPOINT run me",
            'ENV A=1 B="two words"',
            "ENV C the rest",
            "ENV D=${A:-x}$B",
            "EXPOSE 80 53/udp 8000-8002",
            "LABEL a=b c='d e'",
            "USER nobody:nogroup",
            'VOLUME ["/data", "/more"]',
            "VOLUME /third",
            "WORKDIR /srv",
            "WORKDIR app",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=5s --retries=3 CMD true",
            "ONBUILD RUN make",
        ],
        message="hello",
    )
    facts = engine.images.inspect("base:1")
    assert facts["Id"] == image.id
    assert facts["Comment"] == "hello"
    assert facts["Config"] == {
        "User": "nobody:nogroup",
        "Env": ["A=1", "B=two words", "C=the rest", "D=1two words"],
        "Cmd": ["/bin/sh", "-l"],
        "Entrypoint": ["/bin/sh", "-c", "run me"],
        "WorkingDir": "/srv/app",
        "Labels": {"a": "b", "c": "d e"},
        "Volumes": {"/data": {}, "/more": {}, "/third": {}},
        "ExposedPorts": {f"{n}/tcp": {} for n in (80, 8000, 8001, 8002)} | {"53/udp": {}},
        "OnBuild": ["RUN make"],
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 3},
    }
    assert facts["RootFS"]["Layers"] == [sha(layer({"bin/sh": b"#!"}))]


@pytest.mark.parametrize(
    "change",
    ["", "RUN x", "FROM x", "ENV", "ENV A", "ENV =x", "EXPOSE x", "EXPOSE 0", "STOPSIGNAL NOPE",
     "HEALTHCHECK x", "HEALTHCHECK --nope=1 CMD x", "ONBUILD ONBUILD x", "ONBUILD FROM x", "LABEL a='b",
     "USER ${", "COPY a b"],
)  # fmt: skip
def test_a_change_that_is_none_is_refused(engine, tmp_path, change):
    (tmp_path / "a").write_bytes(layer())
    with pytest.raises(InvalidInput):
        engine.images.import_(str(tmp_path / "a"), "", [change])
    nothing_stays(engine)


def test_imports_that_fail_leave_nothing(engine, tmp_path):
    with pytest.raises(NotFound, match="no such file"):
        engine.images.import_(str(tmp_path / "nope"))
    for data in (b"not a tar" * 100, gzip.compress(layer())[:-9], b""):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises((Corrupt, InvalidInput)):
            engine.images.import_(str(tmp_path / "a"))
    nothing_stays(engine)


# The command line
# -----------------------------------------------------------------------------------------------


def test_the_words_of_the_commands(cli, tmp_path):
    layout = Layout()
    descriptor = layout.image([*two_layer_image()], "app:1")
    assert cli("load", input=layout.tar()) == "Loaded image: app:1\n"
    nameless = Layout()
    nameless.image([layer({"x": b""})])
    nameless_id = json.loads(nameless.blobs[nameless.entries[0]["digest"]])["config"]["digest"]
    (tmp_path / "n.tar").write_bytes(nameless.tar())
    assert cli("load", "-q", "-i", tmp_path / "n.tar") == f"Loaded image ID: {nameless_id}\n"
    image_id = json.loads(cli("inspect", "app:1"))[0]["Id"]
    listed = cli("images").splitlines()
    assert listed[0].split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert any(line.split()[:3] == ["app", "1", image_id[7:19]] for line in listed)
    assert any(line.split()[:2] == ["<none>", "<none>"] for line in listed)
    assert descriptor["digest"] in cli("images", "--digests")
    assert cli("images", "-q", "app").strip() == image_id[7:19]
    assert cli("images", "-q", "--no-trunc", "app:1").strip() == image_id
    assert cli("images", "-q", "app:2") == ""
    assert cli("images", "-q", "-f", "dangling=true").strip() == nameless_id[7:19]
    assert cli("images", "-q", "-f", "label=org.test", "-f", "reference=a*").strip() == image_id[7:19]
    assert cli("images", "-q", "-f", "label=org.test=2") == ""
    assert cli("images", "--format", "{{.Repository}}:{{.Tag}}", "app") == "app:1\n"
    assert json.loads(cli("images", "--format", "json", "app"))["Tag"] == "1"
    cli("images", "-f", "nope=1", code=1)
    history = cli("history", "app:1").splitlines()
    assert history[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert history[1].startswith(image_id[7:19]) and "step 1" in history[1]
    assert history[2].startswith("<missing>")
    assert cli("image", "inspect", "-f", "{{.Os}}/{{.Architecture}} {{json .Config.Cmd}}", "app:1") == (
        'linux/amd64 ["/hello"]\n'
    )
    assert cli("tag", "app:1", "app:2") == ""
    assert cli("rmi", "app:2") == "Untagged: app:2\n"
    out = cli("rmi", "app:1", "nope", code=1)
    assert out.startswith(f"Untagged: app:1\nUntagged: app@{descriptor['digest']}\nDeleted: {image_id}\n")
    assert "No such image: nope:latest" in cli.errors
    cli("rmi", "-f", "nope")
    pruned = cli("image", "prune", "-f")
    assert f"deleted: {nameless_id}\n" in pruned and "Total reclaimed space: " in pruned
    assert cli("image", "prune", input=b"n\n").endswith("[y/N] ")
    assert cli("system", "df").splitlines()[1].split()[:3] == ["Images", "0", "0"]
    assert "0 lost, 0 to repair" in cli("system", "check")
    assert "Storage Driver: tree" in cli("info")
    assert cli("info", "-f", "{{.Driver}}") == "tree\n"


def test_errors_are_one_line_and_codes_are_dockers(cli, tmp_path):
    cli("inspect", "nope", code=1)
    assert "No such object: nope" in cli.errors
    cli("image", "inspect", "nope", code=1)
    assert "No such image: nope:latest" in cli.errors
    cli("load", "-i", tmp_path / "nope", code=1)
    assert "no such file or directory" in cli.errors
    cli("load", "--nope", code=125)
    cli("tag", "a", code=1)
    cli("import", "http://127.0.0.1:9/x.tar", code=1)
    assert "127.0.0.1:9" in cli.errors
    cli("import", "-", "Name", code=1, input=layer())
    assert "must be lowercase" in cli.errors


def test_standard_streams(cli, tmp_path):
    image_id = cli("import", "-c", "CMD x", "-", "base", input=gzip.compress(layer())).strip()
    assert image_id.startswith("sha256:")
    cli("save", "base")
    archive = cli.bytes
    cli("rmi", "base")
    assert cli("load", input=archive) == "Loaded image: base:latest\n"
    cli("save", "-o", tmp_path / "a.tar", "base")
    assert (tmp_path / "a.tar").read_bytes() == archive


def test_keep_compressed_by_the_environment(cli):
    layout = Layout()
    layout.image([layer()], "app:1")
    cli("load", input=layout.tar(), environment={"UNDERLAY_KEEP_COMPRESSED": "1"})
    cli("save", "app:1")
    saved = members(cli.bytes)
    assert all(f"blobs/{digest.replace(':', '/')}" in saved for digest in layout.blobs)


# Real images
# ----------------------------------------------------------------------------------------------------


def test_busybox_keeps_docker_hubs_digests(cli):
    for name in ("glibc-amd64", "musl-amd64", "uclibc-amd64"):
        cli("load", "-i", shared(f"busybox/{name}"))
    text = cli("images", "--digests", "busybox")
    assert GLIBC in text
    assert "sha256:29989570aeecad61a019f684218ea74d4b8c1c74f9e0abeb34ca926b81174ee1" in text
    assert "sha256:39a19081c6dc060c4efa25ca5845dc867e3f476e86ba8e7ee9da97bc1c2752ca" in text
    cli("load", "-i", shared("busybox/musl-multi"), "--platform", "linux/arm64")
    assert cli("image", "inspect", "-f", "{{.Architecture}}", "busybox") == "arm64\n"


def test_busybox_again_byte_for_byte(cli, tmp_path):
    source = shared("busybox/glibc-amd64")
    cli("load", "--keep-compressed", "-i", source)
    cli("save", "--format", "oci-dir", "-o", tmp_path / "out", "busybox:1.37.0-glibc")
    blobs = list((source / "blobs/sha256").iterdir())
    assert len(blobs) == 3
    for blob in blobs:
        assert (tmp_path / "out/blobs/sha256" / blob.name).read_bytes() == blob.read_bytes()


def test_every_alpine_is_imported(cli):
    archives = sorted(shared("alpine").glob("*.tar.gz"))
    for archive in archives:
        platform = "linux/arm64" if "aarch64" in archive.name else "linux/amd64"
        cli(
            "import",
            "--platform",
            platform,
            "-c",
            'CMD ["/bin/sh"]',
            archive,
            f"alpine:{archive.name.split('-')[2]}",
        )
    assert len(cli("images", "-q", "alpine").split()) >= 5


def test_tar_members_of_a_saved_archive_are_plain(cli):
    cli("import", "-", "base", input=layer())
    cli("save", "base")
    with tarfile.open(fileobj=io.BytesIO(cli.bytes)) as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid) == (0, 0, 0)
            assert member.isfile() or member.isdir()
