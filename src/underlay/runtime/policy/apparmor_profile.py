"""Our default AppArmor profile: its text, compiling it with the host's parser, keeping the result, loading it.

What it allows and denies is docker's default (container defaults, "apparmor_docker_default"). A compiled policy is kept
in the installation's root with what it was made from, so that later starts of the host need no parser.
"""

from __future__ import annotations

import os

from ... import events
from ...errors import KernelError, UnderlayError
from ...linux import libc
from ...linux.security import apparmor
from . import profiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...events import Emit

NAME = profiles.APPARMOR
VERSION = 1  # raise it with every change of the text
_MAGIC = b"underlay-apparmor 1\n"

# Writing is denied to all of procfs but what belongs to processes (and /proc/sys, by the two that follow), and to
# /proc/sys but the limits of System V memory and its kin. Of /sys only the control groups stay.
_DENY_WRITE = (
    "/proc/*",
    "/proc/{[^1-9/],[^1-9/][^0-9/],[^1-9s/][^0-9y/][^0-9s/],[^1-9/][^0-9/][^0-9/][^0-9/]*}/**",
    "/proc/sys/[^k]**",
    "/proc/sys/kernel/{?,??,[^s][^h][^m]**}",
)
_DENY_ALL = ("/proc/sysrq-trigger", "/proc/kcore")
_DENY_CHANGE = (
    "/sys/[^f]*/**",
    "/sys/f[^s]*/**",
    "/sys/fs/[^c]*/**",
    "/sys/fs/c[^g]*/**",
    "/sys/fs/cg[^r]*/**",
)
_DENY_ALL_BELOW = ("/sys/firmware/**", "/sys/devices/virtual/powercap/**", "/sys/kernel/security/**")


def text(name: str = NAME, peers: tuple[str, ...] = (), abi: bool = False) -> str:
    """Return the profile as apparmor.d(5) has it; `peers` are labels that may send signals besides the unconfined.

    `abi` pins the set of features to version 3.0, where the parser has a file of that: classes that later kernels
    confine are then left to the other means.
    """
    lines = ["abi <abi/3.0>,"] if abi else []
    lines += [
        f'profile "{name}" flags=(attach_disconnected,mediate_deleted) {{',
        "  network,",
        "  deny network alg,",
        "  capability,",
        "  file,",
        "  umount,",
        "  deny mount,",
    ]
    lines += [f'  signal (receive) peer="{peer}",' for peer in ("unconfined", *peers)]
    lines += [
        f'  signal (send,receive) peer="{name}",',
        f'  ptrace (trace,read,tracedby,readby) peer="{name}",',
    ]
    lines += [f"  deny {path} w," for path in _DENY_WRITE]
    lines += [f"  deny {path} rwklx," for path in (*_DENY_ALL, *_DENY_ALL_BELOW)]
    lines += [f"  deny {path} wklx," for path in _DENY_CHANGE]
    lines += ["}", ""]
    return "\n".join(lines)


def find_parser() -> str:
    """Return the path of apparmor_parser(8), "" when it is not installed."""
    for directory in [*(os.environ.get("PATH") or "").split(":"), "/usr/sbin", "/sbin"]:
        path = f"{directory}/apparmor_parser"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return ""


def cache_path(root: str) -> str:
    """Return the file in the installation's root that keeps the compiled profile."""
    return root + "/apparmor/" + NAME


def available(root: str) -> bool:
    """Return whether containers of this installation can be put under the profile here."""
    if not apparmor.enabled():
        return False
    return bool(apparmor.loaded(NAME)) or os.path.exists(cache_path(root)) or bool(find_parser())


def ensure(root: str, state: str) -> str:
    """Have the profile loaded, this version of it; returns "" or, when that cannot be had, why.

    A file in the state directory says what we have loaded since the host started: then there is nothing to do.
    """
    label = apparmor.own_label()
    mark = f"{state}/apparmor"
    wanted = f"{VERSION} {label}"
    try:
        with open(mark, encoding="utf-8", errors="replace") as file:
            if file.read(4096) == wanted and apparmor.loaded(NAME):
                return ""
    except OSError:
        pass
    try:
        apparmor.load(_compiled(root, (label,) if label else ()))
    except UnderlayError as error:
        # Another one of that name, an older version perhaps, is better than none.
        return "" if apparmor.loaded(NAME) else error.message
    from ...files import write_atomic

    os.makedirs(state, mode=0o700, exist_ok=True)
    write_atomic(mark, wanted.encode("utf-8", "replace"), durable=False)
    return ""


def warn_once(state: str, why: str, emit: Emit) -> None:
    """Say that containers run without the profile, once since the host started."""
    mark = f"{state}/apparmor"
    try:
        with open(mark, encoding="utf-8", errors="replace") as file:
            if file.read(4096) == why:
                return
    except OSError:
        pass
    from ...files import write_atomic

    os.makedirs(state, mode=0o700, exist_ok=True)
    write_atomic(mark, why.encode("utf-8", "replace"), durable=False)
    message = f"containers run without an AppArmor profile: {why}"
    emit(events.Event("host.warning", "apparmor", message=message, hint="install the package apparmor"))


def _compiled(root: str, peers: tuple[str, ...]) -> bytes:
    """Return the compiled profile, from what is kept or by the parser; raises UnderlayError when neither can be."""
    parser = find_parser()
    source = text(NAME, peers, bool(parser) and os.path.exists("/etc/apparmor.d/abi/3.0"))
    features = apparmor.features()
    identity = _identity(parser)
    kept = _read(root)
    if kept is not None:
        old_identity, old_version, old_peers, old_features, policy = kept
        same = old_features == features and old_version == str(VERSION) and old_peers == " ".join(peers)
        if same and (not parser or old_identity == identity):
            return policy
    if not parser:
        raise UnderlayError("apparmor_parser is not installed", "install the package apparmor")
    policy = compile_policy(parser, source)
    from ...files import write_atomic

    path = cache_path(root)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    parts = [identity.encode(), str(VERSION).encode(), " ".join(peers).encode("utf-8", "replace"), features, policy]
    write_atomic(path, _MAGIC + libc.words(8, *map(len, parts)) + b"".join(parts), durable=False)
    return policy


def _read(root: str) -> tuple[str, str, str, bytes, bytes] | None:
    """Return (parser, version, peers, features, policy) that are kept; None when there is nothing whole."""
    try:
        with open(cache_path(root), "rb") as file:
            data = file.read(16 << 20)
    except OSError:
        return None
    start = len(_MAGIC)
    if not data.startswith(_MAGIC) or len(data) < start + 40:
        return None
    sizes = [int.from_bytes(data[at : at + 8], "little") for at in range(start, start + 40, 8)]
    parts, at = [], start + 40
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    if at != len(data):
        return None
    first, second, third = (part.decode("utf-8", "replace") for part in parts[:3])
    return first, second, third, parts[3], parts[4]


def _identity(parser: str) -> str:
    try:
        status = os.stat(parser)
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def compile_policy(parser: str, source: str) -> bytes:
    """Return the binary policy that apparmor_parser(8) makes of `source`; raises UnderlayError with its messages."""
    given, made, messages = (os.memfd_create(name, os.MFD_CLOEXEC) for name in ("profile", "policy", "messages"))
    try:
        os.write(given, source.encode())
        os.lseek(given, 0, os.SEEK_SET)
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate((given, made, messages))]
        words = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--stdout"]
        child = os.posix_spawn(parser, words, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, file_actions=actions)
        _, status = os.waitpid(child, 0)
        if status:
            problem = os.pread(messages, 2000, 0).decode(errors="replace").strip()
            raise UnderlayError(f"apparmor_parser cannot compile the default profile: {problem}")
        policy = os.pread(made, os.fstat(made).st_size, 0)
    except OSError as error:
        raise KernelError("run", parser, error.errno or 5) from None
    finally:
        for fd in (given, made, messages):
            os.close(fd)
    if not policy:
        raise UnderlayError("apparmor_parser has returned no policy for the default profile")
    return policy
