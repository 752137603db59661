"""AppArmor: whether it confines here, which profiles are loaded, loading one, the files that set a label.

What the kernel offers lies in securityfs (kernel documentation, "AppArmor"; apparmor_parser(8)): `profiles` lists names
and modes, `.replace` takes a compiled policy in one write, `features` is a tree of what a policy may use.
"""

from __future__ import annotations

import os

from ...errors import KernelError

SECURITYFS = "/sys/kernel/security/apparmor"
_ENABLED = "/sys/module/apparmor/parameters/enabled"
# Below a procfs: the first since Linux 5.8 (it is not shared with other modules), the second always.
EXEC_FILES = ("thread-self/attr/apparmor/exec", "thread-self/attr/exec")
CURRENT_FILES = ("thread-self/attr/apparmor/current", "thread-self/attr/current")
_LIMIT = 4 << 20  # bytes of a list, a compiled policy


def enabled() -> bool:
    """Return whether the kernel has AppArmor and it is on."""
    try:
        with open(_ENABLED, "rb") as file:
            return file.read(1) == b"Y"
    except OSError:
        return False


def loaded(name: str) -> bool | None:
    """Return whether profile `name` is loaded; None when this process may not know."""
    try:
        with open(SECURITYFS + "/profiles", "rb") as file:
            # "name (mode)", a line each.
            return b"\n" + os.fsencode(name) + b" (" in b"\n" + file.read(_LIMIT)
    except OSError:
        return None


def load(policy: bytes) -> None:
    """Load a compiled policy; one of the same name is replaced. Needs CAP_MAC_ADMIN. Raises KernelError."""
    path = SECURITYFS + "/.replace"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            # The kernel takes it in one piece only.
            os.write(fd, policy)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("load AppArmor policy", path, error.errno or 5) from None


def features() -> bytes:
    """Return what this kernel's AppArmor can do, as text: the tree of feature files, a line each."""
    lines: list[bytes] = []
    base = SECURITYFS + "/features"
    for directory, names, files in os.walk(base):
        names.sort()
        for name in sorted(files):
            try:
                with open(f"{directory}/{name}", "rb") as file:
                    value = b" ".join(file.read(_LIMIT).split())
            except OSError:
                value = b""
            lines.append(os.fsencode(f"{directory[len(base) :]}/{name}=") + value)
    return b"\n".join(lines)


def own_label() -> str:
    """Return the label that confines this process, "" when there is none."""
    for name in CURRENT_FILES:
        try:
            with open("/proc/" + name, "rb") as file:
                text = os.fsdecode(file.read(4096)).strip("\0\n ")
        except OSError:
            continue
        label = text.removesuffix(")").rpartition(" (")[0] or text
        return "" if label == "unconfined" else label
    return ""


def request(name: str) -> bytes:
    """Return what is written to an `exec` file, so that the next program executed runs under profile `name`."""
    return b"exec " + os.fsencode(name)


def request_now(name: str) -> bytes:
    """Return what is written to a `current` file, so that this process goes under profile `name` at once."""
    return b"changeprofile " + os.fsencode(name)
