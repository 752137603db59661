"""The commands on kernels of virtual machines, and what `base fit` says of an image that needs one."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
from pathlib import Path

import pytest

import archives
from engines import Installation
from kernelfiles import CONFIG, RELEASE, arm_image, kernel_package, package
from underlay import Engine
from underlay.engine.machines import userlands
from underlay.paths import Paths
from userlandfiles import python_package

ARM_RELEASE = "9.1.0-7-arm64"


@pytest.fixture
def ul(tmp_path: Path) -> Installation:
    """An installation without anything in it."""
    return Installation(tmp_path)


def kernel_of_this_processor() -> tuple[str, bytes]:
    """The release of a kernel that this host could run, and its package."""
    if os.uname().machine == "x86_64":
        return RELEASE, kernel_package()
    config = CONFIG.replace("x86", "arm64").replace("=m", "=y").encode()
    return ARM_RELEASE, package(
        {f"boot/vmlinuz-{ARM_RELEASE}": arm_image(ARM_RELEASE), f"boot/config-{ARM_RELEASE}": config}
    )


def program(kernel: tuple[int, int, int], machine: int) -> bytes:
    """A static program whose ABI note asks for a kernel."""
    note = struct.pack("<III4sIIII", 4, 16, 1, b"GNU\0", 0, *kernel)
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, machine, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    rows = struct.pack("<IIQQQQQQ", 4, 4, 176, 176, 176, len(note), len(note), 4)
    rows += struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 176 + len(note), 176 + len(note), 0x10000)
    return head + rows + note + bytes(100)


def image(path: Path, kernel: tuple[int, int, int], foreign: bool = False) -> str:
    """An archive of an image whose program asks for a kernel; a foreign one is for another processor."""
    architecture = "amd64" if (os.uname().machine == "x86_64") != foreign else "arm64"
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        member, data = tarfile.TarInfo("app"), program(kernel, 62 if architecture == "amd64" else 183)
        member.size, member.mode = len(data), 0o755
        tar.addfile(member, io.BytesIO(data))
    members = archives.docker_archive(
        [layer.getvalue()], ["app:1"], config={"Cmd": ["/app"]}, architecture=architecture
    )
    path.write_bytes(archives.tar_of(members))
    return str(path)


def test_commands(ul: Installation, tmp_path: Path) -> None:
    file = tmp_path / "kernel.deb"
    file.write_bytes(kernel_package())
    assert ul.out("machine", "kernel", "ls") == "RELEASE   ARCHITECTURE   SIZE      SOURCE"
    assert ul.out("machine", "kernel", "import", str(file)) == RELEASE
    assert ul.out("machine", "kernel", "import", str(file)) == RELEASE
    assert ul.out("machine", "kernel", "ls").splitlines()[1].split() == [RELEASE, "amd64", "19.3kB", "kernel.deb"]
    assert ul.out("machine", "kernel", "ls", "-q") == RELEASE
    assert ul.out("machine", "kernel", "ls", "--format", "{{.Release}} {{.Source}}") == f"{RELEASE} kernel.deb"
    [row] = map(json.loads, ul.out("machine", "kernel", "ls", "--format", "json").splitlines())
    assert row["Architecture"] == "amd64" and "erofs" in row["Modules"].split(",")
    assert RELEASE in ul.out("__complete", "machine", "kernel", "rm", "")
    [row] = [row for row in ul.out("system", "df").splitlines() if row.startswith("Machine kernels")]
    assert row.split()[2:4] == ["1", "0"] and row.endswith("(100%)")
    assert ul.out("system", "check").startswith("Checked 0 images, 0 layers, 0 indexes, 0 blobs, 1 kernels: 0 lost")
    file.write_bytes(kernel_package(config=CONFIG + "CONFIG_X=y\n"))
    problem = ul("machine", "kernel", "import", str(file), code=1).stderr.decode().splitlines()
    assert problem == [
        f"underlay: the kernel {RELEASE} is in the store with other content",
        "hint: --force replaces it",
    ]
    assert ul.out("machine", "kernel", "import", "--force", str(file)) == RELEASE
    assert ul.out("machine", "kernel", "rm", RELEASE) == RELEASE
    gone = ul("machine", "kernel", "rm", RELEASE, code=1)
    assert gone.stderr.decode().startswith(f"underlay: no such kernel: {RELEASE}\n")
    assert ul.out("machine", "kernel", "rm", "-f", RELEASE) == RELEASE
    file.write_bytes(kernel_package()[:-200])
    assert b"the package is damaged" in ul("machine", "kernel", "import", str(file), code=1).stderr


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="machines are for other processors on amd64 only")
def test_what_fit_says_of_another_processor(ul: Installation, tmp_path: Path) -> None:
    config = CONFIG.replace("x86", "arm64").replace("=m", "=y").encode()
    data = package({f"boot/vmlinuz-{ARM_RELEASE}": arm_image(ARM_RELEASE), f"boot/config-{ARM_RELEASE}": config})
    (tmp_path / "kernel.deb").write_bytes(data)
    (tmp_path / "python.deb").write_bytes(python_package())
    foreign, own = image(tmp_path / "app.tar", (3, 2, 0), True), image(tmp_path / "own.tar", (9, 0, 0))
    ul("machine", "kernel", "import", str(tmp_path / "kernel.deb"))
    said = ul.out("base", "fit", foreign, code=None)
    if "will not run" not in said:
        pytest.skip("this host emulates programs of arm64")
    assert "isolation" not in said  # there is a kernel, and nothing to run the agent with
    userlands.make(Paths(str(ul.root), str(ul.state)), "arm64", "3.13.5-2", [str(tmp_path / "python.deb")])
    said = ul.out("base", "fit", foreign, code=1)
    assert f"\n  runs with --isolation machine (Linux {ARM_RELEASE}, arm64)\n" in said
    assert "isolation" not in ul.out("base", "fit", own, code=1)
    (tmp_path / "kernel.deb").write_bytes(kernel_package())
    ul("machine", "kernel", "import", str(tmp_path / "kernel.deb"))
    assert f"(Linux {RELEASE})\n" in ul.out("base", "fit", own, code=1)


def test_what_fit_says(ul: Installation, tmp_path: Path) -> None:
    release, data = kernel_of_this_processor()
    wanting = image(tmp_path / "app.tar", (9, 0, 0))
    said = ul.out("base", "fit", wanting, code=1)
    assert "will not run" in said and "kernel-too-old" in said and "machine" not in said
    (tmp_path / "kernel.deb").write_bytes(data)
    ul("machine", "kernel", "import", str(tmp_path / "kernel.deb"))
    said = ul.out("base", "fit", wanting, code=1)
    assert f"\n  runs with --isolation machine (Linux {release})\n" in said
    assert json.loads(ul.out("base", "fit", "--format", "json", wanting, code=1))["machine"] == release
    assert ul.out("base", "fit", "--format", "{{.machine}}", wanting, code=1) == release
    # Of another host's machines nothing is known; an image that runs needs none; nothing helps one that wants still more.
    (tmp_path / "host.json").write_text(ul.out("info", "--format", "json"))
    assert "isolation" not in ul.out("base", "fit", "--host", str(tmp_path / "host.json"), wanting, code=1)
    runs, never = image(tmp_path / "runs.tar", (3, 2, 0)), image(tmp_path / "never.tar", (9, 2, 0))
    assert "isolation" not in ul.out("base", "fit", runs)
    assert "isolation" not in ul.out("base", "fit", never, code=1)
    with Engine(str(ul.root), str(ul.state)) as engine:
        answers = [engine.bases.machine_for(each) for each in (wanting, runs, never)]
        assert answers == [release, "", ""]
        engine.machines.remove_kernel(release)
        assert engine.bases.machine_for("no such image") == ""  # which is not even looked for
