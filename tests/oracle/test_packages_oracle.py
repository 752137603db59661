"""Packages of real systems against the programs that installed them, and advisories against those compared by dpkg."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from archives import SHARED, shared
from packagedatabases import DirectoryFiles, MemoryFiles, berkeley_database
from underlay.base.advisories import Advisories, import_path, vulnerabilities
from underlay.packages import rpm
from underlay.packages.installed import Inventory, installed
from underlay.packages.model import Package

pytestmark = pytest.mark.oracle


def test_packages_of_this_host() -> None:
    program = shutil.which("dpkg-query")
    if program is None:
        pytest.skip("no dpkg-query here")
    form = "${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
    out = subprocess.run([program, "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    told = {tuple(line.split("\t")[1:]) for line in out.splitlines() if line.startswith("installed\t")}
    found = installed(DirectoryFiles("/"), languages=False)
    assert told == {
        (each.name, each.version, each.architecture, each.origin, each.origin_version)
        for each in found.packages
        if each.kind == "deb"
    }


@pytest.mark.root
@pytest.mark.parametrize("release", ["3.10.9", "3.15.11", "3.18.9", "3.20.3", "20240923"])
def test_packages_of_alpine(tmp_path: Path, release: str) -> None:
    if os.geteuid():
        pytest.skip("chroot needs root")
    with tarfile.open(shared("alpine") / f"alpine-minirootfs-{release}-x86_64.tar.gz") as tar:
        tar.extractall(tmp_path, filter="fully_trusted")
    command = ["chroot", str(tmp_path), "/sbin/apk", "info", "-v"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    found = installed(DirectoryFiles(tmp_path))
    assert sorted(told) == sorted(f"{each.name}-{each.version}" for each in found.packages)
    assert found.problems == [] and found.release["ID"] == "alpine"


SPECIFICATION = """Name: src-thing
Version: 1.2
Release: 3
Epoch: 2
Summary: x
License: MIT
BuildArch: noarch
%description
x
%package -n other
Summary: y
Version: 9.9~rc1
%description -n other
y
%install
mkdir -p %{buildroot}/usr/share/thing %{buildroot}/usr/share/other
touch %{buildroot}/usr/share/thing/a %{buildroot}/usr/share/other/b
%files
/usr/share/thing
%files -n other
/usr/share/other
"""


@pytest.mark.root
@pytest.mark.parametrize("form", ["sqlite", "ndb", "berkeley"])
def test_packages_of_rpm(tmp_path: Path, form: str) -> None:
    if shutil.which("rpmbuild") is None:
        pytest.skip("no rpmbuild here")
    if os.geteuid():
        pytest.skip("a root of its own needs root")
    (tmp_path / "s.spec").write_text(SPECIFICATION)
    build = ["rpmbuild", "-bb", "--define", f"_topdir {tmp_path}/top", str(tmp_path / "s.spec")]
    subprocess.run(build, capture_output=True, check=True)
    packages = sorted(str(path) for path in (tmp_path / "top" / "RPMS" / "noarch").iterdir())
    backend = "sqlite" if form == "berkeley" else form
    options = ["rpm", "--root", str(tmp_path / "root"), "--define", f"_db_backend {backend}"]
    subprocess.run([*options, "--nodeps", "-i", *packages], capture_output=True, check=True)
    files = DirectoryFiles(tmp_path / "root")
    if form == "berkeley":
        # This rpm only reads that form: the headers of the other go into a hash that Berkeley DB's own program makes.
        headers = list(rpm.headers(files) or ())
        (tmp_path / "old").mkdir()
        data = berkeley_database(tmp_path / "old" / "Packages", headers)
        options = ["rpm", "--dbpath", str(tmp_path / "old"), "--define", "_db_backend bdb_ro"]
        found = rpm.read(MemoryFiles({"var/lib/rpm/Packages": data}))
    else:
        found = rpm.read(files)
    form_of = "%{NAME}\t%{EPOCH}:%{VERSION}-%{RELEASE}\t%{ARCH}\t%{LICENSE}\t%{SOURCERPM}\n"
    out = subprocess.run([*options, "-qa", "--qf", form_of], capture_output=True, text=True, check=True).stdout
    assert found is not None and found.skipped == 0 and out.count("\n") == 2
    assert sorted(out.splitlines()) == sorted(
        "\t".join(
            (
                each.name,
                each.version,
                each.architecture,
                each.licence,
                f"{each.origin}-{each.origin_version[2:]}.src.rpm",
            )
        )
        for each in found.packages
    )


def test_advisories_of_debian(tmp_path: Path) -> None:
    data, corpus = SHARED / "data" / "osv", SHARED / "corpus" / "packages.jsonl"
    if not data.exists() or not corpus.exists():
        pytest.skip(f"advisories and lists of packages are not here: {data}, {corpus}")
    wanted = json.loads((data / "expected-debian.json").read_text())["images"]
    lists = {}
    with corpus.open() as lines:
        for line in lines:
            entry = json.loads(line)
            lists[entry["config_digest"]] = entry["dpkg"]
    with Advisories(str(tmp_path)) as store:
        told = import_path(store, str(data / "debian.jsonl"))
        assert (told.read, told.broken, told.others) == (474, 0, 0)
        for name, expected in wanted.items():
            packages = []
            for source, binaries in lists[expected["config_digest"]]:
                origin, _, origin_version = source.partition("=")
                for binary in binaries:
                    full, _, version = binary.partition("=")
                    short, _, architecture = full.partition(":")
                    packages.append(Package("deb", short, version, architecture, origin, origin_version))
            assert len({package.origin for package in packages}) == expected["source_packages"]
            release = {"ID": "debian", "VERSION_ID": expected["ecosystem"].partition(":")[2]}
            report = vulnerabilities.match(Inventory(packages, release, []), store)
            keys = ("advisory", "source", "installed", "fixed", "published")
            assert report.notices() == sorted(tuple(each[key] for key in keys) for each in expected["advisories"]), name
            assert report.gaps == []


def test_every_record_at_hand_is_understood(tmp_path: Path) -> None:
    data = SHARED / "data" / "osv"
    if not data.exists():
        pytest.skip(f"advisories are not here: {data}")
    with Advisories(str(tmp_path)) as store:
        for path in sorted(data.glob("*.jsonl")):
            told = import_path(store, str(path))
            assert told.broken == told.others == 0, path
        packages = [
            Package("deb", "libssl1.0.0", "1.0.2g-1ubuntu4.6", "amd64", "openssl"),
            Package("pypi", "urllib3", "1.26.0", path="x"),
            Package("apk", "libcurl", "7.60.0-r0", "x86_64", "curl"),
            Package("rpm", "libxml2", "2.9.13-1.el9", "x86_64"),
        ]
        for distribution, version, kind in (
            ("ubuntu", "16.04", "deb"),
            ("alpine", "3.8.0", "apk"),
            ("almalinux", "9.3", "rpm"),
        ):
            mine = [each for each in packages if each.kind in (kind, "pypi")]
            inventory = Inventory(mine, {"ID": distribution, "VERSION_ID": version}, [])
            report = vulnerabilities.match(inventory, store)
            assert {each.kind for each in report.findings} == {kind, "pypi"} and report.gaps == []
