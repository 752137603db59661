"""Builds whose steps run in machines: the same layers and keys as those of steps on this kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines import Installation

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not shutil.which("virtiofsd", path="/usr/libexec:/usr/lib/qemu:/usr/bin"),
        reason="there is no virtiofsd (package virtiofsd)",
    ),
]

# What a step does to its files, and what it is given.
DOCKERFILE = """\
FROM box AS one
RUN <<X
set -e
mkdir /d; chown 1000:1001 /d; chmod 2750 /d; mknod /n c 1 3; mkfifo /p; ln -s x /l
echo hello > /f; ln /f /f2; chmod 4755 /f; echo more >> /etc/group; rm -r /var; mkdir /var
X
USER 7
RUN --mount=type=secret,id=s,uid=7 --mount=type=cache,target=/c,uid=7 --mount=type=bind,source=given,target=/b \\
    --mount=type=tmpfs,target=/t cat /run/secrets/s /b > /tmp/seen && ! echo x > /b && id -u >> /tmp/seen && \\
    echo kept >> /c/log && ! touch /root/x
"""
KERNEL = "FROM box\nRUN echo kernel $(uname -r)\n"


def test_layers_are_the_same(machine: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "given").write_text("given\n")
    (tmp_path / "secret").write_text("secret\n")
    words = ["--secret", f"id=s,src={tmp_path}/secret", "--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1700000000"]
    layers = {}
    for isolation in ("process", "machine"):
        machine("build", "--isolation", isolation, *words, "-t", isolation, str(tmp_path))
        layers[isolation] = machine.out("image", "inspect", "-f", "{{json .RootFS.Layers}}", isolation)
    assert layers["process"] == layers["machine"]
    assert machine.out("run", "--rm", "machine", "cat", "/tmp/seen") == "secret\ngiven\n7"
    # The keys are the same, too: what one has made the other finds.
    again = machine("build", "--isolation", "process", words[0], words[1], *words[3:], "-t", "again", str(tmp_path))
    assert again.stderr.count(b"CACHED") == 2, again.stderr


def test_its_kernel_and_its_end(machine: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(KERNEL)
    release = machine.out("machine", "kernel", "ls", "-q")
    built = machine("build", "--isolation", "machine", "--no-cache", str(tmp_path))
    assert f"kernel {release}".encode() in built.stderr
    (tmp_path / "Dockerfile").write_text("FROM box\nRUN wget -q -O- http://127.0.0.1:9/ || exit 42\n")
    failed = machine("build", "--isolation", "machine", str(tmp_path), code=None)
    assert failed.returncode and b"exit code: 42" in failed.stderr


@pytest.mark.parametrize(
    ("line", "words", "told"),
    [
        ("RUN --mount=type=ssh true", [], "--mount=type=ssh is not possible with --isolation machine"),
        ("RUN true", ["--network", "host"], "--isolation machine: --network"),
        ("RUN true", ["--kernel", "9.9"], "no such kernel for amd64: 9.9"),
    ],
)
def test_refused(machine: Installation, tmp_path: Path, line: str, words: list[str], told: str) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM box\n{line}\n")
    failed = machine("build", "--isolation", "machine", *words, str(tmp_path), code=None)
    assert failed.returncode and told in failed.stderr.decode()


def test_options_that_need_each_other(ul: Installation, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM box\n")
    for words, told in (
        (["--kernel", "6"], "--kernel needs --isolation machine"),
        (["--isolation", "x"], "not supported"),
    ):
        failed = ul("build", *words, str(tmp_path), code=None)
        assert failed.returncode and told in failed.stderr.decode()
