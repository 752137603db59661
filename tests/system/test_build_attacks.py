"""Hostile Dockerfiles, contexts, repositories and base images (attacks BD-01 to BD-17, and rows that speak of builds)."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from buildcases import Builder, GitServer, git, harmless, outputs, repository, tar
from engines import Installation
from fakeserver import Server
from faults import body, redirect

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


# BD-01: sources of bind mounts


@pytest.mark.parametrize("target", ["/", "/proc/1/root", "../../../../../../../../..", "/l"])
def test_bd01_sources_of_bind_mounts_that_are_links(builder: Builder, canary: Path, target: str) -> None:
    inside = f"/m{canary}"
    context = builder.context(
        f"FROM box AS stage\nRUN ln -s {target} /l; touch /own\nFROM box\n"
        f"RUN --mount=type=bind,from=stage,source=/l,target=/m,rw ls /m; cat {inside}/secret; touch {inside}/new; "
        f"ls /m{builder.ul.root}; true\n"
    )
    done = builder.ul("build", "--no-cache", "--progress", "plain", str(context), code=None)
    said = done.stderr.decode()
    assert "Traceback" not in said and (done.returncode == 0 or "underlay: " in said)
    if target == "/":
        assert "own" in outputs(said)  # the stage's own root
    harmless(said, builder)


def test_bd01_sources_in_the_context(builder: Builder, canary: Path) -> None:
    """Links of the context lead nowhere, whether it is shown or copied."""
    for number, target in enumerate(
        (str(canary), "../" * 30 + str(canary).lstrip("/"), "/proc/self/root" + str(canary))
    ):
        for source in ("link/secret", "d/link"):
            context = builder.context(
                f"FROM box\nRUN --mount=source={source},target=/m find /m -exec cat {{}} + ; touch /m/new; echo {number}\n"
            )
            (context / "link").symlink_to(target)
            (context / "d").mkdir()
            (context / "d/link").symlink_to(target)
            done = builder.ul("build", "--no-cache", "--progress", "plain", str(context), code=None)
            assert b"Traceback" not in done.stderr
            harmless(done.stderr.decode(), builder)


# BD-03: ids and sources of cache mounts


def test_bd03_ids_of_cache_mounts(builder: Builder, canary: Path) -> None:
    ids = (f"../../../../../../../../..{canary}", str(canary), "..", ".", "a/../b", "x" * 3000, "a\\ b", "/")
    lines = [
        f"RUN --mount=type=cache,id={each},target=/c ls /c | wc -l; cat /c/secret 2>/dev/null; touch /c/{number}"
        for number, each in enumerate(ids)
    ]
    said = builder("\n".join(["FROM box", *lines, ""]), "--no-cache")
    assert outputs(said) == ["0"] * len(ids)
    for source in ("..", "../../..", str(canary), "l", "l/.."):
        prepare = f"RUN --mount=type=cache,id=s,target=/c rm -rf /c/l; ln -s {canary} /c/l"
        show = f"RUN --mount=type=cache,id=s,target=/c,source={source} ls -a /c; cat /c/secret; touch /c/new"
        context = builder.context(f"FROM box\n{prepare}\n{show}\n")
        done = builder.ul("build", "--no-cache", "--progress", "plain", str(context), code=None)
        assert b"Traceback" not in done.stderr
        harmless(done.stderr.decode(), builder)


def test_bd03_targets_of_mounts(builder: Builder, canary: Path) -> None:
    for target in ("../../../../..", "/../../..", "..", "/"):
        for kind in ("type=cache", "type=tmpfs", "type=bind,source=."):
            context = builder.context(f"FROM box\nRUN --mount={kind},target={target} echo ran > {canary}/new; true\n")
            done = builder.ul("build", "--no-cache", "--progress", "plain", str(context), code=None)
            assert b"Traceback" not in done.stderr
            assert done.returncode == 0 or b"underlay: " in done.stderr


def test_bd03_cache_directories_from_links(builder: Builder, canary: Path) -> None:
    """A new cache is seeded from inside the image."""
    builder(f"FROM box\nRUN ln -s {canary} /seed; ln -s / /all\n", "-t", "seeds")
    for source in ("/seed", "/all", f"/all{canary}", "../.."):
        context = builder.context(
            f"FROM box\nRUN --mount=type=cache,id=seeded{source},from=seeds,source={source},target=/c find /c | head -n 5\n"
        )
        done = builder.ul("build", "--progress", "plain", str(context), code=None)
        assert b"Traceback" not in done.stderr
        harmless(done.stderr.decode(), builder)


# BD-05: mount points that are taken away


@pytest.mark.parametrize("kind", ["type=tmpfs", "type=secret,id=s", "type=ssh", "type=cache", "type=bind,source=."])
def test_bd05_mount_points_that_are_exchanged(builder: Builder, tmp_path: Path, kind: str) -> None:
    host = tmp_path / "host"
    (host / "b").mkdir(parents=True)
    (host / "empty").touch()
    (tmp_path / "s").write_text("s")
    agent = tmp_path / "agent"
    agent.touch()
    os.remove(agent)
    os.mknod(agent, 0o140600)
    script = f"mv /a /z; ln -s {host} /a; ls -l / > /dev/null; mkdir -p {host}/b"
    words = ("--secret", f"id=s,src={tmp_path / 's'}", "--ssh", f"default={agent}")
    context = builder.context(f"FROM box\nRUN --mount={kind},target=/a/b {script}; true\nRUN ls -ld /a /z\n")
    done = builder.ul("build", "--no-cache", "--progress", "plain", *words, str(context), code=None)
    assert b"Traceback" not in done.stderr
    assert sorted(path.name for path in host.iterdir()) == ["b", "empty"] and (host / "b").is_dir()
    # What the step itself has put in a mount point's place stays.
    lines = (
        f"RUN --mount={kind},target=/x/y/m true; echo\nRUN test ! -e /x/y/m && mkdir -p /x/y/m && echo own > /x/y/m/f\n"
        f"RUN cat /x/y/m/f\n"
    )
    assert outputs(builder(f"FROM box\n{lines}", "--no-cache", *words))[-1] == "own"


# BD-07: what is written to a bind mount


def test_bd07_writes_to_bind_mounts_are_lost(builder: Builder) -> None:
    context = builder.context(
        "FROM box AS stage\nRUN mkdir /s\nFROM box\n"
        "RUN --mount=type=bind,target=/c,rw touch /c/new && echo changed > /c/file && rm -r /c/d && chown 5 /c\n"
        "RUN --mount=type=bind,from=stage,source=/s,target=/s,rw touch /s/new && echo x > /s/more\n"
        "RUN --mount=type=bind,target=/c --mount=type=bind,from=stage,source=/s,target=/s ls /c /s; cat /c/file\n"
        "RUN ls -d /c /s || true\n",
        {"file": "file\n", "d/f": ""},
    )

    def state() -> list[tuple[Path, int, int, int]]:
        found = [(path, path.lstat()) for path in (context, *sorted(context.rglob("*")))]
        return [(path, status.st_uid, status.st_mtime_ns, status.st_ctime_ns) for path, status in found]

    before = state()
    said = [line for line in outputs(builder.at(context, "--no-cache")) if not line.startswith("ls:")]
    assert said == ["/c:", "Dockerfile", "d", "file", "", "/s:", "file"]
    assert state() == before


# BD-09: Git contexts


@pytest.fixture
def evil(tmp_path: Path, canary: Path) -> Path:
    """A repository whose links lead out of it."""
    links = {
        "all": "/",
        "canary": str(canary),
        "up": "../../../../../../../.." + str(canary),
        "Linked": str(canary / "secret"),
        "git": ".git",
    }
    return repository(tmp_path / "repos/evil", {"Dockerfile": "FROM box\nCOPY . /c\n", "d/f": "f\n"}, links)


@pytest.mark.parametrize("subdir", ["../../etc", "..", "all", "canary", "up", "d/../../x", ".git", "/etc"])
def test_bd09_directories_of_git_contexts(builder: Builder, evil: Path, subdir: str) -> None:
    with GitServer(evil.parent) as server:
        said = builder.refused(f"{server.url}/evil.git#main:{subdir}")
    harmless(said, builder)
    assert subdir in said


def test_bd09_links_in_git_repositories(builder: Builder, evil: Path, canary: Path) -> None:
    with GitServer(evil.parent) as server:
        url = f"{server.url}/evil.git"
        harmless(builder.refused(url, "-f", "Linked"), builder)
        harmless(builder.refused(url, "-f", "../../../../../../../../../.." + str(canary / "secret")), builder)
        harmless(builder.at(url), builder)
        said = builder(
            f"FROM box\nADD {url} /c\nRUN ls -A /c; cat /c/canary/secret /c/up/secret || true\n", "--no-cache"
        )
        harmless(said, builder)
        assert ".git" not in outputs(said)


@pytest.mark.parametrize("address", ["file://{}", "{}", "ext::sh -c touch% {}/ran", "../evil"])
def test_bd09_submodules(builder: Builder, evil: Path, canary: Path, address: str) -> None:
    (evil / ".gitmodules").write_text(f'[submodule "m"]\n\tpath = m\n\turl = {address.format(canary)}\n')
    commit_id = git(evil, "rev-parse", "HEAD")
    git(evil, "update-index", "--add", "--cacheinfo", f"160000,{commit_id},m")
    git(evil, "add", ".gitmodules")
    git(evil, "commit", "-q", "-m", "a submodule")
    with GitServer(evil.parent) as server:
        done = builder.ul("build", "--progress", "plain", f"{server.url}/evil.git", code=None)
    assert done.returncode == 1 and b"Traceback" not in done.stderr
    harmless(done.stderr.decode(), builder)
    assert not (canary / "ran").exists()


@pytest.mark.parametrize(
    "address", ["git@-oProxyCommand=touch:x/y", "ssh://-oProxyCommand=touch/x", "https://h/x.git#--upload-pack=touch"]
)
def test_bd09_addresses_that_are_options(builder: Builder, tmp_path: Path, address: str) -> None:
    marked = address.replace("touch", f"touch${{IFS}}{tmp_path}/ran")
    builder.refused(marked)
    assert not (tmp_path / "ran").exists()


# BD-15: input that could make a builder fall over


def odd_files() -> dict[str, bytes]:
    long = b"x" * 10_000_000
    return {
        "a line of 10 MB": b"FROM box\nRUN " + long + b"\n",
        "many stages": b"FROM scratch\n" * 20_000,
        "stages upon each other": b"".join(b"FROM s%d AS s%d\n" % (n - 1, n) for n in range(1, 5_000)),
        "a heredoc without an end": b"FROM box\nRUN <<EOF\n" + b"echo\n" * 100_000,
        "a thousand heredocs": b"FROM box\nRUN cat " + b"<<E " * 1000 + b"\nx\n",
        "an escape at the end": b"FROM box\nRUN true \\",
        "only escapes": b"\\\n" * 200_000,
        "zeros": b"FROM box\nRUN \0\0\0 true\n",
        "no text": bytes(range(128, 256)) * 1000,
        "a stage on itself": b"FROM x AS x\nRUN true\n",
        "stages in a ring": b"FROM box AS a\nCOPY --from=b / /\nFROM box AS b\nCOPY --from=a / /\n",
        "variables in variables": b"FROM box\nENV A=" + b"${A:-" * 3000 + b"}" * 3000 + b"\n",
        "growing variables": b"FROM box\nENV A=" + b"a" * 1000 + b"\n" + b"ENV A=$A$A\n" * 12,
        "a mount without an end": b'FROM box\nRUN --mount=type=cache,"target=/x true\n',
        "json without an end": b"FROM box\nRUN [" + b'"a",' * 10_000 + b"\n",
        "deep json": b"FROM box\nRUN " + b"[" * 100_000 + b"\n",
        "a wildcard without an end": b"FROM box\nCOPY " + b"[" * 1000 + b"a* /\n",
        "many wildcards": b"FROM box\nCOPY " + b"*a" * 5000 + b" /x/\n",
        "a port range": b"FROM box\nEXPOSE 1-99999999999\n",
        "an owner": b"FROM box\nCOPY --chown=99999999999999999999:-1 Dockerfile /x\n",
        "a mode": b"FROM box\nCOPY --chmod=99999 Dockerfile /x\n",
        "a long name": b"FROM box\nCOPY Dockerfile /" + b"y" * 5000 + b"\n",
        "a deep directory": b"FROM box\nWORKDIR /" + b"z/" * 5000 + b"\n",
        "no stage": b"ARG A=1\n",
        "onbuild in onbuild": b"FROM box\nONBUILD ONBUILD RUN true\n",
        "a platform": b"FROM --platform=../../x box\n",
    }


ODD = odd_files()


@pytest.mark.parametrize("name", sorted(ODD))
def test_bd15_odd_dockerfiles(builder: Builder, name: str) -> None:
    done = builder.ul("build", "-q", "-", code=None, input=ODD[name], timeout=30)
    said = done.stderr.decode()
    assert done.returncode in (0, 1) and "Traceback" not in said, said[-3000:]
    lines = [line for line in said.splitlines() if line.startswith("underlay: ")]
    assert len(lines) == done.returncode, said[-3000:]
    for word in (
        "RecursionError",
        "UnicodeDecodeError",
        "KeyError",
        "IndexError",
        "TypeError",
        "ValueError",
        "struct.error",
    ):
        assert word not in said


@pytest.mark.parametrize(
    "words",
    [
        ("--build-arg", "=x"),
        ("--label", "=x"),
        ("--ulimit", "nofile=-5:x"),
        ("--ulimit", "what=1"),
        ("--memory=-5",),
        ("--shm-size", "1e99"),
        ("--cpu-shares", "x"),
        ("--cpuset-cpus", "0-99999"),
        ("--add-host", "x"),
        ("--add-host", "a b:c\nd"),
        ("--output", 'type="'),
        ("--secret", "id="),
        ("--secret", "id=x,src=/dev/zero"),
        ("--cache-from", "type=local"),
        ("--cache-to", "type=local"),
        ("--build-context", "x"),
        ("--platform", "linux/amd64,"),
        ("--target", "\x1b[31m"),
        ("-t", "../x"),
        ("-f", "/dev/zero"),
        ("--cgroup-parent", "../../x"),
        ("--iidfile", "/no/such/directory/file"),
    ],
)
def test_bd15_odd_options(builder: Builder, words: tuple[str, ...]) -> None:
    context = builder.context("FROM box\nRUN --mount=type=secret,id=x true\n")
    done = builder.ul("build", "--no-cache", *words, str(context), code=None, timeout=20)
    said = done.stderr.decode()
    assert done.returncode in (1, 125) and "Traceback" not in said and "\x1b[31m" not in said, said
    assert len([line for line in said.splitlines() if line.startswith("underlay: ")]) == 1, said


# BD-17: what the builder puts into the root itself


def test_bd17_places_that_are_links(builder: Builder, canary: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("s\n")
    builder(
        f"FROM box\nRUN --network=none ln -s / /run; mkdir -p /etc; ln -s {canary} /dev.own\nFROM box\n"
        f"COPY --from=0 /run /run\nRUN ln -sf {canary}/h /w-hosts; true\n",
        "-t",
        "evil-a",
    )
    links = {
        "run": "/",
        "tmp": str(canary),
        "var": "../" * 20 + str(canary).lstrip("/"),
        "etc/hosts": f"{canary}/h",
        "etc/resolv.conf": f"{canary}/r",
        "etc/hostname": f"{canary}/secret",
        "dev/shm": str(canary),
        "proc": str(canary),
        "sys": "/",
        "w": str(canary),
    }
    from engines import image_tar

    buffer = io.BytesIO(image_tar())
    plain = tarfile.open(fileobj=buffer)
    evil = io.BytesIO()
    with tarfile.open(fileobj=evil, mode="w") as archive:
        for member in plain:
            if member.name not in links:
                archive.addfile(member, plain.extractfile(member) if member.isfile() else None)
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    builder.ul("import", "-", "evil", input=evil.getvalue())
    lines = (
        "RUN --mount=type=secret,id=s cat /run/secrets/s; true",
        "RUN --mount=type=tmpfs,target=/tmp/t touch /tmp/t/x; true",
        "RUN --mount=type=cache,target=/var/c touch /var/c/x; true",
        "RUN cat /etc/hosts > /dev/null; echo x >> /etc/hosts; touch /dev/shm/x; true",
        f"RUN cat {canary}/secret; true",
        "WORKDIR /w/deep",
        "COPY Dockerfile /tmp/new",
        "COPY Dockerfile /var/new/",
        "ADD a.tar /tmp/",
        "RUN <<EOF\ntrue\nEOF",
        "COPY --from=evil /tmp/secret /w/secret /seen/\nRUN cat /seen/*",
    )
    for line in lines:
        context = builder.context(f"FROM evil\n{line}\n", {"a.tar": tar({"x": "x"})})
        words = ("--secret", f"id=s,src={tmp_path / 's'}")
        done = builder.ul("build", "--no-cache", "--progress", "plain", *words, str(context), code=None)
        assert b"Traceback" not in done.stderr
        harmless(done.stderr.decode(), builder)
        assert [path.name for path in canary.iterdir()] == ["secret"], line


# Rows of the runtime that speak of builds


def test_rt27_labels_steer_nothing(builder: Builder) -> None:
    keys = ("privileged", "security-opt", "cgroup-parent", "hooks", "log-driver", "userns", "capabilities", "network")
    labels = " ".join(f'"{prefix}{key}"="unconfined"' for key in keys for prefix in ("", "underlay.", "io.underlay."))
    show = "RUN grep -E 'CapEff|Seccomp:|CapInh|CapAmb' /proc/self/status"
    plain = outputs(builder(f"FROM box\n{show}\n", "--no-cache"))
    builder(f"FROM box\nLABEL {labels}\n", "-t", "labelled")
    assert outputs(builder(f"FROM labelled\n{show}\n", "--no-cache")) == plain
    assert sum(line.endswith("\t" + "0" * 16) for line in plain) == 2


def test_rt33_programs_of_the_image_run_inside_only(builder: Builder, canary: Path) -> None:
    recorder = f"#!/bin/sh\necho ran > {canary}/ran\n"
    copied = "".join(
        f"COPY --chmod=755 recorder {path}\n" for path in ("/usr/bin/git", "/bin/tar", "/usr/bin/newuidmap")
    )
    said = builder(
        f"FROM box\n{copied}COPY recorder /usr/lib/python3/encodings/__init__.py\nADD a.tar /x/\n"
        "COPY --chown=alice recorder /y\n",
        files={"recorder": recorder, "a.tar": tar({"x": ""})},
    )
    assert not (canary / "ran").exists() and "exporting" in said


def test_addresses_of_add_and_contexts(builder: Builder, canary: Path) -> None:
    """Nothing but HTTP is fetched, and no answer leads to a file."""
    for address in (f"file://{canary}/secret", f"ftp://127.0.0.1{canary}/secret", f"{canary}/secret"):
        context = builder.context(f"FROM box\nADD {address} /x\n")
        done = builder.ul("build", "--progress", "plain", str(context), code=1)
        harmless(done.stderr.decode(), builder)
    with Server() as server:
        server.rule("GET", "/redirect", redirect(f"file://{canary}/secret"))
        server.rule(
            "GET", "/name", body(b"x\n", "text/plain", {"Content-Disposition": f'attachment; filename="{canary}/new"'})
        )
        url = f"http://127.0.0.1:{server.port}"
        harmless(builder.fails(f"FROM box\nADD {url}/redirect /x\n"), builder)
        harmless(builder.refused(f"{url}/redirect"), builder)
        for name in ("name", "..%2f..%2fname", "%2e%2e", "name%00x"):
            server.rule("GET", f"/{name}", body(b"x\n", "text/plain"))
            context = builder.context(f"FROM box\nADD {url}/{name} /d/\n")
            done = builder.ul("build", "--progress", "plain", str(context), code=None)
            assert b"Traceback" not in done.stderr
    assert [path.name for path in canary.iterdir()] == ["secret"]


def test_im11_false_results_of_others(builder: Builder, canary: Path, tmp_path: Path) -> None:
    """A cache elsewhere cannot name files, nor digests that are none."""
    store = tmp_path / "store"
    context = builder.context("FROM box\nRUN echo cached > /x\n")
    builder.at(context, "--cache-to", f"type=local,dest={store}")
    index = json.loads((store / "index.json").read_text())
    for digest in (
        "sha256:../../../../../../" + str(canary) + "/secret",
        "sha256:" + "0" * 64,
        "md5:" + "0" * 32,
        "x",
        5,
    ):
        index["manifests"][0]["digest"] = digest
        (store / "index.json").write_text(json.dumps(index))
        said = builder.at(context, "--no-cache", "--cache-from", f"type=local,src={store}")
        harmless(said, builder)
        assert f"--cache-from {store}: " in said and "1 warning found" in said


def test_nothing_of_the_host_is_in_a_step(ul: Installation, builder: Builder) -> None:
    """No descriptor, no directory, no environment of the engine."""
    script = (
        "for f in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/root; do readlink $f; done; env; cat /proc/mounts"
    )
    said = outputs(builder(f"FROM box\nRUN {script}\n", "--no-cache"))
    assert [line for line in said if "socket:" in line or "memfd" in line] == []
    assert [line for line in said if str(ul.state) in line or "UNDERLAY" in line or "PYTHON" in line] == []
