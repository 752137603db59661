"""Kernels that are not running: read from images, configurations and Debian packages, and from what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernelfiles import arm_image, boot_image, package
from underlay.base.fit import Host, kernels
from underlay.errors import Corrupt, InvalidInput

X86 = """#
# Automatically generated file; DO NOT EDIT.
# Linux/x86 6.12.118 Kernel Configuration
#
CONFIG_X86_64=y
CONFIG_IA32_EMULATION=y
CONFIG_NF_TABLES=m
# CONFIG_LEGACY_VSYSCALL_XONLY is not set
CONFIG_LEGACY_VSYSCALL_NONE=y
"""
ARM = "# Linux/arm64 5.14.0-70.el9 Kernel Configuration\nCONFIG_COMPAT=y\nCONFIG_ARM64_64K_PAGES=y\n"
HERE = Host("6.18.44", "amd64", "this host", flags=frozenset({"sse2"}), nf_tables=False)


def flipped(data: bytes) -> bytes:
    """These bytes with another one in the middle."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def read(tmp_path: Path, data: bytes) -> kernels.Kernel:
    (tmp_path / "kernel").write_bytes(data)
    return kernels.read(str(tmp_path / "kernel"))


def test_an_image(tmp_path: Path) -> None:
    assert read(tmp_path, boot_image()) == kernels.Kernel("6.12.118+deb13-cloud-amd64", "amd64")
    assert read(tmp_path, boot_image(flags=0)).architecture == "386"
    assert read(tmp_path, arm_image("6.1.0-40-arm64")) == kernels.Kernel("6.1.0-40-arm64", "arm64")


def test_a_configuration(tmp_path: Path) -> None:
    found = read(tmp_path, X86.encode())
    assert (found.release, found.architecture) == ("6.12.118", "amd64")
    host = found.on(HERE, "new")
    assert (host.kernel, host.name, host.flags) == ("6.12.118", "new", HERE.flags)
    assert (host.vsyscall, host.compat32, host.nf_tables, host.page_size) == (False, True, True, 4096)
    other = read(tmp_path, ARM.encode()).on(HERE, "other")
    assert (other.architecture, other.page_size, other.compat32, other.nf_tables) == ("arm64", 65536, True, False)
    assert other.vsyscall and not other.flags  # nothing is known of the processor
    assert read(tmp_path, boot_image()).on(HERE, "image").nf_tables is False  # an image alone has no options


def test_a_package(tmp_path: Path) -> None:
    files = {
        "./boot/System.map-6.12": b"x",
        "./boot/config-6.12.118-amd64": X86.encode(),
        "./boot/vmlinuz-6.12.118": boot_image(),
    }
    found = read(tmp_path, package(files))
    assert found.release == "6.12.118-amd64"  # as uname has it
    assert found.options == read(tmp_path, X86.encode()).options


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", InvalidInput, "is not a kernel"),
        (b"\x7fELF" + bytes(1000), InvalidInput, "is not a kernel"),
        (b"# some text\n", InvalidInput, "no line names its version"),
        (boot_image(release="no version"), Corrupt, "version is damaged"),
        (boot_image()[:0x20E] + b"\0\0" + boot_image()[0x210:], InvalidInput, "does not say which it is"),
        (boot_image()[:0x2000], Corrupt, "version is damaged"),
        (b"MZ".ljust(56, b"\0") + b"ARM\x64" + bytes(100), InvalidInput, "does not say which it is"),
        (b"!<arch>\n" + b"x" * 60, Corrupt, "package is damaged"),
        (package({}), InvalidInput, "without /boot/config-VERSION"),
        (package({"boot/config-6.1": X86.encode()}, "other"), InvalidInput, "without files"),
        (package({"boot/config-6.1": X86.encode()})[:-90], Corrupt, "package is damaged"),
        (flipped(package({"boot/config-6.1": X86.encode()})), Corrupt, "package is damaged"),
        (package({"boot/config-6.1": bytes(5 << 20)}), InvalidInput, "without /boot/config-VERSION"),
        (package({"boot/config-6.1": b"odd"}), InvalidInput, "no line names its version"),
    ],
)
def test_what_is_no_kernel(tmp_path: Path, data: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        read(tmp_path, data)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nosuch"):
        with pytest.raises(InvalidInput, match=r"directory|No such file"):
            kernels.read(str(path))
