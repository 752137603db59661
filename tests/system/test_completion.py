"""Completion: what is offered, and that the shells' own machinery gets it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines import Installation, image_tar, needs_root

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with containers in several states, an image, a network and a volume."""
    needs_root()
    made = Installation(tmp_path_factory.mktemp("completion"))
    made("import", "-", "box:one", input=image_tar())
    made("tag", "box:one", "registry.example.com:5000/team/box:two")
    made("volume", "create", "some-volume")
    made("network", "create", "some-network")
    made.start("--name", "runs", "box:one", "sleep", "600")
    made("create", "--network", "none", "--name", "waits", "box:one", "true")
    yield made
    made.clean()


def offered(shop: Installation, line: str) -> tuple[list[str], str]:
    """Return the words that are offered at the end of a line, and what the shell is to offer besides."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    *found, more = shop.out("__complete", *words).split("\n")
    return [each.partition("\t")[0] for each in found], more


@pytest.mark.parametrize(
    ("line", "words", "more"),
    [
        ("stop ", ["runs"], ":nothing"),
        ("start ", ["waits"], ":nothing"),
        ("rm ", ["runs", "waits"], ":nothing"),
        ("rm runs ", ["waits"], ":nothing"),
        ("container rm -f w", ["waits"], ":nothing"),
        ("exec ", ["runs"], ":nothing"),
        ("exec runs ", [], ":files"),
        ("exec -it runs ", [], ":files"),
        ("exec -e ", [], ":nothing"),
        ("run -it --rm b", ["box:one"], ":nothing"),
        ("run --name box b", ["box:one"], ":nothing"),
        ("run box:one --na", [], ":files"),
        ("run --network some", ["some-network"], ":nothing"),
        ("run --network=some", ["--network=some-network"], ":nothing"),
        ("run --pull ", ["always", "missing", "never"], ":nothing"),
        ("run --health-s", ["--health-start-interval", "--health-start-period"], ":nothing"),
        ("run --env-file ", [], ":files"),
        ("rmi ", ["box:one", "registry.example.com:5000/team/box:two"], ":nothing"),
        ("volume rm ", ["some-volume"], ":nothing"),
        ("network conn", ["connect"], ":nothing"),
        ("network connect some-network ", ["runs", "waits"], ":nothing"),
        ("cp r", ["runs:", "registry.example.com:5000/team/box:two"][:1], ":files"),
        ("history box:one ", [], ":nothing"),
        ("base index ", None, ":nothing"),
        ("imag", ["image", "images"], ":nothing"),
        ("--ro", ["--root"], ":nothing"),
        ("--root ", [], ":directories"),
        ("nothing like that ", [], ":nothing"),
    ],
)
def test_what_is_offered(shop: Installation, line: str, words: list[str] | None, more: str) -> None:
    found, besides = offered(shop, line)
    assert besides == more
    if words is None:
        assert {"add", "ls", "update"} <= set(found)
    else:
        assert found == words


def test_nothing_is_made_where_nothing_is(shop: Installation, tmp_path: Path) -> None:
    assert offered(shop, f"--root {tmp_path}/none --state {tmp_path}/state stop ") == ([], ":nothing")
    assert list(tmp_path.iterdir()) == []


def _environment(shop: Installation, tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `underlay` is the command under test."""
    command = tmp_path / "underlay"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(shop.command)} "$@"\n')
    command.chmod(0o755)
    return {**shop.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["stop", ""], "runs"),
        (["rmi", "registry.example.com"], "registry.example.com:5000/team/box:two"),
        (["imag"], "image images"),
    ],
)
def test_bash(shop: Installation, tmp_path: Path, words: list[str], found: str) -> None:
    script = tmp_path / "completion"
    script.write_text(shop.out("completion", "bash") + "\n")
    line = f"COMP_WORDS=(underlay {shlex.join(words)}); COMP_CWORD={len(words)}; _underlay; echo ${{COMPREPLY[*]}}"
    # Outside of a completion compopt only complains.
    done = subprocess.run(
        ["bash", "--norc", "-c", f". {script}; IFS=' '; {line}"],
        env=_environment(shop, tmp_path),
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == found.split(), done.stderr


def test_fish(shop: Installation, tmp_path: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("no fish")
    script = tmp_path / "completion"
    script.write_text(shop.out("completion", "fish") + "\n")
    command = f"source {script}; complete -C 'underlay stop '"
    done = subprocess.run(["fish", "-c", command], env=_environment(shop, tmp_path), capture_output=True, text=True)
    assert done.stdout.startswith("runs\t"), done.stderr


def test_zsh(shop: Installation, tmp_path: Path) -> None:
    """In a terminal of its own: zsh completes nowhere else."""
    if not shutil.which("zsh"):
        pytest.skip("no zsh")
    import pty

    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "_underlay").write_text(shop.out("completion", "zsh") + "\n")
    (tmp_path / ".zshrc").write_text("fpath=(~/functions $fpath); autoload -U compinit; compinit -u; PS1='> '\n")
    environment = {**_environment(shop, tmp_path), "TERM": "xterm"}
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-i"], environment)
    seen = b""
    try:
        os.set_blocking(fd, False)
        sent = False
        deadline = time.monotonic() + 30
        while b"stop runs" not in seen and time.monotonic() < deadline:
            try:
                seen += os.read(fd, 1 << 16)
            except BlockingIOError:
                time.sleep(0.05)
            if b"> " in seen and not sent:
                os.write(fd, b"underlay stop r\t")
                sent = True
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)
    assert b"stop runs" in seen


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_installed_for_a_user(shop: Installation, tmp_path: Path, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from underlay.cli.completion import scripts

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert scripts.place(shell).startswith(f"{tmp_path}/.")


def test_no_other_shells(shop: Installation) -> None:
    assert b"shells: bash, zsh, fish" in shop("completion", "csh", code=1).stderr
