"""How machines are accelerated: by the processor (KVM), where that truly works, else emulated (TCG).

That /dev/kvm is there says little: in a virtual machine it may be there and fail. So a kernel is booted, once a boot of the
host, and its first words are waited for.
"""

from __future__ import annotations

import os
import select
import time

from ...files import write_atomic

KVM, TCG = "kvm", "tcg"
_DEVICE = "/dev/kvm"
_NOTE = "machine-kvm"  # in the state directory: the boot id, and why not, "" if it works
_PATIENCE = 10.0  # seconds until the kernel's first words
_ALIVE, _DEAD = b"Linux version", b"KVM internal error"


def choose(state_directory: str, program: str, kernel: str) -> tuple[str, str]:
    """Return how machines are accelerated, and why not by KVM; `program` is QEMU, `kernel` the image that is tried.

    What was found is kept in the state directory until the next boot. Raises OSError.
    """
    if not os.path.exists(_DEVICE):
        return TCG, f"this host has no {_DEVICE}"
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    note = f"{state_directory}/{_NOTE}"
    try:
        with open(note, encoding="utf-8") as file:
            known, _, reason = file.read().partition("\n")
    except FileNotFoundError:
        known = reason = ""
    if known != boot:
        reason = why_not(program, kernel)
        write_atomic(note, f"{boot}\n{reason}".encode(), durable=False)
    return (TCG, reason) if reason else (KVM, "")


def why_not(program: str, kernel: str) -> str:
    """Return why a kernel does not boot with KVM here, "" when it does. Raises OSError."""
    words = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-M", "q35", "-accel", "kvm"]
    words += ["-cpu", "host", "-m", "256M", "-kernel", kernel, "-append", "console=ttyS0 panic=-1", "-serial", "stdio"]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)]
    try:
        pid = os.posix_spawn(program, words, {"PATH": "/usr/bin:/bin"}, file_actions=actions, setsigmask=())
    finally:
        os.close(null)
        os.close(writing)
    try:
        return _heard(reading)
    finally:
        os.close(reading)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _heard(reading: int) -> str:
    """Return what the console says against it."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    deadline = time.monotonic() + _PATIENCE
    said = b""
    while True:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return f"{_DEVICE} is there, but a kernel says nothing within {_PATIENCE:.0f} seconds"
        data = os.read(reading, 1 << 16)
        said += data
        if _ALIVE in said:
            return ""
        if not data or _DEAD in said or len(said) > 1 << 20:
            first = next((line for line in said.decode("utf-8", "replace").splitlines() if line.strip()), "it ended")
            return f"{_DEVICE} is there, but does not work ({first.strip()[:200]})"
