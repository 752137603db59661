"""Short command lines, one after the other, with docker's client and daemon, with ours, and with docker's client and our
server: exit codes and what they print.

`command_lines.txt` has them; behind `##` stands why one differs. Ids, times and names of programs aside, standard output
must be the same, and both must say something on standard error, or nothing.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import apiserver
import dockerdaemon
from engines import REPOSITORY, Installation, image_tar, needs_root

pytestmark = pytest.mark.root
LINES = Path(__file__).with_name("command_lines.txt")

# What docker warns of where the host forwards nothing.
UNFORWARDED = r"(?m)^(WARNING: )?IPv4 forwarding is disabled.*\n"

# Lines that differ for docker's client alone, by how they begin.
ONLY_BY_SOCKET = (
    'volume inspect -f "{{.Name}} {{.Driver}} {{.Scope}} {{json .Labels}} {{json .Options}}" vol2',
)  # no null

Said = tuple[int, str, bool]  # exit code, standard output, whether there was anything on standard error


def lines() -> list[tuple[str, str]]:
    """Return each command line, and the reason why it differs ("" where it must not)."""
    texts = [text for text in LINES.read_text().splitlines() if text and not text.startswith("# ")]
    return [(text.partition(" ## ")[0], text.partition(" ## ")[2]) for text in texts]


def normal(text: str) -> str:
    """Return a text without what differs from run to run."""
    for pattern, word in (
        (r"sha256:[0-9a-f]{64}", "DIGEST"),
        (r"\b[0-9a-f]{64}\b", "ID"),
        (r"\b[0-9a-f]{12}\b", "SHORT"),
        (r"\d{4}-\d\d-\d\d[T ][\d:.]+( ?[+-]\d\d:?\d\d|Z)", "TIME"),
        (r"(Less than a second|About a minute|\d+ seconds?|\d+ minutes?)( ago)?", "AGO"),
        (r"\b[Uu]nderlay\b|\bDocker\b", "docker"),
        (r"  +", "  "),
    ):
        text = re.sub(pattern, word, text)
    return text


def said(command: list[str], environment: dict[str, str], place: Path, tries: int = 1) -> list[Said]:
    """Return what each line said; one that runs and removes a container is tried again when it printed nothing."""
    answers = []
    for line, _ in lines():
        words = [word.replace("CIDFILE", f"{place}/cid").replace("NOWHERE", f"{place}/x") for word in shlex.split(line)]
        for _ in range(tries if line.startswith("run --rm ") else 1):
            (place / "cid").unlink(missing_ok=True)
            done = subprocess.run(
                [*command, *words], stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=60
            )
            if done.stdout or done.stderr or done.returncode:
                break
        output = normal(re.sub(UNFORWARDED, "", done.stdout.decode("utf-8", "replace")))
        if line.startswith("top "):
            output = re.sub(r"\d+", "N", output)
        problems = re.sub(UNFORWARDED, "", done.stderr.decode("utf-8", "replace"))
        answers.append((done.returncode, output.replace(str(place), "PLACE"), bool(problems)))
    return answers


def answers_of_ours(tmp_path: Path, tar: Path, place: Path, by_socket: bool) -> list[Said]:
    """Return what our command line says or, by our socket, docker's."""
    ul = Installation(place)
    work = Path(tempfile.mkdtemp(prefix="dk"))
    environment = {**ul.environment, "DOCKER_CONFIG": str(tmp_path / "config")}
    try:
        ul("import", str(tar), "box")
        if not by_socket:
            return said(ul.command, environment, work)
        with apiserver.serving(ul, work / "sock") as address:
            return said(["docker"], {**environment, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "0"}, work, tries=3)
    finally:
        ul.clean()
        shutil.rmtree(work, ignore_errors=True)


@pytest.mark.timeout(900)
def test_the_same_lines_do_the_same(tmp_path: Path) -> None:
    needs_root()
    if not shutil.which("docker"):
        pytest.skip("no docker")
    tar = tmp_path / "box.tar"
    tar.write_bytes(image_tar())
    place = Path(tempfile.mkdtemp(prefix="dk"))
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path / "config")}
    try:
        with dockerdaemon.running(place, "--storage-driver=vfs") as address:
            theirs_environment = {**environment, "DOCKER_HOST": address}
            subprocess.run(["docker", "import", tar, "box"], env=theirs_environment, check=True, capture_output=True)
            try:
                # Under load its client may miss what a short-lived container writes.
                theirs = said(["docker"], theirs_environment, place, tries=3)
            finally:
                ids = subprocess.run(["docker", "ps", "-aq"], env=theirs_environment, capture_output=True, text=True)
                subprocess.run(["docker", "rm", "-f", *ids.stdout.split()], env=theirs_environment, capture_output=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    ours = answers_of_ours(tmp_path, tar, tmp_path / "ours", by_socket=False)
    by_socket = answers_of_ours(tmp_path, tar, tmp_path / "served", by_socket=True)
    unexpected, needless = [], []
    for (line, reason), their, our in zip(lines(), theirs, ours, strict=True):
        if their != our and not reason:
            unexpected.append(f"{line}\n  docker:   {their}\n  underlay: {our}")
        if their == our and reason:
            needless.append(line)
    for (line, reason), their, our in zip(lines(), theirs, by_socket, strict=True):
        if their != our and not reason and not any(line.startswith(begin) for begin in ONLY_BY_SOCKET):
            unexpected.append(f"{line}\n  docker:    {their}\n  by socket: {our}")
    assert not unexpected, "\n".join(unexpected)
    assert not needless, needless
    assert len(ours) > 400


def test_the_table_of_commands_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is made with docker's client of Debian's stable release."""
    if not shutil.which("docker"):
        pytest.skip("no docker")
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    import make_docker_commands as maker

    version = maker.client_version()
    if f"client {version}, by" not in maker.PAGE.read_text(encoding="utf-8"):
        pytest.skip(f"the page was made with another version than {version}")
    assert maker.page(maker.docker_tree(), version) == maker.PAGE.read_text(encoding="utf-8")
