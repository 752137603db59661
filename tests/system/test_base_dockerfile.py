"""Images built, told as Dockerfiles with what was copied, and built again from those: the same trees and configurations.

Of times those are compared that the builder has not made: what RUN writes, and directories that are made on the way, have
the time of the build, and two builds cannot agree on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildcorpus import CASES
from buildcorpus.cases import Case
from engines import Installation
from roundtrips import FAILS, UNTOLD, Forge, again, differences

pytestmark = pytest.mark.root
BEGUN = int(time.time()) - 1
# What a Dockerfile says to be in doubt, though the image is the same: how often.
IN_DOUBT = {
    "heredocs in RUN": 2,  # a script that is lost, an exec form
    "strange json": 1,  # an exec form
    "forms": 1,  # an exec form
    "shell": 1,  # the words of SHELL
    "entrypoint over a base's command": 1,  # the base has dropped the command, but no step sets it
    "labels": 3,  # of the command line
}
BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module")
def forge(ul: Installation) -> Iterator[Forge]:
    made = Forge(ul)
    yield made
    made.close()


def built(forge: Forge, case: Case, place: Path, *words: str) -> None:
    """Build a case as the image `first`, and to `place`/first.tar."""
    context, given = case.write(place / "first")
    for name, text in case.before.items():
        (place / "Before").write_text(text)
        forge(place, "build", "-t", name, "-f", str(place / "Before"), str(context))
    outputs = ("-o", "type=image", "-o", f"type=docker,dest={place}/first.tar")
    forge(place, "build", "-t", "first", *outputs, *given, *words, str(context))


def compare(place: Path, *told: str) -> set[str]:
    """Return the places in which the images of first.tar and again.tar differ."""
    found = differences(place / "first.tar", place / "again.tar", BEGUN)
    if found:
        print("\n".join(map(str, [*found, *told])))
    return {each.place for each in found}


def below(case: Case) -> str:
    """Return the base that the last stage of a case stands on."""
    return "scratch" if re.findall(r"(?m)^FROM (\S+)", case.dockerfile)[-1:] == ["scratch"] else "box"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name.replace(" ", "-")) for case in CASES])
def test_built_again(case: Case, forge: Forge, tmp_path: Path) -> None:
    built(forge, case, tmp_path)
    if case.name not in UNTOLD:
        told = again(forge, "first", below(case), tmp_path)
        assert compare(tmp_path, told) == set()
        assert told.count("# in doubt: ") == IN_DOUBT.get(case.name, 0), told
        return
    _, places = UNTOLD[case.name]
    (tmp_path / "run").mkdir()
    code = 1 if places == FAILS else 0
    told = again(forge, "first", below(case), tmp_path / "run", code=code)
    if places != FAILS:
        (tmp_path / "run/again.tar").rename(tmp_path / "again.tar")
        assert compare(tmp_path, told) == places
    told = again(forge, "first", below(case), tmp_path, "--frozen")
    assert compare(tmp_path, told) == set()


@pytest.mark.parametrize("name", ["deletions", "opaque directories", "users"])
def test_built_again_without_running_anything(name: str, forge: Forge, tmp_path: Path) -> None:
    built(forge, BY_NAME[name], tmp_path)
    told = again(forge, "first", "box", tmp_path, "--frozen")
    assert not [line for line in told.split("\n") if line.startswith("RUN ") and '"rm"' not in line]
    assert compare(tmp_path, told) == set()


@pytest.mark.parametrize("name", ["deletions", "copy directories", "everything of a base"])
def test_squashed_images(name: str, forge: Forge, tmp_path: Path) -> None:
    built(forge, BY_NAME[name], tmp_path, "--squash")
    told = again(forge, "first", "box", tmp_path)
    assert compare(tmp_path, told) == set()


def test_a_base_with_triggers_is_not_asked_for_them_again(forge: Forge, tmp_path: Path) -> None:
    built(forge, BY_NAME["triggers"], tmp_path)
    told = again(forge, "first", "parent-onbuild", tmp_path)
    assert "FROM scratch\nCOPY --from=parent-onbuild / /\n" in told
    assert compare(tmp_path, told) == set()


def test_what_is_said(ul: Installation, forge: Forge, tmp_path: Path) -> None:
    built(forge, BY_NAME["users"], tmp_path)
    told = ul("base", "dockerfile", "--base", "box", "first")
    assert told.stdout.startswith(b"FROM box\nUSER alice\n")
    assert b"\nWORKDIR /made\n" in told.stdout
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    for place, words in ((tmp_path / "full", b"is not empty"), (tmp_path / "full/file", b"is not a directory")):
        refused = ul("base", "dockerfile", "--base", "box", "--extract", str(place), "first", code=1)
        assert words in refused.stderr and refused.stderr.count(b"\n") <= 2
    assert b"--extract" in ul("base", "dockerfile", "--base", "box", "--frozen", "first", code=1).stderr
    assert ul.out("base", "dockerfile", "--base", "box", "-f", "{{(index .lines 1).text}}", "first") == "USER alice"
