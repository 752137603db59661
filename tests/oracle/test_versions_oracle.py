"""The orders of versions against the programs whose orders they are."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from archives import shared
from underlay.packages import versions

pytestmark = pytest.mark.oracle
PAIRS = 600


def pairs(words: list[str], made: list[str]) -> list[tuple[str, str]]:
    """All pairs of some chosen versions that are close to each other, and pairs of versions made by chance."""
    chance = random.Random(4)
    return list(itertools.product(words, words)) + [(chance.choice(made), chance.choice(made)) for _ in range(PAIRS)]


def made(pieces: list[str], most: int, first: list[str]) -> list[str]:
    chance = random.Random(7)
    return [chance.choice(first) + "".join(chance.choices(pieces, k=chance.randint(0, most))) for _ in range(200)]


DPKG = "1.0 1.0~rc1 1.0~~ 1.0~ 1.0-0 1.0-1 1:0.1 0:1.0 1.0+b1 1.0a 1.0. 1.00 1.0-1.1 1.0-1+deb8u9 1.0-1+deb8u10".split()
RPM = (
    "1.0-1 1.0~rc1-1 1.0^git1-1 1.0^-1 1.0.1-1 1:0.1-1 1.0a-1 1.0-1.el8 1.0-1.el8_10 1.00-1 1.0.-1 1_0-1 1.a-1".split()
)
APK = """1.0 1.0_rc1 1.0_rc 1.0_alpha 1.0_p1 1.0_git20200101 1.0-r0 1.0-r1 1.0-r10 1.0a 1.0b-r1 1.01 1.1 1.010 1.10 1.0.0
1.0_pre2 1.0_beta_p1 1.0_p0 1.0_cvs 1.0_hg3 1.00 1.0.1 2 10""".split()


def test_dpkg() -> None:
    program = shutil.which("dpkg")
    if program is None:
        pytest.skip("no dpkg here")
    first = ["0", "1", "1.2", "2:1", "10"]
    for left, right in pairs(DPKG, made([".", "~", "+", "a", "z", "B", "0", "1", "9", "-1", "-0"], 5, first))[::3]:
        for relation, wanted in (("lt", -1), ("eq", 0)):
            done = subprocess.run([program, "--compare-versions", left, relation, right], stderr=subprocess.DEVNULL)
            assert (done.returncode == 0) == (versions.compare("dpkg", left, right) == wanted), (left, relation, right)


def test_rpm() -> None:
    program = shutil.which("rpm")
    if program is None:
        pytest.skip("no rpm here")
    found = pairs(
        RPM, made([".", "~", "^", "a", "z", "0", "1", "9", "_", "+", "00"], 5, ["0", "1", "1.2", "2:1", "10"])
    )
    script = "".join(f'print(rpm.vercmp("{left}", "{right}") .. "\\n")\n' for left, right in found)
    done = subprocess.run([program, "--eval", "%{lua:" + script + "}"], capture_output=True, text=True, check=True)
    for (left, right), told in zip(found, done.stdout.split(), strict=True):
        assert versions.compare("rpm", left, right) == int(told), (left, right)


@pytest.mark.root
@pytest.mark.parametrize("release", ["20240923", "3.20.3"])
def test_apk(tmp_path: Path, release: str) -> None:
    if os.geteuid():
        pytest.skip("chroot needs root")
    with tarfile.open(shared("alpine") / f"alpine-minirootfs-{release}-x86_64.tar.gz") as tar:
        tar.extractall(tmp_path, filter="fully_trusted")
    pieces = [".0", ".1", ".10", ".05", ".5"]
    tails = [
        "",
        "a",
        "b",
        "_rc1",
        "_rc",
        "_alpha2",
        "_p1",
        "_p2",
        "_git20240101",
        "_beta1_p2",
        "-r0",
        "-r1",
        "-r12",
        "_p1-r3",
    ]
    chance = random.Random(3)
    words = [each + chance.choice(tails) for each in made(pieces, 3, ["0", "1", "3", "12"])]
    found = pairs(APK, words)
    # One process for each pair takes a while: the program takes two versions only.
    script = "".join(f"/sbin/apk version -t {left} {right}\n" for left, right in found)
    done = subprocess.run(
        ["chroot", str(tmp_path), "/bin/sh"], input=script, capture_output=True, text=True, check=True
    )
    for (left, right), told in zip(found, done.stdout.split(), strict=True):
        assert versions.compare("apk", left, right) == {"<": -1, "=": 0, ">": 1}[told], (left, told, right)


def test_python() -> None:
    packaging = pytest.importorskip("packaging.version")
    words = """1.0 1.0.0 1 1.0a1 1.0.alpha-1 1.0b2 1.0rc1 1.0c1 1.0.dev1 1.0a1.dev3 1.0.post1 1.0-1 1.0.post1.dev2 1!0.1
    1.0+local 1.0+local.1 1.0+1 1.0+a.b 1.0.0.1 v1.0 1.0preview2 1.0r4 1.0RC1 2015.04.28 2015.4.28""".split()
    assert sorted(words, key=packaging.Version) == sorted(words, key=lambda word: versions.key("pep440", word))
    for left, right in itertools.product(words, words):
        one, other = packaging.Version(left), packaging.Version(right)
        assert versions.compare("pep440", left, right) == (one > other) - (one < other), (left, right)


MAVEN = """1 1.0 1-alpha 1a2 1-beta-1 1-rc 1-cr 1-SNAPSHOT 1-ga 1.final 1-sp 1-foo 1-1 1.1 2.0.1-jre 31.1-android 1.0.Final
2.9.10.8 1.0-beta.2 5.3.0-b01""".split()
GEMS = "1 1.0 1.0.0 1.a 1.0.b2 1.0.0.rc1 1.0.1 1.10 2.0.0.pre 2.0.0.pre.1 0.9.9 1.0.0-x".split()
NUGET = "1.0 1.0.0-alpha 1.0.0-Beta 1.0.0.1 1.0.1 1.10 2.0.0-rc.1 2.0.0-rc.2".split()


@pytest.mark.parametrize(
    ("order", "words", "pieces"),
    [
        ("maven", MAVEN, [".1", ".0", "-1", "-alpha", "-beta", "-rc", "-sp", ".10", "-x"]),
        ("gem", GEMS, [".1", ".0", ".a", ".rc1", ".10", ".b"]),
        ("nuget", NUGET, [".1", ".0"]),
    ],
)
def test_those_of_languages(order: str, words: list[str], pieces: list[str]) -> None:
    univers = pytest.importorskip("univers.versions", reason="the package univers is not installed")
    # It has Maven's order of before version 3.9 (MNG-7644), so there are no words behind dots here.
    kind = {
        "maven": univers.MavenVersion,
        "gem": univers.RubygemsVersion,
        "nuget": univers.NugetVersion,
    }[order]
    for left, right in pairs(words, made(pieces, 3 if order != "nuget" else 2, ["1", "1.2", "10"])):
        one, other = kind(left), kind(right)
        assert versions.compare(order, left, right) == (one > other) - (one < other), (left, right)
