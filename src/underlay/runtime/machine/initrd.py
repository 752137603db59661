"""The initrd of a machine: a cpio archive (newc; kernel, driver-api/early-userspace/buffer-format) with the agent in it.

What the agent needs of the host is found by asking: an interpreter loads the agent and says which files it has mapped and
which modules it has read. So the archive holds this interpreter, its libraries, and nothing else.
"""

from __future__ import annotations

import os
import stat
import sys

from ...errors import UnderlayError
from ...files import write_atomic
from ...lean import hashing
from ...lean.jsontext import dumps, known

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ASK = """
import sys
sys.path[:0] = {path!r}
import underlay.runtime.machine.agent, underlay.runtime.machine.networks.interfaces, underlay.linux.libc as libc
import underlay.runtime.apply.copyup, underlay.runtime.apply.secretfiles, underlay.linux.tty, underlay.linux.userns
import underlay.linux.security.landlock, underlay.linux.security.seccomp, underlay.linux.scheduling, fcntl, termios
import underlay.linux.cgroup.v2, underlay.linux.cgroup.devices, underlay.linux.cgroup.oom, underlay.linux.cgroup.stats
import underlay.runtime.apply.idmapped, underlay.runtime.apply.seccomp_notify, encodings.ascii, encodings.latin_1
import underlay.runtime.process.reaper, resource
import underlay.runtime.machine.files as files
libc.load()
files.load()
from underlay.lean.jsontext import dumps
mapped = [line.split(None, 5)[-1].rstrip("\\n") for line in open("/proc/self/maps") if " /" in line]
files = [getattr(module, "__file__", None) or "" for module in list(sys.modules.values())]
sources = sorted(file for file in set(files) if file.endswith(".py"))
tag = sys.implementation.cache_tag
print(dumps({{"mapped": sorted(set(mapped)), "sources": sources, "tag": tag, "paths": sys.path}}))
"""
_INIT = """#!{python} -ISB
import sys
sys.path[:] = {path!r}
from underlay.runtime.machine.agent import main
main()
"""
_KEPT = 4  # initrds of a kernel: of several interpreters or versions of underlay
_DIRECTORIES = ("proc", "sys", "dev", "run", "tmp")


class Archive:
    """A cpio archive in the making: each file once, with the directories above it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._there: set[str] = set()

    def directory(self, path: str) -> None:
        """Add a directory, and those above it."""
        path = path.strip("/")
        if not path or path in self._there:
            return
        self.directory(os.path.dirname(path))
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def file(self, path: str, data: bytes, mode: int = 0o755) -> None:
        """Add a regular file."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFREG | mode, data)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFLNK | 0o777, os.fsencode(target))

    def device(self, path: str, major: int, minor: int) -> None:
        """Add a character device."""
        self.directory(os.path.dirname(path))
        self._add(path.strip("/"), stat.S_IFCHR | 0o600, b"", major, minor)

    def _add(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        if path in self._there:
            return
        self._there.add(path)
        self._record(path, mode, data, major, minor)

    def _record(self, path: str, mode: int, data: bytes, major: int = 0, minor: int = 0) -> None:
        name = os.fsencode(path) + b"\0"
        numbers = (len(self._parts) + 1, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % number for number in numbers) + name
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]

    def finish(self) -> bytes:
        """Return the archive."""
        self._record("TRAILER!!!", 0, b"")
        return b"".join(self._parts)


def needed(python: str, import_path: Sequence[str]) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return what the agent needs: files by path, modules (source, compiled), and the path that modules are looked for in.

    Raises UnderlayError.
    """
    import subprocess

    code = _ASK.format(path=list(import_path))
    asked = subprocess.run([python, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise UnderlayError(f"the agent of machines cannot be loaded: {asked.stderr.strip().splitlines()[-1:]}")
    answer = known(asked.stdout)
    python = os.path.realpath(python)
    files = [path for path in answer["mapped"] if path == python or ".so" in os.path.basename(path)]
    return files, [(source, _compiled_name(source, answer["tag"])) for source in answer["sources"]], answer["paths"]


def _compiled_name(source: str, tag: str) -> str:
    """Return where the interpreter looks for what is compiled from a module's source (PEP 3147)."""
    directory, name = os.path.split(source)
    return f"{directory}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"


def build(
    python: str, needs: tuple[list[str], list[tuple[str, str]], list[str]], modules: Sequence[tuple[str, str]]
) -> bytes:
    """Return an initrd; `needs` is what `needed` has said, `modules` are the kernel's by name and path, in order.

    Raises OSError, SyntaxError for a module that cannot be compiled.
    """
    files, sources, path = needs
    python = os.path.realpath(python)
    made = Archive()
    for name in _DIRECTORIES:
        made.directory(name)
    made.device("dev/console", 5, 1)
    made.device("dev/null", 1, 3)
    for file in files:
        made.file(file, _read(file))
    for link in _links(files):
        made.link(link, os.readlink(link))
    for source, compiled in sources:
        # The source only has to be there: what is compiled from it says that it need not be compared (PEP 552).
        made.file(source, b"", 0o644)
        made.file(compiled, _compiled(source), 0o644)
    names = [name for name, _ in modules]
    made.file("modules/order", "\n".join(names).encode(), 0o644)
    for name, module in modules:
        made.file(f"modules/{name}.ko", _read(module), 0o644)
    made.file("init", _INIT.format(python=python, path=path).encode())
    return made.finish()


def _compiled(source: str) -> bytes:
    """Return what the file of a compiled module holds (PEP 552, unchecked)."""
    import importlib.util
    import marshal

    with open(source, "rb") as file:
        code = compile(file.read(), source, "exec", dont_inherit=True)
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _links(files: Sequence[str]) -> list[str]:
    """Return the links by which the files are named elsewhere: those beside them, and those of directories at the root."""
    found = []
    for directory in sorted({os.path.dirname(path) for path in files}):
        for name in sorted(os.listdir(directory)):
            path = f"{directory}/{name}"
            if ".so" in name and os.path.islink(path) and os.path.realpath(path) in files:
                found.append(path)
    for path in ("/lib", "/lib64", "/usr/lib64", "/bin"):
        if os.path.islink(path):
            found.append(path)
    for path in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"):
        real = os.path.dirname(os.path.realpath(os.path.dirname(path)) + "/x") + "/" + os.path.basename(path)
        if os.path.islink(real) and real not in found:
            found.append(real)
    return found


def cached(directory: str, python: str, import_path: Sequence[str], modules: Sequence[tuple[str, str]]) -> str:
    """Return the path of the initrd for a kernel's modules, made in `directory` unless it is there.

    It is kept by what it is made of: interpreter, underlay's code and modules, by size and time. Raises OSError,
    UnderlayError.
    """
    key = hashing.sha256(
        dumps([_facts(python, import_path), [(name, *_stamp(path)) for name, path in modules]]).encode()
    )
    path = f"{directory}/initrd-{key.hexdigest()[:32]}"
    try:
        os.utime(path)
    except FileNotFoundError:
        write_atomic(path, build(python, needed(python, import_path), modules))
        os.chmod(path, 0o644)
        _remove_old(directory)
    return path


def _remove_old(directory: str) -> None:
    """Remove all but the initrds that were used last: others may be about to start with them."""
    made = [f"{directory}/{name}" for name in os.listdir(directory) if name.startswith("initrd-")]
    for old in sorted(made, key=os.path.getmtime)[:-_KEPT]:
        os.unlink(old)


def _stamp(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _facts(python: str, import_path: Sequence[str]) -> list[object]:
    """Return what changes when the interpreter or underlay's code changes."""
    stamps: list[object] = [python, sys.version, *_stamp(python), list(import_path)]
    for top in import_path:
        for directory, names, files in os.walk(top + "/underlay"):
            names[:] = sorted(name for name in names if name in _PARTS or directory != top + "/underlay")
            stamps += [(name, *_stamp(f"{directory}/{name}")) for name in sorted(files) if name.endswith(".py")]
    return stamps


_PARTS = ("runtime", "linux", "lean")  # the agent's code
