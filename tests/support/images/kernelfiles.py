"""Kernels to be read: the beginning of an image, modules with what they need, Debian packages of both."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RELEASE = "9.1.0-7+deb99-cloud-amd64"  # newer than that of any host
CONFIG = """#
# Linux/x86 9.1.0 Kernel Configuration
#
CONFIG_X86_64=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_BLK=m
CONFIG_VIRTIO_CONSOLE=y
CONFIG_EROFS_FS=m
CONFIG_OVERLAY_FS=m
CONFIG_EXT4_FS=y
CONFIG_NF_TABLES=m
CONFIG_IA32_EMULATION=y
CONFIG_X86_VSYSCALL_EMULATION=y
CONFIG_LEGACY_VSYSCALL_NONE=y
"""


def boot_image(release: str = "6.12.118+deb13-cloud-amd64", flags: int = 1) -> bytes:
    """The beginning of a bzImage, by the boot protocol, and its version."""
    data, at = bytearray(0x4000), 0x3000
    data[0x1FE:0x200] = b"\x55\xaa"
    data[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", data, 0x206, 0x20F)
    struct.pack_into("<H", data, 0x20E, at)
    struct.pack_into("<H", data, 0x236, flags)
    text = f"{release} (somebody@somewhere) #1 SMP\0".encode()
    data[at + 0x200 : at + 0x200 + len(text)] = text
    return bytes(data)


def arm_image(release: str) -> bytes:
    """The beginning of an arm64 kernel's image, and its version."""
    return b"MZ".ljust(56, b"\0") + b"ARM\x64" + bytes(5000) + f"Linux version {release} (x@y) (gcc)".encode()


def package(files: Mapping[str, bytes], name: str = "data.tar.xz") -> bytes:
    """A Debian package with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    out = b"!<arch>\n"
    for member_name, data in (
        ("debian-binary", b"2.0\n"),
        ("control.tar.xz", b"odd"),
        (name, lzma.compress(packed.getvalue())),
    ):
        out += (
            f"{member_name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    return out


def module(depends: str = "", softdep: str = "", release: str = RELEASE, machine: int = 62) -> bytes:
    """A module: an ELF file with a section .modinfo, whose first string may be the one that counts."""
    strings = [f"depends={depends}", *([f"softdep={softdep}"] if softdep else []), f"vermagic={release} SMP preempt"]
    info = b"\0".join(map(str.encode, strings)) + b"\0"
    names = b"\0.shstrtab\0.modinfo\0"
    before = b"text that ends without a zero"
    data = before + info + names
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 1, machine, 1, 0, 0, 64 + len(data), 0, 64, 0, 0, 64, 3, 1
    )
    rows = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 3, 0, 0, 64 + len(before) + len(info), len(names), 0, 0, 1, 0),
        (11, 1, 2, 0, 64 + len(before), len(info), 0, 0, 1, 0),
    ]
    return head + data + b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)


def modules(release: str = RELEASE) -> dict[str, bytes]:
    """The files below a kernel's directory of modules, as Debian packs them; names with - and _ are the same."""
    made = {
        "drivers/block/virtio_blk": module(release=release),
        "fs/erofs/erofs": module("libcrc32c", release=release),
        "lib/libcrc32c": module("", "pre: crc32c", release=release),
        "crypto/crc32c_generic": module(release=release),
        "fs/overlayfs/overlay": module(release=release),
        "drivers/net/virtio_net": module("net_failover", release=release),
        "drivers/net/net-failover": module("failover", release=release),
        "net/core/failover": module(release=release),
        "sound/not_wanted": module(release=release),
    }
    found = {f"kernel/{name}.ko.xz": lzma.compress(data) for name, data in made.items()}
    found["modules.builtin"] = (
        b"kernel/fs/ext4/ext4.ko\nkernel/drivers/char/virtio_console.ko\nkernel/fs/fuse/fuse.ko\n"
    )
    return found


def kernel_files(release: str = RELEASE, config: str = CONFIG) -> dict[str, bytes]:
    """The files of a Debian package of a kernel for amd64."""
    return {
        f"./boot/config-{release}": config.encode(),
        f"./boot/vmlinuz-{release}": boot_image(release),
        **{f"./usr/lib/modules/{release}/{name}": data for name, data in modules(release).items()},
    }


def kernel_package(release: str = RELEASE, config: str = CONFIG) -> bytes:
    """A Debian package of a kernel for amd64."""
    return package(kernel_files(release, config))
