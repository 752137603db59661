"""The store of kernels for virtual machines: what is taken of a package, in which order modules come, what is refused."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import aptprograms
from kernelfiles import CONFIG, RELEASE, arm_image, boot_image, kernel_files, kernel_package, module, modules, package
from underlay import Engine
from underlay.base import fit
from underlay.base.fit import Host
from underlay.base.fit.needs import Needs
from underlay.engine.machines import bootimages, fetching, importing, kernels, usage
from underlay.engine.machines.kernels import Kernel
from underlay.errors import Conflict, Corrupt, InvalidInput, NotFound, UnderlayError, Unsupported
from underlay.paths import Paths

ORDER = (
    *("virtio_blk", "crc32c_generic", "libcrc32c", "erofs", "overlay", "failover", "net_failover", "virtio_net"),
)  # fmt: skip


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The paths of a new store."""
    return Paths(f"{tmp_path}/root", f"{tmp_path}/state")


def add(paths: Paths, data: bytes, modules_at: str = "", replace: bool = False, name: str = "kernel.deb") -> Kernel:
    file = Path(paths.root).parent / name
    file.write_bytes(data)
    return importing.import_file(paths, str(file), modules_at, replace)


def changed(**files: bytes | None) -> bytes:
    """The package with some of its files replaced or, with None, left out, by the last part of their paths."""
    made = {}
    for path, content in kernel_files().items():
        name = path.rpartition("/")[2].split(".")[0].split("-")[0]
        data = files.get(name, content)
        if data is not None:
            made[path] = data
    return package(made)


def test_a_package(paths: Paths) -> None:
    made = add(paths, kernel_package())
    assert (made.release, made.architecture, made.source) == (RELEASE, "amd64", "kernel.deb")
    assert made.modules == ORDER
    assert made.built_in == ("virtio_pci", "virtio_console", "ext4", "fuse")
    assert made.directory == f"{paths.root}/kernels/{RELEASE}"
    assert Path(made.image).read_bytes() == boot_image(RELEASE)
    assert Path(made.config).read_text() == CONFIG
    assert [os.path.basename(path) for path in made.module_paths] == [f"{name}.ko" for name in ORDER]
    assert all(Path(path).read_bytes().startswith(b"\x7fELF") for path in made.module_paths)
    assert made.size == sum(os.stat(path).st_size for path in (made.image, *made.module_paths))
    assert made.has("ext4") and made.has("erofs") and not made.has("virtiofs")
    assert made.parameters == ("vsyscall=xonly", "ia32_emulation=1")
    record = json.loads(Path(made.directory, "kernel.json").read_text())
    assert (record["format"], record["modules"], record["digest"]) == (1, list(ORDER), made.digest)
    assert kernels.listing(paths) == [made]
    assert os.listdir(paths.temporary) == []  # nothing is left


def test_an_image_and_its_modules(paths: Paths, tmp_path: Path) -> None:
    files = kernel_files()
    below = tmp_path / "tree" / "lib" / "modules" / RELEASE
    for path, content in modules().items():
        (below / path).parent.mkdir(parents=True, exist_ok=True)
        (below / path).write_bytes(content)
    (below / "build").symlink_to("/")  # not followed
    made = add(paths, files[f"./boot/vmlinuz-{RELEASE}"], str(tmp_path / "tree"), name="vmlinuz")
    assert (made.modules, made.options, made.config) == (ORDER, None, "")
    (tmp_path / f"config-{RELEASE}").write_text(CONFIG)  # what is beside it is its configuration
    again = add(paths, files[f"./boot/vmlinuz-{RELEASE}"], str(below), True, "vmlinuz")
    assert again.options is not None and again.modules == ORDER
    for wrong in (tmp_path / "nosuch", tmp_path):
        with pytest.raises(InvalidInput, match=r"modules"):
            add(paths, files[f"./boot/vmlinuz-{RELEASE}"], str(wrong), name="vmlinuz")
    with pytest.raises(InvalidInput, match=r"configuration of a kernel, not its image"):
        add(paths, CONFIG.encode(), str(below), name="vmlinuz")


def test_modules_of_another_package(paths: Paths, tmp_path: Path) -> None:
    files = kernel_files()
    boot = f"./boot/vmlinuz-{RELEASE}"
    more = tmp_path / "modules.deb"
    more.write_bytes(package({path: data for path, data in files.items() if path != boot}))
    assert add(paths, package({boot: files[boot]}), str(more)).modules == ORDER
    with pytest.raises(InvalidInput, match=r"modules of the kernel .*, not of 9\.2\.0"):
        add(paths, package({"./boot/vmlinuz-9.2.0": boot_image("9.2.0")}), str(more))
    with pytest.raises(InvalidInput, match="without the image of a kernel"):
        importing.import_file(paths, str(more))


def test_a_kernel_with_all_built_in(paths: Paths) -> None:
    config = CONFIG.replace("=m", "=y")
    made = add(
        paths, package({f"boot/vmlinuz-{RELEASE}": boot_image(RELEASE), f"boot/config-{RELEASE}": config.encode()})
    )
    assert made.modules == () and {"erofs", "overlay", "virtio_blk", "ext4"} <= set(made.built_in)


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
def test_compressions_of_modules(paths: Paths, suffix: str, pack: type[bytes]) -> None:
    files = kernel_files()
    path = f"./usr/lib/modules/{RELEASE}/kernel/fs/overlayfs/overlay.ko"
    del files[f"{path}.xz"]
    files[path + suffix] = pack(module())
    made = add(paths, package(files))
    assert Path(made.directory, "modules/overlay.ko").read_bytes() == module()


def test_arm(paths: Paths) -> None:
    config = CONFIG.replace("x86", "arm64").replace("=m", "=y").encode()
    for number, image in enumerate((arm_image("9.3.0"), gzip.compress(b"Image"), b"MZ\0\0zimg" + bytes(100))):
        files = {"boot/vmlinuz-9.3.0": image, "boot/config-9.3.0": config}
        made = add(paths, package(files), replace=number > 0)
        assert (made.architecture, Path(made.image).read_bytes()) == ("arm64", image)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (changed(erofs=None), r"lacks what a machine needs: erofs \(CONFIG_EROFS_FS is m, but there is no such module"),
        (changed(libcrc32c=None), r"needs: erofs \(it depends on libcrc32c, which is not there\)"),
        (
            package({f"boot/vmlinuz-{RELEASE}": boot_image(RELEASE)}),
            r"needs: virtio_blk, virtio_console, erofs, overlay, ext4$",
        ),
        (kernel_package(config=CONFIG.replace("CONFIG_EROFS_FS=m\n", "")).replace(b"", b""), ""),
        (package({}), "no kernel and no modules"),
        (package(kernel_files() | {"boot/vmlinuz-9.9.9": boot_image("9.9.9")}), "several releases"),
        (changed(vmlinuz=boot_image("9.9.9")), r"is that of the kernel 9\.9\.9, not of"),
        (changed(vmlinuz=boot_image(RELEASE, flags=0)), "is for 386, its configuration for amd64"),
        (changed(vmlinuz=gzip.compress(b"x")), "the image is not a kernel"),
        (changed(vmlinuz=CONFIG.encode()), "the image is none"),
        (changed(config=b"odd"), "no line names its version"),
        (changed(overlay=lzma.compress(module(release="9.9.9"))), r"one of the kernel 9\.9\.9, not of"),
        (changed(overlay=lzma.compress(module(machine=183))), "is not for amd64"),
        (changed(overlay=lzma.compress(module("../../x"))), "that is not the name of a module"),
        (changed(overlay=lzma.compress(module("virtio_net"), format=lzma.FORMAT_XZ)[:-9]), "is damaged"),
        (changed(overlay=b"odd"), "does not say what it needs"),
        (changed(overlay=module()[:-20]), "does not say what it needs"),
        (changed(libcrc32c=module("erofs")), "the modules erofs and libcrc32c need each other"),
        (changed(overlay=bytes(65 << 20)), "more than"),
        (kernel_package()[:-90], "package is damaged"),
        (kernel_package()[:300], "package is damaged"),
        (b"\x7fELF" + bytes(1000), "is not a kernel"),
        (b"", "is not a kernel"),
    ],
)
def test_what_is_refused(paths: Paths, data: bytes, words: str) -> None:
    if not words:  # its module is there all the same
        assert add(paths, data).has("erofs")
        return
    with pytest.raises(UnderlayError, match=words) as caught:
        add(paths, data)
    assert isinstance(caught.value, InvalidInput | Corrupt) or "more than" in words
    assert "\n" not in caught.value.message and "/tmp/import-" not in caught.value.message
    assert kernels.listing(paths) == [] and os.listdir(paths.temporary) == []


@pytest.mark.parametrize(
    "release", ["../../x", "9.1/../../x", "9.1\n", "/9.1", "..", "", "9.1" + "x" * 205, "\u0669.1"]
)
def test_hostile_releases(paths: Paths, release: str) -> None:
    files = {f"boot/vmlinuz-{release}": boot_image(RELEASE), f"boot/config-{release}": CONFIG.encode()}
    with pytest.raises(InvalidInput, match="no kernel and no modules"):
        add(paths, package(files))
    with pytest.raises(InvalidInput, match="not the release of a kernel"):
        kernels.check_release(release)
    with pytest.raises(NotFound):
        kernels.remove(paths, release)
    assert os.path.isdir(paths.root)


def test_hostile_names(paths: Paths) -> None:
    files = kernel_files() | {f"usr/lib/modules/{RELEASE}/../../../../etc/x.ko": b"x", "../escape": b"x"}
    made = add(paths, package(files), name="a\x1b[2Jb.deb")
    assert made.modules == ORDER and made.source == "a\\x1b[2Jb.deb"


def test_twice(paths: Paths) -> None:
    made = add(paths, kernel_package())
    assert add(paths, kernel_package(), name="other.deb") == made  # nothing changes, its source neither
    other = kernel_package(config=CONFIG + "CONFIG_X=y\n")
    with pytest.raises(Conflict, match="with other content") as caught:
        add(paths, other)
    assert caught.value.hint == "--force replaces it" and kernels.listing(paths) == [made]
    assert Path(add(paths, other, replace=True).config).read_text().endswith("CONFIG_X=y\n")
    assert os.listdir(paths.temporary) == []


def test_a_damaged_record(paths: Paths) -> None:
    made = add(paths, kernel_package())
    record = Path(made.directory, "kernel.json")
    good = record.read_text()
    for bad in (
        "{",
        "{}",
        good.replace('"format": 1', '"format": 2'),
        good.replace(RELEASE, "9.9"),
        good.replace("overlay", "/x"),
    ):
        record.write_text(bad)
        with pytest.raises(Corrupt, match="is damaged") as caught:
            kernels.find(paths)
        assert caught.value.hint == f"remove it: `underlay machine kernel rm {RELEASE}`"
    assert add(paths, kernel_package(), replace=True) == made  # mended
    record.write_text("{")
    kernels.remove(paths, RELEASE)
    assert kernels.listing(paths) == []


def test_finding(paths: Paths) -> None:
    with pytest.raises(NotFound, match="there is no kernel in the store") as caught:
        kernels.find(paths)
    assert "machine kernel fetch" in caught.value.hint and "machine kernel import FILE" in caught.value.hint
    assert kernels.listing(paths) == []
    for release in ("9.2.0-rc1", "9.10.1", "9.9.2", "9.2.0"):
        add(paths, kernel_package(release))
    arm = {
        "boot/vmlinuz-9.99.0": arm_image("9.99.0"),
        "boot/config-9.99.0": CONFIG.replace("x86", "arm64").replace("=m", "=y").encode(),
    }
    add(paths, package(arm))
    assert [kernel.release for kernel in kernels.listing(paths)] == ["9.99.0", "9.10.1", "9.9.2", "9.2.0", "9.2.0-rc1"]
    for name in ("", "default"):
        assert kernels.find(paths, name, "amd64").release == "9.10.1"
        assert kernels.find(paths, name).release == kernels.find(paths, name, "arm64").release == "9.99.0"
    assert kernels.find(paths, "9.2.0").release == "9.2.0"  # although another begins like that
    assert kernels.find(paths, "9.1", "amd64").release == "9.10.1"
    assert kernels.find(paths, "9.9", "amd64").release == "9.9.2"
    digest = kernels.find(paths, "9.9.2").digest
    assert kernels.find(paths, digest).release == kernels.find(paths, digest[7:19]).release == "9.9.2"
    with pytest.raises(InvalidInput, match=r"several kernels begin with 9\.2") as several:
        kernels.find(paths, "9.2")
    assert several.value.hint == "one of 9.2.0, 9.2.0-rc1"
    with pytest.raises(InvalidInput, match="is for arm64, not amd64"):
        kernels.find(paths, "9.99.0", "amd64")
    for name in ("8", "../kernels/9.2.0", "9.2.0/."):
        with pytest.raises(NotFound, match="no such kernel"):
            kernels.find(paths, name)


def test_removal(paths: Paths) -> None:
    add(paths, kernel_package())
    for name in ("", "default", "7", "..", ".", "*"):
        with pytest.raises(NotFound):
            kernels.remove(paths, name)
    kernels.remove(paths, "9.1")
    assert kernels.releases(paths) == [] and os.listdir(paths.temporary) == []
    with pytest.raises(NotFound):
        kernels.remove(paths, RELEASE)


def test_kernels_of_containers_stay(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    add(paths, kernel_package())
    add(paths, kernel_package("9.2.0"))
    with Engine(paths.root, paths.state) as engine:
        rows = [("aa", {"machine": {"kernel": RELEASE}}), ("bb", {"machine": {"kernel": RELEASE}}), ("cc", {})]
        made = [SimpleNamespace(id=name, name=name, intent=intent) for name, intent in rows]
        running: set[str] = set()
        monkeypatch.setattr(usage.containers, "every", lambda meta: made)
        monkeypatch.setattr(usage.presence, "is_running", lambda store, name: name in running)
        [figures] = [each for each in engine.system.disk_usage() if each.kind == "Machine kernels"]
        assert (figures.total, figures.active) == (2, 1) and 0 < figures.reclaimable < figures.size
        (Path(paths.root) / "userlands/arm64").mkdir(parents=True)
        (Path(paths.root) / "userlands/arm64/python").write_bytes(bytes(5 << 20))
        [more] = [each for each in engine.system.disk_usage() if each.kind == "Machine kernels"]
        assert more.size >= figures.size + (5 << 20) and more.reclaimable == figures.reclaimable
        with pytest.raises(Conflict, match=r"must be forced.*used by stopped container aa$") as caught:
            engine.machines.remove_kernel("9.1")
        assert caught.value.hint == "remove the container first, or use --force"
        running.add("bb")
        with pytest.raises(Conflict, match=r"cannot be forced.*used by running container bb$"):
            engine.machines.remove_kernel(RELEASE, force=True)
        assert kernels.releases(paths) == ["9.2.0", RELEASE] and os.listdir(paths.temporary) == []
        engine.machines.remove_kernel("9.2.0")
        running.clear()
        engine.machines.remove_kernel(RELEASE, force=True)
        assert kernels.releases(paths) == []


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("vmlinuz", b"other", "the bytes of vmlinuz have changed"),
        ("config", b"other", "the bytes of config have changed"),
        ("modules/erofs.ko", b"other", "the bytes of modules/erofs.ko have changed"),
        ("modules/erofs.ko", None, "modules/erofs.ko is missing"),
        ("kernel.json", None, "its record is missing"),
        ("kernel.json", b"{", "the kernel .* is damaged"),
    ],
)
def test_damage_is_found(paths: Paths, name: str, data: bytes | None, what: str) -> None:
    made, other = add(paths, kernel_package()), add(paths, kernel_package("9.2.0"))
    file = Path(made.directory, name)
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    with Engine(paths.root, paths.state) as engine:
        for repair in (False, True):
            report = engine.system.check(repair)
            [problem] = report.problems
            assert (report.kernels, problem.kind, problem.subject, problem.lost) == (2, "kernel", RELEASE, True)
            assert re.match(what, problem.text) and problem.text.endswith("; fetch or import it again")
        assert kernels.releases(paths) == [other.release]
        assert engine.system.check().problems == []
    assert os.listdir(paths.temporary) == []


def test_what_is_made_of_a_kernel_is_checked_and_no_difference(paths: Paths) -> None:
    made = add(paths, kernel_package())
    assert bootimages.boot_image(paths, made) == made.image  # this one cannot be entered directly
    boots = Path(made.directory, "vmlinux")
    Path(made.directory, "initrd-1").touch()
    assert add(paths, kernel_package()) == made
    with Engine(paths.root, paths.state) as engine:
        assert engine.system.check().problems == []
        boots.write_bytes(b"other")
        [problem] = engine.system.check().problems
        assert (problem.kind, problem.lost, problem.repaired) == ("kernel", False, False) and "boot" in problem.text
        [problem] = engine.system.check(repair=True).problems
        assert problem.repaired and not boots.exists() and engine.system.check().problems == []


def test_a_kernel_of_an_earlier_version(paths: Paths) -> None:
    """Its record has no digests of modules, and it has fewer of them."""
    made = add(paths, kernel_package())
    record = Path(made.directory, "kernel.json")
    known = json.loads(record.read_text())
    assert set(known.pop("files")) == {"config", *(f"modules/{name}.ko" for name in ORDER)}
    record.write_text(json.dumps(known))
    assert kernels.find(paths) == made and add(paths, kernel_package()) == made
    with Engine(paths.root, paths.state) as engine:
        assert engine.system.check().problems == []
        Path(made.image).write_bytes(b"other")
        assert [problem.lost for problem in engine.system.check().problems] == [True]


def test_a_machine_is_a_host_of_its_own(paths: Paths) -> None:
    made = add(paths, kernel_package())
    host = Host(
        "6.18.44", "amd64", "here", flags=frozenset({"pni"}), vsyscall=False, compat32=False, emulated=("arm64",)
    )
    there = made.machine(host)
    assert (there.kernel, there.architecture, there.flags) == (RELEASE, "amd64", host.flags)
    # By its parameters, although its configuration says no; not what the host emulates, nor a module that is not loaded.
    assert (there.vsyscall, there.compat32, there.emulated, there.nf_tables) == (True, True, (), False)
    old = Needs("amd64", libc="glibc", libc_version="2.12")
    assert (fit.judge(old, host).verdict, fit.judge(old, there).verdict) == (fit.WILL_NOT_RUN, fit.RUNS)


APT_CACHE = """#!/bin/sh
echo "$@" >> "$LOG"
for last; do :; done
case "$last" in
linux-image-cloud-*) echo "Depends: linux-image-9.1.0-unsigned, linux-image-9.1.0-dbg, linux-image-9.1.0 (= 9.1.0-1) | y";;
linux-image-9.1.0) printf 'Package: x\\nDepends: kmod, linux-modules-9.1.0, y:any\\nRecommends: z\\n';;
other|linux-image-loop) printf 'Package: x\\nDepends: linux-image-loop\\n';;
*) echo 'E: No packages found' >&2; exit 100;;
esac
"""
APT_GET = """#!/bin/sh
for last; do :; done
echo "$@ $HOME" >> "$LOG"
test "$SECRET" = "" || exit 7
test ! -e "$FILES/$last.deb" && echo "E: Unable to locate package $last" >&2 && exit 100
cp "$FILES/$last.deb" "./${last}_1_amd64.deb"
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in place of apt's, the directory of what they download."""
    files = aptprograms.install(tmp_path, monkeypatch, APT_CACHE, APT_GET)
    monkeypatch.setenv("SECRET", "known to the caller")
    return files


def test_fetching(paths: Paths, apt: Path, tmp_path: Path) -> None:
    files = kernel_files("9.1.0")
    boot = "./boot/vmlinuz-9.1.0"
    (apt / "linux-image-9.1.0.deb").write_bytes(package({boot: files.pop(boot)}))
    (apt / "linux-modules-9.1.0.deb").write_bytes(package(files))
    made = fetching.fetch(paths)
    assert (made.release, made.modules, made.source) == ("9.1.0", ORDER, "linux-image-9.1.0_1_amd64.deb")
    assert fetching.fetch(paths, "linux-image-9.1.0") == made
    assert os.listdir(paths.temporary) == []
    log = (tmp_path / "log").read_text().splitlines()
    assert f"-qq -o APT::Sandbox::User=root download linux-image-9.1.0 {paths.temporary}/import-" in "\n".join(log)
    (apt / "linux-modules-9.1.0.deb").unlink()
    with pytest.raises(NotFound, match=r"cannot download linux-modules-9\.1\.0: E: Unable to locate"):
        fetching.fetch(paths)
    with pytest.raises(NotFound, match="apt has no package nosuch") as caught:
        fetching.fetch(paths, "nosuch")
    assert "apt-get update" in caught.value.hint
    with pytest.raises(InvalidInput, match="the package other is not a kernel's"):
        fetching.fetch(paths, "other")
    for name in ("-o", "--print-uris", "a b", "../x", "./x.deb", "x\n"):
        with pytest.raises(InvalidInput, match="not the name of a package"):
            fetching.fetch(paths, name)


def test_without_apt(paths: Paths, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetching, "PLACES", str(tmp_path))
    with pytest.raises(Unsupported, match="there is no apt-get on this host") as caught:
        fetching.fetch(paths)
    assert "machine kernel import FILE" in caught.value.hint
