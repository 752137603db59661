"""Landlock: rules of a small grammar become a ruleset that a process puts on itself (landlock(7), kernel documentation
"Landlock: unprivileged access control").

What is asked for and the kernel's version of the interface cannot do is an error; rights that only later versions know
are left out, as the documentation advises.
"""

from __future__ import annotations

from ...errors import InvalidInput, KernelError, Unsupported
from ...human import whole
from .. import libc

# Rights to files, by the version of the interface that brought them (linux/landlock.h).
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FIRST = (1 << 13) - 1
_SINCE = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
BIND_TCP, CONNECT_TCP = 1, 2
_NETWORK_SINCE = 4
# What a rule may allow on something that is no directory.
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_READ = READ_FILE | READ_DIR
_WRITE = (
    (WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM)
    | REFER
    | TRUNCATE
    | IOCTL_DEV
)
PATHS = {"ro": _READ, "rx": _READ | EXECUTE, "rw": _READ | _WRITE, "rwx": _READ | _WRITE | EXECUTE}
PORTS = {"bind": BIND_TCP, "connect": CONNECT_TCP}
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
ENOSYS, EOPNOTSUPP = 38, 95

TYPE_CHECKING = False
if TYPE_CHECKING:
    Rule = list[str]


def parse(text: str) -> list[Rule]:
    """Return the rules, as [word, path or port], of `ro:/usr,rw:/data,connect:443`; raises InvalidInput.

    Words for paths are ro, rx, rw, rwx; for TCP ports bind and connect, whose value `none` allows no port at all.
    """
    rules = []
    for item in text.split(","):
        word, _, value = item.partition(":")
        port = value == "none" or 0 <= whole(value) < 65536
        path = value.startswith("/") and "\0" not in value
        if (word in PORTS and port) or (word in PATHS and path):
            rules.append([word, value])
        else:
            raise InvalidInput(
                f"invalid landlock rule: {item!r}",
                "rules are ro:/path, rx:/path, rw:/path, rwx:/path, bind:PORT, connect:PORT, bind:none, connect:none, "
                "separated by commas",
            )
    return rules


def version() -> int:
    """Return the version of the kernel's interface; 0 where there is none, or it is off."""
    return max(0, libc.syscall("landlock_create_ruleset", None, 0, 1))


def handled(rules: list[Rule], abi: int) -> tuple[int, int]:
    """Return the rights to files and to the network that `rules` govern with interface `abi`; raises Unsupported."""
    if abi < 1:
        raise Unsupported(
            "this kernel has no Landlock, or it is disabled",
            "it needs Linux 5.13, and `landlock` in the boot parameter `lsm=`",
        )
    files = network = 0
    if any(word in PATHS for word, _ in rules):
        files = _FIRST
        for since, bit in _SINCE:
            files |= bit if abi >= since else 0
    if any(word in PORTS for word, _ in rules):
        if abi < _NETWORK_SINCE:
            raise Unsupported(
                f"the kernel's Landlock (version {abi}) has no rules for ports", "they need version 4, Linux 6.7"
            )
        network = BIND_TCP | CONNECT_TCP
    return files, network


def create(files: int, network: int) -> int:
    """Return a descriptor of a ruleset that refuses all these rights but what rules will allow. Raises KernelError."""
    # Older versions take the shorter structure only.
    attributes = libc.words(8, files, network) if network else libc.words(8, files)
    return libc.check("landlock", "", "landlock_create_ruleset", attributes, len(attributes), 0)


def allow_path(ruleset: int, fd: int, rights: int, directory: bool, path: str = "") -> None:
    """Allow `rights` at and below what `fd` refers to; `path` is for the error only. Raises KernelError."""
    if not directory:
        rights &= _OF_FILES
    # struct landlock_path_beneath_attr, packed.
    rule = libc.words(8, rights) + libc.words(4, fd)
    if libc.syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, rule, 0) < 0:
        raise KernelError("landlock rule", path, libc.errno())


def allow_port(ruleset: int, port: int, rights: int) -> None:
    """Allow `rights` for one TCP port. Raises KernelError."""
    rule = libc.words(8, rights, port)
    if libc.syscall("landlock_add_rule", ruleset, _RULE_NET_PORT, rule, 0) < 0:
        raise KernelError("landlock rule", f"port {port}", libc.errno())
