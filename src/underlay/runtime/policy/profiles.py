"""Default policy: capabilities, masked and read-only paths, devices, and the seccomp profile for a set of capabilities."""

from __future__ import annotations

import os

from ...paths import only_ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...linux.specification import CallRule, Comparison, DeviceRule, Mount, Seccomp

# Docker's default set (container defaults, "capabilities").
CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
APPARMOR = "underlay-default"  # the name of our AppArmor profile
# Docker's list and what podman hides beyond it.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
    "/sys/devices/system/cpu/cpu*/thermal_throttle",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# (type, major, minor, access): the nodes of /dev, terminals; any node may be made but not opened. Deny comes first.
DEVICE_RULES = (
    ("c", -1, -1, "m"),
    ("b", -1, -1, "m"),
    ("c", 1, 3, "rwm"),
    ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"),
    ("c", 1, 8, "rwm"),
    ("c", 1, 9, "rwm"),
    ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"),
    ("c", 5, 2, "rwm"),
    ("c", 136, -1, "rwm"),
)
# Set where the kernel has them, when the network namespace is the container's own.
NETWORK_SYSCTLS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}
PROFILE_VERSION = 2  # part of the name of compiled filters: raise it with every change of the profile


def device_mounts(terminal_group: bool) -> list[Mount]:
    """Return the mounts of /dev and /dev/pts; `terminal_group` when group 5, to which terminals belong, exists inside."""
    group = ["gid=5"] if terminal_group else []
    return [
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *group],
        },
    ]


def device_rules() -> list[DeviceRule]:
    """Return the default device list as OCI rules."""
    rules: list[DeviceRule] = [{"allow": False, "access": "rwm"}]
    for kind, major, minor, access in DEVICE_RULES:
        rules.append({"allow": True, "type": kind, "major": major, "minor": minor, "access": access})
    return rules


def seccomp_profile(capabilities: list[str], machine: str, kernel: tuple[int, int]) -> Seccomp:
    """Return the default profile as an OCI `linux.seccomp` object, for the capabilities of the bounding set."""
    from ...linux.security import seccomp
    from . import profile_data as data

    architectures = seccomp.NATIVE.get(machine)
    if not architectures:
        return {}
    have = set(capabilities)
    names = data.ALLOW.split()
    for version, more in data.ALLOW_SINCE.items():
        major, _, minor = version.partition(".")
        if kernel >= (int(major), int(minor)):
            names += more.split()
    for architecture in architectures:
        names += data.ALLOW_ON.get(seccomp.ARCHITECTURES[architecture][1], "").split()
    for capability, more in data.ALLOW_IF_CAPABILITY.items():
        if capability in have:
            names += more.split()
    rules: list[CallRule] = [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    for name, index, operator, value, absent in data.ALLOW_IF_ARGUMENT:
        if absent and absent in have:
            continue
        tests = [(operator, value, 0)]
        if operator == "GT":
            # The kernel takes a socket's family from the lower half of its register and ignores the upper, so a 64-bit
            # "greater" would let each family through once any upper bit is set. The few above (AF_MAX is 46) are named.
            above = (value | 0xF) + 1
            tests = [("EQ", number, 0) for number in range(value + 1, above)]
            tests.append(("MASKED_EQ", (1 << 64) - 16, above))
        for word, first, second in tests:
            argument: Comparison = {"index": index, "op": "SCMP_CMP_" + word, "value": first, "valueTwo": second}
            rules.append({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [argument]})
    for more, number, absent in data.ERRNO:
        if not (absent and absent in have):
            rules.append({"names": more.split(), "action": "SCMP_ACT_ERRNO", "errnoRet": number})
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": list(architectures),
        "syscalls": rules,
    }


def default_filter(capabilities: list[str], cache: str, machine: str = "") -> bytes:
    """Return the compiled default filter; compiled once a set of capabilities and kept in the directory `cache`.

    It is for the processor `machine` in the words of uname(2), by default the host's. What others can have written there is
    not believed. b"" for processors that the profile does not know.
    """
    from ...linux.security.capabilities import mask

    host = os.uname()
    machine = machine or host.machine
    kernel = kernel_version(host.release)
    known = mask(capabilities)
    name = f"{cache}/{PROFILE_VERSION}-{machine}-{kernel[0]}.{kernel[1]}-{known:x}.bpf"
    os.makedirs(cache, mode=0o700, exist_ok=True)
    believed = only_ours(os.lstat(cache))
    if believed:
        try:
            with open(name, "rb", opener=_opened) as file:
                if only_ours(os.fstat(file.fileno())):
                    return file.read()
        except OSError:
            pass
    from ...files import write_atomic
    from ...linux.security import seccomp

    profile = seccomp_profile(capabilities, machine, kernel)
    program = seccomp.compile_filter(profile, machine) if profile else b""
    if believed:
        write_atomic(name, program, durable=False)
    return program


def _opened(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def kernel_version(release: str) -> tuple[int, int]:
    """Return (major, minor) of a kernel release such as 6.12.48+deb13-amd64."""
    major, _, rest = release.partition(".")
    digits = ""
    for character in rest:
        if not character.isdigit():
            break
        digits += character
    return (int(major) if major.isdigit() else 0, int(digits or 0))
