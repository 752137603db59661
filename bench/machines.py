"""A machine's start, from command to its end, beside plain QEMU with the same kernel; and with images of two sizes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench import material
from bench.harness import Contender, Result, race
from bench.setting import UNDERLAY

if TYPE_CHECKING:
    from bench.setting import Setting

_LARGE = 800 << 20  # bytes of the larger image
_LOADED = ("virtio_blk", "libcrc32c", "erofs", "overlay")  # by plain QEMU, as far as the kernel has them as files
# What anybody would write who boots that kernel with QEMU: a static busybox that loads the modules, mounts the disks, and
# runs the program in them.
_INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for name in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$name.ko; done
/bin/busybox mount -t erofs -o ro,device=/dev/vdb /dev/vda /image
/bin/busybox mount -t ext4 /dev/vdc /disk
/bin/busybox mkdir -p /disk/upper /disk/work
/bin/busybox mount -t overlay -o lowerdir=/image,upperdir=/disk/upper,workdir=/disk/work o /root
/bin/busybox chroot /root /bin/echo hi
/bin/busybox umount /root /disk
/bin/busybox poweroff -f
"""


def boots(setting: Setting, rounds: int) -> list[Result]:
    """Race machines; nothing where QEMU, a static busybox or a kernel in the store are missing."""
    busybox = shutil.which("busybox")
    if not shutil.which("qemu-system-x86_64") or not busybox:
        print("  machines: QEMU or busybox is missing")
        return []
    fetched = _ours(setting, "machine", "kernel", "fetch")
    if fetched.returncode:
        print(f"  machines: {fetched.stderr.strip()}")
        return []
    _ours(setting, "load", "-q", "-i", str(material.layered(setting.scratch, setting.base, 1))).check_returncode()
    context = setting.scratch / "machine-context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM bench:1\nCOPY big /big\n")
    with open(context / "big", "wb") as file:
        for _ in range(_LARGE >> 20):
            file.write(os.urandom(1 << 20))
    _ours(setting, "build", "-q", "-t", "bench:big", str(context)).check_returncode()
    words = [UNDERLAY, "run", "--rm", "--isolation", "machine", "--network", "none"]
    ours = Contender("underlay", [*words, "bench:1", "echo", "hi"], environment=setting.ours)
    big = Contender("underlay, 800 MB more", [*words, "bench:big", "echo", "hi"], environment=setting.ours)
    plain = Contender("plain QEMU", _plain(setting, busybox, fetched.stdout.strip()))
    note = "emulated (TCG) unless this host has KVM; plain QEMU boots the package's image as it is"
    return [race("machine: run --rm --isolation machine … echo", [ours, big, plain], min(rounds, 9), note)]


def _ours(setting: Setting, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **setting.ours}
    return subprocess.run([UNDERLAY, *words], capture_output=True, text=True, env=environment, check=False)


def _plain(setting: Setting, busybox: str, release: str) -> list[str]:
    """Make an initrd and disks for plain QEMU; returns its command."""
    from underlay.runtime.machine.initrd import Archive
    from underlay.store.rootfs import ext4

    kernel = Path(setting.ours["UNDERLAY_ROOT"]) / "kernels" / release
    made = Archive()
    for name in ("dev", "image", "disk", "root"):
        made.directory(name)
    made.device("dev/console", 5, 1)
    made.file("bin/busybox", Path(busybox).read_bytes())
    order = [name for name in json.loads((kernel / "kernel.json").read_text())["modules"] if name in _LOADED]
    made.file("modules/order", " ".join(order).encode())
    for name in order:
        made.file(f"modules/{name}.ko", (kernel / "modules" / f"{name}.ko").read_bytes())
    made.file("init", _INIT.encode())
    initrd, disk = setting.scratch / "plain-initrd", setting.scratch / "plain-disk"
    initrd.write_bytes(made.finish())
    ext4.write(str(disk), 1 << 30)
    # The same index and tar as ours.
    inspected = json.loads(_ours(setting, "image", "inspect", "bench:1").stdout)[0]
    digits = inspected["RootFS"]["Layers"][0].partition(":")[2]
    root = setting.ours["UNDERLAY_ROOT"]
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", "kvm" if _kvm(setting) else "tcg", "-cpu", "max"]
    command += ["-m", "2048", "-smp", str(os.cpu_count()), "-nodefaults", "-display", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-kernel", str(kernel / "vmlinuz"), "-initrd", str(initrd)]
    command += ["-append", "console=ttyS0 quiet panic=-1"]
    for path, mode in (
        (f"{root}/indexes/{digits}.erofs", ",readonly=on"),
        (f"{root}/layers/{digits}/tar", ",readonly=on"),
        (str(disk), ""),
    ):
        command += ["-drive", f"file={path},format=raw,if=virtio{mode}"]
    return command


def _kvm(setting: Setting) -> bool:
    return "KVM," in _ours(setting, "doctor").stdout
