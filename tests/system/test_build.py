"""Building from a Dockerfile: what steps are given and may do, how stages are solved, and what is told of failures."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from buildcases import Builder, Files, GitServer, commit, git, outputs, repository, steps, tar, write
from engines import BUSYBOX, Installation, image_tar
from fakeserver import Server
from faults import body
from remoteimages import sha
from underlay.store import rootfs

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(autouse=True)
def no_containers_left() -> None:
    """Builds leave no containers that would have to be removed after each test; the end of the module looks for them."""


# Two steps that cannot both end unless they run beside each other.
MEET = "touch /sync/$ME; n=0; until test -e /sync/$OTHER; do sleep 0.05; n=$((n+1)); test $n -lt 200 || exit 9; done"


# Mounts


def test_cache_mounts(builder: Builder) -> None:
    said = builder.said(
        "FROM box\n"
        "RUN --mount=type=cache,target=/c echo one >> /c/log; stat -c %a.%u.%g /c\n"
        "RUN --mount=type=cache,id=/c,target=/other cat /other/log; echo two >> /other/log; mkdir /other/sub\n"
        "RUN --mount=type=cache,target=/c,ro touch /c/x || tail -n 1 /c/log\n"
        "RUN --mount=type=cache,target=/c,source=sub touch /c/inner\n"
        "RUN --mount=type=cache,target=/c find /c | sort\n"
        "RUN --mount=type=cache,target=/c,id=else ls /c | wc -l\n"
        "RUN --mount=type=cache,target=/mine,mode=0700,uid=7,gid=8 stat -c %a.%u.%g /mine\n"
        "RUN --mount=type=cache,target=/seeded,from=box,source=/data cat /seeded/seed; echo more > /seeded/seed\n"
        "RUN --mount=type=cache,target=/seeded,from=box,source=/data cat /seeded/seed /data/seed\n"
        "RUN ls -d /c /other /mine /seeded || true\n"
    )
    said = [line for line in said if "Read-only" not in line and "No such file" not in line]
    assert said == [
        "755.0.0",
        "one",
        "two",
        *("/c", "/c/log", "/c/sub", "/c/sub/inner"),
        "0",
        "700.7.8",
        "from the image",
        *("more", "from the image"),
    ]


def test_cache_mounts_that_are_not_the_same(builder: Builder, tmp_path: Path) -> None:
    """Other owners or modes make another cache; an id that is a path is another one in each project."""
    mount = "RUN --mount=type=cache,target=/c,{} ls /c; touch /c/{}; stat -c %a.%u.%g /c\n"
    kinds = ("mode=0700", "uid=7", "gid=8", "uid=7,gid=8", "sharing=locked")
    lines = "".join(mount.format(kind, number) for number, kind in enumerate(kinds))
    dockerfile = "FROM box\nRUN --mount=type=cache,target=/c touch /c/first\n" + lines
    context = builder.context(dockerfile)
    assert outputs(builder.at(context)) == ["700.0.0", "755.7.0", "755.0.8", "755.7.8", "first", "755.0.0"]
    look = "FROM box\nRUN --mount=type=cache,target=/c ls /c; touch /c/{0}\n"
    (context / "Dockerfile").write_text(look.format("again"))
    assert outputs(builder.at(context)) == ["4", "first"]
    assert builder.said(look.format("other")) == []
    named = "FROM box\nRUN --mount=type=cache,target=/c,id=name ls /c; touch /c/{0}\n"
    assert builder.said(named.format("one")) == []
    assert builder.said(named.format("two")) == ["one"]
    # A namespace: paths mean the same in all that is built with it, and names are other ones.
    words = ("--build-arg", "BUILDKIT_CACHE_MOUNT_NS=team")
    assert builder.said(look.format("three"), *words) == []
    assert builder.said(look.format("four"), *words) == ["three"]
    assert builder.said(named.format("five"), *words) == []


def test_owners_that_nobody_knows(builder: Builder) -> None:
    said = builder(
        "FROM box\nCOPY --chown=nosuch f /a\nCOPY --chown=alice:none f /b\nUSER other\nWORKDIR /w\nUSER root\n"
        "RUN stat -c %u.%g /a /b /w\n",
        files={"f": ""},
    )
    assert outputs(said) == ["0.0", "1000.1001", "0.0"]
    for words in ("nosuch: the image knows no 'nosuch'", "alice:none: the image knows no 'none'", "other: the image"):
        assert words in said


def test_a_cache_mount_that_begins_with_a_directory_of_the_host(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "there" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "sub" / "seed").write_text("from the host\n")
    assert builder.said(
        "FROM box\nRUN --mount=type=cache,id=there,target=/c,from=there,source=/sub cat /c/seed\n",
        "--build-context",
        f"there={tmp_path / 'there'}",
    ) == ["from the host"]


@pytest.mark.parametrize("sharing", ["shared", "locked", "private"])
def test_sharing_of_cache_mounts(builder: Builder, sharing: str) -> None:
    """Two steps at once see one directory, or one after the other, or one each."""
    script = {
        "shared": MEET.replace("/sync", "/c"),
        "locked": "mkdir /c/busy && sleep 0.2 && rmdir /c/busy && echo alone",
        "private": f"touch /c/$ME; {MEET}; ls /c",
    }[sharing]
    stages = "".join(
        f"FROM box AS {me}\nENV ME={me} OTHER={other}\n"
        f"RUN --mount=type=cache,id={sharing},target=/c,sharing={sharing} "
        f"--mount=type=cache,target=/sync,id=sync-{sharing} {script}\nRUN touch /{me}\n"
        for me, other in (("a", "b"), ("b", "a"))
    )
    said = builder.said(f"{stages}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n")
    assert sorted(said) == {"shared": [], "locked": ["alone", "alone"], "private": ["a", "b"]}[sharing]


def test_bind_mounts(builder: Builder, tmp_path: Path) -> None:
    write(tmp_path / "more", {"f": "from elsewhere\n", "g": "hidden\n", ".dockerignore": "g\n"})
    said = builder.said(
        "FROM box AS first\nRUN mkdir /made && echo made > /made/f\n"
        "FROM box\nWORKDIR /work\n"
        "RUN --mount=target=/c cat /c/file /c/below/file && ! touch /c/new\n"
        "RUN --mount=source=below,target=here,rw cat here/file && touch here/new && pwd\n"
        "RUN --mount=source=file,target=/one cat /one\n"
        "RUN --mount=from=first,source=/made,target=/m cat /m/f && ! touch /m/new\n"
        "RUN --mount=from=0,target=/m cat /m/made/f\n"
        "RUN --mount=from=box,source=/data,target=/m,rw cat /m/seed; echo changed > /m/seed\n"
        "RUN --mount=from=box,source=/data,target=/m cat /m/seed\n"
        "RUN --mount=from=more,target=/m cat /m/f; ls /m\n"
        "RUN ls /work /c /one /m || true\n",
        "--build-context",
        f"more={tmp_path / 'more'}",
        files={"file": "context\n", "below/file": "below\n"},
    )
    said = [line for line in said if not line.startswith(("touch:", "ls:"))]
    assert said == [
        *("context", "below", "below", "/work", "context", "made", "made"),
        *("from the image", "from the image", "from elsewhere", "f", "/work:"),
    ]


def test_tmpfs_mounts(builder: Builder) -> None:
    said = builder.said(
        "FROM box\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m dd if=/dev/zero of=/t/x bs=1k count=2000 2>/dev/null || stat -c %s /t/x\n"
        "RUN --mount=type=tmpfs,target=/data stat -f -c %T /data; ls /data | wc -l\n"
        "RUN cat /data/seed; ls -d /t 2>&1 || true\n"
    )
    assert said == [str(1 << 20), "tmpfs", "0", "from the image", "ls: /t: No such file or directory"]


def test_secrets(builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").write_text("of a file\n")
    monkeypatch.setitem(builder.ul.environment, "TOKEN", "of a variable")
    said = builder.said(
        "FROM box\n"
        "RUN --mount=type=secret,id=s cat /run/secrets/s; stat -c %a.%u.%g /run/secrets/s\n"
        "RUN --mount=type=secret,id=s,target=/etc/s,mode=0644,uid=1000,gid=1001 stat -c %a.%u.%g /etc/s\n"
        "RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN; echo\n"
        "RUN --mount=type=secret,id=TOKEN,env=T echo $T; ls /run/secrets || true\n"
        "RUN --mount=type=secret,id=absent ls /run/secrets/absent || true\n"
        "RUN ls -d /run /etc/s || true; env\n",
        *("-t", "secrets", "--secret", f"id=s,src={tmp_path / 's'}", "--secret", "id=TOKEN,env=TOKEN"),
    )
    found = [line for line in said if not line.startswith(("ls:", "PATH=", "HOME=", "PWD=", "SHLVL=", "HOSTNAME="))]
    assert found == ["of a file", "400.0.0", "644.1000.1001", "of a variable", "of a variable"]
    archive = builder.ul("save", "secrets").stdout
    assert b"of a file" not in archive and b"of a variable" not in archive


def test_secrets_that_are_missing(builder: Builder) -> None:
    said = builder.fails("FROM box\nRUN --mount=type=secret,id=absent,required true\n")
    assert "secret absent: not found" in said and "--secret id=absent" in said
    said = builder.fails("FROM box\nRUN --mount=type=secret,id=s true\n", "--secret", "id=s,src=/no/such/file")
    assert "/no/such/file" in said


CLIENT = """
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(void) {
    struct sockaddr_un a = {AF_UNIX}; char b[99] = {0}; int s = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(a.sun_path, getenv("SSH_AUTH_SOCK"));
    if (connect(s, (struct sockaddr *)&a, sizeof a) || write(s, "who", 3) != 3 || read(s, b, 98) < 1) return 1;
    puts(b); return 0;
}
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """The socket of something that answers like an agent would."""
    path = tmp_path / "agent"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(b"agent heard " + client.recv(99))

    threading.Thread(target=serve, daemon=True).start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_ssh_agents(builder: Builder, agent: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    (tmp_path / "client.c").write_text(CLIENT)
    subprocess.run(["gcc", "-static", "-o", tmp_path / "client", tmp_path / "client.c"], check=True)
    program = (tmp_path / "client").read_bytes()
    said = builder.said(
        "FROM box\nCOPY --chmod=755 client /bin/client\n"
        "RUN --mount=type=ssh client; stat -c '%F %a %u' $SSH_AUTH_SOCK\n"
        "RUN --mount=type=ssh,id=other,target=/sock,mode=0666,uid=1000 client; stat -c '%a %u' /sock; echo $SSH_AUTH_SOCK\n"
        'RUN --mount=type=ssh,id=absent echo "<$SSH_AUTH_SOCK>"\n'
        "RUN ls -d /run/buildkit /sock || true\n",
        *("--ssh", f"default={agent}", "--ssh", f"other={agent}"),
        files={"client": program},
    )
    said = [line for line in said if not line.startswith("ls:")]
    assert said == ["agent heard who", "socket 600 0", "agent heard who", "666 1000", "/sock", "<>"]
    message = builder.fails("FROM box\nRUN --mount=type=ssh,required true\n")
    assert "unset ssh forward key default" in message and "--ssh default" in message
    assert "/no/socket" in builder.fails("FROM box\nRUN true\n", "--ssh", "default=/no/socket")


# What a step is and may


def test_network(builder: Builder) -> None:
    """Steps have the network that is asked for; what root's have by default, tests/system/test_network_lives.py shows."""
    with Server() as server:
        server.rule("GET", "/", body(b"reached\n", "text/plain"))
        ask = f"busybox wget -q -O - http://127.0.0.1:{server.port}/ 2>/dev/null || echo alone"
        said = builder.said(f"FROM box\nRUN {ask}\nRUN --network=none {ask}; ls /sys/class/net\n", "--network", "host")
        assert said == ["reached", "alone", "lo"]
        said = builder.said(f"FROM box\nRUN {ask}\n", "--network", "none")
        assert said == ["alone"]
    message = builder.fails("FROM box\nRUN --network=host true\n", "--network", "none")
    assert "network.host is not allowed" in message and "--allow" in message
    assert builder.said("FROM box\nRUN --network=host echo ok\n", "--network", "none", "--allow", "network.host") == [
        "ok"
    ]
    assert "network nowhere" in builder.fails("FROM box\nRUN true\n", "--network", "nowhere")


def test_options_of_steps(builder: Builder) -> None:
    said = builder.said(
        "FROM box\nRUN grep '10.1.2.3' /etc/hosts\nRUN df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2\n"
        "RUN ulimit -n; hostname\nRUN cat /proc/1/cgroup >/dev/null; head -c 5000000 /dev/zero | wc -c\n",
        *("--add-host", "there:10.1.2.3", "--shm-size", "3m", "--ulimit", "nofile=77:88", "--memory", "64m"),
    )
    assert said == ["10.1.2.3\tthere", "3072", "77", "buildkitsandbox", "5000000"]
    builder("FROM box\nRUN cat /etc/hosts\n", "-t", "hosts", "--add-host", "there:10.1.2.3")
    assert "10.1.2.3" not in builder.ul.run("hosts", "cat", "/etc/hosts")


def test_memory_that_is_used_up(builder: Builder) -> None:
    message = builder.fails("FROM box\nRUN tail -c 100m /dev/zero | wc -c; exit 137\n", "--memory", "24m")
    assert "exit code: 137" in message and "memory" in message


def test_security(builder: Builder) -> None:
    show = "grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status"
    said = builder.said(f"FROM box\nRUN {show}\nRUN unshare -Ur true 2>/dev/null || echo refused\n")
    assert said.pop() == "refused"
    assert said == [f"CapEff:\t{0x00000000A80425FB:016x}", "NoNewPrivs:\t0", "Seccomp:\t2"]
    message = builder.fails("FROM box\nRUN --security=insecure true\n")
    assert "security.insecure is not allowed" in message
    said = builder.said(f"FROM box\nRUN --security=insecure {show}\n", "--allow", "security.insecure")
    assert said[0] != f"CapEff:\t{0x00000000A80425FB:016x}" and said[2] == "Seccomp:\t0"


def test_user_and_environment(builder: Builder) -> None:
    said = builder.said(
        'FROM box\nENV A=1\nARG B=2\nUSER alice\nWORKDIR /home/alice\nSHELL ["/bin/sh", "-e", "-c"]\n'
        "RUN id -u; id -g; echo $A$B $HOME; pwd; stat -c %U .\n"
        'RUN ["echo", "$A"]\n'
    )
    assert said == ["1000", "1001", "12 /home/alice", "/home/alice", "root", "$A"]


# Arguments, stages


def test_arguments(builder: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(builder.ul.environment, "E", "of the environment")
    dockerfile = (
        "ARG BASE=nothing\nARG V=outer\nFROM ${BASE}\nARG V\nARG W=default\nARG E\nARG U\n"
        "RUN echo $V $W $E [${U-unset}] $TARGETARCH; echo ${http_proxy}\nARG TARGETARCH\nRUN echo $TARGETARCH\n"
    )
    words = ("--build-arg", "BASE=box", "--build-arg", "W=given", "--build-arg", "E", "--build-arg", "U")
    said = builder(dockerfile, "-t", "arguments", *words, "--build-arg", "http_proxy=http://p:1")
    assert outputs(said)[:2] == ["outer given of the environment [unset]", "http://p:1"]
    assert outputs(said)[2] in ("amd64", "arm64")
    # A proxy is nowhere in the image.
    assert "http://p:1" not in builder.ul.out("history", "--no-trunc", "arguments")
    assert "http_proxy" not in builder.ul.out("inspect", "arguments")


STAGES = "FROM box AS base\nRUN echo base\nFROM base AS left\nRUN echo left\nFROM base AS right\nRUN echo right\n"


def test_target(builder: Builder) -> None:
    assert builder.said(STAGES) == ["base", "right"]
    assert builder.said(STAGES, "--target", "left") == ["base", "left"]
    assert builder.said(STAGES, "--target", "LEFT") == ["base", "left"]
    assert builder.said(STAGES, "--target", "0") == ["base"]
    message = builder.fails(STAGES, "--target", "rigt")
    assert "rigt" in message and "right" in message


def test_stages_run_at_once(builder: Builder) -> None:
    stages = "".join(
        f"FROM box AS {me}\nENV ME={me} OTHER={other}\nRUN --mount=type=cache,target=/sync {MEET}; echo {me} > /{me}\n"
        for me, other in (("a", "b"), ("b", "a"))
    )
    listed = builder.listed(f"{stages}FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n", "--no-cache")
    assert listed == ["a", "b"]


def test_a_failure_ends_the_other_stages(builder: Builder) -> None:
    dockerfile = (
        "FROM box AS slow\nRUN sleep 1000\nFROM box AS bad\nRUN sleep 0.2; exit 3\n"
        "FROM scratch\nCOPY --from=slow /etc/passwd /a\nCOPY --from=bad /etc/passwd /b\n"
    )
    message = builder.fails(dockerfile)
    assert "exit code: 3" in message and "cancel" not in message
    assert builder.ul.remains([]) == []


def test_build_contexts(builder: Builder, tmp_path: Path) -> None:
    write(tmp_path / "d", {"f": "of the directory\n"})
    dockerfile = "FROM base AS one\nCOPY --from=files f /f\nFROM one\nCOPY --from=two /data/seed /s\nRUN cat /f /s\n"
    words = ["--build-context", f"files={tmp_path / 'd'}", "--build-context", "base=docker-image://box"]
    assert builder.said(dockerfile, *words, "--build-context", "two=docker-image://box") == [
        "of the directory",
        "from the image",
    ]
    # A context takes the place of a stage of its name.
    stage = "FROM scratch AS files\nCOPY Dockerfile /f\nFROM box\nCOPY --from=files f /f\nRUN cat /f\n"
    assert builder.said(stage, *words[:2]) == ["of the directory"]
    assert "/no/such" in builder.fails("FROM box\nCOPY --from=x f /\n", "--build-context", "x=/no/such")


def test_onbuild(builder: Builder) -> None:
    builder("FROM box\nONBUILD ARG X=1\nONBUILD COPY file /file\nONBUILD RUN cat /file; echo $X\n", "-t", "trigger")
    assert builder.config("trigger")["Config"]["OnBuild"] == [
        "ARG X=1",
        "COPY file /file",
        "RUN cat /file; echo $X",
    ]
    said = builder("FROM trigger\nRUN echo own\n", "-t", "triggered", "--build-arg", "X=2", files={"file": "here\n"})
    assert outputs(said) == ["here", "2", "own"]
    assert builder.config("triggered")["Config"]["OnBuild"] is None


def test_heredocs(builder: Builder) -> None:
    said = builder.said(
        "FROM box\nENV A=1\nRUN <<EOF\necho one $A\nif false; then\n  echo no\nfi\nEOF\n"
        "RUN <<EOF\n#!/bin/cat\nnot run\nEOF\n"
        "RUN cat - /dev/fd/3 <<A 3<<B\na\nA\nb\nB\n"
        "COPY <<one <<'two' /x/\n$A\none\n$A\ntwo\n"
        "COPY --chmod=755 <<EOF /bin/script\n#!/bin/sh\necho script\nEOF\n"
        "RUN cat /x/one /x/two; script; ls /dev/pipes 2>&1 || true\n"
    )
    assert said == ["one 1", "#!/bin/cat", "not run", "a", "b", "1", "$A", "script", *said[-1:]]
    assert "No such file" in said[-1]


def test_scratch(builder: Builder) -> None:
    dockerfile = (
        'FROM scratch\nCOPY --chmod=755 busybox /bin/\nRUN ["/bin/busybox", "touch", "/made"]\n'
        'ENTRYPOINT ["/bin/busybox"]\n'
    )
    builder(dockerfile, "-t", "bare", files={"busybox": BUSYBOX.read_bytes()})
    assert builder.ul.run("bare", "ls", "/made") == "/made"
    assert "no build stage" in builder.fails("RUN x\n") or "FROM" in builder.fails("RUN x\n")


BROAD = """\
# syntax=docker/dockerfile:1
ARG VERSION=1.2
FROM box AS tools
ARG VERSION
RUN mkdir -p /out/bin && printf '#!/bin/sh\\necho tool %s\\n' "$VERSION" > /out/bin/tool && chmod 755 /out/bin/tool
RUN rm /bin/nc && ln -s busybox /bin/nc2 && mv /data /moved && chown -R 5:6 /moved
FROM box AS files
WORKDIR /srv
COPY --chown=alice:extra . ./
ADD archive.tar.gz unpacked/
RUN --mount=type=cache,target=/cache echo cached > /cache/x && ls > listing && rm b/two
FROM files
COPY --from=tools /out/bin/ /usr/bin/
COPY --from=tools /moved /moved
COPY --link --chmod=600 a /linked/a
RUN --mount=from=tools,target=/t test ! -e /t/bin/nc && test ! -e /t/data && tool > /said
USER alice
ENV NAME=value PATH=/usr/bin:/bin
LABEL one=1 two="2 3"
EXPOSE 80 53/udp
VOLUME /vol
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["cat /said listing; stat -c %u.%g a unpacked/inner /moved/seed; id -un; ls b; echo $NAME"]
"""


@pytest.mark.parametrize("form", ["tree", "erofs"])
def test_many_steps(tmp_path: Path, form: str) -> None:
    from underlay import Engine

    installation = Installation(tmp_path, form)
    if form == "erofs":
        with Engine(str(installation.root), str(installation.state)) as engine:
            found, reason = rootfs.form_for(engine._store.paths)
        if found != "erofs":
            pytest.skip(f"no EROFS here: {reason}")
    installation("import", "-", "box", input=image_tar())
    builder = Builder(installation, tmp_path)
    archive = gzip.compress(tar({"inner": "i"}))
    files: Files = {"a": "1", "b/one": "1", "b/two": "2", "archive.tar.gz": archive}
    context = builder.context(BROAD, files)
    first = builder.at(context, "-t", "broad", "--build-arg", "VERSION=3.4")
    assert not [name for name, end in steps(first).items() if end != "DONE"]
    expected = "tool 3.4\nDockerfile\na\narchive.tar.gz\nb\nlisting\nunpacked\n1000.2000\n0.0\n5.6\nalice\none\nvalue"
    assert installation.run("broad") == expected
    config = builder.config("broad")["Config"]
    assert config["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}} and config["Volumes"] == {"/vol": {}}
    assert config["Labels"] == {"one": "1", "two": "2 3"} and config["StopSignal"] == "SIGINT"
    assert config["Healthcheck"]["Interval"] == 5_000_000_000 and config["WorkingDir"] == "/srv"
    again = builder.at(context, "-t", "again", "--build-arg", "VERSION=3.4")
    assert "DONE" not in {end for name, end in steps(again).items() if "FROM" not in name and "internal" not in name}
    assert installation.out("inspect", "-f", "{{.Id}}", "again") == installation.out(
        "inspect", "-f", "{{.Id}}", "broad"
    )
    installation.clean()


# Contexts


def test_archives_as_contexts(builder: Builder) -> None:
    files = {
        "Dockerfile": "FROM box\nCOPY . /c\nRUN cd /c && find . -type f | sort\n",
        "d/f": "1",
        ".dockerignore": "Dock*\n",
    }
    for data in (tar(files), tar(files, "w:gz"), tar(files, "w:xz")):
        assert outputs(builder.at("-", "--no-cache", input=data)) == ["./.dockerignore", "./d/f"]
    elsewhere = tar({"sub/other": "FROM box\nRUN echo other\n"})
    assert outputs(builder.at("-", "-f", "sub/other", "--no-cache", input=elsewhere)) == ["other"]
    # A Dockerfile alone has no context.
    assert outputs(builder.at("-", "--no-cache", input=b"FROM box\nRUN echo alone\n")) == ["alone"]
    assert "file" in builder.refused("-", input=b"FROM box\nCOPY file /\n")
    assert "Dockerfile" in builder.refused("-", input=tar({"x": ""}))
    assert "empty" in builder.refused("-", input=b"")
    assert "underlay: " in builder.refused("-", input=tar(files)[:1100])


def test_dockerfiles_elsewhere(builder: Builder, tmp_path: Path) -> None:
    context = write(tmp_path / "c", {"file": "of the context\n", "sub/Other": "FROM box\nRUN echo sub\n"})
    dockerfile = "FROM box\nCOPY file /f\nRUN cat /f; ls /c 2>/dev/null || true\n"
    outside = write(tmp_path / "o", {"Some": dockerfile, "Some.dockerignore": "sub\n"}) / "Some"
    assert outputs(builder.at(context, "--no-cache", "-f", str(outside))) == ["of the context"]
    assert outputs(builder.at(context, "--no-cache", "-f", "-", input=dockerfile.encode())) == ["of the context"]
    assert outputs(builder.at(context, "--no-cache", "-f", str(context / "sub/Other"))) == ["sub"]
    assert "stdin" in builder.refused("-", "-f", "-", input=b"")
    assert "no such file" in builder.refused(context, "-f", str(tmp_path / "nothing"))
    (tmp_path / "containerfile").mkdir()
    write(tmp_path / "containerfile", {"Containerfile": "FROM box\nRUN echo contained\n"})
    assert outputs(builder.at(tmp_path / "containerfile", "--no-cache")) == ["contained"]


def test_ignore_files(builder: Builder) -> None:
    files = {
        ".dockerignore": "# comment\n*.log\n!keep.log\nd\n!d/kept\n**/deep\nDockerfile*\n",
        **dict.fromkeys(("a.log", "keep.log", "d/gone", "d/kept", "e/deep", "e/f/deep", "e/f/x", "e/y.log"), ""),
    }
    copied = ["d/kept", "e/f/x", "e/y.log", "keep.log"]
    assert builder.listed("FROM scratch\nCOPY . /\n", files=files) == [".dockerignore", *copied]
    said = builder.said("FROM box\nRUN --mount=target=/c cd /c && find . -type f | sort\n", files=files)
    assert said == ["./.dockerignore", *(f"./{name}" for name in copied)]
    own = {**files, "Dockerfile.dockerignore": "e\n"}
    assert builder.listed("FROM scratch\nCOPY e* d* /x/\n", files=own) == ["x/gone", "x/kept"]
    assert "a.log" in builder.fails("FROM scratch\nCOPY a.log /\n", files=files)


def test_links_stay_in_the_context(builder: Builder, tmp_path: Path) -> None:
    write(tmp_path / "host", {"token": "of the host\n"})
    context = builder.context("FROM box\nCOPY . /c\nRUN ls -l /c | grep -c host; cat /c/inner\n", {"file": "inside\n"})
    (context / "out").symlink_to(tmp_path / "host")
    (context / "up").symlink_to("../host/token")
    (context / "inner").symlink_to("file")
    assert outputs(builder.at(context, "--no-cache")) == ["2", "inside"]
    for source in ("up", "out/token", "out", "../host/token"):
        write(context, {"Dockerfile": f"FROM scratch\nCOPY {source} /x\n"})
        assert "of the host" not in builder.refused(context)
    write(context, {"Dockerfile": "FROM box\nCOPY inner /x\nRUN cat /x; test ! -L /x\n"})
    assert outputs(builder.at(context, "--no-cache")) == ["inside"]


def test_git_repositories(builder: Builder, tmp_path: Path) -> None:
    dockerfile = "FROM box\nCOPY . /c\nRUN cd /c && ls -A | sort | tr '\\n' ' '; cat /c/f\n"
    repo = repository(
        tmp_path / "repos/app",
        {"Dockerfile": dockerfile, "f": "main\n", "sub/Dockerfile": dockerfile, "sub/f": "sub\n"},
    )
    first = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "-q", "-b", "other")
    write(repo, {"f": "other\n"})
    commit(repo)
    git(repo, "tag", "v1")
    git(repo, "checkout", "-q", "main")
    with GitServer(tmp_path / "repos") as server:
        url = f"{server.url}/app.git"
        for suffix, content in (("", "main"), ("#other", "other"), ("#v1", "other"), (f"#{first}", "main")):
            assert outputs(builder.at(url + suffix, "--no-cache")) == [f"Dockerfile f sub {content}"]
        assert outputs(builder.at(f"{url}#main:sub", "--no-cache")) == ["Dockerfile f sub"]
        assert outputs(builder.at(f"{url}?branch=other&subdir=sub", "--no-cache")) == ["Dockerfile f sub"]
        assert "nothing" in builder.refused(f"{url}#nothing")
        assert "absent" in builder.refused(f"{url}#main:absent")
        added = (
            f"FROM box\nADD {url}#other /c\nADD --keep-git-dir=true {url} /k\n"
            "RUN cat /c/f /k/f; ls -d /c/.git /k/.git || true\n"
        )
        said = builder.said(added)
        assert [line for line in said if not line.startswith("ls:")] == ["other", "main", "/k/.git"]
        assert builder.said(f"FROM box\nADD --checksum={first} {url} /c\nRUN cat /c/f\n") == ["main"]
        message = builder.fails(f"FROM box\nADD --checksum={'0' * 40} {url} /c\n")
        assert first in message and "0" * 40 in message


def test_git_by_a_server_of_files(builder: Builder, tmp_path: Path) -> None:
    """What git calls dumb HTTP: there is no program behind it, so a part of the history cannot be had alone."""
    repo = repository(tmp_path / "app", {"f": "one\n", "Dockerfile": "FROM box\nCOPY f /f\nRUN cat /f\n"})
    write(repo, {"f": "two\n"})
    commit(repo)
    git(tmp_path, "clone", "-q", "--bare", str(repo), "served/app.git")
    git(tmp_path / "served/app.git", "update-server-info")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/app.git"
        assert builder.said(f"FROM box\nADD {url} /c\nRUN cat /c/f\n") == ["two"]
        assert outputs(builder.at(url)) == ["two"]
        server.shutdown()


def test_add(builder: Builder) -> None:
    data = b"fetched\n"
    digest = sha(data)
    with Server() as server:
        server.rule("GET", "/file", body(data, "text/plain", {"Last-Modified": "Thu, 01 Jan 2015 00:00:00 GMT"}))
        server.rule("GET", "/a.tar", body(tar({"inner": "unpacked\n"}), "application/x-tar"))
        url = f"http://127.0.0.1:{server.port}"
        said = builder.said(
            f"FROM box\nADD {url}/file /one\nADD --checksum={digest} {url}/file /d/\nADD --chmod=640 {url}/file /two\n"
            f"ADD {url}/a.tar /plain/\nADD --unpack=true {url}/a.tar /unpacked/\n"
            "ADD local.tar.gz /local/\nADD --unpack=false local.tar.gz /whole/\nADD no.tar.gz /whole/\n"
            "RUN cat /one /d/file; stat -c '%a %Y' /one /two; ls /plain /unpacked /local /whole\n",
            files={"local.tar.gz": gzip.compress(tar({"in": ""})), "no.tar.gz": "no archive"},
        )
        assert said == [
            *("fetched", "fetched", "600 1420070400", "640 1420070400"),
            *("/local:", "in", "", "/plain:", "a.tar", "", "/unpacked:", "inner", "", "/whole:", "local.tar.gz"),
            "no.tar.gz",
        ]
        message = builder.fails(f"FROM box\nADD --checksum=sha256:{'0' * 64} {url}/file /one\n")
        assert digest in message and "0" * 64 in message
        assert "404" in builder.fails(f"FROM box\nADD {url}/absent /one\n")
    assert "hecksum" in builder.fails(f"FROM box\nADD --checksum={digest} local /one\n", files={"local": ""})
