"""Hostile build contexts (attacks BD-11, BD-13): links, what is ignored, and what is fetched into the build."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from buildcases import TOKEN, Builder, harmless, outputs, tar, write
from fakeserver import Server
from faults import body, endless

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


# BD-11: links and odd files in the place of Dockerfile and .dockerignore


@pytest.mark.parametrize("name", ["Dockerfile", ".dockerignore", "Dockerfile.dockerignore"])
@pytest.mark.parametrize("kind", ["absolute", "relative", "fifo", "huge", "directory", "device"])
def test_bd11_files_of_the_context_that_are_none(builder: Builder, canary: Path, name: str, kind: str) -> None:
    context = builder.context("FROM box\nCOPY . /c\n", {"f": "f"})
    path = context / name
    path.unlink(missing_ok=True)
    if kind == "absolute":
        path.symlink_to(canary / "secret")
    elif kind == "relative":
        path.symlink_to("../" * 20 + str(canary / "secret").lstrip("/"))
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 30)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o20600, os.makedev(1, 5))
    done = builder.ul("build", "--progress", "plain", str(context), code=1, timeout=20)
    said = done.stderr.decode()
    assert "underlay: " in said and "Traceback" not in said
    harmless(said, builder)
    if not kind.endswith("directory"):
        assert "canary" not in said.replace(str(canary.parent), "")


@pytest.mark.parametrize("how", ["the same", "through a link", "by its link"])
def test_bd11_a_dockerfile_of_the_context_that_is_named(builder: Builder, canary: Path, how: str) -> None:
    """A link is followed inside the context only, however context and file are named."""
    context = builder.context("", {"sub/f": "f", "real": "FROM box\nRUN echo inside\n"})
    for name, target in (("link", canary / "secret"), ("inside", "real"), ("away", canary)):
        (context / name).symlink_to(target)
    (context / "sub/Dockerfile").symlink_to(canary / "secret")
    alias = context.parent / f"{context.name}-alias"
    alias.symlink_to(context)
    named, given = {
        "the same": (context, context),
        "through a link": (alias, context),
        "by its link": (context, alias),
    }[how]
    for name in ("link", "sub/Dockerfile", "away/secret", "sub/../link"):
        said = builder.refused(given, "-f", f"{named}/{name}")
        assert "failed to read dockerfile" in said and TOKEN not in said
    assert outputs(builder.at(given, "--no-cache", "-f", f"{named}/inside")) == ["inside"]
    elsewhere = context.parent / f"{context.name}.dockerfile"
    elsewhere.write_text("FROM box\nRUN echo elsewhere\n")
    assert outputs(builder.at(given, "--no-cache", "-f", str(elsewhere))) == ["elsewhere"]


def test_bd11_in_an_archive(builder: Builder, canary: Path) -> None:
    for name in ("Dockerfile", ".dockerignore"):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for member, data in (("Dockerfile", b"FROM box\nCOPY . /c\n"), ("f", b"")):
                if member != name:
                    entry = tarfile.TarInfo(member)
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, str(canary / "secret")
            archive.addfile(link)
        done = builder.ul("build", "--progress", "plain", "-", code=None, input=buffer.getvalue())
        assert b"Traceback" not in done.stderr and (done.returncode or name != "Dockerfile")
        harmless(done.stderr.decode(), builder)


def test_bd11_members_that_leave_the_archive(builder: Builder, canary: Path) -> None:
    dockerfile = "FROM box\nCOPY . /c\nRUN find /c -type f | wc -l\n"
    buffer = io.BytesIO(tar({"Dockerfile": dockerfile}))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        for name in (f"../../../../../../../..{canary}/new", f"{canary}/new2", "d/link/new3"):
            if name.startswith("d/"):
                link = tarfile.TarInfo("d/link")
                link.type, link.linkname = tarfile.SYMTYPE, str(canary)
                archive.addfile(link)
            archive.addfile(tarfile.TarInfo(name))
        hard = tarfile.TarInfo("hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, f"../../../../../../../..{canary}/secret"
        archive.addfile(hard)
    done = builder.ul("build", "--progress", "plain", "-", code=None, input=buffer.getvalue())
    assert b"Traceback" not in done.stderr
    harmless(done.stderr.decode(), builder)
    assert [path.name for path in canary.iterdir()] == ["secret"]


# BD-13: what is excluded


@pytest.mark.parametrize(
    "ignore",
    [
        "secret.env",
        "**/secret.env",
        "*.env",
        "./secret.env",
        "/secret.env",
        "s?cret.env",
        "*\n!visible\n!Dockerfile\n!link",
        "!secret.env\nsecret.env",
        "secret.env/",
        "  secret.env  ",
        "d/../secret.env",
        "[a-t]ecret.env",
    ],
)
def test_bd13_what_is_ignored_is_not_seen(builder: Builder, ignore: str) -> None:
    name = "Dockerfile.dockerignore" if len(ignore) % 2 else ".dockerignore"
    files = {"secret.env": "hidden content\n", "visible": "v\n", name: f"{ignore}\n"}
    if name != ".dockerignore":
        files[".dockerignore"] = "!**\n"
    dockerfile = (
        "FROM box\nCOPY . /c\n"
        "RUN --mount=target=/m cat /m/visible /c/visible; grep -r hidden /c /m; cat /m/link /c/link 2>&1; true\n"
    )
    context = builder.context(dockerfile, files)
    (context / "link").symlink_to("secret.env")
    said = builder.at(context, "--no-cache")
    assert "hidden content" not in said and outputs(said).count("v") == 2
    for line in ("COPY secret.env /", "ADD link /x"):
        write(context, {"Dockerfile": f"FROM box\n{line}\n"})
        builder.refused(context)


def test_bd13_directories_that_are_ignored(builder: Builder) -> None:
    files = {
        "d/secret": "hidden\n",
        "d/sub/secret": "hidden\n",
        "d/keep": "kept\n",
        "e/secret": "hidden\n",
        ".dockerignore": "d/**\n!d/keep\n**/secret\n",
    }
    dockerfile = (
        "FROM box\nCOPY . /c\nCOPY d /d\n"
        "RUN --mount=target=/m find /c /m /d -type f | sort; grep -r 'hidde[n]' /c /m /d; true\n"
    )
    said = outputs(builder(dockerfile, "--no-cache", files=files))
    places = [
        "/c/.dockerignore",
        "/c/Dockerfile",
        "/c/d/keep",
        "/d/keep",
        "/m/.dockerignore",
        "/m/Dockerfile",
        "/m/d/keep",
    ]
    assert said == places


# Files fetched by ADD


@pytest.mark.parametrize("length", [True, False], ids=["announced", "endless"])
def test_a_file_to_be_added_that_does_not_end(builder: Builder, monkeypatch: pytest.MonkeyPatch, length: bool) -> None:
    monkeypatch.setitem(builder.ul.environment, "UNDERLAY_ADD_LIMIT", "3m")
    with Server() as server:
        large = body(bytes(4 << 20), "text/plain") if length else endless(most=64 << 20)
        server.rule("GET", "/large", large)
        server.rule("GET", "/small", body(b"small"))
        url = f"http://{server.host}"
        message = builder.fails(f"FROM box\nADD {url}/large /f\n")
        assert f"failed to load {url}/large: more than 3m bytes" in message and "UNDERLAY_ADD_LIMIT" in message
        assert builder.said(f"FROM box\nADD {url}/small /f\nRUN cat /f\n") == ["small"]
    monkeypatch.setitem(builder.ul.environment, "UNDERLAY_ADD_LIMIT", "much")
    assert "UNDERLAY_ADD_LIMIT: invalid size: 'much'" in builder.fails(f"FROM box\nADD {url}/small /f\n")


def test_without_a_network_nothing_is_added_from_one(builder: Builder) -> None:
    """A service of this host on loopback is as far away as all others."""
    with Server() as server:
        server.rule("GET", "/secret", body(TOKEN.encode()))
        for source in (f"http://{server.host}/secret", f"http://{server.host}/repository.git"):
            message = builder.fails(f"FROM box\nADD {source} /f\nRUN cat /f\n", "--network", "none")
            assert f"{source} is not fetched: the build has --network none" in message
            assert "build without it" in message
        assert server.requests == []
        assert builder.said("FROM box\nADD f /f\nRUN cat /f\n", "--network", "none", files={"f": "x\n"}) == ["x"]
