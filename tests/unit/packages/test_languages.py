"""Packages of languages: what compilers and package managers leave in an image, whole, older, broken and hostile."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from packagedatabases import MemoryFiles, elf, inline, jar
from underlay.packages.installed import Inventory, installed
from underlay.packages.model import Package


def found(files: dict[str, bytes | str]) -> Inventory:
    return installed(MemoryFiles(files))


def listed(inventory: Inventory) -> list[tuple[str, str, str]]:
    return [(package.kind, package.name, package.version) for package in inventory.packages]


MODULES = """path\texample.org/app
mod\texample.org/app\t(devel)\t
dep\tgolang.org/x/net\tv0.17.0\th1:x=
dep\tgithub.com/a/b\tv1.0.0\th1:x=
=>\tgithub.com/c/b\tv1.0.1-0.20230101000000-abcdefabcdef\th1:x=
dep\texample.org/local\tv1.0.0
=>\t./local\t
build\t-compiler=gc
"""
NET = [
    ("golang", "github.com/c/b", "v1.0.1-0.20230101000000-abcdefabcdef"),
    ("golang", "golang.org/x/net", "v0.17.0"),
]


def pointed(version: str, modules: str) -> bytes:
    base = 0x400000
    framed = b"x" * 16 + modules.encode() + b"x" * 16
    texts = version.encode() + framed
    head = b"\xff Go buildinf:\x08\x00" + struct.pack("<QQ", base + 32, base + 48)
    strings = struct.pack("<QQQQ", base + 64, len(version), base + 64 + len(version), len(framed))
    return head + strings + texts


@pytest.mark.parametrize(
    ("version", "said"), [("go1.22.1", "1.22.1"), ("go1.23rc1 X:loopvar", "1.23.0-rc1"), ("go1.21", "1.21")]
)
def test_go(version: str, said: str) -> None:
    for data in (
        elf(".go.buildinfo", inline(version, MODULES)),
        elf(".go.buildinfo", pointed(version, MODULES), 0x400000),
    ):
        inventory = found({"usr/local/bin/app": data})
        assert listed(inventory) == [*NET, ("golang", "stdlib", said)] and not inventory.problems
        assert {package.path for package in inventory.packages} == {"usr/local/bin/app"}
    assert inventory.packages[1].purl({}) == "pkg:golang/golang.org/x/net@v0.17.0"


def test_an_executable_that_lies() -> None:
    whole = elf(".go.buildinfo", inline("go1.22.1", MODULES))
    assert "1 executables of Go" in found({"a": elf(".go.buildinfo", bytes(200))}).problems[0]
    for at in range(0, 400):
        found({"a": whole[:at] + b"\xff" * 8 + whole[at + 8 :]})
        found({"a": whole[: at * 4].ljust(70_000, b"\0")})
    for data in (b"\x7fELF" + b"\xff" * 70_000, b"\x7fELF\x02\x01" + bytes(70_000)):
        assert found({"a": data}).packages == []


def test_rust() -> None:
    crates = [
        {"name": "serde", "version": "1.0.1", "source": "crates.io"},
        {"name": "cc", "version": "1.0", "source": "crates.io", "kind": "build"},
        {"name": "app", "version": "0.1.0", "source": "local", "root": True},
    ]
    data = zlib.compress(json.dumps({"packages": crates}).encode())
    inventory = found({"usr/bin/app": elf(".dep-v0", data)})
    assert listed(inventory) == [("cargo", "serde", "1.0.1")]
    assert inventory.packages[0].purl({}) == "pkg:cargo/serde@1.0.1"
    bomb = zlib.compress(b"[" * (64 << 20))
    for broken in (data[:-6], b"x", bomb, zlib.compress(b"[]"), zlib.compress(b'{"packages":{}}')):
        assert "1 executables of Rust" in found({"a": elf(".dep-v0", broken)}).problems[0]


def properties(group: str, artifact: str, version: str) -> dict[str, bytes | str]:
    return {
        f"META-INF/maven/{group}/{artifact}/pom.properties": (
            f"#x\ngroupId={group}\nartifactId = {artifact}\nversion={version}\n"
        )
    }


def test_java() -> None:
    log4j = jar(**properties("org.apache.logging.log4j", "log4j-core", "2.14.1"))
    plain = jar(**{"META-INF/MANIFEST.MF": "Implementation-Vendor-Id: org.x\r\nImplementation-Ve\r\n rsion: 3\r\n"})
    bundle = jar(
        **{"META-INF/MANIFEST.MF": "Bundle-SymbolicName: com.google.guava;singleton:=true\nBundle-Version: 9\n"}
    )
    boot = jar(
        **properties("org.acme", "app", "1.0"),
        **{
            "BOOT-INF/lib/log4j-core-2.14.1.jar": log4j,
            "BOOT-INF/lib/plain.jar": plain,
            "BOOT-INF/lib/guava-31.1.jar": bundle,
        },
    )
    inventory = found({"app/app.jar": jar(**{"inner.war": boot}), "app/none.jar": jar(x="")})
    assert [(package.name, package.version, package.path) for package in inventory.packages] == [
        ("com.google:guava", "31.1", "app/app.jar!/inner.war!/BOOT-INF/lib/guava-31.1.jar"),
        ("org.acme:app", "1.0", "app/app.jar!/inner.war"),
        ("org.apache.logging.log4j:log4j-core", "2.14.1", "app/app.jar!/inner.war!/BOOT-INF/lib/log4j-core-2.14.1.jar"),
        ("org.x:plain", "3", "app/app.jar!/inner.war!/BOOT-INF/lib/plain.jar"),
    ]
    assert inventory.packages[2].purl({}) == "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"


def test_a_hostile_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    from underlay.packages.languages import java

    deep = jar(**properties("g", "deepest", "1"))
    for _ in range(5):
        deep = jar(**{"x.jar": deep})
    inventory = found({"a.jar": deep, "b.jar": b"PK\x03\x04no", "c.jar": b""})
    assert listed(inventory) == [] and "3 packages of Java" in inventory.problems[0]
    monkeypatch.setattr(java, "_INNER_LIMIT", 1 << 20)
    monkeypatch.setattr(java, "_UNPACKED_LIMIT", 4 << 20)
    bombs = jar(**{f"{number}.jar": bytes(1 << 20) for number in range(5)})
    assert "cannot be read: more than 4 MiB are packed" in found({"a.jar": bombs}).problems[0]
    long = jar(**{"1.jar": bytes(2 << 20)}, **properties("g", "outer", "1"))
    assert listed(found({"a.jar": long})) == [("maven", "g:outer", "1")]
    # What was read before a limit is kept.
    inventory = found({"a.jar": long, "b.jar": bombs})
    assert listed(inventory) == [("maven", "g:outer", "1")] and "cannot be read" in inventory.problems[0]
    monkeypatch.setattr(java, "_DIRECTORY_LIMIT", 1000)
    many = jar(**{str(number): "" for number in range(100)}, **properties("g", "many", "1"))
    assert listed(found({"a.jar": many})) == []


GEM = """# -*- encoding: utf-8 -*-
# stub: rack 2.2.3 ruby lib

Gem::Specification.new do |s|
  s.name = "rack".freeze
  s.version = "2.2.3"
  s.licenses = ["MIT".freeze]
  s.add_runtime_dependency(%q<other>.freeze, ["= 9"])
end
"""


def test_the_others() -> None:
    installed_json = {"packages": [{"name": "Monolog/Monolog", "version": "2.1.0", "license": ["MIT"]}]}
    deps = {
        "libraries": {
            "Newtonsoft.Json/12.0.1": {"type": "package", "serviceable": True},
            "app/1.0.0": {"type": "project"},
            "runtimepack.Microsoft.NETCore.App.Runtime.linux-x64/8.0.1": {"type": "runtimepack"},
        }
    }
    inventory = found(
        {
            "usr/lib/ruby/gems/3.0.0/specifications/rack-2.2.3.gemspec": GEM,
            "src/rack.gemspec": GEM,
            "srv/vendor/composer/installed.json": json.dumps(installed_json),
            "srv/old/composer/installed.json": json.dumps(installed_json["packages"]),
            "app/app.deps.json": json.dumps(deps),
            "opt/conda/conda-meta/numpy-1.2-py3.json": json.dumps(
                {"name": "numpy", "version": "1.2", "subdir": "linux-64", "license": "BSD"}
            ),
            "opt/other/x.json": "{}",
        }
    )
    assert not inventory.problems
    assert listed(inventory) == [
        ("composer", "monolog/monolog", "2.1.0"),
        ("composer", "monolog/monolog", "2.1.0"),
        ("conda", "numpy", "1.2"),
        ("gem", "rack", "2.2.3"),
        ("nuget", "Microsoft.NETCore.App.Runtime.linux-x64", "8.0.1"),
        ("nuget", "Newtonsoft.Json", "12.0.1"),
    ]
    assert [package.licence for package in inventory.packages] == ["MIT", "MIT", "BSD", "MIT", "", ""]
    assert inventory.packages[0].purl({}) == "pkg:composer/monolog/monolog@2.1.0"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"libraries": []}', '{"packages": [1, {"name": 2}]}', "[" * 100_000])
def test_what_is_broken_is_told(text: str) -> None:
    for path in ("x/composer/installed.json", "x.deps.json", "x/conda-meta/y.json", "specifications/z.gemspec"):
        inventory = found({path: text})
        assert inventory.packages == []
        assert inventory.problems or (path.endswith("installed.json") and text == "[]")


def test_a_program_of_the_distribution_is_the_distributions() -> None:
    data = elf(".go.buildinfo", inline("go1.22.1", MODULES))
    status = "Package: app\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n"
    files = {"usr/bin/app": data, "var/lib/dpkg/status": status, "var/lib/dpkg/info/app.list": "/.\n/usr/bin/app\n"}
    owners = {package.owner for package in found(files).packages if package.kind == "golang"}
    assert owners == {"deb:app"}


@pytest.mark.oracle
def test_a_real_program_of_go() -> None:
    """Debian's podman: its own documents name the modules that it was built from."""
    from packagedatabases import DirectoryFiles

    path = Path("/usr/bin/podman")
    if not path.exists():
        pytest.skip("podman is not installed")
    from underlay.packages.languages import elf as sections
    from underlay.packages.languages import go
    from underlay.packages.model import DatabaseContents

    files = DirectoryFiles("/")
    read = lambda offset, size: files.part(b"usr/bin/podman", offset, size)  # noqa: E731
    there = sections.sections(read)
    assert there is not None
    contents = DatabaseContents()
    go.read(read, there, "usr/bin/podman", contents)
    names = {package.name for package in contents.packages}
    assert "stdlib" in names and contents.skipped == 0
    assert all(isinstance(package, Package) and package.version for package in contents.packages)
