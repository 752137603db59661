"""What images stand on: in the store, in archives, in registries; told by layers, by files, by claims that are checked."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_base_rebase import RELEASE, packages, root

from archives import Layout, layer
from engines import Installation, needs_root
from registries import DockerRegistry

BASE_NAME = "org.opencontainers.image.base.name"


@pytest.fixture(scope="module")
def ul(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with a distribution, a runtime on it, and an application on that."""
    needs_root()
    made = Installation(tmp_path_factory.mktemp("identify"))
    many = {f"usr/share/thing/{number}": f"{number}" * (number + 1) for number in range(40)}
    files = {"etc/os-release": RELEASE.format("12", 12), **many}
    made("import", "-c", 'CMD ["sh"]', "-", "distribution:12", input=root(files))
    build(made, "FROM distribution:12\nRUN mkdir /runtime && echo 3 > /runtime/version\nENV RUNTIME=3\n", "runtime:3")
    build(made, "FROM runtime:3\nWORKDIR /app\nRUN echo app > main\nCMD cat main\n", "app:1")
    yield made
    made.clean()


def build(ul: Installation, dockerfile: str, name: str, *words: str) -> None:
    ul("build", "-q", "-t", name, *words, "-", input=dockerfile.encode())


def identify(ul: Installation, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ul.out("base", "identify", "--format", "json", *words))
    return found


def test_the_whole_chain(ul: Installation) -> None:
    found = identify(ul, "app:1")
    first = found["candidates"][0]
    assert first["name"] == "runtime:3" and first["confidence"] >= 0.95
    assert (first["layers"], first["config_digest"]) == (2, ul.out("image", "inspect", "-f", "{{.Id}}", "runtime:3"))
    chain = [(link["name"], link["layers"]) for link in found["chain"]]
    assert chain == [("runtime:3", 1), ("distribution:12", 1), ("scratch", 0)]
    assert found["outdated"] is False or found["outdated"] is None
    text = ul.out("base", "identify", "app:1")
    assert text.startswith("app:1 stands on runtime:3 (9") and "  on runtime:3: " in text
    assert identify(ul, "runtime:3")["candidates"][0]["name"] == "distribution:12"


def test_made_from_nothing(ul: Installation) -> None:
    build(ul, "FROM scratch\nCOPY --from=distribution:12 /bin/busybox /only\n", "alone")
    for name in ("distribution:12", "alone"):
        assert identify(ul, name)["candidates"][0]["name"] == "scratch", name
        assert f"{name} is made from nothing" in ul.out("base", "identify", name)


def test_several_names_of_one_build(ul: Installation) -> None:
    ul("tag", "runtime:3", "runtime:latest")
    ul("tag", "runtime:3", "other:tag")
    try:
        first = identify(ul, "app:1")["candidates"][0]
        assert set(first["names"]) == {"runtime:3", "runtime:latest", "other:tag"}
        # Under which of them it was asked for, the image says itself.
        assert first["name"] == "runtime:3"
    finally:
        ul("rmi", "runtime:latest", "other:tag")


@pytest.mark.parametrize("way", ["squashed", "copied"])
def test_files_tell_when_layers_say_nothing(ul: Installation, way: str) -> None:
    if way == "copied":
        build(ul, "FROM scratch\nCOPY --from=distribution:12 / /\nRUN echo more > /more\n", way)
    else:
        # As one layer, with no word of what it was.
        ul("import", "-", way, input=_exported(ul, "app:1"))
    found = identify(ul, way)
    first = found["candidates"][0]
    wanted = {"copied": ("distribution:12",), "squashed": ("runtime:3", "app:1")}[way]
    assert first["name"] in wanted and "files of" in first["evidence"][0]
    assert first["config_digest"] is None and 0.7 < first["confidence"] < 0.95
    assert f"{way} stands on {first['name']}" in ul.out("base", "identify", way)


def test_alike_and_not_beneath_each_other(ul: Installation) -> None:
    """Each has nearly all files of the other, and of what stands on it; neither is made of those."""
    files = {f"usr/share/alike/{number}": f"{number}" * (number + 1) for number in range(40)}
    for number in (1, 2):
        ul("import", "-", f"lower:{number}", input=root({**files, f"only-{number}": "x"}))
        build(ul, f"FROM lower:{number}\nRUN touch /twin\n", f"twin:{number}")
    try:
        ul("rmi", "lower:1", "lower:2")
        build(ul, "FROM twin:1\nENV A=1\nRUN touch /child\n", "child")
        found = identify(ul, "twin:1")
        assert found["candidates"][0]["name"] != "child"
        names = [link["name"] for link in found["chain"]]
        assert "twin:1" not in names and len(set(names)) == len(names)
    finally:
        ul("rmi", "-f", "child", "twin:1", "twin:2")


def _exported(ul: Installation, name: str, folders: str = "bin etc usr runtime app") -> bytes:
    script = f"cd / && busybox tar -c -f - {folders}"
    done = ul("run", "--rm", "--network", "none", name, "sh", "-c", script)
    return done.stdout


def test_an_image_does_not_stand_on_what_was_flattened_from_it(ul: Installation) -> None:
    build(ul, "FROM scratch\nCOPY --from=distribution:12 / /\nRUN echo more > /more\n", "original")
    ul("import", "-", "flattened", input=_exported(ul, "original", "bin etc usr more"))
    try:
        assert identify(ul, "original")["candidates"][0]["name"] == "distribution:12"
    finally:
        ul("rmi", "flattened", "original")


def test_packages_tell_when_files_and_layers_do_not(ul: Installation) -> None:
    """Everything was built or packed again, and some of the base's packages are newer by now."""
    versions = {f"package{number}": "1.0" for number in range(10)}
    upgraded = {**versions, "package1": "1.1", "package2": "2.0"}
    release = RELEASE.format("13", 13)
    for name, found in (("older:1", versions), ("larger:1", {**versions, **{f"more{n}": "1" for n in range(9)}})):
        files = {"etc/os-release": release, "var/lib/dpkg/status": packages(**found), "usr/only": name}
        ul("import", "-", name, input=root(files))
    files = {"etc/os-release": release, "var/lib/dpkg/status": packages(**upgraded, mine="1")}
    # Of the files in common all are too few to tell.
    tar = layer({name: data.encode() for name, data in files.items()})
    try:
        load(ul, tar, "packed:1", created="2030-01-01T00:00:00Z")
        first = identify(ul, "packed:1")["candidates"][0]
        assert (first["name"], first["confidence"], first["config_digest"]) == ("older:1", 0.64, None)
        assert first["evidence"] == ["10 of 10 packages of older:1 are in the image, 8 in the same version"]
    finally:
        ul("rmi", "-f", "packed:1", "older:1", "larger:1")


def test_files_tell_of_a_distribution(ul: Installation) -> None:
    """Whether an image was made of a distribution from nothing, or flattened, its files do not say."""
    found = identify(ul, "distribution:12")
    assert [each["name"] for each in found["candidates"][:2]] == ["scratch", "debian:12"]
    text = ul.out("base", "identify", "distribution:12")
    assert "is made from nothing" in text and "  its files say that they are 'Debian 12'" in text
    try:
        load(ul, layer({"etc/os-release": RELEASE.format("13", 13).encode()}), "mute:1", history=[])
        found = identify(ul, "mute:1")
        assert [each["name"] for each in found["candidates"]] == ["debian:13", "scratch"]
        assert [link["name"] for link in found["chain"]] == ["debian:13", "?"]
        assert ul.out("base", "identify", "mute:1").startswith(
            "mute:1 stands on something unknown, most like debian:13 (45%)\n  its files say that they are 'Debian 13'"
        )
    finally:
        ul("rmi", "-f", "mute:1")


def load(ul: Installation, tar: bytes, name: str, **changes: object) -> None:
    """Load an image of one layer."""
    layout = Layout()
    layout.image([tar], name, **changes)
    ul("load", "-q", input=layout.tar())


def test_claims_are_checked(ul: Installation) -> None:
    """A claim that the layers refute is told loudly, and believed by nobody."""
    build(ul, f"FROM runtime:3\nLABEL {BASE_NAME}=distribution:12\nRUN touch /true\n", "modest")
    build(
        ul,
        "FROM scratch\nCOPY --from=distribution:12 /bin/busybox /x\nRUN ['/x']\n".replace("RUN ['/x']\n", ""),
        "bare",
    )
    build(ul, f"FROM bare\nLABEL {BASE_NAME}=runtime:3\nCOPY --from=distribution:12 /bin/busybox /y\n", "liar")
    told = {each["source"]: each["verdict"] for each in identify(ul, "modest")["claims"]}
    assert told == {"annotation": "confirmed", "label": "confirmed"}
    lied = identify(ul, "liar")
    assert {each["source"]: each["verdict"] for each in lied["claims"]} == {
        "annotation": "confirmed",
        "label": "refuted",
    }
    assert lied["candidates"][0]["name"] == "bare:latest"
    assert "!! its label says runtime:3: refuted" in ul.out("base", "identify", "liar")
    build(
        ul,
        f"FROM bare\nLABEL {BASE_NAME}=nobody/knows:1\nRUN --mount=type=tmpfs,target=/t ['x']\n".partition("RUN")[0],
        "sayer",
    )
    assert identify(ul, "sayer")["claims"][-1]["verdict"] == "unchecked"


def test_provenance_is_a_claim(ul: Installation) -> None:
    build(ul, "FROM runtime:3\nRUN touch /proven\n", "proven", "--provenance=true")
    told = {each["source"]: (each["name"], each["verdict"]) for each in identify(ul, "proven")["claims"]}
    assert told == {
        "annotation": ("docker.io/library/runtime:3", "confirmed"),
        "provenance": ("runtime:3", "confirmed"),
    }
    assert identify(ul, "proven")["candidates"][0]["name"] == "runtime:3"
    # What was only copied from is told apart: not by BuildKit's provenance, which tells of one image that was read.
    dockerfile = "FROM scratch\nCOPY --from=runtime:3 /runtime/version /version\n"
    build(ul, dockerfile, "copied", "--provenance=true")
    assert identify(ul, "copied")["claims"] == [] and "!!" not in ul.out("base", "identify", "copied")


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_in_an_archive(ul: Installation, tmp_path: Path, form: str) -> None:
    path = tmp_path / "image.tar"
    ul("save", "--format", form, "-o", str(path), "app:1")
    found = identify(ul, str(path))
    assert (found["where"], found["candidates"][0]["name"]) == ("archive", "runtime:3")
    assert found["candidates"][0]["layers"] == 2
    assert json.loads(ul.out("base", "sbom", str(path)))["bomFormat"] == "CycloneDX"


def test_an_archive_that_is_none(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing" * 100)
    for path, said in ((tmp_path / "x.tar", "x.tar"), (tmp_path / "no.tar", "no such file")):
        message = ul("base", "identify", str(path), code=1).stderr.decode()
        assert said in message and "Traceback" not in message
    subprocess.run(["gzip", str(tmp_path / "x.tar")], check=True)
    assert b"compressed" in ul("base", "identify", str(tmp_path / "x.tar.gz"), code=1).stderr


def test_in_a_registry_without_its_layers(ul: Installation, tmp_path: Path) -> None:
    with DockerRegistry(tmp_path / "registry") as registry:
        name = f"{registry.name}/team/app:1"
        ul("tag", "app:1", name)
        ul("push", "-q", name)
        ul("rmi", name)
        before = len(registry.asked("GET", "/blobs/"))
        found = identify(ul, name)
        assert (found["where"], found["candidates"][0]["name"]) == ("registry", "runtime:3")
        # The configuration, and nothing else.
        assert len(registry.asked("GET", "/blobs/")) - before == 1
        assert identify(ul, f"docker://{name}")["id"] == found["id"]
        assert b"the files of" in ul("base", "dockerfile", "--extract", str(tmp_path / "x"), name, code=1).stderr


def test_the_index_of_a_registry(ul: Installation, tmp_path: Path) -> None:
    """Tags are learned without a layer; a tag that has moved makes what stands on its old build outdated."""
    other = Installation(tmp_path / "other")
    with DockerRegistry(tmp_path / "registry") as registry:
        base = f"{registry.name}/base"
        for number in (1, 2):
            build(ul, f"FROM distribution:12\nRUN echo {number} > /n\nCMD base-{number}\n", f"{base}:{number}")
            ul("tag", f"{base}:{number}", f"{base}:latest")
            for tag in (str(number), "latest"):
                ul("push", "-q", f"{base}:{tag}")
            before = len(registry.asked("GET", "/blobs/"))
            said = other.out("base", "index", "add", base)
            assert "1 new builds" in said and f"{number} builds" in said
            assert (
                len(registry.asked("GET", "/blobs/")) - before == 1
            )  # its configuration; what is known is not read again
        assert f"{base}:latest" in other.out("base", "index", "ls", "--format", "{{.Name}} {{.Builds}}").split()
        lines = other.out("base", "index", "ls", "--own", "--format", "{{.Name}} {{.Builds}}").splitlines()
        listed = dict(line.split() for line in lines)
        assert len(other.out("base", "index", "ls", "--format", "{{.Source}}").splitlines()) > 1000
        assert listed == {f"{base}:1": "1", f"{base}:2": "1", f"{base}:latest": "2"}
        build(ul, f"FROM {base}:1\nRUN echo mine > /mine\n", "mine")
        ul("save", "-o", str(tmp_path / "mine.tar"), "mine")
        # The other installation has no image at all, and knows it.
        found = identify(other, str(tmp_path / "mine.tar"))
        first = found["candidates"][0]
        assert f"{base}:1" in first["names"] and first["config_digest"] == ul.out(
            "image", "inspect", "-f", "{{.Id}}", f"{base}:1"
        )
        assert first["confidence"] >= 0.9
        for moved in ("exported", "pushed"):
            third = Installation(tmp_path / moved)
            if moved == "exported":
                other("base", "index", "export", str(tmp_path / "bases"))
                assert b"exists already" in other("base", "index", "export", str(tmp_path / "bases"), code=1).stderr
                said = third.out("base", "index", "import", str(tmp_path / "bases"))
            else:
                other("base", "index", "push", f"{registry.name}/indexes/bases:1")
                said = third.out("base", "index", "pull", f"{registry.name}/indexes/bases:1")
            assert "2 builds under 3 names: 2 new" in said
            assert (
                identify(third, str(tmp_path / "mine.tar"))["candidates"][0]["config_digest"] == first["config_digest"]
            )
        refused = other("base", "index", "pull", f"{base}:1", code=1).stderr.decode()
        assert "is not an index of bases" in refused
        # An update reads what has changed, and nothing again.
        before = len(registry.asked("GET", "/blobs/"))
        assert "3 tags: 0 new builds, 0 tags have moved" in other.out("base", "index", "update", base)
        assert "3 tags: 0 new builds" in other.out("base", "index", "update", "--platform", "linux/amd64", base)
        assert len(registry.asked("GET", "/blobs/")) == before
        assert "0 new" in other.out("base", "index", "update", "--from", f"{registry.name}/indexes/bases:1")
        # What its base's name means now is asked of the registry.
        late = json.loads(ul.out("base", "outdated", "--format", "json", "mine"))
        assert (late["moved"], late["asked"]) == (False, "registry")
        ul("tag", f"{base}:2", f"{base}:1")
        ul("push", "-q", f"{base}:1")
        late = json.loads(ul.out("base", "outdated", "--format", "json", "mine", code=1))
        assert (late["moved"], late["outdated"]) == (True, True)
        # And followed: nothing is recompressed, and it runs.
        ul(
            "base",
            "rebase",
            "--base",
            first["config_digest"],
            "--onto",
            f"{base}:2",
            "--force",
            "-t",
            "mine:new",
            "mine",
        )
        assert ul.run("mine:new", "cat", "/n", "/mine") == "2\nmine"


def test_a_broken_file_of_an_index(ul: Installation, tmp_path: Path) -> None:
    for data in (b"", b"nothing", b"\x1f\x8b" + bytes(50)):
        (tmp_path / "bad").write_bytes(data)
        message = ul("base", "index", "import", str(tmp_path / "bad"), code=1).stderr.decode()
        assert "Traceback" not in message and message.startswith("underlay: ")
    assert b"no index of this installation" in ul("base", "index", "export", str(tmp_path / "x"), code=1).stderr


def test_rules_and_the_page(ul: Installation, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[bases]\nallow = ["runtime:*"]\nknown = true\n')
    assert ul.out("base", "check", "--policy", str(rules), "app:1") == ""
    said = ul.out("base", "check", "--policy", str(rules), "app:1", "distribution:12", code=1)
    assert said.startswith("distribution:12: ") and "(allow)" in said
    rules.write_text("[bases]\nwhatever = 1\n")
    assert b"rules.toml" in ul("base", "check", "--policy", str(rules), "app:1", code=1).stderr
    assert "1 image on 1 base" in ul.out("base", "report", "app:1")
    page = tmp_path / "page.html"
    ul("base", "report", "--format", "html", "-o", str(page), "app:1", "runtime:3")
    assert "runtime:3" in page.read_text()
    assert json.loads(ul.out("base", "report", "--format", "json", "app:1"))["bases"][0]["name"] == "runtime:3"
