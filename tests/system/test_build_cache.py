"""The cache of builds: what is found again and what not, in other installations too; pruning; builds that are repeated."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildcases import Builder, cached, outputs, steps, write
from engines import Installation, image_tar, needs_root
from fakeregistry import FakeRegistry
from registries import DockerRegistry
from underlay import Engine
from underlay.builder.workers.workers import Foreman
from visitors import Visitor

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


COPYING = "FROM box\nCOPY a d /x/\nRUN find /x | sort > /list\n"
WHOLE = ["COPY a d /x/", "RUN find /x | sort > /list"]
FILES = {"a": "a", "d/one": "1", "d/two": "2", "unused": "u"}


@pytest.fixture(scope="module", autouse=True)
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image as an archive, the same for all installations."""
    needs_root()
    place = tmp_path_factory.mktemp("box")
    first = Installation(place)
    first("import", "--change", 'CMD ["sh"]', "-", "box", input=image_tar())
    first("save", "-o", str(place / "box.tar"), "box")
    first.clean()
    return place / "box.tar"


@pytest.fixture
def fresh(box: Path, tmp_path: Path) -> Iterator[Callable[[str], Builder]]:
    """Makes installations with nothing but the base image."""
    made = []

    def make(name: str) -> Builder:
        visitor = Visitor(write(tmp_path / name, {}))
        visitor("load", "-q", "-i", str(box))
        made.append(visitor)
        return Builder(visitor, tmp_path / name)

    yield make
    for visitor in made:
        visitor.clean()


# What is found again


def test_what_does_not_matter(builder: Builder, tmp_path: Path) -> None:
    context = builder.context(COPYING, FILES)
    builder.at(context, "-t", "one")
    assert cached(builder.at(context, "-t", "two")) == WHOLE
    for path in [context, *context.rglob("*")]:
        os.utime(path, (1, 1))
    write(context, {"unused": "changed", "new": ""})
    assert cached(builder.at(context)) == WHOLE
    # Another place, the files made in another order, by somebody else.
    other = write(tmp_path / "elsewhere", {"Dockerfile": COPYING, **dict(reversed(FILES.items()))})
    for path in other.rglob("*"):
        os.chown(path, 1234, 1234)
    assert cached(builder.at(other, "-t", "three")) == WHOLE
    shutil.copytree(context, tmp_path / "copied")
    assert cached(builder.at(tmp_path / "copied")) == WHOLE
    # Comments, blanks and what stands behind.
    lines = "# new\nFROM  box\n\nCOPY   a d   /x/\n# why\nRUN find /x | sort > /list\nLABEL x=y\n"
    assert len(cached(builder(lines, files=FILES))) == 2
    ids = {builder.ul.out("inspect", "-f", "{{.Id}}", name) for name in ("one", "two", "three")}
    assert len(ids) == 1


@pytest.mark.parametrize("change", ["content", "mode", "name", "link", "added", "removed", "empty directory"])
def test_what_does_matter(builder: Builder, change: str) -> None:
    context = builder.context(COPYING, {**FILES, "d/which": change})
    builder.at(context)
    assert cached(builder.at(context)) == WHOLE
    one = context / "d/one"
    if change == "content":
        before = one.stat()
        one.write_text("!")
        os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "mode":
        one.chmod(0o755)
    elif change == "name":
        one.rename(context / "d/other")
    elif change == "link":
        one.unlink()
        one.symlink_to("two")
    elif change == "added":
        (context / "d/three").touch()
    elif change == "removed":
        one.unlink()
    else:
        (context / "d/empty").mkdir()
    assert cached(builder.at(context)) == []


def test_instructions_that_matter(builder: Builder) -> None:
    def again(dockerfile: str, *words: str) -> int:
        return len(cached(builder(dockerfile, *words)))

    base = "FROM box\nENV A={a}\nWORKDIR {w}\nUSER {u}\nRUN echo matter {r}\nRUN echo after\n"
    plain = {"a": "1", "w": "/matter", "u": "root", "r": "1"}
    again(base.format(**plain))
    assert again(base.format(**plain)) == 3
    for name, value, left in (("a", "2", 1), ("w", "/matter/other", 0), ("u", "alice", 1), ("r", "2", 1)):
        assert again(base.format(**{**plain, name: value})) == left, name
    assert again(base.format(**plain), "--network", "none") == 1
    assert again(base.format(**plain), "--add-host", "x:1.2.3.4") == 1


def test_no_cache(builder: Builder) -> None:
    dockerfile = "FROM box AS one\nRUN echo one\nFROM one AS two\nRUN echo two\nFROM two\nRUN echo three\n"
    builder(dockerfile)
    assert outputs(builder(dockerfile)) == []
    assert outputs(builder(dockerfile, "--no-cache")) == ["one", "two", "three"]
    assert outputs(builder(dockerfile, "--no-cache-filter", "two"))[:1] == ["two"]
    assert "one" not in outputs(builder(dockerfile, "--no-cache-filter", "two"))
    assert outputs(builder(dockerfile, "--no-cache-filter", "one,Two"))[:2] == ["one", "two"]


def test_build_arguments_matter_once_they_are_used(builder: Builder) -> None:
    dockerfile = "FROM box\nRUN echo before\nARG V\nENV OTHER=1\nCOPY Dockerfile /d\nRUN echo after $V\n"
    builder(dockerfile, "--build-arg", "V=1")
    assert outputs(builder(dockerfile, "--build-arg", "V=1")) == []
    assert outputs(builder(dockerfile, "--build-arg", "V=2")) == ["after 2"]
    builder(dockerfile, "--build-arg", "V=2", "--build-arg", "HTTP_PROXY=http://one:1")
    assert outputs(builder(dockerfile, "--build-arg", "V=2", "--build-arg", "HTTP_PROXY=http://two:2")) == []


def test_secrets_do_not_matter(builder: Builder, tmp_path: Path) -> None:
    dockerfile = (
        "FROM box\nRUN --mount=type=secret,id=s --mount=type=secret,id=t,env=T wc -c < /run/secrets/s; echo ${#T}\n"
    )
    words = ("--secret", f"id=s,src={tmp_path / 's'}", "--secret", f"id=t,src={tmp_path / 's'}")
    (tmp_path / "s").write_text("one")
    assert outputs(builder(dockerfile, *words)) == ["3", "3"]
    (tmp_path / "s").write_text("other")
    assert outputs(builder(dockerfile, *words)) == []
    assert outputs(builder(dockerfile)) == []


def test_a_base_that_changes(builder: Builder) -> None:
    builder("FROM box\nRUN echo 1 > /v\n", "-t", "base")
    dockerfile = "FROM base\nRUN cat /v\n"
    assert outputs(builder(dockerfile)) == ["1"]
    builder("FROM box\nRUN echo 2 > /v\n", "-t", "base")
    assert outputs(builder(dockerfile)) == ["2"]


def test_a_failed_step_is_not_kept(builder: Builder, tmp_path: Path) -> None:
    dockerfile = "FROM box\nRUN echo first\nRUN --mount=type=secret,id=s test -s /run/secrets/s\n"
    (tmp_path / "s").write_text("")
    words = ("--secret", f"id=s,src={tmp_path / 's'}")
    builder(dockerfile, *words, code=1)
    (tmp_path / "s").write_text("x")
    assert cached(builder(dockerfile, *words)) == ["RUN echo first"]


def test_images_keep_nothing_that_steps_need(builder: Builder) -> None:
    """Images that are removed leave the cache alone, and a pruned cache leaves images whole."""
    dockerfile = "FROM box\nRUN echo kept > /kept\n"
    builder(dockerfile, "-t", "kept")
    builder.ul("rmi", "kept")
    assert len(cached(builder(dockerfile, "-t", "kept"))) == 1
    builder.ul("builder", "prune", "-af")
    assert builder.ul.run("kept", "cat", "/kept") == "kept"
    assert cached(builder(dockerfile)) == []


def test_what_stages_hold_is_remembered(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is known, a cached build mounts nothing and starts no process to know it again."""
    lines = "".join(f"FROM box AS s{n}\nRUN echo {n} > /made\n" for n in range(3))
    copies = "".join(f"COPY --from=s{n} /made /m{n}\n" for n in range(3))
    dockerfile = f"{lines}FROM box\n{copies}RUN --mount=from=s0,target=/s cat /s/made\n"
    context = builder.context(dockerfile)
    for _ in range(2):
        said = builder.at(context)
    assert len(cached(said)) == 7

    def call(self: Foreman, job: str, *_: object, **__: object) -> None:
        raise AssertionError(f"a worker is asked for {job}")

    with Engine(str(builder.ul.root), str(builder.ul.state)) as engine, monkeypatch.context() as patch:
        patch.setattr(Foreman, "call", call)
        engine.builds.build(str(context))
    # Another content is another's, and a memory that is damaged is none.
    (builder.ul.root / "cache/files/trees").write_bytes(b"underlay trees 1\nx")
    assert len(cached(builder.at(context))) == 7
    changed = builder(dockerfile.replace("echo 1", "echo changed"))
    assert "COPY --from=s1 /made /m1" not in cached(changed) and "COPY --from=s0 /made /m0" in cached(changed)
    assert builder.ul.out("builder", "prune", "-af") and len(cached(builder.at(context))) == 0


# Results outside the store

OUTSIDE = (
    "FROM box AS tool\nRUN echo tool > /tool; touch /more\nFROM box\nCOPY a /a\nCOPY --from=tool /tool /tool\n"
    "RUN cat /a /tool > /both\n"
)


@pytest.mark.parametrize(
    ("kind", "mode"), [("local", "min"), ("local", "max"), ("fake", "min"), ("fake", "max"), ("docker", "max")]
)
def test_results_of_others(fresh: Callable[[str], Builder], tmp_path: Path, kind: str, mode: str) -> None:
    if kind == "local":
        place = tmp_path / "store"
        assert shared(fresh, f"type=local,dest={place}", f"type=local,src={place}", mode).count("sha256:") == 4
        return
    registry = FakeRegistry() if kind == "fake" else DockerRegistry(tmp_path / "registry")
    with registry:
        name = f"type=registry,ref={registry.host}/team/cache:main"
        assert shared(fresh, name, name, mode).count("sha256:") == 4


def shared(fresh: Callable[[str], Builder], to: str, source: str, mode: str) -> str:
    """Give results to a place, and build with them in an installation that has none; returns the image's layers."""
    one, two = fresh("one"), fresh("two")
    context = one.context(OUTSIDE, {"a": "1\n"})
    said = one.at(context, "--cache-from", source, "--cache-to", f"{to},mode={mode}", "-t", "made")
    assert "no cache in" in said and cached(said) == []
    said = two.at(context, "--cache-from", source, "-t", "made")
    wanted = ["COPY a /a", "COPY --from=tool /tool /tool", "RUN cat /a /tool > /both"]
    assert sorted(cached(said)) == sorted([*wanted, *(["RUN echo tool > /tool; touch /more"] if mode == "max" else [])])
    assert two.ul.run("made", "cat", "/both") == "1\ntool"
    first, second = (each.ul.out("inspect", "-f", "{{.RootFS.Layers}}", "made") for each in (one, two))
    assert first == second
    # What has changed is made anew, and given away again.
    write(context, {"a": "2"})
    said = two.at(context, "--cache-from", source, "--cache-to", f"{to},mode={mode}")
    assert "RUN cat /a /tool > /both" not in cached(said)
    return first


def test_results_that_are_false(fresh: Callable[[str], Builder], tmp_path: Path) -> None:
    """Layers that are not what the records say are not taken; the build does without."""
    one, two = fresh("one"), fresh("two")
    store = tmp_path / "store"
    context = one.context("FROM box\nRUN echo true > /x\n")
    one.at(context, "--cache-to", f"type=local,dest={store}")
    for blob in (store / "blobs/sha256").iterdir():
        data = bytearray(blob.read_bytes())
        if data.startswith(b"\x1f\x8b"):  # a layer
            data[len(data) // 2] ^= 1
            blob.write_bytes(data)
    said = two.at(context, "--cache-from", f"type=local,src={store}", "-t", "made")
    assert "a result in a cache of --cache-from was not used: " in said and cached(said) == []
    assert two.ul.run("made", "cat", "/x") == "true"
    (store / "index.json").write_text("{}")
    said = two.at(context, "--no-cache", "--cache-from", f"type=local,src={store}")
    assert "1 warning found" in said and cached(said) == []
    assert "warning" not in two.at(context, "--no-cache", "--cache-from", f"type=local,src={tmp_path / 'nothing'}")


@pytest.mark.parametrize("kind", ["image", "tag", "server", "gha", "local"])
def test_caches_that_are_none(
    fresh: Callable[[str], Builder], registry: FakeRegistry, kind: str, tmp_path: Path
) -> None:
    """A cache makes builds faster; a build never fails for want of it, as `docker build --cache-from IMAGE` does not."""
    builder = fresh("one")
    name = f"{registry.host}/team/app:latest"
    context = builder.context("FROM box\nRUN echo built\n")
    if kind == "image":
        builder.at(context, "-t", name, "--push")
        builder.ul("rmi", name)
    where = {
        "image": name,
        "tag": f"{registry.host}/team/app:none",
        "server": "127.0.0.1:1/team/app",
        "gha": "type=gha,scope=main",
        "local": f"type=local,src={tmp_path}",
    }[kind]
    said = builder.at(context, "--no-cache", "--cache-from", where)
    assert outputs(said) == ["built"] and cached(said) == []
    assert ("1 warning found" in said) is (kind in ("server", "gha"))
    to = "type=gha,mode=max" if kind == "gha" else "type=inline"
    said = builder.at(context, "--cache-to", to)
    assert ("--cache-to type=gha is not supported and was ignored" in said) is (kind == "gha")


def test_a_cache_that_cannot_be_written(fresh: Callable[[str], Builder]) -> None:
    builder = fresh("one")
    context = builder.context("FROM box\nRUN echo built\n")
    builder.refused(context, "--cache-to", "type=registry,ref=127.0.0.1:1/team/app")
    said = builder.at(context, "--cache-to", "type=registry,ref=127.0.0.1:1/team/app,ignore-error=true")
    assert "the cache could not be written to 127.0.0.1:1/team/app" in said


@pytest.mark.parametrize("flags", [("--cache-to", "type=inline"), ("--build-arg", "BUILDKIT_INLINE_CACHE=1")])
def test_a_cache_in_an_image(fresh: Callable[[str], Builder], registry: FakeRegistry, flags: tuple[str, ...]) -> None:
    """An image that is here is looked into, too, and its layers are not fetched."""
    one, two = fresh("one"), fresh("two")
    name = f"{registry.host}/team/app:latest"
    context = one.context(
        "FROM box AS tool\nRUN echo tool > /tool; touch /more\nFROM box\nCOPY --from=tool /tool /\nRUN echo built\n"
    )
    one.at(context, "-t", name, *flags, "--push")
    wanted = {"COPY --from=tool /tool /", "RUN echo built"}
    for _ in range(2):
        assert set(cached(two.at(context, "--cache-from", name, "-t", "made"))) == wanted
        two.ul("pull", "-q", name)
        two.ul("builder", "prune", "-af")


def test_caches_in_one_directory(fresh: Callable[[str], Builder], tmp_path: Path) -> None:
    builder, place = fresh("one"), tmp_path / "store"
    context = builder.context("FROM box\nRUN echo built\n")
    builder.at(context, "--cache-to", f"type=local,dest={place},tag=other")
    builder.ul("builder", "prune", "-af")
    index = json.loads((place / "index.json").read_text())["manifests"][0]
    assert "no cache in" in builder.at(context, "--no-cache", "--cache-from", f"type=local,src={place}")
    for more in ("tag=other", f"digest={index['digest']}"):
        builder.ul("builder", "prune", "-af")
        assert cached(builder.at(context, "--cache-from", f"type=local,src={place},{more}")) == ["RUN echo built"]


# Pruning


def caches(ul: Installation) -> dict[str, str]:
    rows = [json.loads(line) for line in ul.out("system", "df", "--format", "json").splitlines()]
    (row,) = [each for each in rows if each["Type"] == "Build Cache"]
    assert isinstance(row, dict)
    return row


def test_disk_usage_and_pruning(fresh: Callable[[str], Builder]) -> None:
    builder = fresh("one")
    ul = builder.ul
    assert str(caches(ul)["TotalCount"]) == "0"
    dockerfile = (
        "FROM box\nRUN echo shared > /shared\n"
        "RUN --mount=type=cache,target=/c head -c 500000 /dev/urandom > /c/f\nRUN head -c 300000 /dev/urandom > /big\n"
    )
    builder(dockerfile)
    builder("FROM box\nRUN echo kept > /kept\n", "-t", "kept")
    ul("image", "prune", "-f")
    row = caches(ul)
    assert int(row["TotalCount"]) >= 4 and row["Size"] != "0B"
    # Asked for and declined; too young; enough room.
    ul("builder", "prune", input=b"n\n")
    assert "Total reclaimed space: 0B" in ul.out("builder", "prune", "-f", "--filter", "until=1h")
    assert "Total reclaimed space: 0B" in ul.out("builder", "prune", "-f", "--keep-storage", "1g")
    assert caches(ul) == row
    said = ul.out("builder", "prune", "-f", "--keep-storage", "600kB")
    assert "Deleted build cache objects:" in said and "Total reclaimed space: 0B" not in said
    assert caches(ul)["Size"] not in ("0B", row["Size"])
    said = ul.out("builder", "prune", input=b"y\n")
    assert "WARNING! This will remove all dangling build cache." in said
    # What an image has too takes no space of its own, and stays unless all is wanted.
    assert cached(builder("FROM box\nRUN echo kept > /kept\n")) == ["RUN echo kept > /kept"]
    ul("builder", "prune", "-a", "-f")
    assert str(caches(ul)["TotalCount"]) == "0" and caches(ul)["Size"] == "0B"
    assert cached(builder("FROM box\nRUN echo kept > /kept\n")) == []
    assert ul("system", "check", code=None).stdout.count(b" 0 lost") == 1
    assert "until" in ul("builder", "prune", "-f", "--filter", "what=1", code=1).stderr.decode()


def test_cache_mounts_outlive_builds_but_not_pruning(fresh: Callable[[str], Builder]) -> None:
    builder = fresh("one")
    dockerfile = "FROM box\nRUN --mount=type=cache,id=c,target=/c echo x >> /c/log; wc -l < /c/log\n"
    for count in ("1", "2"):
        assert builder.said(dockerfile) == [count]
    builder.ul("image", "prune", "-af")
    builder.ul("builder", "prune", "-f", "--filter", "until=1h")
    builder.ul("load", "-i", str(builder.place.parent / "none"), code=1)
    assert (builder.ul.root / "cache/mounts").exists()
    builder.ul("builder", "prune", "-f")
    assert list((builder.ul.root / "cache/mounts").iterdir()) == []


# Builds that can be repeated

REPEATED = """\
FROM box AS tools
RUN mkdir -p /t/d && echo tool > /t/d/tool && ln -s tool /t/d/link && touch -d '2001-01-01 00:00:00' /t/old
FROM box
WORKDIR /w/x
COPY . .
COPY --link --from=tools /t /t
RUN --mount=type=cache,target=/c date > /c/now; mkdir /made && cp -r . /made && chown -R 5:6 /made && rm sub/b
ADD sub /added
LABEL x=y
"""


def repeated(builder: Builder, name: str, age: int, *words: str) -> None:
    context = builder.context(REPEATED, {"a": "a", "sub/b": "b", "sub/c/d": "d"})
    for number, path in enumerate([context, *context.rglob("*")]):
        os.utime(path, (age + number, age + number))
    builder.ul.environment["SOURCE_DATE_EPOCH"] = "1500000000"
    builder.at(context, "-t", name, *words)


def test_the_same_image_again(fresh: Callable[[str], Builder], tmp_path: Path) -> None:
    ids, archives = [], []
    for name, age in (("one", 1_600_000_000), ("two", 1_700_000_000)):
        builder = fresh(name)
        kinds = {"oci": "oci", "docker": "docker", "tar": "tar"}
        words = []
        for kind in kinds:
            words += ["--output", f"type={kind},dest={tmp_path / name}.{kind}"]
        repeated(builder, "made", age, *words, "--output", "type=image")
        ids.append(builder.ul.out("inspect", "-f", "{{.Id}} {{.Descriptor.digest}}", "made"))
        archives.append([Path(f"{tmp_path / name}.{kind}").read_bytes() for kind in kinds])
        builder.ul("save", "-o", f"{tmp_path / name}.saved", "made")
        archives[-1].append(Path(f"{tmp_path / name}.saved").read_bytes())
    assert ids[0] == ids[1]
    assert [one == two for one, two in zip(*archives, strict=True)] == [True] * 4
    created = builder.ul.out("inspect", "-f", "{{.Created}}", "made")
    assert created.startswith("2017-07-14T02:40:00")
    with tarfile.open(f"{tmp_path / 'two'}.tar") as archive:
        times = {member.name: member.mtime for member in archive.getmembers()}
    assert max(times.values()) <= 1_500_000_000
    assert times["made/a"] == 1_500_000_000 and times["t/old"] == 978_307_200


def test_the_same_attestations_again(fresh: Callable[[str], Builder]) -> None:
    digests = []
    for name, age in (("one", 1_600_000_000), ("two", 1_700_000_000)):
        builder = fresh(name)
        repeated(builder, "made", age, "--provenance=mode=max", "--sbom")
        digests.append(builder.ul.out("inspect", "-f", "{{.Descriptor.digest}}", "made"))
    assert digests[0] == digests[1]


def test_epochs_that_are_none(builder: Builder) -> None:
    assert "SOURCE_DATE_EPOCH" in builder.fails("FROM box\n", "--build-arg", "SOURCE_DATE_EPOCH=today")
    said = builder(
        "FROM box\nARG SOURCE_DATE_EPOCH\nRUN echo $SOURCE_DATE_EPOCH\n", "--build-arg", "SOURCE_DATE_EPOCH=77"
    )
    assert outputs(said) == ["77"] and "DONE" in steps(said).values()
