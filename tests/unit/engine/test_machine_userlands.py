"""Interpreters for other processors: what is taken of packages, what is refused, and how they come with a kernel."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import aptprograms
from kernelfiles import CONFIG, arm_image, kernel_package, package
from underlay.engine.containers.records import confinement, execution
from underlay.engine.containers.specification import machine, seccomp_profile
from underlay.engine.machines import Machines, fetching, importing, kernels, userlands
from underlay.errors import Corrupt, InvalidInput, NotFound, UnderlayError, Unsupported
from underlay.linux.security import seccomp
from underlay.oci import platform as platforms
from underlay.paths import Paths
from underlay.store.store import Store
from userlandfiles import LOADER, library, python_files, python_package

VERSION = "3.13.5-2+deb13u5"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The paths of a new store."""
    made = Paths(f"{tmp_path}/root", f"{tmp_path}/state")
    made.make()
    return made


def make(paths: Paths, *packages: bytes, version: str = VERSION) -> str:
    files = []
    for number, data in enumerate(packages):
        files.append(f"{Path(paths.root).parent}/p{number}.deb")
        Path(files[-1]).write_bytes(data)
    return userlands.make(paths, "arm64", version, files)


def record_of(place: str) -> Any:
    return json.loads(Path(place, "userland.json").read_text())


def test_what_is_taken_of_packages(paths: Paths) -> None:
    files = python_files()
    halves = [dict(list(files.items())[::2]), dict(list(files.items())[1::2])]
    place = make(paths, *map(package, halves))
    assert place == f"{paths.root}/userlands/arm64" == userlands.find(paths, "arm64")
    record = record_of(place)
    assert (record["python"], record["tag"], record["interpreter"]) == ("3.13", "cpython-313", LOADER)
    assert record["packages"] == ["p0.deb", "p1.deb"] and record["version"] == VERSION
    assert record["modules"] == ["encodings/__init__.py", "encodings/utf_8.py", "os.py", "unused.py"]
    assert record["libraries"] == ["libm.so.6", "libc.so.6"]
    # A library that is not there is known to be missing; those that nothing needs are left out.
    assert record["extensions"]["_ssl"] == ["libssl.so.3", "libc.so.6"]
    assert sorted(record["extensions"]) == ["_ctypes", "_ssl", "resource", "termios"]
    assert sorted(record["needs"]) == ["ld-linux-aarch64.so.1", "libc.so.6", "libffi.so.8", "libm.so.6"]
    there = sorted(os.path.relpath(f"{above}/{name}", place) for above, _, names in os.walk(place) for name in names)
    assert there == sorted(
        [
            *("python", "userland.json"),
            *(f"modules/{name}" for name in record["modules"]),
            *(f"extensions/{name}.so" for name in record["extensions"]),
            *(f"libraries/{name}" for name in record["needs"]),
        ]
    )
    assert Path(place, "modules/os.py").read_bytes() == files["./usr/lib/python3.13/os.py"]
    # Nothing of it can be run by mistake, and nothing is left.
    assert not any(os.stat(f"{place}/{name}").st_mode & 0o111 for name in there) and not os.listdir(paths.temporary)


def test_a_newer_one_takes_the_place_of_the_older(paths: Paths) -> None:
    assert not userlands.version_of(paths, "arm64")
    with pytest.raises(NotFound, match="no userland for machines of arm64") as caught:
        userlands.find(paths, "arm64")
    assert "machine kernel fetch --platform linux/arm64" in caught.value.hint
    make(paths, python_package())
    assert userlands.version_of(paths, "arm64") == VERSION
    newer = make(paths, python_package(unused=b"new"), version="3.13.5-10")
    assert userlands.version_of(paths, "arm64") == "3.13.5-10" and userlands.find(paths, "arm64") == newer
    assert make(paths, python_package(unused=b"newer"), version="3.13.5-10") == newer
    assert Path(newer, "modules/unused.py").read_bytes() == b"newer"
    assert os.listdir(f"{paths.root}/userlands") == ["arm64"] and os.listdir(paths.temporary) == []
    # It goes with the last kernel for its architecture.
    store = Store(paths)
    for release in ("9.1.0-arm64", "9.2.0-arm64"):
        add_arm_kernel(paths, release)
    Machines(store).remove_kernel("9.1.0-arm64")
    assert userlands.version_of(paths, "arm64") == "3.13.5-10"
    Machines(store).remove_kernel("9.2.0-arm64")
    assert not os.listdir(f"{paths.root}/userlands")


@pytest.mark.parametrize("text", ["", "{", '{"format": 2, "version": "1"}'])
def test_one_that_cannot_be_used_is_not_there(paths: Paths, text: str) -> None:
    place = make(paths, python_package())
    Path(place, "userland.json").write_text(text)
    assert userlands.version_of(paths, "arm64") == ""
    with pytest.raises(NotFound, match="no userland"):
        userlands.find(paths, "arm64")
    assert make(paths, python_package()) == place == userlands.find(paths, "arm64")


def arm_kernel(release: str) -> bytes:
    config = CONFIG.replace("x86", "arm64").replace("=m", "=y").encode()
    return package({f"boot/vmlinuz-{release}": arm_image(release), f"boot/config-{release}": config})


def add_arm_kernel(paths: Paths, release: str) -> None:
    file = Path(paths.root).parent / "kernel.deb"
    file.write_bytes(arm_kernel(release))
    importing.import_file(paths, str(file))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (package({"./a": b""}), "an interpreter is missing"),
        (python_package(os=None), "its modules is missing"),
        (python_package(_ctypes=None), "the module _ctypes is missing"),
        (python_package(python3=library(interpreter=LOADER, machine=62)), "is no program or library for arm64"),
        (python_package(libffi=library("libffi.so.8", machine=62)), "is no program or library for arm64"),
        (python_package(termios=b"text"), "termios is no program or library for arm64"),
        (python_package(python3=library(interpreter="/etc/../x")), "lack the dynamic loader: '/etc/../x'"),
        (python_package(ld_linux_aarch64=None), "lack the dynamic loader"),
        (package(python_files() | {"./usr/bin/python3.12": library(interpreter=LOADER)}), "of several versions"),
        (python_package()[:-100], "the package is damaged"),
    ],
)
def test_what_is_refused(paths: Paths, data: bytes, words: str) -> None:
    with pytest.raises((InvalidInput, Corrupt), match=words):
        make(paths, data)
    assert not os.path.exists(f"{paths.root}/userlands") and os.listdir(paths.temporary) == []


def test_a_python_that_is_too_old(paths: Paths) -> None:
    old = {
        path.replace("3.13", "3.9").replace("cpython-313", "cpython-39"): data for path, data in python_files().items()
    }
    with pytest.raises(Unsupported, match=r"machines need Python 3\.11, the packages have 3\.9"):
        make(paths, package(old))


def test_hostile_names(paths: Paths) -> None:
    hostile = {
        "./usr/lib/python3.13/../../../../../../escaped.py": b"x",
        "./usr/lib/python3.13/a/../../escaped.py": b"x",
        "./usr/lib/python3.13/.hidden.py": b"x",
        "./usr/lib/aarch64-linux-gnu/..so": library(),
        "./usr/lib/aarch64-linux-gnu/libx.so.1": library("../../../libx.so.1", []),
        "/etc/escaped.so": library(),
    }
    python = library("", ["libx.so.1", "../../etc/passwd"], interpreter=LOADER)
    place = make(paths, package({**python_files(), **hostile, "./usr/bin/python3.13": python}))
    found = [name for _, _, names in os.walk(Path(paths.root).parent) for name in names]
    assert not any("escaped" in name or name.startswith(".") for name in found)
    # What a library says of its name becomes no path; what is needed by a strange one is not there.
    assert "libx.so.1" in os.listdir(f"{place}/libraries") and "../../etc/passwd" not in record_of(place)["needs"]


APT_CACHE = """#!/bin/sh
echo "cache $@" >> "$LOG"
for last; do :; done
case "$last" in
linux-image-cloud-arm64) echo "Depends: linux-image-9.1.0-arm64";;
linux-image-9.1.0-arm64) echo "Package: x";;
linux-image-9.1.0-amd64) echo "Package: x";;
python3-minimal) echo "Depends: dpkg, python3.13-minimal (>= 3.13.5-1~)";;
python3.13-minimal)
  printf 'Version: 1:3.13.5-2\\nDepends: libpython3.13-minimal, libexpat1 (>= 2), adduser\\nPre-Depends: libc6\\n';;
libpython3.13-minimal) echo "Depends: libc6 (>= 2.17), libssl3t64";;
libpython3.13-stdlib) echo "Depends: libc6, libffi8, libsqlite3-0, tzdata";;
*) echo 'E: No packages found' >&2; exit 100;;
esac
"""
APT_GET = """#!/bin/sh
for last; do :; done
echo "get $@" >> "$LOG"
if [ "$last" = update ]; then
  for word; do test ! -f "$word" || cp "$word" "$FILES/apt.conf"; done
  test ! -e "$FILES/broken" || { echo "E: no such architecture there" >&2; exit 100; }
  exit 0
fi
test ! -e "$FILES/$last.deb" && echo "E: Unable to locate package $last" >&2 && exit 100
cp "$FILES/$last.deb" "./${last}_1_arm64.deb"
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in place of apt's, the directory of what they download."""
    files = aptprograms.install(tmp_path, monkeypatch, APT_CACHE, APT_GET)
    monkeypatch.setattr(fetching, "_ARCHITECTURES", {os.uname().machine: "amd64"})
    (files / "linux-image-9.1.0-arm64.deb").write_bytes(arm_kernel("9.1.0-arm64"))
    (files / "linux-image-9.1.0-amd64.deb").write_bytes(kernel_package("9.1.0-amd64"))
    (files / "python3.13-minimal.deb").write_bytes(python_package())
    for name in ("libpython3.13-minimal", "libpython3.13-stdlib", "libexpat1", "libc6", "libffi8"):
        (files / f"{name}.deb").write_bytes(package({"./usr/share/doc/x": b""}))
    return files


def test_a_kernel_for_another_processor(paths: Paths, apt: Path, tmp_path: Path) -> None:
    made = fetching.fetch(paths, platform="linux/arm64")
    assert (made.release, made.architecture) == ("9.1.0-arm64", "arm64")
    assert record_of(userlands.find(paths, "arm64"))["packages"] == [
        f"{name}_1_arm64.deb"
        for name in (
            *("python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib"),
            *("libexpat1", "libc6", "libffi8"),
        )
    ]
    assert userlands.version_of(paths, "arm64") == "1:3.13.5-2" and os.listdir(paths.temporary) == []
    # apt is told where to keep what it gets, and runs none of the host's hooks.
    settings = (apt / "apt.conf").read_text()
    assert 'APT::Architecture "arm64";' in settings and "#clear APT::Update::Post-Invoke;" in settings
    for name in ("Dir::State", "Dir::State::status", "Dir::Cache"):
        assert f'\n{name} "{paths.temporary}/import-' in settings
    log = (tmp_path / "log").read_text().splitlines()
    assert all(f"-c {paths.temporary}/import-" in line for line in log) and sum("update" in line for line in log) == 1
    # Python is here already.
    (apt / "python3.13-minimal.deb").unlink()
    assert fetching.fetch(paths, "linux-image-9.1.0-arm64", "arm64") == made
    # With a kernel for this processor nothing else comes, and apt is asked as always.
    (tmp_path / "log").unlink()
    assert fetching.fetch(paths, "linux-image-9.1.0-amd64", "linux/amd64").architecture == "amd64"
    assert "apt.conf" not in (tmp_path / "log").read_text() and os.listdir(f"{paths.root}/userlands") == ["arm64"]


def test_what_the_archive_does_not_have(paths: Paths, apt: Path) -> None:
    with pytest.raises(Unsupported, match="no machines for the processor s390x"):
        fetching.fetch(paths, platform="linux/s390x")
    with pytest.raises(NotFound, match="cannot download linux-image-9"):
        (apt / "linux-image-9.1.0-arm64.deb").unlink()
        (apt / "broken").touch()
        fetching.fetch(paths, platform="linux/arm64")
    with pytest.raises(NotFound, match="apt has no package nosuch") as caught:
        fetching.fetch(paths, "nosuch", "linux/arm64")
    assert caught.value.hint == "apt-get update for arm64: E: no such architecture there"
    with pytest.raises(NotFound, match="no kernel for arm64 in the store") as missing:
        kernels.find(paths, architecture="arm64")
    assert "machine kernel fetch --platform linux/arm64" in missing.value.hint


# What is compiled on the host is for the machine's processor.


def intent(kind: str = "default", **more: Any) -> Any:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO"}]}
    spec = {"process": {"capabilities": {"bounding": []}}, "linux": {"seccomp": profile}}
    return {"seccomp": kind, "spec": spec, **more}


@pytest.mark.parametrize("kind", ["default", "custom"])
def test_filters(paths: Paths, kind: str) -> None:
    other = intent(kind, machine={"kernel": "9.1.0", "architecture": "arm64"})
    processor = confinement.processor_of(other)
    assert (processor, confinement.processor_of(intent())) == ("aarch64", "")
    store = Store(paths)
    made = confinement.system_call_filter(store, kind, other["spec"], processor)
    assert confinement.system_call_filter(store, kind, other["spec"], processor) == made
    assert kind == "custom" or execution._filter(other, [], False) == made
    arm, host = seccomp.ARCHITECTURES["SCMP_ARCH_AARCH64"][0], seccomp.ARCHITECTURES["SCMP_ARCH_X86_64"][0]
    number = {"default": 172, "custom": 34}[kind]  # getpid, mkdirat
    wanted = {"default": seccomp.RET_ALLOW, "custom": seccomp.RET_ERRNO | 1}[kind]
    assert seccomp.interpret(made, arm, number, (0,) * 6) == wanted
    assert seccomp.interpret(made, host, 39, (0,) * 6) == seccomp.RET_KILL_PROCESS
    # A container of before it was recorded is one for this processor.
    assert confinement.processor_of(intent(machine={"kernel": "9.1.0"})) == ""


def test_a_profile_of_all_processors(tmp_path: Path) -> None:
    text = '{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64"}], "syscalls": []}'
    made: Any = seccomp_profile.read(text, seccomp.machine("arm64"))
    assert made["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]


@pytest.mark.parametrize(
    ("platform", "architecture"),
    [("amd64", "amd64"), ("386", "amd64"), ("arm64", "arm64"), ("arm/v7", "arm64"), ("s390x", ""), ("riscv64", "")],
)
def test_the_machine_for_an_image(monkeypatch: pytest.MonkeyPatch, platform: str, architecture: str) -> None:
    monkeypatch.setattr(machine.qemu, "architecture", lambda: "amd64")
    wanted = platforms.parse(f"linux/{platform}")
    assert machine.architecture_of(wanted) == architecture
    if not architecture:
        with pytest.raises(UnderlayError, match=f"image x is for linux/{platform}, there are no machines for that"):
            machine.require("x", wanted)
