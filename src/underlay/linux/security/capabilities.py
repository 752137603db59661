"""Capabilities: names and numbers, the five sets, and giving them up (capabilities(7))."""

from __future__ import annotations

from .. import libc, process

# In the order of their numbers, from 0 (linux/capability.h).
NAMES = tuple(
    (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
        "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT "
        "SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
        "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
    ).split()
)
NUMBERS = {"CAP_" + name: number for number, name in enumerate(NAMES)}
_VERSION_3 = 0x20080522


def last_known() -> int:
    """Return the highest capability number that the running kernel knows."""
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            return int(file.read())
    except OSError:
        return len(NAMES) - 1


def current() -> dict[str, int]:
    """Return this process's sets as bit masks: CapInh, CapPrm, CapEff, CapBnd, CapAmb of /proc/self/status."""
    sets = {}
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("Cap"):
                name, _, value = line.partition(":")
                sets[name] = int(value, 16)
    return sets


def mask(names: list[str]) -> int:
    """Return the bit mask of capability names; raises KeyError on an unknown one."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def limit_bounding(keep: int, last: int) -> None:
    """Drop from the bounding set all but the bits of `keep`. Raises KernelError."""
    for number in range(last + 1):
        if not keep >> number & 1:
            process.prctl(process.PR_CAPBSET_DROP, number)


def apply(effective: int, permitted: int, inheritable: int) -> None:
    """Set the three sets of this thread (capset(2)). Raises KernelError."""
    libc.check("capset", "", "capset", *words(effective, permitted, inheritable))


def words(effective: int, permitted: int, inheritable: int) -> tuple[bytes, bytes]:
    """Return the two structures that capset(2) reads."""
    low, high = 0xFFFFFFFF, 32
    data = libc.words(
        4,
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    return libc.words(4, _VERSION_3, 0), data


def set_ambient(bits: int) -> None:
    """Make the ambient set exactly `bits` (each must be permitted and inheritable). Raises KernelError."""
    process.prctl(process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_CLEAR_ALL)
    number = 0
    while bits >> number:
        if bits >> number & 1:
            process.prctl(process.PR_CAP_AMBIENT, process.PR_CAP_AMBIENT_RAISE, number)
        number += 1


_last = -1


def last_known_cached() -> int:
    """Return `last_known()`, read once: after the root has changed, /proc may not be the kernel's."""
    global _last
    if _last < 0:
        _last = last_known()
    return _last


def permitted_now() -> int:
    """Return the permitted set of this thread (capget(2))."""
    data = (libc.load().c_uint32 * 6)()
    libc.check("capget", "", "capget", libc.words(4, _VERSION_3, 0), data)
    permitted: int = data[1] | data[4] << 32
    return permitted


_bounding = -1


def bounding_cached() -> int:
    """Return the bounding set of this process, read once."""
    global _bounding
    if _bounding < 0:
        _bounding = current().get("CapBnd", 0)
    return _bounding
